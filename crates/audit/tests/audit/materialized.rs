//! `with … as materialized`: answered once, and the same as without the word.

use bailiwick_audit::{Limits, Parameters};

use crate::archived::both;
use crate::story::{ask, ask_with, wait};
use crate::year::year;

/// Statements with the word where `{}` is.
const STATEMENTS: &[&str] = &[
    "with a as {} (select seq, kind from events where seq < 400)
     select x.seq, y.kind from a x join a y on x.seq = y.seq + 1 order by 1",
    "with a as {} (select agent_id, seq from calls), b as {} (select agent_id, count(*) as n from a group by 1)
     select a.seq, b.n from a join b on b.agent_id = a.agent_id order by 1",
    "with a as (select seq, kind from events), b as {} (select kind, count(*) as n from a group by 1)
     select * from b union all select * from b order by 1, 2",
    "with a as {} (select seq, kind, agent_id from events where kind = $kind) select count(*), max(seq) from a",
    "with a as {} (select 1 as one where false) select count(*) from a x, a y",
    "with a as {} (select seq from calls order by seq desc limit 7) select * from a order by seq limit 3",
    "with a as {} (select e.seq, g.agent_id from events e join grants g on g.grant_id = e.grant_id where e.kind = 'call.authorized') select count(*), count(distinct agent_id) from a",
    "with a as {} (select 1 as v union all select 2.5) select sum(v), count(*) from a where v > 0.5",
    "with a as {} (select null as tool union all select tool from calls) select count(tool), count(*) from a x",
    "with a as {} (select * from calls c join grants g on g.grant_id = c.grant_id) select count(*) from a",
    "with a as {} (select $kind as v) select v, length(v) from a",
    "with a as {} (select 1 as n union all select 2), b as {} (select x.n from a x, a y), c as {} (select x.n from b x, b y) select count(*) from c x, c y",
    "with a as {} (select grant_id, seq from grants) select seq from events e where exists (select * from a where a.seq = e.seq) and seq in (select seq from a) order by 1",
    "with a as {} (select count(*) as n from calls) select (select n from a), (select n from a) + 1",
    "with a as {} (with b as (select seq from events where seq < 9) select x.seq from b x, b y) select sum(seq) from a",
    "with events as {} (select 1 as seq) select * from events",
    "with a (number) as {} (select seq from events) select max(number) from a",
    "with \"Odd name\" as {} (select 1 as n) select * from \"Odd name\" x, \"Odd name\" y",
    "with a as {} (select seq from events) select 1",
];

#[test]
fn the_answer_is_the_same_as_without_the_word() {
    let (recent, sealed, _dir) = both(&year(11, 120), 90);
    let values = Parameters::from([("kind".to_owned(), "grant.issued".into())]);
    for statement in STATEMENTS {
        let plain = ask_with(&recent, &statement.replace("{}", ""), &values).unwrap();
        assert!(!plain.rows.is_empty(), "{statement}");
        for audit in [&recent, &sealed] {
            for word in ["materialized", "not materialized"] {
                let found = ask_with(audit, &statement.replace("{}", word), &values).unwrap();
                assert_eq!(found.rows, plain.rows, "{word}: {statement}");
                assert_eq!(found.columns, plain.columns, "{word}: {statement}");
            }
        }
    }
}

#[test]
fn only_what_is_marked_is_answered_once() {
    let (audit, ..) = both(&year(3, 20), 90);
    let plan = |word: &str| {
        let sql = format!(
            "explain with a as {word} (select seq from events) select * from a x join a y on x.seq = y.seq"
        );
        format!("{:?}", ask(&audit, &sql).unwrap().rows)
    };
    assert_eq!(plan("materialized").matches("MaterializedExec").count(), 2);
    assert_eq!(plan("").matches("MaterializedExec").count(), 0);
}

#[test]
fn what_is_kept_counts_against_the_questions_memory() {
    let (audit, ..) = both(&year(5, 200), 90);
    let limits = Limits { memory_bytes: 100_000, ..Limits::INTERACTIVE };
    let asked = |word: &str| {
        let sql =
            format!("with a as {word} (select detail from events) select count(detail) from a");
        wait(audit.run(&sql, &limits)).map(|table| table.rows).map_err(|error| error.code())
    };
    assert!(asked("").is_ok());
    assert_eq!(asked("materialized"), Err("sql_memory"));
}

#[test]
fn what_is_refused_is_refused_in_it_too() {
    let (audit, ..) = both(&year(5, 10), 90);
    for (sql, code) in [
        ("with a as materialized (select * from a) select * from a", "sql_invalid"),
        (
            "with a as materialized (select * from b), b as (select 1) select * from a",
            "sql_invalid",
        ),
        ("with a as materialized (select repeat('a', 9)) select * from a", "sql_function_refused"),
        (
            "with a as materialized (insert into events values (1)) select * from a",
            "sql_not_a_read",
        ),
        ("with a as materialized (select nothing from events) select * from a", "sql_invalid"),
        ("with a as materialized (select $x) select * from a", "sql_parameter"),
        ("with a as materialized (select 1/0) select * from a x, a y", "sql_failed"),
        ("with a as (select 1), a as materialized (select 2) select * from a", "sql_invalid"),
        (
            "with a as materialized (select 1), A as materialized (select 2) select * from a",
            "sql_invalid",
        ),
    ] {
        assert_eq!(ask(&audit, sql).unwrap_err().code(), code, "{sql}");
    }
}
