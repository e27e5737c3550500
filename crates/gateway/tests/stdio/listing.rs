//! The list of tools that the gate asks for itself, so that every call shows what its tool is.

use std::time::Duration;

use bailiwick_core::event::DenialCode;
use bailiwick_core::record::hash::Digest;
use bailiwick_gateway::pipeline::Ending;
use serde_json::{Value, json};

use super::call;
use super::desk::{Desk, allowed, denied};

const LIST: &str = r#"{"jsonrpc":"2.0","id":"mine","method":"tools/list"}"#;
const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;

/// A gate before a server that the test plays, after the handshake.
async fn greeted() -> Desk {
    let mut desk = Desk::new();
    desk.authority.rules(|_| Ok(allowed(50)));
    desk.send(r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}"#).await;
    desk.at_server().await;
    desk.server_says(r#"{"jsonrpc":"2.0","id":0,"result":{}}"#).await;
    desk.line().await;
    desk
}

/// The gate's own question, which the server gets next: its id, and the page it is about.
async fn asked_to_list(desk: &mut Desk) -> (Value, Value) {
    let request: Value = serde_json::from_str(&desk.at_server().await).unwrap();
    assert_eq!(request["method"], "tools/list", "{request}");
    (request["id"].clone(), request["params"]["cursor"].clone())
}

async fn lists(desk: &mut Desk, id: &Value, tools: Value, next: Option<&str>) {
    let mut result = json!({"tools": tools});
    if let Some(next) = next {
        result["nextCursor"] = json!(next);
    }
    desk.server_says(&json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string()).await;
}

fn read_case(description: &str) -> Value {
    json!([{"name": "read_case", "description": description, "inputSchema": {"type": "object"}}])
}

/// The hashes that the authority was told, in order.
fn told(desk: &Desk) -> Vec<Option<Digest>> {
    desk.authority.asked().iter().map(|ask| ask.tool_hash).collect()
}

#[tokio::test]
async fn a_first_call_shows_the_definition_that_the_client_would_have_been_listed() {
    let mut desk = Desk::before_demo_server().await;
    desk.authority.rules(|_| Ok(allowed(50)));
    desk.handshake().await;
    desk.send(&call(1, "1234")).await;
    let answer = desk.answer().await;
    assert_eq!(
        answer["id"], 1,
        "what the gate asked for itself is nothing to the client: {answer}"
    );
    assert!(answer["result"]["content"][0]["text"].as_str().unwrap().contains("Jo Martin"));
    desk.send(LIST).await;
    assert_eq!(desk.answer().await["id"], "mine");
    desk.send(&call(2, "1234")).await;
    desk.answer().await;
    let told = told(&desk);
    assert!(told[0].is_some() && told[0] == told[1], "{told:?}");
    assert_eq!(desk.leave().await, Ending::ClientGone);

    // The same as where the client looks first.
    let mut desk = Desk::before_demo_server().await;
    desk.handshake().await;
    desk.send(LIST).await;
    desk.answer().await;
    desk.send(&call(1, "1234")).await;
    desk.answer().await;
    assert_eq!(desk.authority.asked()[0].tool_hash, told[0]);
}

#[tokio::test]
async fn calls_wait_for_one_list_to_its_last_page_and_then_for_none() {
    let mut desk = greeted().await;
    desk.send(&call(1, "1")).await;
    desk.send(&call(2, "2")).await;
    let (first, cursor) = asked_to_list(&mut desk).await;
    assert_eq!(cursor, Value::Null);
    assert!(desk.authority.asked().is_empty());
    lists(&mut desk, &first, json!([{"name": "other"}]), Some("p2")).await;
    let (second, cursor) = asked_to_list(&mut desk).await;
    assert_eq!(cursor, "p2");
    assert_ne!(first, second);
    lists(&mut desk, &second, read_case("reads"), None).await;
    for case in ["1", "2"] {
        assert!(desk.at_server().await.contains(&format!(r#""case_id":"{case}""#)));
    }
    let told_first = told(&desk);
    assert!(told_first[0].is_some() && told_first[0] == told_first[1]);
    // Another tool that the list does not have is not asked for again.
    let unknown = r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"list_cases","arguments":{}}}"#;
    desk.send(unknown).await;
    assert_eq!(desk.at_server().await, unknown);
    assert_eq!(told(&desk)[2], None);
}

#[tokio::test]
async fn what_the_client_was_listed_is_not_asked_for_again() {
    let mut desk = greeted().await;
    desk.send(LIST).await;
    assert_eq!(desk.at_server().await, LIST);
    lists(&mut desk, &json!("mine"), read_case("reads"), None).await;
    desk.line().await;
    desk.send(&call(1, "1")).await;
    assert_eq!(desk.at_server().await, call(1, "1"));
    assert!(told(&desk)[0].is_some());
}

#[tokio::test]
async fn after_a_change_the_definition_is_the_new_one() {
    let mut desk = greeted().await;
    desk.send(&call(1, "1")).await;
    let (id, _) = asked_to_list(&mut desk).await;
    lists(&mut desk, &id, read_case("reads"), None).await;
    desk.at_server().await;
    desk.server_says(CHANGED).await;
    assert_eq!(desk.line().await, CHANGED);
    desk.send(&call(2, "1")).await;
    let (id, _) = asked_to_list(&mut desk).await;
    // It changes once more: what was asked for before that is worth nothing.
    desk.server_says(CHANGED).await;
    desk.line().await;
    lists(&mut desk, &id, read_case("writes"), None).await;
    let (id, _) = asked_to_list(&mut desk).await;
    lists(&mut desk, &id, read_case("deletes"), None).await;
    assert_eq!(desk.at_server().await, call(2, "1"));
    let told = told(&desk);
    assert_eq!(told.len(), 2);
    assert!(told[0].is_some() && told[1].is_some() && told[0] != told[1]);
}

#[tokio::test]
async fn where_the_server_does_not_say_the_authority_is_asked_without_a_definition() {
    let mut desk = greeted().await;
    desk.authority.rules(|ask| match ask.tool_hash {
        Some(_) => Ok(allowed(50)),
        None => Ok(denied(DenialCode::ToolChanged, Some(42))),
    });
    desk.send(&call(1, "1")).await;
    let (id, _) = asked_to_list(&mut desk).await;
    let error = json!({"code": -32601, "message": "no tools"});
    desk.server_says(&json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string()).await;
    let answer = desk.answer().await;
    assert_eq!(super::decision(&answer)["reason_code"], "tool_changed");
    // It is not asked again until something changes.
    desk.send(&call(2, "1")).await;
    assert_eq!(desk.answer().await["id"], 2);
    desk.nothing_but_a_ping_reaches_the_server().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_slow_to_list_holds_up_a_call_for_a_second_and_only_the_first() {
    let mut desk = greeted().await;
    let began = tokio::time::Instant::now();
    desk.send(&call(1, "1")).await;
    let (id, _) = asked_to_list(&mut desk).await;
    assert_eq!(desk.at_server().await, call(1, "1"));
    assert_eq!(began.elapsed().as_secs(), 1);
    let began = tokio::time::Instant::now();
    desk.send(&call(2, "1")).await;
    assert_eq!(desk.at_server().await, call(2, "1"));
    assert!(began.elapsed() < Duration::from_millis(100));
    // When it comes after all, it counts.
    lists(&mut desk, &id, read_case("reads"), None).await;
    desk.nothing_but_a_ping_reaches_the_server().await;
    desk.send(&call(3, "1")).await;
    assert_eq!(desk.at_server().await, call(3, "1"));
    assert_eq!(told(&desk).iter().map(Option::is_some).collect::<Vec<_>>(), [false, false, true]);
}

#[tokio::test]
async fn a_call_that_is_cancelled_while_it_waits_for_the_list_is_never_asked_about() {
    let mut desk = greeted().await;
    desk.send(&call(1, "1")).await;
    let (id, _) = asked_to_list(&mut desk).await;
    desk.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#)
        .await;
    desk.nothing_but_a_ping_reaches_the_server().await;
    lists(&mut desk, &id, read_case("reads"), None).await;
    desk.nothing_but_a_ping_reaches_the_server().await;
    assert!(desk.authority.asked().is_empty());
}

#[tokio::test]
async fn the_gates_own_question_is_nothing_that_a_client_can_reach() {
    let mut desk = greeted().await;
    desk.send(&call(1, "1")).await;
    let (id, _) = asked_to_list(&mut desk).await;
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
        "params": {"requestId": id}});
    desk.send(&cancel.to_string()).await;
    desk.send(&json!({"jsonrpc": "2.0", "id": id, "method": "ping"}).to_string()).await;
    let refused = desk.answer().await;
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&id, &json!(-32600)));
    lists(&mut desk, &id, read_case("reads"), None).await;
    assert_eq!(desk.at_server().await, call(1, "1"));
    assert!(told(&desk)[0].is_some());
    // A second answer to it is nobody's.
    lists(&mut desk, &id, read_case("writes"), None).await;
    desk.nothing_but_a_ping_reaches_the_server().await;
}

#[tokio::test]
async fn a_session_that_ends_meanwhile_answers_the_call() {
    let mut desk = greeted().await;
    desk.send(&call(1, "1")).await;
    asked_to_list(&mut desk).await;
    desk.stop();
    let answer = desk.answer().await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(1), &json!(-32603)));
    assert_eq!(desk.ending().await, Ending::Stopped);
    assert!(desk.authority.asked().is_empty());
}
