//! Several questions in one request (AuthZEN 1.0, section 7).

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use futures::future::join_all;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::answer::{self, Body as Decided};
use super::members::Members;
use super::{Asking, question};
use crate::body;
use crate::command::json;
use crate::desk::Desk;
use crate::problem::{INVALID_BODY, OUT_OF_RANGE, Problem};

/// The most questions of one request.
const EVALUATIONS_MAX: usize = 256;
/// Members that a question has from the top when it has none of its own.
const DEFAULTS: [&str; 4] = ["subject", "action", "resource", "context"];

/// Several questions. Without `evaluations` this is a single one.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub(super) struct Evaluations {
    /// For every question without a subject of its own.
    subject: Option<question::Entity>,
    /// For every question without an action of its own.
    action: Option<question::Named>,
    /// For every question without a resource of its own.
    resource: Option<question::Entity>,
    /// For every question without a context of its own.
    context: Option<question::Context>,
    /// The questions, at most 256; whatever one has stands in the place of the default, whole.
    evaluations: Option<Vec<question::Evaluation>>,
    /// `evaluations_semantic`: `execute_all` (if not given), `deny_on_first_deny`,
    /// `permit_on_first_permit`.
    #[schema(value_type = Object)]
    options: Option<Value>,
}

/// The decisions, in the order of the questions.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Decisions {
    /// One for each question that was decided.
    #[schema(value_type = Vec<Object>)]
    evaluations: Vec<Decided>,
}

/// When to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Semantic {
    All,
    FirstDeny,
    FirstPermit,
}

pub(super) async fn evaluate(desk: &Desk, parts: &Parts, body: Body) -> Result<Response, Problem> {
    let asking = Asking::of(desk, parts, body::read(body).await?).await?;
    let mut body = Members::of_body(body::json(&parts.headers, &asking.bytes)?)?;
    let semantic = semantic(&mut body)?;
    let items = body.list("evaluations")?.unwrap_or_default();
    if items.is_empty() {
        return Ok(answer::alone(&asking.decide(body, None).await?));
    }
    if items.len() > EVALUATIONS_MAX {
        let most = format!("`evaluations` has {}, at most {EVALUATIONS_MAX}", items.len());
        return Err(OUT_OF_RANGE.with(most));
    }
    let questions = items.into_iter().map(|item| with_defaults(item, &body)).enumerate();
    let evaluations = match semantic {
        // All at once, so that they share an entry; the ledger decides them in their order.
        Semantic::All => {
            let decided = questions.map(|(number, item)| one(&asking, number, item));
            join_all(decided).await.into_iter().collect::<Result<Vec<_>, _>>()?
        }
        Semantic::FirstDeny | Semantic::FirstPermit => {
            let mut decided = Vec::new();
            for (number, item) in questions {
                let decision = one(&asking, number, item).await?;
                let permits = decision.permits();
                decided.push(decision);
                if permits == (semantic == Semantic::FirstPermit) {
                    break;
                }
            }
            decided
        }
    };
    Ok(json(StatusCode::OK, &Decisions { evaluations }))
}

fn semantic(body: &mut Members) -> Result<Semantic, Problem> {
    let Some(mut options) = body.object("options", "options")? else { return Ok(Semantic::All) };
    match options.text("evaluations_semantic")?.as_deref() {
        None | Some("execute_all") => Ok(Semantic::All),
        Some("deny_on_first_deny") => Ok(Semantic::FirstDeny),
        Some("permit_on_first_permit") => Ok(Semantic::FirstPermit),
        Some(_) => Err(INVALID_BODY.with(
            "`options.evaluations_semantic` is none of `execute_all`, `deny_on_first_deny`, \
             `permit_on_first_permit`",
        )),
    }
}

/// A question with what it does not say itself.
fn with_defaults(item: Value, body: &Members) -> Result<Members, Problem> {
    let mut item = Members::of_item(item)?;
    for name in DEFAULTS {
        if let Some(value) = body.peek(name).filter(|_| item.peek(name).is_none()) {
            item.set(name, value.clone());
        }
    }
    Ok(item)
}

/// One decision. A question that is none is denied by itself; the others are decided all the same.
async fn one(
    asking: &Asking<'_>,
    number: usize,
    item: Result<Members, Problem>,
) -> Result<Decided, Problem> {
    let decided = match item {
        Ok(item) => asking.decide(item, Some(number)).await,
        Err(problem) => Err(problem),
    };
    decided.or_else(|problem| answer::mistaken(&problem))
}
