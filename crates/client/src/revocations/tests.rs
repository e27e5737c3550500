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
    async fn asked(&self) -> (TcpStream, String) {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        (stream, String::from_utf8(head).unwrap().to_lowercase())
    }

    /// Opens the stream behind `after` that is asked for, and says something.
    async fn accept(&self, after: Option<u64>, says: &str) -> TcpStream {
        let (mut stream, head) = self.asked().await;
        assert!(head.contains("authorization: bearer key"), "{head}");
        match after {
            Some(after) => {
                assert!(head.contains(&format!("last-event-id: {after}\r\n")), "{head}");
            }
            None => assert!(!head.contains("last-event-id"), "{head}"),
        }
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.write_all(says.as_bytes()).await.unwrap();
        stream
    }

    /// Refuses one request for what lies behind `after`.
    async fn refuse(&self, after: u64, status: u16, code: &str) {
        let (mut stream, head) = self.asked().await;
        assert!(head.contains(&format!("last-event-id: {after}\r\n")), "{head}");
        let body = format!(r#"{{"code":"{code}","title":"t","status":{status}}}"#);
        let answer = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/problem+json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
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

fn heartbeat(number: u64) -> String {
    format!("id: {number}\nevent: heartbeat\ndata: {{\"number\":{number}}}\n\n")
}

/// The next signal in short.
async fn next(signals: &mut Revocations) -> String {
    match signals.next().await.unwrap() {
        Signal::Alive { number } => format!("alive {number}"),
        Signal::Item(item) => format!("item {}", item.number),
        Signal::Behind { after, shown, early } => {
            assert!(early.is_none_or(|item| item.number == shown));
            format!("behind {after} {shown}")
        }
        Signal::Lost { .. } => "lost".to_owned(),
        Signal::Missed { after } => format!("missed {after:?}"),
    }
}

async fn hear(signals: &mut Revocations, hears: &[&str]) {
    for expected in hears {
        let heard = tokio::time::timeout(Duration::from_secs(10), next(signals)).await;
        assert_eq!(heard.as_deref(), Ok(*expected), "of {hears:?}");
    }
}

/// A stream that is resumed behind number 6 says this, and is heard so.
async fn check(says: &str, hears: &[&str]) {
    let (server, http) = Server::start().await;
    let mut signals = Revocations::follow(&http, Some(6));
    tokio::join!(server.accept(Some(6), says), hear(&mut signals, hears));
}

#[tokio::test]
async fn items_come_in_order_and_a_heartbeat_ends_the_backlog() {
    let says = format!("{}{}{}{}", item(7), item(8), heartbeat(8), item(9));
    check(&says, &["item 7", "item 8", "alive 8", "item 9"]).await;
}

#[tokio::test]
async fn what_is_missing_is_asked_for_again_and_comes_in_order() {
    for shows in [item(9), heartbeat(9)] {
        let (server, http) = Server::start().await;
        let mut signals = Revocations::follow(&http, Some(6));
        let serve = async {
            // What comes behind the hole on the same stream is not waited for.
            let says = format!("{}{}{shows}{}", item(7), heartbeat(7), item(10));
            let mut first = server.accept(Some(6), &says).await;
            let says = [item(8), item(9), item(10), heartbeat(10)].concat();
            let second = server.accept(Some(7), &says).await;
            assert_eq!(first.read(&mut [0]).await.unwrap_or(0), 0, "the first stream is dropped");
            second
        };
        let hears = ["item 7", "alive 7", "behind 7 9", "item 8", "item 9", "item 10", "alive 10"];
        tokio::join!(serve, hear(&mut signals, &hears));
        assert_eq!(signals.number(), Some(10));
    }
}

#[tokio::test]
async fn a_hole_that_stays_is_said_each_time_and_nothing_comes_from_behind_it() {
    let (server, http) = Server::start().await;
    let mut signals = Revocations::follow(&http, Some(6));
    let begun = Instant::now();
    let serve = async {
        for _ in 0..3 {
            drop(server.accept(Some(6), &item(8)).await);
        }
    };
    tokio::join!(serve, hear(&mut signals, &["behind 6 8", "behind 6 8", "behind 6 8"]));
    assert_eq!(signals.number(), Some(6));
    assert!(begun.elapsed() >= 3 * RETRY_FIRST, "it waits between attempts that bring nothing");
}

#[tokio::test]
async fn items_that_are_no_longer_kept_are_missed_and_it_begins_anew() {
    for (status, code) in [(410, "feed_truncated"), (400, "feed_future")] {
        let (server, http) = Server::start().await;
        let mut signals = Revocations::follow(&http, Some(6));
        let serve = async {
            server.refuse(6, status, code).await;
            server.accept(None, &format!("{}{}", heartbeat(3), item(4))).await
        };
        tokio::join!(serve, hear(&mut signals, &["missed Some(6)", "alive 3", "item 4"]));
    }
}

#[tokio::test]
async fn any_other_refusal_is_tried_again_with_the_same_number() {
    let (server, http) = Server::start().await;
    let mut signals = Revocations::follow(&http, Some(6));
    let serve = async {
        for (status, code) in [(401, "credential_invalid"), (404, "no_route"), (503, "unavailable")]
        {
            server.refuse(6, status, code).await;
        }
        server.accept(Some(6), &format!("{}{}", item(7), heartbeat(7))).await
    };
    tokio::join!(serve, hear(&mut signals, &["item 7", "alive 7"]));
}

#[tokio::test]
async fn other_events_are_not_items() {
    let says = format!(": hello\n\nevent: lagged\ndata: {{\"number\":6}}\n\n{}", item(7));
    check(&says, &["item 7"]).await;
}

#[tokio::test]
async fn what_was_heard_before_is_not_heard_again() {
    let says = [item(5), item(6), item(7), heartbeat(6), item(7), heartbeat(7)].concat();
    check(&says, &["item 7", "alive 7"]).await;
}

#[tokio::test]
async fn an_item_that_is_not_understood_is_missed_and_it_begins_anew() {
    let (server, http) = Server::start().await;
    let mut signals = Revocations::follow(&http, Some(6));
    let serve = async {
        let odd = "id: 7\nevent: revocation\ndata: {\"number\":7}\n\n";
        let first = server.accept(Some(6), &format!("{odd}{}", item(8))).await;
        (first, server.accept(None, &heartbeat(8)).await)
    };
    tokio::join!(serve, hear(&mut signals, &["missed Some(6)", "alive 8"]));
}

#[tokio::test]
async fn a_broken_stream_is_resumed_behind_the_last_item() {
    let (server, http) = Server::start().await;
    let mut signals = Revocations::follow(&http, None);
    let serve = async {
        drop(server.accept(None, &format!("{}{}", heartbeat(2), item(3))).await);
        // Broken off in the middle of an item.
        let whole = item(5);
        drop(server.accept(Some(3), &format!("{}{}", item(4), &whole[..40])).await);
        server.accept(Some(4), &format!("{whole}{}", heartbeat(5))).await
    };
    let hears = ["alive 2", "item 3", "lost", "item 4", "item 5", "alive 5"];
    tokio::join!(serve, hear(&mut signals, &hears));
}

#[tokio::test]
async fn a_stream_that_breaks_before_it_said_where_the_feed_stands_begins_where_it_was_asked_to() {
    let (server, http) = Server::start().await;
    let mut signals = Revocations::follow(&http, None);
    let serve = async {
        drop(server.accept(None, ": hello\n\n").await);
        server.accept(None, &heartbeat(9)).await
    };
    tokio::join!(serve, hear(&mut signals, &["alive 9"]));
}

/// A stream says this every 200 ms and nothing else: it has stalled, and is opened again.
async fn check_stalled(drips: &str) {
    let (server, http) = Server::start().await;
    let mut signals = Revocations::follow(&http, None);
    let serve = async {
        let mut first = server.accept(None, &heartbeat(2)).await;
        let beat = heartbeat(2);
        let drip = async {
            let mut every = tokio::time::interval(Duration::from_millis(200));
            loop {
                every.tick().await;
                // It is dropped at some time.
                let _ = first.write_all(drips.as_bytes()).await;
            }
        };
        tokio::select! {
            () = drip => unreachable!(),
            second = server.accept(Some(2), &beat) => second,
        }
    };
    let hear = async {
        hear(&mut signals, &["alive 2"]).await;
        let alive = std::time::Instant::now();
        let Some(Signal::Lost { since }) = signals.next().await else { panic!("not lost") };
        assert!(since <= alive && since.elapsed() >= LEASE, "{:?}", since.elapsed());
        self::hear(&mut signals, &["alive 2"]).await;
    };
    tokio::join!(serve, hear);
}

#[tokio::test]
async fn a_stream_that_stalls_without_closing_is_opened_again() {
    check_stalled("").await;
}

#[tokio::test]
async fn bytes_that_say_nothing_are_no_sign_of_life() {
    tokio::join!(
        check_stalled(": proxy\n\n"),
        check_stalled("event: heart"),
        check_stalled("event: heartbeat\nid: 1\n\n"),
        check_stalled("event: heartbeat\n\n"),
    );
}
