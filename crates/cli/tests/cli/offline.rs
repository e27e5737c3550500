//! Dumps, and a ledger's own files.

use std::fs;

use bailiwick_core::record::dump::split_one;

use crate::bailiwick::{bailiwick, demo, text};

#[test]
fn a_dump_verifies_under_its_key_and_under_no_other() {
    let (path, key) = (text(&demo().dump), demo().key.as_str());
    let found = bailiwick(&["verify", "--json", path, "--key", key]).ends_with(0).json();
    let of_directory = bailiwick(&["verify", "--json", text(&demo().dir)]).ends_with(0).json();
    for name in ["ledger", "entries", "events", "last_link", "root"] {
        assert_eq!(found[name], of_directory[name], "{name}");
    }
    let unasked = bailiwick(&["verify", path]).ends_with(0);
    assert!(unasked.out.contains("only `--key` proves whose it is"), "{unasked:?}");
    let other = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let refused = bailiwick(&["verify", path, "--key", other]).ends_with(4);
    assert!(refused.err.contains("entry 1, event 0: the entry is signed by key"), "{refused:?}");
}

#[test]
fn a_dump_that_was_cut_is_found_out_by_who_knows_the_end() {
    let bytes = fs::read(&demo().dump).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut");
    let full = bailiwick(&["verify", "--json", text(&demo().dump)]).ends_with(0).json();
    let events = full["events"].to_string();
    let link = full["last_link"].as_str().unwrap();
    let whole = ["verify", text(&demo().dump), "--expect-events", &events, "--expect-link", link];
    bailiwick(&whole).ends_with(0);

    let first = split_one(&bytes).unwrap().unwrap();
    let boundary = bytes.len() - first.rest.len();
    fs::write(&path, &bytes[..boundary]).unwrap();
    bailiwick(&["verify", text(&path)]).ends_with(0);
    bailiwick(&["verify", text(&path), "--expect-events", &events]).ends_with(4);
    bailiwick(&["verify", text(&path), "--expect-link", link]).ends_with(4);

    fs::write(&path, &bytes[..boundary + 100]).unwrap();
    let refused = bailiwick(&["verify", text(&path)]).ends_with(4);
    assert!(refused.err.contains("entry 2, event"), "{refused:?}");
    fs::write(&path, b"").unwrap();
    bailiwick(&["verify", text(&path), "--key", &demo().key]).ends_with(4);
}

#[test]
fn headers_alone_verify_and_hold_no_bodies() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("headers");
    let data = text(&demo().dir);
    let args = ["ledger", "dump", "--data", data, "--out", text(&path), "--headers"];
    bailiwick(&args).ends_with(0);
    let full = bailiwick(&["verify", "--json", data]).ends_with(0).json();
    let args = ["verify", "--json", "--headers", text(&path), "--key", &demo().key];
    let found = bailiwick(&args).ends_with(0).json();
    for name in ["entries", "events", "last_link", "root"] {
        assert_eq!(found[name], full[name], "{name}");
    }
    let mut bytes = fs::read(&path).unwrap();
    assert!(!bytes.windows(5).any(|window| window == b"alice"));
    assert!(fs::read(&demo().dump).unwrap().windows(5).any(|window| window == b"alice"));

    bailiwick(&["verify", "--headers", text(&path)]).ends_with(2);
    bailiwick(&["verify", text(&path), "--key", &demo().key]).ends_with(4);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    bailiwick(&["verify", "--headers", text(&path), "--key", &demo().key]).ends_with(4);
}

#[test]
fn a_dump_never_replaces_a_file() {
    let dump = text(&demo().dump);
    let args = ["ledger", "dump", "--data", text(&demo().dir), "--out", dump];
    assert!(bailiwick(&args).ends_with(2).err.contains("exists"));
    bailiwick(&["verify", dump]).ends_with(0);
}

#[test]
fn a_changed_log_is_found_in_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("ledger");
    copy(&demo().dir, &data);
    let segment = fs::read_dir(data.join("log")).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let place = bytes.windows(5).position(|window| window == b"alice").unwrap();
    bytes[place] = b'A';
    fs::write(&segment, bytes).unwrap();
    let refused = bailiwick(&["verify", text(&data)]).ends_with(4);
    assert!(refused.err.contains("verification failed: entry 2"), "{refused:?}");
    bailiwick(&["sql", "--data", text(&data), "select 1"]).ends_with(4);
}

#[test]
fn a_ledger_shorter_than_its_anchor_is_not_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let (old, data) = (dir.path().join("old"), dir.path().join("ledger"));
    bailiwick(&["demo", "--data", text(&old)]).ends_with(0);
    copy(&demo().dir, &data);
    // Another ledger's log under this one's anchor.
    fs::remove_dir_all(data.join("log")).unwrap();
    copy(&old.join("log"), &data.join("log"));
    let refused = bailiwick(&["verify", text(&data)]).ends_with(4);
    assert!(refused.err.contains("verified"), "{refused:?}");
}

#[test]
fn info_names_the_ledger() {
    let found = bailiwick(&["ledger", "info", "--json", "--data", text(&demo().dir)]).ends_with(0);
    let found = found.json();
    assert_eq!(found["name"], "demo");
    assert_eq!(found["genesis_key"].as_str(), Some(demo().key.as_str()));
    let words = bailiwick(&["ledger", "info", "--data", text(&demo().dir)]).ends_with(0);
    assert!(words.out.contains("origin     demo.bailiwick.local/"), "{words:?}");
}

#[test]
fn a_whole_ledger_needs_no_repair() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("ledger");
    copy(&demo().dir, &data);
    let found = bailiwick(&["ledger", "repair", "--json", "--data", text(&data)]).ends_with(0);
    let found = found.json();
    assert_eq!(found["head"], found["head_before"]);
}

#[test]
fn where_no_ledger_is_that_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = text(dir.path());
    for args in [
        &["verify", nowhere][..],
        &["sql", "--data", nowhere, "select 1"],
        &["ledger", "info", "--data", nowhere],
    ] {
        assert!(bailiwick(args).ends_with(1).err.contains("holds no ledger"), "{args:?}");
    }
    let missing = bailiwick(&["verify", "/nowhere/at/all"]).ends_with(1);
    assert!(missing.err.contains("cannot read `/nowhere/at/all`"), "{missing:?}");
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), place).unwrap();
        }
    }
}
