//! Named audit questions: which there are, what each takes, and their answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bailiwick_audit::Question;
use bailiwick_audit::named::{self, Preset};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::sql::{self, TableBody};
use crate::auth::{Caller, READERS};
use crate::body::{Asked, Named, Told};
use crate::command::json;
use crate::desk::Desk;
use crate::page::{self, Page, PageQuery, Span};
use crate::problem::{Details, NOT_FOUND, Problem};

const LIST: &str = "queries";

/// What a named question is asked with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Given {
    /// Values by the names of parameters, each of its parameter's type.
    #[serde(default)]
    params: BTreeMap<String, Value>,
}

/// A named question.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Query)]
pub(crate) struct Shown {
    /// Its name.
    name: &'static str,
    /// What it asks, in words.
    question: &'static str,
    /// What it takes.
    parameters: Vec<Parameter>,
    /// What its answer is evidence for: one text a framework, such as `SOC 2 CC6.1, CC6.2`.
    controls: &'static [String],
    /// Its SQL, with its header.
    sql: &'static str,
}

/// A parameter of a named question.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QueryParameter)]
pub(crate) struct Parameter {
    /// Its name.
    name: &'static str,
    /// `text`, `bigint`, `boolean` or `timestamptz`, which is RFC 3339 text.
    r#type: &'static str,
    /// Whether a value has to be given.
    required: bool,
    /// The value when none is given, as text: `null` for none, `now` for the moment of the question.
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    /// What it means, in words.
    about: &'static str,
}

fn show(named: &'static named::Named) -> Shown {
    let parameter = |taken: &'static named::Taken| Parameter {
        name: &taken.name,
        r#type: taken.kind.as_str(),
        required: taken.default.is_none(),
        default: taken.default.as_ref().map(Preset::text),
        about: &taken.about,
    };
    Shown {
        name: named.name,
        question: &named.question,
        parameters: named.parameters.iter().map(parameter).collect(),
        controls: &named.controls,
        sql: named.sql,
    }
}

fn find(name: &str) -> Result<&'static named::Named, Problem> {
    let shown: String = name.chars().take(80).collect();
    named::Named::find(name)
        .ok_or_else(|| NOT_FOUND.with(format!("there is no named question `{shown}`")))
}

/// List named questions.
#[utoipa::path(get, path = "/v1/queries", tag = "sql", params(PageQuery),
    responses((status = 200, body = Page<Shown>), (status = "default", body = Details)))]
pub(crate) async fn list(
    caller: Caller,
    Asked(query): Asked<PageQuery>,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    let span: Span<String> = query.span(LIST)?;
    let all = named::Named::all().iter().map(|named| (named.name, named));
    let after = all.filter(|(name, _)| span.after.as_deref().is_none_or(|after| *name > after));
    let page = page::take(LIST, span.limit, after, |_, named| Some(show(named)));
    Ok(json(StatusCode::OK, &page))
}

/// Get one named question.
#[utoipa::path(get, path = "/v1/queries/{name}", tag = "sql", params(("name" = String, Path)),
    responses((status = 200, body = Shown), (status = "default", body = Details)))]
pub(crate) async fn get(caller: Caller, Named(name): Named) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    Ok(json(StatusCode::OK, &show(find(&name)?)))
}

/// Ask a named question, as of everything that is on the ledger when it comes.
#[utoipa::path(post, path = "/v1/queries/{name}", tag = "sql", params(("name" = String, Path)),
    request_body = Given,
    responses(
        (status = 200, description = "with `Accept: text/csv` CSV, with `Accept: \
            application/vnd.apache.arrow.stream` an Arrow IPC stream", content(
            (TableBody = "application/json"), (String = "text/csv"),
            (String = "application/vnd.apache.arrow.stream"))),
        (status = 406, body = Details, description = "no form that is accepted is offered"),
        (status = "default", body = Details)))]
pub(crate) async fn ask(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    headers: HeaderMap,
    Told { body, about }: Told<Given>,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    let named = find(&name)?;
    let question = Question::Named(named, &body.params);
    sql::answer(&desk, &caller, &headers, about.trace, &question).await
}
