//! What a file of cases may say. Every name that is not here is refused, where it stands.
//!
//! ```toml
//! [given]                                   # what every case begins with
//! policies = ["support.cedar", "owners"]    # files or directories, seen from this file
//! schemas = [{ action = "crm/refund", file = "refund.json" }]   # what policies read of arguments
//! clock = 2026-11-23T09:00:00Z              # 2026-01-01T00:00:00Z if not given
//! owners = [{ owner = "alice", groups = ["support"], properties = { region = "eu" } }]
//! agents = [{ agent = "bot", owner = "alice", allowlist = ["crm/*"], risk = 20 }]   # `**` if not given
//! resources = [{ resource = "crm://case/1", properties = { status = ["open"] } }]
//! tasks = [{ task = "work", agent = "bot" }]
//! grants = [{ agent = "bot", action = "crm/read", scope = "crm://case/**", ttl = "5m" }]
//!
//! [[case]]
//! name = "an open case may be read"
//! given = { grants = [] }                   # more, for this case alone
//!
//! [[case.when]]                             # calls, one after the other
//! advance = "1m"                            # the clock, before the call
//! agent = "bot"                             # or `person = "alice"`, who acts in person
//! action = "crm/read"
//! resource = "crm://case/1"
//! then = { decision = "allow", policies = ["support"], ttl = "4m", uses_left = 2 }
//!
//! [[case.when]]
//! revoke = { agent = "bot" }                # a step of an operator, which has no `then`
//! ```
//!
//! A call may also say `tool`, `effect` (`write` if not given, as at the server), `args`,
//! `justification`, `session`, `task`, `on_behalf_of`, `environment`, and `told`, what the enforcement point says:
//! `{ subject = {…}, action = {…}, resource = {…} }`. Of `then` only `decision` must be there: `code`
//! says why a call is denied, `policies` is exactly those that determined it, `ttl` how long the grant
//! still lives and `uses_left` how often it may be used after this call.

use std::collections::BTreeSet;
use std::path::PathBuf;

use bailiwick_core::event::{DenialCode, Effect, Scope, Selector};
use bailiwick_core::id::{
    Action, ActionPattern, AgentId, GroupId, OwnerId, PolicyId, Resource, SessionId, Text, ToolId,
};
use bailiwick_core::properties::Properties;
use bailiwick_core::time::{Span, Time};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use toml::Spanned;

use crate::moment;

/// What is wrong, and at which byte of the file.
pub(super) type Wrong = (usize, String);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) given: Given,
    #[serde(default, rename = "case")]
    pub(super) cases: Vec<Spanned<Case>>,
}

/// What there is before the first call.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Given {
    #[serde(default)]
    pub(super) policies: Vec<PathBuf>,
    #[serde(default)]
    pub(super) schemas: Vec<Schema>,
    #[serde(default, deserialize_with = "clock")]
    pub(super) clock: Option<Time>,
    #[serde(default)]
    pub(super) owners: Vec<Spanned<Owner>>,
    #[serde(default)]
    pub(super) agents: Vec<Spanned<Agent>>,
    #[serde(default)]
    pub(super) resources: Vec<Spanned<Known>>,
    #[serde(default)]
    pub(super) tasks: Vec<Spanned<Task>>,
    #[serde(default)]
    pub(super) grants: Vec<Spanned<Grant>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Schema {
    pub(super) action: Action,
    pub(super) file: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Owner {
    pub(super) owner: OwnerId,
    #[serde(default)]
    pub(super) groups: BTreeSet<GroupId>,
    #[serde(default, deserialize_with = "properties")]
    pub(super) properties: Properties,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Agent {
    pub(super) agent: AgentId,
    pub(super) owner: OwnerId,
    #[serde(default)]
    pub(super) purpose: Option<Text>,
    #[serde(default)]
    pub(super) groups: BTreeSet<GroupId>,
    #[serde(default)]
    pub(super) allowlist: Option<Vec<ActionPattern>>,
    #[serde(default)]
    pub(super) risk: u8,
    #[serde(default, deserialize_with = "properties")]
    pub(super) properties: Properties,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Known {
    pub(super) resource: Resource,
    #[serde(deserialize_with = "properties")]
    pub(super) properties: Properties,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Task {
    /// What the file calls it; the ledger gives it a number.
    pub(super) task: String,
    pub(super) agent: AgentId,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Grant {
    pub(super) agent: AgentId,
    pub(super) action: Action,
    pub(super) scope: Scope,
    #[serde(default)]
    pub(super) task: Option<String>,
    #[serde(default)]
    pub(super) ttl: Option<Span>,
    #[serde(default)]
    pub(super) max_uses: Option<u32>,
    #[serde(default)]
    pub(super) justification: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    #[serde(default)]
    pub(super) given: Given,
    pub(super) when: Vec<Spanned<Step>>,
}

/// A call with what is to come of it, or a step of an operator.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    #[serde(default)]
    pub(super) advance: Option<Span>,
    #[serde(default)]
    pub(super) revoke: Option<Selector>,
    #[serde(default)]
    pub(super) agent: Option<AgentId>,
    #[serde(default)]
    pub(super) person: Option<OwnerId>,
    #[serde(default)]
    pub(super) action: Option<Action>,
    #[serde(default)]
    pub(super) resource: Option<Resource>,
    #[serde(default)]
    pub(super) tool: Option<ToolId>,
    #[serde(default)]
    pub(super) effect: Option<Effect>,
    #[serde(default, deserialize_with = "json")]
    pub(super) args: Option<Value>,
    #[serde(default)]
    pub(super) justification: Option<Text>,
    #[serde(default)]
    pub(super) session: Option<SessionId>,
    #[serde(default)]
    pub(super) task: Option<String>,
    #[serde(default)]
    pub(super) on_behalf_of: Option<OwnerId>,
    #[serde(default)]
    pub(super) environment: Option<Text>,
    #[serde(default)]
    pub(super) told: Option<Said>,
    #[serde(default)]
    pub(super) then: Option<Then>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    #[serde(default, deserialize_with = "properties")]
    pub(super) subject: Properties,
    #[serde(default, deserialize_with = "properties")]
    pub(super) action: Properties,
    #[serde(default, deserialize_with = "properties")]
    pub(super) resource: Properties,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Ruling {
    Allow,
    Deny,
}

/// What is expected of a call; what is not said is not looked at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Then {
    pub(super) decision: Ruling,
    #[serde(default)]
    pub(super) code: Option<DenialCode>,
    #[serde(default)]
    pub(super) policies: Option<BTreeSet<PolicyId>>,
    #[serde(default)]
    pub(super) ttl: Option<Span>,
    #[serde(default)]
    pub(super) uses_left: Option<u32>,
}

impl File {
    /// Reads a file and refuses what could not mean anything.
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        let file: Self = toml::from_str(text)
            .map_err(|e| (e.span().map_or(0, |span| span.start), e.message().to_owned()))?;
        if file.cases.is_empty() {
            return Err((text.len(), "there is no `[[case]]`".to_owned()));
        }
        for case in &file.cases {
            let given = &case.get_ref().given;
            if !given.policies.is_empty() || !given.schemas.is_empty() {
                let why = "policies and schemas are given for the whole file, not for one case";
                return Err((case.span().start, why.to_owned()));
            }
            for step in &case.get_ref().when {
                step.get_ref().check().map_err(|why| (step.span().start, why.to_owned()))?;
            }
            if !case.get_ref().when.iter().any(|step| step.get_ref().then.is_some()) {
                return Err((case.span().start, "the case makes no call".to_owned()));
            }
        }
        Ok(file)
    }
}

impl Step {
    fn check(&self) -> Result<(), &'static str> {
        let of_call = self.agent.is_some()
            || self.person.is_some()
            || self.action.is_some()
            || self.resource.is_some()
            || self.then.is_some();
        match (&self.then, self.revoke.is_some()) {
            (_, true) if of_call => Err("a step is a call or `revoke`, not both"),
            (_, true) => Ok(()),
            (None, false) => Err("a call needs `then`: what is to come of it"),
            (Some(then), false) => {
                if self.agent.is_some() == self.person.is_some() {
                    return Err("a call has either `agent` or `person`");
                }
                if self.action.is_none() || self.resource.is_none() {
                    return Err("a call needs `action` and `resource`");
                }
                then.check()
            }
        }
    }
}

impl Then {
    fn check(&self) -> Result<(), &'static str> {
        match self.decision {
            Ruling::Allow if self.code.is_some() => Err("what is allowed has no `code`"),
            Ruling::Deny if self.ttl.is_some() || self.uses_left.is_some() => {
                Err("what is denied has no `ttl` and no `uses_left`")
            }
            Ruling::Allow | Ruling::Deny => Ok(()),
        }
    }
}

fn properties<'de, D: Deserializer<'de>>(from: D) -> Result<Properties, D::Error> {
    let value = of_toml(toml::Value::deserialize(from)?).map_err(D::Error::custom)?;
    Properties::of_json(&value).map_err(D::Error::custom)
}

fn json<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    of_toml(toml::Value::deserialize(from)?).map(Some).map_err(D::Error::custom)
}

/// TOML as JSON has it; a moment becomes its text.
fn of_toml(value: toml::Value) -> Result<Value, String> {
    Ok(match value {
        toml::Value::String(text) => Value::from(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Float(number) if number.is_finite() => Value::from(number),
        toml::Value::Float(number) => return Err(format!("JSON has no number `{number}`")),
        toml::Value::Boolean(truth) => Value::from(truth),
        toml::Value::Datetime(moment) => Value::from(moment.to_string()),
        toml::Value::Array(items) => items.into_iter().map(of_toml).collect::<Result<_, _>>()?,
        toml::Value::Table(members) => {
            let members = members.into_iter().map(|(name, value)| Ok((name, of_toml(value)?)));
            Value::Object(members.collect::<Result<_, String>>()?)
        }
    })
}

fn clock<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Time>, D::Error> {
    use toml::value::{Datetime, Offset};
    let given = Datetime::deserialize(from)?;
    let (Some(date), Some(time), Some(Offset::Z)) = (given.date, given.time, given.offset) else {
        return Err(D::Error::custom("the clock is a moment in UTC, such as 2026-11-23T09:00:00Z"));
    };
    let date = (date.year.into(), date.month.into(), date.day.into());
    let second = time.second.unwrap_or_default();
    let clock = (time.hour.into(), time.minute.into(), second.into());
    let moment = moment::of_utc(date, clock);
    moment.map(Some).ok_or_else(|| D::Error::custom("the clock is before 1970"))
}
