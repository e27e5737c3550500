//! Of approvals, tools, delegates, reviews and settings.

use std::collections::BTreeSet;

use bailiwick_core::event::{
    AccessReviewed, Actor, AgentReassigned, ApprovalDenied, ApprovalExpired, ApprovalGranted,
    ApprovalRequested, ApprovalRule, ApprovalWithdrawn, BreakglassUsed, CheckpointSigned,
    ConfigChanged, Constraint, DelegateAdded, DelegateRemoved, DenialsAggregated, Effect, Fact,
    Must, Pinning, Plain, QueryDoor, QueryOutcome, QueryRun, Refused, Review, RiskChanged, Role,
    SchemaPut, SegmentSealed, ToolChanged, ToolPinned, ToolUnpinned,
};
use bailiwick_core::id::{ApprovalId, GrantId, GrantRequestId};
use bailiwick_core::record::hash::{Digest, Link, Root};
use bailiwick_core::time::{Span, Time};

use super::{call, id, text, why};

pub(super) fn constraints() -> Vec<Constraint> {
    let at = |pointer: &str, must| Constraint { at: text(pointer), must };
    vec![
        at("/to/0", Must::Equal(Plain::Text(text("alice@example.com")))),
        at("/urgent", Must::OneOf(vec![Plain::Bool(true), Plain::Integer(-1)])),
        at("/path", Must::Prefix(text("/srv/reports/"))),
        at("/amount", Must::Max(100)),
    ]
}

pub(super) fn all() -> Vec<Fact> {
    [approvals(), tools(), people(), settings()].concat()
}

fn approvals() -> Vec<Fact> {
    let approval = ApprovalId(100);
    let by = id("bob@example.com");
    vec![
        Fact::ApprovalRequested(ApprovalRequested {
            call: call(),
            owner: id("alice@example.com"),
            scope: id("crm://case/**"),
            constraints: constraints(),
            request: Some(GrantRequestId(80)),
            needs: vec![
                ApprovalRule::Owner,
                ApprovalRule::Group { group: id("security"), count: 2 },
            ],
            ttl: Span::minutes(5),
            max_uses: 1,
            expires_at: Time(1_795_441_620_000_000_001),
            policies: vec![id("write-tickets")],
            policy_hash: Digest([10; 32]),
            shown: Digest([15; 32]),
        }),
        Fact::ApprovalGranted(ApprovalGranted {
            approval,
            by: id("bob@example.com"),
            shown: Digest([15; 32]),
            complete: true,
            reason: why(),
        }),
        Fact::ApprovalDenied(ApprovalDenied { approval, by, reason: why() }),
        Fact::ApprovalExpired(ApprovalExpired { approval }),
        Fact::ApprovalWithdrawn(ApprovalWithdrawn { approval, reason: why() }),
    ]
}

fn tools() -> Vec<Fact> {
    let tool = || id("crm/read_case");
    vec![
        Fact::ToolPinned(ToolPinned {
            tool: tool(),
            hash: Digest([12; 32]),
            effect: Some(Effect::Read),
            targets: vec![text("/case_id")],
            labels: BTreeSet::from([text("reads:private")]),
            first_use: true,
        }),
        Fact::ToolUnpinned(ToolUnpinned { tool: tool(), reason: why() }),
        Fact::ToolChanged(ToolChanged {
            tool: tool(),
            pinned: Digest([12; 32]),
            seen: Digest([16; 32]),
        }),
        Fact::SchemaPut(SchemaPut {
            action: id("crm/read_case"),
            schema: r#"{"type":"object"}"#.to_owned(),
        }),
    ]
}

fn people() -> Vec<Fact> {
    let owner = || id("alice@example.com");
    let delegate = || id("bob@example.com");
    vec![
        Fact::DelegateAdded(DelegateAdded {
            owner: owner(),
            delegate: delegate(),
            expires_at: Some(Time(1_795_441_620_000_000_001)),
        }),
        Fact::DelegateRemoved(DelegateRemoved {
            owner: owner(),
            delegate: delegate(),
            reason: why(),
        }),
        Fact::AgentReassigned(AgentReassigned {
            agent: id("helper"),
            from: owner(),
            to: delegate(),
            reason: why(),
        }),
        Fact::AccessReviewed(AccessReviewed {
            owner: owner(),
            grant: GrantId(81),
            review: Review::Revoke,
            reason: why(),
        }),
        Fact::BreakglassUsed(BreakglassUsed {
            agent: Some(id("helper")),
            owner: owner(),
            grant: GrantId(81),
            action: id("crm/read_case"),
            resource: id("crm://case/1234"),
            policies: vec![id("emergency")],
            justification: text("the desk burns"),
        }),
    ]
}

fn settings() -> Vec<Fact> {
    vec![
        Fact::ConfigChanged(ConfigChanged {
            pinning: Pinning::Operator,
            approval_ttl: Span::minutes(10),
        }),
        Fact::DenialsAggregated(DenialsAggregated {
            milliseconds: 1_000,
            denials: vec![
                Refused {
                    actor: Some(Actor::Token {
                        issuer: text("https://login.example.com"),
                        owner: id("alice@example.com"),
                        agent: Some(id("helper")),
                        role: Role::Agent,
                    }),
                    code: text("not_permitted"),
                    what: text("PUT /v1/policies/{id}"),
                    count: 3,
                },
                Refused {
                    actor: None,
                    code: text("credential_invalid"),
                    what: text("GET /v1/agents"),
                    count: 1,
                },
            ],
        }),
        Fact::RiskChanged(RiskChanged { agent: id("helper"), from: 0, to: 30, reason: why() }),
    ]
}

/// That the record was asked, and put away.
pub(super) fn audit() -> Vec<Fact> {
    vec![
        Fact::QueryRun(QueryRun {
            door: QueryDoor::Postgres,
            name: Some(text("who-touched")),
            text: Digest([21; 32]),
            parameters: Some(Digest([22; 32])),
            as_of: Some(1_000_000),
            rows: 300,
            bytes: 70_000,
            milliseconds: 1_250,
            outcome: QueryOutcome::Refused,
            code: Some(text("sql_timeout")),
            unrecorded: 2,
        }),
        Fact::SegmentSealed(SegmentSealed {
            first: 300,
            last: 1_000_299,
            rows: 1_000_000,
            bytes: 72_000_000,
            file: Digest([23; 32]),
            before: Some(Link([24; 32])),
            after: Link([25; 32]),
            root: Root([26; 32]),
            manifest: Digest([27; 32]),
        }),
        Fact::CheckpointSigned(CheckpointSigned {
            size: 300,
            root: Root([28; 32]),
            note: text(
                "ledger.example.com/acme\n300\nroot\n\n\u{2014} ledger.example.com/acme sig\n",
            ),
        }),
    ]
}
