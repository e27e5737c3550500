//! Searches: who may, on what, to do what (AuthZEN 1.0, section 8). They look and record nothing; what
//! they find would be allowed if it were asked for now.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use bailiwick_core::command::{Authorize, Subject};
use bailiwick_core::decide::would_allow;
use bailiwick_core::event::{Entity, Role};
use bailiwick_core::id::{Action, AgentId, OwnerId, Resource};
use bailiwick_core::state;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::members::Members;
use super::question::{self, Asked};
use super::{answered, reading};
use crate::auth::Caller;
use crate::body;
use crate::command;
use crate::desk::Desk;
use crate::page;
use crate::problem::{INVALID_BODY, INVALID_CURSOR, INVALID_QUERY, Problem};

/// Who may look for what others may do.
const SEEKERS: &[Role] = &[Role::Admin, Role::Operator, Role::Enforcer, Role::Auditor];
/// Candidates that are decided about before others may have the state again.
const PIECE: usize = 64;
/// The most pieces for one page; a search that finds few of many goes on in the next.
const PIECES_MAX: usize = 32;
/// The subject type of agents; every other one that is known is a person's.
const AGENT: &str = "agent";
/// Stands where a search leaves an id open, until a candidate takes its place.
const OPEN: &str = "-";

/// What is found.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Found {
    /// Subjects or resources (`type`, `id`) or actions (`name`).
    #[schema(value_type = Vec<Object>)]
    results: Vec<Value>,
    /// Where to go on.
    page: NextPage,
}

/// Where to go on.
#[derive(Debug, Serialize, ToSchema)]
struct NextPage {
    /// Send it as `page.token` with the same question; empty after the last page.
    next_token: String,
    /// How many results this page has.
    count: usize,
}

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sought {
    Subject,
    Resource,
    Action,
}

/// Who may do an action to a resource.
#[utoipa::path(post, path = "/access/v1/search/subject", tag = "authzen",
    request_body = question::Evaluation,
    responses((status = 200, body = Found),
        (status = "4XX", body = String, content_type = "text/plain")))]
pub(crate) async fn subject(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    search(desk, request, Sought::Subject).await
}

/// To what a subject may do an action, of the resources that are known.
#[utoipa::path(post, path = "/access/v1/search/resource", tag = "authzen",
    request_body = question::Evaluation,
    responses((status = 200, body = Found),
        (status = "4XX", body = String, content_type = "text/plain")))]
pub(crate) async fn resource(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    search(desk, request, Sought::Resource).await
}

/// What a subject may do to a resource, of the actions that policies name.
#[utoipa::path(post, path = "/access/v1/search/action", tag = "authzen",
    request_body = question::Evaluation,
    responses((status = 200, body = Found),
        (status = "4XX", body = String, content_type = "text/plain")))]
pub(crate) async fn action(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    search(desk, request, Sought::Action).await
}

async fn search(desk: Arc<Desk>, request: Request, sought: Sought) -> Response {
    let found = async |parts: &Parts, body: Body| {
        let caller = Caller::in_good_standing(&desk, &parts.headers).await?;
        let bytes = body::read(body).await?;
        let body = body::json(&parts.headers, &bytes)?;
        caller.needs(SEEKERS)?;
        let found = find(&desk, (&caller, parts), body, sought).await?;
        Ok(command::json(StatusCode::OK, &found))
    };
    answered(request, found).await
}

/// A search, understood.
#[derive(Clone)]
struct Search {
    authorize: Box<Authorize>,
    /// The type of what is sought, as the caller calls it.
    kind: String,
    after: Option<String>,
    limit: usize,
}

async fn find(
    desk: &Desk,
    (caller, parts): (&Caller, &Parts),
    body: Value,
    sought: Sought,
) -> Result<Found, Problem> {
    let mut body = Members::of_body(body)?;
    let page = body.object("page", "page")?;
    let question = fingerprint(&body, sought);
    let (after, limit) = span(desk, page, &question)?;
    let kind = open(&mut body, sought)?;
    let commit = |arguments: &_| desk.ledger.commitment(arguments);
    let asked = question::read(body, reading(desk, caller, parts), commit)?;
    let Asked::Question(question::Question { authorize, .. }) = asked else {
        return Ok(Found {
            results: Vec::new(),
            page: NextPage { next_token: String::new(), count: 0 },
        });
    };
    let mut search = Search { authorize, kind, after, limit };
    let now = desk.ledger.now();
    let (mut results, mut next) = (Vec::new(), None);
    // In pieces, between which others may have the state.
    for _ in 0..PIECES_MAX {
        let asked = search.clone();
        let (found, last) = desk
            .read(move |state| match sought {
                Sought::Subject => subjects(state, asked, now),
                Sought::Resource => resources(state, asked, now),
                Sought::Action => actions(state, asked, now),
            })
            .await?;
        search.limit -= found.len();
        results.extend(found);
        search.after.clone_from(&last);
        next = last;
        if next.is_none() || search.limit == 0 {
            break;
        }
    }
    let next_token = next.map_or_else(String::new, |after| token(desk, &question, &after));
    let count = results.len();
    Ok(Found { results, page: NextPage { next_token, count } })
}

/// Leaves open what is sought, whatever the caller put there, and gives its type.
fn open(body: &mut Members, sought: Sought) -> Result<String, Problem> {
    match sought {
        Sought::Action => {
            body.set("action", json!({"name": OPEN}));
            Ok(String::new())
        }
        Sought::Subject | Sought::Resource => {
            let name = if sought == Sought::Subject { "subject" } else { "resource" };
            let mut entity = body.needed_object(name)?;
            let properties = entity.any("properties");
            let kind = entity.needed_text("type")?;
            let mut left = json!({"type": kind, "id": OPEN});
            if let Some(properties) = properties {
                left["properties"] = properties;
            }
            body.set(name, left);
            Ok(kind)
        }
    }
}

type Results = (Vec<Value>, Option<String>);

/// Decides about candidates in their order until the page is full or the piece is done.
fn filter(
    state: &state::State,
    mut search: Search,
    now: bailiwick_core::time::Time,
    candidates: impl Iterator<Item = (String, Value)>,
    mut put: impl FnMut(&mut Authorize, &str) -> bool,
) -> Results {
    let (mut results, mut last) = (Vec::new(), None);
    for (looked_at, (id, shown)) in candidates.enumerate() {
        if results.len() == search.limit || looked_at == PIECE {
            return (results, last);
        }
        if put(&mut search.authorize, &id) && would_allow(state, &search.authorize, now).is_ok() {
            results.push(shown);
        }
        last = Some(id);
    }
    (results, None)
}

fn subjects(state: &state::State, search: Search, now: bailiwick_core::time::Time) -> Results {
    let kind = search.kind.clone();
    let shown = |id: &str| json!({"type": kind, "id": id});
    let after = search.after.clone().map_or(Bound::Unbounded, Bound::Excluded);
    let through = match &search.authorize.subject {
        // Of people who act through an agent, its owner and the owner's delegates may.
        Subject::Agent(_) => kind != AGENT,
        Subject::Person(_) => false,
    };
    match search.authorize.subject {
        Subject::Agent(_) if !through => {
            let all = state.agents().range::<str, _>((as_str(&after), Bound::Unbounded));
            let all = all.map(|(id, _)| (id.to_string(), shown(id.as_str())));
            filter(state, search, now, all, |ask, id| {
                AgentId::new(id).map(|id| ask.subject = Subject::Agent(id)).is_ok()
            })
        }
        Subject::Agent(_) | Subject::Person(_) => {
            let all = state.owners().range::<str, _>((as_str(&after), Bound::Unbounded));
            let all = all.map(|(id, _)| (id.to_string(), shown(id.as_str())));
            filter(state, search, now, all, |ask, id| {
                let Ok(id) = OwnerId::new(id) else { return false };
                if through {
                    ask.on_behalf_of = Some(id);
                } else {
                    ask.subject = Subject::Person(id);
                }
                true
            })
        }
    }
}

fn as_str(bound: &Bound<String>) -> Bound<&str> {
    bound.as_ref().map(String::as_str)
}

/// Of the resources with properties, those of the type that is sought.
fn resources(state: &state::State, search: Search, now: bailiwick_core::time::Time) -> Results {
    let kind = search.kind.clone();
    let prefix = format!("{kind}://");
    let from = search.after.clone().map_or_else(|| prefix.clone(), |id| format!("{prefix}{id}"));
    let Ok(from) = Resource::new(&from).map(Entity::Resource) else { return (Vec::new(), None) };
    let from = if search.after.is_some() { Bound::Excluded(from) } else { Bound::Included(from) };
    let all = state.entities().range((from, Bound::Unbounded));
    let all = all.map_while(|(entity, _)| match entity {
        Entity::Resource(uri) => uri.as_str().strip_prefix(&prefix),
        Entity::Owner(_) | Entity::Agent(_) => None,
    });
    let all = all.map(|id| (id.to_owned(), json!({"type": kind, "id": id})));
    let prefix = prefix.clone();
    filter(state, search, now, all, move |ask, id| {
        Resource::new(&format!("{prefix}{id}")).map(|uri| ask.resource = uri).is_ok()
    })
}

fn actions(state: &state::State, search: Search, now: bailiwick_core::time::Time) -> Results {
    let view = state.view();
    let after = search.after.clone().unwrap_or_default();
    let all: BTreeSet<String> = view.policies().actions().map(str::to_owned).collect();
    let all = all.into_iter().filter(move |name| *name > after);
    let all = all.map(|name| (name.clone(), json!({"name": name})));
    filter(state, search, now, all, |ask, name| {
        Action::new(name).map(|name| ask.action = name).is_ok()
    })
}

/// What a page's token is good for: this search and no other.
fn fingerprint(body: &Members, sought: Sought) -> String {
    let parts = ["subject", "action", "resource", "context"].map(|name| body.peek(name));
    let text = serde_json::to_string(&parts).unwrap_or_default();
    format!("{sought:?} {text}")
}

/// A token holds the last id that was looked at, under a keyed hash: it is this ledger's own, and of
/// this very search.
fn token(desk: &Desk, question: &str, after: &str) -> String {
    let seal = desk.ledger.seal(&format!("authzen search {question} {after}"));
    format!("{seal}{}", hex::encode(after))
}

fn span(
    desk: &Desk,
    page: Option<Members>,
    question: &str,
) -> Result<(Option<String>, usize), Problem> {
    let Some(mut page) = page else { return Ok((None, page::LIMIT)) };
    let limit = match page.any("limit") {
        None => page::LIMIT,
        Some(value) => {
            let limit = value.as_u64().and_then(|limit| usize::try_from(limit).ok());
            let limit = limit.ok_or_else(|| INVALID_BODY.with("`page.limit` is not a number"))?;
            page::limit(Some(limit.min(page::LIMIT_MAX)))
                .map_err(|_| INVALID_QUERY.with("`page.limit` is 0; ask for one result or more"))?
        }
    };
    let Some(text) = page.text("token")?.filter(|token| !token.is_empty()) else {
        return Ok((None, limit));
    };
    let foreign = || INVALID_CURSOR.with("`page.token` is not of this search");
    let (_, encoded) = text.split_at_checked(64).ok_or_else(foreign)?;
    let after = hex::decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let after = after.ok_or_else(foreign)?;
    if token(desk, question, &after) != text {
        return Err(foreign());
    }
    Ok((Some(after), limit))
}
