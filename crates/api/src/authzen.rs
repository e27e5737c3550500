//! AuthZEN 1.0: decisions, one or many, and searches. This is the hot path: one keyed hash and one
//! look-up authenticate, the body is parsed once, and nothing stands between the route and the ledger.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bailiwick_core::command::{Authorize, Command, Subject, Submission};
use bailiwick_core::event::Role;
use bailiwick_core::id::RequestId;
use serde_json::json;

use crate::auth::Caller;
use crate::body;
use crate::command;
use crate::desk::Desk;
use crate::problem::Problem;

mod answer;
mod batch;
mod members;
mod question;
pub(crate) mod search;

use answer::Body as Decided;
use members::Members;
use question::{Asked, Reading};

/// Subject types that are people unless configured otherwise. `agent` is always an agent.
pub const PERSON_TYPES: [&str; 4] = ["owner", "person", "user", "identity"];

/// Who asks for decisions: enforcement points about anyone, an agent about itself.
const ASKERS: &[Role] = &[Role::Admin, Role::Enforcer, Role::Agent];
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How long callers may keep the metadata, in seconds.
const METADATA_AGE: &str = "max-age=300";

/// Decide one call: record it, issue a grant just in time where policy says so, and use it.
#[utoipa::path(post, path = "/access/v1/evaluation", tag = "authzen",
    request_body = question::Evaluation,
    responses(
        (status = 200, body = answer::Decision),
        (status = "4XX", body = String, content_type = "text/plain",
            description = "no decision; the body is a message that begins with a stable code")))]
pub(crate) async fn evaluation(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    answered(request, async |parts, body| evaluate(&desk, parts, body).await).await
}

/// Decide several calls, each by itself and in order: all of them, or until the first denial or the
/// first permit. Members at the top are defaults for every question.
#[utoipa::path(post, path = "/access/v1/evaluations", tag = "authzen",
    request_body = batch::Evaluations,
    responses(
        (status = 200, body = batch::Decisions),
        (status = "4XX", body = String, content_type = "text/plain",
            description = "no decision; the body is a message that begins with a stable code")))]
pub(crate) async fn evaluations(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    answered(request, async |parts, body| batch::evaluate(&desk, parts, body).await).await
}

/// An answer that carries the caller's request id, whatever it is.
async fn answered(
    request: Request,
    answer: impl AsyncFnOnce(&Parts, Body) -> Result<Response, Problem>,
) -> Response {
    let (parts, body) = request.into_parts();
    let mut response = match answer(&parts, body).await {
        Ok(response) => response,
        Err(problem) => problem.into_message(),
    };
    if let Some(id) = parts.headers.get(X_REQUEST_ID) {
        response.headers_mut().insert(X_REQUEST_ID, id.clone());
    }
    response
}

async fn evaluate(desk: &Desk, parts: &Parts, body: Body) -> Result<Response, Problem> {
    let asking = Asking::of(desk, parts, body::read(body).await?).await?;
    let value = body::json(&parts.headers, &asking.bytes)?;
    Ok(answer::alone(&asking.decide(Members::of_body(value)?, None).await?))
}

/// One request for decisions.
struct Asking<'a> {
    desk: &'a Desk,
    parts: &'a Parts,
    caller: Caller,
    bytes: Bytes,
}

impl<'a> Asking<'a> {
    async fn of(desk: &'a Desk, parts: &'a Parts, bytes: Bytes) -> Result<Self, Problem> {
        let caller = Caller::of(desk, &parts.headers).await?;
        caller.needs(ASKERS)?;
        Ok(Self { desk, parts, caller, bytes })
    }

    /// Decides one question; `number` is its place in a batch.
    async fn decide(&self, body: Members, number: Option<usize>) -> Result<Decided, Problem> {
        let (desk, parts) = (self.desk, self.parts);
        let commit = |arguments: &_| desk.ledger.commitment(arguments);
        let mut question = match question::read(body, reading(desk, &self.caller, parts), commit)? {
            Asked::Question(question) => question,
            Asked::OfNobody(kind) => return answer::of_nobody(&kind),
        };
        permitted(&self.caller, &question.authorize)?;
        self.caller.sign(&mut question.authorize);
        let id = question::call_id(question.call_id, body::header_id(&parts.headers)?)?;
        let id = id.map(|id| in_batch(&id, number)).transpose()?;
        let submission = Submission {
            actor: self.caller.actor(),
            request: body::request_key(parts, &self.bytes, id),
            trace: body::trace(&parts.headers),
            command: Command::Authorize(question.authorize),
        };
        answer::of(desk.ledger.submit(submission).await)
    }
}

/// How a caller's questions are read.
fn reading<'a>(desk: &'a Desk, caller: &Caller, parts: &'a Parts) -> Reading<'a> {
    Reading {
        person_types: &desk.settings.person_types,
        is_believed: matches!(caller.role, Role::Admin | Role::Enforcer),
        request_id: parts.headers.get(X_REQUEST_ID).and_then(|id| id.to_str().ok()),
    }
}

/// The id of one question: in a batch, with its place, since many may have been given the same.
fn in_batch(id: &RequestId, number: Option<usize>) -> Result<RequestId, Problem> {
    match number {
        Some(number) => Ok(RequestId::new(&format!("{id}.{number}"))?),
        None => Ok(id.clone()),
    }
}

/// Enforcement points ask about anyone, an agent about itself, others about nobody.
fn permitted(caller: &Caller, authorize: &Authorize) -> Result<(), Problem> {
    let allowed = match caller.role {
        Role::Admin | Role::Enforcer => true,
        Role::Agent => match (&authorize.subject, &caller.agent) {
            (Subject::Agent(agent), Some(itself)) => agent == itself,
            (Subject::Agent(_) | Subject::Person(_), _) => false,
        },
        Role::Operator | Role::Approver | Role::Auditor | Role::Subscriber => false,
    };
    if allowed { Ok(()) } else { Err(caller.not_permitted()) }
}

/// What this decision point offers.
#[utoipa::path(get, path = "/.well-known/authzen-configuration", tag = "authzen",
    responses((status = 200, body = Object)))]
pub(crate) async fn metadata(State(desk): State<Arc<Desk>>) -> Response {
    let url = &desk.settings.public_url;
    let metadata = json!({
        "policy_decision_point": url,
        "access_evaluation_endpoint": format!("{url}/access/v1/evaluation"),
        "access_evaluations_endpoint": format!("{url}/access/v1/evaluations"),
        "search_subject_endpoint": format!("{url}/access/v1/search/subject"),
        "search_resource_endpoint": format!("{url}/access/v1/search/resource"),
        "search_action_endpoint": format!("{url}/access/v1/search/action"),
    });
    let age = [(CACHE_CONTROL, HeaderValue::from_static(METADATA_AGE))];
    (age, command::json(StatusCode::OK, &metadata)).into_response()
}
