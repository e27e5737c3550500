//! Grants: issued by operators, listed, handed back. Requests for them are in `requests`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bailiwick_core::command::{Command, IssueGrant, RequestGrant};
use bailiwick_core::event::{Constraint, Issuance, Scope};
use bailiwick_core::id::{Action, AgentId, GrantId, OwnerId, TaskId, ToolId};
use bailiwick_core::state::{self, Holder};
use bailiwick_core::time::Time;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Why, text};
use crate::auth::{Caller, Sight};
use crate::body::{Asked, Named, Told};
use crate::command::{Recorded, changed, created, json};
use crate::desk::Desk;
use crate::moment;
use crate::page::{self, Page, PageQuery, Span};
use crate::problem::{Details, INVALID_BODY, NOT_FOUND, Problem};

pub(crate) mod delegations;
pub(crate) mod requests;
pub(crate) mod reviews;

const LIST: &str = "grants";

/// A grant to be issued, or asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewGrant {
    /// Who is to hold it.
    agent: String,
    /// For which task only.
    #[serde(default)]
    task: Option<String>,
    /// To do what.
    action: String,
    /// To what: one resource such as `crm://case/1234`, or all below a prefix as `crm://case/**`.
    scope: String,
    /// How long it is good for, such as `5m`; 5 minutes if not given.
    #[serde(default)]
    ttl: Option<String>,
    /// How often it may be used; once if not given.
    #[serde(default)]
    max_uses: Option<u32>,
    /// Why.
    #[serde(default)]
    justification: Option<String>,
    /// What a call's arguments have to be, all of it.
    #[serde(default)]
    #[schema(value_type = Vec<ConstraintBody>)]
    constraints: Vec<Constraint>,
    /// From when, RFC 3339; from now if not given. Not with requests.
    #[serde(default)]
    not_before: Option<String>,
    /// The request it answers. Not with requests.
    #[serde(default)]
    request: Option<String>,
}

/// What one argument of a call has to be for a grant to cover the call. One that is not there, or of
/// another type, is not covered.
#[derive(Debug, ToSchema)]
#[schema(as = Constraint)]
#[expect(dead_code, reason = "describes the event's type in the OpenAPI document")]
pub(crate) struct ConstraintBody {
    /// Where it stands: a JSON pointer (RFC 6901) into the arguments, such as `/path`.
    at: String,
    /// What it has to be.
    must: MustBody,
}

/// What an argument may be: an object with one member.
#[derive(Debug, ToSchema)]
#[schema(as = Must, rename_all = "snake_case")]
#[expect(dead_code, reason = "describes the event's type in the OpenAPI document")]
pub(crate) enum MustBody {
    /// Exactly this: a text, a whole number, true or false.
    Equal(serde_json::Value),
    /// One of these.
    OneOf(Vec<serde_json::Value>),
    /// A text that begins so. As a path it stays below: one with a `.` or `..` segment, a backslash or
    /// either of them percent-encoded does not meet it.
    Prefix(String),
    /// A whole number of at most this much.
    Max(i64),
}

impl NewGrant {
    fn terms(&self) -> Result<RequestGrant, Problem> {
        Ok(RequestGrant {
            agent: AgentId::new(&self.agent)?,
            task: self.task.as_deref().map(str::parse).transpose()?,
            action: Action::new(&self.action)?,
            scope: self.scope.parse()?,
            ttl: self.ttl.as_deref().map(str::parse).transpose()?,
            max_uses: self.max_uses,
            justification: text(self.justification.as_deref())?,
            constraints: self.constraints.clone(),
        })
    }

    /// The terms of a request, which has neither a beginning nor a request that it answers.
    fn request(&self) -> Result<RequestGrant, Problem> {
        if self.not_before.is_some() || self.request.is_some() {
            return Err(INVALID_BODY.with("a request has no `not_before` and no `request`"));
        }
        self.terms()
    }
}

/// A grant as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Grant {
    /// Its id.
    #[schema(value_type = String)]
    grant: GrantId,
    /// Who holds it; none when an owner holds it in person.
    #[schema(value_type = Option<String>)]
    agent: Option<AgentId>,
    /// Whose authority.
    #[schema(value_type = String)]
    owner: OwnerId,
    /// For which task only.
    #[schema(value_type = Option<String>)]
    task: Option<TaskId>,
    /// Through which tool only.
    #[schema(value_type = Option<String>)]
    tool: Option<ToolId>,
    /// To do what.
    #[schema(value_type = String)]
    action: Action,
    /// To what.
    #[schema(value_type = String)]
    scope: Scope,
    /// From when.
    not_before: String,
    /// Until when.
    expires_at: String,
    /// How often.
    max_uses: u32,
    /// How often it was used.
    uses: u32,
    /// Uses left.
    uses_left: u32,
    /// What a call's arguments have to be.
    #[schema(value_type = Vec<ConstraintBody>)]
    constraints: Vec<Constraint>,
    /// How it came to be.
    #[schema(value_type = String)]
    issuance: Issuance,
    /// The grant that it was delegated from, and dies with.
    #[schema(value_type = Option<String>)]
    parent: Option<GrantId>,
    /// Whether it is good now.
    live: bool,
    /// `live`, or the code that says why it is not.
    status: &'static str,
}

/// Which grants.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct GrantQuery {
    /// Those that one agent holds.
    agent: Option<String>,
    /// Those of one task.
    task: Option<String>,
    /// Those that are good now, or those that are not.
    live: Option<bool>,
    /// The most items to give: 1 to 1,000, 100 if not given.
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

const fn agent_of(grant: &state::Grant) -> Option<&AgentId> {
    match &grant.holder {
        Holder::Agent(agent) => Some(agent),
        Holder::Owner(_) => None,
    }
}

fn show(state: &state::State, id: GrantId, grant: &state::Grant, now: Time) -> Grant {
    let standing = state.check_grant(id, grant, now);
    // Whatever it was delegated from has to have uses left as well.
    let line = state.grants().lineage(id).filter_map(|(_, grant)| grant);
    let uses_left = line.map(|grant| grant.max_uses.saturating_sub(grant.uses)).min();
    Grant {
        grant: id,
        agent: agent_of(grant).cloned(),
        owner: grant.owner.clone(),
        task: grant.task,
        tool: grant.tool.clone(),
        action: grant.action.clone(),
        scope: grant.scope.clone(),
        not_before: moment::text(grant.not_before),
        expires_at: moment::text(grant.expires_at),
        max_uses: grant.max_uses,
        uses: grant.uses,
        uses_left: uses_left.unwrap_or(0),
        constraints: grant.constraints().to_vec(),
        issuance: grant.issuance,
        parent: grant.parent(),
        live: standing.is_ok(),
        status: standing.map_or_else(|code| code.as_str(), |()| "live"),
    }
}

/// Issue a grant as an operator. Policy is asked again at every use.
#[utoipa::path(post, path = "/v1/grants", tag = "grants", request_body = NewGrant,
    responses((status = 201, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn create(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Told { body, about }: Told<NewGrant>,
) -> Result<Response, Problem> {
    let issue = IssueGrant {
        terms: body.terms()?,
        not_before: body.not_before.as_deref().map(moment::parse).transpose()?,
        request: body.request.as_deref().map(str::parse).transpose()?,
    };
    let outcome = desk.submit(&caller, about, Command::IssueGrant(issue)).await?;
    Ok(created(&outcome, "/v1/grants", GrantId(outcome.done.index).to_string()))
}

/// List grants that are live or ended a short while ago; older ones are in SQL. An agent sees its
/// own.
#[utoipa::path(get, path = "/v1/grants", tag = "grants", params(GrantQuery),
    responses((status = 200, body = Page<Grant>), (status = "default", body = Details)))]
pub(crate) async fn list(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Asked(query): Asked<GrantQuery>,
) -> Result<Response, Problem> {
    let span: Span<GrantId> = PageQuery { limit: query.limit, cursor: query.cursor }.span(LIST)?;
    let agent = query.agent.as_deref().map(AgentId::new).transpose()?;
    let task: Option<TaskId> = query.task.as_deref().map(str::parse).transpose()?;
    let agent = match caller.sees()? {
        Sight::All => agent,
        Sight::Own(own) if agent.as_ref().is_none_or(|agent| agent == own) => Some(own.clone()),
        Sight::Own(_) => return Err(caller.not_permitted()),
    };
    let now = desk.ledger.now();
    let page = desk.read(move |state| {
        page::take(LIST, span.limit, state.grants().after(span.after), |id, grant| {
            let wanted = agent.as_ref().is_none_or(|agent| agent_of(grant) == Some(agent))
                && task.is_none_or(|task| grant.task == Some(task))
                && query.live.is_none_or(|l| l == state.check_grant(*id, grant, now).is_ok());
            wanted.then(|| show(state, *id, grant, now))
        })
    });
    Ok(json(StatusCode::OK, &page.await?))
}

/// Get one grant that is live or ended a short while ago. An agent sees its own.
#[utoipa::path(get, path = "/v1/grants/{id}", tag = "grants", params(("id" = String, Path)),
    responses((status = 200, body = Grant), (status = "default", body = Details)))]
pub(crate) async fn get(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
) -> Result<Response, Problem> {
    let id: GrantId = name.parse()?;
    let sight = caller.sees()?;
    let now = desk.ledger.now();
    let grant = desk.read(move |state| state.grants().get(id).map(|g| show(state, id, g, now)));
    let shown = grant.await?.filter(|grant| sight.shows(grant.agent.as_ref()));
    let unknown = || NOT_FOUND.with(format!("`{name}` is not live and did not end lately"));
    Ok(json(StatusCode::OK, &shown.ok_or_else(unknown)?))
}

/// Hand a grant back early.
#[utoipa::path(post, path = "/v1/grants/{id}/return", tag = "grants",
    params(("id" = String, Path)), request_body = Why,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn give_back(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body, about }: Told<Why>,
) -> Result<Response, Problem> {
    body.text()?;
    let command = Command::ReturnGrant { grant: name.parse()? };
    let outcome = desk.submit(&caller, about, command).await?;
    Ok(changed(&outcome, name))
}
