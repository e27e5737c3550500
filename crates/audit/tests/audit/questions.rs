//! The named questions under `queries/`, each over one small ledger, against what it answered
//! before. `UPDATE_EXPECT=1 cargo test -p bailiwick-audit` writes the answers anew.

use std::fs;
use std::path::Path;

use bailiwick_audit::named::Named;
use bailiwick_audit::{Audit, Error, Limits, Parameters, Table};
use bailiwick_core::event::{DenialCode, Outcome, Selector};
use bailiwick_core::id::{AgentId, Resource, TaskId};
use bailiwick_core::time::Span;
use serde_json::Value;

use crate::story::{READ_CASE, Story, Terms, ask, call, wait};
use crate::year::year;

pub(crate) fn named(audit: &Audit, name: &str, given: &[(&str, Value)]) -> Result<Table, Error> {
    let given = given.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let given: Parameters = given.collect();
    wait(audit.run_named(Named::find(name).unwrap(), &given, &Limits::INTERACTIVE))
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

/// Moments of the year that the golden answers are about.
const NOON: &str = "2026-01-01T12:00:00Z";
const END: &str = "2026-01-02T12:00:00Z";

/// What the golden answers are asked with: everything that has to be given, and every moment.
pub(crate) fn given(named: &Named) -> Vec<(&'static str, Value)> {
    let known = [
        ("agent", "triage-bot"),
        ("at", NOON),
        ("resource", "crm://case"),
        ("since", "2026-01-01T00:00:00Z"),
        ("until", END),
    ];
    let known = known.into_iter().filter(|(name, _)| named.taken(name).is_some());
    known
        .map(|(name, value)| match (named.name, name) {
            ("drift", "since") => (name, NOON.into()),
            _ => (name, value.into()),
        })
        .collect()
}

#[test]
fn every_named_question_answers_as_before() {
    let audit = year(7, 260).audit();
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expected");
    for question in Named::all() {
        let name = question.name;
        let answer =
            named(&audit, name, &given(question)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!((name == "calls-after-revocation") == answer.rows.is_empty(), "{name}");
        let expected = folder.join(format!("{name}.csv"));
        if update {
            fs::write(&expected, answer.csv()).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        assert!(answer.csv() == expected, "{name}:\n{}", answer.csv());
    }
}

#[test]
fn what_may_be_left_out_is_answered_without_it() {
    let audit = year(7, 120).audit();
    for question in Named::all() {
        let needed = given(question).into_iter();
        let needed = needed.filter(|(name, _)| question.taken(name).unwrap().default.is_none());
        let answer = named(&audit, question.name, &needed.collect::<Vec<_>>());
        answer.unwrap_or_else(|e| panic!("{}: {e}", question.name));
    }
}

#[test]
fn a_value_is_a_value_and_never_text_of_the_question() {
    let audit = year(7, 60).audit();
    for trick in ["' or true --", "triage-bot' union select 1 --", "$since", "(select agent_id)"] {
        let answer = named(&audit, "agent-story", &[("agent", trick.into())]).unwrap();
        assert!(answer.rows.is_empty(), "{trick}: {:?}", answer.rows);
    }
    let error = named(&audit, "agent-story", &[("agent", 1.into())]).unwrap_err();
    assert_eq!(error.code(), "sql_parameter_type");
}

#[test]
fn what_stands_is_the_same_from_the_log_and_from_the_table() {
    let mut seen = 0;
    for seed in 0..2 {
        let audit = year(seed, 200).audit();
        for hour in 1..9 {
            let at = [(
                "at",
                Value::from(format!("2026-01-{:02}T{:02}:00:00Z", 1 + hour / 6, hour % 6 * 4)),
            )];
            let table = named(&audit, "standing-grants", &at).unwrap();
            let log = named(&audit, "standing-grants-from-log", &at).unwrap();
            let shared: Vec<usize> = log
                .columns
                .iter()
                .map(|column| table.columns.iter().position(|other| other == column).unwrap())
                .collect();
            let cells = |row: &Vec<Value>| shared.iter().map(|at| row[*at].clone()).collect();
            let from_table: Vec<Vec<Value>> = table.rows.iter().map(cells).collect();
            assert_eq!(from_table, log.rows, "seed {seed}, {at:?}");
            seen += log.rows.len();
        }
    }
    assert!(seen > 50, "{seen}");
}

#[test]
fn a_percentile_is_a_latency_that_was_measured() {
    let audit = year(7, 400).audit();
    let told = named(&audit, "revocation-latency", &[]).unwrap();
    for row in &told.rows {
        let (selector, enforced) = (row[0].as_str().unwrap(), row[2].as_u64().unwrap() as usize);
        let sql = format!(
            "select enforced_ms from revocations where selector = '{selector}' and enforced_ms is not null"
        );
        let mut latencies: Vec<u64> =
            ask(&audit, &sql).unwrap().rows.iter().map(|row| row[0].as_u64().unwrap()).collect();
        latencies.sort_unstable();
        assert_eq!(latencies.len(), enforced);
        for (at, percent) in [(3, 50), (4, 95), (5, 99)] {
            let rank = (enforced * percent).div_ceil(100).max(1);
            assert_eq!(row[at], latencies[rank - 1], "{selector} p{percent}");
        }
    }
    assert!(told.rows.len() > 2);
}

#[test]
fn no_call_was_allowed_after_a_revocation_that_covers_it() {
    let broken =
        |story: &Story| named(&story.audit(), "calls-after-revocation", &[]).unwrap().rows.len();
    assert_eq!(broken(&morning()), 0);
    for seed in 0..4 {
        assert_eq!(broken(&year(seed, 400)), 0, "seed {seed}");
    }
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

#[test]
fn a_delegated_grant_that_is_used_after_its_line_was_revoked_is_found() {
    let case = "crm://case/1234";
    let passed_on = |times: u32, selector: Option<fn(u64) -> Selector>| {
        let mut story = Story::begin();
        story.register("bob@example.com", "report-bot");
        let root = story.grant(&Terms { task: Some(TaskId(77)), ..READ_CASE });
        let mut last = root;
        for _ in 0..times {
            last = story.delegate(last, AgentId::new("report-bot").unwrap(), None);
        }
        if let Some(selector) = selector {
            story.revoke(selector(root.0), false);
        }
        story.allow(last, call("mail/send", case), 3);
        let audit = story.audit();
        // The call itself names another agent and tool, so that only its line is covered.
        let rows = named(&audit, "calls-after-revocation", &[]).unwrap().rows;
        rows.len()
    };
    for times in [1, 2, 5, 8] {
        assert_eq!(passed_on(times, None), 0);
        assert_eq!(
            passed_on(times, Some(|root| Selector::Grant(bailiwick_core::id::GrantId(root)))),
            1
        );
        assert_eq!(passed_on(times, Some(|_| Selector::Task(TaskId(77)))), 1, "{times}");
    }
}
