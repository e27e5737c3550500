//! What a client has to know to get a token for this server (RFC 9728).

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::command::json;
use crate::desk::Desk;

/// Where it is found, before the path of the resource itself.
pub(crate) const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
/// How long callers may keep it.
const AGE: &str = "max-age=300";

/// What this server is to those who issue and fetch tokens. Members that would be empty are left out.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProtectedResource<'a> {
    /// What tokens for this server have as their audience unless an issuer is configured otherwise.
    resource: &'a str,
    /// Who issues them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    authorization_servers: Vec<&'a str>,
    /// What to ask them for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes_supported: Vec<&'a str>,
    /// How tokens are sent: in the `Authorization` header, never in a URL or a body.
    bearer_methods_supported: [&'a str; 1],
}

/// How to get a token for this server.
#[utoipa::path(get, path = "/.well-known/oauth-protected-resource", tag = "operate", security(()),
    responses((status = 200, body = ProtectedResource)))]
pub(crate) async fn metadata(State(desk): State<Arc<Desk>>) -> Response {
    let metadata = ProtectedResource {
        resource: &desk.settings.public_url,
        authorization_servers: desk.issuers.names().collect(),
        scopes_supported: desk.issuers.scopes(),
        bearer_methods_supported: ["header"],
    };
    let age = [(CACHE_CONTROL, HeaderValue::from_static(AGE))];
    (age, json(StatusCode::OK, &metadata)).into_response()
}

/// Where the metadata of the resource at `public_url` is: the well-known path stands between host and
/// path.
pub(crate) fn place(public_url: &str) -> String {
    let (host, path) = split(public_url);
    format!("{host}{WELL_KNOWN}{path}")
}

/// The path of `public_url`, empty or beginning with a slash.
pub(crate) fn path(public_url: &str) -> &str {
    split(public_url).1
}

fn split(url: &str) -> (&str, &str) {
    let host = url.find("://").map_or(0, |scheme| scheme + "://".len());
    url[host..].find('/').map_or((url, ""), |path| url.split_at(host + path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_well_known_path_stands_between_host_and_path() {
        for (url, place_of) in [
            ("https://b.example", "https://b.example/.well-known/oauth-protected-resource"),
            ("http://[::1]:7420", "http://[::1]:7420/.well-known/oauth-protected-resource"),
            ("https://b.example/a/b", "https://b.example/.well-known/oauth-protected-resource/a/b"),
        ] {
            assert_eq!(place(url), place_of);
        }
    }
}
