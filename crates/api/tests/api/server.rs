//! The server itself: where it listens, TLS, limits, and how it ends.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bailiwick_api::{Config, Error, serve, server::Tls};
use bailiwick_audit::{Audit, Settings};
use reqwest::{Certificate, Client};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::house::{self, House};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn start(config: Config) -> Result<(bailiwick_api::Server, tempfile::TempDir), Error> {
    let dir = tempfile::tempdir().unwrap();
    let audit = Arc::new(Audit::new(Settings { threads: 1, at_once: 1 }).unwrap());
    serve(config, house::open_ledger(dir.path()), audit).map(|server| (server, dir))
}

#[tokio::test]
async fn other_machines_are_let_in_under_tls_or_explicitly() {
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let refused = start(Config { listen: everywhere, ..house::config() }).unwrap_err();
    assert!(matches!(refused, Error::Exposed { .. }));
    assert!(refused.to_string().contains("TLS"), "{refused}");
    assert!(start(Config { listen: everywhere, allow_plain: true, ..house::config() }).is_ok());
}

#[tokio::test]
async fn tls_is_spoken_when_configured() {
    let tls = Some(Tls { cert: fixture("localhost.crt"), key: fixture("localhost.key") });
    let (server, _dir) = start(Config { tls, ..house::config() }).unwrap();
    let root = std::fs::read(fixture("localhost.crt")).unwrap();
    let client = Client::builder()
        .no_proxy()
        .tls_certs_only([Certificate::from_pem(&root).unwrap()])
        .build()
        .unwrap();
    let url = format!("https://localhost:{}/healthz", server.local_addr().port());
    assert_eq!(client.get(url).send().await.unwrap().text().await.unwrap(), "ok");
    let plain = format!("http://{}/healthz", server.local_addr());
    assert!(client.get(plain).send().await.is_err());
}

#[tokio::test]
async fn files_that_are_no_certificate_and_key_are_named() {
    for (cert, key, named) in [
        ("missing.crt", "localhost.key", "missing.crt"),
        ("localhost.key", "localhost.key", "localhost.key"),
        ("localhost.crt", "localhost.crt", "localhost.crt"),
    ] {
        let tls = Some(Tls { cert: fixture(cert), key: fixture(key) });
        let refused = start(Config { tls, ..house::config() }).unwrap_err();
        assert!(refused.to_string().contains(named), "{refused}");
    }
}

#[tokio::test]
async fn a_taken_address_is_refused() {
    let (first, _dir) = start(house::config()).unwrap();
    let second = start(Config { listen: first.local_addr(), ..house::config() });
    assert!(matches!(second, Err(Error::Listen { .. })));
}

#[tokio::test]
async fn a_shutdown_ends_streams_and_frees_the_address() {
    let house = House::open();
    let request = house.client.get(house.url("/v1/revocations/stream")).bearer_auth(&house.admin);
    let mut stream = request.send().await.unwrap();
    assert!(stream.chunk().await.unwrap().is_some());
    let address = house.server.local_addr();
    house.server.shutdown();
    let ended = async { while let Ok(Some(_)) = stream.chunk().await {} };
    tokio::time::timeout(Duration::from_secs(5), ended).await.unwrap();
    // The address is free once every thread has ended.
    let freed = async {
        while start(Config { listen: address, ..house::config() }).is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), freed).await.unwrap();
}

#[tokio::test]
async fn wait_returns_after_a_shutdown() {
    let (server, _dir) = start(house::config()).unwrap();
    server.shutdown();
    tokio::time::timeout(Duration::from_secs(10), server.wait()).await.unwrap();
}

#[tokio::test]
async fn the_floor_is_offered_when_asked_for_only() {
    let bench = House::with(Config { bench: true, ..house::config() });
    let answer = bench.post_as("", "/bench/hello", serde_json::json!({"any": 1})).await;
    assert_eq!(answer.done(), serde_json::json!({"hello": "world"}));
    let plain = House::open();
    let answer = plain.post_as("", "/bench/hello", serde_json::json!({})).await;
    assert_eq!(answer.problem(), (404, "no_route".into()));
}

/// Sends raw bytes and returns what comes back until the server closes or falls silent.
async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_millis(500), read).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn bytes_that_are_no_http_do_not_matter() {
    let house = House::open();
    let address = house.server.local_addr();
    let huge = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(1 << 20));
    for bytes in
        [&b"\x16\x03\x01\x02\x00"[..], b"GET\r\n\r\n", b"\0\0\0\0\r\n\r\n", huge.as_bytes()]
    {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(bytes).await;
    }
    let bad =
        raw(address, b"POST /v1/owners HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n").await;
    assert!(bad.starts_with("HTTP/1.1 400"), "{bad}");
    assert_eq!(house.get("/healthz").await.status, 200);
}
