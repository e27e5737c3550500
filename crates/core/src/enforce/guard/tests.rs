use super::*;
use crate::enforce::LEASE;
use crate::event::Actor;
use crate::record::hash::Link;
use crate::time::Time;

const fn at(milliseconds: u64) -> Monotonic {
    Monotonic(0).after(Span(milliseconds))
}

fn item(number: u64, index: u64, selector: Selector) -> Item {
    Item {
        number,
        index,
        link: Link([0; 32]),
        time: Time(0),
        kind: "revocation.issued".to_owned(),
        selector,
        suspend: true,
        reason_code: None,
        reason: None,
        by: Actor::System,
        cause: None,
    }
}

/// An item that names nothing that any test holds.
fn beside(number: u64) -> Item {
    item(number, number, Selector::Grant(GrantId(999)))
}

fn id<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}

/// Who calls; the parts that tests vary.
#[derive(Clone, Copy)]
struct Call {
    agent: Option<&'static str>,
    owner: Option<&'static str>,
    task: Option<u64>,
    tool: Option<&'static str>,
    action: &'static str,
    resource: &'static str,
}

const CALL: Call = Call {
    agent: Some("helper"),
    owner: Some("alice"),
    task: Some(5),
    tool: Some("crm/read_case"),
    action: "crm/read_case",
    resource: "crm://case/1/notes",
};

impl Call {
    /// The receipt of event 10, asked for at 50 ms.
    fn held(self) -> Held {
        self.held_of(10, at(50))
    }

    fn held_of(self, index: u64, asked: Monotonic) -> Held {
        let (agent, owner) = (self.agent.map(id), self.owner.map(id));
        let tool = self.tool.map(id);
        let subject = Subject {
            grant: GrantId(1),
            agent: agent.as_ref(),
            owner: owner.as_ref(),
            task: self.task.map(TaskId),
            tool: tool.as_ref(),
            action: &id(self.action),
            resource: &id(self.resource),
        };
        Held::new(index, asked, &subject)
    }

    /// Whether an item on the selector ends it.
    fn is_ended_by(self, selector: Selector) -> bool {
        let mut guard = leased();
        guard.hear(&item(1, 11, selector), at(60));
        match guard.may_go_on(&self.held(), at(60)) {
            Ok(()) => false,
            Err(ended) => {
                assert_eq!(ended, Ended::Narrowed { suspend: true });
                assert_eq!(guard.may_start(&self.held(), at(60)), Err(ended));
                true
            }
        }
    }
}

#[test]
fn what_a_call_rests_on_ends_it_when_it_is_taken_back() {
    let (parent, holder) = (Selector::Grant(GrantId(9)), Selector::Agent(id("giver")));
    let held = CALL.held().resting_on(&[parent.clone(), holder.clone()]);
    for selector in [parent, holder] {
        assert!(!CALL.is_ended_by(selector.clone()));
        let mut guard = leased();
        assert_eq!(guard.may_go_on(&held, at(60)), Ok(()));
        guard.hear(&item(1, 11, selector), at(60));
        assert!(matches!(guard.may_go_on(&held, at(60)), Err(Ended::Narrowed { .. })));
    }
    assert!(CALL.is_ended_by(Selector::Grant(GrantId(1))));
}

/// Stands at 0 since the beginning and holds a lease until 1040 ms.
fn leased() -> Guard {
    let mut guard = Guard::new(LEASE);
    guard.stands_at(0, at(0));
    guard.pinged(Nonce(0), at(40));
    assert!(guard.ponged(Nonce(0), 0));
    guard
}

#[test]
fn guard_that_has_heard_nothing_denies_everything() {
    let guard = Guard::new(LEASE);
    let held = CALL.held();
    assert_eq!((guard.applied(), guard.lease_ends(), guard.is_behind()), (None, None, true));
    assert!(!guard.is_alive(at(0)));
    assert_eq!(guard.may_ask(at(0)), Err(Ended::Lease));
    assert_eq!(guard.may_start(&held, at(50)), Err(Ended::Lease));
    assert_eq!(guard.may_go_on(&held, at(50)), Err(Ended::Lease));
}

#[test]
fn lease_counts_from_when_the_ping_was_sent_and_ends_on_the_dot() {
    let guard = leased();
    assert_eq!(guard.lease_ends(), Some(at(1_040)));
    let last = Monotonic(at(1_040).0 - 1);
    let held = CALL.held_of(10, at(1_000));
    assert!(guard.is_alive(last) && !guard.is_alive(at(1_040)));
    assert_eq!((guard.may_ask(last), guard.may_ask(at(1_040))), (Ok(()), Err(Ended::Lease)));
    assert_eq!(guard.may_go_on(&held, last), Ok(()));
    assert_eq!(guard.may_go_on(&held, at(1_040)), Err(Ended::Lease));
    assert_eq!(guard.may_start(&held, at(1_040)), Err(Ended::Lease));
}

#[test]
fn answer_renews_once_and_only_to_a_ping_of_ours() {
    let mut guard = leased();
    assert!(!guard.ponged(Nonce(0), 0), "it was answered before");
    assert!(!guard.ponged(Nonce(7), 0), "it was never sent");
    assert_eq!(guard.lease_ends(), Some(at(1_040)));
}

#[test]
fn answers_out_of_order_never_shorten_the_lease() {
    let mut guard = leased();
    guard.pinged(Nonce(1), at(100));
    guard.pinged(Nonce(2), at(300));
    assert!(guard.ponged(Nonce(2), 0) && guard.ponged(Nonce(1), 0));
    assert_eq!(guard.lease_ends(), Some(at(1_300)));
}

#[test]
fn answer_waits_until_every_item_up_to_its_number_is_applied() {
    let mut guard = leased();
    for (nonce, sent, number) in [(1, 100, 3), (2, 200, 2), (3, 300, 4), (4, 400, 4)] {
        guard.pinged(Nonce(nonce), at(sent));
        assert!(guard.ponged(Nonce(nonce), number));
    }
    for (number, ends) in [(1, 1_040), (2, 1_200), (3, 1_200), (4, 1_400)] {
        assert_eq!(guard.hear(&beside(number), at(500)), Heard::Next);
        assert_eq!(guard.lease_ends(), Some(at(ends)), "after item {number}");
    }
}

#[test]
fn item_behind_a_gap_does_not_let_an_answer_count() {
    let mut guard = leased();
    guard.pinged(Nonce(1), at(100));
    assert!(guard.ponged(Nonce(1), 2));
    assert_eq!(guard.hear(&beside(2), at(110)), Heard::Gap { after: 0 });
    assert_eq!(guard.lease_ends(), Some(at(1_040)));
    guard.hear(&beside(1), at(120));
    assert_eq!(guard.lease_ends(), Some(at(1_040)));
    guard.hear(&beside(2), at(130));
    assert_eq!(guard.lease_ends(), Some(at(1_100)));
}

#[test]
fn answer_before_the_position_counts_once_that_is_known_and_no_lower() {
    for (position, ends) in [(3, Some(at(1_010))), (4, Some(at(1_010))), (2, None)] {
        let mut guard = Guard::new(LEASE);
        guard.pinged(Nonce(1), at(10));
        assert!(guard.ponged(Nonce(1), 3));
        assert_eq!(guard.lease_ends(), None);
        guard.stands_at(position, at(20));
        assert_eq!(guard.lease_ends(), ends, "standing at {position}");
        guard.hear(&beside(position + 1), at(30));
        assert_eq!(guard.lease_ends(), Some(at(1_010)));
    }
}

#[test]
fn writer_that_knows_less_than_the_point_did_renews_nothing() {
    let mut guard = leased();
    guard.hear(&beside(1), at(90));
    guard.pinged(Nonce(1), at(100));
    guard.pinged(Nonce(2), at(110));
    assert!(!guard.ponged(Nonce(1), 0));
    assert_eq!(guard.lease_ends(), Some(at(1_040)));
    // What came while the ping was on its way is no reason.
    guard.hear(&beside(2), at(120));
    assert!(guard.ponged(Nonce(2), 1));
    assert_eq!(guard.lease_ends(), Some(at(1_110)));
}

#[test]
fn oldest_pings_are_given_up() {
    let mut guard = leased();
    let count = PINGS_MAX as u64;
    for n in 0..=count {
        guard.pinged(Nonce(u128::from(n + 1)), at(100 + n));
    }
    assert!(!guard.ponged(Nonce(1), 0), "given up");
    // The others wait for an item each, one more than may wait.
    assert!(guard.ponged(Nonce(2), 1));
    for n in 2..=count {
        assert!(guard.ponged(Nonce(u128::from(n + 1)), n));
    }
    guard.pinged(Nonce(100), at(200));
    assert!(guard.ponged(Nonce(100), count + 1));
    guard.hear(&beside(1), at(300));
    assert_eq!(guard.lease_ends(), Some(at(1_040)), "the first to wait is given up");
    guard.hear(&beside(2), at(300));
    assert_eq!(guard.lease_ends(), Some(at(1_102)));
}

#[test]
fn nothing_is_asked_or_started_while_items_are_missing_but_what_runs_goes_on() {
    let mut guard = leased();
    guard.stands_at(2, at(50));
    let held = CALL.held();
    assert!(guard.is_behind());
    assert_eq!(guard.may_ask(at(60)), Err(Ended::Behind));
    assert_eq!(guard.may_start(&held, at(60)), Err(Ended::Behind));
    assert_eq!(guard.may_go_on(&held, at(60)), Ok(()));
    guard.hear(&beside(1), at(70));
    assert!(guard.is_behind());
    guard.hear(&beside(2), at(80));
    assert!(!guard.is_behind());
    assert_eq!((guard.may_ask(at(80)), guard.may_start(&held, at(80))), (Ok(()), Ok(())));
}

#[test]
fn receipt_starts_nothing_a_lease_after_the_question_and_lets_run_what_was_started() {
    let mut guard = leased();
    guard.pinged(Nonce(1), at(900));
    assert!(guard.ponged(Nonce(1), 0));
    let held = CALL.held();
    assert_eq!(held.asked(), at(50));
    assert_eq!(guard.may_start(&held, Monotonic(at(1_050).0 - 1)), Ok(()));
    assert_eq!(guard.may_start(&held, at(1_050)), Err(Ended::Late));
    assert_eq!(guard.may_go_on(&held, at(1_050)), Ok(()));
}

#[test]
fn guard_begins_where_the_feed_first_stands() {
    let mut guard = Guard::new(LEASE);
    guard.stands_at(7, at(10));
    assert_eq!((guard.applied(), guard.is_behind()), (Some(7), false));
    let before = guard.clone();
    assert_eq!(guard.hear(&item(7, 70, Selector::All), at(20)), Heard::Again);
    guard.stands_at(6, at(30));
    assert_eq!(guard, before, "what is old changes nothing");
    assert_eq!(guard.hear(&beside(8), at(40)), Heard::Next);
    assert_eq!((guard.applied(), guard.is_behind()), (Some(8), false));
}

#[test]
fn guard_begins_at_an_item_where_nothing_else_came_first() {
    let mut guard = Guard::new(LEASE);
    assert_eq!(guard.hear(&item(4, 11, Selector::All), at(50)), Heard::Next);
    assert_eq!((guard.applied(), guard.is_behind()), (Some(4), false));
    guard.pinged(Nonce(1), at(60));
    assert!(guard.ponged(Nonce(1), 4));
    let narrowed = Err(Ended::Narrowed { suspend: true });
    assert_eq!(guard.may_go_on(&CALL.held_of(10, at(49)), at(60)), Err(Ended::Unsure));
    assert_eq!(guard.may_go_on(&CALL.held_of(10, at(50)), at(60)), narrowed);
    assert_eq!(guard.may_go_on(&CALL.held_of(12, at(50)), at(60)), Ok(()));
}

#[test]
fn item_that_comes_too_early_ends_what_it_names_and_is_heard_again() {
    let mut guard = leased();
    assert_eq!(guard.hear(&beside(1), at(60)), Heard::Next);
    assert_eq!(guard.hear(&item(4, 40, Selector::All), at(60)), Heard::Gap { after: 1 });
    assert_eq!((guard.applied(), guard.is_behind()), (Some(1), true));
    let narrowed = Err(Ended::Narrowed { suspend: true });
    assert_eq!(guard.may_go_on(&CALL.held(), at(60)), narrowed);
    for number in 2..=4 {
        assert_eq!(guard.hear(&beside(number), at(70)), Heard::Next);
    }
    assert_eq!((guard.applied(), guard.is_behind()), (Some(4), false));
    assert_eq!(guard.may_go_on(&CALL.held(), at(70)), narrowed);
}

#[test]
fn what_was_heard_before_changes_nothing() {
    let mut guard = leased();
    guard.hear(&item(1, 5, Selector::All), at(60));
    guard.hear(&beside(2), at(60));
    let before = guard.clone();
    assert_eq!(guard.hear(&item(1, 99, Selector::All), at(90)), Heard::Again);
    assert_eq!(guard.hear(&beside(2), at(90)), Heard::Again);
    assert_eq!(guard, before);
}

#[test]
fn miss_ends_the_lease_and_what_was_asked_before() {
    for position in [None, Some(9)] {
        let mut guard = leased();
        guard.pinged(Nonce(1), at(80));
        guard.pinged(Nonce(2), at(80));
        assert!(guard.ponged(Nonce(2), 1));
        guard.missed(position, at(100));
        assert_eq!((guard.applied(), guard.lease_ends()), (position, None));
        assert_eq!(guard.is_behind(), position.is_none());
        assert_eq!(guard.may_go_on(&CALL.held(), at(100)), Err(Ended::Lease));
        assert!(!guard.ponged(Nonce(1), 9), "the ping is from before");
        guard.stands_at(9, at(110));
        assert_eq!(guard.lease_ends(), None, "so is what waited");
        guard.pinged(Nonce(3), at(120));
        assert!(guard.ponged(Nonce(3), 9));
        assert_eq!(guard.may_ask(at(130)), Ok(()));
        assert_eq!(guard.may_start(&CALL.held(), at(130)), Err(Ended::Unsure));
        assert_eq!(guard.may_go_on(&CALL.held(), at(130)), Err(Ended::Unsure));
        let since = if position.is_some() { 100 } else { 110 };
        let (early, late) = (CALL.held_of(10, at(since - 1)), CALL.held_of(10, at(since)));
        assert_eq!(guard.may_go_on(&early, at(130)), Err(Ended::Unsure));
        assert_eq!(guard.may_go_on(&late, at(130)), Ok(()));
    }
}

#[test]
fn a_ledger_that_was_set_back_is_not_measured_by_what_it_said_before() {
    let mut guard = Guard::new(LEASE);
    guard.hear(&item(7, 1_000, Selector::All), at(0));
    guard.missed(None, at(10));
    guard.stands_at(5, at(20));
    guard.pinged(Nonce(1), at(30));
    assert!(guard.ponged(Nonce(1), 5));
    assert_eq!(guard.may_start(&CALL.held_of(900, at(15)), at(40)), Err(Ended::Unsure));
    let held = CALL.held_of(900, at(30));
    assert_eq!(guard.may_start(&held, at(40)), Ok(()));
    guard.hear(&item(6, 901, Selector::All), at(50));
    assert_eq!(guard.may_go_on(&held, at(50)), Err(Ended::Narrowed { suspend: true }));
}

#[test]
fn every_selector_ends_what_it_names_and_nothing_else() {
    let named = [
        Selector::All,
        Selector::Grant(GrantId(1)),
        Selector::Agent(id("helper")),
        Selector::Owner(id("alice")),
        Selector::Task(TaskId(5)),
        Selector::Tool(id("crm/read_case")),
        Selector::Resource(id("crm://case")),
    ];
    let others = [
        Selector::Grant(GrantId(5)),
        Selector::Agent(id("alice")),
        Selector::Owner(id("helper")),
        Selector::Task(TaskId(1)),
        Selector::Tool(id("crm/read")),
        Selector::Resource(id("crm://cases")),
    ];
    for selector in named {
        assert!(CALL.is_ended_by(selector.clone()), "{selector:?}");
    }
    for selector in others {
        assert!(!CALL.is_ended_by(selector.clone()), "{selector:?}");
    }
}

#[test]
fn resource_is_named_by_prefixes_of_whole_segments() {
    for prefix in ["crm://case/1/notes", "crm://case/1/", "crm://case/1", "crm://case/", "crm://"] {
        assert!(CALL.is_ended_by(Selector::Resource(id(prefix))), "{prefix}");
    }
    for beside in [
        "crm://case/1/note",
        "crm://case/1/notes/",
        "crm://case/1/notes/2",
        "crm://case/11",
        "crm://cas",
        "crm://case/2",
        "CRM://case",
    ] {
        assert!(!CALL.is_ended_by(Selector::Resource(id(beside))), "{beside}");
    }
}

#[test]
fn tool_is_named_by_the_action_too() {
    let read = Selector::Tool(id("crm/read_case"));
    let other = Selector::Tool(id("crm/other"));
    let untold = Call { tool: None, ..CALL };
    assert!(untold.is_ended_by(read.clone()) && !untold.is_ended_by(other.clone()));
    let elsewhere = Call { tool: Some("crm/other"), ..CALL };
    assert!(elsewhere.is_ended_by(read.clone()) && elsewhere.is_ended_by(other.clone()));
    let plain = Call { tool: None, action: "s3:GetObject", ..CALL };
    assert!(!plain.is_ended_by(read) && !plain.is_ended_by(other));
}

#[test]
fn owner_or_task_that_is_not_known_counts_as_named() {
    let (bob, task) = (Selector::Owner(id("bob")), Selector::Task(TaskId(77)));
    let ownerless = Call { owner: None, ..CALL };
    let taskless = Call { task: None, ..CALL };
    assert!(ownerless.is_ended_by(bob.clone()) && !ownerless.is_ended_by(task.clone()));
    assert!(taskless.is_ended_by(task.clone()) && !taskless.is_ended_by(bob.clone()));
    assert!(!CALL.is_ended_by(bob) && !CALL.is_ended_by(task));
    // Only by what came after it.
    let mut guard = leased();
    guard.hear(&item(1, 9, Selector::Owner(id("bob"))), at(60));
    guard.hear(&item(2, 12, Selector::Agent(id("other"))), at(60));
    assert_eq!(guard.may_go_on(&ownerless.held(), at(60)), Ok(()));
}

#[test]
fn person_is_named_by_no_agent() {
    let person = Call { agent: None, ..CALL };
    assert!(!person.is_ended_by(Selector::Agent(id("helper"))));
    assert!(person.is_ended_by(Selector::Owner(id("alice"))));
}

#[test]
fn item_ends_only_what_was_authorized_before_it() {
    let mut guard = leased();
    guard.hear(&item(1, 10, Selector::All), at(60));
    let narrowed = Err(Ended::Narrowed { suspend: true });
    assert_eq!(guard.may_start(&CALL.held_of(9, at(50)), at(60)), narrowed);
    assert_eq!(guard.may_start(&CALL.held_of(11, at(50)), at(60)), Ok(()));
}

#[test]
fn latest_item_says_whether_it_stays_suspended() {
    let agent = Selector::Agent(id("helper"));
    let mut guard = leased();
    guard.hear(&item(1, 20, agent.clone()), at(60));
    guard.hear(&Item { suspend: false, ..item(2, 30, agent.clone()) }, at(60));
    let ended = guard.may_go_on(&CALL.held(), at(60));
    assert_eq!(ended, Err(Ended::Narrowed { suspend: false }));
    guard.hear(&item(3, 40, Selector::All), at(60));
    let ended = guard.may_go_on(&CALL.held(), at(60));
    assert_eq!(ended, Err(Ended::Narrowed { suspend: true }));
}

#[test]
fn recheck_ends_nothing_but_is_an_item() {
    let mut guard = leased();
    let unknown = Call { owner: None, task: None, ..CALL };
    for (number, selector) in (1..).zip([Selector::All, Selector::Owner(id("alice"))]) {
        let recheck = Item { kind: RECHECK.to_owned(), ..item(number, 20, selector) };
        assert_eq!(guard.hear(&recheck, at(60)), Heard::Next);
    }
    assert_eq!(guard.applied(), Some(2));
    assert_eq!(guard.may_start(&CALL.held(), at(60)), Ok(()));
    assert_eq!(guard.may_start(&unknown.held(), at(60)), Ok(()));
}

#[test]
fn beyond_what_is_remembered_receipts_from_before_are_unsure() {
    let mut guard = leased();
    let count = NARROWED_MAX as u64;
    let other = |n| item(n, 100 + n, Selector::Grant(GrantId(1_000_000 + n)));
    for n in 1..=count {
        guard.hear(&other(n), at(60));
    }
    assert_eq!(guard.may_go_on(&CALL.held(), at(60)), Ok(()), "everything is remembered");
    guard.hear(&item(count + 1, 101 + count, Selector::Agent(id("helper"))), at(60));
    assert_eq!(guard.may_go_on(&CALL.held(), at(60)), Err(Ended::Unsure));
    assert_eq!(guard.may_go_on(&CALL.held_of(100 + count, at(50)), at(60)), Err(Ended::Unsure));
    let after = CALL.held_of(102 + count, at(50));
    assert_eq!(guard.may_go_on(&after, at(60)), Ok(()));
    guard.hear(&item(count + 2, 103 + count, Selector::All), at(60));
    let narrowed = Err(Ended::Narrowed { suspend: true });
    assert_eq!(guard.may_go_on(&after, at(60)), narrowed);
    assert_eq!(guard.may_go_on(&CALL.held(), at(60)), narrowed);
}

#[test]
fn every_ending_has_its_denial_code() {
    for (ended, code) in [
        (Ended::Lease, DenialCode::Unavailable),
        (Ended::Behind, DenialCode::Unavailable),
        (Ended::Late, DenialCode::Unavailable),
        (Ended::Unsure, DenialCode::Unavailable),
        (Ended::Narrowed { suspend: true }, DenialCode::Suspended),
        (Ended::Narrowed { suspend: false }, DenialCode::GrantRevoked),
    ] {
        assert_eq!(ended.code(), code);
    }
}
