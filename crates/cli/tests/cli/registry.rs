//! Tools, delegates, transfers and settings, from the command line.

use serde_json::json;

use crate::server::{Server, place, with_agent};

#[test]
fn tools_are_pinned_listed_shown_and_let_go() {
    let (_dir, data) = place();
    let server = Server::start(data);
    let hash = "ab".repeat(32);
    assert_eq!(server.json(&["tool", "list"])["items"], json!([]));
    let pin = ["tool", "pin", "crm/read_case", "--hash", &hash, "--effect", "read"];
    let told = server.run(&[&pin[..], &["--target", "/id", "--label", "a"]].concat()).ends_with(0);
    assert!(told.out.contains(&format!("tool crm/read_case is held to {hash}")), "{told:?}");
    let tool = server.json(&["tool", "show", "crm/read_case"]);
    assert_eq!((&tool["hash"], &tool["effect"]), (&json!(hash), &json!("read")));
    assert_eq!((&tool["targets"], &tool["labels"]), (&json!(["/id"]), &json!(["a"])));
    assert_eq!(tool["first_use"], false);
    assert!(server.run(&["tool", "list"]).ends_with(0).out.contains("crm/read_case"));
    server.run(&["tool", "unpin", "crm/read_case", "--reason", "gone"]).ends_with(0);
    let unknown = server.run(&["tool", "show", "crm/read_case"]).ends_with(1);
    assert!(unknown.err.contains("not pinned"), "{unknown:?}");
    for wrong in [
        &["tool", "pin", "crm/read_case"][..],
        &["tool", "pin", "crm/read_case", "--hash", "ab"],
        &["tool", "pin", "crm/read_case", "--hash", &hash, "--effect", "harmless"],
        &["tool", "unpin"],
    ] {
        server.run(wrong).ends_with(2);
    }
    server.stop();
}

#[test]
fn settings_change_one_by_one() {
    let (_dir, data) = place();
    let server = Server::start(data);
    let first = json!({"pinning": "first_use", "approval_ttl": "10m"});
    assert_eq!(server.json(&["config", "show"]), first);
    server.run(&["config", "set", "--pinning", "operator"]).ends_with(0);
    server.run(&["config", "set", "--approval-ttl", "5m"]).ends_with(0);
    let both = json!({"pinning": "operator", "approval_ttl": "5m"});
    assert_eq!(server.json(&["config", "show"]), both);
    server.run(&["config", "set"]).ends_with(2);
    server.run(&["config", "set", "--pinning", "nobody"]).ends_with(2);
    let long = server.run(&["config", "set", "--approval-ttl", "31d"]).ends_with(1);
    assert!(long.err.contains("approval_ttl"), "{long:?}");
    assert_eq!(server.json(&["config", "show"]), both);
    server.stop();
}

#[test]
fn owners_have_delegates_and_agents_change_owners() {
    let (_dir, data) = place();
    let server = Server::start(data);
    with_agent(&server);
    server.run(&["owner", "add", "bob"]).ends_with(0);
    let told =
        server.run(&["owner", "delegate", "add", "alice", "bob", "--ttl", "8h"]).ends_with(0);
    assert!(told.out.contains("bob may act through the agents of alice"), "{told:?}");
    let alice = server.json(&["owner", "show", "alice"]);
    assert_eq!(alice["delegates"][0]["delegate"], "bob");
    assert!(alice["delegates"][0]["expires_at"].is_string());
    server.run(&["owner", "delegate", "remove", "alice", "bob"]).ends_with(0);
    assert_eq!(server.json(&["owner", "show", "alice"])["delegates"], json!([]));
    server.run(&["owner", "delegate", "remove", "alice", "bob"]).ends_with(1);

    let task = server.json(&["task", "open", "--agent", "bot"]);
    server.run(&["agent", "reassign", "bot", "--to", "bob", "--reason", "left"]).ends_with(0);
    assert_eq!(server.json(&["agent", "show", "bot"])["owner"], "bob");
    let closed = server.run(&["task", "close", task["id"].as_str().unwrap()]).ends_with(1);
    assert!(closed.err.contains("not open"), "{closed:?}");
    server.run(&["agent", "reassign", "bot", "--to", "bob"]).ends_with(1);
    server.run(&["agent", "reassign", "bot"]).ends_with(2);
    server.stop();
}
