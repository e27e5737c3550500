//! Functions that are made of questions answer what those questions answer.

use bailiwick_audit::named::Named;
use bailiwick_audit::{Audit, Limits, Parameters, Table};
use bailiwick_core::event::{DenialCode, Outcome, Scope, Selector};
use bailiwick_core::id::Resource;
use serde_json::Value;

use crate::archived::both;
use crate::story::{READ_CASE, Story, Terms, ask, ask_with, call, lines, wait};
use crate::year::year;

/// The rows of an answer, whatever their order.
#[track_caller]
fn rows(audit: &Audit, sql: &str) -> Vec<String> {
    let mut rows = lines(audit, sql);
    rows.sort_unstable();
    rows
}

fn moments() -> impl Iterator<Item = String> {
    (1..9).map(|hour| format!("2026-01-{:02}T{:02}:30:00Z", 1 + hour / 6, hour % 6 * 4))
}

#[test]
fn grants_at_a_moment_are_those_that_were_good_then() {
    let mut seen = 0;
    for seed in 0..3 {
        let audit = year(seed, 260).audit();
        for at in moments() {
            let plain = format!(
                "select * from grants where valid_from <= '{at}' and valid_to > '{at}' order by seq"
            );
            let made = format!("select * from grants_at('{at}') order by seq");
            assert_eq!(lines(&audit, &made), lines(&audit, &plain), "seed {seed}, {at}");
            let typed = format!("select * from grants_at(timestamp '{at}') order by seq");
            assert_eq!(lines(&audit, &typed), lines(&audit, &plain));
            let given = Parameters::from([("at".to_owned(), at.as_str().into())]);
            let bound = ask_with(&audit, "select * from grants_at($at) order by seq", &given);
            assert_eq!(bound.unwrap().rows.len(), lines(&audit, &plain).len());
            seen += lines(&audit, &plain).len();
        }
    }
    assert!(seen > 50, "{seen}");
}

#[test]
fn access_at_a_moment_is_what_the_scope_of_a_grant_covers() {
    let mut story = Story::begin();
    let scopes = [
        "crm://case/**",
        "crm://case/1",
        "crm://case/12",
        "crm://case/1/**",
        "crm:///**",
        "mail://outbox",
        "crm://case//**",
    ];
    for scope in scopes {
        story.grant(&Terms { scope, ..READ_CASE });
    }
    let audit = story.audit();
    let at = "2026-01-01T00:01:00Z";
    for resource in [
        "crm://case",
        "crm://case/1",
        "crm://case/1/notes",
        "crm://case/12",
        "crm://cases",
        "x",
        "crm:///a",
        "crm://case/",
    ] {
        let covering = |scope: &&str| {
            let scope: Scope = scope.parse().unwrap();
            scope.covers(&Resource::new(resource).unwrap())
        };
        let mut expected: Vec<String> =
            scopes.iter().filter(|scope| covering(scope)).map(|s| format!("[\"{s}\"]")).collect();
        expected.sort_unstable();
        let sql = format!("select resource from access_at('{resource}', '{at}')");
        assert_eq!(rows(&audit, &sql), expected, "{resource}");
        let before = format!("select * from access_at('{resource}', '2025-12-31')");
        assert!(rows(&audit, &before).is_empty());
    }
}

#[test]
fn the_story_of_an_agent_is_the_named_question() {
    let audit = year(7, 260).audit();
    let (since, until) = ("2026-01-01T03:00:00Z", "2026-01-01T20:00:00Z");
    for agent in ["triage-bot", "report-bot", "nobody"] {
        let given = [("agent", agent), ("since", since), ("until", until)];
        let given: Parameters =
            given.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let named = Named::find("agent-story").unwrap();
        let named: Table = wait(audit.run_named(named, &given, &Limits::INTERACTIVE)).unwrap();
        let sql =
            format!("select * from agent_story('{agent}', '{since}', '{until}') order by seq");
        assert_eq!(ask(&audit, &sql).unwrap(), named, "{agent}");
        assert_eq!(named.rows.is_empty(), agent == "nobody");
    }
}

#[test]
fn a_delegation_tree_is_the_same_from_each_of_its_grants() {
    let audit = year(7, 260).audit();
    let tree = "select root_grant_id from grants group by 1 having count(*) > 2 order by 1";
    let trees = ask(&audit, tree).unwrap().rows;
    assert!(!trees.is_empty());
    for root in trees.iter().map(|row| row[0].as_str().unwrap()) {
        let members = format!("select grant_id from grants where root_grant_id = '{root}'");
        let expected = rows(&audit, &members);
        for member in ask(&audit, &members).unwrap().rows {
            let member = member[0].as_str().unwrap();
            let sql = format!("select grant_id from delegation_tree('{member}')");
            assert_eq!(rows(&audit, &sql), expected, "{member}");
        }
    }
    assert!(rows(&audit, "select * from delegation_tree('grant_999999')").is_empty());
}

#[test]
fn whether_a_grant_was_active_is_what_its_interval_says() {
    let audit = year(7, 200).audit();
    for at in moments() {
        let plain = format!(
            "select grant_id, valid_from <= '{at}' and valid_to > '{at}' from grants order by seq"
        );
        let made =
            format!("select grant_id, grant_active_at(grant_id, '{at}') from grants order by seq");
        assert_eq!(lines(&audit, &made), lines(&audit, &plain), "{at}");
    }
    // Of two columns, in a condition too.
    let plain = "select c.seq from calls c join grants g on g.grant_id = c.grant_id \
        where g.valid_from <= c.ts and g.valid_to > c.ts order by 1";
    let made = "select seq from calls where grant_active_at(grant_id, ts) order by 1";
    assert_eq!(lines(&audit, made), lines(&audit, plain));
    assert!(lines(&audit, plain).len() > 10);
    let unknown = "select grant_active_at('grant_999999', now()), grant_active_at(null, now())";
    assert_eq!(lines(&audit, unknown), ["[false,false]"]);
}

#[test]
fn why_tells_code_policies_grant_and_words() {
    let mut story = Story::begin();
    let grant = story.grant(&READ_CASE);
    let allowed = story.allow(grant, call("crm/read_case", "crm://case/1234"), 9);
    story.finish(allowed, Outcome::Ok);
    let denied = story.deny(call("crm/delete_case", "crm://case/1"), DenialCode::Forbidden, None);
    story.revoke(Selector::All, true);
    let audit = story.audit();
    let told = |seq: u64| lines(&audit, &format!("select why({seq})"));
    assert_eq!(
        told(allowed.0),
        [r#"["policy read-cases owners; under grant_3; customer asked for =status"]"#]
    );
    assert_eq!(told(allowed.0 + 1), [r#"["because of event 4"]"#]);
    assert_eq!(told(denied.0), [r#"["forbidden; customer asked for =status"]"#]);
    assert_eq!(told(denied.0 + 1), [r#"["operator; incident 7"]"#]);
    assert_eq!(told(0), ["[null]"]);
    assert_eq!(told(999), ["[null]"]);
    // Of a column that the question that stands for it has too, under its own name.
    let table = ask(&audit, "select seq, why(seq) from calls order by seq").unwrap();
    assert_eq!(table.columns[1].name, "why");
    let alone: Vec<Value> = [allowed.0, denied.0]
        .map(|seq| ask(&audit, &format!("select why({seq})")).unwrap().rows[0][0].clone())
        .to_vec();
    let all: Vec<Value> = table.rows.iter().map(|row| row[1].clone()).collect();
    assert_eq!(all, alone);
    let given = Parameters::from([("seq".to_owned(), denied.0.into())]);
    let bound = ask_with(&audit, "select why($seq) as it", &given).unwrap();
    assert_eq!(bound.rows[0][0], alone[1]);
}

#[test]
fn a_function_reads_the_tables_whatever_names_the_question_gives() {
    let audit = year(7, 60).audit();
    let count = rows(&audit, "select count(*) from grants_at('2026-01-01T06:00:00Z')");
    let hidden = "with grants as (select 1 as one), events as (select 2 as two) \
        select count(*) from grants_at('2026-01-01T06:00:00Z')";
    assert_eq!(rows(&audit, hidden), count);
    let joined = "select count(*) from grants_at('2026-01-01T06:00:00Z') a \
        join grants_at('2026-01-01T06:00:00Z') b on a.grant_id = b.grant_id \
        where grant_active_at(a.grant_id, '2026-01-01T06:00:00Z')";
    assert_eq!(rows(&audit, joined), count);
    let plan = rows(&audit, "explain select agent_id from grants_at('2026-01-01')");
    assert!(plan.iter().any(|line| line.contains("grants")), "{plan:?}");
}

#[test]
fn functions_read_what_is_sealed_and_what_is_not_as_one() {
    let story = year(7, 160);
    let (plain, sealed, _dir) = both(&story, 200);
    let (at, agent) = ("2026-01-01T06:00:00Z", "triage-bot");
    for sql in [
        format!("select * from grants_at('{at}') order by seq"),
        format!("select * from access_at('crm://case/1', '{at}') order by seq"),
        format!("select * from agent_story('{agent}', '2026-01-01', '2026-02-01') order by seq"),
        "select * from delegation_tree('grant_26') order by seq".to_owned(),
        "select seq, why(seq) from events order by seq".to_owned(),
        "select seq, grant_active_at(grant_id, ts) from calls order by seq".to_owned(),
        "select * from approvals order by seq".to_owned(),
        "select grant_id, approver_id from grants order by seq".to_owned(),
    ] {
        let (plain, sealed) = (ask(&plain, &sql).unwrap(), ask(&sealed, &sql).unwrap());
        assert_eq!(plain.rows, sealed.rows, "{sql}");
    }
}
