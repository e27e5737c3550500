//! The connection to NATS, the stream as it has to be, and the few requests that the log makes.

use std::future::Future;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use async_nats::client::{Client, Request};
use async_nats::connection::State;
use async_nats::jetstream;
use async_nats::jetstream::stream::{
    self, DiscardPolicy, PersistenceMode, RawMessageErrorKind, RetentionPolicy, StorageType, Stream,
};
use async_nats::{ConnectOptions, RequestErrorKind, ServerAddr};
use bailiwick_core::record::entry::ENTRY_BYTES_MAX;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Runtime};

use super::{Config, Reason, SERVER_VERSION_MIN};
use crate::Error;

/// What headers may add to a message's bytes.
const HEADERS_BYTES_MAX: usize = 4_096;
const CONNECT_MAX: Duration = Duration::from_secs(5);
const SET_UP_MAX: Duration = Duration::from_secs(5);
const DUPLICATE_WINDOW: Duration = Duration::from_secs(600);
/// A peer that vanished without a word is noticed after two of these.
const PING_INTERVAL: Duration = Duration::from_secs(1);
const RECONNECT_STEP: Duration = Duration::from_millis(50);
const RECONNECT_STEPS_MAX: u32 = 10;
/// What a wait may take beyond its limit, for the answer to come from one thread to another.
pub(crate) const HAND_OVER: Duration = Duration::from_millis(20);

/// A connection with a runtime of its own, so that callers can simply block.
#[derive(Debug)]
pub(crate) struct Connection {
    /// INVARIANT: there until this is dropped.
    runtime: Option<Runtime>,
    pub(crate) client: Client,
    pub(crate) context: jetstream::Context,
    pub(crate) stream: String,
    pub(crate) subject: String,
}

/// A stream's ends.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct StreamState {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
}

/// A message as it stands in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) subject: String,
    pub(crate) body: Bytes,
}

/// A refusal by JetStream.
#[derive(Debug, Deserialize)]
pub(crate) struct ApiError {
    #[serde(default)]
    pub(crate) err_code: u64,
    #[serde(default)]
    pub(crate) description: String,
}

#[derive(Debug, Deserialize)]
struct InfoAnswer {
    error: Option<ApiError>,
    state: Option<StreamState>,
}

const STREAM_NOT_FOUND: u64 = 10_059;
/// Resources, memory, storage, bytes or messages exceeded; insufficient resources.
const NO_ROOM: [u64; 6] = [10_002, 10_023, 10_028, 10_047, 10_054, 10_077];

impl ApiError {
    pub(crate) fn reason(&self) -> Reason {
        let text = format!("{} ({})", self.description, self.err_code);
        if NO_ROOM.contains(&self.err_code) { Reason::Full(text) } else { Reason::Refused(text) }
    }
}

impl Connection {
    /// Connects, checks the server, and makes or checks the stream.
    pub(crate) fn open(config: &Config) -> Result<Self, Error> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("bailiwick-nats")
            .enable_all()
            .build()
            .map_err(|e| unavailable(&e))?;
        let options = options(config)?;
        let url = config.url.clone();
        let (client, context) = wait_on(&runtime, CONNECT_MAX, async move {
            let addresses: Vec<String> = url.split(',').map(|at| at.trim().to_owned()).collect();
            let client = options.connect(addresses).await.map_err(|e| unavailable(&e))?;
            let context =
                jetstream::ContextBuilder::new().timeout(SET_UP_MAX).build(client.clone());
            Ok((client, context))
        })?;
        check_server(config, &client)?;
        let stream = config.name.stream();
        let subject = config.name.subject();
        let connection = Self { runtime: Some(runtime), client, context, stream, subject };
        let entries = wanted(&connection.stream, &connection.subject, config.replicas);
        connection.make_or_check_stream(&entries, ENTRY_BYTES_MAX)?;
        Ok(connection)
    }

    /// Whether a request would be sent now. While it would not, nothing is queued: a queue of
    /// entries could grow without end.
    pub(crate) fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Runs `work` on the connection's runtime and blocks for at most `limit`.
    pub(crate) fn wait_for<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        match &self.runtime {
            Some(runtime) => wait_on(runtime, limit, work),
            None => Err(unavailable(&"the connection is closed")),
        }
    }

    /// The stream's ends, from its leader; none when there is no such stream.
    pub(crate) fn state(&self, limit: Duration) -> Result<Option<StreamState>, Error> {
        self.state_of(&self.stream, limit)
    }

    /// The ends of any stream.
    pub(crate) fn state_of(
        &self,
        stream: &str,
        limit: Duration,
    ) -> Result<Option<StreamState>, Error> {
        let subject = format!("$JS.API.STREAM.INFO.{stream}");
        let answer: InfoAnswer = self.request(subject, Bytes::new(), limit)?;
        match answer {
            InfoAnswer { state: Some(state), error: None } => Ok(Some(state)),
            InfoAnswer { error: Some(error), .. } if error.err_code == STREAM_NOT_FOUND => Ok(None),
            InfoAnswer { error: Some(error), .. } => Err(unavailable(&error.reason())),
            InfoAnswer { .. } => Err(unavailable(&"the stream's state was not told")),
        }
    }

    /// The last sequence of the stream.
    pub(crate) fn head(&self, limit: Duration) -> Result<u64, Error> {
        match self.state(limit)? {
            Some(state) => Ok(state.last_seq),
            None => Err(unavailable(&format!("there is no stream `{}`", self.stream))),
        }
    }

    /// The message with sequence `number`, from the stream's leader.
    pub(crate) fn message(&self, number: u64, limit: Duration) -> Result<Option<Bytes>, Error> {
        let stored = self.message_of(&self.stream, number, limit)?;
        Ok(stored.map(|message| message.body))
    }

    /// A message of any stream.
    pub(crate) fn message_of(
        &self,
        stream: &str,
        number: u64,
        limit: Duration,
    ) -> Result<Option<Message>, Error> {
        self.check_up()?;
        let (context, name) = (self.context.clone(), stream.to_owned());
        self.wait_for(limit, async move {
            let stream: Stream<()> =
                context.get_stream_no_info(name).await.map_err(|e| unavailable(&e))?;
            match stream.get_raw_message(number).await {
                Ok(message) => Ok(Some(Message {
                    subject: message.subject.to_string(),
                    body: message.payload,
                })),
                Err(e) if e.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
                Err(e) => Err(unavailable(&e)),
            }
        })
    }

    pub(crate) fn check_up(&self) -> Result<(), Error> {
        if self.is_up() { Ok(()) } else { Err(unavailable(&"no connection to NATS")) }
    }

    fn request<T: DeserializeOwned + Send + 'static>(
        &self,
        subject: String,
        payload: Bytes,
        limit: Duration,
    ) -> Result<T, Error> {
        self.check_up()?;
        let client = self.client.clone();
        let request = Request::new().payload(payload).timeout(Some(limit));
        self.wait_for(limit, async move {
            let answer =
                client.send_request(subject, request).await.map_err(|e| match e.kind() {
                    RequestErrorKind::NoResponders => unavailable(&"JetStream does not answer"),
                    RequestErrorKind::TimedOut
                    | RequestErrorKind::InvalidSubject
                    | RequestErrorKind::MaxPayloadExceeded
                    | RequestErrorKind::Other => unavailable(&e),
                })?;
            serde_json::from_slice(&answer.payload).map_err(|e| unavailable(&e))
        })
    }

    /// Makes a stream if there is none, and checks that the one that is there keeps all history of
    /// messages that have up to `bytes_max`.
    pub(crate) fn make_or_check_stream(
        &self,
        wanted: &stream::Config,
        bytes_max: usize,
    ) -> Result<(), Error> {
        let (context, name) = (self.context.clone(), wanted.name.clone());
        let make = wanted.clone();
        let exists = self.state_of(&name, SET_UP_MAX)?.is_some();
        let live = self.wait_for(SET_UP_MAX, async move {
            if exists {
                let stream = context.get_stream(&name).await.map_err(|e| unavailable(&e))?;
                return Ok(stream.cached_info().config.clone());
            }
            let info = context.create_stream(make).await.map_err(|e| unavailable(&e))?;
            Ok(info.cached_info().config.clone())
        })?;
        let differences = differences(&live, wanted, bytes_max);
        if differences.is_empty() {
            return Ok(());
        }
        let differences = differences.join("; ");
        Err(Error::StreamConfig { stream: wanted.name.clone(), differences })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The last owner may be an async task, where a runtime must not wait for its threads.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub(crate) fn unavailable(what: &dyn std::fmt::Display) -> Error {
    Error::Unavailable { what: what.to_string() }
}

/// Blocks on a channel rather than on the future, so that this works on any thread, a runtime's
/// own included.
fn wait_on<T: Send + 'static>(
    runtime: &Runtime,
    limit: Duration,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let (sender, receiver) = sync_channel(1);
    runtime.spawn(async move {
        let done = match tokio::time::timeout(limit, work).await {
            Ok(done) => done,
            Err(_) => Err(unavailable(&"no answer in time")),
        };
        // Nobody listens any more when the caller's own wait ended first.
        let _ = sender.send(done);
    });
    match receiver.recv_timeout(limit + HAND_OVER) {
        Ok(done) => done,
        Err(_) => Err(unavailable(&"no answer in time")),
    }
}

fn options(config: &Config) -> Result<ConnectOptions, Error> {
    let mut options = ConnectOptions::new()
        .name(format!("bailiwick {}", config.name))
        .connection_timeout(CONNECT_MAX)
        .ping_interval(PING_INTERVAL)
        .max_reconnects(None)
        .reconnect_delay_callback(|attempt| {
            let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
            RECONNECT_STEP * attempt.min(RECONNECT_STEPS_MAX)
        })
        .event_callback(|event| async move {
            tracing::info!(%event, "nats connection");
        });
    options = match secret_in(&config.url) {
        Some((user, Some(password))) => options.user_and_password(user, password),
        Some((token, None)) => options.token(token),
        None => options,
    };
    if let Some(path) = &config.root_certificates {
        options = options.add_root_certificates(path.clone());
    }
    if let Some(path) = &config.credentials {
        let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
        options = options.credentials(&text).map_err(Error::file("understand", path))?;
    }
    Ok(options)
}

/// User and password, or a token alone, from the first address of `urls` that has them: the client
/// library connects to a URL, but does not log in with what stands in it.
fn secret_in(urls: &str) -> Option<(String, Option<String>)> {
    let addresses = urls.split(',').filter_map(|at| at.trim().parse::<ServerAddr>().ok());
    let mut found = addresses.filter_map(|at| {
        let user = decoded(at.username()?);
        Some((user, at.password().map(decoded)))
    });
    found.next()
}

/// `text` without its percent-encoding; what is none stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let mut byte = [0];
        let escaped = first == b'%'
            && behind.get(..2).is_some_and(|hex| hex::decode_to_slice(hex, &mut byte).is_ok());
        bytes.push(if escaped { byte[0] } else { first });
        rest = if escaped { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn check_server(config: &Config, client: &Client) -> Result<(), Error> {
    let info = client.server_info();
    let url = without_secrets(&config.url);
    let refuse = |what: &str| Err(Error::Server { url: url.clone(), what: what.to_owned() });
    if version(&info.version) < version(SERVER_VERSION_MIN) {
        let (found, needed) = (info.version, SERVER_VERSION_MIN);
        return Err(Error::ServerTooOld { found, needed, url });
    }
    if !info.jetstream {
        return refuse("JetStream is not enabled");
    }
    if info.max_payload < ENTRY_BYTES_MAX + HEADERS_BYTES_MAX {
        return refuse("its `max_payload` is less than an entry can have; 1 MiB is enough");
    }
    Ok(())
}

/// The numbers of a version, a missing or odd one as 0; what follows `-` or `+` is left out.
fn version(text: &str) -> [u64; 3] {
    let plain = text.trim_start_matches('v').split(['-', '+']).next().unwrap_or_default();
    let mut parts = plain.split('.').map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}

/// The URL for messages: what stands before an `@` may be a password.
fn without_secrets(url: &str) -> String {
    let one = |at: &str| match (at.split_once("://"), at.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        (None, Some((_, host))) => host.to_owned(),
        (_, None) => at.to_owned(),
    };
    url.split(',').map(one).collect::<Vec<_>>().join(",")
}

/// A stream that keeps everything that is published on `subject`.
pub(crate) fn wanted(name: &str, subject: &str, replicas: usize) -> stream::Config {
    stream::Config {
        name: name.to_owned(),
        subjects: vec![subject.to_owned()],
        storage: StorageType::File,
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_bytes: -1,
        max_message_size: -1,
        max_consumers: -1,
        max_age: Duration::ZERO,
        duplicate_window: DUPLICATE_WINDOW,
        num_replicas: replicas,
        deny_delete: true,
        deny_purge: true,
        allow_direct: true,
        ..stream::Config::default()
    }
}

/// Every way in which the live stream could lose, change or admit what it must not.
///
/// A limit on bytes is allowed: with `discard new` it refuses messages and drops none.
fn differences(live: &stream::Config, wanted: &stream::Config, bytes_max: usize) -> Vec<String> {
    let limit = i32::try_from(bytes_max + HEADERS_BYTES_MAX).unwrap_or(i32::MAX);
    let small = live.max_message_size > 0 && live.max_message_size < limit;
    let subjects = live.subjects != wanted.subjects;
    let subjects_found = format!("`subjects` are {:?}, not {:?}", live.subjects, wanted.subjects);
    let replicas = live.num_replicas < wanted.num_replicas;
    let replicas_found =
        format!("`num_replicas` is {}, not {}", live.num_replicas, wanted.num_replicas);
    let checks = [
        (subjects, subjects_found.as_str()),
        (replicas, replicas_found.as_str()),
        (live.storage != StorageType::File, "`storage` is not `file`"),
        (live.retention != RetentionPolicy::Limits, "`retention` is not `limits`"),
        (live.discard != DiscardPolicy::New, "`discard` is not `new`"),
        (live.max_messages > 0, "`max_msgs` is set"),
        (live.max_messages_per_subject > 0, "`max_msgs_per_subject` is set"),
        (!live.max_age.is_zero(), "`max_age` is set"),
        (small, "`max_msg_size` is less than a message can have"),
        (!live.deny_delete, "`deny_delete` is off"),
        (!live.deny_purge, "`deny_purge` is off"),
        (!live.allow_direct, "`allow_direct` is off"),
        (live.allow_rollup, "`allow_rollup_hdrs` is on"),
        (live.allow_message_ttl, "`allow_msg_ttl` is on"),
        (live.allow_message_counter, "`allow_msg_counter` is on"),
        (live.allow_message_schedules, "`allow_msg_schedules` is on"),
        (live.subject_transform.is_some(), "a `subject_transform` is set"),
        (live.mirror.is_some(), "it is a mirror"),
        (live.sources.as_ref().is_some_and(|s| !s.is_empty()), "it has `sources`"),
        (live.sealed, "it is sealed"),
        (live.no_ack, "`no_ack` is on"),
        (live.first_sequence.is_some_and(|first| first > 1), "`first_seq` is not 1"),
        (live.persist_mode == Some(PersistenceMode::Async), "`persist_mode` is `async`"),
    ];
    checks.into_iter().filter(|(differs, _)| *differs).map(|(_, what)| what.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        for old in ["2.12.2", "2.9.25", "1.99.99", "2.12", "", "odd"] {
            assert!(version(old) < version(SERVER_VERSION_MIN), "{old}");
        }
        for new in ["2.12.3", "v2.12.10", "2.14.0-RC.1", "3.0.0+build", "10.0.0"] {
            assert!(version(new) >= version(SERVER_VERSION_MIN), "{new}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_not_repeated() {
        let shown = without_secrets("nats://me:secret@a:4222,tls://b:4222,tok@c");
        assert_eq!(shown, "nats://a:4222,tls://b:4222,c");
    }

    #[test]
    fn what_stands_in_a_url_is_logged_in_with() {
        let user = |user: &str, password: Option<&str>| {
            Some((user.to_owned(), password.map(str::to_owned)))
        };
        for (urls, found) in [
            ("nats://me:secret@a:4222", user("me", Some("secret"))),
            ("nats://a:4222, nats://me:p%40%25ss%2@b:4222", user("me", Some("p@%ss%2"))),
            ("tls://token@a", user("token", None)),
            ("a:4222", None),
            ("nats://a:4222,nats://b:4222", None),
        ] {
            assert_eq!(secret_in(urls), found, "{urls}");
        }
    }

    #[test]
    fn what_is_wanted_differs_from_itself_in_nothing() {
        let asked = wanted("BAILIWICK_x", "bailiwick.x.entry", 1);
        let roomy = stream::Config { max_bytes: 1 << 30, num_replicas: 3, ..config() };
        for live in [asked, roomy, config()] {
            assert_eq!(differences(&live, &config(), ENTRY_BYTES_MAX), Vec::<String>::new());
        }
    }

    #[test]
    fn each_way_to_lose_history_is_named() {
        type Change = fn(&mut stream::Config);
        let ways: [(&str, Change); 12] = [
            ("subjects", |c| c.subjects.push("more.>".to_owned())),
            ("num_replicas", |c| c.num_replicas = 0),
            ("storage", |c| c.storage = StorageType::Memory),
            ("retention", |c| c.retention = RetentionPolicy::Interest),
            ("discard", |c| c.discard = DiscardPolicy::Old),
            ("max_msgs", |c| c.max_messages = 5),
            ("max_age", |c| c.max_age = Duration::from_secs(1)),
            ("deny_delete", |c| c.deny_delete = false),
            ("deny_purge", |c| c.deny_purge = false),
            ("allow_rollup", |c| c.allow_rollup = true),
            ("first_seq", |c| c.first_sequence = Some(2)),
            ("persist_mode", |c| c.persist_mode = Some(PersistenceMode::Async)),
        ];
        for (named, change) in ways {
            let mut live = config();
            change(&mut live);
            let found = differences(&live, &config(), ENTRY_BYTES_MAX);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(named), "{found:?}");
        }
    }

    fn config() -> stream::Config {
        stream::Config {
            name: "BAILIWICK_x".to_owned(),
            subjects: vec!["bailiwick.x.entry".to_owned()],
            discard: DiscardPolicy::New,
            num_replicas: 1,
            deny_delete: true,
            deny_purge: true,
            allow_direct: true,
            ..stream::Config::default()
        }
    }
}
