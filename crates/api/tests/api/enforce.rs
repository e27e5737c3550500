//! Enforcement points hold their lease by pings, and a revocation says when none of them acts
//! against it any more.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bailiwick_core::enforce::{BOUND, LEASE};
use serde_json::{Value, json};

use super::house::{Answer, House};

const NONCE: &str = "00112233445566778899aabbccddeeff";
/// Between the pings of a test's point.
const PACE: Duration = Duration::from_millis(20);

async fn ping(house: &House, key: &str, point: &str, applied: Option<u64>) -> Answer {
    let body = json!({"nonce": NONCE, "applied": applied});
    house.post_as(key, &format!("/v1/enforcement-points/{point}/ping"), body).await
}

async fn feed(house: &House) -> u64 {
    ping(house, &house.admin, "observer", None).await.done()["number"].as_u64().unwrap()
}

/// Points that ping for as long as `work` takes; those that hear have applied whatever number they
/// were answered with.
struct Pinging<'a> {
    house: &'a House,
    points: Vec<(&'static str, bool)>,
    told: Mutex<Option<u64>>,
}

impl<'a> Pinging<'a> {
    fn new(house: &'a House, points: &[(&'static str, bool)]) -> Self {
        Self { house, points: points.to_vec(), told: Mutex::new(None) }
    }

    async fn once(&self) {
        for (point, hears) in &self.points {
            let applied = if *hears { *self.told.lock().unwrap() } else { Some(0) };
            let answer = ping(self.house, &self.house.admin, point, applied).await.done();
            *self.told.lock().unwrap() = answer["number"].as_u64();
        }
    }

    async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        self.once().await;
        let pings = async {
            loop {
                self.once().await;
                tokio::time::sleep(PACE).await;
            }
        };
        tokio::select! {
            done = work => done,
            () = pings => unreachable!("pinging does not end"),
        }
    }
}

async fn revoke(house: &House, query: &str) -> Answer {
    let body = json!({"selector": {"resource": "crm://case/1"}, "grants_only": true});
    house.post(&format!("/v1/revocations{query}"), body).await
}

fn milliseconds(value: &Value) -> u64 {
    value["milliseconds"].as_u64().unwrap()
}

/// The event behind a receipt says what the answer did.
async fn is_recorded(house: &House, answer: &Value) {
    let enforced = &answer["enforced"];
    let receipt = &enforced["receipt"];
    let event = house.get(&format!("/v1/events/{}", receipt["index"])).await.done();
    assert_eq!((&event["kind"], &event["link"]), (&json!("revocation.enforced"), &receipt["link"]));
    let about = &event["about"];
    assert_eq!((&about["cause"], &about["actor"]), (&answer["receipt"]["index"], &json!("system")));
    let data = &event["data"];
    assert_eq!(data["number"], enforced["number"]);
    assert_eq!(data["milliseconds"], enforced["milliseconds"]);
    let points = enforced["points"].as_array().unwrap();
    assert_eq!(data["points"].as_array().unwrap().len(), points.len());
    let acknowledged = points.iter().filter(|point| point["acknowledged"] == true).count();
    assert_eq!(data["acknowledged"], acknowledged);
    assert_eq!(data["expired"], points.len() - acknowledged);
}

#[tokio::test]
async fn a_wait_ends_with_acknowledgements_and_the_ends_of_leases() {
    let began = Instant::now();
    let house = House::open();
    a_new_writer_waits_for_points_that_it_does_not_know(&house, began).await;
    nobody_is_waited_for_where_nobody_is(&house).await;
    points_that_hear_end_the_wait(&house).await;
    a_point_that_hears_nothing_runs_out(&house).await;
    two_who_wait_hear_the_same(&house).await;
    let metrics = house.get_as("", "/metrics").await.text;
    // As many as were done.
    assert!(metrics.contains("bailiwick_enforced_seconds_count 6\n"), "{metrics}");
    assert!(metrics.contains("bailiwick_enforcement_points "), "{metrics}");
}

async fn a_new_writer_waits_for_points_that_it_does_not_know(house: &House, began: Instant) {
    let early = revoke(house, "?wait=enforced&timeout=50ms").await;
    assert_eq!(early.status, 201);
    let early = early.done();
    let enforced = &early["enforced"];
    assert_eq!((&enforced["done"], &enforced["unknown"]), (&json!(false), &json!(true)));
    assert_eq!((&enforced["waiting"], &enforced["points"]), (&json!([]), &json!([])));
    assert_eq!(enforced["receipt"], Value::Null);
    assert!((50..BOUND.0).contains(&milliseconds(enforced)), "{enforced}");
    assert_eq!(enforced["number"], 1);

    let answer = revoke(house, "?wait=enforced").await.done();
    assert!(began.elapsed() >= Duration::from_millis(BOUND.0));
    let enforced = &answer["enforced"];
    assert_eq!((&enforced["done"], &enforced["unknown"]), (&json!(true), &json!(false)));
    is_recorded(house, &answer).await;
}

async fn nobody_is_waited_for_where_nobody_is(house: &House) {
    let answer = revoke(house, "?wait=enforced&timeout=60s").await.done();
    let enforced = &answer["enforced"];
    assert_eq!((&enforced["done"], &enforced["points"]), (&json!(true), &json!([])));
    assert!(milliseconds(enforced) < 1_000, "{enforced}");
    is_recorded(house, &answer).await;
}

async fn points_that_hear_end_the_wait(house: &House) {
    let pinging = Pinging::new(house, &[("g1", true), ("g2", true)]);
    let answer = pinging.during(revoke(house, "?wait=enforced")).await.done();
    let enforced = &answer["enforced"];
    assert_eq!((&enforced["done"], &enforced["waiting"]), (&json!(true), &json!([])));
    // They said so: their leases would have lasted longer.
    assert!(milliseconds(enforced) < LEASE.0, "{enforced}");
    for (point, name) in enforced["points"].as_array().unwrap().iter().zip(["g1", "g2"]) {
        assert_eq!((&point["point"], &point["acknowledged"]), (&json!(name), &json!(true)));
        assert!(milliseconds(point) <= milliseconds(enforced));
    }
    assert_eq!(enforced["points"].as_array().unwrap().len(), 2);
    is_recorded(house, &answer).await;
}

async fn a_point_that_hears_nothing_runs_out(house: &House) {
    let pinging = Pinging::new(house, &[("deaf", false), ("g1", true), ("g2", true)]);
    let wait = async {
        let short = revoke(house, "?wait=enforced&timeout=300ms").await.done();
        (short, revoke(house, "?wait=enforced").await.done())
    };
    let (short, answer) = pinging.during(wait).await;
    let enforced = &short["enforced"];
    assert_eq!((&enforced["done"], &enforced["waiting"]), (&json!(false), &json!(["deaf"])));
    assert_eq!((&enforced["unknown"], &enforced["receipt"]), (&json!(false), &Value::Null));
    assert!(enforced["points"].as_array().unwrap().iter().all(|p| p["point"] != "deaf"));

    let enforced = &answer["enforced"];
    assert_eq!((&enforced["done"], &enforced["waiting"]), (&json!(true), &json!([])));
    let points = enforced["points"].as_array().unwrap();
    let names: Vec<_> =
        points.iter().map(|point| (&point["point"], &point["acknowledged"])).collect();
    let (yes, no) = (json!(true), json!(false));
    assert_eq!(names, [(&json!("deaf"), &no), (&json!("g1"), &yes), (&json!("g2"), &yes)]);
    // It goes on pinging, but is told of a number that it has not applied.
    assert!((LEASE.0 / 2..3 * LEASE.0).contains(&milliseconds(&points[0])), "{enforced}");
    assert!(milliseconds(&points[1]) < milliseconds(&points[0]), "{enforced}");
    is_recorded(house, &answer).await;
}

async fn two_who_wait_hear_the_same(house: &House) {
    // The deaf one is gone, and nobody waits for it.
    let left = house.delete_as(&house.admin, "/v1/enforcement-points/deaf").await;
    assert_eq!((left.status, left.text.as_str()), (204, ""));
    let pinging = Pinging::new(house, &[("g1", true), ("g2", true)]);
    let both = async {
        tokio::join!(revoke(house, "?wait=enforced"), revoke(house, "?wait=enforced&timeout=10s"))
    };
    let (one, other) = pinging.during(both).await;
    let (one, other) = (one.done(), other.done());
    assert_ne!(one["enforced"]["number"], other["enforced"]["number"]);
    for answer in [one, other] {
        assert_eq!(answer["enforced"]["done"], true);
        assert_eq!(answer["enforced"]["points"].as_array().unwrap().len(), 2);
        is_recorded(house, &answer).await;
    }
}

#[tokio::test]
async fn a_ping_is_answered_with_where_the_feed_stands() {
    let house = House::open();
    house.furnish().await;
    let key = house.key("enforcer", None).await;
    let agent = house.key("agent", Some("a1")).await;
    let events = house.events();
    let first = ping(&house, &key, "g1", None).await;
    assert_eq!(first.header("cache-control"), "no-store");
    let first = first.done();
    let number = first["number"].as_u64().unwrap();
    let expected = json!({"nonce": NONCE, "number": number, "lease_ms": 1000, "ledger": "default"});
    assert_eq!(first, expected);
    let absent = json!({"nonce": NONCE});
    let absent = house.post_as(&agent, "/v1/enforcement-points/a1-7f/ping", absent).await.done();
    assert_eq!(absent["number"], number);
    assert_eq!(house.events(), events, "a ping is not recorded");

    revoke(&house, "").await.done();
    let deadline = Instant::now() + Duration::from_secs(5);
    while ping(&house, &key, "g1", Some(number)).await.done()["number"] != number + 1 {
        assert!(Instant::now() < deadline, "the number never comes");
    }
    let listed = house.get("/v1/enforcement-points").await.done();
    assert_eq!(listed["next_cursor"], Value::Null);
    let [other, point] = listed["items"].as_array().unwrap().as_slice() else { panic!("{listed}") };
    assert_eq!((&other["point"], &other["applied"]), (&json!("a1-7f"), &Value::Null));
    assert_eq!((&point["point"], &point["applied"]), (&json!("g1"), &json!(number)));
    assert_eq!(point["live"], true);
    assert!(point["answered_ms_ago"].as_u64().unwrap() < 5_000);
}

#[tokio::test]
async fn a_ping_that_is_none_is_refused_and_makes_no_point() {
    let house = House::open();
    let path = "/v1/enforcement-points/g1/ping";
    let last = feed(&house).await;
    for (body, code) in [
        (json!({}), "invalid_body"),
        (json!({"nonce": ""}), "invalid_body"),
        (json!({"nonce": NONCE.to_uppercase()}), "invalid_body"),
        (json!({"nonce": &NONCE[1..]}), "invalid_body"),
        (json!({"nonce": format!("{NONCE}0")}), "invalid_body"),
        (json!({"nonce": "é".repeat(16)}), "invalid_body"),
        (json!({"nonce": 7}), "invalid_body"),
        (json!({"nonce": NONCE, "applied": -1}), "invalid_body"),
        (json!({"nonce": NONCE, "applied": "1"}), "invalid_body"),
        (json!({"nonce": NONCE, "applied": null, "lease_ms": 9}), "invalid_body"),
        (json!({"nonce": NONCE, "applied": last + 1}), "feed_future"),
    ] {
        let answer = house.post(path, body.clone()).await;
        assert_eq!(answer.problem(), (400, code.to_owned()), "{body}");
    }
    let bad_id = ping(&house, &house.admin, "g%201", None).await;
    assert_eq!(bad_id.problem(), (400, "invalid_id".into()));
    let subscriber = house.key("subscriber", None).await;
    let other_role = ping(&house, &subscriber, "g1", None).await;
    assert_eq!(other_role.problem(), (403, "not_permitted".into()));
    let listed = house.get("/v1/enforcement-points").await.done();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed["items"][0]["point"], "observer");
}

#[tokio::test]
async fn a_point_is_its_credentials_until_it_is_gone() {
    let house = House::open();
    let key = house.key("enforcer", None).await;
    let path = "/v1/enforcement-points/g1";
    ping(&house, &key, "g1", None).await.done();
    let other = ping(&house, &house.admin, "g1", Some(0)).await;
    assert_eq!(other.problem(), (409, "point_taken".into()));
    let other = house.delete_as(&house.admin, path).await;
    assert_eq!(other.problem(), (409, "point_taken".into()));
    let listed = house.get("/v1/enforcement-points").await.done();
    assert_eq!(listed["items"][0]["applied"], Value::Null, "another's word is not taken for it");
    // Gone is gone, however often it is said.
    for _ in 0..2 {
        assert_eq!(house.delete_as(&key, path).await.status, 204);
    }
    assert_eq!(house.get("/v1/enforcement-points").await.done()["items"], json!([]));
    ping(&house, &house.admin, "g1", None).await.done();
}

#[tokio::test]
async fn points_are_listed_by_name_in_pages_that_add_up() {
    let house = House::open();
    let names = ["g1", "g2", "g3", "g4", "g5"];
    for name in ["g3", "g1", "g5", "g2", "g4"] {
        ping(&house, &house.admin, name, Some(0)).await.done();
    }
    for limit in [1, 2, 5, 6] {
        let (mut all, mut query) = (Vec::new(), format!("?limit={limit}"));
        loop {
            let page = house.get(&format!("/v1/enforcement-points{query}")).await.done();
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= limit);
            all.extend(items.iter().map(|item| item["point"].as_str().unwrap().to_owned()));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            query = format!("?limit={limit}&cursor={cursor}");
        }
        assert_eq!(all, names);
    }
    let elsewhere = house.get("/v1/enforcement-points?cursor=00").await;
    assert_eq!(elsewhere.problem(), (400, "invalid_cursor".into()));
}

#[tokio::test]
async fn nobody_may_act_on_a_ledger_that_is_closed() {
    let house = House::open();
    ping(&house, &house.admin, "g1", None).await.done();
    house.ledger.close();
    let deadline = Instant::now() + 3 * Duration::from_millis(LEASE.0);
    let refused = loop {
        let answer = ping(&house, &house.admin, "g1", None).await;
        if answer.status != 200 {
            break answer;
        }
        assert!(Instant::now() < deadline, "pings are answered without a writer");
        tokio::time::sleep(PACE).await;
    };
    assert_eq!(refused.problem(), (503, "unavailable".into()));
}

#[tokio::test]
async fn a_revocation_that_does_not_wait_answers_as_it_always_did() {
    let house = House::open();
    let answer = revoke(&house, "").await.done();
    let members: BTreeSet<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, BTreeSet::from(["durable", "id", "in_force", "receipt"]));
    let events = house.events();
    for (query, code) in [
        ("?wait=durable", "invalid_query"),
        ("?wait=", "invalid_query"),
        ("?timeout=1s", "invalid_query"),
        ("?wait=enforced&until=1s", "invalid_query"),
        ("?wait=enforced&timeout=soon", "invalid_span"),
        ("?wait=enforced&timeout=60001ms", "out_of_range"),
    ] {
        let answer = revoke(&house, query).await;
        assert_eq!(answer.problem(), (400, code.to_owned()), "{query}");
    }
    assert_eq!(house.events(), events, "nothing is revoked by a request that is none");
}

#[tokio::test]
async fn a_shutdown_ends_a_wait_with_what_is_known() {
    let house = House::open();
    let events = house.events();
    let shuts = async {
        while house.events() == events {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        house.server.shutdown();
    };
    let (answer, ()) = tokio::join!(revoke(&house, "?wait=enforced&timeout=60s"), shuts);
    let answer = answer.done();
    assert_eq!((&answer["durable"], &answer["enforced"]["done"]), (&json!(true), &json!(false)));
    assert_eq!(answer["enforced"]["unknown"], true);
    assert_eq!(answer["enforced"]["receipt"], Value::Null);
}
