//! What policies say, and what they are refused for; and every answer against Cedar's own.

mod arguments;
mod circumstances;
mod oracle;
mod refusals;
mod semantics;

use std::collections::BTreeSet;

use super::{Context, Counts, History, Lately, Live, Principal, Question, UsableGrant, Verdict};
use super::{InputSchemas, PolicyErrors, PolicySet, check_one_with};
use crate::arguments::Arguments;
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
    /// A JSON object.
    args: Option<&'static str>,
    environment: Option<&'static str>,
    /// What the ledger knows, where it is at hand.
    live: Option<Known>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    history: History,
    risk: u8,
    grant: Option<UsableGrant>,
}

impl Default for Known {
    fn default() -> Self {
        Self { history: History::NONE, risk: 0, grant: None }
    }
}

/// A history whose numbers all differ: the calls of the agent's last minute are `first`.
fn history(first: u32) -> History {
    let lately = |from| Lately { minute: Some(from), hour: Some(from + 1), day: Some(from + 2) };
    let counts = |from| Counts { calls: lately(from), denials: lately(from + 10) };
    History { agent: counts(first), task: counts(first + 100), tool: counts(first + 200) }
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
            args: None,
            environment: None,
            live: None,
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
        let args =
            self.args.map(|json| Arguments::of_json(&serde_json::from_str(json).unwrap()).unwrap());
        let environment = self.environment.map(|name| Text::new(name).unwrap());
        let known = self.live.unwrap_or_default();
        let (history, grant) = (|| known.history, || known.grant);
        let live = Live { history: &history, risk: known.risk, grant: &grant };
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
            args: args.as_ref(),
            environment: environment.as_ref(),
            live: self.live.map(|_| live),
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

/// What the arguments of some actions look like; every other has no schema.
fn schemas() -> InputSchemas {
    let payment = r#"{"type": "object", "required": ["amount"], "properties": {
        "amount": {"type": "number"}, "times": {"type": "integer"}, "currency": {"enum": ["EUR", "USD"]},
        "urgent": {"type": "boolean"}, "to": {"type": "array", "items": {"type": "string"}},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "anything": {},
        "account": {"type": "object", "required": ["iban"], "additionalProperties": false,
            "properties": {"iban": {"type": "string"}, "bank": {"type": "string"}}}}}"#;
    let case = r#"{"type": "object", "properties": {"case_id": {"type": "integer"}}}"#;
    let first = r#"{"required": ["who"], "properties": {"n": {"type": "integer"}, "who": {"type": "string"},
        "sum": {"type": "number"}, "tags": {"type": "array", "items": {"type": "string"}}}}"#;
    let second = r#"{"properties": {"n": {"type": "integer"}}}"#;
    let named = [("bank/pay", payment), ("crm/read_case", case), ("x/1", first), ("x/2", second)];
    named.map(|(action, schema)| (Action::new(action).unwrap(), schema.to_owned())).into()
}

/// Policies called `p0`, `p1` … in the order given.
fn set(texts: &[&str]) -> PolicySet {
    let named: Vec<_> =
        texts.iter().enumerate().map(|(n, text)| (id(&format!("p{n}")), *text)).collect();
    PolicySet::empty()
        .recompile_with(&schemas(), named.iter().map(|(id, text)| (id, *text)))
        .unwrap()
}

fn ask(texts: &[&str], case: &Case) -> Verdict {
    case.asked(|question| set(texts).evaluate(question))
}

/// Where and why a policy is refused: `line:column message` of each fault.
fn refusal(text: &str) -> String {
    let errors: PolicyErrors = check_one_with(&schemas(), &id("p"), text).expect_err(text);
    let faults: Vec<_> = errors
        .iter()
        .map(|fault| format!("{}:{} {}", fault.line, fault.column, fault.message))
        .collect();
    faults.join("\n")
}
