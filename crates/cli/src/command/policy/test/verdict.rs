//! What came of a call, held against what was expected.

use std::collections::BTreeSet;

use bailiwick_core::event::DenialCode;
use bailiwick_core::id::PolicyId;
use bailiwick_core::time::Span;
use serde_json::{Value, json};

use super::file::{Ruling, Then};
use crate::show;

/// What was decided.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) ruling: Ruling,
    pub(super) code: Option<DenialCode>,
    pub(super) policies: BTreeSet<PolicyId>,
    pub(super) ttl: Option<Span>,
    pub(super) uses_left: Option<u32>,
}

/// A call that was made.
#[derive(Debug)]
pub(super) struct Played {
    /// Who did what to what.
    pub(super) what: String,
    pub(super) expected: Then,
    pub(super) got: Got,
}

impl Played {
    pub(super) fn passed(&self) -> bool {
        let (then, got) = (&self.expected, &self.got);
        then.decision == got.ruling
            && then.code.is_none_or(|code| got.code == Some(code))
            && then.policies.as_ref().is_none_or(|policies| *policies == got.policies)
            && then.ttl.is_none_or(|ttl| got.ttl == Some(ttl))
            && then.uses_left.is_none_or(|uses| got.uses_left == Some(uses))
    }

    pub(super) fn json(&self) -> Value {
        let (then, got) = (&self.expected, &self.got);
        json!({
            "call": self.what,
            "passed": self.passed(),
            "expected": {
                "decision": then.decision.as_str(), "code": then.code, "policies": then.policies,
                "ttl": then.ttl, "uses_left": then.uses_left,
            },
            "got": {
                "decision": got.ruling.as_str(), "code": got.code, "policies": got.policies,
                "ttl": got.ttl, "uses_left": got.uses_left,
            },
        })
    }

    /// Number, what, expected, got, and the policies that determined it.
    pub(super) fn row(&self, number: usize) -> Vec<String> {
        let (then, got) = (&self.expected, &self.got);
        let mut expected = words(then.decision, then.code, then.ttl, then.uses_left);
        if let Some(policies) = &then.policies {
            expected.push_str(&format!(" by {}", named(policies)));
        }
        // Of a grant only what was asked about: the rest is no part of the failure.
        let ttl = got.ttl.filter(|_| then.ttl.is_some());
        let uses_left = got.uses_left.filter(|_| then.uses_left.is_some());
        let found = words(got.ruling, got.code, ttl, uses_left);
        let what = show::harmless(&self.what);
        vec![number.to_string(), what, expected, found, named(&got.policies)]
    }
}

fn words(
    ruling: Ruling,
    code: Option<DenialCode>,
    ttl: Option<Span>,
    uses_left: Option<u32>,
) -> String {
    let mut words = ruling.as_str().to_owned();
    if let Some(code) = code {
        words.push_str(&format!(" {code}"));
    }
    if let Some(ttl) = ttl {
        words.push_str(&format!(", ttl {ttl}"));
    }
    if let Some(uses) = uses_left {
        words.push_str(&format!(", uses left {uses}"));
    }
    words
}

fn named(policies: &BTreeSet<PolicyId>) -> String {
    if policies.is_empty() {
        return "none".to_owned();
    }
    policies.iter().map(PolicyId::as_str).collect::<Vec<_>>().join(", ")
}

impl Ruling {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}
