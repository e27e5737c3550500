//! The README's quick start, run as it is written.
//!
//! Blocks that run are fenced as `sh quick-start`, `sh with-curl` and `sh afterwards`, when `serve`
//! has ended; what they print is `text promised`. `bailiwick serve` in a terminal of its own is a
//! server of this test, on a free port.

use std::path::Path;
use std::process::Command;

use crate::support::serve::Launch;
use crate::support::{bailiwick, root, said, skip, text};

fn blocks(fence: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README");
    let start = format!("```{fence}\n");
    let block = |rest: &str| rest.split("\n```").next().unwrap_or_default().to_owned();
    readme.split(&start).skip(1).map(block).collect()
}

/// Runs blocks as one script where a reader would, and gives what it printed.
fn run(blocks: &[String], directory: &Path) -> String {
    assert!(!blocks.is_empty(), "the README has no such block");
    let path = std::env::var("PATH").unwrap();
    let beside = bailiwick().parent().unwrap().display();
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &blocks.join("\n")])
        .current_dir(directory)
        .env("PATH", format!("{beside}:{path}"))
        .env_remove("BAILIWICK_URL")
        .env_remove("BAILIWICK_KEY")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    text(&output.stdout)
}

/// Every line that the README shows in blocks fenced as `fence` was printed.
fn keeps(fence: &str, printed: &str) {
    let promised = blocks(fence);
    assert!(!promised.is_empty(), "the README has no `{fence}`");
    for line in promised.iter().flat_map(|block| block.lines().map(str::trim)) {
        assert!(printed.contains(line), "`{line}` is not in\n{printed}");
    }
}

#[test]
fn the_quick_start_does_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Launch::embedded(&dir.path().join("bailiwick-data")).start();
    keeps("text promised", &run(&blocks("sh quick-start"), dir.path()));
    if Command::new("curl").arg("--version").output().is_ok() {
        keeps("text promised-with-curl", &run(&blocks("sh with-curl"), dir.path()));
    } else {
        skip("curl is not installed");
    }
    serve.stop();
    assert!(run(&blocks("sh afterwards"), dir.path()).contains("verified"));
}

#[test]
fn every_command_in_the_readme_exists() {
    let sentences = ["sh", "sh quick-start", "sh afterwards"].into_iter().flat_map(blocks);
    let mut checked = 0;
    let lines = sentences.flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>());
    for line in lines {
        let Some((_, command)) = line.split_once("bailiwick ") else { continue };
        let plain = |word: &&str| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        let verbs: Vec<&str> = command
            .split_whitespace()
            .take_while(|word| !word.starts_with('-') && plain(word))
            .take(2)
            .collect();
        let Some((verb, more)) = verbs.split_first() else { continue };
        let nested = matches!(
            *verb,
            "owner"
                | "agent"
                | "task"
                | "tool"
                | "schema"
                | "policy"
                | "grant"
                | "approvals"
                | "query"
                | "ledger"
                | "key"
                | "bench"
        );
        let mut arguments = vec![*verb];
        arguments.extend(more.iter().filter(|_| nested));
        arguments.push("--help");
        let output = Command::new(bailiwick()).args(&arguments).output().unwrap();
        assert!(output.status.success(), "`{line}`: {}", said(&output));
        checked += 1;
    }
    assert!(checked > 5, "{checked} commands");
}
