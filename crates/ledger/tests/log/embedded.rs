//! The embedded log in a process of its own that is killed, or runs out of room.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bailiwick_core::record::LedgerId;
use bailiwick_ledger::log::embedded::Embedded;
use bailiwick_ledger::log::suite::{all, commit, entry, message_id};
use bailiwick_ledger::log::{Append, Log};
use bytes::Bytes;

const LEDGER: LedgerId = LedgerId([7; 16]);
const DIR: &str = "BAILIWICK_TEST_CHILD_DIR";

fn one(number: u64) -> Bytes {
    let bytes = 2_000 + usize::try_from(number % 7).unwrap() * 9_000;
    entry(LEDGER, number, bytes, u8::try_from(number % 251).unwrap())
}

/// This test binary again, running only `test` over `dir`.
fn child(test: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(DIR, dir);
    command
}

fn child_dir() -> Option<PathBuf> {
    std::env::var_os(DIR).map(PathBuf::from)
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..25 {
        let mut process = child("embedded::child_that_appends", dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let numbers = lines.filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok());
        for number in numbers.take(3 + round * 7 % 40) {
            acknowledged = number;
        }
        process.kill().unwrap();
        process.wait().unwrap();
        let mut log = Embedded::open(dir.path()).unwrap();
        let head = log.head().unwrap();
        assert!(head >= acknowledged, "round {round}: {head} of {acknowledged} are there");
    }
    assert!(acknowledged > 100);
    let log = Embedded::open(dir.path()).unwrap();
    assert!((1..).zip(all(&*log.reader())).all(|(number, found)| found == one(number)));
}

#[test]
#[expect(clippy::print_stdout, reason = "its parent reads what was acknowledged")]
fn child_that_appends() {
    let Some(dir) = child_dir() else { return };
    let mut log = Embedded::open(&dir).unwrap();
    let head = log.head().unwrap();
    println!("begins");
    for head in head.. {
        commit(&mut log, head, &one(head + 1));
        println!("acknowledged {}", head + 1);
    }
}

#[test]
fn a_log_without_room_waits_for_it_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let inner = child("embedded::child_that_runs_out_of_room", dir.path());
    // The limit counts blocks of 512 bytes or 1 kB, by shell: room for the first segment of 4 MiB,
    // not for the second of 8. The signal would end the process before it could see the error.
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -S -f 9000; exec \"$@\"", "sh"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .env(DIR, dir.path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    let log = Embedded::open(dir.path()).unwrap();
    let entries = all(&*log.reader());
    assert!((1..).zip(&entries).all(|(number, found)| *found == big(number)));
    assert_eq!(entries.len(), 12);
}

fn big(number: u64) -> Bytes {
    entry(LEDGER, number, 900_000, u8::try_from(number).unwrap())
}

#[test]
fn child_that_runs_out_of_room() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Some(dir) = child_dir() else { return };
    let mut log = Embedded::open(&dir).unwrap();
    for head in 0..4 {
        commit(&mut log, head, &big(head + 1));
    }
    for _ in 0..3 {
        let outcome = log.append(4, &big(5), Some(&message_id(&big(5))));
        assert!(matches!(outcome, Append::Unknown(_)), "{outcome:?}");
        assert_eq!(log.head().unwrap(), 4);
    }
    let limit = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: limit.maximum, ..limit }).unwrap();
    for head in 4..12 {
        commit(&mut log, head, &big(head + 1));
    }
}
