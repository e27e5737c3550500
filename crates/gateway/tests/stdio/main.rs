//! The gate between a client and a server, with an authority that says what each test wants.

#![expect(clippy::unwrap_used, reason = "a helper that fails, fails its test")]

mod approvals;
mod desk;
mod listing;
mod revoked;

use bailiwick_client::authority::Ruling;
use bailiwick_core::event::{DenialCode, Outcome};
use bailiwick_gateway::pipeline::{CALLS_MAX, Ending};
use serde_json::{Value, json};

use desk::{Desk, allowed, denied};

fn call(id: u64, case: &str) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": {"name": "read_case", "arguments": {"case_id": case}}})
    .to_string()
}

fn decision(answer: &Value) -> &Value {
    let result = &answer["result"]["_meta"]["dev.bailiwick/decision"];
    if result.is_null() { &answer["error"]["data"]["dev.bailiwick/decision"] } else { result }
}

#[tokio::test]
async fn a_real_server_is_reached_through_the_gate_and_its_outcome_is_recorded() {
    let mut desk = Desk::before_demo_server().await;
    desk.authority.rules(|_| Ok(allowed(50)));
    desk.handshake().await;
    desk.send(r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#).await;
    assert_eq!(desk.answer().await["result"]["tools"].as_array().unwrap().len(), 8);
    desk.send(&call(3, "1234")).await;
    let answer = desk.answer().await;
    assert!(
        answer["result"]["content"][0]["text"].as_str().unwrap().contains("Jo Martin"),
        "{answer}"
    );
    desk.send(&call(4, "9999")).await;
    assert_eq!(desk.answer().await["result"]["isError"], true);

    let asked = desk.authority.asked();
    assert_eq!(asked[0].action.as_str(), "crm/read_case");
    assert_eq!(asked[0].resource.as_str(), "crm://case/1234");
    assert_eq!(asked[0].arguments.as_ref().unwrap().get(), r#"{"case_id":"1234"}"#);
    assert!(asked[0].tool_hash.is_some() && asked[0].tool_hash == asked[1].tool_hash);
    assert_eq!(asked[0].task.unwrap().to_string(), "task_7");
    assert_ne!(asked[0].call_id, asked[1].call_id);

    assert_eq!(desk.leave().await, Ending::ClientGone);
    let finished = desk.authority.finished();
    assert_eq!(
        finished.iter().map(|f| f.outcome).collect::<Vec<_>>(),
        [Outcome::Ok, Outcome::Error]
    );
    assert!(finished.iter().all(|f| f.result.is_some() && f.bytes_in > 0 && f.bytes_out > 0));
    assert_eq!(desk.authority.tasks(), ["opened", "closed task_7"]);
}

#[tokio::test]
async fn an_allowed_call_is_forwarded_to_the_byte_and_so_is_its_answer() {
    let mut desk = Desk::new();
    desk.authority.rules(|_| Ok(allowed(50)));
    let odd = r#" { "params" : {"arguments":{ "case_id":"\u0031","n":1.0},"name":"read_case"}, "id" : "\u0061","method":"tools/call","jsonrpc":"2.0" }  "#;
    desk.send(odd).await;
    assert_eq!(desk.at_server().await, odd);
    let answer = r#"{"result": {"content":[ ],"x":1e2}, "jsonrpc":"2.0","id":"a"}"#;
    desk.server_says(answer).await;
    assert_eq!(desk.line().await, answer);
    assert_eq!(
        desk.authority.asked()[0].arguments.as_ref().unwrap().get(),
        r#"{ "case_id":"\u0031","n":1.0}"#
    );
}

#[tokio::test]
async fn what_is_no_tool_call_passes_both_ways_to_the_byte() {
    let mut desk = Desk::new();
    for line in [
        r#"{"jsonrpc":"2.0", "id":1,"method":"initialize","params":{"a":[1]}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","id":2,"method":"resources/read","params":{"uri":"x://y"}}"#,
        r#"{"jsonrpc":"2.0","id":"s1","result":{"action":"accept"}}"#,
        "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"ping\"}\r",
    ] {
        desk.send(line).await;
        assert_eq!(desk.at_server().await, line);
    }
    for line in [
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":0.5}}"#,
        r#"{"jsonrpc":"2.0","id":"s1","method":"elicitation/create","params":{}}"#,
        r#"{"id":2, "jsonrpc":"2.0","error":{"code":-32002,"message":"no"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{ }}"#,
    ] {
        desk.server_says(line).await;
        assert_eq!(desk.line().await, line);
    }
}

#[tokio::test]
async fn a_denied_call_never_reaches_the_server() {
    let mut desk = Desk::new();
    desk.authority.rules(|_| Ok(denied(DenialCode::NoGrant, Some(42))));
    desk.send(&call(1, "1234")).await;
    let answer = desk.answer().await;
    assert_eq!(answer["result"]["isError"], true);
    assert_eq!(decision(&answer)["reason_code"], "no_grant");
    assert_eq!(decision(&answer)["decision_id"], "call_42");
    assert_eq!(decision(&answer)["receipt"]["index"], 42);
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("Not allowed: demo/read_case (no_grant)"), "{text}");
    desk.nothing_but_a_ping_reaches_the_server().await;
}

#[tokio::test]
async fn without_a_decision_there_is_no_call() {
    let unanswered = bailiwick_client::Error::unavailable;
    let mut desk = Desk::new();
    desk.authority.rules(move |ask| match ask.resource.as_str() {
        "crm://case/1" => Err(unanswered("authorize")),
        "crm://case/2" => Ok(denied(DenialCode::Unavailable, None)),
        "crm://case/3" => Ok(stale(allowed(50))),
        _ => Ok(denied(DenialCode::Overloaded, None)),
    });
    for (id, case, code) in [
        (1, "1", "unavailable"),
        (2, "2", "unavailable"),
        (3, "3", "unavailable"),
        (4, "4", "overloaded"),
    ] {
        desk.send(&call(id, case)).await;
        let answer = desk.answer().await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(id), &json!(-32603)));
        assert_eq!(decision(&answer)["reason_code"], code);
    }
    desk.nothing_but_a_ping_reaches_the_server().await;
    desk.leave().await;
    let finished = desk.authority.finished();
    assert_eq!(finished.len(), 1, "a permit that came too late is recorded as unused");
    assert_eq!((finished[0].outcome, finished[0].bytes_in), (Outcome::Cut, 0));
}

fn stale(ruling: Ruling) -> Ruling {
    let Ruling::Allowed(mut permit) = ruling else { panic!("not allowed") };
    permit.asked -= bailiwick_client::authority::LEASE;
    Ruling::Allowed(permit)
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_stays_silent_denies_within_two_seconds() {
    let mut desk = Desk::new();
    desk.authority.falls_silent();
    let asked = tokio::time::Instant::now();
    desk.send(&call(1, "1234")).await;
    assert_eq!(desk.answer().await["error"]["code"], -32603);
    assert_eq!(asked.elapsed().as_secs(), 2);
}

#[tokio::test]
async fn a_slow_decision_holds_up_nothing_else() {
    let mut desk = Desk::new();
    desk.authority.falls_silent();
    desk.send(&call(1, "1234")).await;
    desk.nothing_but_a_ping_reaches_the_server().await;
}

#[tokio::test]
async fn a_call_that_the_client_cancels_ends_there() {
    let mut desk = Desk::new();
    desk.authority.rules(|_| Ok(allowed(50)));
    desk.send(&call(1, "1234")).await;
    desk.at_server().await;
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    desk.send(cancel).await;
    assert_eq!(desk.at_server().await, cancel);
    desk.server_says(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).await;
    desk.nothing_but_a_ping_reaches_the_server().await;
    desk.leave().await;
    assert_eq!(desk.authority.finished()[0].outcome, Outcome::Cut);
}

#[tokio::test]
async fn bad_messages_are_answered_and_the_gate_lives() {
    let mut desk = Desk::new();
    let huge = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"x":"{}"}}}}"#,
        "y".repeat(4 * 1_024 * 1_024)
    );
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"x":{}{}}}}}"#,
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    let cases: [(&[u8], i32, Value); 13] = [
        (b"{\"jsonrpc\":", -32700, Value::Null),
        (b"\xff\xfe", -32700, Value::Null),
        (br#"{"jsonrpc":"2.0","id":1,"method":"ping","id":2}"#, -32700, Value::Null),
        (br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_case","name":"x"}}"#, -32700, Value::Null),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":\r{}}", -32700, Value::Null),
        (huge.as_bytes(), -32600, Value::Null),
        (deep.as_bytes(), -32700, Value::Null),
        (br#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32600, Value::Null),
        (br#"{"jsonrpc":"2.0","id":1}"#, -32600, json!(1)),
        (br#"{"jsonrpc":"2.0","id":1,"method":"server/discover"}"#, -32601, json!(1)),
        (br#"{"jsonrpc":"2.0","id":1,"method":"tools/Call","params":{}}"#, -32601, json!(1)),
        (br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":{}}}"#, -32602, json!(1)),
        (br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","task":{}}}"#, -32602, json!(1)),
    ];
    for (line, code, id) in cases {
        desk.send_bytes(line).await;
        let answer = desk.answer().await;
        let shown = String::from_utf8_lossy(&line[..line.len().min(120)]).into_owned();
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(code), &id), "{shown}");
    }
    for dropped in
        ["", "  ", r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"read_case"}}"#]
    {
        desk.send(dropped).await;
    }
    desk.nothing_but_a_ping_reaches_the_server().await;
}

#[tokio::test]
async fn arguments_that_cannot_be_decided_about_are_denied_without_asking() {
    let mut desk = Desk::new();
    for (arguments, code) in [
        (r#"{}"#, "resource_unmapped"),
        (r#"{"case_id":".."}"#, "resource_unmapped"),
        (r#"{"case_id":"1","CASE_ID":"2"}"#, "invalid_arguments"),
    ] {
        desk.send(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"read_case","arguments":{arguments}}}}}"#)).await;
        let answer = desk.answer().await;
        assert_eq!(decision(&answer)["reason_code"], code, "{arguments}");
        assert!(decision(&answer).get("decision_id").is_none());
    }
    assert!(desk.authority.asked().is_empty());
}

#[tokio::test]
async fn an_id_in_use_and_too_many_calls_are_refused() {
    let mut desk = Desk::new();
    desk.authority.falls_silent();
    let calls = u64::try_from(CALLS_MAX).unwrap();
    for id in 0..calls {
        desk.send(&call(id, "1234")).await;
    }
    desk.send(&call(0, "1234")).await;
    assert_eq!(desk.answer().await["error"]["code"], -32600);
    desk.send(&call(calls, "1234")).await;
    let answer = desk.answer().await;
    assert_eq!(
        (&answer["error"]["code"], &decision(&answer)["reason_code"]),
        (&json!(-32603), &json!("overloaded"))
    );
}

#[tokio::test]
async fn answers_that_nobody_waits_for_are_dropped() {
    let mut desk = Desk::new();
    desk.authority.falls_silent();
    desk.send(&call(1, "1234")).await;
    desk.server_says(r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#).await;
    desk.server_says(r#"{"jsonrpc":"2.0","id":77,"result":{}}"#).await;
    desk.server_says(r#"{"jsonrpc":"2.0","id":1,"result":{},"id":2}"#).await;
    desk.server_says("Server listening on stdio").await;
    desk.nothing_but_a_ping_reaches_the_server().await;
}

#[tokio::test]
async fn a_server_that_dies_leaves_an_unknown_outcome_and_ends_the_gate() {
    let mut desk = Desk::new();
    desk.authority.rules(|_| Ok(allowed(50)));
    desk.send(&call(1, "1234")).await;
    desk.at_server().await;
    desk.send(r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#).await;
    desk.at_server().await;
    desk.server_dies();
    let mut answers = [desk.answer().await, desk.answer().await];
    answers.sort_by_key(|answer| answer["id"].to_string());
    assert_eq!((&answers[0]["id"], &answers[0]["error"]["code"]), (&json!("p"), &json!(-32603)));
    assert_eq!((&answers[1]["id"], &answers[1]["error"]["code"]), (&json!(1), &json!(-32603)));
    assert_eq!(desk.ending().await, Ending::ServerGone);
    assert_eq!(desk.authority.finished()[0].outcome, Outcome::Unknown);
}

#[tokio::test]
async fn a_servers_process_ends_with_the_gate_and_the_gate_with_it() {
    let mut desk = Desk::before_script(
        r#"echo "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/pid\",\"params\":{\"pid\":$$}}"; exec cat"#,
    );
    let pid = desk.answer().await["params"]["pid"].as_u64().unwrap();
    let process = format!("/proc/{pid}/stat");
    assert!(std::fs::exists(&process).unwrap());
    assert_eq!(desk.leave().await, Ending::ClientGone);
    assert!(!std::fs::exists(&process).unwrap());

    let mut desk = Desk::before_script("exit 3");
    assert_eq!(desk.ending().await, Ending::ServerGone);
}

#[tokio::test]
async fn the_gate_told_to_stop_cuts_what_runs() {
    let mut desk = Desk::new();
    desk.authority.rules(|_| Ok(allowed(50)));
    desk.send(&call(1, "1234")).await;
    desk.at_server().await;
    desk.stop();
    assert_eq!(decision(&desk.answer().await)["outcome"], "cut");
    assert!(desk.at_server().await.contains("notifications/cancelled"));
    assert_eq!(desk.ending().await, Ending::Stopped);
    assert_eq!(desk.authority.finished()[0].outcome, Outcome::Cut);
}
