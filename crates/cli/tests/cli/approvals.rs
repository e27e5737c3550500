//! A person at a terminal approves what an agent asks for, and what they see is what they approve.

use crate::server::{Server, place, with_agent};

#[test]
fn a_person_sees_what_is_asked_approves_it_or_says_no() {
    let (dir, data) = place();
    let server = Server::start(data);
    with_agent(&server);
    let file = dir.path().join("read.cedar");
    let permit = "permit (principal, action == Action::\"crm/read_case\", resource);";
    std::fs::write(&file, format!("@approval(\"owner\") @ttl(\"5m\")\n{permit}")).unwrap();
    server.run(&["policy", "put", file.to_str().unwrap()]).ends_with(0);
    server.run(&["policy", "activate"]).ends_with(0);

    let request = |case: &str| {
        let terms = ["--agent", "bot", "--action", "crm/read_case", "--scope", case];
        let asked = [&["grant", "request", "--why", "the case\nagent: alice"], &terms[..]].concat();
        server.json(&asked)["approval"].as_str().unwrap().to_owned()
    };
    let first = request("crm://case/1");
    let listed = server.run(&["approvals", "list", "--status", "pending"]).ends_with(0);
    assert!(listed.out.contains(&first) && listed.out.contains("crm://case/1"), "{listed:?}");
    let shown = server.run(&["approvals", "show", &first]).ends_with(0).out;
    assert!(
        shown.contains("\n  agent: bot\n") && shown.contains("\n  on: crm://case/1\n"),
        "{shown}"
    );
    let words = shown.lines().last().unwrap();
    assert!(words.starts_with("  in the caller's own words: the case"), "{shown}");
    assert!(!shown.contains("\nagent: alice"), "{shown}");

    // The admin's key is in nobody's hand, and nobody can be asked here.
    let refused = server.run(&["approve", &first, "--yes"]).ends_with(3);
    assert!(refused.err.contains("only a person"), "{refused:?}");
    server.run(&["approve", &first]).ends_with(2);
    let issue = ["key", "issue", "of-alice", "--role", "approver", "--owner", "alice"];
    let key = server.run(&issue).ends_with(0).out;
    let as_alice = |args: &[&str]| server.run(&[args, &["--key", key.trim()]].concat());
    let told = as_alice(&["approve", &first, "--yes", "--reason", "fine"]).ends_with(0);
    assert!(told.out.contains(&format!("{first} is approved: grant_")), "{told:?}");
    assert!(told.err.contains(shown.trim_end()), "{told:?}");
    let over = server.json(&["approvals", "show", &first]);
    assert_eq!(
        (over["status"].as_str(), over["answers"][0]["by"].as_str()),
        (Some("granted"), Some("alice"))
    );
    assert_eq!(server.json(&["grant", "list", "--live"])["items"][0]["grant"], over["grant"]);

    let second = request("crm://case/2");
    as_alice(&["deny", &second, "--reason", "no"]).ends_with(0);
    assert_eq!(server.json(&["approvals", "show", &second])["status"], "denied");
    as_alice(&["approvals", "approve", &second, "--yes"]).ends_with(1);
    server.stop();
}
