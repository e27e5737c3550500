//! Tasks: what an agent was asked to do.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bailiwick_core::command::{Command, OpenTask};
use bailiwick_core::event::{Fact, TaskOpened};
use bailiwick_core::id::{AgentId, OwnerId, TaskId, Text};
use bailiwick_core::record::Digest;
use bailiwick_core::time::Time;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{Why, text};
use crate::auth::Caller;
use crate::body::{Asked, Named, Told};
use crate::command::{Recorded, changed, created, json};
use crate::desk::{Desk, blocking};
use crate::moment;
use crate::page::{self, Page, PageQuery, Span};
use crate::problem::{Details, NOT_FOUND, Problem};

const LIST: &str = "tasks";

/// A task to be opened.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTask {
    /// Who is asked.
    agent: String,
    /// What sort of task, for comparison with others of its sort.
    #[serde(default)]
    sort: Option<String>,
    /// The words. Only a digest of them, keyed with the ledger's secret, is recorded.
    #[serde(default)]
    statement: Option<String>,
    /// Resources that the statement names; at most 16.
    #[serde(default)]
    targets: Vec<String>,
}

/// A task as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Task {
    /// Its id.
    #[schema(value_type = String)]
    task: TaskId,
    /// Who was asked.
    #[schema(value_type = String)]
    agent: AgentId,
    /// By whom.
    #[schema(value_type = String)]
    owner: OwnerId,
    /// What sort of task.
    #[schema(value_type = Option<String>)]
    sort: Option<Text>,
    /// Digest of the statement, in hexadecimal.
    #[schema(value_type = Option<String>)]
    statement: Option<Digest>,
    /// Resources that the statement names.
    #[schema(value_type = Vec<String>)]
    targets: Vec<Text>,
    /// `open` or `closed`.
    status: &'static str,
    /// When it was opened.
    opened_at: String,
}

/// Which tasks.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TaskQuery {
    /// Those of one agent.
    agent: Option<String>,
    /// The most items to give: 1 to 1,000, 100 if not given.
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

fn show(task: TaskId, opened: &TaskOpened, at: Time, status: &'static str) -> Task {
    Task {
        task,
        agent: opened.agent.clone(),
        owner: opened.owner.clone(),
        sort: opened.sort.clone(),
        statement: opened.statement,
        targets: opened.targets.clone(),
        status,
        opened_at: moment::text(at),
    }
}

/// Open a task; the ledger gives its id.
#[utoipa::path(post, path = "/v1/tasks", tag = "tasks", request_body = NewTask,
    responses((status = 201, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn create(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Told { body, about }: Told<NewTask>,
) -> Result<Response, Problem> {
    let statement = body.statement.map(|words| desk.ledger.commitment(&Value::String(words)));
    let open = OpenTask {
        agent: AgentId::new(&body.agent)?,
        sort: text(body.sort.as_deref())?,
        statement: statement.transpose()?,
        targets: body.targets.iter().map(|target| Text::new(target)).collect::<Result<_, _>>()?,
    };
    let outcome = desk.submit(&caller, about, Command::OpenTask(open)).await?;
    Ok(created(&outcome, "/v1/tasks", TaskId(outcome.done.index).to_string()))
}

/// List open tasks. An agent sees its own.
#[utoipa::path(get, path = "/v1/tasks", tag = "tasks", params(TaskQuery),
    responses((status = 200, body = Page<Task>), (status = "default", body = Details)))]
pub(crate) async fn list(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Asked(query): Asked<TaskQuery>,
) -> Result<Response, Problem> {
    let span = PageQuery { limit: query.limit, cursor: query.cursor };
    let span: Span<TaskId> = span.span(LIST)?;
    let wanted = query.agent.as_deref().map(AgentId::new).transpose()?;
    caller.sees()?;
    let page = desk.read(move |state| {
        let tasks = page::entries(state.tasks(), &span);
        page::take(LIST, span.limit, tasks, |id, task| {
            let agent = &task.opened.agent;
            let shown = caller.sees().is_ok_and(|sight| sight.shows(Some(agent)))
                && wanted.as_ref().is_none_or(|wanted| wanted == agent);
            shown.then(|| show(**id, &task.opened, task.since, "open"))
        })
    });
    Ok(json(StatusCode::OK, &page.await?))
}

/// Get one task, open or closed. An agent sees its own.
#[utoipa::path(get, path = "/v1/tasks/{id}", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = Task), (status = "default", body = Details)))]
pub(crate) async fn get(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
) -> Result<Response, Problem> {
    let id: TaskId = name.parse()?;
    let sight = caller.sees()?;
    let open = desk.read(move |state| {
        state.tasks().get(&id).map(|task| show(id, &task.opened, task.since, "open"))
    });
    let task = match open.await? {
        Some(task) => Some(task),
        // The state lets go of closed tasks; the record does not.
        None => closed(&desk, id).await?,
    };
    let shown = task.filter(|task| sight.shows(Some(&task.agent)));
    let unknown = || NOT_FOUND.with(format!("`{name}` is not a task"));
    Ok(json(StatusCode::OK, &shown.ok_or_else(unknown)?))
}

async fn closed(desk: &Desk, id: TaskId) -> Result<Option<Task>, Problem> {
    let ledger = desk.ledger.clone();
    let events = blocking(move || ledger.events(id.0, 1)).await??;
    Ok(events.first().and_then(|recorded| {
        if let Fact::TaskOpened(opened) = &recorded.event.fact {
            Some(show(id, opened, recorded.place.time, "closed"))
        } else {
            None
        }
    }))
}

/// Close a task: nothing more happens under it.
#[utoipa::path(post, path = "/v1/tasks/{id}/close", tag = "tasks", params(("id" = String, Path)),
    request_body = Why,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn close(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body, about }: Told<Why>,
) -> Result<Response, Problem> {
    let command = Command::CloseTask { task: name.parse()?, reason: body.text()? };
    let outcome = desk.submit(&caller, about, command).await?;
    Ok(changed(&outcome, name))
}
