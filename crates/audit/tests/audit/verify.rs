//! `verify_chain`: rows held against the entries of a real log.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bailiwick_audit::{Audit, Chain, Code, Error};
use bailiwick_core::record::hash::{LedgerId, Link, PublicKey};
use bailiwick_core::record::{EntryBuilder, KeyRing, Position};
use bailiwick_ledger::Committed;
use bailiwick_ledger::log::embedded::Embedded;
use bailiwick_ledger::log::{Append, Log as _, Reader};
use ed25519_dalek::SigningKey;
use serde_json::json;
use tempfile::TempDir;

use crate::archived::{archiving, open};
use crate::story::{Story, ask, audit, wait};

const LEDGER: LedgerId = LedgerId([1; 16]);

fn key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

fn ring() -> KeyRing {
    KeyRing::new(&PublicKey(key().verifying_key().to_bytes())).unwrap()
}

/// The story on a log, in entries of so many events each, and what a follower reads there.
fn recorded(story: &Story, each: usize, dir: &Path) -> (Arc<dyn Reader>, Vec<Committed>) {
    let mut log = Embedded::open(dir).unwrap();
    let mut at = Position::genesis(LEDGER);
    let mut entries = Vec::new();
    for events in story.events.chunks(each) {
        let mut builder = EntryBuilder::new(LEDGER, &at, 1);
        for recorded in events {
            let (event, mut body) = (&recorded.event, Vec::new());
            event.encode_body([3; 16], &mut body).unwrap();
            let (kind, schema) = (event.fact.kind(), event.fact.schema());
            builder.push(kind, schema, recorded.place.time, &body).unwrap();
        }
        let sealed = builder.seal(&key()).unwrap();
        let before = at.entry_number;
        at = sealed.position();
        let appended = log.append(before, &sealed.bytes, Some(&sealed.last_link));
        assert!(matches!(appended, Append::Committed), "{appended:?}");
        entries.push(Committed::decode(sealed.bytes.into()).unwrap());
    }
    (log.reader(), entries)
}

/// Tables over a story of 64 events, in entries of 7, with the first 28 sealed.
struct Kept {
    audit: Audit,
    entries: Vec<Committed>,
    log: TempDir,
    _archive: TempDir,
}

fn kept(altered: impl Fn(&mut Committed)) -> Kept {
    let mut story = Story::begin();
    while story.events.len() < 64 {
        let at = story.events.len();
        story.register(&format!("owner-{at}@example.com"), &format!("bot-{at}"));
    }
    story.events.truncate(64);
    let (log, archive) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (reader, entries) = recorded(&story, 7, log.path());
    let chain = Chain::new(LEDGER, reader, ring);
    let audit = open(archive.path()).beside(chain).unwrap();
    for entry in &entries {
        let mut given = Committed::decode(entry.bytes.clone()).unwrap();
        altered(&mut given);
        audit.ingest(given.number, &given.events).unwrap();
        if given.number == 4 {
            wait(audit.seal(true)).unwrap().unwrap();
        }
    }
    Kept { audit, entries, log, _archive: archive }
}

fn link(entries: &[Committed], seq: usize) -> String {
    let mut events = entries.iter().flat_map(|entry| &entry.events);
    events.nth(seq).unwrap().place.link.to_string()
}

#[test]
fn rows_that_are_those_of_the_entries_hold_wherever_they_are() {
    let Kept { audit, entries, log: _log, _archive } = kept(|_| ());
    for (from, to, over) in
        [(0_usize, 63, 10), (0, 0, 1), (63, 63, 1), (6, 7, 2), (27, 28, 2), (20, 50, 6)]
    {
        let table = ask(&audit, &format!("select * from verify_chain({from}, {to})")).unwrap();
        let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        let expected =
            "first_seq last_seq holds entries rows link_before link_after fault_seq fault";
        assert_eq!(names.join(" "), expected);
        let before = from.checked_sub(1).map(|at| link(&entries, at));
        let row =
            json!([from, to, true, over, to - from + 1, before, link(&entries, to), null, null]);
        assert_eq!(json!(table.rows), json!([row]), "{from} to {to}");
    }
    let counted = "select count(*) from verify_chain(0, 9) a join verify_chain(10, 63) b \
                   on a.link_after = b.link_before where a.holds and b.holds";
    assert_eq!(ask(&audit, counted).unwrap().rows, [[json!(1)]]);
    let named = "select holds from verify_chain($from, $to)";
    let given = [("from".to_owned(), json!(3)), ("to".to_owned(), json!(40))].into();
    let answer = wait(audit.run_with(named, &given, &audit.limits())).unwrap();
    assert_eq!(answer.rows, [[json!(true)]]);
}

#[test]
fn a_row_that_is_not_of_its_event_is_named() {
    for (seq, sealed) in [(3_u64, true), (40, false)] {
        let changes: [fn(&mut Committed, usize); 2] = [
            |entry, at| entry.events[at].place.link = Link([9; 32]),
            |entry, at| entry.events[at].place.time.0 += 1_000,
        ];
        for change in changes {
            let alter = |entry: &mut Committed| {
                let first = entry.events[0].place.index;
                if let Some(at) = seq.checked_sub(first).filter(|at| *at < 7) {
                    change(entry, usize::try_from(at).unwrap());
                }
            };
            let Kept { audit, log: _log, _archive, .. } = kept(alter);
            let told = ask(
                &audit,
                "select holds, rows, fault_seq, fault like '%not of the event%' from verify_chain(0, 63)",
            );
            let row = json!([[false, 64, seq, true]]);
            assert_eq!(json!(told.unwrap().rows), row, "{seq} sealed: {sealed}");
            let sql = format!("select holds from verify_chain({}, 63)", seq + 1);
            assert_eq!(ask(&audit, &sql).unwrap().rows, [[json!(true)]]);
        }
    }
}

#[test]
fn an_entry_that_is_altered_is_named() {
    let Kept { audit, entries, log, _archive } = kept(|_| ());
    let segment = fs::read_dir(log.path()).unwrap().map(|file| file.unwrap().path());
    let segment =
        segment.filter(|path| path.is_file()).max_by_key(|path| path.metadata().unwrap().len());
    let segment = segment.unwrap();
    let whole = fs::read(&segment).unwrap();
    // A byte of a body in the fifth entry: events 28 to 34.
    let body = &entries[4].bytes[44 + 92..44 + 92 + 40];
    let at = whole.windows(body.len()).position(|part| part == body).unwrap();
    let mut altered = whole.clone();
    altered[at + 20] ^= 1;
    fs::write(&segment, &altered).unwrap();
    let told = |from, to| {
        let sql = format!("select holds, fault_seq, fault from verify_chain({from}, {to})");
        ask(&audit, &sql).unwrap().rows.remove(0)
    };
    let broken = told(20, 40);
    assert_eq!(broken[0], json!(false), "{broken:?}");
    assert_eq!(broken[1], json!(28), "{broken:?}");
    assert!(broken[2].as_str().unwrap().contains("entry 5"), "{broken:?}");
    assert_eq!(told(0, 27)[0], json!(true));
    fs::write(&segment, &whole).unwrap();
    assert_eq!(told(20, 40), [json!(true), json!(null), json!(null)]);
}

#[test]
fn entries_of_another_key_do_not_hold() {
    let story = Story::begin();
    let dir = tempfile::tempdir().unwrap();
    let (reader, entries) = recorded(&story, 2, dir.path());
    let other = PublicKey(SigningKey::from_bytes(&[6; 32]).verifying_key().to_bytes());
    let chain = Chain::new(LEDGER, reader, move || KeyRing::new(&other).unwrap());
    let tables = audit().beside(chain).unwrap();
    for entry in &entries {
        tables.ingest(entry.number, &entry.events).unwrap();
    }
    let told = ask(&tables, "select holds, fault_seq, fault from verify_chain(1, 2)").unwrap();
    assert_eq!((&told.rows[0][0], &told.rows[0][1]), (&json!(false), &json!(0)));
    assert!(told.rows[0][2].as_str().unwrap().contains("not trusted"), "{told:?}");
}

#[test]
fn a_range_that_is_none_is_refused() {
    let Kept { audit, log: _log, _archive, .. } = kept(|_| ());
    let refused = |audit: &Audit, sql: &str| match ask(audit, sql) {
        Err(Error::Refused { code, message }) => (code, message),
        other => panic!("{sql}: {other:?}"),
    };
    for (sql, words) in [
        ("select * from verify_chain(5, 4)", "no events 5 to 4"),
        ("select * from verify_chain(null, 4)", "no events -1 to 4"),
        ("select count(*) from verify_chain(0, null)", "no events 0 to -1"),
        ("select * from verify_chain(-1, 4)", "no events -1 to 4"),
        ("select * from verify_chain(0, 64)", "the last is 63"),
        ("select * from verify_chain(0, 9223372036854775807)", "the last is 63"),
        ("select * from verify_chain", "takes the first and the last seq"),
        ("select * from verify_chain(1)", "takes (from, to)"),
    ] {
        let (code, message) = refused(&audit, sql);
        assert!(message.contains(words), "{sql}: {message}");
        assert!(matches!(code, Code::Invalid | Code::TableUnknown), "{sql}: {code:?}");
    }
    let plain = Story::begin().audit();
    let (_, message) = refused(&plain, "select * from verify_chain(0, 1)");
    assert!(message.contains("needs the ledger"), "{message}");
    // It is no table that anybody finds.
    for sql in ["show tables", "select table_name from information_schema.tables"] {
        let told = ask(&audit, sql).unwrap();
        assert!(!json!(told.rows).to_string().contains("verify_chain"), "{sql}");
    }
}

#[test]
fn what_the_archive_dropped_is_not_verified() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = archiving(dir.path());
    settings.keep = Some(bailiwick_core::time::Span(1));
    let mut story = Story::begin();
    for at in 0..30 {
        story.register(&format!("owner-{at}@example.com"), &format!("bot-{at}"));
    }
    let log = tempfile::tempdir().unwrap();
    let (reader, entries) = recorded(&story, 10, log.path());
    let audit = Audit::with_archive(bailiwick_audit::Settings { threads: 1, at_once: 1 }, settings);
    let audit = audit.unwrap().beside(Chain::new(LEDGER, reader, ring)).unwrap();
    for entry in &entries {
        audit.ingest(entry.number, &entry.events).unwrap();
        wait(audit.seal(true)).unwrap().unwrap();
    }
    let first = wait(audit.run("select min(seq) from events", &audit.limits())).unwrap().rows;
    let first = first[0][0].as_u64().unwrap();
    assert!(first > 0);
    let sql = format!("select * from verify_chain({}, {first})", first - 1);
    let refused = ask(&audit, &sql).unwrap_err().to_string();
    assert!(refused.contains(&format!("from {first} on")), "{refused}");
    let sql = format!("select holds from verify_chain({first}, {first})");
    assert_eq!(ask(&audit, &sql).unwrap().rows, [[json!(true)]]);
}
