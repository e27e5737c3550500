//! The OpenAPI document, generated from the handlers and committed as `schemas/openapi.json`.

use std::sync::LazyLock;

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::rest::{
    agents, approvals, archive, calls, checkpoints, config, credentials, delegates, entities,
    events, grants, owners, points, policies, queries, revocations, schemas, sql, tasks, tools,
};
use crate::token::resource;
use crate::{authzen, operate, stream};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Bailiwick",
        description = "Runtime authorization for AI agents, on a hash-chained ledger.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        authzen::evaluation, authzen::evaluations, authzen::search::subject,
        authzen::search::resource, authzen::search::action, authzen::metadata,
        entities::list, entities::put, entities::remove,
        owners::create, owners::list, owners::get, owners::update, owners::disable, owners::enable,
        agents::create, agents::list, agents::get, agents::update, agents::suspend,
        agents::reinstate, agents::retire, agents::risk, agents::reassign,
        delegates::put, delegates::remove,
        tools::list, tools::get, tools::pin, tools::unpin,
        config::get, config::put,
        tasks::create, tasks::list, tasks::get, tasks::close,
        policies::list, policies::get, policies::put, policies::remove, policies::activate,
        schemas::list, schemas::get, schemas::put,
        grants::create, grants::list, grants::get, grants::give_back,
        grants::requests::create, grants::requests::list, grants::requests::deny,
        grants::delegations::create, grants::reviews::create, grants::reviews::list,
        approvals::list, approvals::get, approvals::approve, approvals::deny, approvals::withdraw,
        calls::finish,
        revocations::create, revocations::list, revocations::lift, revocations::preview::preview,
        stream::open,
        points::ping, points::leave, points::list,
        events::list, events::get,
        credentials::create, credentials::list, credentials::rotate, credentials::revoke,
        archive::status, archive::seal, checkpoints::create, checkpoints::last,
        sql::ask, queries::list, queries::get, queries::ask,
        operate::health, operate::ready, operate::metrics, resource::metadata,
    ),
    security(("key" = [])),
    modifiers(&Key)
)]
struct Document;

/// Adds how callers authenticate.
struct Key;

impl Modify for Key {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        let scheme = scheme
            .description(Some("An API key, `bwk_…`, or an access token of a configured issuer"));
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme("key", SecurityScheme::Http(scheme.build()));
    }
}

static TEXT: LazyLock<String> = LazyLock::new(|| {
    let mut text = Document::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
});

/// The document as it is committed and served.
#[must_use]
pub fn document() -> &'static str {
    &TEXT
}

/// The OpenAPI document.
pub(crate) async fn serve() -> Response {
    let media = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, media)], document()).into_response()
}
