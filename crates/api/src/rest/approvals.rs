//! Approvals: what waits for people, shown to them as the ledger has it, and their answers.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bailiwick_core::approval::what_is_shown;
use bailiwick_core::command::{Command, Done};
use bailiwick_core::event::{Actor, Role, Scope};
use bailiwick_core::id::{Action, AgentId, ApprovalId, GrantId, GrantRequestId, OwnerId, TaskId};
use bailiwick_core::record::Digest;
use bailiwick_core::state::{self, ApprovalStatus};
use bailiwick_core::time::Time;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Why, text};
use crate::auth::{Caller, READERS};
use crate::body::{Asked, Named, Told};
use crate::command::{Recorded, changed, json};
use crate::desk::Desk;
use crate::moment;
use crate::page::{self, Page, PageQuery, Span};
use crate::problem::{Details, INVALID_QUERY, NOT_FOUND, Problem, WRONG_STATE};

mod wait;

const LIST: &str = "approvals";
/// Kind of the event that says that an approval is over.
const EXPIRED: u16 = 103;

/// Which approvals.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ApprovalQuery {
    /// `pending`, `granted`, `denied`, `expired` or `withdrawn`.
    status: Option<String>,
    /// Of this agent only.
    agent: Option<String>,
    /// The most items to give: 1 to 1,000, 100 if not given.
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// How long to wait for people.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WaitQuery {
    /// Answers when people have, or after so long with what is pending still: `30s`, at most `60s`.
    wait: Option<String>,
}

/// An approval as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Approval {
    /// Its id.
    #[schema(value_type = String)]
    approval: ApprovalId,
    /// `pending`, `granted`, `denied`, `expired` or `withdrawn`.
    status: &'static str,
    /// Why nobody can answer it any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    /// Who asks; none when an owner does in person.
    #[schema(value_type = Option<String>)]
    agent: Option<AgentId>,
    /// On whose authority.
    #[schema(value_type = String)]
    owner: OwnerId,
    /// For which task.
    #[schema(value_type = Option<String>)]
    task: Option<TaskId>,
    /// To do what.
    #[schema(value_type = String)]
    action: Action,
    /// To what.
    #[schema(value_type = String)]
    scope: Scope,
    /// The request for a grant that led to it.
    #[schema(value_type = Option<String>)]
    request: Option<GrantRequestId>,
    /// Who has to say yes, such as `2 of group:security`; every rule has to be met.
    needs: Vec<String>,
    /// What people have said.
    answers: Vec<Said>,
    /// When it was asked.
    asked_at: String,
    /// Until when it may be answered.
    expires_at: String,
    /// When it ended.
    ended_at: Option<String>,
    /// The grant that came of it.
    #[schema(value_type = Option<String>)]
    grant: Option<GrantId>,
    /// Digest of what people are shown; an approval names it.
    #[schema(value_type = String)]
    shown: Digest,
    /// What people are shown.
    view: View,
}

/// What one person said.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApprovalAnswer)]
struct Said {
    /// Who.
    #[schema(value_type = String)]
    by: OwnerId,
    /// Whether it was a yes.
    approved: bool,
    /// When.
    at: String,
    /// In their words.
    reason: Option<String>,
}

/// What people are shown: lines from the record, and apart from them what the caller says.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApprovalView)]
struct View {
    /// In this order.
    lines: Vec<Line>,
    /// Why, in the caller's own words, which nobody has checked: to be shown last and marked.
    own_words: Option<String>,
}

/// One line.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApprovalLine)]
struct Line {
    /// What it is about.
    name: String,
    /// What it says; characters that would not be seen are escaped.
    value: String,
}

/// A yes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Yes {
    /// Digest of what the approver was shown, in hexadecimal.
    shown: String,
    /// Words for people.
    #[serde(default)]
    reason: Option<String>,
}

/// The answer to a yes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Approved {
    #[serde(flatten)]
    recorded: Recorded,
    /// `granted`, or `pending` while others have to say yes.
    status: &'static str,
    /// The grant that was issued.
    #[schema(value_type = Option<String>)]
    grant: Option<GrantId>,
}

/// Whose approvals a caller may see.
#[derive(Debug, Clone)]
enum Sight {
    All,
    Agent(AgentId),
    /// Those that the person who holds the key can answer with a yes or a no.
    Answerable(Actor),
}

impl Sight {
    fn of(caller: &Caller) -> Result<Self, Problem> {
        match (caller.role, &caller.agent) {
            (Role::Agent, Some(agent)) => Ok(Self::Agent(agent.clone())),
            (Role::Approver, _) => Ok(Self::Answerable(caller.actor())),
            _ => caller.needs(READERS).map(|()| Self::All),
        }
    }

    /// Enforcement points wait for what they asked for, by its id.
    fn of_one(caller: &Caller) -> Result<Self, Problem> {
        if caller.role == Role::Enforcer { Ok(Self::All) } else { Self::of(caller) }
    }

    fn shows(&self, state: &state::State, approval: &state::Approval, now: Time) -> bool {
        match self {
            Self::All => true,
            Self::Agent(own) => approval.asked.call.agent.as_ref() == Some(own),
            Self::Answerable(actor) => {
                let person = state.person(actor);
                person.is_some_and(|person| state.may_turn_down(person, approval, now))
            }
        }
    }
}

/// List approvals: all for those who read, its own for an agent, and for an approver those that the
/// person can answer. What ended is listed for an hour at least, unless too much did.
#[utoipa::path(get, path = "/v1/approvals", tag = "approvals", params(ApprovalQuery),
    responses((status = 200, body = Page<Approval>), (status = "default", body = Details)))]
pub(crate) async fn list(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Asked(query): Asked<ApprovalQuery>,
) -> Result<Response, Problem> {
    let sight = Sight::of(&caller)?;
    let status = query.status.as_deref().map(status_of).transpose()?;
    let agent: Option<AgentId> = query.agent.as_deref().map(AgentId::new).transpose()?;
    let span: Span<ApprovalId> =
        PageQuery { limit: query.limit, cursor: query.cursor }.span(LIST)?;
    let now = desk.ledger.now();
    let page = desk.read(move |state| {
        let approvals = state.approvals().after(span.after);
        page::take(LIST, span.limit, approvals, |id, approval| {
            let (known, _) = standing(state, *id, approval, now);
            let fits = status.is_none_or(|status| status == known)
                && agent.as_ref().is_none_or(|a| approval.asked.call.agent.as_ref() == Some(a))
                && sight.shows(state, approval, now);
            fits.then(|| show(state, *id, approval, now))
        })
    });
    Ok(json(StatusCode::OK, &page.await?))
}

fn status_of(text: &str) -> Result<ApprovalStatus, Problem> {
    let all = [
        ApprovalStatus::Pending,
        ApprovalStatus::Granted,
        ApprovalStatus::Denied,
        ApprovalStatus::Expired,
        ApprovalStatus::Withdrawn,
    ];
    all.into_iter().find(|status| status.as_str() == text).ok_or_else(|| {
        let names = all.map(ApprovalStatus::as_str).join("`, `");
        INVALID_QUERY.with(format!("`status` is one of `{names}`"))
    })
}

/// Get an approval with what people are shown of it; with `wait`, once it is answered.
#[utoipa::path(get, path = "/v1/approvals/{id}", tag = "approvals",
    params(("id" = String, Path), WaitQuery),
    responses((status = 200, body = Approval), (status = "default", body = Details)))]
pub(crate) async fn get(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Asked(query): Asked<WaitQuery>,
) -> Result<Response, Problem> {
    let id: ApprovalId = name.parse()?;
    let sight = Sight::of_one(&caller)?;
    let approval = match wait::limit(query.wait.as_deref())? {
        Some(limit) => wait::until_answered(&desk, &caller, id, sight, limit).await?,
        None => read(&desk, id, sight).await?,
    };
    Ok(json(StatusCode::OK, &approval))
}

/// The approval, if the caller may see it.
async fn read(desk: &Desk, id: ApprovalId, sight: Sight) -> Result<Approval, Problem> {
    let now = desk.ledger.now();
    let found = desk.read(move |state| {
        let approval = state.approvals().get(id).filter(|known| sight.shows(state, known, now));
        approval.map(|approval| show(state, id, approval, now))
    });
    found.await?.ok_or_else(|| NOT_FOUND.with(format!("`{id}` is not known, or ended long ago")))
}

/// Where an approval stands at `now`, recorded or not, and why it cannot be answered any more.
fn standing(
    state: &state::State,
    id: ApprovalId,
    approval: &state::Approval,
    now: Time,
) -> (ApprovalStatus, Option<&'static str>) {
    match (approval.status, state.check_approval(id, approval, now)) {
        (ApprovalStatus::Pending, Err(why)) => (ApprovalStatus::Expired, Some(why)),
        (status, _) => (status, None),
    }
}

fn show(state: &state::State, id: ApprovalId, known: &state::Approval, now: Time) -> Approval {
    let asked = &known.asked;
    let (status, why) = standing(state, id, known, now);
    let shown = what_is_shown(asked);
    let lines = shown.lines.into_iter().map(|line| Line { name: line.name, value: line.value });
    let answers = known.said.iter().map(|said| Said {
        by: said.by.clone(),
        approved: said.yes,
        at: moment::text(said.at),
        reason: said.reason.as_ref().map(ToString::to_string),
    });
    Approval {
        approval: id,
        status: status.as_str(),
        why,
        agent: asked.call.agent.clone(),
        owner: asked.owner.clone(),
        task: asked.call.task,
        action: asked.call.action.clone(),
        scope: asked.scope.clone(),
        request: asked.request,
        needs: asked.needs.iter().map(ToString::to_string).collect(),
        answers: answers.collect(),
        asked_at: moment::text(known.since),
        expires_at: moment::text(asked.expires_at),
        ended_at: known.ended.map(moment::text),
        grant: known.grant,
        shown: asked.shown,
        view: View { lines: lines.collect(), own_words: shown.words },
    }
}

/// Say yes to what was shown, as the person who holds the key. The last yes that is needed issues
/// the grant, whose time begins then.
#[utoipa::path(post, path = "/v1/approvals/{id}/approve", tag = "approvals",
    params(("id" = String, Path)), request_body = Yes,
    responses((status = 200, body = Approved), (status = "default", body = Details)))]
pub(crate) async fn approve(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body, about }: Told<Yes>,
) -> Result<Response, Problem> {
    let (approval, shown) = (name.parse()?, body.shown.parse()?);
    let reason = text(body.reason.as_deref())?;
    let command = Command::Approve { approval, shown, reason };
    let outcome = desk.submit(&caller, about, command).await?;
    let Done { kind, grant, .. } = outcome.done;
    if kind == EXPIRED {
        let why = format!("what `{name}` stood on is gone, and that is recorded: ask again");
        return Err(WRONG_STATE.with(why));
    }
    let status = if grant.is_some() { "granted" } else { "pending" };
    Ok(json(StatusCode::OK, &Approved { recorded: outcome.recorded(name), status, grant }))
}

/// Say no, which ends it: the same call is denied as long as people could have answered.
#[utoipa::path(post, path = "/v1/approvals/{id}/deny", tag = "approvals",
    params(("id" = String, Path)), request_body = Why,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn deny(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body, about }: Told<Why>,
) -> Result<Response, Problem> {
    let command = Command::DenyApproval { approval: name.parse()?, reason: body.text()? };
    let outcome = desk.submit(&caller, about, command).await?;
    Ok(changed(&outcome, name))
}

/// Ask no more: an agent what it asked for itself, an enforcement point for any of them.
#[utoipa::path(post, path = "/v1/approvals/{id}/withdraw", tag = "approvals",
    params(("id" = String, Path)), request_body = Why,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn withdraw(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body, about }: Told<Why>,
) -> Result<Response, Problem> {
    let command = Command::WithdrawApproval { approval: name.parse()?, reason: body.text()? };
    let outcome = desk.submit(&caller, about, command).await?;
    Ok(changed(&outcome, name))
}
