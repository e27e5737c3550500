//! Grants with constraints, parts of grants, and reviews, from the command line.

use serde_json::json;

use crate::server::{Server, place, with_agent};

fn issue(server: &Server, more: &[&str]) -> String {
    let terms = ["grant", "issue", "--agent", "bot", "--action", "crm/read_case"];
    let rest = ["--scope", "crm://case/**", "--ttl", "5m", "--max-uses", "3"];
    let issued = server.json(&[&terms[..], &rest, more].concat());
    issued["id"].as_str().unwrap().to_owned()
}

fn with_two_agents() -> (tempfile::TempDir, Server) {
    let (dir, data) = place();
    let server = Server::start(data);
    with_agent(&server);
    let second =
        ["agent", "add", "aide", "--owner", "alice", "--purpose", "helps", "--allow", "**"];
    server.run(&second).ends_with(0);
    (dir, server)
}

#[test]
fn constraints_are_said_with_where_and_a_part_of_a_grant_keeps_them() {
    let (_dir, server) = with_two_agents();
    let rules = ["--where", "/path=prefix:/srv/reports/", "--where", "/n=one-of:[\"a\", 2]"];
    let grant = issue(&server, &rules);
    let told = server.json(&["grant", "show", &grant]);
    let constraints = json!([
        {"at": "/path", "must": {"prefix": "/srv/reports/"}},
        {"at": "/n", "must": {"one_of": ["a", 2]}},
    ]);
    assert_eq!(told["constraints"], constraints);

    let delegate = ["grant", "delegate", &grant, "--to", "aide", "--where", "/to=equal:alice"];
    let told = server.run(&delegate).ends_with(0);
    assert!(told.out.contains(&format!("is a part of {grant}, held by aide")), "{told:?}");
    let all = server.json(&["grant", "list", "--agent", "aide", "--live"]);
    let part = &all["items"][0];
    assert_eq!((&part["parent"], &part["max_uses"]), (&json!(grant), &json!(1)));
    assert_eq!(part["constraints"].as_array().unwrap().len(), 3);
    let wider = ["grant", "delegate", &grant, "--to", "aide", "--max-uses", "4"];
    let refused = server.run(&wider).ends_with(1);
    assert!(refused.err.contains("has 3 uses left"), "{refused:?}");
    server.run(&["grant", "return", &grant]).ends_with(0);
    assert_eq!(server.json(&["grant", "list", "--live"])["items"], json!([]));

    for bad in ["/path", "path=prefix:/a", "/a=max:x", "/a=prefix:../b", "/a=below:1"] {
        let terms = ["grant", "request", "--agent", "bot", "--action", "a", "--scope", "b"];
        server.run(&[&terms[..], &["--where", bad]].concat()).ends_with(2);
    }
    server.stop();
}

#[test]
fn a_review_lists_what_there_is_and_records_each_answer() {
    let (_dir, server) = with_two_agents();
    let nothing = server.run(&["review", "--owner", "alice"]).ends_with(0);
    assert!(nothing.err.contains("there are none"), "{nothing:?}");
    let (first, second) = (issue(&server, &["--why", "to answer"]), issue(&server, &[]));
    let listed = server.run(&["review", "--owner", "alice"]).ends_with(0);
    assert!(listed.out.contains(&first) && listed.out.contains("to answer"), "{listed:?}");
    assert!(listed.err.contains("--keep"), "{listed:?}");
    assert_eq!(server.json(&["review", "--owner", "alice"])["items"][1]["grant"], second);

    let answers = ["--keep", &first, "--revoke", &second, "--reason", "quarter"];
    let told = server.run(&[&["review", "--owner", "alice"], &answers[..]].concat()).ends_with(0);
    assert!(told.out.contains(&format!("{first} is kept")), "{told:?}");
    assert!(told.out.contains(&format!("{second} is revoked")), "{told:?}");
    let left = server.json(&["review", "--owner", "alice"]);
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
    assert_eq!(server.json(&["grant", "show", &second])["status"], "grant_revoked");
    let reviewed = server.run(&["events", "--json", "--kind", "access.reviewed"]).ends_with(0);
    assert!(reviewed.out.lines().count() == 2 && reviewed.out.contains("quarter"), "{reviewed:?}");

    // What is not there to be reviewed, or is said to be both, is asked about before anything is done.
    for bad in [&["--revoke", &second][..], &["--keep", &first, "--revoke", &first]] {
        server.run(&[&["review", "--owner", "alice"], bad].concat()).ends_with(2);
    }
    assert_eq!(server.json(&["grant", "show", &first])["status"], "live");
    server.run(&["review", "--owner", "nobody"]).ends_with(1);
    server.stop();
}
