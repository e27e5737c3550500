//! One decision on the wire: AuthZEN evaluation, question and answer.

use std::collections::BTreeMap;
use std::time::Instant;

use bailiwick_core::event::{DenialCode, Effect, Selector};
use bailiwick_core::id::{CallId, GrantId, OwnerId, Text};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Error;
use crate::authority::{Ask, Awaited, Denial, Permit, Receipt, Ruling};

pub(crate) const PATH: &str = "/access/v1/evaluation";

#[derive(Serialize)]
pub(crate) struct Body<'a> {
    subject: Subject<'a>,
    action: Named<'a>,
    resource: Subject<'a>,
    context: Context<'a>,
}

#[derive(Serialize)]
struct Subject<'a> {
    r#type: &'a str,
    id: &'a str,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Context<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    justification: Option<&'a str>,
    call_id: &'a str,
    tool: Tool<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_behalf_of: Option<&'a str>,
    effect: Effect,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    disclosed: &'a BTreeMap<Text, Text>,
    reports_outcome: bool,
}

#[derive(Serialize)]
struct Tool<'a> {
    server: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    definition_hash: Option<String>,
}

/// The question as it is sent.
pub(crate) fn body(ask: &Ask) -> Body<'_> {
    let resource = ask.resource.as_str();
    Body {
        subject: Subject { r#type: "agent", id: ask.agent.as_str() },
        action: Named { name: ask.action.as_str() },
        resource: Subject { r#type: resource.split_once(':').map_or("", |(s, _)| s), id: resource },
        context: Context {
            task: ask.task.map(|task| task.to_string()),
            session: ask.session.as_ref().map(bailiwick_core::id::SessionId::as_str),
            arguments: ask.arguments.as_deref(),
            justification: ask.justification.as_ref().map(Text::as_str),
            call_id: ask.call_id.as_str(),
            tool: Tool {
                server: ask.tool.server(),
                name: ask.tool.tool(),
                definition_hash: ask.tool_hash.map(|hash| hash.to_string()),
            },
            on_behalf_of: ask.on_behalf_of.as_ref().map(OwnerId::as_str),
            effect: ask.effect,
            disclosed: &ask.disclosed,
            reports_outcome: ask.reports_outcome,
        },
    }
}

#[derive(Deserialize)]
struct Answer {
    decision: bool,
    context: serde_json::Value,
}

#[derive(Deserialize)]
struct Yes {
    grant_id: GrantId,
    #[serde(default)]
    owner: Option<OwnerId>,
    expires_at: String,
    uses_left: u32,
    #[serde(default)]
    rests_on: Vec<Selector>,
    call_id: CallId,
    receipt: Receipt,
}

#[derive(Deserialize)]
struct No {
    code: DenialCode,
    #[serde(default)]
    message: String,
    #[serde(default)]
    receipt: Option<Receipt>,
    #[serde(default)]
    approval: Option<Awaited>,
}

/// Reads the answer to a question that was sent at `sent`. An allow without everything that proves
/// it is no allow.
pub(crate) fn ruling(bytes: &[u8], sent: Instant) -> Result<Ruling, Error> {
    let bad = |why: &dyn std::fmt::Display| Error::answer(PATH, why);
    let answer: Answer = serde_json::from_slice(bytes).map_err(|e| bad(&e))?;
    if !answer.decision {
        let No { code, message, receipt, approval } =
            serde_json::from_value(answer.context).map_err(|e| bad(&e))?;
        return Ok(Ruling::Denied(Denial { code, message, receipt, approval }));
    }
    let yes: Yes = serde_json::from_value(answer.context).map_err(|e| bad(&e))?;
    let expires_at = crate::rfc3339::parse(&yes.expires_at)
        .ok_or_else(|| bad(&"`expires_at` is not a moment in RFC 3339"))?;
    if yes.receipt.index != yes.call_id.0 {
        return Err(bad(&"the receipt is for another event than the call"));
    }
    Ok(Ruling::Allowed(Permit {
        call: yes.call_id,
        grant: yes.grant_id,
        owner: yes.owner,
        expires_at,
        uses_left: yes.uses_left,
        rests_on: yes.rests_on,
        receipt: yes.receipt,
        asked: sent,
    }))
}

#[cfg(test)]
mod tests {
    use bailiwick_core::id::{Action, AgentId, RequestId, Resource, TaskId, ToolId};
    use serde_json::json;

    use super::*;

    #[test]
    fn the_question_holds_the_arguments_to_the_byte() {
        let arguments = r#"{ "case_id" : "1234", "n": 1.0e2, "z":1, "a":"\u00e9" }"#;
        let ask = Ask {
            agent: AgentId::new("a1").unwrap(),
            on_behalf_of: None,
            task: Some(TaskId(7)),
            session: None,
            tool: ToolId::new("crm/read_case").unwrap(),
            tool_hash: None,
            action: Action::new("crm/read_case").unwrap(),
            resource: Resource::new("crm://case/1234").unwrap(),
            effect: Effect::Read,
            arguments: Some(RawValue::from_string(arguments.to_owned()).unwrap()),
            disclosed: BTreeMap::new(),
            justification: None,
            call_id: RequestId::new("c1").unwrap(),
            reports_outcome: true,
        };
        let text = serde_json::to_string(&body(&ask)).unwrap();
        assert!(text.contains(arguments), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["subject"], json!({"type": "agent", "id": "a1"}));
        assert_eq!(value["resource"], json!({"type": "crm", "id": "crm://case/1234"}));
        assert_eq!(value["context"]["tool"], json!({"server": "crm", "name": "read_case"}));
        assert_eq!(value["context"]["task"], "task_7");
        assert_eq!(value["context"]["effect"], "read");
    }

    fn yes() -> serde_json::Value {
        json!({"decision": true, "context": {
            "grant_id": "grant_41", "expires_at": "2026-11-23T02:47:22.5Z", "uses_left": 0,
            "call_id": "call_42", "receipt": {"index": 42, "link": "ab".repeat(32)}}})
    }

    #[test]
    fn an_allow_is_counted_from_when_it_was_asked_for() {
        let sent = Instant::now();
        let Ok(Ruling::Allowed(permit)) = ruling(yes().to_string().as_bytes(), sent) else {
            panic!("not allowed")
        };
        assert_eq!((permit.call, permit.grant), (CallId(42), GrantId(41)));
        assert_eq!(permit.asked, sent);
        assert!(permit.rests_on.is_empty());
        let mut given = yes();
        given["context"]["rests_on"] = json!([{"grant": "grant_7"}, {"agent": "a2"}]);
        let Ok(Ruling::Allowed(given)) = ruling(given.to_string().as_bytes(), sent) else {
            panic!("not allowed")
        };
        let parent = Selector::Grant(GrantId(7));
        assert_eq!(given.rests_on, [parent, Selector::Agent(AgentId::new("a2").unwrap())]);
        let mut odd = yes();
        odd["context"]["rests_on"] = json!([{"session": "s"}]);
        assert!(ruling(odd.to_string().as_bytes(), sent).is_err());
        assert_eq!(permit.expires_at.0, 1_795_402_042_500_000_000);
    }

    #[test]
    fn an_allow_that_lacks_anything_is_an_error() {
        for member in ["grant_id", "expires_at", "uses_left", "call_id", "receipt"] {
            let mut answer = yes();
            answer["context"].as_object_mut().unwrap().remove(member);
            assert!(ruling(answer.to_string().as_bytes(), Instant::now()).is_err(), "{member}");
        }
        let mut other = yes();
        other["context"]["receipt"]["index"] = json!(43);
        for bad in [other.to_string(), "true".into(), "{}".into(), r#"{"decision":"true"}"#.into()]
        {
            assert!(ruling(bad.as_bytes(), Instant::now()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_denial_says_why_and_an_unknown_reason_is_an_error() {
        let no = json!({"decision": false, "context": {"code": "no_grant", "message": "m"}});
        let Ok(Ruling::Denied(denial)) = ruling(no.to_string().as_bytes(), Instant::now()) else {
            panic!("not denied")
        };
        assert_eq!((denial.code, denial.call()), (DenialCode::NoGrant, None));
        let odd = json!({"decision": false, "context": {"code": "because"}});
        assert!(ruling(odd.to_string().as_bytes(), Instant::now()).is_err());
    }
}
