//! Questions to the record are recorded themselves, and answers come in the form that is asked for.

use std::time::{Duration, Instant};

use bailiwick_core::event::{Actor, Fact, QueryDoor, QueryOutcome, QueryRun};
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::house::{Answer, House, JSON};

const ARROW: &str = "application/vnd.apache.arrow.stream";

/// The questions on the ledger, once there are so many.
async fn questions(house: &House, count: usize) -> Vec<(Actor, QueryRun)> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let events = house.ledger.events(0, 10_000).unwrap();
        let found: Vec<_> = events
            .into_iter()
            .filter_map(|recorded| {
                let Fact::QueryRun(query) = recorded.event.fact else { return None };
                Some((recorded.event.about.actor, query))
            })
            .collect();
        if found.len() >= count {
            assert_eq!(found.len(), count, "{found:?}");
            return found;
        }
        assert!(Instant::now() < deadline, "{found:?}");
        tokio::task::yield_now().await;
    }
}

async fn ask(house: &House, accept: &str, sql: &str) -> Answer {
    let body = json!({"sql": sql}).to_string();
    house.send(Method::POST, "/v1/sql", &house.admin, &[JSON, ("accept", accept)], body).await
}

fn sha256(text: &str) -> String {
    use aws_lc_rs::digest::{SHA256, digest};
    digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn every_question_is_recorded_with_who_asked_and_what_came_of_it() {
    let house = House::open();
    house.furnish().await;
    let auditor = house.key("auditor", None).await;
    let sql = "select seq from events where seq < $n";
    let params = json!({"n": 3});
    let before = house.events();
    let answer = house.post_as(&auditor, "/v1/sql", json!({"sql": sql, "params": params})).await;
    assert_eq!(answer.done()["rows"], json!([[0], [1], [2]]));
    let (by, query) = questions(&house, 1).await.remove(0);
    assert_eq!(by.to_string(), "credential `auditor-key`");
    assert_eq!(query.text.to_string(), sha256(sql));
    assert_eq!(query.parameters.unwrap().to_string(), sha256(r#"{"n":3}"#));
    assert_eq!((query.door, query.outcome), (QueryDoor::Http, QueryOutcome::Answered));
    assert_eq!((query.rows, query.bytes), (3, answer.text.len() as u64));
    assert_eq!((query.name, query.code, query.unrecorded), (None, None, 0));
    // It took into account what was there before it, and not itself.
    assert_eq!(query.as_of, Some(before - 1));
    assert_eq!(answer.json()["as_of_seq"], before - 1);

    let path = "/v1/queries/who-touched";
    let params = json!({"resource": "crm://case"});
    house.post(path, json!({"params": params})).await.done();
    let (by, query) = questions(&house, 2).await.remove(1);
    assert!(by.to_string().starts_with("credential `admin-"), "{by}");
    assert_eq!(query.name.unwrap().as_str(), "who-touched");
    assert_eq!(query.parameters.unwrap().to_string(), sha256(&params.to_string()));
    let sql = "select actor_kind, outcome, reason, bytes_out is not null from events \
               where kind = 'query.run' order by seq";
    let told = house.post("/v1/sql", json!({"sql": sql})).await.done();
    assert_eq!(
        told["rows"],
        json!([["auditor", "answered", null, true], ["admin", "answered", null, true],])
    );
}

#[tokio::test]
async fn a_question_that_is_refused_is_recorded_by_its_code_and_digest_alone() {
    let house = House::open();
    let secret = "select 'sesame, open' from nowhere";
    let headers = [JSON, ("accept", "image/png")];
    let body = json!({"sql": "select 1"}).to_string();
    for (answer, status, code) in [
        (house.post("/v1/sql", json!({"sql": secret})).await, 400, "sql_table_unknown"),
        (house.post("/v1/sql", json!({"sql": "drop table calls"})).await, 400, "sql_not_a_read"),
        (house.post("/v1/queries/who-touched", json!({})).await, 400, "sql_parameter"),
        (
            house.send(Method::POST, "/v1/sql", &house.admin, &headers, body).await,
            406,
            "not_acceptable",
        ),
    ] {
        assert_eq!(answer.problem(), (status, code.to_owned()));
    }
    let told = questions(&house, 4).await;
    let codes: Vec<&str> = told.iter().map(|(_, q)| q.code.as_ref().unwrap().as_str()).collect();
    assert_eq!(codes, ["sql_table_unknown", "sql_not_a_read", "sql_parameter", "not_acceptable"]);
    for (_, query) in &told {
        assert_eq!(query.outcome, QueryOutcome::Refused);
        assert_eq!((query.rows, query.bytes, query.as_of), (0, 0, None));
    }
    assert_eq!(told[0].1.text.to_string(), sha256(secret));
    let all = house.get("/v1/events?limit=1000").await.text;
    assert!(!all.contains("sesame") && !all.contains("drop table"), "{all}");
    // Who may not ask is turned away at the door, and asks nothing.
    let agent = house.key("subscriber", None).await;
    assert_eq!(house.post_as(&agent, "/v1/sql", json!({"sql": "select 1"})).await.status, 403);
    house.post("/v1/sql", json!({"sql": "select 1"})).await.done();
    questions(&house, 5).await;
}

#[tokio::test]
async fn an_answer_comes_in_each_form_with_the_event_that_it_is_as_of() {
    let house = House::open();
    house.furnish().await;
    for sql in ["select owner_id, ts, seq from owners", "explain select * from owners"] {
        let plain = ask(&house, "*/*", sql).await;
        assert_eq!(plain.header("content-type"), "application/json");
        assert_eq!(plain.header("content-length"), plain.text.len().to_string());
        let as_of = plain.done()["as_of_seq"].to_string();
        assert_eq!(plain.header("bailiwick-as-of-seq"), as_of);
        let csv = ask(&house, "text/csv", sql).await;
        assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
        assert!(csv.text.contains("alice") || csv.text.contains("plan_type"), "{}", csv.text);
        let stream = ask(&house, &format!("{ARROW}, */*;q=0.1"), sql).await;
        assert_eq!((stream.status, stream.header("content-type")), (200, ARROW));
        assert!(stream.header("bailiwick-as-of-seq").parse::<u64>().is_ok());
    }
    let refused = ask(&house, ARROW, "select 1 / (seq - seq) from events").await;
    assert_eq!(refused.problem(), (400, "sql_failed".to_owned()));
}

#[tokio::test]
async fn an_arrow_stream_is_a_file_of_the_same_rows() {
    let house = House::open();
    house.furnish().await;
    let sql = "select seq, kind, ts, link from events order by seq";
    let body = json!({"sql": sql}).to_string();
    let request = house.client.post(house.url("/v1/sql")).bearer_auth(&house.admin);
    let request = request.header("content-type", "application/json").header("accept", ARROW);
    let response = request.body(body).send().await.unwrap();
    let as_of: u64 = response.headers()["bailiwick-as-of-seq"].to_str().unwrap().parse().unwrap();
    let bytes = response.bytes().await.unwrap();
    let mut file = Vec::new();
    let rows = bailiwick_audit::write_parquet(&*bytes, &mut file).unwrap();
    assert_eq!(rows, as_of + 1);
    assert!(file.starts_with(b"PAR1") && file.ends_with(b"PAR1"));
    let query = questions(&house, 1).await.remove(0).1;
    assert_eq!((query.rows, query.bytes), (rows, bytes.len() as u64));
    assert_eq!(query.as_of, Some(as_of));
}

/// A question sent, and nothing of its answer read.
async fn send(house: &House, accept: &str, body: &str) -> TcpStream {
    let mut connection = TcpStream::connect(house.server.local_addr()).await.unwrap();
    let head = format!(
        "POST /v1/sql HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {}\r\naccept: {accept}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        house.admin,
        body.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    connection
}

/// Waits until so many questions run.
async fn until_running(house: &House, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let told = format!("bailiwick_questions_running {count}\n");
    loop {
        let metrics = house.get("/metrics").await.text;
        if metrics.contains(&told) {
            return;
        }
        assert!(Instant::now() < deadline, "{metrics}");
    }
}

#[tokio::test]
async fn who_does_not_wait_for_an_answer_ends_the_question() {
    let house = House::open();
    house.furnish().await;
    let endless = "select count(*) from events a, events b, events c, events d, events e, events f, \
        events g, events h where a.detail || b.detail || c.detail || d.detail < e.detail || h.detail";
    let body = json!({"sql": endless}).to_string();
    let begun = Instant::now();
    // More than run at once: what they leave is there for the next.
    for nth in 1..=3 {
        until_running(&house, 0).await;
        let connection = send(&house, "*/*", &body).await;
        until_running(&house, 1).await;
        drop(connection);
        let query = questions(&house, nth).await.pop().unwrap().1;
        assert_eq!((query.outcome, query.code), (QueryOutcome::Abandoned, None));
        assert_eq!((query.rows, query.bytes, query.as_of), (0, 0, None));
    }
    house.post("/v1/sql", json!({"sql": "select 1"})).await.done();
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

/// A large answer whose reader goes away behind its beginning.
#[tokio::test]
async fn who_goes_away_in_the_middle_is_recorded_and_harms_nobody() {
    let house = House::open();
    for n in 0..60 {
        house.post("/v1/owners", json!({"owner": format!("owner-{n}")})).await.done();
    }
    for (accept, nth) in [(ARROW, 1), ("text/csv", 2)] {
        let sql = "select a.detail, b.detail, c.seq from events a, events b, owners c";
        let body = json!({"sql": format!("{sql} limit 90000")}).to_string();
        let mut connection = send(&house, accept, &body).await;
        let mut beginning = [0; 64];
        connection.read_exact(&mut beginning).await.unwrap();
        assert!(beginning.starts_with(b"HTTP/1.1 200"), "{}", beginning.escape_ascii());
        drop(connection);
        let query = questions(&house, nth).await.pop().unwrap().1;
        assert_eq!((query.outcome, &query.code), (QueryOutcome::Abandoned, &None), "{accept}");
        assert!(query.bytes < 20_000_000, "{query:?}");
    }
    let answer = house.post("/v1/sql", json!({"sql": "select count(*) from owners"})).await;
    assert_eq!(answer.done()["rows"], json!([[60]]));
}

#[tokio::test]
async fn what_was_asked_last_is_recorded_when_the_server_ends() {
    let house = House::open();
    for _ in 0..5 {
        house.post("/v1/sql", json!({"sql": "select 1"})).await.done();
    }
    house.server.shutdown();
    questions(&house, 5).await;
}
