//! Checkpoints of a real ledger: what is signed is what the entries say.

use bailiwick_core::command::{Command, RefusalCode};
use bailiwick_core::event::{Fact, SegmentSealed};
use bailiwick_core::record::note::{self, Checkpoint};
use bailiwick_core::record::{Digest, EntryRef, Link, PublicKey, Root, tree};
use bailiwick_ledger::Ledger;
use bailiwick_ledger::anchor::Keeper;

use super::{furnish, open, read_case, submit};

/// The root of the first `size` events, from the entries' own bytes.
async fn root_of(ledger: &Ledger, size: u64) -> Root {
    let mut follower = ledger.follow(0);
    let mut leaves = Vec::new();
    while (leaves.len() as u64) < size {
        let entry = follower.next().await.unwrap().unwrap();
        let entry = EntryRef::parse(&entry.bytes).unwrap();
        leaves.extend(entry.frames().map(|frame| frame.leaf()));
    }
    leaves.truncate(usize::try_from(size).unwrap());
    tree::root(&leaves)
}

fn recorded(ledger: &Ledger) -> usize {
    let events = ledger.events(0, 10_000).unwrap();
    events.iter().filter(|r| matches!(r.event.fact, Fact::CheckpointSigned(_))).count()
}

#[tokio::test]
async fn a_checkpoint_is_of_the_tree_as_it_stood_and_is_signed_once() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    furnish(&ledger).await;
    let events = ledger.info().events;
    let (index, signed) = ledger.checkpoint().await.unwrap();
    assert_eq!((index, signed.size), (events, events));
    assert_eq!(signed.root, root_of(&ledger, events).await);
    let read = Checkpoint::read(signed.note.as_str()).unwrap();
    assert_eq!((read.size, read.root), (signed.size, signed.root));
    assert_eq!(read.origin, ledger.info().origin);
    let key = PublicKey(ledger.signing_key().verifying_key().to_bytes());
    note::verify(signed.note.as_str(), &read.origin, &key).unwrap();

    // Its own event is no news, and that rows were put away is none either.
    let sealed = SegmentSealed {
        first: 0,
        last: 0,
        rows: 1,
        bytes: 1,
        file: Digest([1; 32]),
        before: None,
        after: Link([2; 32]),
        root: Root([3; 32]),
        manifest: Digest([4; 32]),
    };
    submit(&ledger, Command::RecordSegment(sealed)).await;
    assert_eq!(ledger.checkpoint().await.unwrap(), (index, signed));
    assert_eq!(recorded(&ledger), 1);
    submit(&ledger, read_case("1")).await;
    let (index, more) = ledger.checkpoint().await.unwrap();
    assert_eq!((more.size, index), (index, ledger.info().events - 1));
    assert_eq!(more.root, root_of(&ledger, index).await);
    assert_eq!(recorded(&ledger), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_at_once_gets_one_checkpoint_and_calls_go_on_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    furnish(&ledger).await;
    let calls = tokio::spawn({
        let ledger = ledger.clone();
        async move {
            for case in 0..200 {
                submit(&ledger, read_case(&case.to_string())).await;
            }
        }
    });
    let mut sizes = Vec::new();
    while !calls.is_finished() {
        let (one, other) = tokio::join!(ledger.checkpoint(), ledger.checkpoint());
        for (_, signed) in [one.unwrap(), other.unwrap()] {
            assert_eq!(signed.root, root_of(&ledger, signed.size).await);
            sizes.push(signed.size);
        }
    }
    calls.await.unwrap();
    assert!(sizes.is_sorted(), "{sizes:?}");
    sizes.dedup();
    assert_eq!(recorded(&ledger), sizes.len());
}

#[tokio::test]
async fn a_checkpoint_outlives_a_restart_in_the_state_and_in_the_anchor() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    furnish(&ledger).await;
    let (_, signed) = ledger.checkpoint().await.unwrap();
    ledger.close();
    drop(ledger);
    let anchor = std::fs::read(dir.path().join("anchor/anchor")).unwrap();
    let note = signed.note.as_str().as_bytes();
    assert!(anchor.windows(note.len()).any(|part| part == note));
    let ledger = open(dir.path());
    let last = ledger.read(|state| state.checkpoint().map(|(_, last)| last.clone()));
    assert_eq!(last.as_ref(), Some(&signed));
    let (_, next) = ledger.checkpoint().await.unwrap();
    assert!(next.size > signed.size, "a new writer records its start");
}

#[tokio::test]
async fn a_node_signs_nothing_on_a_ledger_without_what_it_signed_last() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    furnish(&ledger).await;
    let (_, signed) = ledger.checkpoint().await.unwrap();
    let origin = ledger.info().origin;
    let key = ledger.signing_key();
    ledger.close();
    drop(ledger);
    // This node signed more, or something else, than the ledger knows of.
    for (size, root) in [(signed.size + 50, signed.root), (signed.size, Root([9; 32]))] {
        let note = Checkpoint { origin: origin.clone(), size, root }.sign(&key).unwrap();
        let keeper = Keeper::start(&dir.path().join("anchor")).unwrap();
        keeper.checkpoint(note);
        keeper.flush();
        drop(keeper);
        let ledger = open(dir.path());
        let refused = ledger.checkpoint().await.unwrap_err();
        assert_eq!(refused.code, RefusalCode::WrongState);
        assert!(refused.message.contains("set back"), "{}", refused.message);
        ledger.close();
    }
}
