//! AuthZEN 1.0: one decision. This is the hot path: one keyed hash and one look-up authenticate,
//! the body is parsed once, and nothing stands between the route and the ledger.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bailiwick_core::command::{Authorize, Command, Subject, Submission};
use bailiwick_core::event::Role;
use serde_json::json;

use crate::auth::Caller;
use crate::body;
use crate::command;
use crate::desk::Desk;
use crate::problem::Problem;

mod answer;
mod members;
mod question;

use question::Asked;

/// Subject types that are people unless configured otherwise. `agent` is always an agent.
pub const PERSON_TYPES: [&str; 4] = ["owner", "person", "user", "identity"];

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
    let (parts, body) = request.into_parts();
    let mut response = match evaluate(&desk, &parts, body).await {
        Ok(response) => response,
        Err(problem) => problem.into_message(),
    };
    if let Some(id) = parts.headers.get(X_REQUEST_ID) {
        response.headers_mut().insert(X_REQUEST_ID, id.clone());
    }
    response
}

async fn evaluate(desk: &Desk, parts: &Parts, body: Body) -> Result<Response, Problem> {
    let caller = Caller::of(desk, &parts.headers)?;
    let bytes = body::read(body).await?;
    let value = body::json(&parts.headers, &bytes)?;
    let commit = |arguments: &_| desk.ledger.commitment(arguments);
    let question = match question::read(value, &desk.settings.person_types, commit)? {
        Asked::Question(question) => question,
        Asked::OfNobody(kind) => return Ok(answer::of_nobody(&kind)),
    };
    permitted(&caller, &question.authorize)?;
    let id = question::call_id(question.call_id, body::header_id(&parts.headers)?)?;
    let owner = match &question.authorize.subject {
        Subject::Agent(agent) => desk.ledger.view().owner_of(agent).cloned(),
        Subject::Person(owner) => Some(owner.clone()),
    };
    let submission = Submission {
        actor: caller.actor(),
        request: body::request_key(parts, &bytes, id),
        trace: body::trace(&parts.headers),
        command: Command::Authorize(question.authorize),
    };
    answer::of(desk.ledger.submit(submission).await, owner.as_ref())
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
    });
    let age = [(CACHE_CONTROL, HeaderValue::from_static(METADATA_AGE))];
    (age, command::json(StatusCode::OK, &metadata)).into_response()
}
