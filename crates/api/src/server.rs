//! The server: a thread a core, each with its own runtime and its own listener on the same port.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use axum::Router;
use bailiwick_audit::Audit;
use bailiwick_ledger::Ledger;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::Error;
use crate::asked::{Questions, Recorder};
use crate::auth::Readers;
use crate::auth::used::Used;
use crate::desk::{Desk, Settings};
use crate::enforce::Roster;
use crate::refused::Refusals;
use crate::token::{Issuer, Issuers, resource};
use crate::{route, stream};

mod guarded;
mod listen;
mod tls;

/// How long requests that are under way may take once a shutdown has begun.
pub const DRAIN_MAX: Duration = Duration::from_secs(5);
/// The most threads of one runtime that wait for a disk or an audit question.
const BLOCKING_THREADS_MAX: usize = 16;

/// How a server is to run. Every value is the caller's choice.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// Certificate and key; none serves plain HTTP.
    pub tls: Option<Tls>,
    /// Serve plain HTTP on addresses that other machines reach.
    pub allow_plain: bool,
    /// How many threads; one a core is best.
    pub threads: NonZeroUsize,
    /// What this server is called from outside, without a slash at its end; none takes the address
    /// that it listens on.
    pub public_url: Option<String>,
    /// AuthZEN subject types that are people, see [`PERSON_TYPES`](crate::PERSON_TYPES).
    pub person_types: Vec<String>,
    /// Whose access tokens are taken beside API keys.
    pub issuers: Vec<Issuer>,
    /// How long requests that are turned away are counted before they are recorded.
    pub count_refused: Duration,
    /// Offer `POST /bench/hello`, the floor that decisions are measured against.
    pub bench: bool,
}

/// PEM files for TLS.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A server that runs. Dropping it shuts it down without waiting.
#[derive(Debug)]
pub struct Server {
    local_addr: SocketAddr,
    /// None once its end is waited for.
    readers: Option<Readers>,
    closing: Arc<watch::Sender<bool>>,
    /// Every thread holds a sender; it closes when the last one has ended.
    ended: mpsc::Receiver<()>,
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The door that lets in who may read over HTTP elsewhere too, and that records what they ask.
    /// Whom it turns away is recorded as long as this server runs. Whoever holds it lets go of it
    /// before the server's end is waited for.
    #[must_use]
    pub fn readers(&self) -> Option<Readers> {
        self.readers.clone()
    }

    /// Begins to end: no more connections, streams close, what is under way gets [`DRAIN_MAX`].
    pub fn shutdown(&self) {
        self.closing.send_replace(true);
    }

    /// Waits until every thread has ended, which happens after [`Server::shutdown`] only.
    pub async fn wait(mut self) {
        self.readers = None;
        while self.ended.recv().await.is_some() {}
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// Starts to serve `ledger` and `audit` over HTTP.
///
/// # Errors
/// [`Error`] when the address is not allowed or not free, TLS files cannot be used, an issuer of
/// tokens cannot be trusted as it is configured, or the system gives no threads.
pub fn serve(config: Config, ledger: Ledger, audit: Arc<Audit>) -> Result<Server, Error> {
    let tls = match &config.tls {
        Some(files) => Some(tls::load(&files.cert, &files.key)?),
        None if config.allow_plain || config.listen.ip().is_loopback() => None,
        None => return Err(Error::Exposed { listen: config.listen }),
    };
    let threads = config.threads.get();
    let not_free = |source| Error::Listen { listen: config.listen, source };
    let listeners = listen::open(config.listen, threads).map_err(not_free)?;
    let local_addr = listeners[0].local_addr().map_err(not_free)?;

    let (closing, closes) = watch::channel(false);
    let (ending, ended) = mpsc::channel(1);
    let closing = Arc::new(closing);
    let places = Arc::new(Semaphore::new(listen::CONNECTIONS_MAX));
    let feed = stream::Position::new(&ledger);
    let points = Roster::new(&ledger);
    let refused = Refusals::default();
    let (questions, recorder) = Questions::new();
    let settings = Arc::new(settings(&config, local_addr));
    let issuers = Arc::new(Issuers::new(&config.issuers, &settings.public_url)?);
    // One part more than threads: keys are used at another door too.
    let used = Used::new(threads + 1);
    let readers =
        Readers::new(ledger.clone(), refused.clone(), used.of_thread(threads), questions.clone());
    for (number, listener) in listeners.into_iter().enumerate() {
        let desk = Arc::new(Desk {
            ledger: ledger.clone(),
            audit: Arc::clone(&audit),
            feed: feed.clone(),
            points: points.clone(),
            issuers: Arc::clone(&issuers),
            used: used.of_thread(number),
            settings: Arc::clone(&settings),
            refused: refused.clone(),
            questions: questions.clone(),
            closing: closes.clone(),
        });
        let (places, tls) = (Arc::clone(&places), tls.clone());
        let runtime = runtime().map_err(|source| Error::Thread { source })?;
        let door = {
            let _inside = runtime.enter();
            listen::Door::new(listener, places, tls).map_err(not_free)?
        };
        let ending = ending.clone();
        start(format!("api-{number}"), move || {
            run(&runtime, door, &desk);
            runtime.shutdown_background();
            drop(ending);
        })?;
    }
    let recording = runtime().map_err(|source| Error::Thread { source })?;
    let (record, of, until) = (ending.clone(), ledger.clone(), closes.clone());
    let every = config.count_refused;
    start("api-refused".to_owned(), move || {
        recording.block_on(refused.record(&of, every, until));
        drop(record);
    })?;
    record_questions(recorder, &ledger, &closes, &ending)?;
    start("api-feed".to_owned(), move || {
        feed.follow(&ledger, closes);
        drop(ending);
    })?;
    drop(questions);
    Ok(Server { local_addr, readers: Some(readers), closing, ended })
}

/// Starts to record questions, on a thread of its own.
fn record_questions(
    recorder: Recorder,
    ledger: &Ledger,
    closes: &watch::Receiver<bool>,
    ending: &mpsc::Sender<()>,
) -> Result<(), Error> {
    let runtime = runtime().map_err(|source| Error::Thread { source })?;
    let (ledger, closes, ending) = (ledger.clone(), closes.clone(), ending.clone());
    start("api-asked".to_owned(), move || {
        runtime.block_on(recorder.record(&ledger, closes));
        drop(ending);
    })
}

fn start(name: String, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let spawned = thread::Builder::new().name(name).spawn(run);
    spawned.map(drop).map_err(|source| Error::Thread { source })
}

fn settings(config: &Config, local_addr: SocketAddr) -> Settings {
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let public_url = config.public_url.clone();
    let public_url = public_url.unwrap_or_else(|| format!("{scheme}://{local_addr}"));
    Settings {
        resource_metadata: resource::place(&public_url),
        public_url,
        person_types: config.person_types.clone(),
        bench: config.bench,
    }
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("api-blocking")
        .build()
}

/// One thread's life.
fn run(runtime: &Runtime, door: listen::Door, desk: &Arc<Desk>) {
    let mut closes = desk.closing.clone();
    let router: Router = route::router(desk);
    runtime.block_on(async move {
        let mut closing = closes.clone();
        let closed = async move {
            // An error means that the server was dropped, which is a shutdown too.
            let _ = closing.wait_for(|closing| *closing).await;
        };
        let serving = axum::serve(door, router).with_graceful_shutdown(closed);
        let drained = async move {
            let _ = closes.wait_for(|closing| *closing).await;
            tokio::time::sleep(DRAIN_MAX).await;
        };
        tokio::select! {
            result = async { serving.await } => {
                if let Err(error) = result {
                    tracing::error!(%error, "a listener ended");
                }
            }
            () = drained => tracing::warn!("connections were cut at the end of the shutdown"),
        }
    });
}
