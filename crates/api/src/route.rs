//! Everything that is offered, and what comes to those who ask for anything else.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post, put};

use crate::desk::Desk;
use crate::problem::{METHOD_NOT_ALLOWED, NO_ROUTE, Problem};
use crate::rest::revocations::preview;
use crate::rest::{
    agents, approvals, archive, calls, checkpoints, config, credentials, delegates, entities,
    events, grants, owners, points, policies, queries, revocations, schemas, sql, tasks, tools,
};
use crate::token::resource;
use crate::{authzen, openapi, operate, refused, stream};

/// The routes of one thread.
pub(crate) fn router(desk: &Arc<Desk>) -> Router {
    let mut router = Router::new()
        .route("/access/v1/evaluation", post(authzen::evaluation))
        .route("/access/v1/evaluations", post(authzen::evaluations))
        .route("/access/v1/search/subject", post(authzen::search::subject))
        .route("/access/v1/search/resource", post(authzen::search::resource))
        .route("/access/v1/search/action", post(authzen::search::action))
        .route("/.well-known/authzen-configuration", get(authzen::metadata))
        .route("/.well-known/oauth-protected-resource", get(resource::metadata))
        .route("/healthz", get(operate::health))
        .route("/readyz", get(operate::ready))
        .route("/metrics", get(operate::metrics))
        .route("/openapi.json", get(openapi::serve))
        .merge(registry())
        .merge(permissions())
        .merge(record());
    let path = resource::path(&desk.settings.public_url);
    if !path.is_empty() && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_.~".contains(&b))
    {
        let place = format!("{}{path}", resource::WELL_KNOWN);
        router = router.route(&place, get(resource::metadata));
    }
    if desk.settings.bench {
        router = router.route("/bench/hello", post(operate::hello));
    }
    let turned_away = from_fn_with_state(Arc::clone(desk), refused::note);
    let router = router.layer(turned_away);
    router.fallback(no_route).method_not_allowed_fallback(no_method).with_state(Arc::clone(desk))
}

fn registry() -> Router<Arc<Desk>> {
    Router::new()
        .route("/v1/owners", post(owners::create).get(owners::list))
        .route("/v1/owners/{id}", get(owners::get).put(owners::update))
        .route("/v1/owners/{id}/disable", post(owners::disable))
        .route("/v1/owners/{id}/enable", post(owners::enable))
        .route("/v1/owners/{id}/delegates/{delegate}", put(delegates::put))
        .route("/v1/owners/{id}/delegates/{delegate}/remove", post(delegates::remove))
        .route("/v1/agents", post(agents::create).get(agents::list))
        .route("/v1/agents/{id}", get(agents::get).put(agents::update))
        .route("/v1/agents/{id}/suspend", post(agents::suspend))
        .route("/v1/agents/{id}/reinstate", post(agents::reinstate))
        .route("/v1/agents/{id}/retire", post(agents::retire))
        .route("/v1/agents/{id}/risk", post(agents::risk))
        .route("/v1/agents/{id}/reassign", post(agents::reassign))
        .route("/v1/tools", get(tools::list))
        .route("/v1/tools/{id}", get(tools::get).put(tools::pin))
        .route("/v1/tools/{id}/unpin", post(tools::unpin))
        .route("/v1/config", get(config::get).put(config::put))
        .route("/v1/tasks", post(tasks::create).get(tasks::list))
        .route("/v1/tasks/{id}", get(tasks::get))
        .route("/v1/tasks/{id}/close", post(tasks::close))
        .route("/v1/entities", get(entities::list))
        .route("/v1/entities/{kind}/{id}", put(entities::put).delete(entities::remove))
        .route("/v1/credentials", post(credentials::create).get(credentials::list))
        .route("/v1/credentials/{id}/rotate", post(credentials::rotate))
        .route("/v1/credentials/{id}/revoke", post(credentials::revoke))
}

fn permissions() -> Router<Arc<Desk>> {
    Router::new()
        .route("/v1/policies", get(policies::list))
        .route("/v1/policies/activate", post(policies::activate))
        .route("/v1/policies/{id}", put(policies::put).get(policies::get).delete(policies::remove))
        .route("/v1/schemas", get(schemas::list))
        .route("/v1/schemas/{action}", put(schemas::put).get(schemas::get))
        .route("/v1/grants", post(grants::create).get(grants::list))
        .route("/v1/grants/requests", post(grants::requests::create).get(grants::requests::list))
        .route("/v1/grants/requests/{id}/deny", post(grants::requests::deny))
        .route("/v1/grants/{id}", get(grants::get))
        .route("/v1/grants/{id}/return", post(grants::give_back))
        .route("/v1/grants/{id}/delegate", post(grants::delegations::create))
        .route("/v1/grants/{id}/review", post(grants::reviews::create))
        .route("/v1/owners/{id}/review", get(grants::reviews::list))
        .route("/v1/approvals", get(approvals::list))
        .route("/v1/approvals/{id}", get(approvals::get))
        .route("/v1/approvals/{id}/approve", post(approvals::approve))
        .route("/v1/approvals/{id}/deny", post(approvals::deny))
        .route("/v1/approvals/{id}/withdraw", post(approvals::withdraw))
        .route("/v1/calls/{id}/finish", post(calls::finish))
        .route("/v1/revocations", post(revocations::create).get(revocations::list))
        .route("/v1/revocations/lift", post(revocations::lift))
        .route("/v1/revocations/preview", post(preview::preview))
        .route("/v1/revocations/stream", get(stream::open))
        .route("/v1/enforcement-points", get(points::list))
        .route("/v1/enforcement-points/{id}", delete(points::leave))
        .route("/v1/enforcement-points/{id}/ping", post(points::ping))
}

fn record() -> Router<Arc<Desk>> {
    Router::new()
        .route("/v1/events", get(events::list))
        .route("/v1/events/{index}", get(events::get))
        .route("/v1/archive", get(archive::status))
        .route("/v1/archive/seal", post(archive::seal))
        .route("/v1/checkpoints", post(checkpoints::create))
        .route("/ledger/checkpoint", get(checkpoints::last))
        .route("/v1/sql", post(sql::ask))
        .route("/v1/queries", get(queries::list))
        .route("/v1/queries/{name}", get(queries::get).post(queries::ask))
}

async fn no_route(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(200).collect();
    NO_ROUTE.with(format!("there is nothing at `{path}`"))
}

async fn no_method(method: Method, request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(200).collect();
    METHOD_NOT_ALLOWED.with(format!("`{path}` has no method `{method}`"))
}
