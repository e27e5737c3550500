//! The follower against a server that says exactly what a test wants.

use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

struct Server {
    listener: TcpListener,
}

impl Server {
    async fn start() -> (Self, Http) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (Self { listener }, Http::new(&url, Some("key")).unwrap())
    }

    /// Accepts one connection and gives it with the request's head, in lower case.
    async fn accept(&self) -> (TcpStream, String) {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        (stream, String::from_utf8(head).unwrap().to_lowercase())
    }
}

fn item(number: u64) -> String {
    let link = "ab".repeat(32);
    format!(
        "id: {number}\nevent: revocation\ndata: {{\"number\":{number},\"index\":{},\"link\":\"{link}\",\
         \"time\":1795402042000000000,\"ledger\":\"default\",\"kind\":\"revocation.issued\",\
         \"selector\":{{\"agent\":\"a1\"}},\"suspend\":true,\"reason_code\":\"operator\",\
         \"reason\":null,\"by\":\"system\",\"cause\":null}}\n\n",
        number * 10
    )
}

/// The next signal in short.
async fn next(signals: &mut Signals) -> String {
    match signals.next().await.unwrap() {
        Signal::Alive => "alive".to_owned(),
        Signal::Item(item) => format!("item {}", item.number),
        Signal::Lost { .. } => "lost".to_owned(),
        Signal::Missed { after } => format!("missed {after:?}"),
    }
}

async fn check(says: &str, hears: &[&str]) {
    let (server, http) = Server::start().await;
    let mut signals = follow(http, Some(6));
    let accept = async {
        let (mut stream, head) = server.accept().await;
        assert!(head.contains("last-event-id: 6"), "{head}");
        assert!(head.contains("authorization: bearer key"), "{head}");
        stream.write_all(says.as_bytes()).await.unwrap();
        stream
    };
    let hear = async {
        for expected in hears {
            assert_eq!(next(&mut signals).await, *expected, "after `{says}`");
        }
    };
    let (_stream, ()) = tokio::join!(accept, hear);
}

#[tokio::test]
async fn items_come_in_order_and_a_heartbeat_ends_the_backlog() {
    let says = format!("{}{}: heartbeat\n\n{}", item(7), item(8), item(9));
    check(&says, &["item 7", "item 8", "alive", "item 9"]).await;
}

#[tokio::test]
async fn a_hole_in_the_numbers_is_reported_before_what_follows_it() {
    check(&format!("{}{}", item(7), item(9)), &["item 7", "missed Some(7)", "item 9"]).await;
    let says = format!("{}event: heartbeat\nid: 8\ndata: {{}}\n\n", item(7));
    check(&says, &["item 7", "missed Some(7)", "alive"]).await;
}

#[tokio::test]
async fn other_events_are_not_items() {
    let says = format!("event: lagged\ndata: {{\"number\":6}}\n\n{}", item(7));
    check(&says, &["item 7"]).await;
}

#[tokio::test]
async fn what_was_heard_before_is_not_heard_again() {
    let says = format!("{}{}{}", item(5), item(6), item(7));
    check(&says, &["item 7"]).await;
}

#[tokio::test]
async fn an_item_that_is_not_understood_counts_as_missed() {
    check("id: 7\nevent: revocation\ndata: {\"number\":7}\n\n", &["missed Some(6)"]).await;
}

#[tokio::test]
async fn a_broken_stream_is_resumed_behind_the_last_item() {
    let (server, http) = Server::start().await;
    let mut signals = follow(http, None);
    let serve = async {
        let (mut first, head) = server.accept().await;
        assert!(!head.contains("last-event-id"), "{head}");
        first.write_all(format!(": heartbeat\n\n{}", item(3)).as_bytes()).await.unwrap();
        drop(first);
        let (mut second, head) = server.accept().await;
        assert!(head.contains("last-event-id: 3"), "{head}");
        second.write_all(format!("{}: heartbeat\n\n", item(4)).as_bytes()).await.unwrap();
        second
    };
    let hear = async {
        for expected in ["alive", "item 3", "lost", "item 4", "alive"] {
            assert_eq!(next(&mut signals).await, expected);
        }
    };
    tokio::join!(serve, hear);
}

#[tokio::test]
async fn a_stream_that_breaks_before_any_number_may_have_missed_something() {
    let (server, http) = Server::start().await;
    let mut signals = follow(http, None);
    let serve = async {
        let (mut first, _) = server.accept().await;
        first.write_all(b": heartbeat\n\n").await.unwrap();
        drop(first);
        let (mut second, _) = server.accept().await;
        second.write_all(b": heartbeat\n\n").await.unwrap();
        second
    };
    let hear = async {
        for expected in ["alive", "lost", "missed None", "alive"] {
            assert_eq!(next(&mut signals).await, expected);
        }
    };
    tokio::join!(serve, hear);
}

#[tokio::test]
async fn silence_for_one_lease_is_a_loss() {
    let (server, http) = Server::start().await;
    let mut signals = follow(http, None);
    let serve = async {
        let (mut stream, _) = server.accept().await;
        stream.write_all(b": heartbeat\n\n").await.unwrap();
        stream
    };
    let hear = async {
        assert_eq!(next(&mut signals).await, "alive");
        let alive = Instant::now();
        let Some(Signal::Lost { since }) = signals.next().await else { panic!("not lost") };
        assert!(since <= alive && since.elapsed() >= LEASE, "{:?}", since.elapsed());
    };
    let (_stream, ()) = tokio::join!(serve, hear);
}
