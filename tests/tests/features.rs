//! `docs/features.md` is true: every test that it names exists, and no feature that is there is without one.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::collections::BTreeSet;
use std::path::Path;

const PAGE: &str = include_str!("../../docs/features.md");

/// The names of all functions below a directory.
fn functions(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            for rest in text.split("fn ").skip(1) {
                let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                found.insert(name);
            }
        }
    }
}

#[test]
fn every_feature_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut known = BTreeSet::new();
    for dir in ["tests/src", "tests/tests", "shared", "producer", "consumer", "console"] {
        functions(&root.join(dir), &mut known);
    }
    let (mut rows, mut wrong) = (0, Vec::new());
    for row in PAGE.lines().filter(|line| line.starts_with("| ") && line.as_bytes()[3].is_ascii_digit()) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let (id, there) = (cells[0], cells[2]);
        let tests: Vec<&str> =
            cells.get(3).map_or("", |tests| tests.trim_end_matches('|')).split('`').skip(1).step_by(2).collect();
        rows += 1;
        match there {
            "yes" | "partly" if tests.is_empty() => wrong.push(format!("{id} has no test")),
            "yes" | "partly" | "no" => {}
            other => wrong.push(format!("{id}: `{other}` is not yes, partly or no")),
        }
        wrong.extend(
            tests.into_iter().filter(|name| !known.contains(*name)).map(|name| format!("{id}: no test {name}")),
        );
    }
    assert!(rows > 60, "{rows} rows were read");
    assert_eq!(wrong, Vec::<String>::new());
}
