//! The engine on a real embedded log: durable before answered, the same after a restart.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test names what it expects and no more")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bailiwick_core::command::{
    Answer, Authorize, Command, Decision, Denied, Done, Finish, RefusalCode, Revoke, Subject,
    Submission, WriteAgent, WriteOwner,
};
use bailiwick_core::event::{
    Actor, AgentSettings, Allow, DenialCode, Effect, Fact, Outcome, RequestKey, Selector,
};
use bailiwick_core::id::{
    Action, ActionPattern, AgentId, OwnerId, PolicyId, RequestId, Resource, Text,
};
use bailiwick_core::record::Digest;
use bailiwick_ledger::{Config, Ledger, Reply, Store};

#[path = "support/nats.rs"]
mod nats;
#[path = "support/proxy.rs"]
#[expect(dead_code, reason = "the tests of the log use more of it")]
mod proxy;

#[path = "engine/checkpoint.rs"]
mod checkpoint;
#[path = "engine/outage.rs"]
mod outage;
#[path = "engine/overtaken.rs"]
mod overtaken;

fn config(dir: &Path) -> Config {
    Config {
        home: dir.to_owned(),
        store: Store::Embedded,
        name: "test".parse().unwrap(),
        trust_head: false,
        trust_clock: false,
        linger: Duration::from_micros(200),
    }
}

fn open(dir: &Path) -> Ledger {
    Ledger::open(&config(dir), |_| {}).unwrap()
}

async fn submit(ledger: &Ledger, command: Command) -> Reply {
    let submission = Submission { actor: Actor::System, request: None, trace: None, command };
    ledger.submit(submission).await
}

async fn done(ledger: &Ledger, command: Command) -> Done {
    match submit(ledger, command).await.answer {
        Answer::Done(done) => done,
        other => panic!("not done: {other:?}"),
    }
}

const READ_CASES: &str = r#"@jit("true") @ttl("5m") @max_uses("2")
    permit (principal, action == Action::"crm/read_case", resource in Resource::"crm://case");"#;

async fn furnish(ledger: &Ledger) {
    let owner = OwnerId::new("alice@example.com").unwrap();
    let agent = AgentId::new("bot").unwrap();
    done(ledger, Command::RegisterOwner(WriteOwner { owner: owner.clone(), groups: [].into() }))
        .await;
    let allow = Allow { pattern: ActionPattern::new("crm/*").unwrap(), expires_at: None };
    let settings = AgentSettings {
        purpose: Text::new("support").unwrap(),
        groups: [].into(),
        allowlist: vec![allow],
        expires_at: None,
    };
    done(ledger, Command::RegisterAgent(WriteAgent { agent, owner, settings })).await;
    let policy = PolicyId::new("read-cases").unwrap();
    let text = READ_CASES.to_owned();
    done(ledger, Command::PutPolicy { policy, text, reason: None }).await;
    done(ledger, Command::ActivatePolicies).await;
}

fn read_case(case: &str) -> Command {
    call("crm/read_case", &format!("crm://case/{case}"))
}

fn call(action: &str, resource: &str) -> Command {
    Command::Authorize(Box::new(Authorize {
        subject: Subject::Agent(AgentId::new("bot").unwrap()),
        on_behalf_of: None,
        task: None,
        session: None,
        tool: None,
        tool_hash: None,
        action: Action::new(action).unwrap(),
        resource: Resource::new(resource).unwrap(),
        effect: Effect::Read,
        arguments: None,
        disclosed: BTreeMap::new(),
        justification: None,
        args: None,
        environment: None,
        correlation: None,
        actors: Vec::new(),
        told: None,
        finishes: true,
        verdicts: None,
    }))
}

fn decision(reply: &Reply) -> &Decision {
    match &reply.answer {
        Answer::Decided(decision) => decision,
        other => panic!("not decided: {other:?}"),
    }
}

fn denial(reply: &Reply) -> DenialCode {
    match &decision(reply).result {
        Err(Denied { code, .. }) => *code,
        Ok(allowed) => panic!("allowed: {allowed:?}"),
    }
}

fn revoke_agent() -> Command {
    let selector = Selector::Agent(AgentId::new("bot").unwrap());
    Command::Revoke(Revoke { selector, grants_only: false, reason_code: None, reason: None })
}

#[tokio::test]
async fn a_call_is_on_the_ledger_before_its_answer_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    furnish(&ledger).await;
    let reply = submit(&ledger, read_case("1")).await;
    let allowed = decision(&reply).result.clone().unwrap();
    assert_eq!(allowed.uses_left, 1);
    let receipt = reply.receipt.unwrap();
    let events = ledger.events(receipt.index - 1, 2).unwrap();
    assert!(matches!(events[0].event.fact, Fact::GrantIssued(_)));
    assert!(matches!(events[1].event.fact, Fact::CallAuthorized(_)));
    assert_eq!(events[1].place.link, receipt.link);
    let before = ledger.read(bailiwick_core::state::State::to_bytes);
    let info = ledger.info();
    ledger.close();
    drop(ledger);

    // From the snapshot, then from nothing but the log.
    let ledger = open(dir.path());
    assert!(ledger.info().events > info.events, "a new writer records its start");
    assert_eq!(
        denial(&submit(&ledger, call("crm/x", "crm://case/1")).await),
        DenialCode::Forbidden
    );
    let again = decision(&submit(&ledger, read_case("1")).await).result.clone().unwrap();
    assert_eq!((again.grant, again.uses_left), (allowed.grant, 0));
    ledger.close();
    drop(ledger);
    std::fs::remove_file(dir.path().join("snapshot")).unwrap();
    let ledger = open(dir.path());
    let at = usize::try_from(info.events).unwrap();
    assert_eq!(ledger.events(0, at).unwrap().last().map(|r| r.place.link), info.link);
    assert!(!before.is_empty());
    let spent = submit(&ledger, read_case("1")).await;
    assert_eq!(decision(&spent).result.as_ref().unwrap().uses_left, 1, "a new grant is issued");
}

#[tokio::test]
async fn a_snapshot_and_a_replay_give_the_same_state_to_the_byte() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    furnish(&ledger).await;
    for case in 0..50 {
        submit(&ledger, read_case(&case.to_string())).await;
    }
    ledger.close();
    let snapshot = ledger.read(bailiwick_core::state::State::to_bytes);
    drop(ledger);
    let reader = bailiwick_ledger::log::embedded::Embedded::open_read_only(&dir.path().join("log"));
    let reader = reader.unwrap();
    let first = reader.read(1, 1, 1).unwrap();
    let ledger_id = bailiwick_core::record::EntryRef::parse(&first[0]).unwrap().ledger();
    let home = bailiwick_ledger::home::Home::open(dir.path()).unwrap();
    let mut projection =
        bailiwick_ledger::replay::Projection::genesis(ledger_id, &home.public()).unwrap();
    bailiwick_ledger::replay::catch_up(&mut projection, reader.as_ref(), 0, |_| {}).unwrap();
    assert_eq!(projection.state.to_bytes(), snapshot);
}

#[tokio::test]
async fn a_revoked_agent_is_denied_at_once_and_until_reinstated() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    furnish(&ledger).await;
    assert!(decision(&submit(&ledger, read_case("1")).await).result.is_ok());
    assert!(submit(&ledger, revoke_agent()).await.durable);
    assert_eq!(denial(&submit(&ledger, read_case("1")).await), DenialCode::Suspended);
    let agent = AgentId::new("bot").unwrap();
    done(&ledger, Command::ReinstateAgent { agent, reason: None }).await;
    let after = submit(&ledger, read_case("1")).await;
    assert_eq!(decision(&after).result.as_ref().unwrap().uses_left, 1, "with a grant of its own");
}

#[tokio::test]
async fn the_third_denied_tool_tears_down_in_the_same_entry() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    furnish(&ledger).await;
    for action in ["crm/a", "mail/send", "crm/b"] {
        assert!(decision(&submit(&ledger, call(action, "crm://case/1")).await).result.is_err());
    }
    let mut follower = ledger.follow(0);
    let mut last = follower.try_next().unwrap().unwrap();
    while let Some(next) = follower.try_next().unwrap() {
        last = next;
    }
    let kinds: Vec<_> = last.events.iter().map(|r| r.event.fact.name()).collect();
    assert_eq!(kinds, ["finding.raised", "revocation.issued", "call.denied"]);
    assert_eq!(denial(&submit(&ledger, read_case("1")).await), DenialCode::Suspended);
}

#[tokio::test]
async fn a_retry_gets_the_first_answer_and_another_command_under_its_id_none() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    furnish(&ledger).await;
    let with_id = |command: Command, digest: u8| {
        let id = RequestId::new("retry-1").unwrap();
        let request = Some(RequestKey { id, digest: Digest([digest; 32]) });
        Submission { actor: Actor::System, request, trace: None, command }
    };
    let first = ledger.submit(with_id(read_case("1"), 1)).await;
    let again = ledger.submit(with_id(read_case("1"), 1)).await;
    assert_eq!(first.receipt, again.receipt);
    assert!(decision(&again).result.is_ok());
    let other = ledger.submit(with_id(read_case("2"), 2)).await;
    assert_eq!(denial(&other), DenialCode::IdReused);
}

#[tokio::test]
async fn an_outcome_is_recorded_once() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    furnish(&ledger).await;
    let call = decision(&submit(&ledger, read_case("1")).await).call;
    let finish = Finish {
        call,
        outcome: Outcome::Ok,
        latency_us: 5,
        bytes_in: 1,
        bytes_out: 2,
        result: None,
    };
    done(&ledger, Command::Finish(finish.clone())).await;
    match submit(&ledger, Command::Finish(finish)).await.answer {
        Answer::Refused(refusal) => assert_eq!(refusal.code, RefusalCode::NotFound),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_thousand_callers_share_entries_and_each_gets_its_own_answer() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    furnish(&ledger).await;
    let calls = (0..1_000).map(|n| {
        let ledger = ledger.clone();
        tokio::spawn(async move { submit(&ledger, read_case(&format!("c{n}"))).await })
    });
    let mut seen = std::collections::BTreeSet::new();
    for call in calls.collect::<Vec<_>>() {
        let reply = call.await.unwrap();
        assert!(decision(&reply).result.is_ok());
        assert!(seen.insert(reply.receipt.unwrap().index));
    }
    let counters = ledger.counters();
    assert!(counters.entries < 1_000, "{} entries for 1,000 calls", counters.entries);
}

#[tokio::test]
async fn who_follows_gets_everything_and_then_the_end_when_the_ledger_closes() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let mut follower = ledger.follow(0);
    let following = tokio::spawn(async move {
        let mut events = 0;
        while let Some(entry) = follower.next().await.unwrap() {
            events = entry.next_index();
        }
        events
    });
    let mut committed = ledger.committed();
    furnish(&ledger).await;
    assert!(committed.changed().await.is_ok());
    ledger.close();
    let within = Duration::from_secs(20);
    let read = tokio::time::timeout(within, following).await.unwrap().unwrap();
    assert_eq!(read, ledger.info().events);
    assert!(committed.changed().await.is_err());
    let mut late = ledger.follow(ledger.info().entries - 1);
    assert!(late.next().await.unwrap().is_some(), "what is there can still be read");
    assert!(late.next().await.unwrap().is_none());
}

#[test]
fn a_second_process_does_not_open_the_same_directory() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path());
    let second = Ledger::open(&config(dir.path()), |_| {});
    assert!(second.is_err_and(|e| e.to_string().contains("in use")));
}

#[test]
fn another_nodes_keys_do_not_take_up_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).close();
    std::fs::remove_file(dir.path().join("signing.key")).unwrap();
    let other = Ledger::open(&config(dir.path()), |_| {});
    assert!(other.is_err_and(|e| e.to_string().contains("may not sign")));
}
