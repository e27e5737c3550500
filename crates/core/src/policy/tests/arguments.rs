//! Arguments, typed by the input schemas of actions.

use super::{Case, ask, id, refusal, set};
use crate::arguments::Arguments;
use crate::id::Action;
use crate::policy::{Decision, InputSchemas, Inputs, PolicySet};

const PERMIT_ALL: &str = "permit (principal, action, resource);";

fn pay(condition: &str, args: &'static str) -> Decision {
    let policy = format!(
        r#"permit (principal, action == Action::"bank/pay", resource) when {{ {condition} }};"#
    );
    ask(&[&policy], &Case { action: "bank/pay", args: Some(args), ..Case::default() }).decision
}

#[test]
fn every_json_type_has_its_cedar_type() {
    let args = r#"{"amount": 12.5, "times": 3, "currency": "EUR", "urgent": true, "to": ["a", "b", "a"],
        "note": null, "anything": [1, "x"], "account": {"iban": "DE1"}, "unknown": {"x": 1}}"#;
    for condition in [
        r#"context.args.amount == decimal("12.5")"#,
        r#"context.args.amount.lessThan(decimal("12.5001"))"#,
        "context.args has times && context.args.times == 3",
        r#"context.args has currency && context.args.currency == "EUR""#,
        "context.args has urgent && context.args.urgent",
        r#"context.args has to && context.args.to == ["b", "a"]"#,
        r#"context.args has to && context.args.to.contains("a")"#,
        "!(context.args has note)",
        r#"context.args has account && context.args.account.iban like "DE*""#,
        "context.args has account.iban && !(context.args.account has bank)",
    ] {
        assert_eq!(pay(condition, args), Decision::Permit, "{condition}");
        let not = format!("!({condition})");
        assert_eq!(pay(&not, args), Decision::Silent, "{not}");
    }
    for (amount, decimal) in [
        (r#"{"amount": 7}"#, "7.0"),
        (r#"{"amount": -0.0001}"#, "-0.0001"),
        (r#"{"amount": -3.25}"#, "-3.25"),
        (r#"{"amount": 1e3}"#, "1000.0"),
    ] {
        let same = format!("context.args.amount == decimal(\"{decimal}\")");
        assert_eq!(pay(&same, amount), Decision::Permit, "{amount}");
    }
}

#[test]
fn no_forbid_that_reads_arguments_misses_a_call_without_any() {
    let forbid = r#"forbid (principal, action == Action::"bank/pay", resource)
        when { !(context.args has times) };"#;
    let without = Case { action: "bank/pay", args: None, ..Case::default() };
    assert_eq!(ask(&[PERMIT_ALL, forbid], &without).decision, Decision::Forbid);
    assert_eq!(ask(&[PERMIT_ALL], &without).decision, Decision::Permit);
    for condition in ["context has args", "(if true then context else context) has args"] {
        let policy = forbid.replace("!(context.args has times)", condition);
        let refused = refusal(&policy);
        assert!(refused.contains("do not ask whether it is there"), "{refused}");
    }
}

#[test]
fn arguments_of_other_types_are_not_accepted_and_no_forbid_misses() {
    let forbid = r#"forbid (principal, action == Action::"bank/pay", resource)
        when { context.args.amount.greaterThan(decimal("100.0")) };"#;
    let policies = set(&[PERMIT_ALL, forbid]);
    let action = Action::new("bank/pay").unwrap();
    for bad in [
        r#"{"amount": "1000"}"#,
        "{}",
        r#"{"amount": null}"#,
        r#"{"amount": [1]}"#,
        r#"{"amount": 9007199254740991}"#,
        r#"{"amount": 1, "times": 1.5}"#,
        r#"{"amount": 1, "times": "1"}"#,
        r#"{"amount": 1, "urgent": "true"}"#,
        r#"{"amount": 1, "to": "a"}"#,
        r#"{"amount": 1, "to": ["a", 1]}"#,
        r#"{"amount": 1, "to": ["a", null]}"#,
        r#"{"amount": 1, "account": {}}"#,
        r#"{"amount": 1, "account": {"iban": "DE1", "more": 1}}"#,
    ] {
        let arguments = Arguments::of_json(&serde_json::from_str(bad).unwrap()).unwrap();
        assert!(!policies.accept(&action, &arguments), "{bad}");
        let case = Case { action: "bank/pay", args: Some(bad), ..Case::default() };
        let verdict = case.asked(|question| policies.evaluate(question));
        assert_eq!((verdict.decision, verdict.errors), (Decision::Forbid, true), "{bad}");
    }
    let none = Case { action: "bank/pay", ..Case::default() };
    let verdict = none.asked(|question| policies.evaluate(question));
    assert_eq!((verdict.decision, verdict.errors), (Decision::Forbid, true), "none at all");
    let good = Case { args: Some(r#"{"amount": 100}"#), ..none };
    assert_eq!(good.asked(|question| policies.evaluate(question)).decision, Decision::Permit);
    let other = Arguments::of_json(&serde_json::json!({"x": 1})).unwrap();
    assert!(policies.accept(&Action::new("no/schema").unwrap(), &other));
}

#[test]
fn a_policy_that_reads_what_has_no_type_is_refused_with_its_place() {
    let permit = |scope: &str, condition: &str| {
        refusal(&format!("permit (principal, {scope}, resource)\nwhen {{ {condition} }};"))
    };
    let unknown =
        permit(r#"action == Action::"files/delete""#, "context.args.path like \"/etc/*\"");
    assert!(unknown.starts_with("2:8 "), "{unknown}");
    assert!(unknown.contains("no input schema of `files/delete`"), "{unknown}");

    let one_of_two = r#"action in [Action::"bank/pay", Action::"files/delete"]"#;
    let refused = permit(one_of_two, r#"context.args.amount == decimal("1.0")"#);
    assert!(refused.contains("of `files/delete`") && !refused.contains("bank/pay`"), "{refused}");

    for condition in [
        r#"context.args.amount == decimal("1.0")"#,
        "context.time.hour > 22 || context has args.times",
        r#"action == Action::"bank/pay" && context.args.times == 1"#,
    ] {
        let all = permit("action", condition);
        assert!(all.contains("name the actions in the scope"), "{all}");
    }

    let both = r#"action in [Action::"bank/pay", Action::"crm/read_case"]"#;
    let refused = permit(both, r#"context.args.amount == decimal("1.0")"#);
    assert!(
        refused.contains("args.amount` in context for Action::\"crm/read_case"),
        "each action is validated: {refused}"
    );

    let pay = r#"action == Action::"bank/pay""#;
    for condition in [
        "context.args.anything == 1",
        "context.args has anything && context.args.anything == 1",
        "context.time.hour > 22 || context.args has anything",
        "context.time.hour > 22 || context has args.anything",
    ] {
        let refused = permit(pay, condition);
        let why = "argument `anything` of `bank/pay` cannot be read: it may be any value";
        assert!(refused.starts_with("2:") && refused.contains(why), "{refused}");
    }
    for condition in ["context.args has amuont", "context.args.account has iban.country"] {
        let refused = permit(pay, &format!("context.time.hour > 22 || {condition}"));
        assert!(refused.contains("there is no argument"), "{refused}");
    }
    let optional = permit(r#"action == Action::"bank/pay""#, "context.args.times == 1");
    assert!(
        optional.contains("times"),
        "an argument that may be absent is asked for first: {optional}"
    );
    let mistyped = permit(r#"action == Action::"bank/pay""#, "context.args.amount > 100");
    assert!(mistyped.starts_with("2:"), "{mistyped}");
}

#[test]
fn another_schema_is_another_set_and_validates_anew() {
    let text = r#"permit (principal, action == Action::"crm/read_case", resource)
        when { context.args has case_id && context.args.case_id == 1 };"#;
    let p = id("p");
    let with = |schema: &str| -> InputSchemas {
        [(Action::new("crm/read_case").unwrap(), schema.to_owned())].into()
    };
    let number = with(r#"{"type": "object", "properties": {"case_id": {"type": "integer"}}}"#);
    let string = with(r#"{"type": "object", "properties": {"case_id": {"type": "string"}}}"#);
    let set = PolicySet::empty().recompile_with(&number, [(&p, text)]).unwrap();
    assert!(set.recompile_with(&string, [(&p, text)]).is_err());
    assert!(set.recompile_with(&InputSchemas::new(), [(&p, text)]).is_err());
    let same = set.recompile_with(&number, [(&p, text)]).unwrap();
    assert_eq!(format!("{set:?}"), format!("{same:?}"));
    let no_policies: [(&crate::id::PolicyId, &str); 0] = [];
    let hashes = [number, string, InputSchemas::new()]
        .map(|schemas| PolicySet::empty().recompile_with(&schemas, no_policies).unwrap().hash());
    assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2] && hashes[0] != hashes[2]);
    assert_eq!(hashes[2], PolicySet::empty().hash());
}

#[test]
fn what_has_no_exact_type_is_left_out_and_says_why() {
    let left_out = |property: &str| -> Vec<(String, &'static str)> {
        let schema = format!(r#"{{"type": "object", "properties": {{"a": {property}}}}}"#);
        let inputs = Inputs::of_json_schema(&schema).expect(property);
        inputs.left_out().iter().map(|out| (out.path.clone(), out.why)).collect()
    };
    for exact in [
        r#"{"type": "string"}"#,
        r#"{"type": ["string", "null"]}"#,
        r#"{"type": ["integer", "number"]}"#,
        r#"{"enum": [1, 2, null]}"#,
        r#"{"const": true}"#,
        r#"{"anyOf": [{"type": "integer"}, {"type": "null"}]}"#,
        r#"{"oneOf": [{"type": "array", "items": {"type": "boolean"}}]}"#,
        r#"{"type": "array", "items": {"type": "object", "properties": {}}}"#,
        r#"{"type": "string", "format": "uri", "maxLength": 3}"#,
    ] {
        assert_eq!(left_out(exact), [], "{exact}");
    }
    for inexact in [
        "{}",
        "true",
        r#"{"type": "null"}"#,
        r#"{"type": ["string", "integer"]}"#,
        r#"{"anyOf": [{"type": "string"}, {"type": "integer"}]}"#,
        r#"{"enum": [1, "x"]}"#,
        r#"{"enum": [1.5]}"#,
        r#"{"type": "array"}"#,
        r#"{"type": "array", "items": {"type": ["string", "null"]}}"#,
        r#"{"type": "array", "prefixItems": [{"type": "string"}]}"#,
        r#"{"type": "object"}"#,
        r#"{"type": "object", "additionalProperties": {"type": "string"}}"#,
        r##"{"$ref": "#/$defs/x"}"##,
    ] {
        assert_eq!(left_out(inexact).len(), 1, "{inexact}");
    }
    let nested =
        left_out(r#"{"type": "object", "properties": {"b": {}, "c": {"type": "string"}}}"#);
    assert_eq!(nested, [("a.b".to_owned(), "it may be any value")]);
}

#[test]
fn what_is_no_schema_of_an_object_is_refused() {
    for bad in [
        "",
        "[]",
        r#"{"type": "string"}"#,
        r#"{"type": "object", "type": "object"}"#,
        r#"{"properties": []}"#,
        r#"{"required": "a"}"#,
        r#"{"properties": {"a": 1}}"#,
        r#"{"properties": {"a": {"type": "text"}}}"#,
        r#"{"properties": {"a": {"type": 1}}}"#,
    ] {
        assert!(Inputs::of_json_schema(bad).is_err(), "{bad}");
    }
    assert!(Inputs::of_json_schema(&format!("{{{}}}", " ".repeat(48_000))).is_err());
    let deep = format!("{}1{}", "{\"properties\":".repeat(40), "}".repeat(40));
    assert!(Inputs::of_json_schema(&deep).is_err());
}
