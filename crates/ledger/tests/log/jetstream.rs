//! The JetStream log against a real server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, stream};
use bailiwick_core::record::LedgerId;
use bailiwick_ledger::Error;
use bailiwick_ledger::log::jetstream::{Config, JetStream, SHORTER_MAX};
use bailiwick_ledger::log::suite::{self, Fault, Rig, all, commit, entry, message_id};
use bailiwick_ledger::log::{Append, Log, Reason};
use bytes::Bytes;

use crate::nats::Server;
use crate::proxy::Proxy;

const LEDGER: LedgerId = LedgerId([3; 16]);
const STREAM: &str = "BAILIWICK_test";

pub(crate) fn config(url: &str) -> Config {
    Config {
        url: url.to_owned(),
        name: "test".parse().unwrap(),
        replicas: 1,
        credentials: None,
        root_certificates: None,
    }
}

fn one(number: u64) -> Bytes {
    entry(LEDGER, number, 3_000, 0xa5)
}

/// Does `work` as an administrator, on the server itself.
pub(crate) fn administer<F: Future<Output = T>, T>(
    server: &Server,
    work: impl FnOnce(jetstream::Context) -> F,
) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = async_nats::connect(server.url()).await.unwrap();
        work(jetstream::new(client)).await
    })
}

/// Changes the stream's configuration.
fn reconfigure(server: &Server, change: impl FnOnce(&mut stream::Config)) {
    administer(server, |context| async move {
        let stream = context.get_stream(STREAM).await.unwrap();
        let mut config = stream.cached_info().config.clone();
        change(&mut config);
        context.update_stream(config).await.unwrap();
    });
}

struct Nats {
    proxy: Proxy,
    server: Server,
    _dir: tempfile::TempDir,
}

impl Nats {
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path())?;
        Some(Self { proxy: Proxy::start(server.port()), server, _dir: dir })
    }

    fn connect(&self) -> JetStream {
        JetStream::connect(&config(&self.proxy.url())).unwrap()
    }
}

impl Rig for Nats {
    fn open(&mut self) -> Box<dyn Log> {
        Box::new(self.connect())
    }

    fn open_beside(&mut self) -> Option<Box<dyn Log>> {
        Some(Box::new(self.connect()))
    }

    fn crash(&mut self) {
        self.server.kill();
        self.server.restart();
    }

    fn inject(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::LostAck => self.proxy.cut_answer(b"\"seq\":"),
            Fault::Unreachable => self.proxy.close(),
            Fault::Full => reconfigure(&self.server, |config| config.max_bytes = 4_000),
        }
        true
    }

    fn heal(&mut self) {
        self.proxy.open();
        reconfigure(&self.server, |config| config.max_bytes = -1);
    }
}

#[test]
fn the_jetstream_log_passes_the_suite() {
    if Nats::new().is_none() {
        return;
    }
    suite::run_all(&mut || Box::new(Nats::new().unwrap()));
}

#[test]
fn a_killed_server_loses_nothing_and_the_log_goes_on_by_itself() {
    let Some(mut nats) = Nats::new() else { return };
    let mut log = nats.connect();
    let reader = log.reader();
    for round in 0..5 {
        for head in round * 10..round * 10 + 10 {
            commit(&mut log, head, &one(head + 1));
        }
        nats.server.kill();
        let started = Instant::now();
        let outcome = log.append(round * 10 + 10, &one(round * 10 + 11), None);
        assert!(matches!(outcome, Append::Unknown(_)), "{outcome:?}");
        assert!(started.elapsed() < Duration::from_secs(1));
        nats.server.restart();
    }
    commit(&mut log, 50, &one(51));
    let entries = all(&*reader);
    assert_eq!(entries.len(), 51);
    assert!((1..).zip(entries).all(|(number, found)| found == one(number)));
}

#[test]
fn a_lost_ack_is_found_again_whether_or_not_the_server_remembers_the_id() {
    let Some(nats) = Nats::new() else { return };
    let mut log = nats.connect();
    for head in 0..6 {
        nats.proxy.cut_answer(b"\"seq\":");
        let id = message_id(&one(head + 1));
        let id = (head % 2 == 0).then_some(&id);
        let outcome = log.append(head, &one(head + 1), id);
        assert!(matches!(outcome, Append::Unknown(_)), "{outcome:?}");
        commit(&mut log, head, &one(head + 1));
    }
    assert_eq!(all(&*log.reader()).len(), 6);
}

#[test]
fn reads_go_through_large_ledgers_in_order() {
    let Some(nats) = Nats::new() else { return };
    let mut log = nats.connect();
    for head in 0..2_500 {
        commit(&mut log, head, &entry(LEDGER, head + 1, 300, 1));
    }
    let entries = all(&*log.reader());
    assert_eq!(entries.len(), 2_500);
    assert!((1..).zip(entries).all(|(number, found)| found == entry(LEDGER, number, 300, 1)));
}

#[test]
fn a_reader_works_within_an_async_runtime() {
    let Some(nats) = Nats::new() else { return };
    let mut log = nats.connect();
    commit(&mut log, 0, &one(1));
    let reader = log.reader();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let found = runtime.block_on(async { Arc::clone(&reader).read(1, 1, 1).unwrap() });
    assert_eq!(found, [one(1)]);
    runtime.block_on(async { drop((reader, log)) });
}

#[test]
fn a_stream_that_could_lose_history_is_refused() {
    let Some(nats) = Nats::new() else { return };
    drop(nats.connect());
    type Change = fn(&mut stream::Config);
    let ways: [(&str, Change); 3] = [
        ("max_msgs", |config| config.max_messages = 5),
        ("max_age", |config| config.max_age = Duration::from_secs(3_600)),
        ("discard", |config| config.discard = stream::DiscardPolicy::Old),
    ];
    for (named, change) in ways {
        let mut before = None;
        reconfigure(&nats.server, |config| {
            before = Some(config.clone());
            change(config);
        });
        let refused = JetStream::connect(&config(&nats.proxy.url())).unwrap_err();
        assert!(matches!(refused, Error::StreamConfig { .. }), "{refused}");
        assert!(refused.to_string().contains(named), "{refused}");
        reconfigure(&nats.server, |config| *config = before.unwrap());
    }
    drop(nats.connect());
}

#[test]
fn a_stream_of_other_making_is_refused() {
    let Some(nats) = Nats::new() else { return };
    administer(&nats.server, |context| async move {
        let config = stream::Config {
            name: STREAM.to_owned(),
            subjects: vec!["bailiwick.test.>".to_owned()],
            ..stream::Config::default()
        };
        context.create_stream(config).await.unwrap();
    });
    let refused = JetStream::connect(&config(&nats.proxy.url())).unwrap_err().to_string();
    for named in ["subjects", "deny_delete", "deny_purge", "discard"] {
        assert!(refused.contains(named), "{refused}");
    }
}

#[test]
fn a_stream_that_was_cut_is_rolled_back_not_continued() {
    let Some(nats) = Nats::new() else { return };
    let mut log = nats.connect();
    for head in 0..8 {
        commit(&mut log, head, &one(head + 1));
    }
    // What a server with a damaged store does by itself: hand out old sequences again.
    administer(&nats.server, |context| async move {
        context.delete_stream(STREAM).await.unwrap();
    });
    let mut again = nats.connect();
    for head in 0..5 {
        commit(&mut again, head, &one(head + 1));
    }
    let started = Instant::now();
    let outcome = loop {
        match log.append(8, &one(9), Some(&message_id(&one(9)))) {
            Append::Unknown(reason) => {
                assert_eq!(reason, Reason::Shorter { head: 5 });
                std::thread::park_timeout(Duration::from_millis(200));
            }
            known @ (Append::Committed | Append::LostRace | Append::Fatal(_)) => break known,
        }
    };
    assert!(started.elapsed() >= SHORTER_MAX);
    let Append::Fatal(Error::RolledBack { head: 5, expected: 8, .. }) = outcome else {
        panic!("{outcome:?}");
    };
}

#[test]
fn without_a_server_connecting_ends_in_bounded_time() {
    let started = Instant::now();
    let refused = JetStream::connect(&config("nats://127.0.0.1:9")).unwrap_err();
    assert!(refused.is_unavailable(), "{refused}");
    assert!(started.elapsed() < Duration::from_secs(7));
}

#[test]
fn an_entry_that_the_server_removed_is_missing_not_skipped() {
    let Some(nats) = Nats::new() else { return };
    let mut log = nats.connect();
    for head in 0..5 {
        commit(&mut log, head, &one(head + 1));
    }
    reconfigure(&nats.server, |config| {
        config.max_messages = 3;
        config.discard = stream::DiscardPolicy::Old;
    });
    let reader = log.reader();
    assert_eq!(reader.first().unwrap(), 3);
    let refused = reader.read(1, 10, 1 << 20).unwrap_err();
    assert!(matches!(refused, Error::Missing { number: 1, .. }), "{refused}");
    assert_eq!(reader.read(3, 10, 1 << 20).unwrap().len(), 3);
}
