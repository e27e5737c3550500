//! Bodies, paths and queries: from bytes to types, with a problem for everything that is wrong.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use bailiwick_core::event::{RequestKey, TraceId};
use bailiwick_core::id::RequestId;
use bailiwick_core::json::{LIMITS, parse_strict};
use bailiwick_core::record::Digest;
use futures::StreamExt as _;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::desk::Desk;
use crate::problem::{
    INVALID_BODY, INVALID_CONTENT_TYPE, INVALID_ID, INVALID_QUERY, NOT_FOUND, PAYLOAD_TOO_LARGE,
    Problem, REQUEST_TIMEOUT,
};

/// The most bytes of a body.
pub(crate) const BODY_BYTES_MAX: usize = LIMITS.bytes;
/// The most bytes of a body too large that are still taken in before it is refused.
const DRAIN_BYTES_MAX: usize = 16 * BODY_BYTES_MAX;
/// How long a body may take to come in.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// A body of type `T`, with what its headers say of it.
#[derive(Debug)]
pub(crate) struct Told<T> {
    pub(crate) body: T,
    pub(crate) about: About,
}

/// What headers say of a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct About {
    /// The caller's own id with the digest of the request.
    pub(crate) request: Option<RequestKey>,
    /// The trace it belongs to.
    pub(crate) trace: Option<TraceId>,
}

impl<T: DeserializeOwned> FromRequest<Arc<Desk>> for Told<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Arc<Desk>) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read(body).await?;
        let about = About {
            request: request_key(&parts, &bytes, header_id(&parts.headers)?),
            trace: trace(&parts.headers),
        };
        // An act that needs no words may come without a body.
        let value = if bytes.is_empty() {
            Value::Object(Map::new())
        } else {
            json(&parts.headers, &bytes)?
        };
        let body = serde_json::from_value(value).map_err(|e| INVALID_BODY.with(e.to_string()))?;
        Ok(Self { body, about })
    }
}

/// Reads a body within its limits.
pub(crate) async fn read(body: Body) -> Result<Bytes, Problem> {
    match tokio::time::timeout(BODY_TIME_MAX, gather(body)).await {
        Ok(read) => read,
        Err(_) => {
            let seconds = BODY_TIME_MAX.as_secs();
            Err(REQUEST_TIMEOUT.with(format!("the body took more than {seconds} s")))
        }
    }
}

async fn gather(body: Body) -> Result<Bytes, Problem> {
    let broken = |_| INVALID_BODY.with("the body broke off");
    let told = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut chunks = body.into_data_stream();
    let Some(first) = chunks.next().await else { return Ok(Bytes::new()) };
    let first = first.map_err(broken)?;
    if told > BODY_BYTES_MAX {
        return Err(too_large(chunks).await);
    }
    // Most bodies come in one piece, which is taken as it is.
    let Some(mut next) = chunks.next().await else { return Ok(first) };
    let mut whole = Vec::with_capacity(told.max(2 * first.len()));
    whole.extend_from_slice(&first);
    loop {
        let chunk = next.map_err(broken)?;
        if whole.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(too_large(chunks).await);
        }
        whole.extend_from_slice(&chunk);
        match chunks.next().await {
            Some(chunk) => next = chunk,
            None => return Ok(whole.into()),
        }
    }
}

/// Takes in and throws away what is still coming, within bounds: a connection that is closed on
/// bytes under way is reset, and the sender would not see the answer.
async fn too_large(mut chunks: BodyDataStream) -> Problem {
    let mut left = DRAIN_BYTES_MAX;
    while let Some(Ok(chunk)) = chunks.next().await
        && let Some(less) = left.checked_sub(chunk.len())
    {
        left = less;
    }
    PAYLOAD_TOO_LARGE.with(format!("at most {BODY_BYTES_MAX} bytes are taken"))
}

/// Parses a body that says it is JSON.
pub(crate) fn json(headers: &HeaderMap, bytes: &[u8]) -> Result<Value, Problem> {
    if !headers.get(CONTENT_TYPE).is_some_and(is_json) {
        return Err(INVALID_CONTENT_TYPE.with("send `Content-Type: application/json`"));
    }
    Ok(parse_strict(bytes, LIMITS)?)
}

fn is_json(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    let media = bytes.split(|b| *b == b';').next().unwrap_or_default();
    media.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

/// The caller's own id in the header made for it.
pub(crate) fn header_id(headers: &HeaderMap) -> Result<Option<RequestId>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str();
    let text = text.map_err(|_| INVALID_ID.with("`Idempotency-Key` holds what is not text"))?;
    Ok(Some(RequestId::new(text)?))
}

/// The key of a retry: the id, and a digest of everything that makes the request what it is.
pub(crate) fn request_key(parts: &Parts, body: &[u8], id: Option<RequestId>) -> Option<RequestKey> {
    let id = id?;
    let mut hasher = blake3::Hasher::new();
    let route = [parts.method.as_str(), parts.uri.path(), parts.uri.query().unwrap_or_default()];
    for part in route {
        hasher.update(part.as_bytes());
        hasher.update(b"\n");
    }
    hasher.update(body);
    Some(RequestKey { id, digest: Digest(*hasher.finalize().as_bytes()) })
}

/// The trace id of a W3C `traceparent`; one that is malformed counts as none.
pub(crate) fn trace(headers: &HeaderMap) -> Option<TraceId> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let mut fields = text.split('-');
    let (version, trace, parent, flags) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let lower_hex = |s: &str, n: usize| {
        s.len() == n && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let well_formed = lower_hex(version, 2)
        && version != "ff"
        && (version != "00" || fields.next().is_none())
        && lower_hex(trace, 32)
        && lower_hex(parent, 16)
        && lower_hex(flags, 2);
    let mut id = [0; 16];
    if !well_formed || hex::decode_to_slice(trace, &mut id).is_err() || id == [0; 16] {
        return None;
    }
    Some(TraceId(id))
}

/// The one name in a path, as text.
#[derive(Debug)]
pub(crate) struct Named(pub(crate) String);

impl FromRequestParts<Arc<Desk>> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Arc<Desk>) -> Result<Self, Problem> {
        let Path(name) = named(Path::from_request_parts(parts, desk).await)?;
        Ok(Self(name))
    }
}

/// Two names in a path, as texts.
#[derive(Debug)]
pub(crate) struct TwoNamed(pub(crate) String, pub(crate) String);

impl FromRequestParts<Arc<Desk>> for TwoNamed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Arc<Desk>) -> Result<Self, Problem> {
        let Path((first, second)) = named(Path::from_request_parts(parts, desk).await)?;
        Ok(Self(first, second))
    }
}

/// What a path names, or what is wrong with it.
fn named<T>(path: Result<Path<T>, PathRejection>) -> Result<Path<T>, Problem> {
    match path {
        Ok(path) => Ok(path),
        Err(PathRejection::FailedToDeserializePathParams(why)) => {
            Err(INVALID_ID.with(why.body_text()))
        }
        Err(_) => Err(NOT_FOUND.with("the path names nothing")),
    }
}

/// The query, which holds nothing unknown.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Desk>> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Arc<Desk>) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, desk).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(why) => Err(INVALID_QUERY.with(why.body_text())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_comes_from_a_well_formed_parent_only() {
        let id = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", text.parse().unwrap());
            trace(&headers).map(|TraceId(id)| hex::encode(id))
        };
        let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        assert_eq!(id(&format!("00-{trace}-{parent}-01")).as_deref(), Some(trace));
        assert_eq!(id(&format!("cc-{trace}-{parent}-01-more")).as_deref(), Some(trace));
        for bad in [
            String::new(),
            trace.to_owned(),
            format!("00-{trace}-{parent}"),
            format!("00-{trace}-{parent}-01-more"),
            format!("ff-{trace}-{parent}-01"),
            format!("00-{}-{parent}-01", "0".repeat(32)),
            format!("00-{}-{parent}-01", trace.to_uppercase()),
        ] {
            assert_eq!(id(&bad), None, "{bad}");
        }
    }

    #[test]
    fn only_json_is_json() {
        let is = |text: &'static str| is_json(&HeaderValue::from_static(text));
        assert!(is("application/json") && is("Application/JSON; charset=utf-8"));
        assert!(!is("text/plain") && !is("application/jsonp") && !is(""));
    }
}
