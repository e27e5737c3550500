//! What is answered: a decision with its receipt. A denial is an answer like any other.

use axum::http::StatusCode;
use axum::response::Response;
use bailiwick_core::command::{Allowed, Answer, Awaited, Denied, RefusalCode};
use bailiwick_core::event::{DenialCode, Selector};
use bailiwick_core::id::{ApprovalId, CallId, GrantId, OwnerId};
use bailiwick_core::record::Digest;
use bailiwick_ledger::Reply;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::ToSchema;

use crate::command::{Receipt, json};
use crate::moment;
use crate::problem::{INTERNAL, Problem};

/// A decision.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Decision<'a> {
    /// Whether it may be done.
    decision: bool,
    /// What the decision rests on.
    context: Context<'a>,
}

/// What a decision rests on.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = DecisionContext)]
enum Context<'a> {
    /// It may be done once, now.
    Allowed {
        /// The grant that was used.
        #[schema(value_type = String)]
        grant_id: GrantId,
        /// On whose authority, so that a revocation of the owner finds the call.
        #[schema(value_type = String)]
        owner: &'a OwnerId,
        /// Until when the grant lives.
        expires_at: String,
        /// Uses left after this one.
        uses_left: u32,
        /// What else ends the call when it is taken back, as revocations name it: the grants that
        /// this one was delegated from, their holders and their tasks.
        #[serde(skip_serializing_if = "<[Selector]>::is_empty")]
        #[schema(value_type = Vec<Object>)]
        rests_on: &'a [Selector],
        /// The call, to be finished.
        #[schema(value_type = String)]
        call_id: CallId,
        /// Where the decision stands on the chain.
        receipt: Receipt,
    },
    /// It may not be done.
    Denied {
        /// Why not, from a closed list.
        #[schema(value_type = String)]
        code: DenialCode,
        /// Words for people.
        message: &'a str,
        /// The approval that is waited for, or that did not help.
        #[serde(skip_serializing_if = "Option::is_none")]
        approval: Option<Approval>,
        /// The call that was denied; none when that could not be recorded.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        call_id: Option<CallId>,
        /// Where the decision stands on the chain; none when it could not be recorded.
        #[serde(skip_serializing_if = "Option::is_none")]
        receipt: Option<Receipt>,
    },
    /// The question of a batch is none.
    Mistaken {
        /// What is wrong with it.
        error: Mistake,
    },
}

/// An approval: people find it by its id, see what `shown` is the digest of, and answer in time.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AwaitedApproval)]
struct Approval {
    /// Its id.
    #[schema(value_type = String)]
    id: ApprovalId,
    /// Until when people may answer; a denial by them stands as long.
    expires_at: String,
    /// Digest of what people are shown, in hexadecimal.
    #[schema(value_type = String)]
    shown: Digest,
}

/// What is wrong with one question of a batch.
#[derive(Debug, Serialize, ToSchema)]
struct Mistake {
    /// The status that it would have had alone.
    status: u16,
    /// Words that begin with a stable code.
    message: String,
}

/// A decision as it is sent, alone or as one of many.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Body {
    text: Box<RawValue>,
    #[serde(skip)]
    permits: bool,
}

impl Body {
    /// Whether it is a yes.
    pub(super) const fn permits(&self) -> bool {
        self.permits
    }
}

/// The answer of one decision.
pub(super) fn alone(decision: &Body) -> Response {
    json(StatusCode::OK, decision)
}

/// The decision in a reply of the ledger.
pub(super) fn of(reply: Reply) -> Result<Body, Problem> {
    let receipt = reply.receipt.map(|r| Receipt { index: r.index, link: r.link });
    match reply.answer {
        Answer::Decided(decision) => match decision.result {
            Ok(allowed) => allow(decision.call, &allowed, receipt.filter(|_| reply.durable)),
            Err(Denied { code, message, approval }) => denied(code, &message, approval, receipt),
        },
        Answer::Refused(refusal) => match unrecorded(refusal.code) {
            Some(code) => deny(code, &refusal.message, None),
            None => Err(refusal.into()),
        },
        Answer::Done(_) => Err(INTERNAL.with("a call was answered as a command is")),
    }
}

/// The denial that a refusal amounts to, where it is not the caller's own mistake.
const fn unrecorded(code: RefusalCode) -> Option<DenialCode> {
    match code {
        RefusalCode::Unavailable => Some(DenialCode::Unavailable),
        RefusalCode::Overloaded => Some(DenialCode::Overloaded),
        RefusalCode::ClockUnsure => Some(DenialCode::ClockUnsure),
        RefusalCode::IdReused => Some(DenialCode::IdReused),
        RefusalCode::NotPermitted
        | RefusalCode::CredentialInvalid
        | RefusalCode::NotFound
        | RefusalCode::AlreadyExists
        | RefusalCode::WrongState
        | RefusalCode::OutOfRange
        | RefusalCode::PolicyInvalid
        | RefusalCode::LimitReached => None,
    }
}

/// The answer about a subject that nobody here is.
pub(super) fn of_nobody(kind: &str) -> Result<Body, Problem> {
    let kind: String = kind.chars().take(80).collect();
    let message = format!("subject type `{kind}` is neither `agent` nor a configured person type");
    deny(DenialCode::AgentUnknown, &message, None)
}

/// Nothing is allowed without a receipt: what is not on the chain did not happen.
fn allow(call_id: CallId, allowed: &Allowed, receipt: Option<Receipt>) -> Result<Body, Problem> {
    let Some(receipt) = receipt else {
        return deny(DenialCode::Unavailable, "it could not be recorded", None);
    };
    let context = Context::Allowed {
        grant_id: allowed.grant,
        owner: &allowed.owner,
        expires_at: moment::text(allowed.expires_at),
        uses_left: allowed.uses_left,
        rests_on: &allowed.rests_on,
        call_id,
        receipt,
    };
    written(&Decision { decision: true, context })
}

fn deny(code: DenialCode, message: &str, receipt: Option<Receipt>) -> Result<Body, Problem> {
    denied(code, message, None, receipt)
}

fn denied(
    code: DenialCode,
    message: &str,
    approval: Option<Box<Awaited>>,
    receipt: Option<Receipt>,
) -> Result<Body, Problem> {
    let call_id = receipt.map(|receipt| CallId(receipt.index));
    let approval = approval.map(|awaited| Approval {
        id: awaited.id,
        expires_at: moment::text(awaited.expires_at),
        shown: awaited.shown,
    });
    let context = Context::Denied { code, message, approval, call_id, receipt };
    written(&Decision { decision: false, context })
}

/// What stands for a question of a batch that is none.
pub(super) fn mistaken(problem: &Problem) -> Result<Body, Problem> {
    let error = Mistake { status: problem.status().as_u16(), message: problem.message() };
    written(&Decision { decision: false, context: Context::Mistaken { error } })
}

fn written(decision: &Decision<'_>) -> Result<Body, Problem> {
    let text = to_raw_value(decision).map_err(|error| INTERNAL.with(error.to_string()))?;
    Ok(Body { text, permits: decision.decision })
}

#[cfg(test)]
mod tests {
    use bailiwick_core::command::{Decision as Decided, Refusal};
    use bailiwick_core::record::Link;
    use bailiwick_core::time::Time;

    use super::*;

    async fn body(reply: Reply) -> serde_json::Value {
        let response = alone(&of(reply).unwrap());
        assert_eq!(response.status(), StatusCode::OK);
        let bytes = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    fn allowed(durable: bool, receipt: bool) -> Reply {
        let allowed = Allowed {
            grant: GrantId(41),
            owner: OwnerId::new("alice").unwrap(),
            expires_at: Time(0),
            uses_left: 0,
            rests_on: vec![],
        };
        let result = Ok(allowed);
        Reply {
            answer: Answer::Decided(Decided { call: CallId(42), result, repeats: None }),
            receipt: receipt
                .then_some(bailiwick_ledger::Receipt { index: 42, link: Link([1; 32]) }),
            durable,
        }
    }

    #[tokio::test]
    async fn an_allow_names_everything_that_proves_it() {
        let body = body(allowed(true, true)).await;
        assert_eq!(body["decision"], true);
        let context = &body["context"];
        assert_eq!(context["grant_id"], "grant_41");
        assert_eq!(context["call_id"], "call_42");
        assert_eq!(context["owner"], "alice");
        assert_eq!(context["expires_at"], "1970-01-01T00:00:00Z");
        assert_eq!(context["receipt"]["link"], "01".repeat(32));
    }

    #[tokio::test]
    async fn an_allow_that_is_not_recorded_is_a_denial() {
        for (durable, receipt) in [(false, true), (true, false)] {
            let body = body(allowed(durable, receipt)).await;
            assert_eq!(body["decision"], false);
            assert_eq!(body["context"]["code"], "unavailable");
        }
    }

    #[tokio::test]
    async fn trouble_of_the_ledger_is_a_denial_and_a_callers_mistake_is_none() {
        let refused = |code| Reply {
            answer: Answer::Refused(Refusal::new(code, "why")),
            receipt: None,
            durable: false,
        };
        for code in [RefusalCode::Unavailable, RefusalCode::Overloaded, RefusalCode::ClockUnsure] {
            let body = body(refused(code)).await;
            assert_eq!(body["context"]["code"], code.as_str());
            assert!(body["context"].get("receipt").is_none());
        }
        for code in [RefusalCode::NotPermitted, RefusalCode::CredentialInvalid] {
            assert!(of(refused(code)).is_err());
        }
    }
}
