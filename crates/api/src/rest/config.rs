//! How the ledger decides, where that is a matter of choice.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bailiwick_core::command::Command;
use bailiwick_core::event::{ConfigChanged, Pinning};
use bailiwick_core::time::Span;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::{Caller, READERS};
use crate::body::Told;
use crate::command::{Recorded, changed, json};
use crate::desk::Desk;
use crate::problem::{Details, Problem};

/// All of the settings.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Who says which definition of a tool is the right one: `first_use` or `operator`.
    #[schema(value_type = String)]
    pinning: Pinning,
    /// How long people may take to answer, such as `10m`.
    #[schema(value_type = String)]
    approval_ttl: Span,
}

/// Get the settings.
#[utoipa::path(get, path = "/v1/config", tag = "config",
    responses((status = 200, body = Config), (status = "default", body = Details)))]
pub(crate) async fn get(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    let config = desk.read(|state| {
        let ConfigChanged { pinning, approval_ttl } = state.config().clone();
        Config { pinning, approval_ttl }
    });
    Ok(json(StatusCode::OK, &config.await?))
}

/// Write the settings, all of them.
#[utoipa::path(put, path = "/v1/config", tag = "config", request_body = Config,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn put(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Told { body, about }: Told<Config>,
) -> Result<Response, Problem> {
    let Config { pinning, approval_ttl } = body;
    let command = Command::Configure(ConfigChanged { pinning, approval_ttl });
    let outcome = desk.submit(&caller, about, command).await?;
    Ok(changed(&outcome, "config"))
}
