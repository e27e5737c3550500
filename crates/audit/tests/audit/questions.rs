//! The named questions under `queries/`, each over one small ledger, against what it answered
//! before. `UPDATE_EXPECT=1 cargo test -p bailiwick-audit` writes the answers anew.

use std::fs;
use std::path::{Path, PathBuf};

use bailiwick_audit::Parameters;
use bailiwick_core::event::{DenialCode, Outcome, Selector};
use bailiwick_core::id::{AgentId, Resource};
use bailiwick_core::time::Span;

use crate::story::{READ_CASE, Story, Terms, ask_with, call};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn named() -> Vec<(String, String)> {
    let mut named: Vec<(String, String)> = fs::read_dir(root().join("queries"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    named.sort();
    named
}

/// A morning of two agents: some reading, some probing, one revocation, one lifting.
fn morning() -> Story {
    let mut story = Story::begin();
    story.register("bob@example.com", "report-bot");
    let case = "crm://case/1234";
    let read = story.grant(&READ_CASE);
    let first = story.allow(read, call("crm/read_case", case), 9);
    story.finish(first, Outcome::Ok);
    story.deny(call("crm/delete_case", case), DenialCode::Forbidden, None);
    story.deny(call("crm/delete_case", "crm://case/99"), DenialCode::Forbidden, None);
    story.deny(call("mail/send", "mail://outbox"), DenialCode::ToolNotAllowed, None);
    let mut report = call("crm/read_case", "crm://case/77");
    report.agent = Some(AgentId::new("report-bot").unwrap());
    report.owner = Some(bailiwick_core::id::OwnerId::new("bob@example.com").unwrap());
    let terms = Terms {
        agent: "report-bot",
        owner: "bob@example.com",
        scope: "crm://case/**",
        ttl: Span::days(30),
        ..READ_CASE
    };
    let wide = story.grant(&terms);
    let second = story.allow(wide, report.clone(), 9);
    story.finish(second, Outcome::Error);
    let triage = Selector::Agent(AgentId::new("triage-bot").unwrap());
    story.revoke(triage.clone(), true);
    story.deny(call("crm/read_case", case), DenialCode::Suspended, Some(read));
    story.lift(triage);
    let again = story.grant(&READ_CASE);
    let third = story.allow(again, call("crm/read_case", case), 9);
    story.finish(third, Outcome::Ok);
    story.revoke(Selector::Resource(Resource::new("crm://case/1234").unwrap()), false);
    story
}

fn parameters() -> Parameters {
    Parameters::from([
        ("at".to_owned(), "2026-01-01T00:00:12Z".into()),
        ("since".to_owned(), "2026-01-01T00:00:00Z".into()),
    ])
}

#[test]
fn every_named_question_answers_as_before() {
    let audit = morning().audit();
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    for (name, sql) in named() {
        let answer =
            ask_with(&audit, &sql, &parameters()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let expected = root().join(format!("crates/audit/tests/expected/{name}.csv"));
        if update {
            fs::write(&expected, answer.csv()).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(answer.csv(), expected, "{name}");
    }
}

#[test]
fn every_named_question_says_what_it_asks_takes_and_is_evidence_for() {
    let named = named();
    assert!(named.len() >= 4);
    for (name, sql) in named {
        for (line, key) in sql.lines().zip(["-- question: ", "-- parameters: ", "-- controls: "]) {
            assert!(line.len() > key.len() && line.starts_with(key), "{name}: {line}");
        }
    }
}

#[test]
fn no_call_was_allowed_after_a_revocation_that_covers_it() {
    let sql = fs::read_to_string(root().join("queries/calls-after-revocation.sql")).unwrap();
    let broken = |story: &Story| {
        let answer = ask_with(&story.audit(), &sql, &Parameters::new()).unwrap();
        answer.rows.len()
    };
    assert_eq!(broken(&morning()), 0);
    let case = "crm://case/1234";
    let selectors = [
        Selector::All,
        Selector::Agent(AgentId::new("triage-bot").unwrap()),
        Selector::Owner(bailiwick_core::id::OwnerId::new("alice@example.com").unwrap()),
        Selector::Tool(bailiwick_core::id::ToolId::new("crm/read_case").unwrap()),
        Selector::Resource(Resource::new("crm://case").unwrap()),
        Selector::Resource(Resource::new("crm://case/").unwrap()),
        Selector::Resource(Resource::new(case).unwrap()),
        Selector::Grant(bailiwick_core::id::GrantId(3)),
    ];
    for selector in selectors {
        let mut story = Story::begin();
        let old = story.grant(&READ_CASE);
        story.revoke(selector.clone(), false);
        story.allow(old, call("crm/read_case", case), 9);
        assert_eq!(broken(&story), 1, "an old grant was used after {selector}");
        if matches!(selector, Selector::Grant(_)) {
            continue;
        }
        let mut story = Story::begin();
        story.revoke(selector.clone(), true);
        let new = story.grant(&READ_CASE);
        story.allow(new, call("crm/read_case", case), 9);
        story.lift(selector.clone());
        story.allow(new, call("crm/read_case", case), 8);
        assert_eq!(broken(&story), 1, "a call came while {selector} was suspended");
    }
    let mut story = Story::begin();
    story.revoke(Selector::Resource(Resource::new("crm://cas").unwrap()), true);
    let new = story.grant(&READ_CASE);
    story.allow(new, call("crm/read_case", case), 9);
    assert_eq!(broken(&story), 0, "a resource is covered by whole segments only");
}
