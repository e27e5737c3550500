//! A stream that lost its end, put back from what a node kept.

use bailiwick_core::record::{EntryBuilder, LedgerId, Position};
use bailiwick_core::time::Time;
use bailiwick_ledger::Error;
use bailiwick_ledger::anchor::{self, Anchor, Fault, Keeper, repair};
use bailiwick_ledger::log::Log;
use bailiwick_ledger::log::jetstream::JetStream;
use bailiwick_ledger::log::suite::{all, commit};
use bytes::Bytes;
use ed25519_dalek::SigningKey;

use crate::jetstream::{administer, config};
use crate::nats::Server;

/// The first `count` entries of a ledger, two events each, signed.
fn chain(count: u64) -> Vec<Bytes> {
    let ledger = LedgerId([8; 16]);
    let key = SigningKey::from_bytes(&[1; 32]);
    let mut at = Position::genesis(ledger);
    let mut entries = Vec::new();
    for number in 1..=count {
        let mut builder = EntryBuilder::new(ledger, &at, 1);
        for half in 0..2 {
            builder.push(1, 1, Time(number * 2 + half), &[9; 200]).unwrap();
        }
        let sealed = builder.seal(&key).unwrap();
        at = sealed.position();
        entries.push(sealed.bytes.into());
    }
    entries
}

#[test]
fn a_stream_that_lost_its_end_is_repaired_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let anchor_dir = tempfile::tempdir().unwrap();
    let Some(server) = Server::start(dir.path()) else { return };
    let entries = chain(9);
    let keeper = Keeper::start(anchor_dir.path()).unwrap();
    let mut log = JetStream::connect(&config(&server.url())).unwrap();
    for (head, entry) in (0..).zip(&entries) {
        commit(&mut log, head, entry);
        keeper.advance(entry.clone());
    }
    drop(keeper);
    drop(log);
    administer(&server, |context| async move {
        context.delete_stream("BAILIWICK_test").await.unwrap();
    });
    let mut log = JetStream::connect(&config(&server.url())).unwrap();
    for (head, entry) in (0..).zip(&entries[..4]) {
        commit(&mut log, head, entry);
    }
    let known = Anchor::load(anchor_dir.path()).unwrap();
    let refused = anchor::check(known.as_ref(), &*log.reader(), false).unwrap_err();
    let rolled_back = matches!(refused, Error::Anchor(Fault::HeadBelow { head: 4, anchored: 9 }));
    assert!(rolled_back, "{refused}");
    let repaired = repair(&mut log, anchor_dir.path()).unwrap();
    assert_eq!((repaired.head_before, repaired.head), (4, 9));
    assert_eq!(all(&*log.reader()), entries);
    anchor::check(known.as_ref(), &*log.reader(), false).unwrap();
}
