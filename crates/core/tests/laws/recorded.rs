//! What the server records of itself: that it was asked, that events were put away, and that the
//! tree was signed.

use bailiwick_core::command::{Answer, Command, RefusalCode};
use bailiwick_core::decide::CHECKPOINT_AGE_MAX;
use bailiwick_core::event::{
    Actor, CheckpointSigned, Fact, QueryDoor, QueryOutcome, QueryRun, Role, SegmentSealed,
};
use bailiwick_core::record::hash::{Digest, Link, Root};
use bailiwick_core::record::note::Checkpoint;
use ed25519_dalek::SigningKey;

use super::harness::{Ledger, actor, id, text};

pub(super) fn asked(by: Actor) -> Command {
    let query = QueryRun {
        door: QueryDoor::Http,
        name: None,
        text: Digest([1; 32]),
        parameters: None,
        as_of: Some(3),
        rows: 2,
        bytes: 90,
        milliseconds: 4,
        outcome: QueryOutcome::Answered,
        code: None,
        unrecorded: 0,
    };
    Command::RecordQuery { by, query }
}

pub(super) fn sealed(first: u64, last: u64, rows: u64) -> Command {
    Command::RecordSegment(SegmentSealed {
        first,
        last,
        rows,
        bytes: 700,
        file: Digest([1; 32]),
        before: None,
        after: Link([2; 32]),
        root: Root([3; 32]),
        manifest: Digest([4; 32]),
    })
}

fn checkpoint(size: u64, origin: &str) -> CheckpointSigned {
    let (key, root) = (SigningKey::from_bytes(&[9; 32]), Root([5; 32]));
    let note = Checkpoint { origin: origin.to_owned(), size, root }.sign(&key).unwrap();
    CheckpointSigned { size, root, note: text(&note) }
}

pub(super) fn signed(size: u64, origin: &str) -> Command {
    Command::RecordCheckpoint(checkpoint(size, origin))
}

#[test]
fn a_question_is_told_as_an_act_of_who_asked_it() {
    let mut ledger = Ledger::world();
    let before = ledger.state.clone();
    let auditor = actor(Role::Auditor);
    let done = ledger.given(asked(auditor.clone()));
    assert_eq!(done.kind, 140);
    let told = ledger.log.last().unwrap();
    assert_eq!(told.event.about.actor, auditor);
    assert_eq!(told.event.about.on_behalf_of, None);
    assert!(matches!(&told.event.fact, Fact::QueryRun(query) if query.rows == 2));
    // Nothing is decided by it: but for its place, the state is what it was.
    assert_eq!(ledger.state.feed().last(), before.feed().last());
    assert_eq!(ledger.state.next_index(), before.next_index() + 1);
}

#[test]
fn a_question_of_a_person_is_told_with_that_person() {
    let mut ledger = Ledger::world();
    let alice = Actor::Token {
        issuer: text("https://id.example"),
        owner: id("alice"),
        agent: None,
        role: Role::Auditor,
    };
    ledger.given(asked(alice));
    assert_eq!(ledger.log.last().unwrap().event.about.on_behalf_of, Some(id("alice")));
    // What was served was served, whatever became of the key since.
    let gone = Actor::Credential { id: id("nobody"), role: Role::Auditor };
    ledger.given(asked(gone.clone()));
    assert_eq!(ledger.log.last().unwrap().event.about.actor, gone);
}

#[test]
fn only_events_that_are_on_the_ledger_are_put_away() {
    let mut ledger = Ledger::world();
    let next = ledger.state.next_index();
    for (first, last, rows) in [
        (0, next, next + 1),
        (0, u64::MAX, 0),
        (0, 2, 2),
        (0, 2, 4),
        (2, 1, 0),
        (u64::MAX, u64::MAX, 1),
    ] {
        let refused = ledger.refused(Actor::System, sealed(first, last, rows));
        assert_eq!(refused, RefusalCode::OutOfRange, "{first} {last} {rows}");
    }
    assert_eq!(ledger.state.next_index(), next);
    assert_eq!(ledger.given(sealed(0, next - 1, next)).kind, 144);
    let by_hand = ledger.when(actor(Role::Admin), sealed(0, 0, 1));
    assert!(matches!(by_hand, Answer::Refused(no) if no.code == RefusalCode::NotPermitted));
}

#[test]
fn a_checkpoint_is_of_a_larger_tree_than_the_one_before() {
    let mut ledger = Ledger::world();
    let next = ledger.state.next_index();
    let refused =
        |ledger: &mut Ledger, size| ledger.refused(Actor::System, signed(size, "example.com/test"));
    assert_eq!(refused(&mut ledger, next + 1), RefusalCode::OutOfRange);
    assert_eq!(ledger.given(signed(next - 1, "example.com/test")).kind, 4);
    let (index, last) = ledger.state.checkpoint().unwrap();
    assert_eq!((index, last.size), (next, next - 1));
    for size in [0, next - 2, next - 1] {
        assert_eq!(refused(&mut ledger, size), RefusalCode::AlreadyExists, "{size}");
    }
    ledger.given(signed(next + 1, "example.com/test"));
    assert_eq!(ledger.state.checkpoint().unwrap().1.size, next + 1);
    let by_hand = ledger.when(actor(Role::Admin), signed(next + 2, "example.com/test"));
    assert!(matches!(by_hand, Answer::Refused(no) if no.code == RefusalCode::NotPermitted));
}

#[test]
fn a_checkpoint_whose_note_says_something_else_is_refused() {
    let mut ledger = Ledger::world();
    let next = ledger.state.next_index();
    let good = checkpoint(next, "example.com/test");
    let other = checkpoint(next - 1, "example.com/test");
    for wrong in [
        checkpoint(next, "example.com/other"),
        CheckpointSigned { note: other.note, ..good.clone() },
        CheckpointSigned { root: Root([6; 32]), ..good.clone() },
        CheckpointSigned { note: text("no note"), ..good.clone() },
    ] {
        let refused = ledger.refused(Actor::System, Command::RecordCheckpoint(wrong));
        assert_eq!(refused, RefusalCode::WrongState);
    }
    assert_eq!(ledger.state.checkpoint(), None);
    ledger.given(Command::RecordCheckpoint(good));
}

#[test]
fn a_checkpoint_of_long_ago_is_refused() {
    let mut ledger = Ledger::world();
    let old = ledger.state.next_index();
    while ledger.state.next_index() <= old + CHECKPOINT_AGE_MAX {
        ledger.given(asked(Actor::System));
    }
    let refused = ledger.refused(Actor::System, signed(old, "example.com/test"));
    assert_eq!(refused, RefusalCode::OutOfRange);
    ledger.given(signed(old + 1, "example.com/test"));
}
