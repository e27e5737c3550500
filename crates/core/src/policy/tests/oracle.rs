//! The fast path against Cedar's public `Authorizer`, which is given every policy, every attribute and
//! every ancestor.

use std::collections::BTreeMap;

use cedar_policy::{
    Authorizer, Context, Entities, Entity, EntityUid, PolicySet as CedarPolicies, Request,
    RestrictedExpression as Value,
};
use proptest::prelude::*;
use proptest::sample::select;

use super::{Case, Known, MONDAY, PURPOSE, history, id, schemas};
use crate::id::PolicyId;
use crate::policy::{
    Counts, Decision, History, Lately, PolicyIndex, PolicySet, UsableGrant, check_one_with,
};

const PRINCIPALS: &[&str] = &[
    "principal",
    "principal == Agent::\"a1\"",
    "principal == Owner::\"o1\"",
    "principal in Agent::\"a1\"",
    "principal in Group::\"g1\"",
    "principal in Group::\"g2\"",
    "principal is Agent",
    "principal is Owner",
    "principal is Agent in Group::\"g1\"",
    "principal is Owner in Group::\"g1\"",
];
const ACTIONS: [&str; 4] = [
    "action",
    "action == Action::\"x/1\"",
    "action in [Action::\"x/1\", Action::\"x/2\"]",
    "action in []",
];
const RESOURCES: &[&str] = &[
    "resource",
    "resource == Resource::\"crm://case/1\"",
    "resource in Resource::\"crm://case\"",
    "resource in Resource::\"crm://case/\"",
    "resource in Resource::\"crm://\"",
    "resource is Resource",
    "resource is Resource in Resource::\"s3://b\"",
];
const CONDITIONS: &[&str] = &[
    "",
    "",
    "",
    "when { context.time.hour < 12 }",
    "when { context has task }",
    "unless { context has task && context.task == \"task_1\" }",
    "when { context has session && context.session == \"s1\" }",
    "when { context has justification && context.justification like \"*urgent*\" }",
    "when { context has agent && context.agent == Agent::\"a1\" }",
    "when { context has agent && context.agent in Group::\"g2\" && context.agent.owner == context.owner }",
    "when { context has agent.purpose && context.agent.purpose == \"support\" }",
    "when { context has agent && context.agent.owner in Group::\"g1\" }",
    "when { context.owner in Group::\"g1\" }",
    "when { context.owner.id like \"o*1\" }",
    "when { context has tool && context.tool.server == \"crm\" }",
    "when { context has tool.name && context.tool.name == \"read\" }",
    "when { context.effect == \"read\" } unless { context.time.weekday > 5 }",
    "when { [\"read\", \"write\"].contains(context.effect) }",
    "when { 9223372036854775807 - context.time.hour + 12 > 0 }",
    "when { principal in Group::\"g2\" }",
    "when { principal in [Group::\"g1\", Group::\"g2\"] }",
    "when { principal is Agent && principal.purpose == \"support\" }",
    "when { principal is Agent && principal.owner in Group::\"g2\" }",
    "when { principal is Agent && principal.owner.id == \"o1\" }",
    "when { principal is Owner && principal.id == \"o1\" }",
    "when { principal == context.owner }",
    "when { principal has purpose }",
    "when { action == Action::\"x/1\" }",
    "when { resource in Resource::\"crm://case\" || resource == Resource::\"s3://b/k\" }",
    "when { resource in [Resource::\"crm://case/1/\", Resource::\"s3:\"] }",
    "when { resource.uri like \"crm://case/*\" }",
    "when { resource.scheme == \"crm\" && resource.path like \"case/*\" }",
    "when { (if context.effect == \"read\" then resource else resource) in Resource::\"s3://b\" }",
    "when { context == context || context has task }",
    "when { ip(\"10.0.0.1\").isInRange(ip(\"10.0.0.0/8\")) && context has task }",
    "when { principal.hasTag(\"role\") && principal.getTag(\"role\").contains(\"admin\") }",
    "unless { resource.hasTag(\"status\") && resource.getTag(\"status\") == [\"archived\"] }",
    "when { context.action.hasTag(\"soft\") && context.action.getTag(\"soft\").contains(\"true\") }",
    "when { principal.hasTag(\"role\") && resource.hasTag(\"role\") && principal.getTag(\"role\") == resource.getTag(\"role\") }",
    "when { context.owner.hasTag(\"role\") }",
    "when { context has agent && context.agent.hasTag(\"role\") && context.agent.getTag(\"role\").containsAny([\"admin\", \"editor\"]) }",
    "when { context.time.unix - 1000 > 0 && context.time.weekday == 1 }",
    "when { context.args has n && context.args.n > 2 }",
    "when { context has args.n && context.args.n + 9223372036854775807 > 0 }",
    "when { context.args.who == \"bob\" }",
    "when { context.args has sum && context.args.sum.greaterThan(decimal(\"1.5\")) }",
    "unless { context.args has tags && context.args.tags.containsAny([\"a\", \"b\"]) }",
    "when { context has args.n || context == context }",
    "when { context.history.agent.calls.minute > 3 }",
    "when { context.history.task.denials.day + context.history.tool.calls.hour > 250 }",
    "when { context.history.agent.calls == context.history.agent.denials || context.risk > 50 }",
    "when { 9223372036854775807 - context.history.tool.denials.hour + 211 > 0 }",
    "when { context.risk < 50 }",
    "when { context has environment && context.environment == \"production\" }",
    "when { context has grant && context.grant.uses_left > context.grant.uses }",
    "when { context has grant.age_seconds && context.grant.age_seconds < 60 }",
];

const SHADOW_PERMIT: &str = "@shadow(\"true\") permit";
const SHADOW_FORBID: &str = "@shadow(\"true\") forbid";

/// Arguments that fit both actions that have a schema.
const ARGUMENTS: &[&str] = &[
    r#"{"who": "bob"}"#,
    r#"{"who": "eve", "n": 3, "sum": 2, "tags": ["c"]}"#,
    r#"{"who": "", "n": -1, "sum": 1.5001, "tags": ["a", "c", "a"], "more": [1]}"#,
    r#"{"who": "bob", "n": null, "sum": -7.25, "tags": []}"#,
];

prop_compose! {
    fn known()(
        first in 0..6_u32,
        risk in 0..=100_u8,
        grant in prop::option::of((0..3_u32, 0..3_u32, 0..100_u64)),
    ) -> Known {
        let grant = grant.map(|(uses, uses_left, age_seconds)| {
            UsableGrant { uses, uses_left, age_seconds, expires_in_seconds: 300 }
        });
        Known { history: history(first), risk, grant }
    }
}

/// Policies that are valid; heads and conditions that contradict each other are left out.
fn policy() -> impl Strategy<Value = String> {
    let effect =
        select(&["permit", "permit", "permit", "forbid", SHADOW_PERMIT, SHADOW_FORBID][..]);
    (effect, select(PRINCIPALS), select(&ACTIONS[..]), select(RESOURCES), select(CONDITIONS))
        .prop_map(|(effect, principal, action, resource, condition)| {
            format!("{effect} ({principal}, {action}, {resource}) {condition};")
        })
}

/// Nothing, or one name with none, one or both of these values.
fn properties(
    name: &'static str,
    values: &'static [&'static str],
) -> impl Strategy<Value = Vec<(&'static str, Vec<&'static str>)>> {
    prop::collection::vec(prop::sample::subsequence(values, 0..=values.len()), 0..=1)
        .prop_map(move |values| values.into_iter().map(|values| (name, values)).collect())
}

prop_compose! {
    fn case()(
        in_person in prop::bool::weighted(0.2),
        agent in select(&["a1", "a2"][..]),
        owner in select(&["o1", "o2"][..]),
        agent_groups in prop::sample::subsequence(&["g1", "g2", "g3"][..], 0..3),
        owner_groups in prop::sample::subsequence(&["g1", "g2", "g3"][..], 0..3),
        of_owner in any::<bool>(),
        action in select(&["x/1", "x/2", "y/1", "list"][..]),
        resource in select(&["crm://case/1", "crm://case/1/n", "crm://case", "crm://casework/1", "s3://b/k"][..]),
        task in prop::option::of(1_u64..3),
        session in prop::option::of(select(&["s1", "s2"][..])),
        justification in prop::option::of(select(&["urgent!", "later"][..])),
        tool in prop::option::of(select(&["crm/read", "x/y/z"][..])),
        effect in select(&["read", "write", "destructive"][..]),
        of_principals in properties("role", &["admin", "editor"]),
        of_resource in properties("status", &["archived", "admin"]),
        role_of_resource in properties("role", &["admin", "editor"]),
        of_action in properties("soft", &["true", "false"]),
        now in prop_oneof![Just(MONDAY), 0..4_000_000_000_u64],
        args in prop::option::weighted(0.8, select(ARGUMENTS)),
        environment in prop::option::of(select(&["production", "test"][..])),
        live in known(),
    ) -> Case {
        let agent = (!in_person).then_some((agent, agent_groups));
        Case {
            agent, owner: (owner, owner_groups), of_owner, action, resource, task, session,
            justification, tool, effect, now, args, environment, live: Some(live),
            properties: [of_principals, [of_resource, role_of_resource].concat(), of_action],
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_sliced_fast_path_answers_as_all_policies_in_cedar_do(
        texts in prop::collection::vec(policy(), 0..20),
        cases in prop::collection::vec(case(), 1..24),
    ) {
        let (set, texts) = valid(texts);
        let parsed = |(id, text): (&PolicyId, &String)| {
            cedar_policy::Policy::parse(Some(cedar_policy::PolicyId::new(id.as_str())), text).unwrap()
        };
        let (shadows, enforced): (Vec<_>, Vec<_>) =
            texts.iter().map(parsed).partition(|policy| policy.annotation("shadow").is_some());
        let cedar = CedarPolicies::from_policies(enforced).unwrap();
        for case in cases {
            let verdict = case.asked(|question| set.evaluate(question));
            let determining: Vec<_> =
                verdict.determining.iter().map(|index| set.id(*index).unwrap().to_string()).collect();
            let expected = authorizer(&cedar, &case);
            prop_assert_eq!((verdict.decision, determining, verdict.errors), expected, "{:?} {:#?}", case, texts);
            let named = |of: &[PolicyIndex]| -> Vec<_> {
                of.iter().map(|index| set.id(*index).unwrap().to_string()).collect()
            };
            let shadow = [named(&verdict.shadow.permits), named(&verdict.shadow.forbids)];
            prop_assert_eq!(shadow, holding(&shadows, &case), "{:?} {:#?}", case, texts);
        }
    }
}

/// The permits and the forbids that hold, each asked about alone.
fn holding(policies: &[cedar_policy::Policy], case: &Case) -> [Vec<String>; 2] {
    let mut holding = [vec![], vec![]];
    for policy in policies {
        let alone = CedarPolicies::from_policies([policy.clone()]).unwrap();
        let response = Authorizer::new().is_authorized(&request(case), &alone, &entities(case));
        if response.diagnostics().reason().next().is_some() {
            let forbids = policy.effect() == cedar_policy::Effect::Forbid;
            holding[usize::from(forbids)].push(policy.id().to_string());
        }
    }
    holding
}

/// The set of those texts that are valid, under ids in their order.
fn valid(texts: Vec<String>) -> (PolicySet, BTreeMap<PolicyId, String>) {
    let ids = (0..texts.len()).map(|n| id(&format!("p{n:02}")));
    let mut texts: BTreeMap<_, _> = ids.zip(texts).collect();
    loop {
        let named = texts.iter().map(|(id, text)| (id, text.as_str()));
        match PolicySet::empty().recompile_with(&schemas(), named) {
            Ok(set) => return (set, texts),
            Err(errors) => errors.iter().for_each(|fault| {
                texts.remove(&fault.policy);
            }),
        }
    }
}

#[test]
fn every_condition_of_the_property_is_valid_somewhere() {
    for condition in CONDITIONS {
        let heads = ["principal", "principal is Agent"];
        let scopes =
            heads.iter().flat_map(|head| ACTIONS.map(|action| format!("{head}, {action}")));
        let check = |scope: &String| {
            check_one_with(
                &schemas(),
                &id("p"),
                &format!("permit ({scope}, resource) {condition};"),
            )
        };
        let refused: Vec<_> = scopes.map(|scope| check(&scope)).collect();
        assert!(refused.iter().any(Result::is_ok), "{condition} {refused:?}");
    }
}

/// Cedar's answer with our rule for errors.
fn authorizer(policies: &CedarPolicies, case: &Case) -> (Decision, Vec<String>, bool) {
    let response = Authorizer::new().is_authorized(&request(case), policies, &entities(case));
    let errors: Vec<_> = response
        .diagnostics()
        .errors()
        .map(|error| match error {
            cedar_policy::AuthorizationError::PolicyEvaluationError(error) => {
                error.policy_id().to_string()
            }
        })
        .collect();
    let allowed = response.decision() == cedar_policy::Decision::Allow;
    let reasons = response.diagnostics().reason().map(ToString::to_string);
    let mut determining: Vec<String> = match (allowed, errors.is_empty()) {
        (true, false) => Vec::new(),
        _ => reasons.collect(),
    };
    determining.extend(errors.iter().cloned());
    determining.sort();
    let decision = match (allowed && errors.is_empty(), determining.is_empty()) {
        (true, _) => Decision::Permit,
        (false, false) => Decision::Forbid,
        (false, true) => Decision::Silent,
    };
    (decision, determining, !errors.is_empty())
}

fn uid(of: &str, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(of.parse().unwrap(), cedar_policy::EntityId::new(id))
}

fn text(value: &str) -> Value {
    Value::new_string(value.to_owned())
}

fn request(case: &Case) -> Request {
    let principal = match &case.agent {
        Some((agent, _)) if !case.of_owner => uid("Agent", agent),
        _ => uid("Owner", case.owner.0),
    };
    let hour = case.now % 86_400 / 3_600;
    let weekday = (case.now / 86_400 + 3) % 7 + 1;
    let number = |n: u64| Value::new_long(i64::try_from(n).unwrap());
    let time = [("unix", number(case.now)), ("hour", number(hour)), ("weekday", number(weekday))];
    let tool = case.tool.map(|tool| {
        let (server, name) = tool.split_once('/').unwrap();
        Value::new_record([("server".to_owned(), text(server)), ("name".to_owned(), text(name))])
            .unwrap()
    });
    let agent = case.agent.as_ref().map(|(agent, _)| Value::new_entity_uid(uid("Agent", agent)));
    let pairs = [
        ("task", case.task.map(|task| text(&format!("task_{task}")))),
        ("session", case.session.map(text)),
        ("justification", case.justification.map(text)),
        ("agent", agent),
        ("owner", Some(Value::new_entity_uid(uid("Owner", case.owner.0)))),
        ("tool", tool),
        ("action", Some(Value::new_entity_uid(uid("Properties", "action")))),
        ("effect", Some(text(case.effect))),
        ("time", Some(Value::new_record(time.map(|(name, n)| (name.to_owned(), n))).unwrap())),
        ("args", arguments(case)),
        ("environment", case.environment.map(text)),
        ("history", Some(counted(&case.live.unwrap().history))),
        ("risk", Some(Value::new_long(case.live.unwrap().risk.into()))),
        ("grant", case.live.unwrap().grant.map(usable)),
    ];
    let pairs = pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let context = Context::from_pairs(pairs).unwrap();
    Request::new(
        principal,
        uid("Action", case.action),
        uid("Resource", case.resource),
        context,
        None,
    )
    .unwrap()
}

fn record<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::new_record(fields.map(|(name, value)| (name.to_owned(), value))).unwrap()
}

/// Arguments as the schemas of the two actions have them.
fn arguments(case: &Case) -> Option<Value> {
    let known: &[&str] = match case.action {
        "x/1" => &["n", "who", "sum", "tags"],
        "x/2" => &["n"],
        _ => return None,
    };
    let json: serde_json::Value = serde_json::from_str(case.args?).unwrap();
    let members = json
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, value)| known.contains(&name.as_str()) && !value.is_null());
    let values = members.map(|(name, value)| {
        let items = || value.as_array().unwrap().iter().map(|item| text(item.as_str().unwrap()));
        let value = match name.as_str() {
            "n" => Value::new_long(value.as_i64().unwrap()),
            "who" => text(value.as_str().unwrap()),
            "sum" => Value::new_decimal(format!("{:.4}", value.as_f64().unwrap())),
            _ => Value::new_set(items()),
        };
        (name.clone(), value)
    });
    Some(Value::new_record(values).unwrap())
}

fn counted(history: &History) -> Value {
    let long = |n: u32| Value::new_long(n.into());
    let lately = |of: Lately| {
        let numbers = [("minute", of.minute), ("hour", of.hour), ("day", of.day)];
        let known = numbers.into_iter().filter_map(|(name, n)| Some((name.to_owned(), long(n?))));
        Value::new_record(known).unwrap()
    };
    let counts =
        |of: Counts| record([("calls", lately(of.calls)), ("denials", lately(of.denials))]);
    record([
        ("agent", counts(history.agent)),
        ("task", counts(history.task)),
        ("tool", counts(history.tool)),
    ])
}

fn usable(grant: UsableGrant) -> Value {
    let long = |n: u64| Value::new_long(i64::try_from(n).unwrap());
    record([
        ("uses", long(grant.uses.into())),
        ("uses_left", long(grant.uses_left.into())),
        ("age_seconds", long(grant.age_seconds)),
        ("expires_in_seconds", long(grant.expires_in_seconds)),
    ])
}

fn entity(
    uid: EntityUid,
    attributes: Vec<(String, Value)>,
    parents: Vec<EntityUid>,
    properties: &[(&str, Vec<&str>)],
) -> Entity {
    let tags = properties.iter().map(|(name, values)| {
        ((*name).to_owned(), Value::new_set(values.iter().map(|value| text(value))))
    });
    Entity::new_with_tags(uid, attributes, parents, tags).unwrap()
}

fn entities(case: &Case) -> Entities {
    let groups = |of: &[&str]| of.iter().map(|group| uid("Group", group)).collect::<Vec<_>>();
    let named = |name: &str, value: Value| (name.to_owned(), value);
    let (owner, owner_groups) = &case.owner;
    let owner_uid = uid("Owner", owner);
    let of_owner = vec![named("id", text(owner))];
    let [of_principals, of_resource, of_action] = &case.properties;
    let mut entities =
        vec![entity(owner_uid.clone(), of_owner, groups(owner_groups), of_principals)];
    if let Some((agent, agent_groups)) = &case.agent {
        let attributes = vec![
            named("id", text(agent)),
            named("owner", Value::new_entity_uid(owner_uid)),
            named("purpose", text(PURPOSE)),
        ];
        let agent = uid("Agent", agent);
        entities.push(entity(agent, attributes, groups(agent_groups), of_principals));
    }
    let (scheme, path) = case.resource.split_once("://").unwrap();
    let attributes = vec![
        named("uri", text(case.resource)),
        named("scheme", text(scheme)),
        named("path", text(path)),
    ];
    // Prefixes by splitting: with each slash, and without it.
    let slashes = case.resource.match_indices('/');
    let parents = slashes.flat_map(|(at, _)| [&case.resource[..at], &case.resource[..=at]]);
    let parents = parents.map(|prefix| uid("Resource", prefix)).collect();
    entities.push(entity(uid("Resource", case.resource), attributes, parents, of_resource));
    entities.push(entity(uid("Properties", "action"), vec![], vec![], of_action));
    Entities::from_entities(entities, None).unwrap()
}
