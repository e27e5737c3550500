//! How the gate says no: shapes that were measured against real clients, and words a model can use.
//!
//! A denied `tools/call` is a tool result with `isError`, one short text for the model, and the
//! machine's part in `_meta` under [`META`]; a `structuredContent` would have to match the tool's
//! own schema. When nobody can decide, the answer is a JSON-RPC error: the model can do nothing
//! about it. Codes are the closed list of [`DenialCode`]; texts may change.

use bailiwick_client::authority::{Awaited, Receipt};
use bailiwick_core::event::DenialCode;
use bailiwick_core::id::{CallId, RequestId};
use serde::Serialize;
use serde_json::{Value, json};

use crate::frame::{Bad, INTERNAL_ERROR, Id, Key};

/// Under this key the machine's part stands in `_meta` and in an error's `data`.
pub const META: &str = "dev.bailiwick/decision";

/// The machine's part of a "no".
#[derive(Debug, Clone, Serialize)]
pub struct Decision {
    /// From the closed list.
    pub reason_code: DenialCode,
    /// The call's number on the ledger; none when the "no" could not be recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<CallId>,
    /// The gateway's own id of the attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation_id: Option<RequestId>,
    /// Where it stands on the chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    /// The approval that is waited for, or that did not help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<Awaited>,
    /// `cut` when the call had begun and was stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<&'static str>,
}

impl Decision {
    /// A "no" of which only the reason is known.
    #[must_use]
    pub const fn new(reason_code: DenialCode) -> Self {
        let (decision_id, evaluation_id, receipt) = (None, None, None);
        Self { reason_code, decision_id, evaluation_id, receipt, approval: None, outcome: None }
    }
}

/// A tool result that says no.
#[must_use]
pub fn refused_result(id: &Id, text: &str, decision: &Decision) -> Vec<u8> {
    let result = json!({
        "content": [{"type": "text", "text": text}],
        "isError": true,
        "_meta": {META: decision},
    });
    response(Some(id), "result", &result)
}

/// A JSON-RPC error because nobody can decide, or nobody in time.
#[must_use]
pub fn undecided(id: &Id, text: &str, decision: &Decision) -> Vec<u8> {
    let data = json!({META: decision});
    error(Some(id), INTERNAL_ERROR, text, Some(&data))
}

/// A JSON-RPC error.
#[must_use]
pub fn error(id: Option<&Id>, code: i32, message: &str, data: Option<&Value>) -> Vec<u8> {
    let mut error = json!({"code": code, "message": message});
    if let Some(data) = data {
        error["data"] = data.clone();
    }
    response(id, "error", &error)
}

/// A JSON-RPC error for a request of which only the key is left.
#[must_use]
pub fn error_to(key: &Key, code: i32, message: &str) -> Vec<u8> {
    let id = match key {
        Key::Number(number) => Value::from(*number),
        Key::Text(text) => Value::from(text.as_str()),
    };
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
        .to_string()
        .into_bytes()
}

/// The answer to a message that is none.
#[must_use]
pub fn bad(bad: &Bad) -> Vec<u8> {
    error(bad.id.as_ref(), bad.code, &bad.message, None)
}

/// What the server is told when a call is cut.
#[must_use]
pub fn cancelled(id: &Id, reason: &str) -> Vec<u8> {
    let reason = Value::from(reason);
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":{reason}}}}}"#
    )
    .into_bytes()
}

fn response(id: Option<&Id>, member: &str, value: &Value) -> Vec<u8> {
    let id = id.map_or("null", Id::as_json);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"{member}":{value}}}"#).into_bytes()
}

/// Whether the code says that nobody could decide, rather than that somebody said no.
#[must_use]
pub const fn is_undecided(code: DenialCode) -> bool {
    matches!(code, DenialCode::Unavailable | DenialCode::Overloaded | DenialCode::ClockUnsure)
}

/// The text for the model: what was refused, why in short, and what can be done.
#[must_use]
pub fn words(tool: &str, code: DenialCode, message: &str) -> String {
    let message = message.trim().trim_end_matches('.');
    let why = if message.is_empty() { String::new() } else { format!(": {message}") };
    format!("Not allowed: {tool} ({code}){why}. {}", advice(code))
}

/// How a person approves what waits for that.
#[must_use]
pub fn how_to_approve(awaited: &Awaited) -> String {
    let Awaited { id, expires_at, .. } = awaited;
    format!(
        "With `bailiwick approve {id}` they see it and decide, until {expires_at}; then try again."
    )
}

const fn advice(code: DenialCode) -> &'static str {
    match code {
        DenialCode::AgentUnknown
        | DenialCode::AgentSuspended
        | DenialCode::AgentExpired
        | DenialCode::AgentRetired
        | DenialCode::OwnerDisabled
        | DenialCode::NotOwner
        | DenialCode::TaskClosed
        | DenialCode::Suspended
        | DenialCode::Drift => {
            "Stop here and tell the person you work for; trying again will not help."
        }
        DenialCode::ToolChanged | DenialCode::ToolUnpinned | DenialCode::ToolNotAllowed => {
            "This tool is not open to you; use another way or ask the person you work for."
        }
        DenialCode::Forbidden => "Policy does not let you do this; do not try it in other words.",
        DenialCode::NoGrant
        | DenialCode::GrantRevoked
        | DenialCode::GrantExpired
        | DenialCode::GrantExhausted
        | DenialCode::NotYetValid => {
            "Ask the person you work for to grant it if the task needs it."
        }
        DenialCode::Held | DenialCode::ApprovalRequired | DenialCode::ApprovalMismatch => {
            "A person has to approve this first."
        }
        DenialCode::ApprovalDenied => "A person said no; do not try it in other words.",
        DenialCode::ApprovalExpired => "Nobody answered in time; ask again if the task needs it.",
        DenialCode::Unavailable
        | DenialCode::Overloaded
        | DenialCode::ClockUnsure
        | DenialCode::RateLimited => "Nothing was done; wait before trying again.",
        DenialCode::IdReused => "Nothing was done.",
        DenialCode::InvalidArguments | DenialCode::ResourceUnmapped => {
            "Nothing was done; change the arguments."
        }
    }
}

#[cfg(test)]
mod tests {
    use bailiwick_core::record::hash::Link;

    use super::*;
    use crate::frame::{Frame, parse_strictly};

    fn id(text: &str) -> Id {
        let line = format!(r#"{{"jsonrpc":"2.0","id":{text},"method":"x"}}"#);
        match parse_strictly(line.as_bytes()).unwrap() {
            Frame::Request { id, .. } => id,
            other @ (Frame::Notification { .. } | Frame::Response { .. }) => panic!("{other:?}"),
        }
    }

    fn read(bytes: &[u8]) -> Value {
        assert!(!bytes.contains(&b'\n'));
        assert!(bailiwick_core::json::parse_strict(bytes, bailiwick_core::json::LIMITS).is_ok());
        serde_json::from_slice(bytes).unwrap()
    }

    #[test]
    fn a_denied_call_is_a_result_that_a_model_can_read_and_a_program_too() {
        let decision = Decision {
            decision_id: Some(CallId(42)),
            evaluation_id: Some(RequestId::new("s-1").unwrap()),
            receipt: Some(Receipt { index: 42, link: Link([0xab; 32]) }),
            ..Decision::new(DenialCode::NoGrant)
        };
        let text = words("crm/read_case", DenialCode::NoGrant, "no grant covers it.");
        let answer = read(&refused_result(&id("\"\\u0061\""), &text, &decision));
        let expected = json!({"jsonrpc": "2.0", "id": "a", "result": {
            "content": [{"type": "text", "text": "Not allowed: crm/read_case (no_grant): no grant \
                covers it. Ask the person you work for to grant it if the task needs it."}],
            "isError": true,
            "_meta": {"dev.bailiwick/decision": {
                "reason_code": "no_grant", "decision_id": "call_42", "evaluation_id": "s-1",
                "receipt": {"index": 42, "link": "ab".repeat(32)}}}}});
        assert_eq!(answer, expected);
    }

    #[test]
    fn what_waits_for_a_person_says_where_and_until_when() {
        let awaited = Awaited {
            id: "approval_70".parse().unwrap(),
            expires_at: "2026-11-23T14:00:00Z".to_owned(),
            shown: "cd".repeat(32).parse().unwrap(),
        };
        let said = how_to_approve(&awaited);
        assert!(said.contains("`bailiwick approve approval_70`"), "{said}");
        assert!(said.contains("until 2026-11-23T14:00:00Z"), "{said}");
        let code = DenialCode::ApprovalRequired;
        let decision = Decision { approval: Some(awaited), ..Decision::new(code) };
        let answer = read(&refused_result(&id("1"), &said, &decision));
        let told = &answer["result"]["_meta"][META]["approval"];
        assert_eq!((&told["id"], &told["shown"]), (&json!("approval_70"), &json!("cd".repeat(32))));
    }

    #[test]
    fn no_decision_is_an_internal_error() {
        let answer = read(&undecided(&id("7"), "m", &Decision::new(DenialCode::Unavailable)));
        assert_eq!(
            answer,
            json!({"jsonrpc": "2.0", "id": 7, "error": {"code": -32603, "message": "m",
            "data": {"dev.bailiwick/decision": {"reason_code": "unavailable"}}}})
        );
    }

    #[test]
    fn a_message_that_is_none_is_answered_without_an_id() {
        let broken = parse_strictly(b"{").unwrap_err();
        let answer = read(&bad(&broken));
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&Value::Null, &json!(-32700)));
    }

    #[test]
    fn ids_are_repeated_to_the_byte() {
        let told = String::from_utf8(cancelled(&id("\"\\u0061\""), "a \"reason\"")).unwrap();
        assert!(told.contains(r#""requestId":"\u0061""#), "{told}");
        assert_eq!(read(told.as_bytes())["params"]["reason"], "a \"reason\"");
    }
}
