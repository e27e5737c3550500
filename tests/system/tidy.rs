//! The house is in order: arrows, rooms, sizes and words are what ARCHITECTURE.md and the style say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::root;

/// The question that a longer file has to answer, here.
const LINES_MAX: usize = 600;
const LONG_FILES: &[(&str, &str)] = &[];

const TOP_LEVEL: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "Dockerfile",
    "LICENSE",
    "README.md",
    "crates",
    "docker-compose.yml",
    "queries",
    "schemas",
    "tests",
    // Made by commands, never committed.
    "bailiwick-data",
    "target",
];

/// Foreign worlds, and the crates that may know them.
const WORLDS: &[(&str, &[&str])] = &[
    ("async-nats", &["ledger"]),
    ("datafusion", &["audit"]),
    ("arrow", &["audit"]),
    ("pgwire", &["audit"]),
    ("rmcp", &["gateway"]),
    ("axum", &["api"]),
    ("clap", &["cli"]),
    ("cedar-policy", &["core"]),
    ("cedar-policy-core", &["core"]),
];

/// What the text of a file may not hold; in two parts, so that this list is not found in itself.
const UNWANTED: &[(&str, &str, &str)] = &[
    ("todo", "!(", "finish it"),
    ("unimplemented", "!(", "finish it"),
    ("FIX", "ME", "fix it"),
    ("TO", "DO", "do it, or file an issue"),
    ("#[ig", "nore]", "a test that does not run proves nothing"),
    ("#[should_", "panic]", "assert on what is returned"),
    ("/wo", "rk/", "a path of one machine"),
    ("/ro", "ot/", "a path of one machine"),
];

type Arrows = BTreeMap<String, BTreeSet<String>>;

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn crates() -> Vec<PathBuf> {
    let found = fs::read_dir(root().join("crates")).expect("the crates");
    let mut found: Vec<PathBuf> = found.map(|entry| entry.expect("a crate").path()).collect();
    found.sort();
    found
}

fn name_of(path: &Path) -> String {
    path.file_name().expect("a name").to_str().expect("a name of text").to_owned()
}

/// Files below `dir` with a text's ending, in order; those that a build makes are not looked at.
fn files(dir: &Path, into: &mut Vec<PathBuf>) {
    const ENDINGS: [&str; 8] = ["rs", "toml", "md", "sql", "yml", "py", "conf", "json"];
    const BARE: [&str; 3] = ["run", "Dockerfile", "LICENSE"];
    let mut found: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .map(|entry| entry.expect("a file").path())
        .collect();
    found.sort();
    for path in found {
        let name = name_of(&path);
        if path.is_dir() {
            if !matches!(name.as_str(), "target" | ".git" | "bailiwick-data" | "node_modules") {
                files(&path, into);
            }
        } else if BARE.contains(&name.as_str())
            || path.extension().is_some_and(|end| ENDINGS.iter().any(|known| end == *known))
        {
            into.push(path);
        }
    }
}

fn rust_files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    files(&root().join("crates"), &mut found);
    files(&root().join("tests"), &mut found);
    found.retain(|path| path.extension().is_some_and(|end| end == "rs"));
    found.iter().map(|path| (within(path), read(path))).collect()
}

fn within(path: &Path) -> String {
    path.strip_prefix(root()).expect("a file of this repository").display().to_string()
}

/// The block of ARCHITECTURE.md that is fenced with `name`.
fn block(name: &str) -> String {
    let text = read(&root().join("ARCHITECTURE.md"));
    let start = format!("```{name}\n");
    let (_, rest) = text.split_once(&start).unwrap_or_else(|| panic!("no block `{name}`"));
    rest.split_once("```").expect("the block's end").0.to_owned()
}

/// What ARCHITECTURE.md says: one `from → to, to` a line.
fn wanted_arrows() -> Arrows {
    let every: BTreeSet<String> = crates().iter().map(|path| name_of(path)).collect();
    let mut arrows: Arrows = every.iter().map(|name| (name.clone(), BTreeSet::new())).collect();
    for line in block("arrows").lines() {
        let (from, to) = line.split_once('→').expect("an arrow");
        let (from, to) = (from.trim(), to.trim());
        let to: BTreeSet<String> = match to {
            "every crate" => every.iter().filter(|name| *name != from).cloned().collect(),
            some => some.split(',').map(|name| name.trim().to_owned()).collect(),
        };
        let known = arrows.get_mut(from).unwrap_or_else(|| panic!("no crate `{from}`"));
        *known = to;
    }
    arrows
}

/// A manifest's table of dependencies.
fn dependencies(krate: &Path, table: &str) -> BTreeSet<String> {
    let manifest: toml::Table = read(&krate.join("Cargo.toml")).parse().expect("a manifest");
    let table = manifest.get(table).and_then(toml::Value::as_table);
    table.into_iter().flat_map(toml::Table::keys).cloned().collect()
}

fn ours(names: &BTreeSet<String>) -> BTreeSet<String> {
    names.iter().filter_map(|name| name.strip_prefix("bailiwick-")).map(str::to_owned).collect()
}

#[test]
fn the_arrows_are_those_of_the_architecture() {
    let wanted = wanted_arrows();
    for krate in crates() {
        let name = name_of(&krate);
        let found = ours(&dependencies(&krate, "dependencies"));
        assert_eq!(found, wanted[&name], "arrows of `{name}`: a new one needs a written reason");
        for table in ["dev-dependencies", "build-dependencies"] {
            let more = ours(&dependencies(&krate, table));
            assert!(more.is_subset(&wanted[&name]), "`{name}` has {more:?} in {table}");
        }
    }
}

#[test]
fn each_foreign_world_is_known_where_it_may_be() {
    for krate in crates() {
        let name = name_of(&krate);
        let known = dependencies(&krate, "dependencies");
        for (world, may) in WORLDS {
            let fits = !known.contains(*world) || may.contains(&name.as_str());
            assert!(fits, "`{name}` knows `{world}`, which only {may:?} may");
        }
    }
}

#[test]
fn the_top_level_holds_what_it_may() {
    for entry in fs::read_dir(root()).unwrap() {
        let name = name_of(&entry.unwrap().path());
        let fits = name.starts_with('.') || TOP_LEVEL.contains(&name.as_str());
        assert!(fits, "`{name}` is on the top level: give it a room");
    }
    for needed in TOP_LEVEL.iter().filter(|name| !matches!(**name, "bailiwick-data" | "target")) {
        assert!(root().join(needed).exists(), "`{needed}` is missing");
    }
}

#[test]
fn long_files_have_a_reason() {
    for (name, text) in rust_files() {
        let lines = text.lines().count();
        let reason = LONG_FILES.iter().find(|(long, _)| *long == name);
        match reason {
            None => {
                assert!(lines <= LINES_MAX, "`{name}` has {lines} lines: split it, or say why not")
            }
            Some(_) => assert!(lines > LINES_MAX, "`{name}` has {lines} lines and needs no reason"),
        }
    }
}

#[test]
fn every_crate_has_a_tour() {
    for krate in crates() {
        let name = name_of(&krate);
        let start = ["src/lib.rs", "src/main.rs"].map(|file| krate.join(file));
        let start = start.iter().find(|file| file.exists()).expect("a crate has a root");
        let text = read(start);
        let tour: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//!")).collect();
        assert!(tour.len() >= 8, "the tour of `{name}` is too short");
        let tour = tour.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        // The binary knows every crate: nothing is absent there.
        let absent = name == "cli" || tour.contains("nows nothing of");
        assert!(absent, "the tour of `{name}` says not what is absent");
    }
}

#[test]
fn modules_are_named_and_none_is_called_mod() {
    for (name, _) in rust_files() {
        assert!(!name.ends_with("/mod.rs"), "`{name}`: put `name.rs` beside `name/`");
        let part = |word: &str| name.split(['/', '.']).any(|part| part == word);
        for vague in ["util", "utils", "common", "helper", "helpers", "misc", "manager"] {
            assert!(!part(vague), "`{name}`: say what it is");
        }
    }
}

#[test]
fn nothing_unfinished_and_no_path_of_one_machine_is_left() {
    let mut found = Vec::new();
    files(root(), &mut found);
    assert!(found.len() > 100, "{} files", found.len());
    for path in found {
        let (name, text) = (within(&path), read(&path));
        // A container's own paths are its author's to choose.
        let container = name == "Dockerfile" || name == "docker-compose.yml";
        for (first, second, why) in UNWANTED {
            let word = format!("{first}{second}");
            let here = text.lines().position(|line| line.contains(&word));
            let excused = container && why.contains("path");
            if let Some(line) = here.filter(|_| !excused) {
                panic!("{name}:{}: `{word}`: {why}", line + 1);
            }
        }
    }
}

/// The map is a fenced block: a crate's name and a colon, then its modules with what they are.
#[test]
fn the_map_has_every_room() {
    let map = block("map");
    let mut of = String::new();
    let mut named: Arrows = BTreeMap::new();
    for line in map.lines().filter(|line| !line.trim().is_empty()) {
        if let Some(krate) = line.strip_prefix("crates/") {
            of = krate.split_whitespace().next().expect("a crate").to_owned();
            continue;
        }
        let module = line.split_whitespace().next().expect("a module");
        assert!(named.entry(of.clone()).or_default().insert(module.to_owned()), "`{module}` twice");
    }
    let mut wrong = Vec::new();
    for krate in crates() {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(krate.join("src")).unwrap() {
            let name = name_of(&entry.unwrap().path());
            let stem = name.strip_suffix(".rs").filter(|stem| !matches!(*stem, "lib" | "main"));
            found.extend(stem.map(str::to_owned));
        }
        let name = name_of(&krate);
        let named = named.remove(&name).unwrap_or_default();
        wrong.extend(found.difference(&named).map(|room| format!("lacks `{name}::{room}`")));
        wrong.extend(named.difference(&found).map(|room| format!("still has `{name}::{room}`")));
    }
    assert!(wrong.is_empty(), "the map in ARCHITECTURE.md {}", wrong.join(", "));
}
