//! The revocation stream: what is taken back is heard, in order, and nothing is missed.

use std::time::Duration;

use reqwest::Response;
use serde_json::{Value, json};

use super::house::{House, read};

/// A subscriber that takes the stream apart.
struct Subscriber {
    response: Response,
    rest: String,
}

#[derive(Debug, Default, PartialEq)]
struct Event {
    id: Option<u64>,
    name: String,
    data: Value,
}

impl Subscriber {
    async fn open(house: &House, key: &str, query: &str, last: Option<u64>) -> Self {
        let url = house.url(&format!("/v1/revocations/stream{query}"));
        let mut request = house.client.get(url).bearer_auth(key);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, rest: String::new() }
    }

    /// The next event; none at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.rest.split_once("\n\n") {
                let event = parse(event);
                self.rest = rest.to_owned();
                return Some(event);
            }
            let chunk = tokio::time::timeout(Duration::from_secs(5), self.response.chunk());
            let chunk = chunk.await.expect("a sign of life every 250 ms").ok()??;
            self.rest.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn item(&mut self) -> Event {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if event.name == "revocation" {
                return event;
            }
            assert_eq!(event.name, "heartbeat");
        }
    }
}

fn parse(text: &str) -> Event {
    let mut event = Event::default();
    for line in text.lines() {
        match line.split_once(": ").unwrap() {
            ("id", id) => event.id = Some(id.parse().unwrap()),
            ("event", name) => name.clone_into(&mut event.name),
            ("data", data) => event.data = serde_json::from_str(data).unwrap(),
            other => panic!("{other:?}"),
        }
    }
    event
}

async fn revoke(house: &House, selector: Value) -> Value {
    house.post("/v1/revocations", json!({"selector": selector, "grants_only": true})).await.done()
}

#[tokio::test]
async fn a_subscriber_hears_what_is_taken_back_from_now_on() {
    let house = House::open();
    house.furnish().await;
    let key = house.key("subscriber", None).await;
    let mut subscriber = Subscriber::open(&house, &key, "", None).await;
    let hello = subscriber.next().await.unwrap();
    assert_eq!(hello.name, "heartbeat");
    assert_eq!(hello.id, hello.data["number"].as_u64());
    assert!(hello.data["time"].as_str().unwrap().ends_with('Z'));
    let body = json!({"selector": {"agent": "a1"}, "reason_code": "drill", "reason": "two\nlines"});
    let done = house.post("/v1/revocations", body).await.done();
    let event = subscriber.item().await;
    assert_eq!(event.id.unwrap(), hello.id.unwrap() + 1);
    let data = &event.data;
    assert_eq!(data["index"], done["receipt"]["index"]);
    assert_eq!(data["link"], done["receipt"]["link"]);
    assert_eq!((&data["kind"], &data["ledger"]), (&json!("revocation.issued"), &json!("default")));
    assert_eq!((&data["selector"], &data["suspend"]), (&json!({"agent": "a1"}), &json!(true)));
    assert_eq!(data["reason"], "two\nlines");
    assert_eq!(data["number"].as_u64(), event.id);
}

#[tokio::test]
async fn a_subscriber_resumes_where_it_broke_off() {
    let house = House::open();
    house.furnish().await;
    let mut subscriber = Subscriber::open(&house, &house.admin, "?after=0", None).await;
    // The furniture's own narrowing events come first: numbers begin at 1.
    assert_eq!(subscriber.item().await.id, Some(1));
    drop(subscriber);
    for n in 0..300 {
        revoke(&house, json!({"resource": format!("crm://case/{n}")})).await;
    }
    let mut subscriber = Subscriber::open(&house, &house.admin, "?after=250", Some(1)).await;
    for number in 2..=301 {
        assert_eq!(subscriber.item().await.id, Some(number));
    }
    revoke(&house, json!("all")).await;
    assert_eq!(subscriber.item().await.data["selector"], "all");
}

#[tokio::test]
async fn every_subscriber_hears_everything_in_order() {
    let house = House::open();
    house.furnish().await;
    let mut subscribers = Vec::new();
    for _ in 0..16 {
        let mut subscriber = Subscriber::open(&house, &house.admin, "", None).await;
        subscriber.next().await.unwrap();
        subscribers.push(subscriber);
    }
    for n in 0..20 {
        revoke(&house, json!({"resource": format!("crm://case/{n}")})).await;
    }
    for mut subscriber in subscribers {
        for n in 0..20 {
            let heard = subscriber.item().await.data["selector"].clone();
            assert_eq!(heard, json!({"resource": format!("crm://case/{n}")}));
        }
    }
}

#[tokio::test]
async fn what_narrows_is_heard_and_what_widens_is_not() {
    let house = House::open();
    house.furnish().await;
    let mut subscriber = Subscriber::open(&house, &house.admin, "", None).await;
    subscriber.next().await.unwrap();
    house.post("/v1/owners", json!({"owner": "bob"})).await.done();
    house.post("/v1/agents/a1/suspend", json!({})).await.done();
    house.post("/v1/agents/a1/reinstate", json!({})).await.done();
    house.post("/v1/owners/alice/disable", json!({})).await.done();
    house.post("/v1/policies/activate", json!({})).await.done();
    for (kind, selector) in [
        ("agent.suspended", json!({"agent": "a1"})),
        ("owner.disabled", json!({"owner": "alice"})),
        ("recheck", json!("all")),
    ] {
        let event = subscriber.item().await;
        assert_eq!((&event.data["kind"], &event.data["selector"]), (&json!(kind), &selector));
    }
}

#[tokio::test]
async fn a_number_that_was_not_given_yet_is_refused() {
    let house = House::open();
    let key = house.key("subscriber", None).await;
    let answer = house.get_as(&key, "/v1/revocations/stream?after=7").await;
    assert_eq!(answer.problem(), (400, "feed_future".into()));
    let request = house.client.get(house.url("/v1/revocations/stream")).bearer_auth(&key);
    let answer = read(request.header("last-event-id", "x").send().await.unwrap()).await;
    assert_eq!(answer.problem(), (400, "invalid_query".into()));
}

#[tokio::test]
async fn a_stream_ends_when_its_key_does() {
    let house = House::open();
    let key = house.key("subscriber", None).await;
    let mut subscriber = Subscriber::open(&house, &key, "", None).await;
    assert_eq!(subscriber.next().await.unwrap().name, "heartbeat");
    house.post("/v1/credentials/subscriber-key/revoke", json!({})).await.done();
    let mut last = String::new();
    while let Some(event) = subscriber.next().await {
        last = event.name;
    }
    assert_eq!(last, "credential_invalid");
}

#[tokio::test]
async fn the_stream_is_for_those_who_must_hear() {
    let house = House::open();
    let key = house.key("approver", None).await;
    let answer = house.get_as(&key, "/v1/revocations/stream").await;
    assert_eq!(answer.problem(), (403, "not_permitted".into()));
}
