//! Signs of life, metrics, and the OpenAPI document.

use std::path::Path;

use serde_json::Value;

use super::house::{House, question};

#[tokio::test]
async fn a_server_says_that_it_lives_and_is_ready() {
    let house = House::open();
    assert_eq!(house.get("/healthz").await.text, "ok");
    let ready = house.get("/readyz").await.done();
    assert_eq!((&ready["ready"], &ready["why"]), (&Value::Bool(true), &Value::Null));
    assert_eq!(ready["next_index"], house.events());
}

#[tokio::test]
async fn a_closed_ledger_is_not_ready_and_denies() {
    let house = House::open();
    house.furnish().await;
    house.ledger.close();
    let answer = house.ask(&house.admin, &question()).await.done();
    assert_eq!(answer["decision"], false);
    assert_eq!(answer["context"]["code"], "unavailable");
    assert!(answer["context"].get("receipt").is_none());
    let refused = house.post("/v1/owners", serde_json::json!({"owner": "bob"})).await;
    assert_eq!(refused.problem(), (503, "unavailable".into()));
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(house.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn metrics_count_and_name_nobody() {
    let house = House::open();
    house.furnish().await;
    house.ask(&house.admin, &question()).await.done();
    let metrics = house.get_as("", "/metrics").await;
    assert!(metrics.header("content-type").starts_with("application/openmetrics-text"));
    for line in [
        "bailiwick_calls_allowed_total 1",
        "bailiwick_ready 1",
        "bailiwick_append_seconds_bucket{le=\"+Inf\"} ",
        "bailiwick_append_seconds_count ",
        "bailiwick_decide_seconds_total ",
        "bailiwick_entries_bytes_total ",
        &format!("bailiwick_ledger_events {}", house.events()),
    ] {
        assert!(metrics.text.contains(line), "{line} is not in\n{}", metrics.text);
    }
    assert!(metrics.text.ends_with("# EOF\n"));
    assert!(!metrics.text.contains("alice") && !metrics.text.contains("a1"));
}

#[tokio::test]
async fn the_openapi_document_is_the_one_committed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/openapi.json");
    let generated = bailiwick_api::openapi();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == generated, "run again with UPDATE_EXPECT=1 to rewrite {}", path.display());
    let house = House::open();
    assert_eq!(house.get_as("", "/openapi.json").await.text, generated);
}

#[tokio::test]
async fn the_openapi_document_names_every_route_and_no_other() {
    let house = House::open();
    let document: Value = serde_json::from_str(bailiwick_api::openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let sources = include_str!("../../src/route.rs");
    let routed: Vec<&str> = sources
        .split("route(\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .filter(|path| !matches!(*path, "/bench/hello" | "/openapi.json"))
        .collect();
    assert_eq!(routed.len(), paths.len());
    for path in routed {
        let methods = paths.get(path).unwrap_or_else(|| panic!("{path} is not described"));
        let concrete = path.replace("{id}", "x").replace("{delegate}", "y").replace("{index}", "0");
        for method in methods.as_object().unwrap().keys() {
            let method = method.to_uppercase().parse().unwrap();
            let answer = house.send(method, &concrete, "", &[], "").await;
            assert_ne!(answer.status, 405, "{path}");
            assert!(!answer.text.contains("urn:bailiwick:error:no_route"), "{path}");
        }
    }
}
