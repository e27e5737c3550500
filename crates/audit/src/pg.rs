//! The tables over the `PostgreSQL` wire: what psql, drivers and dashboards speak.
//!
//! A client proves an API key by SCRAM-SHA-256: the user is the credential's name, the password its
//! key. Who may read is not known here: whoever serves gives a [`Doorkeeper`], which is asked as a
//! session begins and again before each answer. Every question passes the same guard and runs within
//! the same limits as any other; around questions clients send commands (`BEGIN`, `SET` …), which
//! are answered and change nothing.
//!
//! Read in this order: `startup` lets a client in (`scram` checks its proof), `session` is what a
//! client may say from then on, `statement` and `settings` what its text means, `ask` how it is
//! answered, `value` and `parameter` the forms of values on the wire, and `catalog` what clients ask
//! about tables and columns. `wire` has the frames: `pgwire` gives the messages that go out and the
//! numbers of types, and nothing that comes in is read without its length being checked first.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::error::Error;
use crate::query::Limits;
use crate::{Audit, STACK_BYTES};

mod ask;
mod cancel;
mod catalog;
mod fault;
mod moment;
mod parameter;
mod scram;
mod session;
mod settings;
mod startup;
mod statement;
mod tls;
mod value;
mod wire;

/// Sessions at once.
pub const SESSIONS_MAX: usize = 100;
/// Connections at once, those that are no sessions yet or only cancel included.
const CONNECTIONS_MAX: usize = SESSIONS_MAX + 50;
/// How long a connection may take until it is a session.
const STARTUP_MAX: Duration = Duration::from_secs(15);
/// How long a session may be silent.
pub const IDLE_MAX: Duration = Duration::from_secs(30 * 60);
/// How long questions that run may take once the server is to stop.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// Threads that write answers.
const THREADS: usize = 2;

/// How to serve. Every value is the caller's choice.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// Certificate and key; with them nothing is served in the clear.
    pub tls: Option<Tls>,
    /// Serve in the clear on addresses that other machines reach.
    pub allow_plain: bool,
    /// What one question may take.
    pub limits: Limits,
}

/// PEM files for TLS.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What a user has to prove that it has, as SCRAM-SHA-256 (RFC 5802) keeps it.
#[derive(Clone)]
pub struct Verifier {
    /// The salt.
    pub salt: Vec<u8>,
    /// How often the key is hashed.
    pub iterations: u32,
    /// Checks the client's proof.
    pub stored_key: [u8; 32],
    /// Makes the server's.
    pub server_key: [u8; 32],
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl Verifier {
    /// A verifier that nobody can satisfy: the same for the same name, as a known one's would be.
    fn decoy(secret: &[u8; 32], user: &str) -> Self {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        let part = |what: &str| -> [u8; 32] {
            let made = ring::hmac::sign(&key, format!("{what} {user}").as_bytes());
            std::array::from_fn(|at| made.as_ref()[at])
        };
        Self {
            salt: part("salt")[..16].to_vec(),
            iterations: 4_096,
            stored_key: part("stored key"),
            server_key: part("server key"),
        }
    }
}

/// Why a user is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// There is no such credential, or it works no more.
    Unknown,
    /// It was made when there were no verifiers yet.
    NoVerifier,
    /// Its role does not read.
    NotPermitted {
        /// The role.
        role: String,
    },
}

/// A question that was answered, or began to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// SHA-256 of the text as it was sent.
    pub sql_digest: [u8; 32],
    /// The last event that the answer takes into account.
    pub as_of_seq: Option<u64>,
    /// Rows that were sent.
    pub rows: u64,
    /// Bytes that were sent.
    pub bytes: u64,
    /// From the question to the last row.
    pub milliseconds: u64,
    /// Why the answer broke off, by its stable code; none if it did not.
    pub failed: Option<&'static str>,
}

/// Who may ask, and who is told what was asked: what this crate does not know.
pub trait Doorkeeper: fmt::Debug + Send + Sync + 'static {
    /// What a user has to prove. May block for a moment.
    ///
    /// # Errors
    /// [`Refused`] for names that nobody can come in under.
    fn verifier(&self, user: &str) -> Result<Verifier, Refused>;

    /// Whether a user may read now. Asked before each answer, so it must be quick.
    ///
    /// # Errors
    /// [`Refused`] once a user may not, or not any more.
    fn may_read(&self, user: &str) -> Result<(), Refused>;

    /// Index of the last event on the ledger, which answers are to take into account.
    fn head(&self) -> Option<u64>;

    /// Hears of everyone who is turned away, with the stable code of why.
    fn turned_away(&self, user: &str, code: &'static str);

    /// Hears of every question to the tables that was answered or began to be.
    fn asked(&self, user: &str, asked: &Asked);
}

/// What all connections share.
struct Shared {
    audit: Arc<Audit>,
    door: Arc<dyn Doorkeeper>,
    tls: Option<tls::Loaded>,
    limits: Limits,
    cancels: Arc<cancel::Cancels>,
    sessions: Arc<Semaphore>,
    closing: watch::Receiver<bool>,
    /// For names that nobody has.
    decoy: [u8; 32],
}

/// A server that runs. Dropping it ends it at once.
#[derive(Debug)]
pub struct Server {
    local_addr: SocketAddr,
    closing: watch::Sender<bool>,
    sessions: Arc<Semaphore>,
    /// Holds the address until it has ended.
    listening: Option<JoinHandle<()>>,
    runtime: Option<Runtime>,
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Ends it in order: no new sessions, idle ones are told, questions that run get a few seconds.
    /// Must not be called within a runtime.
    pub fn stop(mut self) {
        self.closing.send_replace(true);
        let Some(runtime) = self.runtime.take() else { return };
        let all = u32::try_from(SESSIONS_MAX).unwrap_or(u32::MAX);
        let (sessions, listening) = (Arc::clone(&self.sessions), self.listening.take());
        let ended = runtime.block_on(async move {
            if let Some(listening) = listening {
                // Should it have broken, that was reported, and it holds nothing any more.
                let _ = listening.await;
            }
            timeout(DRAIN_MAX, sessions.acquire_many(all)).await.is_ok()
        });
        if !ended {
            tracing::warn!("sessions were cut at the end of the shutdown");
        }
        runtime.shutdown_background();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closing.send_replace(true);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Starts to serve `audit` to whom `door` lets in.
///
/// # Errors
/// [`Error::Wire`] when the address is not allowed or not free, or the TLS files cannot be used.
pub fn serve(
    config: &Config,
    audit: Arc<Audit>,
    door: Arc<dyn Doorkeeper>,
) -> Result<Server, Error> {
    let wire = |why: String| Error::Wire { why };
    let tls = match &config.tls {
        Some(files) => Some(tls::load(&files.cert, &files.key).map_err(wire)?),
        None if config.allow_plain || config.listen.ip().is_loopback() => None,
        None => {
            return Err(wire(format!(
                "`{}` can be reached from other machines, and answers would travel in the clear: \
                 give a certificate and its key for TLS, listen on 127.0.0.1 instead, or allow it \
                 explicitly",
                config.listen
            )));
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("audit-pg")
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .map_err(|e| Error::Threads { why: e.to_string() })?;
    let not_free = |e: std::io::Error| wire(format!("cannot listen on `{}`: {e}", config.listen));
    let listener = runtime.block_on(TcpListener::bind(config.listen)).map_err(not_free)?;
    let local_addr = listener.local_addr().map_err(not_free)?;
    let mut decoy = [0; 32];
    SystemRandom::new().fill(&mut decoy).map_err(|_| wire("there is no chance".to_owned()))?;
    let (closing, closes) = watch::channel(false);
    let sessions = Arc::new(Semaphore::new(SESSIONS_MAX));
    let shared = Arc::new(Shared {
        audit,
        door,
        tls,
        limits: config.limits,
        cancels: Arc::default(),
        sessions: Arc::clone(&sessions),
        closing: closes,
        decoy,
    });
    let listening = Some(runtime.spawn(listen(listener, shared)));
    Ok(Server { local_addr, closing, sessions, listening, runtime: Some(runtime) })
}

/// How long the listener stands back when the system gives no connection, as when there are too many.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut closing = shared.closing.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                // Who finds no place is hung up on: there is nobody to tell before the startup.
                if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                    let shared = Arc::clone(&shared);
                    tokio::spawn(async move {
                        connected(stream, &shared).await;
                        drop(place);
                    });
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// One connection's life.
async fn connected(stream: TcpStream, shared: &Arc<Shared>) {
    // Answers are sent in large pieces already.
    let _ = stream.set_nodelay(true);
    let admitted = timeout(STARTUP_MAX, startup::admit(stream, shared)).await;
    match admitted {
        Ok(Ok(known)) => session::run(known, shared).await,
        Ok(Err(startup::Ended::Refused(mut connection, fault))) => {
            connection.put(fault.fatal());
            // A client that is gone needs no word.
            let _ = connection.flush().await;
        }
        Ok(Err(startup::Ended::Gone)) | Err(_) => {}
    }
}
