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
use bailiwick_audit::{Limits, pg};
use bailiwick_client::discover::ENDPOINT_FILE;
use bailiwick_ledger::Ledger;
use tokio::sync::watch;

use crate::config;
use crate::show::progress::{Progress, Unit};

mod checkpoints;
mod tables;

/// The file in the data directory that says where `PostgreSQL` clients are listened for.
const PG_ENDPOINT_FILE: &str = "pg-endpoint";

/// A server that runs. [`Service::stop`] ends it in order.
pub(crate) struct Service {
    ledger: Ledger,
    server: Server,
    pg: Option<pg::Server>,
    url: String,
    endpoint: PathBuf,
    threads: Vec<JoinHandle<()>>,
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
        let (stopping, stopped) = watch::channel(false);
        let (audit, mut threads) = tables::start(config, &ledger, &stopped)?;
        if let Some(every) = config.checkpoint_every {
            threads.push(checkpoints::start(ledger.clone(), every, stopped)?);
        }
        let server = bailiwick_api::serve(api(config), ledger.clone(), Arc::clone(&audit))?;
        let pg = match (config.pg_listen, server.readers()) {
            (Some(listen), Some(door)) => {
                let limits = audit.limits();
                Some(pg::serve(&wire(config, listen, limits), audit, Arc::new(door))?)
            }
            (None, _) | (Some(_), None) => None,
        };
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        let url = match &config.public_url {
            Some(url) => url.clone(),
            None => format!("{scheme}://{}", reachable(server.local_addr())),
        };
        let endpoint = home.join(ENDPOINT_FILE);
        if let Some(pg) = &pg {
            write_whole(
                &home.join(PG_ENDPOINT_FILE),
                &format!("{}\n", reachable(pg.local_addr())),
            )?;
        }
        write_whole(&endpoint, &format!("{url}\n"))?;
        Ok(Self { ledger, server, pg, url, endpoint, threads, stopping })
    }

    /// What it is called, without a slash at its end.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Where `PostgreSQL` clients find it, if anywhere.
    pub(crate) fn pg_address(&self) -> Option<SocketAddr> {
        self.pg.as_ref().map(|pg| reachable(pg.local_addr()))
    }

    /// The ledger.
    pub(crate) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Ends everything in order: no new requests, then the tables, then the ledger, whose snapshot
    /// and anchor are written.
    pub(crate) fn stop(self) -> Result<()> {
        let Self { ledger, server, pg, endpoint, threads, stopping, .. } = self;
        // Nobody is to find a server that does not listen any more.
        let removed = fs::remove_file(&endpoint);
        server.shutdown();
        if let Some(pg) = pg {
            // It only tells people where to look, and a next server writes it anew.
            let _ = fs::remove_file(endpoint.with_file_name(PG_ENDPOINT_FILE));
            pg.stop();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(server.wait());
        stopping.send_replace(true);
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread beside the ledger ended badly");
            }
        }
        ledger.close();
        removed.with_context(|| format!("cannot remove `{}`", endpoint.display()))
    }
}

/// How long requests that are turned away are counted before they are recorded.
const COUNT_REFUSED: Duration = Duration::from_secs(1);

fn wire(config: &config::Serve, listen: SocketAddr, limits: Limits) -> pg::Config {
    pg::Config {
        listen,
        tls: config.tls.clone().map(|files| pg::Tls { cert: files.cert, key: files.key }),
        allow_plain: config.allow_plain,
        limits,
    }
}

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
