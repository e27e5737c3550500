//! `bailiwick demo` and what it leaves.

use crate::bailiwick::{bailiwick, demo, text};

#[test]
fn the_demo_tells_the_story_and_every_expectation_holds() {
    let told = &demo().told;
    for part in [
        "1. Read one case, for five minutes",
        "Case 1234: Lamp arrived broken",
        "2. Write a ticket, on this record only",
        "ticket 1 is written on case 1234",
        "Not allowed: demo/write_ticket (forbidden)",
        "3. Download one object, once",
        "Not allowed: demo/download_object (grant_exhausted)",
        "4. Take everything back",
        "$ bailiwick revoke --agent support-bot",
        "the next call was denied",
        "5. A hijacked agent",
        "finding.raised",
        "revocation.issued",
        "6. Who did what, to what, and why",
        "the support lead approved a full export",
        "7. The proof",
        "verified ",
        "Do it yourself: bailiwick verify ",
        "expectations held",
    ] {
        assert!(told.out.contains(part), "{part}\n{}", told.out);
    }
    assert!(!told.out.contains('\u{1b}'), "no colours where nobody sees them");
}

#[test]
fn programs_get_one_object_and_the_temporary_ledger_goes_away() {
    let told = bailiwick(&["demo", "--json"]).ends_with(0).json();
    assert_eq!(told["ok"], true);
    assert!(told["steps"].as_array().unwrap().iter().all(|step| step["ok"] == true));
    assert_eq!(told["proof"]["events"], told["events"]);
    assert!(told["figures"]["revoke_to_denial_ms"].as_f64().unwrap() < 2_000.0);
}

#[test]
fn a_directory_is_verified_under_its_own_key_and_anchor() {
    let found = bailiwick(&["verify", "--json", text(&demo().dir)]).ends_with(0).json();
    assert_eq!(found["verified"], true);
    assert_eq!(found["key"].as_str(), Some(demo().key.as_str()));
    assert_eq!(found["anchored_entry"], found["entries"]);
    let words = bailiwick(&["verify", text(&demo().dir)]).ends_with(0);
    assert!(words.out.contains("this directory's own signing key"), "{words:?}");
}

#[test]
fn a_demo_does_not_write_into_a_ledger_that_is_there() {
    let refused = bailiwick(&["demo", "--data", text(&demo().dir)]).ends_with(2);
    assert!(refused.err.contains("holds a ledger already"), "{refused:?}");
}

#[test]
fn the_stopped_ledger_tells_who_what_and_why() {
    let sql = "select agent_id, action, resource, decision, reason, justification from calls order by seq";
    let args = ["sql", "--data", text(&demo().dir), "--format", "json", sql];
    let answer = bailiwick(&args).ends_with(0);
    let rows = answer.json()["rows"].as_array().unwrap().clone();
    assert_eq!(rows.len(), 14);
    assert_eq!(rows[0][3], "deny");
    assert_eq!(rows[1][0], "support-bot");
    assert_eq!(rows[1][5], "the customer asks about case 1234");
    assert!(answer.err.contains("not recorded"), "{answer:?}");
    let csv = bailiwick(&["sql", "--data", text(&demo().dir), "--format", "csv", sql]).ends_with(0);
    assert!(csv.out.starts_with("agent_id,action,resource,decision,reason,justification\r\n"));
    assert_eq!(csv.out.lines().count(), 15);
}

#[test]
fn named_questions_are_listed_shown_and_asked_of_a_stopped_ledger() {
    let listed = bailiwick(&["query", "list", "--json"]).ends_with(0).json();
    let names: Vec<&str> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"calls-after-revocation") && names.contains(&"drift"), "{names:?}");
    let table = bailiwick(&["query", "list"]).ends_with(0);
    assert!(table.out.contains("[count=20] [seconds=60]"), "{table:?}");
    let shown = bailiwick(&["query", "show", "who-touched"]).ends_with(0);
    assert!(shown.out.starts_with("-- question: Who touched") && shown.out.contains("\nselect "));
    let shown = bailiwick(&["query", "show", "who-touched", "--json"]).ends_with(0).json();
    assert_eq!(shown["parameters"][0]["required"], true);

    let data = ["--data", text(&demo().dir), "--format", "json"];
    let run = |args: &[&str]| bailiwick(&[&["query", "run"], args, &data[..]].concat());
    // Nothing that the demo takes back is used again.
    assert_eq!(run(&["calls-after-revocation"]).ends_with(0).json()["rows"], serde_json::json!([]));
    let story = run(&["agent-story", "--param", "agent=support-bot"]).ends_with(0).json();
    assert!(story["rows"].as_array().unwrap().len() > 10);
    for (args, told) in [
        (&["agent-story"][..], "needs `--param agent=…` (text)"),
        (&["agent-story", "--param", "agents=x"], "takes no parameter `agents`"),
        (&["agent-story", "--param", "agent"], "name=value"),
        (&["agent-story", "--param", "agent=a", "--param", "agent=b"], "given twice"),
        (&["denial-bursts", "--param", "count=many"], "has to be a whole number"),
        (&["agent-story", "--param", "agent=a", "--param", "since=now"], "has to be a moment"),
        (&["agents-story"], "there is no named question `agents-story`"),
    ] {
        let refused = run(args).ends_with(2);
        assert!(refused.err.contains(told), "{args:?}: {refused:?}");
    }
}

#[test]
fn an_agents_story_is_told_with_why_and_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let (data, file) = (text(&demo().dir), dir.path().join("story.html"));
    let run = |args: &[&str]| {
        bailiwick(&[&["story", "--agent", "support-bot", "--data", data], args].concat())
    };
    let told = run(&["--json"]).ends_with(0).json();
    let steps = told["steps"].as_array().unwrap();
    let kinds: Vec<&str> = steps.iter().map(|step| step["kind"].as_str().unwrap()).collect();
    for kind in
        ["agent.registered", "grant.issued", "call.authorized", "call.denied", "revocation.issued"]
    {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
    let lines = run(&[]).ends_with(0);
    assert!(lines.out.contains("the customer asks about case 1234"), "{lines:?}");
    assert_eq!(lines.out.lines().count(), steps.len() + 1);
    run(&["--html", text(&file)]).ends_with(0);
    let page = std::fs::read_to_string(&file).unwrap();
    let ticks =
        kinds.iter().filter(|kind| kind.starts_with("call.auth") || **kind == "call.denied");
    assert_eq!(page.matches("y2=\"14\"").count(), ticks.count());
    let grants = kinds.iter().filter(|kind| **kind == "grant.issued").count();
    assert_eq!(page.matches("<rect ").count(), grants);
    let later = run(&["--from", "2999-01-01T00:00:00Z"]).ends_with(0);
    assert!(later.out.is_empty() && later.err.contains("nothing happened"), "{later:?}");
    let refused = run(&["--to", "tomorrow"]).ends_with(2);
    assert!(refused.err.contains("`--to` has to be a moment"), "{refused:?}");
}

#[test]
fn what_is_no_read_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.csv");
    let copy = format!("copy calls to '{}'", out.display());
    for (sql, code) in [
        (copy.as_str(), "sql_not_a_read"),
        ("create external table t stored as csv location '/etc/hostname'", "sql_not_a_read"),
        ("insert into calls values (1)", "sql_not_a_read"),
        ("select 1; select 2", "sql_many_statements"),
        ("select * from '/etc/hostname'", "sql_table_unknown"),
        ("selec 1", "sql_syntax"),
    ] {
        let refused = bailiwick(&["sql", "--data", text(&demo().dir), sql]).ends_with(1);
        assert!(refused.err.contains(code) && refused.out.is_empty(), "{sql}: {refused:?}");
    }
    assert!(!out.exists());
}
