//! The gate itself: one loop between a client and a server, which asks before it lets a call through.
//!
//! Every `tools/call` is mapped, put to the authority, and passed on as the very bytes that were
//! decided about, or refused. Its outcome is recorded after the client has its answer. Everything
//! else passes unharmed and byte for byte in both directions, but for what would go around the gate:
//!
//! - requests with a method that is not known here are refused (`-32601`), `server/discover` among
//!   them, so that newer clients fall back to the 2025-11-25 handshake;
//! - notifications other than `notifications/…` are dropped: some servers would act on them;
//! - a request id that is still in use is refused, and an answer to a request that has ended, or was
//!   never passed on, is dropped;
//! - a call that asks to become a task is refused: it would outlive what can be cut.
//!
//! **Tools.** A call is decided about with the hash of its tool's definition. Where the client has not
//! listed the tool, or the server has said since that its tools changed, the gate asks for the list
//! itself before it decides (`listing`).
//!
//! **Revocation.** The loop holds a lease with the authority and follows its feed ([`Pulse`]), under
//! the rules of [`enforce::Guard`]. An item that names a running call cuts it: the server is told to
//! cancel, the client gets a result that says so, and `cut` is recorded; a late answer is dropped.
//! Only then is the item acknowledged. When the lease ends, or items were missed for good, everything
//! that runs is cut. A permit is judged again right before the call is passed on.
//!
//! A new call is put to the authority only while its permit could be used. Before the session's
//! first lease, and while items are missing that have been asked for again, it waits, as long as a
//! decision may take; once a lease was lost it is denied `unavailable` without being asked about.
//!
//! The loop takes one [`Input`] after the other and waits for nothing else: decisions and reports are
//! futures it polls, and writers have queues of their own, so a slow ledger, client or server does
//! not hold up a ping or a cut.

mod calls;
mod cut;
mod decide;
mod listing;
mod pass;
mod people;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use bailiwick_client::authority::{AUTHORIZE_TIMEOUT, Authority};
use bailiwick_client::guard::{Beat, Pulse};
use bailiwick_core::enforce;
use bailiwick_core::id::{AgentId, OwnerId, PointId, SessionId, TaskId};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::catalog::Catalog;
use crate::frame::{CLIENT_FRAME_BYTES_MAX, Key, Line, Lines, SERVER_FRAME_BYTES_MAX};
use crate::mapping::Mapping;
use crate::upstream::{Reader, Upstream};

use calls::Requests;
pub use calls::{CALLS_MAX, REQUESTS_MAX};
pub use decide::JUSTIFICATION;
use decide::{Decided, Waiting};
use listing::Listing;
use writer::Outbox;

/// How long requests in flight may still take when the client has closed its side.
pub const DRAIN_TIME: Duration = Duration::from_secs(2);
/// How many outcomes may wait to be recorded before no further calls are read.
const REPORTS_MAX: usize = 1_024;

/// What a session of the gate is about.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who calls.
    pub agent: AgentId,
    /// The authenticated human for whom, if there is one.
    pub on_behalf_of: Option<OwnerId>,
    /// Under which task. If none is given, one is opened at the first call and closed at the end.
    pub task: Option<TaskId>,
    /// What the server's tools mean.
    pub mapping: Mapping,
    /// How long a call that people have to approve waits for them; not at all when it is zero.
    pub wait_for_approval: Duration,
    /// The session's name as an enforcement point, which no other session has or had.
    pub point: PointId,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The client closed its side.
    ClientGone,
    /// The gate was told to stop.
    Stopped,
    /// The server ended, or said something that cannot be passed on.
    ServerGone,
}

/// Everything the loop reacts to.
enum Input {
    Stop,
    Beat(Beat),
    Deadline,
    Decided(Decided),
    Reported,
    FromClient(Option<Line>),
    FromServer(Option<Line>),
}

/// Runs the gate until either side is gone or `stop` is ready. The server's process, if it is ours,
/// has ended when this returns.
pub async fn run<A: Authority>(
    config: Config,
    authority: Arc<A>,
    upstream: Upstream,
    from_client: impl AsyncRead + Send + Unpin + 'static,
    to_client: impl AsyncWrite + Send + Unpin + 'static,
    stop: impl Future<Output = ()>,
) -> Ending {
    let Upstream { reader, writer, process } = upstream;
    let (client, client_writer) = Outbox::new(to_client, CALLS_MAX + REQUESTS_MAX);
    // A call and its cancellation each, and what the gate asks for itself.
    let (server, server_writer) = Outbox::new(writer, 2 * CALLS_MAX + 1);
    let mut sources = Sources {
        client: Lines::new(from_client, CLIENT_FRAME_BYTES_MAX),
        server: Lines::new(reader, SERVER_FRAME_BYTES_MAX),
    };
    let mut session = Session::new(config, authority, client, server);
    let mut stop = std::pin::pin!(stop);
    let ending = loop {
        if session.draining.is_some() && session.requests.waiting() == 0 {
            break Ending::ClientGone;
        }
        let input = next(&mut session, &mut sources, &mut stop).await;
        if matches!(input, Input::Decided(_)) {
            // What came while the decision was on its way counts before it is used.
            while let Some(beat) = session.pulse.heard_already() {
                session.beat(beat);
            }
        }
        if let Some(ending) = session.take(input) {
            break ending;
        }
    };
    session.end_requests(ending);
    let Session { client, server, pulse, .. } = session.settle().await;
    drop(server);
    let _ = tokio::time::timeout(crate::upstream::stdio::PATIENCE, server_writer).await;
    if let Some(process) = process {
        let status = process.end().await;
        tracing::debug!(?status, "the server has ended");
    }
    pulse.leave().await;
    drop(client);
    let _ = tokio::time::timeout(crate::upstream::stdio::PATIENCE, client_writer).await;
    ending
}

struct Sources<R> {
    client: Lines<R>,
    server: Lines<Reader>,
}

/// The next thing to react to; revocations before anything that they could stop.
async fn next<A: Authority, R: AsyncRead + Unpin>(
    session: &mut Session<A>,
    sources: &mut Sources<R>,
    stop: &mut (impl Future<Output = ()> + Unpin),
) -> Input {
    let deadline = session.deadline();
    let Session { deciding, reports, client, server, draining, pulse, .. } = session;
    let reads_client = draining.is_none() && reports.len() < REPORTS_MAX;
    let from_client = async {
        if !client.has_room().await {
            return Ok(None);
        }
        if !server.has_room().await {
            // Said by `server_said`.
            std::future::pending::<()>().await;
        }
        sources.client.next().await
    };
    let from_server = async {
        tokio::select! {
            has_room = client.has_room() => if !has_room { std::future::pending().await },
            () = server.closed() => return Ok(None),
        }
        sources.server.next().await
    };
    let lines = async {
        tokio::select! {
            line = from_client, if reads_client => Input::FromClient(line.unwrap_or_default()),
            line = from_server => Input::FromServer(line.unwrap_or_default()),
            () = client.closed(), if reads_client => Input::FromClient(None),
        }
    };
    tokio::select! {
        biased;
        () = stop => Input::Stop,
        beat = pulse.next() => Input::Beat(beat),
        () = sleep_until(deadline) => Input::Deadline,
        Some(decided) = deciding.next(), if !deciding.is_empty() => Input::Decided(decided),
        Some(()) = reports.next(), if !reports.is_empty() => Input::Reported,
        input = lines => input,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// One client, one server, and what lies between them.
struct Session<A> {
    config: Config,
    authority: Arc<A>,
    id: SessionId,
    /// Calls put to the authority so far; numbers their ids.
    asked: u64,
    /// The task that was opened for the session, if one had to be.
    task: Arc<OnceCell<TaskId>>,
    client: Outbox,
    server: Outbox,
    catalog: Catalog,
    /// Whether the server has answered the handshake.
    greeted: bool,
    /// The list of tools that the gate itself asks for.
    listing: Option<Listing>,
    /// How often it has; numbers the ids.
    listed: u64,
    /// Calls that wait for it, in their order.
    unlisted: Vec<Key>,
    requests: Requests,
    deciding: FuturesUnordered<BoxFuture<'static, Decided>>,
    reports: FuturesUnordered<BoxFuture<'static, ()>>,
    pulse: Pulse<A>,
    guard: enforce::Guard,
    /// Whether there has been a lease; before the first one calls wait for it.
    had_lease: bool,
    /// Calls that will be put to the authority when they may.
    waiting: Vec<Waiting>,
    /// Until when requests may still finish after the client closed its side.
    draining: Option<Instant>,
}

impl<A: Authority> Session<A> {
    fn new(config: Config, authority: Arc<A>, client: Outbox, server: Outbox) -> Self {
        let pulse = Pulse::new(Arc::clone(&authority), config.point.clone());
        Self {
            config,
            authority,
            id: session_id(),
            asked: 0,
            task: Arc::default(),
            client,
            server,
            catalog: Catalog::default(),
            greeted: false,
            listing: None,
            listed: 0,
            unlisted: Vec::new(),
            requests: Requests::default(),
            deciding: FuturesUnordered::new(),
            reports: FuturesUnordered::new(),
            pulse,
            guard: enforce::Guard::new(enforce::LEASE),
            had_lease: false,
            waiting: Vec::new(),
            draining: None,
        }
    }

    /// Reacts to one input; an ending when it was the last.
    fn take(&mut self, input: Input) -> Option<Ending> {
        match input {
            Input::Stop => return Some(Ending::Stopped),
            Input::Beat(beat) => self.beat(beat),
            Input::Deadline => {
                if self.draining.is_some_and(|until| until <= Instant::now()) {
                    return Some(Ending::ClientGone);
                }
                self.look();
            }
            Input::Decided(decided) => self.decided(decided),
            Input::Reported => {}
            Input::FromClient(Some(line)) => self.client_said(line),
            Input::FromClient(None) => self.draining = Some(Instant::now() + DRAIN_TIME),
            Input::FromServer(Some(Line::Whole(line))) => self.server_said(line),
            Input::FromServer(Some(Line::TooLong)) => {
                tracing::error!(
                    SERVER_FRAME_BYTES_MAX,
                    "the server sent a longer message than passes"
                );
                return Some(Ending::ServerGone);
            }
            Input::FromServer(None) => return Some(Ending::ServerGone),
        }
        None
    }

    /// When something has to be done even if nothing happens.
    fn deadline(&self) -> Option<Instant> {
        let depends = !self.waiting.is_empty() || self.requests.running().next().is_some();
        let lease = self.guard.lease_ends().filter(|_| depends);
        let lease = lease.map(|ends| self.pulse.clock().moment(ends));
        let waiting = self.waiting.iter().map(|call| call.until);
        let listing = self.listing.iter().filter(|_| !self.unlisted.is_empty());
        let listing = listing.map(|listing| listing.until);
        let unsent = self.requests.running().filter_map(|(_, call)| call.leave.open_until());
        waiting.chain(listing).chain(unsent).chain(lease).chain(self.draining).min()
    }

    /// Waits, not for long, until every decision is known and every outcome recorded.
    async fn settle(mut self) -> Self {
        let late = async {
            while let Some(decided) = self.deciding.next().await {
                self.decided_late(decided);
            }
            while self.reports.next().await.is_some() {}
            if let Some(task) = self.task.get()
                && let Err(error) = self.authority.close_task(*task).await
            {
                tracing::warn!(%error, "the session's task was not closed");
            }
        };
        if tokio::time::timeout(AUTHORIZE_TIMEOUT, late).await.is_err() {
            tracing::warn!("outcomes could not be recorded in time");
        }
        self
    }
}

/// An id that no other session has: 128 random bits.
fn session_id() -> SessionId {
    SessionId::new(&format!("{:032x}", rand::random::<u128>()))
        .expect("hexadecimal digits are a session id")
}
