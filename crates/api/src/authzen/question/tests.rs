//! Requests as enforcement points send them, and as they should not.

use serde_json::json;

use super::*;

fn people() -> Vec<String> {
    crate::PERSON_TYPES.map(str::to_owned).to_vec()
}

fn asked(body: Value) -> Result<Asked, Problem> {
    asked_by(body, true, Some("x-1"))
}

fn asked_by(body: Value, is_believed: bool, request_id: Option<&str>) -> Result<Asked, Problem> {
    let reading = Reading { person_types: &people(), is_believed, request_id };
    read(Members::of_body(body)?, reading, |_| Ok(Digest([7; 32])))
}

fn question(body: Value) -> Authorize {
    match asked(body).unwrap() {
        Asked::Question(question) => *question.authorize,
        Asked::OfNobody(kind) => panic!("nobody is a `{kind}`"),
    }
}

fn plain() -> Value {
    json!({
        "subject": {"type": "agent", "id": "a1"},
        "action": {"name": "crm/read_case"},
        "resource": {"type": "crm", "id": "crm://case/1234"},
    })
}

fn with(path: &str, value: Value) -> Value {
    let mut body = plain();
    *body.pointer_mut(path).unwrap() = value;
    body
}

fn with_context(context: Value) -> Value {
    let mut body = plain();
    body["context"] = context;
    body
}

#[test]
fn arguments_are_heard_and_where_they_are_no_good_that_is_for_the_decision() {
    let of = |arguments: Value| {
        let heard = question(with_context(json!({ "arguments": arguments }))).args.unwrap();
        (heard.fault(), heard.at("/case/0").cloned())
    };
    let seven = Some(bailiwick_core::arguments::Argument::Integer(7));
    assert_eq!(of(json!({"case": [7]})), (None, seven));
    for bad in [json!([7]), json!("x"), json!({"case": [7, 0.00001]})] {
        let (fault, found) = of(bad.clone());
        assert!(fault.is_some() && found.is_none(), "{bad}");
    }
    assert!(question(plain()).args.is_none());
}

#[test]
fn an_environment_is_heard_from_those_who_are_believed_and_a_request_id_from_anyone() {
    let body = || with_context(json!({"environment": "production"}));
    let of = |is_believed, id| match asked_by(body(), is_believed, id).unwrap() {
        Asked::Question(question) => {
            (question.authorize.environment, question.authorize.correlation)
        }
        Asked::OfNobody(kind) => panic!("nobody is a `{kind}`"),
    };
    let text = |text: &str| Some(Text::new(text).unwrap());
    assert_eq!(of(true, Some("x-1")), (text("production"), text("x-1")));
    assert_eq!(of(false, Some("x-1")), (None, text("x-1")));
    let long = "x".repeat(TEXT_BYTES_MAX + 1);
    assert_eq!(of(true, Some(&long)), (text("production"), None));
    assert_eq!(of(true, None), (text("production"), None));
    assert!(asked(with_context(json!({"environment": 1}))).is_err());
}

#[test]
fn a_plain_question_takes_the_careful_defaults() {
    let question = question(plain());
    assert_eq!(question.subject, Subject::Agent(AgentId::new("a1").unwrap()));
    assert_eq!(question.resource.as_str(), "crm://case/1234");
    assert_eq!(question.effect, Effect::Write);
    assert!(!question.finishes && question.arguments.is_none() && question.verdicts.is_none());
}

#[test]
fn everything_that_the_context_says_is_taken() {
    let question = question(with_context(json!({
        "task": "task_7", "session": "s1", "arguments": {"case_id": 1234}, "justification": "why",
        "call_id": "c1", "effect": "read", "disclosed": {"case_id": "1234"},
        "tool": {"server": "crm", "name": "read_case", "definition_hash": "ab".repeat(32)},
        "on_behalf_of": "alice", "reports_outcome": true, "time": "12:00", "extra": {"any": [1]},
    })));
    assert_eq!(question.task.unwrap().to_string(), "task_7");
    assert_eq!(question.tool.unwrap().as_str(), "crm/read_case");
    assert_eq!(question.tool_hash, Some(Digest([0xab; 32])));
    assert_eq!(question.arguments, Some(Digest([7; 32])));
    assert_eq!(question.effect, Effect::Read);
    assert_eq!(question.on_behalf_of.unwrap().as_str(), "alice");
    assert_eq!(question.disclosed.len(), 1);
    assert!(question.finishes);
}

#[test]
fn a_person_acts_in_person_or_through_an_agent() {
    let person = with("/subject", json!({"type": "user", "id": "alice"}));
    let owner = OwnerId::new("alice").unwrap();
    assert_eq!(question(person.clone()).subject, Subject::Person(owner.clone()));
    let mut through = person;
    through["context"] = json!({"agent": "a1"});
    let question = question(through);
    assert_eq!(question.subject, Subject::Agent(AgentId::new("a1").unwrap()));
    assert_eq!(question.on_behalf_of, Some(owner));
}

#[test]
fn a_subject_of_an_unknown_type_is_nobody() {
    let body = with("/subject/type", json!("spaceship"));
    assert!(matches!(asked(body), Ok(Asked::OfNobody(kind)) if kind == "spaceship"));
}

#[test]
fn a_resource_is_a_uri_by_itself_or_by_its_type() {
    let uri = |kind: &str, id: &str| resource(kind, id).map(|r| r.to_string()).ok();
    assert_eq!(uri("record", "record-1").as_deref(), Some("record://record-1"));
    assert_eq!(uri("x", "s3://bucket/key").as_deref(), Some("s3://bucket/key"));
    assert_eq!(uri("mcp_server", "a/b").as_deref(), Some("mcp_server://a/b"));
    for (kind, id) in [("crm://case", "1"), ("a/b", "c"), ("a b", "c"), ("a", "b/../c"), ("a", "*")]
    {
        assert_eq!(uri(kind, id), None, "{kind} {id}");
    }
}

#[test]
fn what_is_missing_empty_or_of_another_type_is_named() {
    for (body, message) in [
        (json!([]), "the body is not a JSON object"),
        (json!({}), "`subject` is missing"),
        (with("/subject", json!("alice")), "`subject` is not an object"),
        (with("/subject", json!({"type": "agent"})), "`subject.id` is missing"),
        (with("/subject/id", json!("")), "`subject.id` is empty"),
        (with("/action/name", json!(123)), "`action.name` is not a string"),
        (with("/action", json!({})), "`action.name` is missing"),
        (with("/resource", json!(null)), "`resource` is missing"),
        (with("/resource/type", json!([])), "`resource.type` is not a string"),
        (with_context(json!("now")), "`context` is not an object"),
        (with_context(json!({"task": 7})), "`context.task` is not a string"),
        (with_context(json!({"tool": {"name": "x"}})), "`context.tool.server` is missing"),
        (
            with_context(json!({"reports_outcome": 1})),
            "`context.reports_outcome` is not true or false",
        ),
        (with_context(json!({"disclosed": {"a": 1}})), "`context.disclosed.a` is not a string"),
    ] {
        let problem = asked(body).unwrap_err();
        assert_eq!((problem.kind, problem.detail.as_ref()), (INVALID_BODY, message));
    }
}

#[test]
fn ids_that_are_none_are_refused_as_such() {
    for body in [
        with("/subject/id", json!("a *")),
        with("/subject/id", json!("a>")),
        with("/action/name", json!("crm/*")),
        with("/resource/id", json!("crm://case/*")),
        with_context(json!({"task": "7"})),
        with_context(json!({"session": "a b"})),
        with_context(json!({"call_id": "*"})),
        with_context(json!({"tool": {"server": "a/b", "name": "c"}})),
        with_context(json!({"justification": "x".repeat(3_000)})),
    ] {
        assert_eq!(asked(body.clone()).unwrap_err().kind, INVALID_ID, "{body}");
    }
}

#[test]
fn disclosed_fields_are_bounded() {
    let many: serde_json::Map<_, _> =
        (0..=DISCLOSED_MAX).map(|n| (format!("f{n}"), json!("x"))).collect();
    let large: serde_json::Map<_, _> =
        (0..10).map(|n| (format!("f{n}"), json!("x".repeat(2_000)))).collect();
    for fields in [many, large] {
        let body = with_context(json!({"disclosed": fields}));
        assert_eq!(asked(body).unwrap_err().kind, OUT_OF_RANGE);
    }
}

#[test]
fn two_ids_for_one_attempt_are_refused() {
    let id = |text| Some(RequestId::new(text).unwrap());
    assert_eq!(call_id(id("a"), id("a")).unwrap(), id("a"));
    assert_eq!(call_id(None, id("a")).unwrap(), id("a"));
    assert!(call_id(id("a"), id("b")).is_err());
}
