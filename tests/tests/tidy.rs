//! The rules of `ARCHITECTURE.md` that can be checked by reading the tree: who may import what, where names, clocks,
//! tasks and the environment may be used, and what every module, script and page must have.
//!
//! A rule fails with the file, the line and the remedy. Test code is exempt from the rules about code.
#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A text file of the project.
struct File {
    /// From the project's root, with `/`.
    path: String,
    text: String,
}

impl File {
    /// The lines of code with their numbers: without comments, and without the module of unit tests at the end.
    fn code(&self) -> Vec<(usize, &str)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let tests = lines.windows(2).position(|two| two[0] == "#[cfg(test)]" && two[1].ends_with('{'));
        let end = tests.unwrap_or(lines.len());
        let numbered = lines[..end].iter().enumerate().map(|(index, line)| (index + 1, *line));
        numbered.filter(|(_, line)| !line.trim_start().starts_with("//")).collect()
    }

    /// What is named below `name::` in the code, with its line: `name::a::B` and `use name::{a::B, c}` name `a` and `c`.
    fn names_below(&self, name: &str) -> Vec<(usize, String)> {
        let mut code = String::new();
        let mut starts = Vec::new();
        for (number, line) in self.code() {
            starts.push((code.len(), number));
            code.push_str(line);
            code.push('\n');
        }
        let prefix = format!("{name}::");
        let mut found: Vec<(usize, String)> = Vec::new();
        for (at, _) in code.match_indices(&prefix) {
            let line = starts.iter().rev().find(|(start, _)| *start <= at).unwrap().1;
            let rest = &code[at + prefix.len()..];
            let word = |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            match rest.strip_prefix('{').and_then(|list| list.split_once(';')) {
                Some((list, _)) => {
                    let (mut depth, mut item) = (0, String::new());
                    for c in list.chars() {
                        match c {
                            '{' => depth += 1,
                            '}' => depth -= 1,
                            ',' if depth == 0 => found.push((line, word(&std::mem::take(&mut item)))),
                            c if depth == 0 => item.push(c),
                            _ => {}
                        }
                    }
                    found.push((line, word(&item)));
                }
                None => found.push((line, word(rest))),
            }
        }
        found.retain(|(_, name)| !name.is_empty());
        found
    }

    /// Whether the whole file is test code.
    fn is_test(&self) -> bool {
        let path = &self.path;
        path.starts_with("tests/")
            || path.contains("/tests/")
            || path.ends_with("/tests.rs")
            || path.contains("/benches/")
            || path.contains("/examples/")
            || path.starts_with("shared/link/src/conformance/")
    }
}

/// Every file of the project whose name ends so, in order.
fn files(endings: &[&str]) -> Vec<File> {
    fn walk(dir: &Path, root: &Path, endings: &[&str], found: &mut Vec<File>) {
        let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                if name != "target" && name != ".git" {
                    walk(&path, root, endings, found);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let shown = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                found.push(File { path: shown, text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), &root(), endings, &mut found);
    assert!(!found.is_empty(), "no files that end with {endings:?}: the rules look at nothing");
    found
}

/// The Rust files that are no test code, below these places.
fn sources(places: &[&str]) -> Vec<File> {
    let mut found = files(&[".rs"]);
    found.retain(|file| !file.is_test() && places.iter().any(|place| file.path.starts_with(place)));
    for place in places {
        assert!(
            found.iter().any(|file| file.path.starts_with(place)),
            "nothing below {place}: the rule is out of date"
        );
    }
    found
}

/// All places with code that is shipped.
const EVERYWHERE: &[&str] =
    &["shared/model/src/", "shared/macros/src/", "shared/link/src/", "producer/src/", "consumer/src/", "console/src/"];

/// What runs in a simulation, where a seed must repeat itself.
const SIMULATED: &[&str] = &[
    "consumer/src/engine/",
    "consumer/src/duties/",
    "consumer/src/ctx.rs",
    "consumer/src/consumer.rs",
    "producer/src/",
    "shared/link/src/embedded/",
    "shared/link/src/world.rs",
    "shared/link/src/batch.rs",
];

/// Lines of code that contain one of these texts, outside of the files where they belong.
fn lines_with(places: &[&str], texts: &[&str], except: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for file in sources(places) {
        if except.iter().any(|except| file.path.starts_with(except)) {
            continue;
        }
        for (number, line) in file.code() {
            if texts.iter().any(|text| line.contains(text)) {
                found.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    found
}

#[track_caller]
fn none(found: &[String], remedy: &str) {
    assert!(found.is_empty(), "{remedy}:\n  {}", found.join("\n  "));
}

/// The dependencies of a crate, those for tests apart.
fn dependencies(manifest: &File) -> (Vec<String>, Vec<String>) {
    let table: toml::Table = manifest.text.parse().unwrap();
    let names = |section: &str| -> Vec<String> {
        let section = table.get(section).and_then(|section| section.as_table());
        section.map(|section| section.keys().cloned().collect()).unwrap_or_default()
    };
    (names("dependencies"), names("dev-dependencies"))
}

#[test]
fn crates_depend_only_on_what_they_may() {
    // Crate, then what it may depend on of ours, then whether it may know a service's client library.
    let rules: [(&str, &[&str], bool); 6] = [
        ("shared/model", &[], false),
        ("shared/macros", &["longshore-model"], false),
        ("shared/link", &["longshore-model"], true),
        ("producer", &["longshore-macros", "longshore-model", "longshore-link"], false),
        ("consumer", &["longshore-macros", "longshore-model", "longshore-link", "longshore-producer"], false),
        ("console", &["longshore-model", "longshore-link", "longshore-producer", "longshore-consumer"], false),
    ];
    let mut wrong = Vec::new();
    for (place, ours, services) in rules {
        let path = format!("{place}/Cargo.toml");
        let manifest = File { text: fs::read_to_string(root().join(&path)).unwrap(), path };
        let (normal, for_tests) = dependencies(&manifest);
        for name in normal.iter().chain(&for_tests) {
            let foreign = name.starts_with("longshore") && !ours.contains(&name.as_str());
            let service = matches!(name.as_str(), "lapin" | "redis" | "object_store") && !services;
            if foreign || service {
                wrong.push(format!("{}: {name}", manifest.path));
            }
        }
        if place == "shared/model" {
            let io = normal.iter().filter(|name| matches!(name.as_str(), "tokio" | "tokio-util" | "reqwest" | "axum"));
            wrong.extend(io.map(|name| format!("{}: {name}", manifest.path)));
        }
    }
    none(&wrong, "this crate must not depend on that one; see the layers in ARCHITECTURE.md");
}

#[test]
fn only_link_names_the_client_libraries() {
    let texts = ["lapin::", "redis::", "object_store::", "extern crate lapin", "extern crate redis"];
    let mut found = lines_with(EVERYWHERE, &texts, &["shared/link/src/"]);
    // Of ours, only the module of this name.
    found.retain(|line| !line.contains("longshore_link::redis::"));
    none(&found, "only shared/link may name lapin, redis or object_store; use the traits Broker, Store and Blobs");
    let own = ["shared/link/src/amqp/", "shared/link/src/redis/", "shared/link/src/blobs/"];
    let found: Vec<String> = lines_with(&["shared/link/src/"], &["lapin::", "::redis::", "object_store::"], &own)
        .into_iter()
        .filter(|line| !line.contains("crate::redis::"))
        .collect();
    none(&found, "types of the client libraries must not leave their module in link");
}

#[test]
fn the_console_uses_link_only_to_connect() {
    const MAY: &[&str] = &["Link", "World", "Fault", "world", "error", "embedded", "signal", "blobs"];
    let mut wrong = Vec::new();
    for file in sources(&["console/src/"]) {
        for (line, name) in file.names_below("longshore_link") {
            if !MAY.contains(&name.as_str()) {
                wrong.push(format!("{}:{line}: longshore_link::{name}", file.path));
            }
        }
    }
    none(&wrong, "the console is thin over the producer; teach longshore-producer what it needs of broker and store");
}

#[test]
fn every_module_says_what_it_is() {
    let mut wrong = Vec::new();
    for file in files(&[".rs"]) {
        // Examples of wrong code for the macro; their output is compared to the letter.
        if !file.path.contains("/tests/ui/") && !file.text.starts_with("//! ") {
            wrong.push(format!("{}:1", file.path));
        }
    }
    none(&wrong, "begin the file with `//!`: what it owns, what it promises, what it does not do");
}

#[test]
fn every_script_has_a_header() {
    let assembly = fs::read_to_string(root().join("shared/link/src/redis/scripts.rs")).unwrap();
    let mut wrong = Vec::new();
    for file in files(&[".lua"]) {
        let name = Path::new(&file.path).file_stem().unwrap().to_str().unwrap().to_owned();
        let header: Vec<&str> = file.text.lines().take_while(|line| line.starts_with("--")).collect();
        let has = |start: &str| header.iter().any(|line| line.starts_with(start));
        // Parts that scripts share are included by name; a script of its own has a line in the list.
        let shared = assembly.contains(&format!("include_str!(\"lua/{name}.lua\")"));
        let listed = assembly.lines().any(|line| line.trim_start().starts_with(&format!("{name}: ")));
        if header.is_empty() || (!shared && !header[0].starts_with(&format!("-- {name}"))) {
            wrong.push(format!("{}:1: begin with `-- {name} (Tn): what it does and what it guarantees`", file.path));
        }
        let told = has("-- KEYS  [1]") && has("-- ARGV  [1]") && has("-- Answers");
        if !shared && !told {
            wrong.push(format!("{}:1: the header needs `-- KEYS  [1]`, `-- ARGV  [1]` and `-- Answers`", file.path));
        }
        if !shared && !listed {
            wrong.push(format!("{}:1: nobody runs it; list it in shared/link/src/redis/scripts.rs", file.path));
        }
    }
    none(&wrong, "every script tells its keys, its arguments, its answers and what it guarantees");
}

#[test]
fn names_come_from_the_names_file() {
    let broker = [
        ".lane.",
        ".high.",
        ".park.",
        ".jobs\"",
        ".direct\"",
        ".unrouted\"",
        ".dead\"",
        ".quarantine\"",
        "\"longshore-generation",
        "\"longshore-enqueued",
        "\"longshore-fence",
        "\"longshore-parked",
        "\"longshore-start",
        "\"longshore-reason",
    ];
    let store = ["\"{{{", ".meta}", ".0}:"];
    let texts: Vec<&str> = broker.into_iter().chain(store).filter(|text| !text.is_empty()).collect();
    let mut found = lines_with(EVERYWHERE, &texts, &["shared/model/src/names.rs"]);
    // A field of a struct is no name; a name is in quotes.
    found.retain(|line| line.contains('"'));
    none(
        &found,
        "names of exchanges, queues, headers and keys come from shared/model/src/names.rs; add a function there",
    );
}

/// `pub const NAME: &str` inside a module of the names file.
fn constants(module: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("shared/model/src/names.rs")).unwrap();
    let (_, body) = text.split_once(&format!("pub mod {module} {{")).unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    let names = body.lines().filter_map(|line| line.trim().strip_prefix("pub const ")?.split_once(':'));
    let names: BTreeSet<String> = names.map(|(name, _)| name.to_owned()).collect();
    assert!(!names.is_empty(), "no constants in {module}");
    names
}

#[test]
fn scripts_get_every_key_from_the_names_file_and_use_no_other() {
    let assembly = fs::read_to_string(root().join("shared/link/src/redis/scripts.rs")).unwrap();
    let mut wrong = Vec::new();
    for module in ["shard_keys", "meta_keys"] {
        for name in constants(module) {
            // The channel of nudges goes to every script as an argument.
            if name != "NUDGES" && !assembly.contains(&format!("{module}::{name})")) {
                wrong.push(format!("shared/link/src/redis/scripts.rs: {module}::{name} is not given to the scripts"));
            }
        }
    }
    let given = |word: &str| assembly.contains(&format!("(\"{word}\", "));
    for file in files(&[".lua"]) {
        for (index, line) in file.text.lines().enumerate() {
            let code = line.split("--").next().unwrap();
            let place = format!("{}:{}", file.path, index + 1);
            if code.contains("P .. '") || code.contains("P .. \"") {
                wrong.push(format!("{place}: spells a key; write P .. K.name"));
            }
            for table in ["K.", "L."] {
                for (at, _) in code.match_indices(table) {
                    let before = code[..at].chars().next_back();
                    let word: String =
                        code[at + 2..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    if !before.is_some_and(|c| c.is_alphanumeric() || c == '_') && !given(&word) {
                        wrong.push(format!("{place}: {table}{word} is not given to the scripts"));
                    }
                }
            }
        }
    }
    none(&wrong, "keys and limits of the scripts come from names.rs and limits.rs, through the list in scripts.rs");
}

#[test]
fn tasks_threads_and_sleeps_belong_to_the_world() {
    let texts = [
        "tokio::spawn",
        "task::spawn(",
        "thread::spawn",
        "thread::Builder",
        "thread::sleep",
        "time::sleep",
        "time::interval",
    ];
    let found = lines_with(EVERYWHERE, &texts, &["shared/link/src/world.rs"]);
    none(&found, "start tasks with World::tasks and wait with World::clock, so that a simulation can do both");
    let found = lines_with(SIMULATED, &["spawn_blocking"], &["shared/link/src/world.rs"]);
    none(&found, "a thread of the runtime's pool makes a simulated run depend on the machine");
}

#[test]
fn clocks_belong_to_the_world() {
    let found = lines_with(EVERYWHERE, &["SystemTime::now"], &["shared/link/src/world.rs"]);
    none(&found, "ask World::clock for the time, so that a simulation can set it");
    let found = lines_with(SIMULATED, &["Instant::now"], &["shared/link/src/world.rs"]);
    none(&found, "ask World::clock for the time, so that a simulation can set it");
}

#[test]
fn the_environment_belongs_to_the_settings() {
    let texts = ["env::var", "env::set_var", "env::remove_var"];
    // What a job's program inherits is collected where processes are made.
    let except = ["producer/src/settings.rs", "consumer/src/program/"];
    let found = lines_with(EVERYWHERE, &texts, &except);
    none(&found, "the environment is read by producer/src/settings.rs alone; make it a setting");
}

#[test]
fn a_simulated_run_repeats_itself() {
    let found = lines_with(SIMULATED, &["HashMap", "HashSet", "RandomState"], &[]);
    none(&found, "the order of a random hash differs from run to run; use BTreeMap or BTreeSet");
    let found = lines_with(SIMULATED, &["sync::watch", "watch::"], &[]);
    none(&found, "tokio's watch wakes in random order; use longshore_link::signal");
    let found = lines_with(SIMULATED, &["thread_rng", "rand::", "new_v4", "now_v7"], &["shared/link/src/world.rs"]);
    none(&found, "draw random numbers from World::random, so that a seed decides them");
    let mut wrong = Vec::new();
    for file in sources(SIMULATED) {
        let code = file.code();
        for (index, (number, line)) in code.iter().enumerate() {
            let next = code[index + 1..].iter().map(|(_, line)| line.trim()).find(|line| !line.is_empty());
            if line.contains("select! {") && next != Some("biased;") {
                wrong.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    none(&wrong, "a select picks its branch at random; write `biased;` first, what must not be missed on top");
}

#[test]
fn pages_are_linked_and_links_lead_somewhere() {
    let pages = files(&[".md"]);
    let entry: String = pages.iter().filter(|page| !page.path.contains('/')).map(|page| page.text.as_str()).collect();
    let mut wrong = Vec::new();
    for page in &pages {
        if page.path.starts_with("docs/") && !entry.contains(&format!("({}", page.path)) {
            wrong.push(format!("{}:1: link it from README.md or ARCHITECTURE.md", page.path));
        }
        for (index, line) in page.text.lines().enumerate() {
            for (at, _) in line.match_indices("](") {
                let target = line[at + 2..].split([')', '#', ' ']).next().unwrap();
                let there = root().join(&page.path).parent().unwrap().join(target);
                if !target.is_empty() && !target.contains("://") && !there.exists() {
                    wrong.push(format!("{}:{}: {target} does not exist", page.path, index + 1));
                }
            }
        }
    }
    none(&wrong, "the manual must be findable");
}

#[test]
fn nothing_depends_on_where_or_with_what_it_was_written() {
    // In pieces, so that this file does not name them.
    let texts = [
        concat!("/wo", "rk/"),
        concat!("shared/DE", "SIGN"),
        concat!("shared/eng", "ineering"),
        concat!("shared/sp", "ec/"),
    ];
    let mut wrong = Vec::new();
    for file in files(&[".rs", ".lua", ".md", ".toml", ".yaml", ".yml", ".sh", "Dockerfile", "test", "run"]) {
        for (index, line) in file.text.lines().enumerate() {
            if texts.iter().any(|text| line.contains(text)) {
                wrong.push(format!("{}:{}: {}", file.path, index + 1, line.trim()));
            }
        }
    }
    none(&wrong, "the project stands on its own: no path of one machine, no document that is not in it");
}

#[test]
fn settings_in_the_manual_and_in_deploy_are_right() {
    let mut texts = Vec::new();
    for page in files(&[".md"]) {
        for (index, (at, fence)) in page.text.match_indices("```toml\n").enumerate() {
            let block = page.text[at + fence.len()..].split("```").next().unwrap().to_owned();
            texts.push((format!("{} (block {})", page.path, index + 1), block));
        }
    }
    for file in files(&["longshore.toml"]) {
        texts.push((file.path, file.text));
    }
    assert!(texts.len() > 4, "the manual shows settings");
    let mut wrong = Vec::new();
    for (name, text) in &texts {
        if let Err(problems) = longshore_model::settings::Settings::read(Some((name, text)), [], &[]) {
            wrong.push(format!("{name}: {problems}"));
        }
    }
    none(&wrong, "what is shown has to work");
}

#[test]
fn files_that_pages_name_exist() {
    let paths: Vec<String> = files(&[".rs", ".lua"]).into_iter().map(|file| format!("/{}", file.path)).collect();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for page in files(&[".md"]) {
        for (index, line) in page.text.lines().enumerate() {
            let spans = line.split('`').skip(1).step_by(2);
            for name in spans.filter(|span| span.ends_with(".rs") || span.ends_with(".lua")) {
                seen += 1;
                if !paths.iter().any(|path| path.ends_with(&format!("/{name}"))) {
                    wrong.push(format!("{}:{}: {name}", page.path, index + 1));
                }
            }
        }
    }
    assert!(seen > 40, "ARCHITECTURE.md names files");
    none(&wrong, "the page names a file that is not there (any more)");
}
