use proptest::prelude::*;

use super::{id, refusal};
use crate::policy::{POLICY_BYTES_MAX, PolicySet, check_one};

fn permit_when(condition: &str) -> String {
    format!(
        "permit (principal is Agent, action == Action::\"crm/read\", resource)\nwhen {{ {condition} }};"
    )
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let refusal = refusal(text);
    assert!(refusal.contains(expected), "{text}\n{refusal}");
}

#[test]
fn a_text_that_does_not_parse_is_refused_with_its_place() {
    check("", "1:1 ");
    check("permit (principal, action, resource)", "unexpected end of input");
    check("permit (principal, action,\n   ressource);", "2:4 ");
    check("permit (principal, action, resource) when { \"é\" == é };", "1:");
}

#[test]
fn a_text_holds_exactly_one_static_policy() {
    let one = "permit (principal, action, resource);";
    assert_eq!(check_one(&id("p"), one), Ok(()));
    assert!(check_one(&id("p"), &format!("{one}\n{one}")).is_err());
    assert!(check_one(&id("p"), "// nothing").is_err());
    check("permit (principal == ?principal, action, resource);", "template");
}

#[test]
fn what_is_not_in_the_schema_is_refused_with_line_and_column() {
    check(&permit_when("principal.porpoise == \"x\""), "2:8 ");
    check(&permit_when("principal.porpoise == \"x\""), "`porpoise`");
    check(&permit_when("context.tsak == \"x\""), "2:8 ");
    check(&permit_when("context.args.id == 1"), "2:8 ");
    check(&permit_when("context.task == \"task_1\""), "has");
    check(&permit_when("resource.owner == \"x\""), "2:8 ");
    check(&permit_when("context.effect == 5"), "2:8 ");
    check("permit (principal is User, action, resource);", "User");
    check("permit (principal == User::\"x\", action, resource);", "User");
    check("permit (principal, action == Foo::Action::\"x\", resource);", "Action");
    check("permit (principal, action, resource) when { principal.purpose == \"x\" };", "purpose");
}

#[test]
fn a_policy_that_can_never_apply_is_refused() {
    check("permit (principal == Group::\"g\", action, resource);", "1:1 ");
    check("permit (principal is Group, action, resource);", "1:1 ");
    check("permit (principal, action, resource is Tool);", "1:1 ");
    check("forbid (principal, action, resource == Agent::\"x\");", "1:1 ");
    check(&permit_when("false"), "1:1 ");
    check(&permit_when("context has tsak && context.tsak == \"x\""), "1:1 ");
    check("forbid (principal is Owner, action, resource) when { principal has purpose };", "1:1 ");
}

#[test]
fn an_id_that_nothing_can_have_is_refused() {
    check("permit (principal, action == Action::\"crm/*\", resource);", "`*`");
    check("permit (principal, action in [Action::\"a\", Action::\"\"], resource);", "empty");
    check("permit (principal == Agent::\"a b\", action, resource);", "1:22 ");
    check("forbid (principal, action, resource in Resource::\"crm://case/*\");", "`*`");
    check("forbid (principal, action, resource in Resource::\"crm://case/../x\");", "segments");
    check(&permit_when("principal in [Group::\"ok\", Group::\"n\\\"k\"]"), "2:");
}

#[test]
fn entities_that_are_unknown_at_a_decision_cannot_be_looked_into() {
    let looked = "can look into";
    check(&permit_when("Owner::\"bob\" in Group::\"staff\""), looked);
    check(&permit_when("Agent::\"other\".purpose == \"x\""), looked);
    check(&permit_when("Resource::\"crm://a/b\" in Resource::\"crm://a\""), looked);
    let either =
        "(if context.effect == \"read\" then Agent::\"x\" else principal).purpose == \"y\"";
    check(&permit_when(either), looked);
}

#[test]
fn an_annotation_at_fault_is_refused_with_its_place() {
    let policy = "permit (principal, action, resource);";
    for annotation in [
        "@ttl(\"5 minutes\")",
        "@ttl(\"0s\")",
        "@ttl(\"31d\")",
        "@ttl",
        "@max_uses(\"0\")",
        "@approval(\"anyone\")",
        "@jit(\"false\")",
        "@jit",
        "@shadow(\"no\")",
        "@TTL(\"5m\")",
        "@breakglass(\"yes\")",
        "@breakglass",
        "@id(\"other\")",
        "@note(\"x\")",
    ] {
        let text = format!("@reason(\"x\")\n  {annotation}\n{policy}");
        check(&text, "2:3 annotation `@");
    }
    check(&format!("@breakglass(\"true\") {policy}"), "1:1 `@breakglass` needs a `@ttl`");
    check(
        "@ttl(\"5m\")\nforbid (principal, action, resource);",
        "1:1 annotation `@ttl(\"5m\")` says how to grant",
    );
    check(&format!("@ttl(\"5m\") @ttl(\"5m\") {policy}"), "1:12 ");
}

#[test]
fn letters_that_hide_what_they_are_are_refused() {
    check(&permit_when("context has task && context.task == \"a\u{202e}b\""), "BIDI");
    // The second letter is Cyrillic.
    check(
        "forbid (principal, action, resource) when { resource.uri == \"s\u{430}y\" };",
        "mixed scripts",
    );
}

#[test]
fn a_long_text_is_refused() {
    let text =
        format!("// {}\npermit (principal, action, resource);", "x".repeat(POLICY_BYTES_MAX));
    check(&text, "at most 48000 are allowed");
    let actions: Vec<_> = (0..101).map(|n| format!("Action::\"a{n}\"")).collect();
    check(
        &format!("permit (principal, action in [{}], resource);", actions.join(",")),
        "more than 100 actions",
    );
}

#[test]
fn deep_texts_are_refused_and_never_overflow() {
    let end = "context.effect == \"read\"";
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{a:", "}"),
        ("!", ""),
        ("-", ""),
        ("true && ", ""),
        ("false || ", ""),
        ("1 + ", ""),
        ("1 == ", ""),
        ("if true then ", " else false"),
        ("if ", ""),
        ("principal.", ""),
        ("context has a.", ""),
        ("[1].contains(", ")"),
        ("ip(", ")"),
        ("a::", ""),
        ("@a(\"", "\")"),
    ] {
        let text = permit_when(&format!("{}{end}{}", open.repeat(10_000), close.repeat(10_000)));
        let short = permit_when(&format!("{}{end}{}", open.repeat(150), close.repeat(150)));
        let shortest = permit_when(&format!("{}{end}{}", open.repeat(48), close.repeat(48)));
        assert!(check_one(&id("p"), &text).is_err(), "{open}");
        for text in [short, shortest] {
            let _ = check_one(&id("p"), &text);
        }
    }
    check(&"(".repeat(10_000), "nested deeper than 50");
    check(&permit_when(&"1 == 1 && ".repeat(600)), "operators");
    check(
        &permit_when(&format!("{}true", "context.effect == \"x\" || ".repeat(150))),
        "deeper than 100",
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn compile_never_panics(parts in prop::collection::vec(prop::sample::select(TOKENS), 0..40)) {
        let text = parts.concat();
        let _ = PolicySet::compile([(&id("p"), text.as_str())]);
        let _ = PolicySet::compile([(&id("p"), permit_when(&text).as_str())]);
    }

    #[test]
    fn compile_never_panics_on_any_text(text in any::<String>()) {
        let _ = PolicySet::compile([(&id("p"), text.as_str())]);
    }
}

/// What policies are made of.
const TOKENS: &[&str] = &[
    "permit",
    "forbid",
    " (",
    ")",
    "principal",
    "action",
    "resource",
    "context",
    ", ",
    ";",
    " when {",
    "}",
    " unless {",
    " == ",
    " in ",
    " has ",
    " like ",
    " is ",
    "Agent",
    "Owner::\"a\"",
    "Group::\"g\"",
    "Action::\"a/b\"",
    "Resource::\"a://b\"",
    ".owner",
    ".purpose",
    ".task",
    ".time.hour",
    "[",
    "]",
    "{",
    "!",
    "-",
    "1",
    "9223372036854775807",
    " + ",
    " && ",
    " || ",
    "\"x*\"",
    "\"",
    "\\",
    "@ttl(\"5m\")",
    "@",
    "if ",
    " then ",
    " else ",
    "ip(\"1.2.3.4\")",
    ".contains(",
    "?principal",
    "//",
    "\n",
    "é",
    "\u{0}",
];
