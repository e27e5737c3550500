//! Agents: registered non-human identities, each under one owner.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bailiwick_core::command::{Command, ReassignAgent, WriteAgent};
use bailiwick_core::event::{AgentSettings, Allow, Selector};
use bailiwick_core::id::{ActionPattern, AgentId, GroupId, OwnerId, Text};
use bailiwick_core::state::{self, AgentStatus};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::owners::{groups, same, suspended_by};
use super::{Why, text};
use crate::auth::{Caller, READERS};
use crate::body::{Asked, Named, Told};
use crate::command::{Recorded, changed, created, json};
use crate::desk::Desk;
use crate::moment;
use crate::page::{self, Page, PageQuery, Span};
use crate::problem::{Details, NOT_FOUND, OUT_OF_RANGE, Problem};

const LIST: &str = "agents";
/// The most bytes of an agent's purpose, groups and allowlist together, so that they fit into one
/// event.
const SETTINGS_BYTES_MAX: usize = 48_000;

/// An agent to be registered, or its record as it is to be, whole.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAgent {
    /// Who; with `PUT` the path says so already.
    #[serde(default)]
    agent: Option<String>,
    /// The human it acts for.
    owner: String,
    /// What it is for.
    purpose: String,
    /// Groups it belongs to.
    #[serde(default)]
    groups: Vec<String>,
    /// Which actions it may ask for at all.
    #[serde(default)]
    allowlist: Vec<AllowBody>,
    /// When its life ends, RFC 3339.
    #[serde(default)]
    expires_at: Option<String>,
}

/// One entry of an allowlist.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Allow)]
pub(crate) struct AllowBody {
    /// Actions by glob: `crm/*`, `**`.
    pattern: String,
    /// Until when, if not for the agent's whole life; RFC 3339.
    #[serde(default)]
    expires_at: Option<String>,
}

/// Where an agent is to go.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reassign {
    /// The human it is to act for.
    to: String,
    /// Words for people.
    #[serde(default)]
    reason: Option<String>,
}

/// An agent as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Agent {
    /// Who.
    #[schema(value_type = String)]
    agent: AgentId,
    /// The human it acts for.
    #[schema(value_type = String)]
    owner: OwnerId,
    /// What it is for.
    #[schema(value_type = String)]
    purpose: Text,
    /// Groups it belongs to.
    #[schema(value_type = Vec<String>)]
    groups: BTreeSet<GroupId>,
    /// Which actions it may ask for at all.
    allowlist: Vec<AllowBody>,
    /// When its life ends.
    expires_at: Option<String>,
    /// `active`, `suspended` or `retired`.
    #[schema(value_type = String)]
    status: AgentStatus,
    /// How far it is distrusted, from 0 to 100, for policies to read.
    risk: u8,
    /// The revocation whose suspension holds until lifted.
    suspended_by: Option<String>,
    /// When registered.
    registered_at: String,
}

impl NewAgent {
    fn settings(&self) -> Result<AgentSettings, Problem> {
        let texts = self.groups.iter().chain(self.allowlist.iter().map(|allow| &allow.pattern));
        // A few bytes more for lengths and times.
        let bytes = self.purpose.len() + texts.map(|text| text.len() + 16).sum::<usize>();
        if bytes > SETTINGS_BYTES_MAX {
            let most =
                format!("purpose, groups and allowlist have more than {SETTINGS_BYTES_MAX} bytes");
            return Err(OUT_OF_RANGE.with(most));
        }
        let allow = |allow: &AllowBody| -> Result<Allow, Problem> {
            let pattern = ActionPattern::new(&allow.pattern)?;
            let expires_at = allow.expires_at.as_deref().map(moment::parse).transpose()?;
            Ok(Allow { pattern, expires_at })
        };
        Ok(AgentSettings {
            purpose: Text::new(&self.purpose)?,
            groups: groups(&self.groups)?,
            allowlist: self.allowlist.iter().map(allow).collect::<Result<_, _>>()?,
            expires_at: self.expires_at.as_deref().map(moment::parse).transpose()?,
        })
    }

    fn write(&self, agent: &str) -> Result<WriteAgent, Problem> {
        let (agent, owner) = (AgentId::new(agent)?, OwnerId::new(&self.owner)?);
        Ok(WriteAgent { agent, owner, settings: self.settings()? })
    }
}

fn show(state: &state::State, id: &AgentId, agent: &state::Agent) -> Agent {
    let settings = &agent.settings;
    let allow = |allow: &Allow| AllowBody {
        pattern: allow.pattern.to_string(),
        expires_at: allow.expires_at.map(moment::text),
    };
    Agent {
        agent: id.clone(),
        owner: agent.owner.clone(),
        purpose: settings.purpose.clone(),
        groups: settings.groups.clone(),
        allowlist: settings.allowlist.iter().map(allow).collect(),
        expires_at: settings.expires_at.map(moment::text),
        status: agent.status,
        risk: state.risk(id),
        suspended_by: suspended_by(state, &Selector::Agent(id.clone())),
        registered_at: moment::text(agent.registered),
    }
}

/// Register an agent under an owner.
#[utoipa::path(post, path = "/v1/agents", tag = "agents", request_body = NewAgent,
    responses((status = 201, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn create(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Told { body, about }: Told<NewAgent>,
) -> Result<Response, Problem> {
    let name = body.agent.as_deref().unwrap_or_default();
    let command = Command::RegisterAgent(body.write(name)?);
    let outcome = desk.submit(&caller, about, command).await?;
    Ok(created(&outcome, "/v1/agents", name))
}

/// List agents.
#[utoipa::path(get, path = "/v1/agents", tag = "agents", params(PageQuery),
    responses((status = 200, body = Page<Agent>), (status = "default", body = Details)))]
pub(crate) async fn list(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Asked(query): Asked<PageQuery>,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    let span: Span<AgentId> = query.span(LIST)?;
    let page = desk.read(move |state| {
        let agents = page::entries(state.agents(), &span);
        page::take(LIST, span.limit, agents, |id, agent| Some(show(state, id, agent)))
    });
    Ok(json(StatusCode::OK, &page.await?))
}

/// Get one agent. An agent may look at itself.
#[utoipa::path(get, path = "/v1/agents/{id}", tag = "agents", params(("id" = String, Path)),
    responses((status = 200, body = Agent), (status = "default", body = Details)))]
pub(crate) async fn get(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
) -> Result<Response, Problem> {
    let id = AgentId::new(&name)?;
    if !caller.sees()?.shows(Some(&id)) {
        return Err(caller.not_permitted());
    }
    let agent = desk.read(move |state| state.agents().get(&id).map(|a| show(state, &id, a)));
    let unknown = || NOT_FOUND.with(format!("agent `{name}` is not registered"));
    Ok(json(StatusCode::OK, &agent.await?.ok_or_else(unknown)?))
}

/// Replace an agent's settings. Its owner stays.
#[utoipa::path(put, path = "/v1/agents/{id}", tag = "agents", params(("id" = String, Path)),
    request_body = NewAgent,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn update(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body, about }: Told<NewAgent>,
) -> Result<Response, Problem> {
    same(&name, body.agent.as_deref())?;
    let command = Command::UpdateAgent(body.write(&name)?);
    let outcome = desk.submit(&caller, about, command).await?;
    Ok(changed(&outcome, name))
}

/// How far an agent is distrusted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Risk {
    /// From 0 to 100.
    risk: u8,
    /// Why.
    #[serde(default)]
    reason: Option<String>,
}

/// Say how far an agent is distrusted. Policies read it at its very next call.
#[utoipa::path(post, path = "/v1/agents/{id}/risk", tag = "agents",
    params(("id" = String, Path)), request_body = Risk,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn risk(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body, about }: Told<Risk>,
) -> Result<Response, Problem> {
    let (agent, reason) = (AgentId::new(&name)?, text(body.reason.as_deref())?);
    let command = Command::ChangeRisk { agent, to: body.risk, reason };
    let outcome = desk.submit(&caller, about, command).await?;
    Ok(changed(&outcome, name))
}

/// Stop an agent until it is reinstated.
#[utoipa::path(post, path = "/v1/agents/{id}/suspend", tag = "agents",
    params(("id" = String, Path)), request_body = Why,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn suspend(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body, about }: Told<Why>,
) -> Result<Response, Problem> {
    let command = Command::SuspendAgent { agent: AgentId::new(&name)?, reason: body.text()? };
    let outcome = desk.submit(&caller, about, command).await?;
    Ok(changed(&outcome, name))
}

/// Let a suspended agent act again. Grants from before stay ended.
#[utoipa::path(post, path = "/v1/agents/{id}/reinstate", tag = "agents",
    params(("id" = String, Path)), request_body = Why,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn reinstate(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body, about }: Told<Why>,
) -> Result<Response, Problem> {
    let command = Command::ReinstateAgent { agent: AgentId::new(&name)?, reason: body.text()? };
    let outcome = desk.submit(&caller, about, command).await?;
    Ok(changed(&outcome, name))
}

/// End an agent's life. Its id is never given again.
#[utoipa::path(post, path = "/v1/agents/{id}/retire", tag = "agents",
    params(("id" = String, Path)), request_body = Why,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn retire(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body, about }: Told<Why>,
) -> Result<Response, Problem> {
    let command = Command::RetireAgent { agent: AgentId::new(&name)?, reason: body.text()? };
    let outcome = desk.submit(&caller, about, command).await?;
    Ok(changed(&outcome, name))
}

/// Give an agent to another owner. Its grants have ended, its tasks are closed, and what it asked for
/// is turned down; its keys stay.
#[utoipa::path(post, path = "/v1/agents/{id}/reassign", tag = "agents",
    params(("id" = String, Path)), request_body = Reassign,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn reassign(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body, about }: Told<Reassign>,
) -> Result<Response, Problem> {
    let command = Command::ReassignAgent(ReassignAgent {
        agent: AgentId::new(&name)?,
        to: OwnerId::new(&body.to)?,
        reason: text(body.reason.as_deref())?,
    });
    let outcome = desk.submit(&caller, about, command).await?;
    Ok(changed(&outcome, name))
}
