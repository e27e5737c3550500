//! The HTTP client: one connection pool, one key, and a deadline on everything.

use std::fmt;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bailiwick_core::command::Finish;
use bailiwick_core::enforce::Nonce;
use bailiwick_core::event::Outcome;
use bailiwick_core::id::{ApprovalId, PointId, RequestId, TaskId};
use bailiwick_core::record::hash::Digest;
use bailiwick_core::state::ApprovalStatus;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde_json::Value;

use crate::authority::{
    AUTHORIZE_TIMEOUT, Ask, Authority, LEASE, NewTask, Ping, Pong, Ruling, Signals,
};
use crate::{Error, Revocations, evaluation};

/// How long a connection may take to come about.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long any request but a decision and a stream may take: longer than a server may take for a
/// long audit question, or to wait until a revocation is enforced everywhere (60 s).
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(70);
/// How long one question about an approval waits for people: less than a server lets it.
pub const APPROVAL_WAIT_MAX: Duration = Duration::from_secs(30);
/// The most bytes of an answer that is read whole.
pub const ANSWER_BYTES_MAX: usize = 64 * 1_024 * 1_024;

/// A server and the key to it. Cheap to clone.
#[derive(Clone)]
pub struct Http {
    client: reqwest::Client,
    /// Without a slash at its end.
    base: String,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Http {
    /// A client of the server at `url`, for instance `http://127.0.0.1:7420`. Nothing is sent yet.
    ///
    /// Redirects are not followed and a proxy from the environment is not asked for a loopback
    /// address, so that the key goes to the named server alone.
    ///
    /// # Errors
    /// [`Error::Url`], [`Error::KeyForm`], or [`Error::Unavailable`] when this machine cannot do TLS.
    pub fn new(url: &str, key: Option<&str>) -> Result<Self, Error> {
        let given = || url.chars().take(200).collect();
        let parsed =
            Url::parse(url).map_err(|e| Error::Url { given: given(), why: e.to_string() })?;
        let refused = |why: &str| Err(Error::Url { given: given(), why: why.to_owned() });
        if !matches!(parsed.scheme(), "http" | "https") {
            return refused("it begins with neither `http://` nor `https://`");
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return refused("it holds a query or a fragment");
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return refused("it holds a user name or a password");
        }
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            let mut value =
                HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| Error::KeyForm)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let mut builder = reqwest::Client::builder()
            .default_headers(headers)
            .user_agent(concat!("bailiwick/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true);
        if is_loopback(&parsed) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|e| Error::unreachable("client", e))?;
        Ok(Self { client, base: parsed.as_str().trim_end_matches('/').to_owned() })
    }

    /// The server's URL, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Reads `path`, which begins with a slash; [`path`] makes one from names.
    ///
    /// # Errors
    /// [`Error::Refused`] with the server's code, [`Error::Unavailable`], [`Error::Answer`].
    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Error> {
        let request = self.request(Method::GET, path, query)?.timeout(REQUEST_TIMEOUT);
        json(path, request).await
    }

    /// Sends `body` to `path`.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Error> {
        json(path, self.with_body(Method::POST, path, body)?).await
    }

    /// Sends `body` to `path` and reads an answer of another media type than JSON.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub async fn post_for(&self, path: &str, body: &Value, media: &str) -> Result<Vec<u8>, Error> {
        let request = self.with_body(Method::POST, path, body)?;
        bytes(path, request.header(ACCEPT, media)).await
    }

    /// Sends `body` to `path` under the caller's own `id`: sent again with the same id, it is done
    /// once and answered alike.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub async fn post_once(
        &self,
        path: &str,
        body: &Value,
        id: &RequestId,
    ) -> Result<Value, Error> {
        let request = self.with_body(Method::POST, path, body)?;
        json(path, request.header("idempotency-key", id.as_str())).await
    }

    /// Puts `body` at `path`.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub async fn put(&self, path: &str, body: &Value) -> Result<Value, Error> {
        json(path, self.with_body(Method::PUT, path, body)?).await
    }

    /// Removes what is at `path`.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub async fn delete(&self, path: &str) -> Result<Value, Error> {
        let request = self.request(Method::DELETE, path, &[])?.timeout(REQUEST_TIMEOUT);
        json(path, request).await
    }

    /// Opens a stream of server-sent events, behind the event that has the id `after` if given.
    /// There is no deadline on its end, only on its beginning.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub(crate) async fn open_stream(
        &self,
        path: &str,
        after: Option<u64>,
    ) -> Result<Response, Error> {
        let mut request =
            self.request(Method::GET, path, &[])?.header("accept", "text/event-stream");
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let response = match tokio::time::timeout(CONNECT_TIMEOUT, request.send()).await {
            Ok(sent) => sent.map_err(|e| Error::unreachable(path, e.without_url()))?,
            Err(late) => return Err(Error::unreachable(path, late)),
        };
        if response.status().is_success() {
            return Ok(response);
        }
        Err(refusal(path, response).await)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<RequestBuilder, Error> {
        let whole = format!("{}{path}", self.base);
        let mut url =
            Url::parse(&whole).map_err(|e| Error::Url { given: whole, why: e.to_string() })?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(self.client.request(method, url))
    }

    fn with_body(
        &self,
        method: Method,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<RequestBuilder, Error> {
        // Written by hand rather than through reqwest, so that raw JSON inside keeps its bytes.
        let bytes = serde_json::to_vec(body).map_err(|e| Error::answer(path, e))?;
        let request = self.request(method, path, &[])?.timeout(REQUEST_TIMEOUT);
        Ok(request.header("content-type", "application/json").body(bytes))
    }
}

impl Authority for Http {
    async fn authorize(&self, ask: Ask) -> Result<Ruling, Error> {
        let request = self
            .with_body(Method::POST, evaluation::PATH, &evaluation::body(&ask))?
            .timeout(AUTHORIZE_TIMEOUT)
            .header("idempotency-key", ask.call_id.as_str());
        let sent = Instant::now();
        let answer = bytes(evaluation::PATH, request).await?;
        evaluation::ruling(&answer, sent)
    }

    async fn finish(&self, finish: Finish) -> Result<(), Error> {
        let call = finish.call.to_string();
        let path = path(["v1", "calls", &call, "finish"]);
        let body = Finished {
            outcome: finish.outcome,
            latency_us: finish.latency_us,
            bytes_in: finish.bytes_in,
            bytes_out: finish.bytes_out,
            result: finish.result,
        };
        let request = self.with_body(Method::POST, &path, &body)?;
        bytes(&path, request).await.map(|_| ())
    }

    async fn open_task(&self, task: NewTask) -> Result<TaskId, Error> {
        const PATH: &str = "/v1/tasks";
        let request = self.with_body(Method::POST, PATH, &task)?.timeout(AUTHORIZE_TIMEOUT);
        let answer = json(PATH, request).await?;
        let id = answer.get("id").and_then(Value::as_str).unwrap_or_default();
        id.parse().map_err(|e| Error::answer(PATH, e))
    }

    async fn close_task(&self, task: TaskId) -> Result<(), Error> {
        let path = path(["v1", "tasks", &task.to_string(), "close"]);
        let request = self.with_body(Method::POST, &path, &serde_json::json!({}))?;
        bytes(&path, request.timeout(AUTHORIZE_TIMEOUT)).await.map(|_| ())
    }

    async fn approval(
        &self,
        approval: ApprovalId,
        wait: Duration,
    ) -> Result<ApprovalStatus, Error> {
        let path = path(["v1", "approvals", &approval.to_string()]);
        let wait = wait.min(APPROVAL_WAIT_MAX).as_millis();
        let query = [("wait", format!("{wait}ms"))];
        let query = query.each_ref().map(|(name, value)| (*name, value.as_str()));
        let request = self.request(Method::GET, &path, &query)?.timeout(REQUEST_TIMEOUT);
        let answer: ApprovalBody = serde_json::from_slice(&bytes(&path, request).await?)
            .map_err(|e| Error::answer(&path, e))?;
        Ok(answer.status)
    }

    fn revocations(&self, from: Option<u64>) -> Signals {
        Box::pin(Revocations::follow(self, from))
    }

    async fn ping(&self, ping: Ping) -> Result<Pong, Error> {
        let path = path(["v1", "enforcement-points", ping.point.as_str(), "ping"]);
        let nonce = nonce_text(ping.nonce);
        let body = PingBody { nonce: &nonce, applied: ping.applied };
        let request = self.with_body(Method::POST, &path, &body)?.timeout(LEASE);
        let answer = bytes(&path, request).await?;
        pong(&path, &answer, ping.nonce)
    }

    async fn leave(&self, point: PointId) -> Result<(), Error> {
        let path = path(["v1", "enforcement-points", point.as_str()]);
        let request = self.request(Method::DELETE, &path, &[])?.timeout(LEASE);
        bytes(&path, request).await.map(|_| ())
    }
}

/// What is read of the answer to `GET /v1/approvals/{id}`.
#[derive(serde::Deserialize)]
struct ApprovalBody {
    status: ApprovalStatus,
}

/// Body of `POST /v1/enforcement-points/{id}/ping`.
#[derive(serde::Serialize)]
struct PingBody<'a> {
    nonce: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied: Option<u64>,
}

#[derive(serde::Deserialize)]
struct PongBody {
    nonce: String,
    number: u64,
    lease_ms: u64,
}

fn nonce_text(nonce: Nonce) -> String {
    format!("{:032x}", nonce.0)
}

/// Reads the answer to a ping. It gives a lease only if it is the answer to this very ping, from a
/// server that lets leases last as long as we do: it would count us as stopped too early otherwise.
fn pong(path: &str, answer: &[u8], nonce: Nonce) -> Result<Pong, Error> {
    let answer: PongBody = serde_json::from_slice(answer).map_err(|e| Error::answer(path, e))?;
    if answer.nonce != nonce_text(nonce) {
        return Err(Error::answer(path, "it is the answer to another ping"));
    }
    if u128::from(answer.lease_ms) < LEASE.as_millis() {
        let why = format_args!("leases of {} ms are shorter than ours", answer.lease_ms);
        return Err(Error::answer(path, why));
    }
    Ok(Pong { nonce, number: answer.number })
}

/// Body of `POST /v1/calls/{id}/finish`.
#[derive(serde::Serialize)]
struct Finished {
    outcome: Outcome,
    latency_us: u64,
    bytes_in: u64,
    bytes_out: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Digest>,
}

/// Problem details, RFC 9457.
#[derive(serde::Deserialize)]
struct Problem {
    code: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
}

/// A path from its segments, each percent-encoded, so that a name cannot reach another path.
pub fn path<'a>(segments: impl IntoIterator<Item = &'a str>) -> String {
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        for byte in segment.bytes() {
            // A dot is encoded where the segment is `.` or `..`, which URL parsers resolve; they
            // resolve `%2E` alike, so such a segment gets a form that no server has a route for.
            if byte.is_ascii_alphanumeric()
                || matches!(byte, b'-' | b'_' | b'~' | b'.' | b':' | b'@')
            {
                path.push(char::from(byte));
            } else {
                let _ = write!(path, "%{byte:02X}");
            }
        }
        if matches!(segment, "." | "..") {
            path.push_str("%00");
        }
    }
    path
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

async fn json(what: &str, request: RequestBuilder) -> Result<Value, Error> {
    let bytes = bytes(what, request).await?;
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&bytes).map_err(|e| Error::answer(what, e))
}

async fn bytes(what: &str, request: RequestBuilder) -> Result<Vec<u8>, Error> {
    let response = request.send().await.map_err(|e| Error::unreachable(what, e.without_url()))?;
    if response.status().is_success() {
        return read_whole(what, response).await;
    }
    Err(refusal(what, response).await)
}

async fn read_whole(what: &str, mut response: Response) -> Result<Vec<u8>, Error> {
    let mut whole = Vec::new();
    loop {
        let chunk =
            response.chunk().await.map_err(|e| Error::unreachable(what, e.without_url()))?;
        let Some(chunk) = chunk else { return Ok(whole) };
        if whole.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(Error::answer(what, format_args!("more than {ANSWER_BYTES_MAX} bytes")));
        }
        whole.extend_from_slice(&chunk);
    }
}

/// The server's own words if it spoke problem+json, its status if not.
async fn refusal(what: &str, response: Response) -> Error {
    let status = response.status();
    let body = match read_whole(what, response).await {
        Ok(body) => body,
        Err(error) => return error,
    };
    match serde_json::from_slice::<Problem>(&body) {
        Ok(Problem { code, title, detail }) => Error::Refused {
            status: status.as_u16(),
            code,
            detail: if detail.is_empty() { title } else { detail },
        },
        Err(_) => Error::answer(what, format_args!("status {status} without problem details")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_segment() {
        assert_eq!(path(["v1", "agents", "a/b?c#d e%"]), "/v1/agents/a%2Fb%3Fc%23d%20e%25");
        assert_eq!(path(["v1", "owners", "alice@example.com"]), "/v1/owners/alice@example.com");
        let climbing = path(["v1", "agents", "..", "x"]);
        let url = Url::parse(&format!("http://h{climbing}")).unwrap();
        assert_eq!(url.path(), "/v1/agents/..%00/x");
    }

    #[test]
    fn urls_are_parsed_at_the_door() {
        for good in ["http://127.0.0.1:7420", "https://bailiwick.example.com/ledger/"] {
            assert!(!Http::new(good, Some("k")).unwrap().url().ends_with('/'), "{good}");
        }
        for bad in [
            "",
            "127.0.0.1:7420",
            "ftp://x",
            "http://",
            "http://u:p@h",
            "http://h/?q",
            "http://h#f",
        ] {
            assert!(matches!(Http::new(bad, None), Err(Error::Url { .. })), "{bad}");
        }
        assert!(matches!(Http::new("http://h", Some("a\nb")), Err(Error::KeyForm)));
    }

    #[test]
    fn a_ping_is_answered_only_by_its_own_answer() {
        let nonce = Nonce(0xab);
        let own = format!("{}ab", "0".repeat(30));
        let check = |nonce_said: &str, lease: u64| {
            let answer = serde_json::json!({"nonce": nonce_said, "number": 18, "lease_ms": lease,
                "ledger": "default"});
            pong("/p", answer.to_string().as_bytes(), nonce).ok()
        };
        assert_eq!(check(&own, 1_000), Some(Pong { nonce, number: 18 }));
        assert_eq!(check(&own, 2_000), Some(Pong { nonce, number: 18 }));
        assert_eq!(check(&own, 999), None);
        assert_eq!(check(&own.replace("ab", "ac"), 1_000), None);
        assert_eq!(check("ab", 1_000), None);
        for bad in ["", "{}", r#"{"nonce":"000000000000000000000000000000ab","lease_ms":1000}"#] {
            assert!(pong("/p", bad.as_bytes(), nonce).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_is_never_shown() {
        let http = Http::new("http://127.0.0.1:1", Some("sesame")).unwrap();
        assert!(!format!("{http:?}").contains("sesame"));
    }

    #[test]
    fn loopback_is_known_in_every_spelling() {
        for (url, is) in [
            ("http://localhost:1", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:7420", true),
            ("http://example.com", false),
            ("http://127.0.0.1.example.com", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), is, "{url}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_unavailable() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let http = Http::new(&format!("http://127.0.0.1:{port}"), None).unwrap();
        assert_eq!(http.get("/healthz", &[]).await.unwrap_err().code(), "unavailable");
    }
}
