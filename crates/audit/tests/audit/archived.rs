//! Sealed rows: whatever is asked, it makes no difference what is in memory, what is in the archive
//! and what is on its way there; and nothing that was altered is read.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use bailiwick_audit::{Archiving, Audit, Limits, Place, Settings, Table};
use bailiwick_core::event::{CheckpointSigned, Fact};
use bailiwick_core::record::hash::{LedgerId, PublicKey, Root};
use bailiwick_core::record::note::Checkpoint;
use bailiwick_core::time::Span;
use ed25519_dalek::SigningKey;
use serde_json::Value;
use tempfile::TempDir;

use crate::story::{Story, ask, lines, text, wait};
use crate::year::year;

const EVERYTHING: Limits = Limits { bytes: usize::MAX, ..Limits::INTERACTIVE };

/// An archive in a directory, in which nothing is sealed but by hand.
pub(crate) fn archiving(dir: &Path) -> Archiving {
    let key = SigningKey::from_bytes(&[5; 32]);
    let trusted = vec![PublicKey(key.verifying_key().to_bytes())];
    let place = Place::Directory(dir.to_owned());
    let mut archiving = Archiving::new(place, LedgerId([1; 16]), key, trusted);
    archiving.events = u64::MAX;
    archiving.after = Span::days(10_000);
    archiving.at_latest = Span::days(10_000);
    archiving
}

pub(crate) fn open(dir: &Path) -> Audit {
    Audit::with_archive(Settings { threads: 2, at_once: 4 }, archiving(dir)).unwrap()
}

/// The story in entries of so many events each, entry 1 first.
fn entries(
    story: &Story,
    each: usize,
) -> impl Iterator<Item = (u64, &[bailiwick_core::event::Recorded])> {
    (1..).zip(story.events.chunks(each))
}

/// Tables in memory, and the same with every entry but the last sealed as a segment of its own.
pub(crate) fn both(story: &Story, each: usize) -> (Audit, Audit, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (plain, sealed) = (crate::story::audit(), open(dir.path()));
    let last = story.events.len().div_ceil(each) as u64;
    for (number, events) in entries(story, each) {
        plain.ingest(number, events).unwrap();
        sealed.ingest(number, events).unwrap();
        if number < last {
            wait(sealed.seal(true)).unwrap().unwrap();
        }
    }
    (plain, sealed, dir)
}

const ORIGIN: &str = "bailiwick.example/default";

fn signed(size: u64) -> CheckpointSigned {
    let (key, root) = (SigningKey::from_bytes(&[4; 32]), Root([6; 32]));
    let note = Checkpoint { origin: ORIGIN.to_owned(), size, root }.sign(&key).unwrap();
    CheckpointSigned { size, root, note: text(&note) }
}

/// Every row of a table, in an order that does not depend on where rows are.
pub(crate) fn whole(audit: &Audit, table: &str) -> Table {
    let mut whole = wait(audit.run(&format!("select * from {table}"), &EVERYTHING)).unwrap();
    whole.rows.sort_by_key(|row| row[0].as_u64());
    whole
}

/// All but `segments`, of which rows in memory know nothing.
const TABLES: [&str; 11] = [
    "events",
    "calls",
    "grants",
    "tasks",
    "approvals",
    "revocations",
    "findings",
    "agents",
    "owners",
    "policies",
    "checkpoints",
];

#[track_caller]
fn assert_same(one: &Audit, other: &Audit) {
    for table in TABLES {
        let (one, other) = (whole(one, table), whole(other, table));
        assert_eq!(one.rows.len(), other.rows.len(), "{table}");
        for (row, other) in one.rows.iter().zip(&other.rows) {
            let cells = one.columns.iter().zip(row.iter().zip(other));
            let differs: Vec<_> = cells.filter(|(_, (one, other))| one != other).collect();
            assert_eq!(differs, [], "{table} {}", row[0]);
        }
    }
}

#[test]
fn a_start_goes_on_where_the_last_segment_ended() {
    let story = year(3, 200);
    let (plain, sealed, dir) = both(&story, 60);
    let sealed_until = sealed.archive().unwrap().unwrap();
    drop(sealed);
    let again = open(dir.path());
    assert_eq!(again.ingested(), sealed_until.last);
    assert_eq!(again.archive().unwrap().unwrap().recent, 0);
    let after = again.resume_after();
    let all = entries(&story, 60).collect::<Vec<_>>();
    let rest: Vec<_> = all.iter().filter(|(number, _)| *number > after).collect();
    assert_eq!(rest.len(), 2, "the last sealed entry and the one behind it");
    for (number, events) in rest {
        again.ingest(*number, events).unwrap();
    }
    assert_same(&plain, &again);
}

#[test]
fn what_a_segment_leaves_in_memory_is_there_after_a_start() {
    let mut story = year(5, 60);
    let checkpoint = signed(story.events.len() as u64);
    story.tell(Fact::CheckpointSigned(checkpoint.clone()));
    for at in 0..30 {
        story.register(&format!("owner-{at}@example.com"), &format!("bot-{at}"));
    }
    let (plain, sealed, dir) = both(&story, 20);
    assert_same(&plain, &sealed);
    drop(sealed);
    let again = open(dir.path());
    let row = &whole(&again, "checkpoints").rows[0];
    assert_eq!((row[2].as_u64(), row[4].as_str()), (Some(checkpoint.size), Some(ORIGIN)));
    assert_eq!(row[5].as_str(), Some(checkpoint.note.as_str()));
    for (number, events) in entries(&story, 20).filter(|(number, _)| *number > again.resume_after())
    {
        again.ingest(number, events).unwrap();
    }
    assert_same(&plain, &again);
}

#[test]
fn without_its_state_the_tables_are_folded_anew_and_nothing_is_sealed_twice() {
    let story = year(4, 200);
    let (plain, sealed, dir) = both(&story, 60);
    drop(sealed);
    fs::remove_dir_all(dir.path().join("state")).unwrap();
    let again = open(dir.path());
    assert_eq!((again.resume_after(), again.ingested()), (0, None));
    for (number, events) in entries(&story, 60) {
        again.ingest(number, events).unwrap();
    }
    assert_same(&plain, &again);
    wait(again.seal(true)).unwrap().unwrap();
    assert_same(&plain, &again);
}

#[test]
fn another_ledger_s_events_are_refused() {
    let (_, sealed, dir) = both(&year(3, 100), 60);
    drop(sealed);
    let again = open(dir.path());
    let mut other = year(3, 100);
    for recorded in &mut other.events {
        recorded.place.link.0[31] ^= 1;
    }
    let after = again.resume_after();
    let (number, events) = entries(&other, 60).find(|(number, _)| *number > after).unwrap();
    assert_eq!(again.ingest(number, events).unwrap_err().code(), "archive_differs");
    let mut archiving = archiving(dir.path());
    archiving.ledger = LedgerId([2; 16]);
    let settings = Settings { threads: 1, at_once: 1 };
    assert_eq!(Audit::with_archive(settings, archiving).unwrap_err().code(), "archive_differs");
}

#[test]
fn answers_are_whole_while_rows_move_to_the_archive() {
    let story = year(5, 1_500);
    let dir = tempfile::tempdir().unwrap();
    let sealed = open(dir.path());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (number, events) in entries(&story, 40) {
                sealed.ingest(number, events).unwrap();
                if number % 3 == 0 {
                    wait(sealed.seal(true)).unwrap().unwrap();
                }
            }
            done.store(true, Ordering::Release);
        });
        let mut asked = 0;
        while !done.load(Ordering::Acquire) || asked == 0 {
            let answer = wait(sealed.run("select seq, link from events order by seq", &EVERYTHING));
            let answer = answer.unwrap();
            let upto = answer.as_of_seq.map_or(0, |seq| usize::try_from(seq).unwrap() + 1);
            assert_eq!(answer.rows.len(), upto);
            for (row, recorded) in answer.rows.iter().zip(&story.events) {
                let link = Value::from(recorded.place.link.to_string());
                assert_eq!(row, &[Value::from(recorded.place.index), link]);
            }
            let sql = "select count(*) as a, count(distinct seq) as b, (select count(*) from events
                    where kind in ('call.authorized', 'call.denied')) as c,
                (select count(*) from grants) as d, (select count(distinct seq) from grants) as e,
                (select count(*) from events where kind = 'grant.issued') as f from calls";
            let counts = ask(&sealed, sql).unwrap().rows.remove(0);
            assert!(counts[0] == counts[1] && counts[0] == counts[2], "{counts:?}");
            assert!(counts[3] == counts[4] && counts[3] == counts[5], "{counts:?}");
            asked += 1;
        }
    });
    let plain = crate::story::audit();
    for (number, events) in entries(&story, 40) {
        plain.ingest(number, events).unwrap();
    }
    assert_same(&plain, &sealed);
}

/// The files of an archive under a folder, in order.
fn files(dir: &Path, under: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join(under)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn an_altered_segment_is_named_and_not_read_and_others_are() {
    let (plain, sealed, dir) = both(&year(6, 200), 60);
    let segments = files(dir.path(), "segments");
    let bytes = fs::read(&segments[1]).unwrap();
    let mut altered = bytes.clone();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    // Read once, so that what follows is an alteration under a running server as well.
    assert_eq!(
        lines(&sealed, "select count(link) from events"),
        lines(&plain, "select count(link) from events")
    );
    fs::write(&segments[1], &altered).unwrap();
    for _ in 0..2 {
        let refused = ask(&sealed, "select max(link) from events").unwrap_err();
        assert_eq!(refused.code(), "archive_altered");
        assert!(refused.to_string().contains(segments[1].file_name().unwrap().to_str().unwrap()));
        assert_eq!(
            ask(&sealed, "select max(link) from events where seq < 60").unwrap().rows.len(),
            1
        );
        assert_eq!(ask(&sealed, "select count(*) from agents").unwrap().rows.len(), 1);
    }
    fs::remove_file(&segments[1]).unwrap();
    let refused = ask(&sealed, "select max(link) from events").unwrap_err();
    assert_eq!(refused.code(), "archive_missing");
    fs::write(&segments[1], &bytes).unwrap();
    assert_same(&plain, &sealed);
}

#[test]
fn a_manifest_that_was_altered_is_not_believed() {
    let (_, sealed, dir) = both(&year(6, 100), 60);
    drop(sealed);
    let newest = files(dir.path(), "manifest").pop().unwrap();
    let text = fs::read_to_string(&newest).unwrap();
    fs::write(&newest, text.replacen("\"rows\":60", "\"rows\":61", 1)).unwrap();
    let settings = Settings { threads: 1, at_once: 1 };
    let refused = Audit::with_archive(settings, archiving(dir.path())).unwrap_err();
    assert_eq!(refused.code(), "archive_altered");
    assert!(refused.to_string().contains("manifest/"));
}

#[test]
fn what_no_manifest_names_is_not_read_and_goes() {
    let story = year(7, 200);
    let (plain, sealed, dir) = both(&story, 60);
    // A try that broke off: a file with rows that the archive has already, and no manifest.
    let orphan = dir.path().join("segments/seg-000000000060-000000000130.parquet");
    fs::copy(files(dir.path(), "segments").pop().unwrap(), &orphan).unwrap();
    assert_same(&plain, &sealed);
    wait(sealed.seal(true)).unwrap().unwrap();
    assert!(!orphan.exists());
    assert_same(&plain, &sealed);
}

#[test]
fn the_newest_events_are_the_same_wherever_they_are() {
    let (plain, sealed, _dir) = both(&year(9, 200), 60);
    for sql in [
        "select * from events order by seq desc limit 5",
        "select seq, kind from events order by seq desc, kind limit 70 offset 30",
        "select kind, seq from (select * from events) order by seq desc limit 100000",
        "select kind, cause_seq as seq from events order by seq desc nulls last, kind limit 7",
        "select -seq as seq from events order by seq desc limit 7",
        "select seq from events where kind = 'call.denied' order by seq desc limit 3",
        "select e.seq from events e join grants g on g.seq = e.seq order by e.seq desc limit 3",
        "select count(*) from (select seq from events order by seq desc limit 9) where seq < 50",
    ] {
        assert_eq!(lines(&sealed, sql), lines(&plain, sql), "{sql}");
    }
    let rows = ask(&sealed, "select seq from events order by seq desc limit 3").unwrap().rows;
    let last = sealed.ingested().unwrap();
    assert_eq!(rows, [[last.into()], [(last - 1).into()], [(last - 2).into()]] as [[Value; 1]; 3]);
    // It is not by reading everything that they are found.
    let plan = lines(&sealed, "explain select * from events order by seq desc limit 3");
    assert!(
        plan.iter().any(|line| line.contains(&format!("seq >= Int64({})", last - 2))),
        "{plan:?}"
    );
}

#[test]
fn an_old_ledger_that_is_read_anew_is_not_cut_into_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let by_hand = archiving(dir.path());
    let usual = Archiving::new(by_hand.place, by_hand.ledger, by_hand.key, by_hand.trusted);
    let audit = Audit::with_archive(Settings { threads: 1, at_once: 1 }, usual).unwrap();
    for (number, events) in entries(&year(3, 100), 30) {
        audit.ingest(number, events).unwrap();
        assert_eq!(wait(audit.seal(false)).unwrap(), None, "its events are old, and came just now");
    }
}

#[test]
fn segments_are_listed_as_the_manifest_has_them() {
    let (plain, sealed, _dir) = both(&year(7, 200), 60);
    assert_eq!(lines(&plain, "select * from segments"), Vec::<String>::new());
    let status = sealed.archive().unwrap().unwrap();
    let sql = "select count(*), min(seq), max(last_seq), sum(rows), sum(bytes + derived_bytes), bool_and(kept) from segments";
    let last = status.last.unwrap();
    let expected = format!("[{},0,{last},{},{},true]", status.segments, last + 1, status.bytes);
    assert_eq!(lines(&sealed, sql), [expected]);
    // Each begins with the link that the one before ended with.
    let sql = "select count(*) from segments a join segments b on b.seq = a.last_seq + 1 and b.link_before = a.link_after";
    assert_eq!(lines(&sealed, sql), [format!("[{}]", status.segments - 1)]);
    let sql = "select count(*) from segments s join events e on e.seq = s.last_seq and e.link = s.link_after";
    assert_eq!(lines(&sealed, sql), [format!("[{}]", status.segments)]);
}

#[test]
fn old_segments_are_dropped_and_events_begin_later() {
    let dir = tempfile::tempdir().unwrap();
    let story = year(8, 300);
    let mut archiving = archiving(dir.path());
    archiving.keep = Some(Span::days(1));
    let audit = Audit::with_archive(Settings { threads: 2, at_once: 2 }, archiving).unwrap();
    for (number, events) in entries(&story, 60) {
        audit.ingest(number, events).unwrap();
        wait(audit.seal(true)).unwrap().unwrap();
    }
    // Everything in the story is older than a day; the newest segment is always kept.
    let status = audit.archive().unwrap().unwrap();
    assert_eq!(status.segments, 1);
    let first = lines(&audit, "select min(seq), max(seq) from events");
    assert_eq!(first, [format!("[{},{}]", status.first.unwrap(), story.events.len() - 1)]);
    // The one before is still there for questions that began before it was dropped.
    assert_eq!(files(dir.path(), "segments").len(), 2);
}

#[test]
fn segments_are_kept_as_long_as_was_said() {
    let dir = tempfile::tempdir().unwrap();
    let story = year(8, 300);
    let mut archiving = archiving(dir.path());
    // The story began in 2026 and takes some days; no machine's clock is a hundred years on.
    archiving.keep = Some(Span::days(36_500));
    let audit = Audit::with_archive(Settings { threads: 2, at_once: 2 }, archiving).unwrap();
    for (number, events) in entries(&story, 60) {
        audit.ingest(number, events).unwrap();
        wait(audit.seal(true)).unwrap().unwrap();
    }
    assert_eq!(audit.archive().unwrap().unwrap().dropped, 0);
}
