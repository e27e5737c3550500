use std::collections::BTreeSet;

use super::{Case, MONDAY, ask, id, set};
use crate::id::{Action, AgentId, OwnerId, Resource};
use crate::policy::{Context, Decision, POLICIES_MAX, PolicyIndex, PolicySet, Principal, Question};
use crate::policy::{InputSchemas, SEGMENTS_MAX, check_one};
use crate::time::{Span, Time};

const PERMIT_ALL: &str = "permit (principal, action, resource);";

fn decision(texts: &[&str], case: &Case) -> Decision {
    ask(texts, case).decision
}

#[test]
fn no_policy_is_silence() {
    let verdict = Case::default().asked(|question| PolicySet::empty().evaluate(question));
    assert_eq!(verdict.decision, Decision::Silent);
    assert!(verdict.determining.is_empty() && !verdict.errors && !verdict.volatile);
}

#[test]
fn a_permit_that_matches_permits_and_says_which() {
    let other = r#"permit (principal == Agent::"other", action, resource);"#;
    let verdict = ask(&[other, PERMIT_ALL], &Case::default());
    assert_eq!(verdict.decision, Decision::Permit);
    assert_eq!(verdict.determining, [PolicyIndex(1)]);
}

#[test]
fn forbid_wins_over_every_permit() {
    let forbid =
        r#"@reason("hands off") forbid (principal, action, resource in Resource::"crm://case");"#;
    let verdict = ask(&[PERMIT_ALL, forbid, PERMIT_ALL], &Case::default());
    assert_eq!(verdict.decision, Decision::Forbid);
    assert_eq!(verdict.determining, [PolicyIndex(1)]);
    assert_eq!(verdict.restrictions.reason.unwrap().as_str(), "hands off");
    assert!(!verdict.errors);
}

#[test]
fn a_policy_that_errors_denies_be_it_forbid_or_permit() {
    for effect in ["forbid", "permit"] {
        let overflow = format!(
            "{effect} (principal, action, resource) when {{ 9223372036854775807 + context.time.hour < 0 }};"
        );
        let verdict = ask(&[PERMIT_ALL, &overflow], &Case::default());
        assert_eq!(verdict.decision, Decision::Forbid, "{effect}");
        assert_eq!(verdict.determining, [PolicyIndex(1)]);
        assert!(verdict.errors);
        let midnight = Case { now: 0, ..Case::default() };
        assert_eq!(decision(&[PERMIT_ALL, &overflow], &midnight), Decision::Permit);
    }
}

#[test]
fn a_wider_owner_never_widens_an_agent() {
    let of_owner = r#"permit (principal is Owner, action, resource);
        "#;
    let of_staff = r#"permit (principal is Owner in Group::"staff", action, resource);"#;
    let of_agent =
        r#"permit (principal == Agent::"helper", action == Action::"crm/read_case", resource);"#;
    for owner_groups in [vec![], vec!["staff"], vec!["staff", "admins"]] {
        for policies in
            [vec![of_agent], vec![of_agent, of_owner], vec![of_agent, of_owner, of_staff]]
        {
            for (action, expected) in
                [("crm/read_case", Decision::Permit), ("crm/delete_case", Decision::Silent)]
            {
                let owner = ("alice", owner_groups.clone());
                let case = Case { owner, action, ..Case::default() };
                let verdict = ask(&policies, &case);
                assert_eq!(verdict.decision, expected);
                assert_eq!(verdict, ask(&[of_agent], &case), "only the agent's policy counts");
            }
        }
    }
}

#[test]
fn a_verdict_that_reads_the_time_is_volatile() {
    let office = r#"permit (principal, action == Action::"crm/read_case", resource)
        when { context.time.hour >= 9 && context.time.hour < 17 && context.time.weekday <= 5 };"#;
    let verdict = ask(&[office], &Case::default());
    assert_eq!(verdict.decision, Decision::Permit);
    assert!(verdict.volatile);
    let night = ask(&[office], &Case { now: MONDAY + 8 * 3_600, ..Case::default() });
    assert_eq!(night.decision, Decision::Silent);
    assert!(night.volatile, "an hour later it may permit");
    let other = ask(&[office], &Case { action: "crm/list", ..Case::default() });
    assert!(!other.volatile, "the policy is not of this action");
    let task = "permit (principal, action, resource) when { context has task };";
    assert!(!ask(&[task], &Case { task: Some(1), ..Case::default() }).volatile);
}

#[test]
fn resources_lie_within_whole_segments() {
    let within = r#"permit (principal, action, resource in Resource::"crm://case");"#;
    let condition =
        r#"permit (principal, action, resource) when { resource in Resource::"crm://case" };"#;
    for policy in [within, condition] {
        for (resource, expected) in [
            ("crm://case", Decision::Permit),
            ("crm://case/1", Decision::Permit),
            ("crm://case/1/notes", Decision::Permit),
            ("crm://casework/1", Decision::Silent),
            ("crm://cas", Decision::Silent),
            ("s3://crm://case/1", Decision::Silent),
        ] {
            assert_eq!(
                decision(&[policy], &Case { resource, ..Case::default() }),
                expected,
                "{resource}"
            );
        }
    }
}

#[test]
fn a_resource_with_endless_segments_is_denied() {
    let endless: &'static str = format!("a://{}", "b/".repeat(SEGMENTS_MAX)).leak();
    let verdict = ask(&[PERMIT_ALL], &Case { resource: endless, ..Case::default() });
    assert_eq!((verdict.decision, verdict.errors), (Decision::Forbid, true));
}

#[test]
fn policies_know_the_owner_of_an_agent_and_its_groups() {
    let policy = r#"forbid (principal is Agent, action, resource)
        when { principal.owner in Group::"contractors" || context.owner.id == "mallory" };"#;
    for (owner, expected) in [
        (("alice", vec![]), Decision::Permit),
        (("bob", vec!["contractors"]), Decision::Forbid),
        (("mallory", vec![]), Decision::Forbid),
    ] {
        assert_eq!(decision(&[PERMIT_ALL, policy], &Case { owner, ..Case::default() }), expected);
    }
}

#[test]
fn an_agent_asked_about_with_another_owner_is_denied() {
    let [alice, bob] = ["alice", "bob"].map(|id| OwnerId::new(id).unwrap());
    let owner = Principal::owner(&bob, &BTreeSet::new());
    let agent =
        Principal::agent(&AgentId::new("helper").unwrap(), &alice, "support", &BTreeSet::new());
    let context = Context {
        task: None,
        session: None,
        justification: None,
        agent: Some(&agent),
        owner: &owner,
        tool: None,
        of_resource: None,
        of_action: None,
        effect: "read",
        time: Time(0),
        args: None,
        environment: None,
        live: None,
    };
    let verdict = set(&[PERMIT_ALL]).evaluate(&Question {
        principal: &agent,
        action: &Action::new("a").unwrap(),
        resource: &Resource::new("r").unwrap(),
        context: &context,
    });
    assert_eq!((verdict.decision, verdict.errors), (Decision::Forbid, true));
}

#[test]
fn shadow_policies_decide_nothing_and_are_looked_at() {
    let shadow_permit = r#"@shadow("true") @ttl("1m") permit (principal, action, resource);"#;
    let shadow_forbid =
        r#"@shadow("true") forbid (principal, action, resource) when { context.time.hour < 24 };"#;
    let silent = ask(&[shadow_permit], &Case::default());
    assert_eq!((silent.decision, silent.determining.len()), (Decision::Silent, 0));
    assert_eq!(silent.shadow.permits, [PolicyIndex(0)]);
    let verdict = ask(&[shadow_forbid, PERMIT_ALL, shadow_permit], &Case::default());
    assert_eq!(verdict.decision, Decision::Permit);
    assert_eq!(verdict.determining, [PolicyIndex(1)]);
    assert_eq!(verdict.restrictions.ttl, None);
    assert_eq!(verdict.shadow.forbids, [PolicyIndex(0)]);
    assert_eq!(verdict.shadow.permits, [PolicyIndex(2)]);
    assert!(verdict.volatile, "what it would have changed depends on the moment");
}

#[test]
fn a_shadow_policy_that_errors_denies_nothing() {
    for effect in ["permit", "forbid"] {
        let overflow = format!(
            "@shadow(\"true\") {effect} (principal, action, resource) when {{ 9223372036854775807 + context.time.hour < 0 }};"
        );
        let verdict = ask(&[PERMIT_ALL, &overflow], &Case::default());
        assert_eq!((verdict.decision, verdict.errors), (Decision::Permit, false), "{effect}");
        assert_eq!(verdict.shadow, Default::default());
    }
}

#[test]
fn a_broken_glass_counts_only_with_a_reason_and_where_nothing_else_permits() {
    let glass = r#"@breakglass("true") @ttl("10m") @max_uses("2") @reason("on call")
        permit (principal, action == Action::"crm/read_case", resource);"#;
    let told = Case { justification: Some("the site is down"), ..Case::default() };
    assert_eq!(decision(&[glass], &Case::default()), Decision::Silent);
    let verdict = ask(&[glass], &told);
    assert_eq!((verdict.decision, verdict.restrictions.breakglass), (Decision::Permit, true));
    assert_eq!(verdict.determining, [PolicyIndex(0)]);
    assert_eq!(verdict.restrictions.max_uses, Some(2));

    let ordinary = ask(&[glass, PERMIT_ALL], &told);
    assert_eq!(ordinary.determining, [PolicyIndex(1)]);
    assert_eq!((ordinary.restrictions.breakglass, ordinary.restrictions.ttl), (false, None));

    let forbid = "forbid (principal, action, resource);";
    assert_eq!(decision(&[glass, forbid], &told), Decision::Forbid);
    let shadow = format!("@shadow(\"true\") {glass}");
    assert!(ask(&[&shadow], &Case::default()).shadow.permits.is_empty());
    let verdict = ask(&[&shadow], &told);
    assert_eq!(
        (verdict.decision, verdict.shadow.permits),
        (Decision::Silent, vec![PolicyIndex(0)])
    );
}

#[test]
fn to_list_and_to_call_are_permitted_apart() {
    let tool = "tool://crm/read_case";
    let list =
        r#"permit (principal, action == Action::"list", resource in Resource::"tool://crm");"#;
    let call = r#"permit (principal, action == Action::"crm/read_case", resource);"#;
    let both = |policy: &str| {
        ["list", "crm/read_case"]
            .map(|action| decision(&[policy], &Case { action, resource: tool, ..Case::default() }))
    };
    assert_eq!(both(list), [Decision::Permit, Decision::Silent]);
    assert_eq!(both(call), [Decision::Silent, Decision::Permit]);
    let no_list = r#"forbid (principal, action == Action::"list", resource);"#;
    let case = Case { resource: tool, ..Case::default() };
    assert_eq!(decision(&[PERMIT_ALL, no_list], &case), Decision::Permit);
}

#[test]
fn restrictions_are_those_of_all_determining_permits() {
    let wide = r#"@ttl("1h") @max_uses("5") @jit("true") permit (principal, action, resource);"#;
    let narrow = r#"@ttl("5m") @max_uses("10") @approval("group:sec") permit (principal is Agent, action, resource);"#;
    let other = r#"@ttl("1s") permit (principal is Owner, action, resource);"#;
    let restrictions = ask(&[wide, narrow, other], &Case::default()).restrictions;
    assert_eq!(restrictions.ttl, Some(Span::minutes(5)));
    assert_eq!(restrictions.max_uses, Some(5));
    assert!(restrictions.jit);
    assert_eq!(restrictions.approvals, ["group:sec".parse().unwrap()]);
}

#[test]
fn a_set_is_in_the_order_of_ids_whatever_order_it_came_in() {
    let [a, b] = ["a", "b"].map(id);
    let forbid = "forbid (principal, action, resource);";
    let one = PolicySet::compile([(&a, PERMIT_ALL), (&b, forbid)]).unwrap();
    let other = PolicySet::compile([(&b, forbid), (&a, PERMIT_ALL)]).unwrap();
    assert_eq!(one.hash(), other.hash());
    assert_eq!(other.ids().collect::<Vec<_>>(), [&a, &b]);
    assert_eq!(other.id(PolicyIndex(1)), Some(&b));
    assert_eq!(other.id(PolicyIndex(2)), None);
}

#[test]
fn a_set_recompiled_is_the_set_compiled() {
    let [a, b, c] = ["a", "b", "c"].map(id);
    let forbid = r#"forbid (principal, action, resource) when { context.effect == "write" };"#;
    let before = PolicySet::compile([(&a, PERMIT_ALL), (&c, forbid)]).unwrap();
    for (after, texts) in [
        ("nothing changed", vec![(&a, PERMIT_ALL), (&c, forbid)]),
        ("one more, in between", vec![(&a, PERMIT_ALL), (&b, forbid), (&c, forbid)]),
        ("texts exchanged", vec![(&a, forbid), (&c, PERMIT_ALL)]),
        ("one removed", vec![(&c, forbid)]),
        ("all removed", vec![]),
    ] {
        let compiled = PolicySet::compile(texts.iter().copied()).unwrap();
        let recompiled =
            before.recompile_with(&InputSchemas::new(), texts.iter().copied()).unwrap();
        assert_eq!(format!("{compiled:?}"), format!("{recompiled:?}"), "{after}");
    }
    assert!(
        before.recompile_with(&InputSchemas::new(), [(&a, PERMIT_ALL), (&c, "forbid")]).is_err()
    );
}

#[test]
fn a_sets_hash_covers_every_id_and_every_text() {
    let [a, b, ab] = ["a", "b", "ab"].map(id);
    let commented = format!("{PERMIT_ALL} ");
    let sets = [
        PolicySet::empty(),
        PolicySet::compile([(&a, PERMIT_ALL)]).unwrap(),
        PolicySet::compile([(&b, PERMIT_ALL)]).unwrap(),
        PolicySet::compile([(&ab, PERMIT_ALL)]).unwrap(),
        PolicySet::compile([(&a, commented.as_str())]).unwrap(),
        PolicySet::compile([(&a, PERMIT_ALL), (&b, PERMIT_ALL)]).unwrap(),
    ];
    let hashes: BTreeSet<_> = sets.iter().map(PolicySet::hash).collect();
    assert_eq!(hashes.len(), sets.len());
    let no_policies: Vec<(&crate::id::PolicyId, &str)> = vec![];
    assert_eq!(PolicySet::compile(no_policies).unwrap().hash(), PolicySet::empty().hash());
}

#[test]
fn a_set_has_each_id_once_and_an_end() {
    let a = id("a");
    let twice = PolicySet::compile([(&a, PERMIT_ALL), (&a, PERMIT_ALL)]).unwrap_err();
    assert!(twice.to_string().contains("given to two policies"), "{twice}");
    let ids: Vec<_> = (0..=POLICIES_MAX).map(|n| id(&format!("p{n}"))).collect();
    let many = PolicySet::compile(ids.iter().map(|id| (id, "not even a policy"))).unwrap_err();
    assert!(many.to_string().contains("more than 20000 policies"), "{many}");
}

#[test]
fn a_set_with_faults_names_each_policy_at_fault() {
    let [a, b, c] = ["a", "b", "c"].map(id);
    let errors =
        PolicySet::compile([(&c, "permit"), (&a, PERMIT_ALL), (&b, "\nforbid (x)")]).unwrap_err();
    let mut faulty: Vec<_> = errors.iter().map(|fault| fault.policy.as_str()).collect();
    faulty.dedup();
    assert_eq!(faulty, ["b", "c"]);
    assert_eq!(errors.iter().next().map(|fault| fault.line), Some(2));
}

/// Validity and verdicts do not depend on how much stack the caller has left.
#[test]
fn the_deepest_policies_work_on_a_small_stack() {
    let small = std::thread::Builder::new().stack_size(256 << 10).spawn(|| {
        let any = |condition: String| {
            format!("permit (principal, action, resource) when {{ {condition} }};")
        };
        let term = "context.effect == \"read\"";
        let texts = [
            any(format!("{}{term}{}", "(".repeat(48), ")".repeat(48))),
            any([term; 95].join(" && ")),
            any([term; 95].join(" || ")),
            any(format!("1 {} < 1000", "+ 1 ".repeat(95))),
            any(format!("{}{term}", "if context has task then false else ".repeat(48))),
            any(format!("{}{term}{}", "[true].contains(".repeat(23), ")".repeat(23))),
        ];
        for text in texts {
            check_one(&id("p"), &text).unwrap();
            assert!(!ask(&[&text], &Case::default()).errors, "{text}");
        }
    });
    small.unwrap().join().unwrap();
}
