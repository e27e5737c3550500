//! Who cannot widen what: an agent nothing at all, an owner no agent beyond the agent's own policy.

use bailiwick_core::command::{
    Answer, Command, DelegateGrant, ReassignAgent, RequestGrant, Submission,
};
use bailiwick_core::event::{Actor, ConfigChanged, Event, Fact, Recorded, Role, Selector};
use bailiwick_core::id::{ApprovalId, CallId, GrantId, TaskId};
use bailiwick_core::record::hash::Digest;
use bailiwick_core::time::Time;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::always::probes;
use super::chance::Chance;
use super::delegation::part;
use super::harness::{
    Ledger, actor, agent_key, ask, credential, finish, id, is_allowed, issue, lift, open_task,
    pin_tool, put_policy, revoke, submission, terms, token, with_definition, write_agent,
    write_owner,
};
use super::history::{ACTIONS, POLICIES, RESOURCES, Step, Story, steps};
use super::oracle::by_holder;

/// How many kinds of commands [`by_agent`] has.
const KINDS: usize = 37;

/// Everything that there is to submit, by `helper` under its own key; much of it about others.
fn by_agent(ledger: &Ledger, kind: usize, n: usize) -> Command {
    let agent = ["helper", "helper", "second", "third"][n % 4];
    let at = n as u64 * 7 % ledger.state.next_index();
    let action = ACTIONS[n % 3];
    match kind % KINDS {
        0..4 => Command::RequestGrant(terms(agent, action, RESOURCES[n % 4])),
        4 => Command::RequestGrant(terms(agent, action, "crm://**")),
        5 => Command::OpenTask(open_task(agent)),
        6 => Command::CloseTask { task: TaskId(at), reason: None },
        7 | 8 => Command::ReturnGrant { grant: any_grant(ledger, n) },
        26 | 27 => {
            let max_uses = Some(1 + kind as u32 % 3);
            let part = DelegateGrant { max_uses, ..part(any_grant(ledger, n), agent) };
            Command::DelegateGrant(part)
        }
        9 => finish(CallId(at)),
        10..13 => Command::Authorize(Box::new(ask(agent, action, RESOURCES[n % 4]))),
        13 => {
            let ask = ask(agent, action, RESOURCES[n % 4]);
            Command::Authorize(Box::new(with_definition(ask, action, n as u8)))
        }
        14 => issue(terms(agent, action, "crm://**")),
        15 => lift(Selector::All),
        16 => lift(Selector::Agent(id(agent))),
        17 => Command::ReinstateAgent { agent: id(agent), reason: None },
        18 => Command::UpdateAgent(write_agent(agent, "alice", &["**"])),
        19 => put_policy("mine", POLICIES[2]),
        20 => Command::ActivatePolicies,
        21 => Command::EnableOwner { owner: id("alice") },
        22 => Command::IssueCredential(credential("mine", Role::Admin, None)),
        23..26 => {
            let approvals = ledger.state.approvals();
            let all: Vec<ApprovalId> = approvals.after(None).map(|(id, _)| id).collect();
            let approval = all.get(n % all.len().max(1)).copied().unwrap_or(ApprovalId(at));
            let shown = approvals.get(approval).map_or(Digest([0; 32]), |known| known.asked.shown);
            match kind % KINDS {
                23 => Command::Approve { approval, shown, reason: None },
                24 => Command::DenyApproval { approval, reason: None },
                _ => Command::WithdrawApproval { approval, reason: None },
            }
        }
        28 => Command::PinTool(pin_tool(action, 1 + n as u8 % 3)),
        29 => Command::UnpinTool { tool: id(action), reason: None },
        30 => Command::AddDelegate { owner: id("alice"), delegate: id("bob"), expires_at: None },
        31 => {
            let reassign = ReassignAgent { agent: id(agent), to: id("bob"), reason: None };
            Command::ReassignAgent(reassign)
        }
        32 => Command::ChangeRisk { agent: id(agent), to: n as u8 % 101, reason: None },
        33 => Command::PutSchema { action: id(action), schema: "{}".to_owned() },
        34 => Command::Configure(ConfigChanged::clone(ledger.state.config())),
        35 => Command::Expire,
        _ => Command::UpdateOwner(write_owner("alice")),
    }
}

fn any_grant(ledger: &Ledger, n: usize) -> GrantId {
    let held: Vec<GrantId> = ledger.state.grants().after(None).map(|(id, _)| id).collect();
    held.get(n % held.len().max(1)).copied().unwrap_or(GrantId(n as u64))
}

/// Whether a call that is allowed after rests on what somebody held before and gave a part of on, who
/// could then have made the very same call: what an agent may do it may let its owner's other agents
/// do, and nothing more.
fn is_given(before: &Ledger, after: &Ledger, probe: &Submission) -> bool {
    let Command::Authorize(ask) = &probe.command else { return false };
    let decided = after.ask(probe);
    let used = decided.events.iter().find_map(|event| match &event.fact {
        Fact::CallAuthorized(fact) => Some(fact.grant),
        _ => None,
    });
    let line: Vec<_> = used.into_iter().flat_map(|id| after.state.grants().lineage(id)).collect();
    line.iter().skip(1).any(|(id, _)| {
        let Some(Recorded { event: Event { fact: Fact::GrantIssued(held), .. }, .. }) =
            before.log.get(id.0 as usize)
        else {
            return false;
        };
        let by_holder = Command::Authorize(Box::new(by_holder(held, ask)));
        is_allowed(&before.ask(&submission(probe.actor.clone(), by_holder)))
    })
}

/// How many commands of agents [`agents_by_themselves_never_widen_anything`] submits.
const COMMANDS: usize = 100_000;
/// So many between two looks at what is allowed, and so many looks at one ledger.
const BETWEEN: usize = 100;
const LOOKS: usize = 20;

/// Agents submit whatever there is, each under its own key or token, while now and then people do
/// what people do. However long that goes on, no call becomes allowed by it that was not allowable:
/// to the caller itself, or to the one who gave a part of a grant on.
#[test]
#[expect(clippy::print_stdout, reason = "a failing run is repeated by its seed")]
fn agents_by_themselves_never_widen_anything() {
    let seed = super::naive::number("BAILIWICK_TEST_SEED", 1);
    println!("BAILIWICK_TEST_SEED={seed}, {COMMANDS} commands");
    let mut chance = Chance::new(seed);
    let mut runner = TestRunner::deterministic();
    let (mut recorded, mut permitted, mut given) = (0, 0, 0);
    let mut story = Story::new();
    for round in 0..COMMANDS / BETWEEN {
        if round % LOOKS == 0 {
            story = Story::new();
        }
        people_act(&mut story, &mut runner);
        let favoured = chance.one(&["helper", "helper", "second"]);
        for action in &ACTIONS[..2] {
            let terms = RequestGrant { max_uses: Some(5), ..terms(favoured, action, "crm://**") };
            story.ledger.submit(&submission(Actor::System, issue(terms)));
        }
        let probes = probes(&story.ledger);
        let earlier = story.ledger.clone();
        let before = allowed(&earlier, &probes);
        for _ in 0..BETWEEN {
            let (kind, n) = (chance.below(KINDS as u64) as usize, chance.below(64) as usize);
            let command = by_agent(&story.ledger, kind, n);
            let agent = chance.one(&["helper", "helper", "second", "third"]);
            let own = if chance.percent(70) { agent_key(agent) } else { token(agent, "alice") };
            recorded += story.ledger.submit(&submission(own, command)).events.len();
        }
        let after = allowed(&story.ledger, &probes);
        permitted += after.iter().filter(|allowed| **allowed).count();
        for ((probe, before), after) in probes.iter().zip(before).zip(after) {
            if after && !before {
                given += 1;
                let command = &probe.command;
                assert!(is_given(&earlier, &story.ledger, probe), "round {round}: {command:?}");
            }
        }
    }
    println!("{recorded} events, {permitted} calls allowed, {given} of them by what was given on");
    assert!(recorded > COMMANDS / 10 && permitted > 1_000 && given > 10);
}

/// A few steps of people, who end with lifting what stands in everybody's way.
fn people_act(story: &mut Story, runner: &mut TestRunner) {
    for step in steps(30).new_tree(runner).map(|tree| tree.current()).unwrap_or_default() {
        for submission in story.submissions(&step) {
            story.ledger.submit(&submission);
        }
    }
    let revoked = story.ledger.log.iter().filter_map(|recorded| match &recorded.event.fact {
        Fact::RevocationIssued(fact) if fact.suspend => Some(lift(fact.selector.clone())),
        _ => None,
    });
    let lifted: Vec<Command> = revoked.collect();
    let agents = [("helper", "alice"), ("second", "alice"), ("third", "bob")];
    let again = agents.into_iter().flat_map(|(agent, owner)| {
        let again = Command::ReinstateAgent { agent: id(agent), reason: None };
        [again, Command::UpdateAgent(write_agent(agent, owner, &["**"]))]
    });
    let owners = ["alice", "bob"].map(|owner| Command::EnableOwner { owner: id(owner) });
    for command in lifted.into_iter().chain(again).chain(owners) {
        story.ledger.submit(&submission(Actor::System, command));
    }
}

fn allowed(ledger: &Ledger, probes: &[Submission]) -> Vec<bool> {
    probes.iter().map(|probe| is_allowed(&ledger.ask(probe))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..Default::default() })]

    #[test]
    fn nothing_that_an_agents_own_key_submits_widens_anything(
        steps in steps(60),
        commands in prop::collection::vec((0..KINDS, 0..32_usize), 1..24),
    ) {
        let mut story = Story::new();
        for step in &steps {
            for submission in story.submissions(step) {
                story.ledger.submit(&submission);
            }
        }
        let earlier = story.ledger;
        let mut ledger = earlier.clone();
        let mut probes = probes(&ledger);
        let defined = (1..4_u8).flat_map(|n| ACTIONS.map(|action| (n, action)));
        probes.extend(defined.map(|(n, action)| {
            let ask = with_definition(ask("second", action, RESOURCES[0]), action, n);
            submission(actor(Role::Enforcer), Command::Authorize(Box::new(ask)))
        }));
        let before = allowed(&ledger, &probes);
        for (kind, n) in commands {
            let command = by_agent(&ledger, kind, n);
            ledger.submit(&submission(agent_key("helper"), command));
        }
        let after = allowed(&ledger, &probes);
        for ((probe, before), after) in probes.iter().zip(before).zip(after) {
            prop_assert!(
                before || !after || is_given(&earlier, &ledger, probe),
                "was denied and is allowed now: {:?}",
                probe.command,
            );
        }
    }

    #[test]
    fn wider_owner_never_widens_an_agent(
        of_agent in prop::sample::subsequence((0..POLICIES.len()).collect::<Vec<_>>(), 0..4),
        calls in prop::collection::vec((0..3_usize, 0..4_usize), 8),
    ) {
        // The agent's policies as they are; the owner once as they say, once allowed everything.
        let texts: Vec<&str> = of_agent.iter().map(|n| POLICIES[*n]).collect();
        let everything = r#"@jit("true") permit (principal is Owner, action, resource);"#;
        let narrow = Ledger::with_policies(&texts);
        let wide = Ledger::with_policies(&[texts.clone(), vec![everything]].concat());
        for (action, resource) in calls {
            let call = ask("helper", ACTIONS[action], RESOURCES[resource]);
            let of_agent = narrow.state.view().verdicts(&call, Time(0)).unwrap().agent.unwrap();
            let submission = submission(
                Actor::System,
                Command::Authorize(Box::new(call)),
            );
            let permitted = of_agent.decision == bailiwick_core::policy::Decision::Permit;
            prop_assert!(permitted || !is_allowed(&wide.ask(&submission)));
            let just_in_time = permitted && of_agent.restrictions.jit;
            prop_assert!(just_in_time || !is_allowed(&wide.ask(&submission)));
            prop_assert!(!is_allowed(&narrow.ask(&submission)) || is_allowed(&wide.ask(&submission)));
        }
    }

    #[test]
    fn revocation_denies_at_once_all_that_it_names_and_until_it_is_lifted(
        before in steps(60),
        kind in 1..7_usize,
        which in 0..16_usize,
        after in steps(40),
    ) {
        let mut story = Story::new();
        for step in &before {
            for submission in story.submissions(step) {
                story.ledger.submit(&submission);
            }
        }
        let made = story.submissions(&Step::Revoke { kind, which, grants_only: false, id: None });
        let Command::Revoke(revocation) = &made[0].command else { unreachable!() };
        let selector = revocation.selector.clone();
        let Answer::Done(_) = story.ledger.when(Actor::System, revoke(selector.clone())) else {
            return Ok(());
        };
        for step in after.iter().filter(|step| !matches!(step, Step::Lift { .. } | Step::Reinstate(_))) {
            for submission in story.submissions(step) {
                story.ledger.submit(&submission);
            }
        }
        let closed = matches!(&selector, Selector::Task(task)
            if !story.ledger.state.tasks().contains_key(task));
        prop_assert!(closed || story.ledger.state.marks().is_suspended(&selector).is_some());
        for probe in probes(&story.ledger) {
            let Command::Authorize(call) = &probe.command else { continue };
            let named = match &selector {
                Selector::Agent(agent) => {
                    call.subject == bailiwick_core::command::Subject::Agent(agent.clone())
                }
                Selector::Owner(owner) => {
                    let agents = story.ledger.state.agents().iter();
                    let mut theirs = agents.filter(|(_, agent)| agent.owner == *owner);
                    theirs.any(|(agent, _)| {
                        call.subject == bailiwick_core::command::Subject::Agent(agent.clone())
                    })
                }
                Selector::Task(task) => call.task == Some(*task),
                Selector::Resource(root) => call.resource.is_within(root),
                Selector::Grant(_) | Selector::Tool(_) => false,
                Selector::All => true,
            };
            prop_assert!(!named || !is_allowed(&story.ledger.ask(&probe)), "{} {:?}", selector, call);
        }
    }
}
