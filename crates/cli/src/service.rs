//! A running server: the ledger, the tables that follow it, and the HTTP desk in front of both.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bailiwick_api::{PERSON_TYPES, Server};
use bailiwick_audit::Audit;
use bailiwick_client::discover::ENDPOINT_FILE;
use bailiwick_ledger::{Follower, Ledger};
use tokio::sync::watch;

use crate::config;
use crate::show::progress::{Progress, Unit};

/// Threads that answer audit questions, at most.
const AUDIT_THREADS_MAX: usize = 4;
/// How much the tables' thread stands back when there is not enough of the machine for all.
const FOLLOW_NICE: i32 = 10;
/// How long a follower waits when the log cannot be read for now.
const FOLLOW_RETRY: Duration = Duration::from_millis(500);

/// A server that runs. [`Service::stop`] ends it in order.
pub(crate) struct Service {
    ledger: Ledger,
    server: Server,
    url: String,
    endpoint: PathBuf,
    follower: JoinHandle<()>,
    stopping: watch::Sender<bool>,
}

/// How many cores there are to use.
pub(crate) fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

impl Service {
    /// Opens the ledger, starts its followers and listens. Must not be called within a runtime:
    /// opening a ledger blocks.
    pub(crate) fn start(config: &config::Serve) -> Result<Self> {
        let home = &config.ledger.home;
        let mut progress = Progress::new("replaying", Unit::Entries, None);
        let ledger = Ledger::open(&config.ledger, |entry| progress.at(entry))?;
        drop(progress);
        let threads = cores().get().min(AUDIT_THREADS_MAX);
        let audit = Audit::new(bailiwick_audit::Settings { threads, at_once: 2 * threads })?;
        let audit = Arc::new(audit);
        let (stopping, stopped) = watch::channel(false);
        let follower = follow(ledger.follow(0), Arc::clone(&audit), stopped)?;
        let server = bailiwick_api::serve(api(config), ledger.clone(), audit)?;
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        let url = match &config.public_url {
            Some(url) => url.clone(),
            None => format!("{scheme}://{}", reachable(server.local_addr())),
        };
        let endpoint = home.join(ENDPOINT_FILE);
        write_whole(&endpoint, &format!("{url}\n"))?;
        Ok(Self { ledger, server, url, endpoint, follower, stopping })
    }

    /// What it is called, without a slash at its end.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// The ledger.
    pub(crate) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Ends everything in order: no new requests, then the tables, then the ledger, whose snapshot
    /// and anchor are written.
    pub(crate) fn stop(self) -> Result<()> {
        let Self { ledger, server, endpoint, follower, stopping, .. } = self;
        // Nobody is to find a server that does not listen any more.
        let removed = fs::remove_file(&endpoint);
        server.shutdown();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(server.wait());
        stopping.send_replace(true);
        if follower.join().is_err() {
            tracing::error!("the tables' follower ended badly");
        }
        ledger.close();
        removed.with_context(|| format!("cannot remove `{}`", endpoint.display()))
    }
}

/// How long requests that are turned away are counted before they are recorded.
const COUNT_REFUSED: Duration = Duration::from_secs(1);

fn api(config: &config::Serve) -> bailiwick_api::Config {
    bailiwick_api::Config {
        listen: config.listen,
        tls: config.tls.clone(),
        allow_plain: config.allow_plain,
        threads: cores(),
        public_url: config.public_url.clone(),
        person_types: PERSON_TYPES.map(str::to_owned).to_vec(),
        issuers: config.issuers.clone(),
        count_refused: COUNT_REFUSED,
        bench: config.bench,
    }
}

/// An address that a client on this machine can connect to.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, v6.port()).into(),
        SocketAddr::V4(_) | SocketAddr::V6(_) => listen,
    }
}

/// Puts a file in the place of another, whole: who reads sees the old or the new one.
fn write_whole(path: &Path, text: &str) -> Result<()> {
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, text)
        .and_then(|()| fs::rename(&temporary, path))
        .with_context(|| format!("cannot write `{}`", path.display()))
}

/// Fills the tables from the record, on a thread of its own: reading the log blocks.
fn follow(
    mut follower: Follower,
    audit: Arc<Audit>,
    mut stopped: watch::Receiver<bool>,
) -> Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let fill = move || {
        // Decisions come first: a question waits for the tables, a call waits for nobody. Should
        // the system not allow it, the tables are only filled at the same priority.
        let _ = rustix::process::nice(FOLLOW_NICE);
        runtime.block_on(async {
            loop {
                let next = tokio::select! {
                    biased;
                    _ = stopped.wait_for(|stopped| *stopped) => return,
                    next = follower.next() => next,
                };
                match next {
                    Ok(Some(entry)) => {
                        if let Err(error) = audit.ingest(entry.number, &entry.events) {
                            tracing::error!(%error, entry = entry.number, "the tables stop here");
                            return;
                        }
                    }
                    Ok(None) => return,
                    Err(error) => {
                        tracing::warn!(%error, "the tables cannot follow for now");
                        tokio::time::sleep(FOLLOW_RETRY).await;
                    }
                }
            }
        });
    };
    let spawned = std::thread::Builder::new().name("audit-follower".to_owned()).spawn(fill);
    spawned.context("cannot start a thread for the tables")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_on_this_machine_can_reach_a_server_that_listens_everywhere() {
        for (listen, url) in [
            ("0.0.0.0:7420", "127.0.0.1:7420"),
            ("[::]:7420", "[::1]:7420"),
            ("10.0.0.1:80", "10.0.0.1:80"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), url);
        }
    }

    #[test]
    fn the_endpoint_is_written_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(ENDPOINT_FILE);
        for text in ["first\n", "second\n"] {
            write_whole(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
