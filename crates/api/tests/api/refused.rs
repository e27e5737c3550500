//! What is turned away leaves a trace, a small one, and none of what was shown at the door.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bailiwick_api::Config;
use reqwest::Method;
use serde_json::{Value, json};

use super::house::{self, House, JSON, question};
use super::identity::issuer::{AUDIENCE, Issuer, Key, merged};

/// A furnished house that records soon what it turns away.
async fn house(issuer: &Issuer) -> House {
    let house = House::with(Config {
        count_refused: Duration::from_millis(10),
        issuers: vec![issuer.trusted()],
        public_url: Some(AUDIENCE.to_owned()),
        ..house::config()
    });
    house.furnish().await;
    house
}

/// What audit says was turned away: who, why and what, and how often.
async fn counted(house: &House) -> BTreeMap<String, u64> {
    let sql = "select detail from events where kind = 'denials.aggregated'";
    let answer = house.post("/v1/sql", json!({"sql": sql})).await.done();
    let mut counted = BTreeMap::new();
    for row in answer["rows"].as_array().unwrap() {
        let detail: Value = serde_json::from_str(row[0].as_str().unwrap()).unwrap();
        for one in detail["denials"].as_array().unwrap() {
            let (key, token) = (&one["actor"]["credential"]["id"], &one["actor"]["token"]);
            let human = token["owner"].as_str();
            let who = key.as_str().or(human).unwrap_or("nobody");
            let (code, what) = (one["code"].as_str().unwrap(), one["what"].as_str().unwrap());
            *counted.entry(format!("{who} {code} {what}")).or_default() +=
                one["count"].as_u64().unwrap();
        }
    }
    counted
}

/// Waits until so many are recorded, and tells which.
async fn recorded(house: &House, number: u64) -> BTreeMap<String, u64> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let counted = counted(house).await;
        if counted.values().sum::<u64>() >= number {
            return counted;
        }
        assert!(Instant::now() < deadline, "{counted:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn every_way_of_being_turned_away_is_recorded_without_what_was_shown() {
    let issuer = Issuer::open(Key::ec()).await;
    let house = house(&issuer).await;
    let agent = house.key("agent", Some("a1")).await;
    let short = json!({"credential": "short", "role": "auditor", "ttl": "1s"});
    let expired = house.post("/v1/credentials", short).await.done();
    let expired = expired["key"].as_str().unwrap().to_owned();
    while house.get_as(&expired, "/v1/grants").await.status == 200 {}
    let used_up = recorded(&house, 1).await;
    assert_eq!(used_up, BTreeMap::from([line("nobody credential_invalid GET /v1/grants", 1)]));

    let valid = issuer.agent();
    let claims = merged(issuer.claims(), json!({"act": {"sub": "a1"}, "sub": "mallory"}));
    let other = Issuer::open(Key::ec()).await;
    let forged = other.signed(&issuer.header(), &claims.to_string());
    let strangers = issuer.token(json!({"sub": "mallory", "scope": "bailiwick:operator"}));
    let events = house.events();
    for _ in 0..3 {
        let policy = json!({"text": "permit (principal, action, resource);"}).to_string();
        let put = house.send(Method::PUT, "/v1/policies/mine", &agent, &[JSON], policy);
        assert_eq!(put.await.status, 403);
        assert_eq!(house.get_as("bwk_unknown", "/v1/agents").await.status, 401);
        assert_eq!(house.get_as(&expired, "/v1/owners").await.status, 401);
        assert_eq!(house.get_as(&strangers, "/v1/tasks").await.status, 401);
        assert_eq!(house.ask(&forged, &question()).await.status, 401);
        assert_eq!(house.ask("", &question()).await.status, 401);
        let suspend = house.post_as(&valid, "/v1/agents/a1/suspend", json!({})).await;
        assert_eq!(suspend.status, 403);
        // Neither what works nor what does not exist is turned away.
        assert_eq!(house.get_as(&valid, "/v1/agents/a1").await.status, 200);
        assert_eq!(house.get_as("bwk_unknown", "/v1/nothing").await.status, 404);
    }
    let expected = [
        line("agent-a1 not_permitted PUT /v1/policies/{id}", 3),
        line("alice not_permitted POST /v1/agents/{id}/suspend", 3),
        line("nobody credential_invalid GET /v1/agents", 3),
        line("nobody credential_invalid GET /v1/owners", 3),
        line("nobody credential_invalid GET /v1/grants", 1),
        line("nobody credential_invalid GET /v1/tasks", 3),
        line("nobody credential_invalid POST /access/v1/evaluation", 6),
    ];
    assert_eq!(recorded(&house, 22).await, BTreeMap::from(expected));
    // That is all that came of it, by the ledger itself, and nothing of a key or a token.
    let sql = format!(
        "select kind, actor_kind, detail from events where seq >= {events} and kind <> 'query.run'"
    );
    let all = house.post("/v1/sql", json!({"sql": sql})).await.done();
    let rows = all["rows"].as_array().unwrap();
    assert!(!rows.is_empty());
    for row in rows {
        assert_eq!(row[0], "denials.aggregated", "{row}");
        assert!(!row.to_string().contains("mallory"), "{row}");
    }
    let shown = house.post("/v1/sql", json!({"sql": "select detail from events"})).await.text;
    for secret in [&agent, &expired, &valid, &forged, &strangers] {
        assert!(!shown.contains(secret), "{shown}");
        let signature = secret.rsplit('.').next().unwrap();
        assert!(!shown.contains(signature), "{shown}");
    }
    assert!(!shown.contains("bwk_unknown"));
}

fn line(text: &str, count: u64) -> (String, u64) {
    (text.to_owned(), count)
}

#[tokio::test]
async fn a_thousand_refusals_are_one_event_and_none_is_lost_when_the_server_ends() {
    let house = House::open();
    house.furnish().await;
    let before = house.events();
    for _ in 0..100 {
        let ten = (0..10).map(|n| async move { format!("/v1/agents/a{n}") });
        let asked = ten.map(|path| async { house.get_as("bwk_unknown", &path.await).await.status });
        let answers = futures::future::join_all(asked).await;
        assert!(answers.iter().all(|status| *status == 401), "{answers:?}");
    }
    assert_eq!(house.events(), before);
    house.server.shutdown();
    let deadline = Instant::now() + Duration::from_secs(20);
    while house.events() == before {
        assert!(Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    assert_eq!(house.events(), before + 1);
    let mut entries = house.ledger.follow(0);
    let mut counts = Vec::new();
    while counts.is_empty() {
        let entry = entries.next().await.unwrap().unwrap();
        for recorded in &*entry.events {
            if let bailiwick_core::event::Fact::DenialsAggregated(f) = &recorded.event.fact {
                counts = f.denials.iter().map(|one| (one.what.to_string(), one.count)).collect();
            }
        }
    }
    assert_eq!(counts, [("GET /v1/agents/{id}".to_owned(), 1_000)]);
}
