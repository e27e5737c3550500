//! The public cases themselves, 57 of the certification and 272 of the interop harnesses, where they
//! lie beside the repository.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use super::fixture::{archive, certified, citizens};
use crate::api::house::{Answer, House, JSON};

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/specs/vectors/authzen");

#[expect(clippy::print_stderr, reason = "who runs the tests has to see what was left out")]
fn read(name: &str) -> Option<Value> {
    let path = Path::new(DIR).join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap()),
        Err(_) => {
            eprintln!("skipped: the public AuthZEN cases `{name}` are not beside the repository");
            None
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Results without their order.
fn set(results: &Value) -> BTreeSet<String> {
    let plain = |one: &Value| match one.get("name") {
        Some(name) => json!({"name": name}).to_string(),
        None => json!({"type": one["type"], "id": one["id"]}).to_string(),
    };
    list(results).iter().map(plain).collect()
}

async fn send(house: &House, case: &Value) -> Answer {
    let path = case["path"].as_str().unwrap();
    if case["method"] == "GET" {
        return house.get(path).await;
    }
    let media = case["content_type"].as_str().unwrap_or(JSON.1);
    let mut headers = vec![(JSON.0, media)];
    for (name, value) in case["headers"].as_object().into_iter().flatten() {
        headers.push((name.as_str(), value.as_str().unwrap()));
    }
    let body = case["raw_body"].as_str().map_or_else(|| case["request"].to_string(), str::to_owned);
    house.send(Method::POST, path, &house.admin, &headers, body).await
}

fn holds(case: &Value, answer: &Answer, found: &BTreeMap<String, BTreeSet<String>>) {
    let id = &case["id"];
    assert_eq!(Value::from(answer.status), case["status"], "{id} {}", answer.text);
    if answer.status != 200 {
        return;
    }
    let body = answer.json();
    if let Some(expected) = case.get("decision") {
        assert_eq!(&body["decision"], expected, "{id} {body}");
    }
    if case["echo_request_id"] == true {
        let (name, value) = case["headers"].as_object().unwrap().iter().next().unwrap();
        assert_eq!(answer.header(&name.to_lowercase()), value, "{id}");
    }
    if let Some(expected) = case.get("evaluations") {
        let decided = list(&body["evaluations"]);
        assert_eq!(decided.len(), list(expected).len(), "{id} {body}");
        for (one, expected) in decided.iter().zip(list(expected)) {
            assert!(expected.is_null() || one["decision"] == *expected, "{id} {body}");
        }
    }
    let results = set(&body["results"]);
    if let Some(includes) = case.get("includes") {
        assert!(results.is_superset(&set(includes)), "{id} {body}");
    }
    if let Some(exactly) = case.get("results") {
        assert_eq!(results, set(exactly), "{id}");
    }
    if let Some(same) = case["same_as"].as_str() {
        assert_eq!(results, found[same], "{id}");
    }
    if case["results_is_array"] == true {
        assert!(body["results"].is_array(), "{id} {body}");
    }
    for member in list(&case["required_members"]) {
        assert!(body.get(member.as_str().unwrap()).is_some(), "{id} {body}");
    }
}

#[tokio::test]
async fn every_certification_case_passes() {
    let Some(all) = read("certification-1_0.json") else { return };
    let house = certified().await;
    let cases = list(&all["cases"]);
    assert_eq!(cases.len(), 57);
    let mut found = BTreeMap::new();
    for case in cases {
        for _ in 0..case["repeat"].as_u64().unwrap_or(1) {
            let answer = send(&house, case).await;
            holds(case, &answer, &found);
            if answer.status == 200 && case["path"].as_str().unwrap().contains("search") {
                let id = case["id"].as_str().unwrap().to_owned();
                found.insert(id, set(&answer.json()["results"]));
            }
        }
    }
}

/// The five people of the todo data, whose full ids are in the cases.
fn people(cases: &[Value]) -> Vec<(String, &'static str, &'static [&'static str])> {
    let known: [(&str, &str, &[&str]); 5] = [
        ("CiRmZDA2", "rick@the-citadel.com", &["admin", "evil_genius"]),
        ("CiRmZDE2", "morty@the-citadel.com", &["editor"]),
        ("CiRmZDI2", "summer@the-smiths.com", &["editor"]),
        ("CiRmZDM2", "beth@the-smiths.com", &["viewer"]),
        ("CiRmZDQ2", "jerry@the-smiths.com", &["viewer"]),
    ];
    let ids: BTreeSet<&str> =
        cases.iter().filter_map(|case| case["request"]["subject"]["id"].as_str()).collect();
    let person = |id: &str| {
        let (_, email, roles) = known.iter().find(|(begin, ..)| id.starts_with(begin)).unwrap();
        (id.to_owned(), *email, *roles)
    };
    ids.into_iter().map(person).collect()
}

async fn decides(house: &House, cases: &[Value]) {
    for case in cases {
        let answer = house.post("/access/v1/evaluation", case["request"].clone()).await.done();
        assert_eq!(answer["decision"], case["expected"], "{case} {answer}");
    }
}

#[tokio::test]
async fn the_todo_application_decides_as_everywhere() {
    let Some(all) = read("todo-1_0-02.json") else { return };
    let cases = list(&all["evaluation"]);
    assert_eq!((cases.len(), list(&all["evaluations"]).len()), (40, 3));
    let house = citizens(&people(cases)).await;
    decides(&house, cases).await;
    for case in list(&all["evaluations"]) {
        let answer = house.post("/access/v1/evaluations", case["request"].clone()).await.done();
        let decided = |list: &Value| -> Vec<Value> {
            self::list(list).iter().map(|one| one["decision"].clone()).collect()
        };
        assert_eq!(decided(&answer["evaluations"]), decided(&case["expected"]), "{case}");
    }
}

#[tokio::test]
async fn the_api_gateway_decides_as_everywhere() {
    let Some(all) = read("gateway-decisions.json") else { return };
    let cases = list(&all["evaluation"]);
    assert_eq!(cases.len(), 25);
    let house = citizens(&people(cases)).await;
    decides(&house, cases).await;
}

#[tokio::test]
async fn searches_find_what_they_find_everywhere() {
    let Some(users) = read("search-users.json") else { return };
    let records = read("search-records.json").unwrap();
    let house = archive(list(&users), list(&records)).await;
    let mut count = 0;
    for (file, member, what) in [
        ("search-subject.json", "evaluation", "subject"),
        ("search-resource.json", "evaluation", "resource"),
        ("search-action.json", "evaluation", "action"),
        ("idp-search.json", "search", "resource"),
    ] {
        let all = read(file).unwrap();
        for case in list(&all[member]) {
            let path = format!("/access/v1/search/{what}");
            let answer = house.post(&path, case["request"].clone()).await.done();
            assert_eq!(set(&answer["results"]), set(&case["expected"]["results"]), "{case}");
            count += 1;
        }
    }
    assert_eq!(count, 60 + 18 + 120 + 6);
}
