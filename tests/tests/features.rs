//! `docs/features.md` is true: its last column is made from the names of the tests, and no feature that is there is
//! without one.
//!
//! A test holds the features whose ids its name begins with: `q09_q17_a_limit_holds` holds Q09 and Q17, and
//! `j12_jh_13_removing_is_fine` holds J12 (`jh_13` is a conformance case). To write the column anew:
//! `cargo nextest run -p longshore-tests --test features --run-ignored only`.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const CASES: &str = "tests/src/cases/mod.rs";
const CONFORMANCE: &str = "shared/link/src/conformance/mod.rs";
/// What is said before tests that do not run on the embedded backend and on services.
const ELSEWHERE: &str = "besides: ";

/// By feature: the tests that run on both backends, and the others.
type Holders = BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>;

/// One row of the page.
struct Row<'a> {
    id: &'a str,
    feature: &'a str,
    there: &'a str,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn page() -> PathBuf {
    root().join("docs/features.md")
}

/// The ids of features that a name begins with. Ids of conformance cases and of transitions may stand between them.
fn ids(name: &str) -> Vec<String> {
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let letters = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_lowercase());
    let (mut found, mut words) = (Vec::new(), name.split('_').peekable());
    while let Some(word) = words.next() {
        match word.len() {
            3 if letters(&word[..1], 1) && digits(&word[1..], 2) => found.push(word.to_uppercase()),
            2 if letters(&word[..1], 1) && digits(&word[1..], 1) => {}
            2 if letters(word, 2) && words.peek().is_some_and(|next| digits(next, 2)) => {
                words.next();
            }
            _ => break,
        }
    }
    found
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// The cases that a list names, `group::case;` a line.
fn listed(list: &str) -> BTreeSet<String> {
    let name = |line: &str| line.trim().strip_suffix(';')?.rsplit("::").next().map(str::to_owned);
    list.lines().filter_map(name).filter(|name| is_name(name)).collect()
}

/// What runs on the embedded backend and on services: cases, and what both stores or both brokers pass.
fn on_both() -> BTreeSet<String> {
    let cases = read(CASES);
    let (_, every) = cases.split_once("macro_rules! for_each_case {").unwrap();
    let (both, _) = every.split_once("macro_rules!").unwrap();
    let conformance = read(CONFORMANCE);
    let suite = conformance.lines().map(str::trim).filter(|line| line.contains('_') && is_name(line));
    listed(both).into_iter().chain(suite.map(str::to_owned)).collect()
}

/// Every other test below a directory.
fn tests_below(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let (text, mut marked) = (std::fs::read_to_string(&path).unwrap(), false);
            if text.contains("macro_rules! for_each_case") {
                found.extend(listed(&text));
            }
            for line in text.lines().map(str::trim) {
                marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                if let Some((_, rest)) = line.split_once("fn ").filter(|_| marked && !line.starts_with("//")) {
                    found.insert(rest.split(['(', '<']).next().unwrap().to_owned());
                    marked = false;
                }
            }
        }
    }
}

fn holders() -> Holders {
    let (both, mut others) = (on_both(), BTreeSet::new());
    for dir in ["tests/src", "tests/tests", "shared", "producer", "consumer", "console"] {
        tests_below(&root().join(dir), &mut others);
    }
    let mut holders = Holders::new();
    for name in &both {
        for id in ids(name) {
            holders.entry(id).or_default().0.insert(name.clone());
        }
    }
    for name in others.difference(&both) {
        for id in ids(name) {
            holders.entry(id).or_default().1.insert(name.clone());
        }
    }
    holders
}

/// Reads a line of the page, if it is a row of a feature.
fn row(line: &str) -> Option<Row<'_>> {
    let mut cells = line.strip_prefix("| ")?.split(" | ");
    let id = cells.next().filter(|id| id.len() == 3 && id[1..].bytes().all(|byte| byte.is_ascii_digit()))?;
    Some(Row { id, feature: cells.next()?, there: cells.next()?.trim_end_matches('|').trim_end() })
}

/// The page with its last column made from the names of the tests.
fn written(page: &str, holders: &Holders) -> String {
    let quoted = |names: &BTreeSet<String>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let line = |line: &str| {
        let Some(Row { id, feature, there }) = row(line) else { return format!("{line}\n") };
        let tests = match holders.get(id) {
            None => String::new(),
            Some((both, others)) if others.is_empty() => quoted(both),
            Some((both, others)) if both.is_empty() => format!("{ELSEWHERE}{}", quoted(others)),
            Some((both, others)) => format!("{}; {ELSEWHERE}{}", quoted(both), quoted(others)),
        };
        format!("| {id} | {feature} | {there} | {tests}{}|\n", if tests.is_empty() { "" } else { " " })
    };
    page.lines().map(line).collect()
}

/// What is wrong with what the page says.
fn wrong(page: &str, holders: &Holders) -> Vec<String> {
    let (mut wrong, mut known, mut before) = (Vec::new(), BTreeSet::new(), "");
    for Row { id, there, .. } in page.lines().filter_map(row) {
        let (both, others) = holders.get(id).map_or((0, 0), |(both, others)| (both.len(), others.len()));
        match there {
            "yes" if both == 0 => wrong.push(format!("{id}: no test on both backends begins with its id")),
            "partly" if both + others == 0 => wrong.push(format!("{id}: no test begins with its id")),
            "no" if both + others > 0 => {
                wrong.push(format!("{id}: it has tests, and the page says that it is not there"))
            }
            "yes" | "partly" | "no" => {}
            other => wrong.push(format!("{id}: `{other}` is not yes, partly or no")),
        }
        if before.starts_with(&id[..1]) && before >= id {
            wrong.push(format!("{id} stands after {before}"));
        }
        if !known.insert(id.to_owned()) {
            wrong.push(format!("{id} has two rows"));
        }
        before = id;
    }
    let letters: BTreeSet<_> = known.iter().map(|id| id[..1].to_owned()).collect();
    let nameless = holders.iter().filter(|(id, _)| letters.contains(&id[..1]) && !known.contains(*id));
    wrong.extend(nameless.map(|(id, (both, others))| format!("{id} has no row, and is held by {both:?} {others:?}")));
    wrong
}

#[test]
fn every_feature_that_is_there_is_held_by_a_test_on_both_backends() {
    let page = std::fs::read_to_string(page()).unwrap();
    assert!(page.lines().filter_map(row).count() > 60, "the rows were read");
    assert_eq!(wrong(&page, &holders()), Vec::<String>::new());
}

#[test]
fn the_column_of_tests_is_what_the_names_of_the_tests_say() {
    let page = std::fs::read_to_string(page()).unwrap();
    let expected = written(&page, &holders());
    let differs = page.lines().zip(expected.lines()).filter(|(is, should)| is != should);
    let lines: Vec<_> = differs.map(|(_, should)| should).collect();
    assert!(
        page == expected,
        "write it anew with `cargo nextest run -p longshore-tests --test features --run-ignored only`; these rows differ:\n{}",
        lines.join("\n")
    );
}

#[test]
#[ignore = "writes docs/features.md"]
fn write_the_column_of_tests() {
    let text = std::fs::read_to_string(page()).unwrap();
    std::fs::write(page(), written(&text, &holders())).unwrap();
}

#[test]
fn ids_are_read_from_the_beginning_of_a_name() {
    assert_eq!(ids("q09_q17_a_limit_holds"), ["Q09", "Q17"]);
    assert_eq!(ids("j12_jh_13_removing_j14_is_fine"), ["J12"]);
    assert_eq!(ids("s07_g6_t20_what_was_given_away"), ["S07", "T20"]);
    assert_eq!(ids("an_attempt"), Vec::<String>::new());
}

#[test]
fn what_is_wrong_with_a_page_is_seen() {
    let mut holders = Holders::new();
    holders.entry("J01".into()).or_default().0.insert("j01_a".into());
    holders.entry("J02".into()).or_default().1.insert("j02_b".into());
    holders.entry("J09".into()).or_default().0.insert("j09_c".into());
    let page = "# Page\n| J02 | b | yes | `x` |\n| J01 | a | yes | |\n| J03 | c | partly | |\n| J04 | d | no | |\n";
    let expected = "# Page\n| J02 | b | yes | besides: `j02_b` |\n| J01 | a | yes | `j01_a` |\n| J03 | c | partly | |\n| J04 | d | no | |\n";
    assert_eq!(written(page, &holders), expected);
    let wrong = wrong(page, &holders);
    assert_eq!(wrong.len(), 4, "{wrong:?}");
    for (found, begin) in
        wrong.iter().zip(["J02: no test on both", "J01 stands after J02", "J03: no test", "J09 has no row"])
    {
        assert!(found.starts_with(begin), "{found}");
    }
}
