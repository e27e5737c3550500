//! The decision of a call, written a second time: every question is answered by reading all that was
//! recorded from the start, with no state, no index, no watermark and no Cedar, and every decision
//! of a random workload must come out the same: the code or the grant, the policies, the reason, the
//! uses left, what the detector tears down.
//!
//! `BAILIWICK_TEST_DECISIONS` makes the run as long as one likes and `BAILIWICK_TEST_SEED` another
//! one; a disagreement says which seed, world and step it was.
#![expect(clippy::print_stdout, reason = "its figures are for whoever asks for them")]

mod approvals;
mod arguments;
mod evaluator;
mod facts;
mod grants;
mod policies;
mod retries;
mod tools;

mod calls;
mod families;
mod settings;
mod workload;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use bailiwick_core::command::{self, Authorize, Command, Submission};
use bailiwick_core::decide::Decided;
use bailiwick_core::event::{
    Actor, ApprovalRequested, DenialCode, Detector, Event, Fact, Issuance, Scope, Selector,
};
use bailiwick_core::id::ApprovalId;

use approvals::Waits;
use evaluator::{Answer, Denial, Met, Source};
use policies::{FAMILY, FIRST};
use workload::World;

/// Decisions of one world, so that reading everything from the start stays cheap.
const DECISIONS_EACH: u64 = 2_000;

#[test]
fn naive_evaluator_agrees_with_every_decision_of_a_random_workload() {
    let decisions = number("BAILIWICK_TEST_DECISIONS", 100_000);
    let seed = number("BAILIWICK_TEST_SEED", 1);
    println!("BAILIWICK_TEST_SEED={seed}, {decisions} decisions");
    let worlds: Vec<World> = (0..FIRST.len()).map(World::begin).collect();
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let met = std::thread::scope(|scope| {
        let run = |worlds| scope.spawn(|| live_one_after_another(worlds, &next, seed, decisions));
        let runs: Vec<_> = (0..threads).map(|_| run(worlds.clone())).collect();
        let mut all = Met::new();
        for run in runs {
            let met = run.join().unwrap_or_else(|why| std::panic::resume_unwind(why));
            add(&mut all, met);
        }
        all
    });
    for ((what, which), count) in &met {
        println!("{count:>9} {what} {which}");
    }
    let decided = |of: &'static str| met.get(&("answer", of)).copied().unwrap_or(0);
    assert_eq!(["allowed", "denied", "repeated"].map(decided).iter().sum::<u64>(), decisions);
    everything_was_met(&met, decisions / 10_000);
}

/// Takes the next world as long as decisions are left.
fn live_one_after_another(worlds: Vec<World>, next: &AtomicU64, seed: u64, decisions: u64) -> Met {
    let mut met = Met::new();
    loop {
        let world = next.fetch_add(1, Ordering::Relaxed);
        let left = decisions.saturating_sub(world * DECISIONS_EACH);
        if left == 0 {
            return met;
        }
        let first = &worlds[world as usize % worlds.len()];
        add(&mut met, live(first, seed, world, left.min(DECISIONS_EACH)));
    }
}

fn add(all: &mut Met, met: Met) {
    for (what, count) in met {
        *all.entry(what).or_default() += count;
    }
}

/// Lets one world go on until it has made so many decisions.
fn live(first: &World, seed: u64, number: u64, decisions: u64) -> Met {
    let mut world = first.seeded(seed.wrapping_mul(1_000_003).wrapping_add(number));
    world.naive.met.take();
    let (mut made, mut step) = (0, 0);
    while made < decisions {
        let submission = world.next();
        let now = world.ledger.now();
        let expected = match &submission.command {
            Command::Authorize(ask) => Some(world.naive.answer(&submission, ask, now)),
            _ => None,
        };
        let before = world.ledger.log.len();
        let version = world.ledger.state.view().version();
        let decided = world.ledger.submit(&submission);
        if let (Some(expected), Command::Authorize(ask)) = (expected, &submission.command) {
            let got = answer_of(&decided, ask);
            assert!(
                expected == got,
                "BAILIWICK_TEST_SEED={seed}, world {number}, step {step}, decision {made}, {now:?}\n\
                 {submission:#?}\nnaive: {expected:#?}\ndecide: {got:#?}",
            );
            note(&world, &submission, ask, &got);
            if ask.verdicts.as_ref().is_some_and(|verdicts| verdicts.version == version) {
                world.naive.meet("call", "asked on early");
            }
            made += u64::from(!matches!(got, Answer::Refused(_)));
        }
        for recorded in &world.ledger.log[before..] {
            world.naive.check_issued(recorded);
            world.naive.take(recorded);
            world.naive.meet("recorded", recorded.event.fact.name());
        }
        step += 1;
    }
    world.naive.met.take()
}

/// What `decide` said, in the naive evaluator's words. All that it recorded must fit that.
fn answer_of(decided: &Decided, ask: &Authorize) -> Answer {
    let facts: Vec<&Fact> = decided.events.iter().map(|event| &event.fact).collect();
    let decision = match &decided.answer {
        command::Answer::Refused(refusal) => {
            assert!(facts.is_empty(), "{facts:?}");
            return Answer::Refused(refusal.code);
        }
        command::Answer::Decided(decision) => decision,
        command::Answer::Done(done) => panic!("a call is decided, not {done:?}"),
    };
    match &decision.result {
        Ok(allowed) if decision.repeats.is_some() => {
            assert!(facts.is_empty(), "{facts:?}");
            Answer::Repeated {
                call: decision.call.0,
                grant: allowed.grant,
                expires_at: allowed.expires_at.0,
                uses_left: allowed.uses_left,
            }
        }
        Ok(allowed) => {
            let (source, rest) = match facts.as_slice() {
                [
                    Fact::GrantIssued(grant),
                    Fact::BreakglassUsed(used),
                    Fact::FindingRaised(finding),
                    rest @ ..,
                ] => {
                    assert_eq!(used.grant, allowed.grant);
                    assert_eq!(Some(&used.justification), ask.justification.as_ref());
                    assert_eq!(finding.detector, Detector::BreakGlass);
                    (made(grant, true), rest)
                }
                [Fact::GrantIssued(grant), rest @ ..] => (made(grant, false), rest),
                rest => (Source::Held(allowed.grant), rest),
            };
            let (pins, rest) = match rest {
                [Fact::ToolPinned(pin), rest @ ..] => {
                    assert!(pin.first_use && Some(&pin.tool) == ask.tool.as_ref(), "{pin:?}");
                    assert_eq!((Some(pin.hash), pin.effect), (ask.tool_hash, None));
                    (true, rest)
                }
                rest => (false, rest),
            };
            let [Fact::CallAuthorized(authorized), ends @ ..] = rest else {
                panic!("an allow does not record {facts:?}")
            };
            let used_up = ends.iter().map(|end| match end {
                Fact::GrantExhausted(end) => end.grant,
                _ => panic!("an allow does not record {facts:?}"),
            });
            let used_up = used_up.collect();
            assert_eq!(authorized.grant, allowed.grant);
            assert_eq!(authorized.call.owner.as_ref(), Some(&allowed.owner));
            assert_eq!(authorized.expires_at, allowed.expires_at);
            assert_eq!(authorized.uses_left, allowed.uses_left);
            assert_eq!(authorized.call.resource, ask.resource);
            Answer::Allowed {
                source,
                expires_at: allowed.expires_at.0,
                uses_left: allowed.uses_left,
                used_up,
                policies: authorized.policies.clone(),
                pins,
            }
        }
        Err(denied) => denial(&decided.events, denied.code, &denied.message),
    }
}

fn made(grant: &bailiwick_core::event::GrantIssued, breakglass: bool) -> Source {
    let issuance = if breakglass { Issuance::BreakGlass } else { Issuance::JustInTime };
    assert_eq!(grant.issuance, issuance);
    let Scope::Exact(resource) = &grant.scope else { panic!("wider than the call: {grant:?}") };
    let tool = grant.tool.as_ref().map_or_else(String::new, ToString::to_string);
    Source::Made {
        agent: grant.agent.clone(),
        owner: grant.owner.clone(),
        names: [grant.action.to_string(), resource.to_string(), tool],
        task: grant.task,
        breakglass,
    }
}

fn denial(events: &[Event], code: DenialCode, message: &str) -> Answer {
    let facts: Vec<&Fact> = events.iter().map(|event| &event.fact).collect();
    let mut changes = false;
    let (over, rest) = match facts.as_slice() {
        [Fact::ApprovalExpired(over), rest @ ..] => (Some(over.approval), rest),
        rest => (None, rest),
    };
    let (approval, rest) = match rest {
        [Fact::ApprovalRequested(asked), rest @ ..] => (Some(asked_for(asked, over)), rest),
        rest => (None, rest),
    };
    let (denied, torn_down) = match rest {
        [Fact::CallDenied(fact)] => (fact, None),
        [Fact::ToolChanged(change), Fact::RevocationIssued(f), Fact::CallDenied(fact)] => {
            assert!(f.suspend && f.selector == Selector::Tool(change.tool.clone()), "{f:?}");
            assert!(Some(change.seen) == fact.call.tool_hash && change.pinned != change.seen);
            changes = true;
            (fact, None)
        }
        [Fact::FindingRaised(finding), Fact::RevocationIssued(f), Fact::CallDenied(fact)] => {
            assert!(f.suspend, "{f:?}");
            (fact, Some((f.selector.clone(), finding.evidence.clone())))
        }
        _ => panic!("a denial does not record {facts:?}"),
    };
    let approval = match (approval, code) {
        (Some(made), _) => Some(made),
        (None, DenialCode::RateLimited) => Some(Waits::NoRoom { over }),
        (None, _) => denied.approval.map(Waits::On),
    };
    assert_eq!(denied.code, code);
    let reason = message.strip_suffix(')').and_then(|rest| rest.rsplit_once(" ("));
    Answer::Denied {
        denial: Denial {
            code: Some(code),
            grant: denied.grant,
            policies: denied.policies.clone(),
            reason: reason.map(|(_, reason)| reason.to_owned()),
            approval: approval.map(Box::new),
        },
        torn_down,
        changes,
    }
}

fn asked_for(asked: &ApprovalRequested, over: Option<ApprovalId>) -> Waits {
    assert_eq!(asked.shown, bailiwick_core::approval::shown_digest(asked));
    Waits::Made {
        needs: approvals::rules_of(&asked.needs),
        ttl: asked.ttl.0,
        uses: asked.max_uses,
        expires_at: asked.expires_at.0,
        over,
    }
}

/// Counts what came about.
fn note(world: &World, submission: &Submission, ask: &Authorize, got: &Answer) {
    let naive = &world.naive;
    match got {
        Answer::Refused(code) => {
            naive.meet("answer", "refused");
            naive.meet("refused", code.as_str());
        }
        Answer::Repeated { .. } => naive.meet("answer", "repeated"),
        Answer::Denied { denial, torn_down, changes } => {
            if *changes {
                naive.meet("tool", "changed");
            }
            naive.meet("answer", "denied");
            naive.meet("denied", denial.code.map_or("", DenialCode::as_str));
            if denial.reason.is_some() {
                naive.meet("denied with", "a reason");
            }
            if let Some((selector, _)) = torn_down {
                naive.meet("torn down", selector.scope());
            }
        }
        Answer::Allowed { source, used_up, pins, .. } => {
            if *pins {
                naive.meet("tool", "pinned at first use");
            }
            if matches!(submission.actor, Actor::Token { agent: Some(_), .. }) {
                naive.meet("allowed", "by an agent's token");
            }
            naive.meet("answer", "allowed");
            if used_up.len() > 1 {
                naive.meet("allowed", "the last use of a whole line");
            }
            if let Source::Held(id) = source
                && world.naive.grant(*id).is_some_and(|grant| !grant.fact.constraints.is_empty())
            {
                naive.meet("allowed", "by a grant with constraints");
            }
            naive.meet("allowed", how(world, source));
            note_allowed(world, ask);
        }
    }
    if submission.request.is_some() {
        naive.meet("call", "with an id");
    }
}

fn how(world: &World, source: &Source) -> &'static str {
    let id = match source {
        Source::Made { breakglass: false, .. } => return "just in time",
        Source::Made { breakglass: true, .. } => return "by breaking the glass",
        Source::Held(id) => *id,
    };
    let grant = world.naive.grant(id).unwrap();
    match world.naive.ancestors(id).len() {
        0 => {}
        1 => return "by a delegated grant",
        _ => return "by a grant delegated twice and more",
    }
    match (&grant.fact.scope, grant.fact.issuance) {
        (Scope::Within(_), _) => "by a prefix",
        (Scope::Exact(_), Issuance::Operator) => "by an operator's grant",
        (Scope::Exact(_), Issuance::Policy) => "by a grant that policy gave",
        (Scope::Exact(_), Issuance::JustInTime) => "by an earlier call's grant",
        (Scope::Exact(_), Issuance::Approved) => "by an approved grant",
        (Scope::Exact(_), Issuance::Delegated) => "by a delegated grant",
        (Scope::Exact(_), Issuance::BreakGlass) => "by a grant that broke the glass",
    }
}

fn note_allowed(world: &World, ask: &Authorize) {
    let naive = &world.naive;
    let owner = match &ask.subject {
        command::Subject::Person(owner) => {
            naive.meet("allowed", "a person");
            Some(owner)
        }
        command::Subject::Agent(id) => naive.facts.owner_of(id),
    };
    let names = |selector| owner.is_some_and(|owner| evaluator::names_call(selector, ask, owner));
    let lifted: BTreeSet<_> =
        naive.facts.lifted().filter(|s| names(s)).map(|s| s.scope()).collect();
    for scope in lifted {
        naive.meet("allowed after lifting", scope);
    }
    if ask.told.is_some() {
        naive.meet("allowed", "with told properties");
    }
    if !ask.disclosed.is_empty() {
        naive.meet("allowed", "with disclosed fields");
    }
}

/// A run that never came to some rule says nothing of it.
fn everything_was_met(met: &Met, least: u64) {
    let listed = [
        ("answer", "allowed denied repeated refused"),
        ("refused", "not_permitted credential_invalid"),
        (
            "denied",
            "agent_unknown agent_suspended agent_expired agent_retired owner_disabled not_owner \
             task_closed suspended tool_changed tool_unpinned tool_not_allowed forbidden no_grant \
             grant_revoked grant_expired grant_exhausted not_yet_valid approval_required \
             approval_denied id_reused invalid_arguments",
        ),
        ("narrowed", "approval_required grant_expired grant_exhausted"),
        ("ancestor", "grant_revoked grant_exhausted"),
        ("giver", "may_not"),
        ("torn down", "task agent"),
        ("allowed after lifting", "agent owner task tool resource all"),
    ];
    let words =
        listed.iter().flat_map(|(what, all)| all.split_whitespace().map(|one| (*what, one)));
    let phrases = [
        ("allowed", "just in time"),
        ("allowed", "by a prefix"),
        ("allowed", "by an operator's grant"),
        ("allowed", "by a grant that policy gave"),
        ("allowed", "by an earlier call's grant"),
        ("allowed", "by a delegated grant"),
        ("allowed", "by a grant with constraints"),
        ("allowed", "by breaking the glass"),
        ("allowed", "by a grant that broke the glass"),
        ("allowed", "by an approved grant"),
        ("waits", "on what was asked before"),
        ("waits", "anew: expired"),
        ("waits", "anew: taken back"),
        ("recorded", "approval.requested"),
        ("recorded", "approval.granted"),
        ("recorded", "approval.denied"),
        ("recorded", "approval.expired"),
        ("recorded", "approval.withdrawn"),
        ("grant", "approved for something else"),
        ("allowed", "a person"),
        ("allowed", "with told properties"),
        ("allowed", "with disclosed fields"),
        ("denied with", "a reason"),
        ("choice", "several are live"),
        ("choice", "one is live, another is not"),
        ("choice", "none is live, for several reasons"),
        ("grant", "taken back for this call only"),
        ("delegate", "acts"),
        ("delegate", "does not act"),
        ("tool", "pinned at first use"),
        ("tool", "changed"),
        ("effect", "pinned as another"),
        ("allowed", "by an agent's token"),
        ("ancestor", "gone when the call came again"),
        ("allowed", "the last use of a whole line"),
        ("call", "with an id"),
        ("call", "asked on early"),
    ];
    let holds = FAMILY.iter().filter(|rule| !rule.name.starts_with("broken")).flat_map(|rule| {
        let always = ["anyone", "shadowed"].contains(&rule.name);
        [("holds", rule.name)].into_iter().chain((!always).then_some(("holds_not", rule.name)))
    });
    let fails =
        [("fails", "broken_permit"), ("fails", "broken_forbid"), ("fails", "large_amounts")];
    for what in words.chain(phrases).chain(holds).chain(fails) {
        let count = met.get(&what).copied().unwrap_or(0);
        assert!(count >= least, "{what:?} came about {count} times, and not {least}");
    }
}

#[expect(clippy::disallowed_methods, reason = "who runs the tests says how long they are")]
pub(super) fn number(variable: &str, otherwise: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}
