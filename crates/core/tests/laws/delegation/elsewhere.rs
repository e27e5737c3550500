//! What happens to parts when their holder goes to another owner, or their tool comes with another
//! definition.

use super::*;
use crate::laws::harness::{is_allowed, pin_tool, token, with_definition};

#[test]
fn a_part_stays_with_the_owner_whose_it_was_when_its_holder_goes_to_another() {
    let mut ledger = world();
    let [root, child, grandchild] = three(&mut ledger);
    ledger.given(reassign("fifth", "bob"));
    assert_eq!(ledger.denied(read("fifth")), DenialCode::GrantRevoked);
    for grant in [root, child] {
        let over = DelegateGrant { max_uses: Some(1), ..part(grant, "fifth") };
        assert_eq!(refused(&ledger, over).code, RefusalCode::OutOfRange, "it is bob's now");
    }
    assert_eq!(refused(&ledger, part(grandchild, "fourth")).code, RefusalCode::WrongState);
    ledger.allowed(read("second"));
    ledger.allowed(read("helper"));
    // Nor does it come back with it.
    ledger.given(reassign("fifth", "alice"));
    assert_eq!(ledger.denied(read("fifth")), DenialCode::GrantRevoked);
}

#[test]
fn a_part_dies_with_the_definition_of_its_tool_wherever_in_the_line_that_is_named() {
    let tool = "crm/read";
    let defined = |agent, n| with_definition(read(agent), tool, n);
    let mut ledger = world();
    let grants = three(&mut ledger);
    ledger.given(Command::PinTool(pin_tool(tool, 1)));
    for agent in ["helper", "second", "fifth"] {
        let call = Command::Authorize(Box::new(defined(agent, 1)));
        let asked = ledger.ask(&submission(actor(Role::Enforcer), call));
        assert!(is_allowed(&asked), "{agent}");
    }
    assert_eq!(ledger.denied(defined("third", 2)), DenialCode::ToolChanged);
    // Given on under the change, and after it was answered: it rests on what came before.
    let under = give(&mut ledger, part(grants[0], "fifth"));
    ledger.given(Command::PinTool(pin_tool(tool, 2)));
    let after = give(&mut ledger, part(grants[1], "fifth"));
    for agent in ["helper", "second", "fifth"] {
        let denied = ledger.denied(defined(agent, 2));
        assert_eq!(denied, DenialCode::GrantRevoked, "{agent} {under} {after}");
    }
    // What nobody said of another tool still stands.
    ledger.allowed(read("fifth"));
    let fresh = root(&mut ledger, "helper");
    give(&mut ledger, part(fresh, "second"));
    ledger.allowed(defined("second", 2));
}

#[test]
fn a_part_of_a_grant_for_one_tool_ends_when_that_comes_with_another_definition() {
    let three_times = r#"@jit("true") @max_uses("3") permit (principal, action, resource);"#;
    let mut ledger = Ledger::with_policies(&[three_times]);
    let defined = |n| with_definition(read("helper"), "crm/read", n);
    let held = ledger.allowed(defined(1));
    let child = give(&mut ledger, part(held, "second"));
    let check = |ledger: &Ledger| {
        let grant = ledger.state.grants().get(child).unwrap();
        ledger.state.check_grant(child, grant, ledger.now())
    };
    assert_eq!(issued(&ledger, child).tool, Some(id("crm/read")));
    assert_eq!(check(&ledger), Ok(()));
    assert_eq!(ledger.denied(defined(2)), DenialCode::ToolChanged);
    ledger.given(Command::PinTool(pin_tool("crm/read", 2)));
    assert_eq!(check(&ledger), Err(DenialCode::GrantRevoked));
}

#[test]
fn a_running_call_names_whom_it_rests_on_so_that_a_transfer_cuts_it() {
    let mut ledger = world();
    three(&mut ledger);
    let decision = ledger.call(read("fifth"));
    let rests_on = decision.result.unwrap().rests_on;
    let before = ledger.state.feed().last();
    ledger.given(reassign("helper", "bob"));
    let named: Vec<_> =
        ledger.state.feed().after(before).unwrap().map(|item| item.selector.clone()).collect();
    assert!(named.iter().any(|selector| rests_on.contains(selector)), "{named:?} {rests_on:?}");
}

#[test]
fn an_agents_token_gives_nothing_on_by_a_human_who_may_not_act_through_it() {
    let mut ledger = world();
    let grant = root(&mut ledger, "helper");
    let give_on = || Command::DelegateGrant(part(grant, "second"));
    let refused = ledger.refused(token("helper", "bob"), give_on());
    assert_eq!(refused, RefusalCode::NotPermitted);
    let (owner, delegate) = (id("alice"), id("bob"));
    ledger.given(Command::AddDelegate { owner, delegate, expires_at: None });
    assert!(matches!(ledger.when(token("helper", "bob"), give_on()), Answer::Done(_)));
}
