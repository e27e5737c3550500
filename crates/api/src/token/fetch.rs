//! An issuer's keys, fetched: within limits of size and time, and from where the issuer itself says.

use std::time::Duration;

use bailiwick_core::json::{Limits, parse_strict};
use reqwest::header::CACHE_CONTROL;
use reqwest::{Client, StatusCode, Url, redirect};
use serde_json::Value;

use super::key_set::{self, KeySet};
use super::settings::{Trusted, is_loopback, place};
use crate::Error;

/// How long a connection to an issuer may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an answer of an issuer may take altogether.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// Keys are kept at least so long, whatever the issuer says.
const FRESH_MIN: Duration = Duration::from_secs(5 * 60);
/// Keys are asked for again after so long, whatever the issuer says.
const FRESH_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How long keys are kept where an issuer says nothing of it.
const FRESH_USUAL: Duration = Duration::from_secs(60 * 60);
/// Metadata holds more than the place of the keys.
const METADATA: Limits = Limits { bytes: key_set::BYTES_MAX, depth: 8 };

/// A client for one issuer. No redirect is followed: an issuer that sends elsewhere is not the one
/// that was configured. No connection is kept, since each may belong to another thread's runtime.
pub(super) fn client(trusted: &Trusted) -> Result<Client, Error> {
    let mut builder = Client::builder()
        .user_agent(concat!("bailiwick/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(ANSWER_TIMEOUT)
        .pool_max_idle_per_host(0);
    if is_loopback(&trusted.url) {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| {
        let why = format!("this machine cannot do TLS: {error}");
        Error::Issuer { issuer: trusted.issuer.to_string(), why }
    })
}

/// The issuer's keys and how long they are fresh. An error is in words for operators.
pub(super) async fn keys(client: &Client, trusted: &Trusted) -> Result<(KeySet, Duration), String> {
    let url = match &trusted.jwks_uri {
        Some(url) => url.clone(),
        None => discover(client, trusted).await?,
    };
    let (text, fresh) = get(client, &url).await.map_err(|why| format!("`{url}`: {why}"))?;
    let set = KeySet::read(&text).map_err(|why| format!("`{url}`: {why}"))?;
    Ok((set, fresh))
}

/// Where the issuer's metadata says that its keys are (RFC 8414, OpenID Connect Discovery).
async fn discover(client: &Client, trusted: &Trusted) -> Result<Url, String> {
    let mut last = String::new();
    for url in metadata_places(&trusted.url) {
        let found = match get(client, &url).await {
            Ok((text, _)) => jwks_uri(&text, trusted.issuer.as_str()),
            Err(why) => Err(why),
        };
        match found {
            Ok(found) => return Ok(found),
            Err(why) => last = format!("`{url}`: {why}"),
        }
    }
    Err(last)
}

/// Where an issuer's metadata may be: its own path stands behind the well-known one, or, with
/// OpenID Connect, before it.
fn metadata_places(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let mut places = Vec::new();
    for known in [
        format!("/.well-known/oauth-authorization-server{path}"),
        format!("/.well-known/openid-configuration{path}"),
        format!("{path}/.well-known/openid-configuration"),
    ] {
        let mut url = issuer.clone();
        url.set_path(&known);
        if !places.contains(&url) {
            places.push(url);
        }
    }
    places
}

fn jwks_uri(metadata: &[u8], issuer: &str) -> Result<Url, String> {
    let metadata = parse_strict(metadata, METADATA).map_err(|e| e.to_string())?;
    // Otherwise one issuer of a host could speak for another.
    if metadata.get("issuer").and_then(Value::as_str) != Some(issuer) {
        return Err("it is the metadata of another issuer".to_owned());
    }
    let uri = metadata.get("jwks_uri").and_then(Value::as_str).ok_or("it has no `jwks_uri`")?;
    if issuer.starts_with("https:") && !uri.starts_with("https:") {
        return Err("`jwks_uri` leaves https, which its issuer has".to_owned());
    }
    place(uri).map_err(|why| format!("`jwks_uri`: {why}"))
}

async fn get(client: &Client, url: &Url) -> Result<(Vec<u8>, Duration), String> {
    let answer = client.get(url.clone()).send().await;
    let mut answer = answer.map_err(|e| chain(&e))?;
    if answer.status() != StatusCode::OK {
        return Err(format!("it answered {}", answer.status()));
    }
    let said = answer.headers().get_all(CACHE_CONTROL).iter().filter_map(|v| v.to_str().ok());
    let fresh = fresh(said.flat_map(|value| value.split(',')));
    let mut text = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|e| chain(&e))? {
        if text.len() + piece.len() > key_set::BYTES_MAX {
            return Err(format!("it is longer than {} bytes", key_set::BYTES_MAX));
        }
        text.extend_from_slice(&piece);
    }
    Ok((text, fresh))
}

/// How long an answer is fresh (RFC 9111), within our own limits.
fn fresh<'a>(directives: impl Iterator<Item = &'a str>) -> Duration {
    let mut fresh = FRESH_USUAL;
    for directive in directives {
        let directive = directive.trim().to_ascii_lowercase();
        if matches!(directive.as_str(), "no-store" | "no-cache") {
            return FRESH_MIN;
        }
        if let Some(seconds) = directive.strip_prefix("max-age=") {
            let seconds = seconds.trim_matches('"').parse();
            fresh = seconds.map_or(FRESH_MIN, Duration::from_secs);
        }
    }
    fresh.clamp(FRESH_MIN, FRESH_MAX)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_looked_for_where_it_may_be() {
        let places = |issuer: &str| -> Vec<String> {
            metadata_places(&issuer.parse().unwrap()).iter().map(Url::to_string).collect()
        };
        assert_eq!(
            places("https://id.example.com/a/b/"),
            [
                "https://id.example.com/.well-known/oauth-authorization-server/a/b",
                "https://id.example.com/.well-known/openid-configuration/a/b",
                "https://id.example.com/a/b/.well-known/openid-configuration",
            ]
        );
        assert_eq!(places("https://id.example.com").len(), 2);
    }

    #[test]
    fn metadata_of_another_issuer_and_keys_in_the_clear_are_refused() {
        let read = |text: &str| jwks_uri(text.as_bytes(), "https://a.example");
        assert!(read(r#"{"issuer":"https://a.example","jwks_uri":"https://k.example"}"#).is_ok());
        for bad in [
            r#"{"issuer":"https://a.example/","jwks_uri":"https://k.example"}"#,
            r#"{"jwks_uri":"https://k.example"}"#,
            r#"{"issuer":"https://a.example"}"#,
            r#"{"issuer":"https://a.example","jwks_uri":"http://k.example"}"#,
            r#"{"issuer":"https://b.example","issuer":"https://a.example","jwks_uri":"https://k.example"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn freshness_is_the_issuers_within_our_limits() {
        let fresh = |text: &str| fresh(text.split(',')).as_secs();
        for (said, seconds) in [
            ("", 3_600),
            ("public, max-age=1800", 1_800),
            ("Max-Age=10", 300),
            ("max-age=9999999", 86_400),
            ("max-age=soon", 300),
            ("max-age=99999999999999999999", 300),
            ("no-store, max-age=7200", 300),
            ("max-age=7200, no-cache", 300),
        ] {
            assert_eq!(fresh(said), seconds, "{said}");
        }
    }
}
