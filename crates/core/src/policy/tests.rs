//! What policies say, and what they are refused for; and every answer against Cedar's own.

mod oracle;
mod refusals;
mod semantics;

use std::collections::BTreeSet;

use super::{Context, Principal, Question, Verdict};
use super::{PolicyErrors, PolicySet, check_one};
use crate::id::{
    Action, AgentId, GroupId, OwnerId, PolicyId, Resource, SessionId, TaskId, Text, ToolId,
};
use crate::properties::Properties;
use crate::time::Time;

/// A question in plain data: what a test says of it, and defaults for the rest.
#[derive(Debug, Clone)]
struct Case {
    /// The agent with its groups; nothing when the owner acts in person.
    agent: Option<(&'static str, Vec<&'static str>)>,
    owner: (&'static str, Vec<&'static str>),
    /// Whether the owner is asked about, and not the agent.
    of_owner: bool,
    action: &'static str,
    resource: &'static str,
    task: Option<u64>,
    session: Option<&'static str>,
    justification: Option<&'static str>,
    tool: Option<&'static str>,
    /// Names with values of the principals, the resource and the action.
    properties: [Vec<(&'static str, Vec<&'static str>)>; 3],
    effect: &'static str,
    /// Unix seconds.
    now: u64,
}

/// Monday the 23rd of November 2026, 13:37 UTC.
const MONDAY: u64 = 1_795_441_020;

impl Default for Case {
    fn default() -> Self {
        Self {
            agent: Some(("helper", vec![])),
            owner: ("alice", vec![]),
            of_owner: false,
            action: "crm/read_case",
            resource: "crm://case/1234",
            task: None,
            session: None,
            justification: None,
            tool: None,
            properties: [vec![], vec![], vec![]],
            effect: "read",
            now: MONDAY,
        }
    }
}

/// The purpose of every agent in these tests.
const PURPOSE: &str = "support";

impl Case {
    fn asked<T>(&self, ask: impl FnOnce(&Question<'_>) -> T) -> T {
        let owner_id = OwnerId::new(self.owner.0).unwrap();
        let [of_principals, of_resource, of_action] = self.properties.each_ref().map(properties);
        let (of_resource, of_action) = (Some(of_resource), Some(of_action));
        let owner = Principal::owner(&owner_id, &groups(&self.owner.1)).with(&of_principals);
        let agent = self.agent.as_ref().map(|(id, of)| {
            Principal::agent(&AgentId::new(id).unwrap(), &owner_id, PURPOSE, &groups(of))
                .with(&of_principals)
        });
        let session = self.session.map(|id| SessionId::new(id).unwrap());
        let justification = self.justification.map(|why| Text::new(why).unwrap());
        let tool = self.tool.map(|id| ToolId::new(id).unwrap());
        let context = Context {
            task: self.task.map(TaskId),
            session: session.as_ref(),
            justification: justification.as_ref(),
            agent: agent.as_ref(),
            owner: &owner,
            tool: tool.as_ref(),
            of_resource: of_resource.as_ref(),
            of_action: of_action.as_ref(),
            effect: self.effect,
            time: Time(self.now * 1_000_000_000),
        };
        ask(&Question {
            principal: agent.as_ref().filter(|_| !self.of_owner).unwrap_or(&owner),
            action: &Action::new(self.action).unwrap(),
            resource: &Resource::new(self.resource).unwrap(),
            context: &context,
        })
    }
}

fn properties(of: &Vec<(&str, Vec<&str>)>) -> Properties {
    Properties::of_json(&of.iter().map(|(name, values)| (*name, values.clone())).collect()).unwrap()
}

fn groups(names: &[&str]) -> BTreeSet<GroupId> {
    names.iter().map(|name| GroupId::new(name).unwrap()).collect()
}

fn id(name: &str) -> PolicyId {
    PolicyId::new(name).unwrap()
}

/// Policies called `p0`, `p1` … in the order given.
fn set(texts: &[&str]) -> PolicySet {
    let named: Vec<_> =
        texts.iter().enumerate().map(|(n, text)| (id(&format!("p{n}")), *text)).collect();
    PolicySet::compile(named.iter().map(|(id, text)| (id, *text))).unwrap()
}

fn ask(texts: &[&str], case: &Case) -> Verdict {
    case.asked(|question| set(texts).evaluate(question))
}

/// Where and why a policy is refused: `line:column message` of each fault.
fn refusal(text: &str) -> String {
    let errors: PolicyErrors = check_one(&id("p"), text).expect_err(text);
    let faults: Vec<_> = errors
        .iter()
        .map(|fault| format!("{}:{} {}", fault.line, fault.column, fault.message))
        .collect();
    faults.join("\n")
}
