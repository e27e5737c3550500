//! The law of `grants`: however a grant's end is found, it is the one that a walk over every
//! event after the grant finds.

use bailiwick_core::event::{
    AgentRetired, AgentSuspended, Fact, GrantIssued, GrantReturned, OwnerDisabled, Recorded,
    Selector, TaskClosed,
};
use bailiwick_core::id::{AgentId, GrantId, OwnerId, Resource, TaskId, ToolId};
use bailiwick_core::state::Covered;
use bailiwick_core::time::Span;
use proptest::prelude::*;

use crate::story::{Story, Terms, audit, call, lines};

const AGENTS: [&str; 3] = ["a", "b", "c"];
const OWNERS: [&str; 2] = ["o", "p"];
const TOOLS: [&str; 2] = ["crm/read", "crm/write"];
const SCOPES: [&str; 5] =
    ["crm://case/1", "crm://case/12", "crm://case/**", "crm://case/1/**", "crm:///**"];
const PREFIXES: [&str; 5] =
    ["crm://case/1", "crm://case", "crm://case/", "crm://", "crm://case/1/x"];

#[derive(Debug, Clone)]
enum Step {
    Issue {
        agent: usize,
        owner: usize,
        tool: Option<usize>,
        task: Option<u64>,
        scope: usize,
        seconds: u64,
    },
    /// A part of the n-th grant, to an agent, for a task.
    Delegate(usize, usize, Option<u64>),
    Revoke(Selector, bool),
    Lift(Selector),
    Suspend(usize),
    Retire(usize),
    Disable(usize),
    Close(u64),
    Return(u64),
    Use {
        grant: u64,
        last: bool,
    },
}

fn selector() -> impl Strategy<Value = Selector> {
    prop_oneof![
        (0u64..60).prop_map(|n| Selector::Grant(GrantId(n))),
        (0..AGENTS.len()).prop_map(|n| Selector::Agent(AgentId::new(AGENTS[n]).unwrap())),
        (0..OWNERS.len()).prop_map(|n| Selector::Owner(OwnerId::new(OWNERS[n]).unwrap())),
        (0u64..3).prop_map(|n| Selector::Task(TaskId(n))),
        (0..TOOLS.len()).prop_map(|n| Selector::Tool(ToolId::new(TOOLS[n]).unwrap())),
        (0..PREFIXES.len()).prop_map(|n| Selector::Resource(Resource::new(PREFIXES[n]).unwrap())),
        Just(Selector::All),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let issue = (
        0..AGENTS.len(),
        0..OWNERS.len(),
        proptest::option::of(0..TOOLS.len()),
        proptest::option::of(0u64..3),
        0..SCOPES.len(),
        1u64..40,
    );
    prop_oneof![
        8 => issue.prop_map(|(agent, owner, tool, task, scope, seconds)| Step::Issue {
            agent, owner, tool, task, scope, seconds
        }),
        4 => (0..8usize, 0..AGENTS.len(), proptest::option::of(0u64..3))
            .prop_map(|(n, agent, task)| Step::Delegate(n, agent, task)),
        4 => (selector(), any::<bool>()).prop_map(|(s, suspend)| Step::Revoke(s, suspend)),
        1 => selector().prop_map(Step::Lift),
        1 => (0..AGENTS.len()).prop_map(Step::Suspend),
        1 => (0..AGENTS.len()).prop_map(Step::Retire),
        1 => (0..OWNERS.len()).prop_map(Step::Disable),
        1 => (0u64..3).prop_map(Step::Close),
        1 => (0u64..60).prop_map(Step::Return),
        2 => (0u64..60, any::<bool>()).prop_map(|(grant, last)| Step::Use { grant, last }),
    ]
}

fn take(story: &mut Story, step: &Step) {
    let agent = |n: usize| AgentId::new(AGENTS[n]).unwrap();
    match step {
        Step::Issue { agent, owner, tool, task, scope, seconds } => {
            story.grant(&Terms {
                agent: AGENTS[*agent],
                owner: OWNERS[*owner],
                task: task.map(TaskId),
                tool: tool.map(|tool| TOOLS[tool]),
                action: "crm/read",
                scope: SCOPES[*scope],
                ttl: Span::seconds(*seconds),
                max_uses: 100,
            });
        }
        Step::Delegate(n, to, task) => {
            let is_left = |grant: &GrantIssued| story.now < grant.expires_at;
            let grants: Vec<GrantId> =
                issued(story).filter(|(_, grant)| is_left(grant)).map(|(id, _)| id).collect();
            if let Some(parent) = grants.iter().rev().nth(*n) {
                story.delegate(*parent, agent(*to), task.map(TaskId));
            }
        }
        Step::Revoke(selector, suspend) => {
            story.revoke(selector.clone(), *suspend);
        }
        Step::Lift(selector) => {
            story.lift(selector.clone());
        }
        Step::Suspend(n) => {
            story.tell(Fact::AgentSuspended(AgentSuspended { agent: agent(*n), reason: None }));
        }
        Step::Retire(n) => {
            story.tell(Fact::AgentRetired(AgentRetired { agent: agent(*n), reason: None }));
        }
        Step::Disable(n) => {
            let owner = OwnerId::new(OWNERS[*n]).unwrap();
            story.tell(Fact::OwnerDisabled(OwnerDisabled { owner, reason: None }));
        }
        Step::Close(n) => {
            story.tell(Fact::TaskClosed(TaskClosed { task: TaskId(*n), reason: None }));
        }
        Step::Return(n) => {
            story.tell(Fact::GrantReturned(GrantReturned { grant: GrantId(*n) }));
        }
        Step::Use { grant, last } => {
            let call = call("crm/read", "crm://case/1");
            story.allow(GrantId(*grant), call, u32::from(!*last));
        }
    }
}

fn issued(story: &Story) -> impl Iterator<Item = (GrantId, &GrantIssued)> {
    story.events.iter().filter_map(|recorded| match &recorded.event.fact {
        Fact::GrantIssued(grant) => Some((GrantId(recorded.place.index), grant)),
        _ => None,
    })
}

/// A grant and all that it was delegated from.
fn line(story: &Story, id: GrantId) -> Vec<(GrantId, &GrantIssued)> {
    let mut line = Vec::new();
    let mut next = Some(id);
    while let Some(id) = next {
        line.extend(issued(story).filter(|(other, _)| *other == id));
        next = line.last().and_then(|(_, grant)| grant.parent);
    }
    line
}

/// Whether an event ends a grant, and as what.
fn ends(fact: &Fact, id: GrantId, grant: &GrantIssued) -> Option<&'static str> {
    let names = |selector: &Selector| {
        let covered = Covered {
            grant: Some(id),
            agent: grant.agent.as_ref(),
            owner: &grant.owner,
            task: grant.task,
            tool: grant.tool.as_ref(),
            resource: grant.scope.root(),
        };
        covered.is_named_by(selector)
    };
    match fact {
        Fact::RevocationIssued(fact) => names(&fact.selector).then_some("revoked"),
        Fact::AgentSuspended(fact) => {
            names(&Selector::Agent(fact.agent.clone())).then_some("agent_suspended")
        }
        Fact::AgentRetired(fact) => {
            names(&Selector::Agent(fact.agent.clone())).then_some("agent_retired")
        }
        Fact::OwnerDisabled(fact) => {
            names(&Selector::Owner(fact.owner.clone())).then_some("owner_disabled")
        }
        Fact::TaskClosed(fact) => names(&Selector::Task(fact.task)).then_some("task_closed"),
        Fact::GrantReturned(fact) => (fact.grant == id).then_some("returned"),
        Fact::CallAuthorized(fact) => {
            (fact.grant == id && fact.uses_left == 0).then_some("exhausted")
        }
        _ => None,
    }
}

/// Each grant as `[id, seconds that it was good, ended by, index that ended it]`.
fn walked(story: &Story) -> Vec<String> {
    let mut rows = Vec::new();
    for (at, recorded) in story.events.iter().enumerate() {
        let Fact::GrantIssued(grant) = &recorded.event.fact else { continue };
        let id = GrantId(recorded.place.index);
        let line = line(story, id);
        let ends = |fact: &Fact| line.iter().find_map(|(id, grant)| ends(fact, *id, grant));
        let end = story.events[at + 1..]
            .iter()
            .find_map(|later| Some((later.place, ends(&later.event.fact)?)))
            .filter(|(place, _)| place.time < grant.expires_at);
        let (until, by, index) = match end {
            Some((place, by)) => (place.time, by, Some(place.index)),
            None => (grant.expires_at, "expired", None),
        };
        let seconds = until.since(recorded.place.time).0 / 1_000;
        let (root, _) = line.last().unwrap();
        let uses = |recorded: &&Recorded| {
            matches!(&recorded.event.fact, Fact::CallAuthorized(fact)
                if fact.grant.0 < recorded.place.index
                    && self::line(story, fact.grant).iter().any(|(other, _)| *other == id))
        };
        let uses = story.events[at + 1..].iter().filter(uses).count();
        let (parent, depth) = (grant.parent, line.len() - 1);
        let row = serde_json::json!([id, seconds, by, index, parent, root, depth, uses]);
        rows.push(row.to_string());
    }
    rows
}

const ASKED: &str =
    "select grant_id, cast(to_unixtime(valid_to) - to_unixtime(valid_from) as bigint),
    ended_by, ended_seq, parent_grant_id, root_grant_id, depth, uses from grants order by seq";
/// What the events themselves say of where grants come from.
const OF_EVENTS: &str = "select count(*) from events e join grants g on e.seq = g.seq
    where e.root_grant_id = g.root_grant_id and e.depth = g.depth";

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_grants_end_is_the_one_that_a_walk_finds(steps in prop::collection::vec(step(), 1..60), cut in 0usize..60) {
        let mut story = Story::begin();
        for step in &steps {
            take(&mut story, step);
        }
        let cut = cut.min(story.events.len());
        let tables = audit();
        tables.ingest(0, &story.events[..cut]).unwrap();
        let half = Story { events: story.events[..cut].to_vec(), now: story.now };
        prop_assert_eq!(lines(&tables, ASKED), walked(&half));
        tables.ingest(1, &story.events[cut..]).unwrap();
        prop_assert_eq!(lines(&tables, ASKED), walked(&story));
        let all = format!("[{}]", issued(&story).count());
        prop_assert_eq!(lines(&tables, OF_EVENTS), [all]);
    }
}
