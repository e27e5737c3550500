//! One event of every typed kind, with every optional field filled, and one with none.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_core::event::{
    About, Actor, AgentReinstated, AgentRetired, AgentSettings, AgentSuspended, AgentWritten,
    Allow, Call, CallAuthorized, CallDenied, CallFinished, Continues, CredentialIssued,
    CredentialLimited, CredentialRevoked, DenialCode, Detector, Effect, Enforcer, Entity,
    EntityPut, EntityRemoved, Event, Fact, FindingRaised, GrantDenied, GrantEnded, GrantIssued,
    GrantRequested, GrantReturned, Issuance, KeyRotated, LedgerCreated, Outcome, OwnerDisabled,
    OwnerEnabled, OwnerWritten, PoliciesActivated, PolicyPut, PolicyRemoved, RequestKey,
    RevocationEnforced, RevocationIssued, Role, ScramVerifier, Selector, SuspensionLifted,
    TaskClosed, TaskOpened, TraceId, Verdict, WriterStarted,
};
use bailiwick_core::id::{ApprovalId, CallId, GrantId, GrantRequestId, TaskId, Text};
use bailiwick_core::properties::Properties;
use bailiwick_core::record::hash::{Digest, LedgerId, Link, PublicKey, Root};
use bailiwick_core::time::{Span, Time};

mod choices;

use super::harness::{id, text};
use choices::constraints;

pub(super) fn all() -> Vec<Event> {
    let facts = [
        ledger(),
        registry(),
        entities(),
        policies(),
        grants(),
        calls(),
        others(),
        choices::all(),
        choices::audit(),
    ]
    .concat();
    let mut events: Vec<Event> =
        facts.into_iter().map(|fact| Event { about: full(), fact }).collect();
    let plain = Fact::AgentReinstated(AgentReinstated { agent: id("helper") });
    events.push(Event { about: empty(), fact: plain });
    events
}

fn full() -> About {
    About {
        actor: Actor::Credential { id: id("gateway-1"), role: Role::Enforcer },
        on_behalf_of: Some(id("alice@example.com")),
        cause: Some(41),
        request: Some(RequestKey { id: id("request-1"), digest: Digest([1; 32]) }),
        trace: Some(TraceId([2; 16])),
    }
}

pub(super) fn empty() -> About {
    About { actor: Actor::System, on_behalf_of: None, cause: None, request: None, trace: None }
}

fn why() -> Option<Text> {
    Some(text("because: é"))
}

fn ledger() -> Vec<Fact> {
    let continues = Continues {
        ledger: LedgerId([3; 16]),
        size: 1_000_000,
        root: Root([4; 32]),
        link: Link([5; 32]),
    };
    vec![
        Fact::LedgerCreated(LedgerCreated {
            ledger: LedgerId([6; 16]),
            name: text("default"),
            origin: text("example.com/default"),
            genesis_key: PublicKey([7; 32]),
            continues: Some(continues),
        }),
        Fact::WriterStarted(WriterStarted { epoch: 300 }),
        Fact::KeyRotated(KeyRotated { key: PublicKey([8; 32]) }),
    ]
}

fn registry() -> Vec<Fact> {
    let owner = OwnerWritten {
        owner: id("alice@example.com"),
        groups: BTreeSet::from([id("staff"), id("support")]),
    };
    let settings = AgentSettings {
        purpose: text("answers support questions"),
        groups: BTreeSet::from([id("bots")]),
        allowlist: vec![
            Allow { pattern: id("crm/*"), expires_at: None },
            Allow { pattern: id("**"), expires_at: Some(Time(1_795_441_020_000_000_000)) },
        ],
        expires_at: Some(Time(u64::MAX)),
    };
    let agent = AgentWritten { agent: id("helper"), owner: id("alice@example.com"), settings };
    vec![
        Fact::OwnerRegistered(owner.clone()),
        Fact::OwnerUpdated(owner),
        Fact::OwnerDisabled(OwnerDisabled { owner: id("alice@example.com"), reason: why() }),
        Fact::OwnerEnabled(OwnerEnabled { owner: id("alice@example.com") }),
        Fact::AgentRegistered(agent.clone()),
        Fact::AgentUpdated(agent),
        Fact::AgentSuspended(AgentSuspended { agent: id("helper"), reason: why() }),
        Fact::AgentReinstated(AgentReinstated { agent: id("helper") }),
        Fact::AgentRetired(AgentRetired { agent: id("helper"), reason: None }),
        Fact::CredentialIssued(CredentialIssued {
            credential: id("key-1"),
            role: Role::Agent,
            agent: Some(id("helper")),
            key_hash: Digest([9; 32]),
            expires_at: Some(Time(1)),
            owner: Some(id("alice@example.com")),
            rotates: Some(id("key-0")),
            scram: Some(ScramVerifier { salt: [7; 16], iterations: 4_096, sealed: [8; 80] }),
        }),
        Fact::CredentialRevoked(CredentialRevoked { credential: id("key-1"), reason: why() }),
        Fact::CredentialLimited(CredentialLimited { credential: id("key-1"), expires_at: Time(1) }),
    ]
}

fn entities() -> Vec<Fact> {
    let known = serde_json::json!({"status": "archived", "tags": ["a", "b"], "none": []});
    let resource = Entity::Resource(id("crm://case/1234"));
    vec![
        Fact::EntityPut(EntityPut {
            entity: resource.clone(),
            properties: Properties::of_json(&known).unwrap(),
        }),
        Fact::EntityPut(EntityPut {
            entity: Entity::Owner(id("alice@example.com")),
            properties: Properties::default(),
        }),
        Fact::EntityRemoved(EntityRemoved { entity: Entity::Agent(id("helper")) }),
        Fact::EntityRemoved(EntityRemoved { entity: resource }),
    ]
}

fn policies() -> Vec<Fact> {
    let cedar = "permit (principal, action, resource);".to_owned();
    vec![
        Fact::PolicyPut(PolicyPut { policy: id("read-cases"), text: cedar, reason: why() }),
        Fact::PolicyRemoved(PolicyRemoved { policy: id("read-cases") }),
        Fact::PoliciesActivated(PoliciesActivated { count: 20, hash: Digest([10; 32]) }),
    ]
}

fn grants() -> Vec<Fact> {
    let issued = GrantIssued {
        agent: Some(id("helper")),
        owner: id("alice@example.com"),
        task: Some(TaskId(70)),
        tool: Some(id("crm/read_case")),
        action: id("crm/read_case"),
        scope: id("crm://case/1234"),
        not_before: Time(1_795_441_020_000_000_001),
        expires_at: Time(1_795_441_320_000_000_001),
        max_uses: 3,
        issuance: Issuance::JustInTime,
        request: Some(GrantRequestId(80)),
        policies: vec![id("read-cases"), id("owners")],
        policy_hash: Digest([10; 32]),
        justification: why(),
        constraints: constraints(),
        parent: Some(GrantId(79)),
        approval: Some(ApprovalId(100)),
        shown: Some(Digest([15; 32])),
    };
    vec![
        Fact::TaskOpened(TaskOpened {
            agent: id("helper"),
            owner: id("alice@example.com"),
            sort: Some(text("refund")),
            statement: Some(Digest([11; 32])),
            targets: vec![text("crm://case/1234")],
        }),
        Fact::TaskClosed(TaskClosed { task: TaskId(70), reason: why() }),
        Fact::GrantRequested(GrantRequested {
            agent: id("helper"),
            owner: id("alice@example.com"),
            task: Some(TaskId(70)),
            action: id("crm/read_case"),
            scope: id("crm://case/**"),
            ttl: Span::minutes(5),
            max_uses: 1,
            justification: why(),
            constraints: constraints(),
        }),
        Fact::GrantIssued(issued),
        Fact::GrantDenied(GrantDenied {
            request: GrantRequestId(80),
            code: DenialCode::Forbidden,
            reason: why(),
        }),
        Fact::GrantReturned(GrantReturned { grant: GrantId(81) }),
        Fact::GrantExpired(GrantEnded { grant: GrantId(81) }),
        Fact::GrantExhausted(GrantEnded { grant: GrantId(81) }),
    ]
}

pub(super) fn call() -> Call {
    Call {
        agent: Some(id("helper")),
        owner: Some(id("alice@example.com")),
        task: Some(TaskId(70)),
        session: Some(id("session-1")),
        tool: Some(id("crm/read_case")),
        tool_hash: Some(Digest([12; 32])),
        action: id("crm/read_case"),
        resource: id("crm://case/1234"),
        effect: Effect::External,
        arguments: Some(Digest([13; 32])),
        disclosed: BTreeMap::from([(text("case_id"), text("1234")), (text("to"), text("é"))]),
        justification: why(),
        environment: Some(text("production")),
        correlation: Some(text("bfe9eb29-ab87-4ca3-be83-a1d5d8305716")),
        actors: vec![text("planner"), text("front-desk")],
    }
}

fn calls() -> Vec<Fact> {
    let read = BTreeMap::from([(text("history.agent.calls.minute"), 12), (text("risk"), 30)]);
    vec![
        Fact::CallAuthorized(CallAuthorized {
            call: call(),
            grant: GrantId(81),
            expires_at: Time(1_795_441_320_000_000_001),
            uses_left: 2,
            policies: vec![id("read-cases"), id("owners")],
            policy_hash: Digest([10; 32]),
            finishes: true,
            read: read.clone(),
            shadow: vec![id("soon")],
        }),
        Fact::CallDenied(CallDenied {
            call: call(),
            code: DenialCode::GrantRevoked,
            grant: Some(GrantId(81)),
            policies: vec![id("no")],
            policy_hash: Digest([10; 32]),
            read,
            shadow: vec![id("soon")],
            approval: Some(ApprovalId(100)),
        }),
        Fact::CallFinished(CallFinished {
            call: CallId(110),
            outcome: Outcome::NotDelivered,
            latency_us: 1_234,
            bytes_in: 70_000,
            bytes_out: u64::MAX,
            result: Some(Digest([14; 32])),
        }),
    ]
}

fn others() -> Vec<Fact> {
    let selectors = [
        Selector::Grant(GrantId(81)),
        Selector::Agent(id("helper")),
        Selector::Owner(id("alice@example.com")),
        Selector::Task(TaskId(70)),
        Selector::Tool(id("crm/read_case")),
        Selector::Resource(id("crm://case")),
        Selector::All,
    ];
    let revoked = selectors.map(|selector| {
        Fact::RevocationIssued(RevocationIssued {
            suspend: !matches!(selector, Selector::Grant(_)),
            selector,
            reason_code: text("operator"),
            reason: why(),
        })
    });
    let mut facts = revoked.to_vec();
    facts.push(Fact::SuspensionLifted(SuspensionLifted { selector: Selector::All, reason: why() }));
    facts.push(Fact::RevocationEnforced(RevocationEnforced {
        number: 7,
        acknowledged: 1,
        expired: 1,
        points: vec![
            Enforcer { point: id("gateway-b"), acknowledged: false, milliseconds: 1_050 },
            Enforcer { point: id("gateway-a"), acknowledged: true, milliseconds: 4 },
        ],
        milliseconds: 1_050,
    }));
    facts.push(Fact::FindingRaised(FindingRaised {
        detector: Detector::Probing,
        verdict: Verdict::Revoke,
        agent: id("helper"),
        task: Some(TaskId(70)),
        score: 1_000_000,
        evidence: vec![100, 101, 104],
        summary: text("3 distinct tools denied to `helper` in one task"),
    }));
    facts
}
