//! What is known of owners, agents and resources, and what enforcement points say of them.

use bailiwick_core::command::{Authorize, Command, RefusalCode, Subject, Told};
use bailiwick_core::decide::{DISCLOSED_BYTES_MAX, would_allow};
use bailiwick_core::event::{Actor, DenialCode, Entity, Fact, Role};
use bailiwick_core::properties::Properties;
use bailiwick_core::state::State;
use serde_json::{Value, json};

use super::harness::{
    Ledger, actor, agent_key, ask, ask_as, decision, id, link, submission, with_tool,
};

/// Admins may write what is archived, everyone else what is not.
const BY_STATUS: &[&str] = &[
    r#"@jit("true") permit (principal, action, resource)
       unless { resource.hasTag("status") && resource.getTag("status").contains("archived") };"#,
    r#"@jit("true") permit (principal, action, resource)
       when { principal.hasTag("role") && principal.getTag("role").contains("admin") };"#,
    r#"forbid (principal, action, resource)
       when { context.action.hasTag("soft") && context.action.getTag("soft") == ["false"] };"#,
];

fn properties(value: Value) -> Properties {
    Properties::of_json(&value).unwrap()
}

fn put(entity: Entity, value: Value) -> Command {
    Command::PutEntity { entity, properties: properties(value) }
}

pub(super) fn told(
    mut ask: Authorize,
    subject: Value,
    action: Value,
    resource: Value,
) -> Authorize {
    ask.told = Some(Box::new(Told {
        subject: properties(subject),
        action: properties(action),
        resource: properties(resource),
    }));
    ask
}

fn case() -> Authorize {
    with_tool(ask("helper", "crm/read", "crm://case/1"), "crm/read")
}

fn in_person() -> Authorize {
    ask_as(Subject::Person(id("alice")), "crm/read", "crm://case/1")
}

fn resource() -> Entity {
    Entity::Resource(id("crm://case/1"))
}

#[test]
fn what_is_stored_of_a_resource_decides_until_it_is_forgotten() {
    let mut ledger = Ledger::with_policies(BY_STATUS);
    ledger.allowed(case());
    ledger.given(put(resource(), json!({"status": "archived"})));
    assert_eq!(ledger.denied(case()), DenialCode::Forbidden);
    ledger.given(put(resource(), json!({"status": ["open", "urgent"]})));
    ledger.allowed(case());
    ledger.given(put(resource(), json!({"status": ["archived", "urgent"]})));
    assert_eq!(ledger.denied(case()), DenialCode::Forbidden);
    ledger.given(Command::RemoveEntity { entity: resource() });
    ledger.allowed(case());
}

#[test]
fn a_property_of_the_owner_does_not_stand_for_one_of_the_agent() {
    let mut ledger = Ledger::with_policies(BY_STATUS);
    ledger.given(put(resource(), json!({"status": "archived"})));
    ledger.given(put(Entity::Owner(id("alice")), json!({"role": "admin"})));
    ledger.allowed(in_person());
    assert_eq!(ledger.denied(case()), DenialCode::Forbidden, "the agent itself is no admin");
    ledger.given(put(Entity::Agent(id("helper")), json!({"role": "admin"})));
    ledger.allowed(case());
    ledger.given(Command::RemoveEntity { entity: Entity::Owner(id("alice")) });
    assert_eq!(ledger.denied(case()), DenialCode::Forbidden, "and now its owner is none");
}

#[test]
fn a_property_outlives_an_update_of_its_registration_and_a_snapshot() {
    let mut ledger = Ledger::with_policies(BY_STATUS);
    ledger.given(put(resource(), json!({"status": "archived"})));
    ledger.given(put(Entity::Owner(id("alice")), json!({"role": "admin"})));
    ledger.given(Command::UpdateOwner(super::harness::write_owner("alice")));
    ledger.allowed(in_person());
    let restored = State::from_bytes(&ledger.state.to_bytes()).unwrap();
    ledger.state = restored;
    ledger.allowed(in_person());
    assert_eq!(ledger.denied(case()), DenialCode::Forbidden);
}

#[test]
fn what_the_enforcement_point_says_wins_name_by_name_and_is_recorded() {
    let mut ledger = Ledger::with_policies(BY_STATUS);
    ledger.given(put(resource(), json!({"status": "archived", "region": "eu"})));
    ledger.given(put(Entity::Owner(id("alice")), json!({"role": "admin"})));
    let nothing = || json!({});
    let open = told(in_person(), json!({"role": "guest"}), nothing(), json!({"status": "open"}));
    ledger.allowed(open);
    let call = ledger.log.iter().rev().find_map(|recorded| match &recorded.event.fact {
        Fact::CallAuthorized(fact) => Some(&fact.call),
        _ => None,
    });
    let disclosed: Vec<_> =
        call.unwrap().disclosed.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(disclosed, [r#"resource.status=["open"]"#, r#"subject.role=["guest"]"#]);
    let guest = told(in_person(), json!({"role": "guest"}), nothing(), nothing());
    assert_eq!(ledger.denied(guest), DenialCode::Forbidden);
    let hard = told(in_person(), nothing(), json!({"soft": false}), nothing());
    assert_eq!(ledger.denied(hard), DenialCode::Forbidden);
    ledger.allowed(told(in_person(), nothing(), json!({"soft": true}), nothing()));
}

#[test]
fn looking_says_what_asking_would_and_records_nothing() {
    let mut ledger = Ledger::with_policies(BY_STATUS);
    ledger.given(put(resource(), json!({"status": "archived"})));
    let asks =
        [case(), in_person(), told(in_person(), json!({"role": "admin"}), json!({}), json!({}))];
    for ask in asks {
        let before = ledger.state.to_bytes();
        let looked = would_allow(&ledger.state, &ask, ledger.now());
        assert_eq!(ledger.state.to_bytes(), before);
        let answer = ledger.when(actor(Role::Enforcer), Command::Authorize(Box::new(ask)));
        assert_eq!(looked, decision(answer).result.map(|_| ()).map_err(|denied| denied.code));
    }
}

#[test]
fn an_agents_own_key_can_say_nothing_of_anyone() {
    let mut ledger = Ledger::with_policies(BY_STATUS);
    ledger.given(put(resource(), json!({"status": "archived"})));
    let smuggled = || told(case(), json!({"role": "admin"}), json!({}), json!({}));
    for (who, expected) in [
        (agent_key("helper"), DenialCode::InvalidArguments),
        // Its owner is no admin, so saying so of the agent alone is not enough.
        (actor(Role::Enforcer), DenialCode::Forbidden),
    ] {
        let answer = ledger.when(who, Command::Authorize(Box::new(smuggled())));
        assert_eq!(decision(answer).result.unwrap_err().code, expected);
    }
    let put = put(Entity::Agent(id("helper")), json!({"role": "admin"}));
    assert_eq!(ledger.refused(agent_key("helper"), put), RefusalCode::NotPermitted);
    let forget = Command::RemoveEntity { entity: resource() };
    assert_eq!(ledger.refused(agent_key("helper"), forget), RefusalCode::NotPermitted);
}

#[test]
fn what_is_said_and_cannot_be_recorded_is_denied() {
    let mut ledger = Ledger::with_policies(BY_STATUS);
    let values: Vec<_> =
        (0..DISCLOSED_BYTES_MAX / 1_000).map(|n| format!("{n:04}{}", "x".repeat(990))).collect();
    let long = told(in_person(), json!({"note": values}), json!({}), json!({}));
    assert_eq!(ledger.denied(long), DenialCode::InvalidArguments);
    let mut twice = told(in_person(), json!({"role": "guest"}), json!({}), json!({}));
    twice.disclosed.insert("subject.role".parse().unwrap(), "admin".parse().unwrap());
    assert_eq!(ledger.denied(twice), DenialCode::InvalidArguments);
}

#[test]
fn properties_of_nobody_are_refused() {
    let mut ledger = Ledger::with_policies(BY_STATUS);
    for (command, code) in [
        (put(Entity::Owner(id("nobody")), json!({})), RefusalCode::NotFound),
        (put(Entity::Agent(id("nobody")), json!({})), RefusalCode::NotFound),
        (Command::RemoveEntity { entity: resource() }, RefusalCode::NotFound),
    ] {
        assert_eq!(ledger.refused(Actor::System, command), code);
    }
}

#[test]
fn a_verdict_from_before_a_property_changed_is_not_used() {
    let mut ledger = Ledger::with_policies(BY_STATUS);
    let mut early = case();
    early.verdicts = ledger.state.view().verdicts(&early, ledger.now());
    assert!(early.verdicts.is_some());
    ledger.given(put(resource(), json!({"status": "archived"})));
    assert_eq!(ledger.denied(early), DenialCode::Forbidden);
    // The place of the last event says that all of this was recorded.
    assert_eq!(ledger.state.last_link(), Some(link(ledger.log.last().unwrap().place.index)));
    let asked = submission(Actor::System, Command::Authorize(Box::new(case())));
    assert_eq!(ledger.ask(&asked).events.len(), 1);
}
