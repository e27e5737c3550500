//! What questions take of memory and disk, each and all together.

use std::path::Path;
use std::time::Duration;

use bailiwick_audit::{Audit, Bounds, Form, Limits, Parameters, Question, Settings, Spill};

use crate::story::{Story, wait};

const MIB: usize = 1_024 * 1_024;

/// Some thousand events with a text that differs.
fn many() -> Story {
    let mut story = Story::begin();
    for n in 0..1_500 {
        story.register(&format!("owner{n}@example.com"), &format!("agent-{n}"));
    }
    story
}

fn bounds(memory_bytes: usize, spill: Option<Spill>) -> Bounds {
    let limits = Limits { memory_bytes, time: Duration::from_secs(120), ..Limits::INTERACTIVE };
    Bounds { limits, memory_bytes: 4 * memory_bytes, spill }
}

fn audit(story: &Story, bounds: &Bounds) -> Audit {
    let audit = Audit::new(Settings { threads: 2, at_once: 4 }).unwrap().bounded(bounds).unwrap();
    audit.ingest(0, &story.events).unwrap();
    audit
}

fn spill(directory: &Path, bytes: u64) -> Option<Spill> {
    Some(Spill { directory: directory.join("spill"), bytes })
}

fn code(audit: &Audit, sql: &str) -> Result<String, &'static str> {
    let answer = wait(audit.run(sql, &audit.limits()));
    answer.map(|table| table.rows[0][0].to_string()).map_err(|error| error.code())
}

/// A sort of some hundred thousand texts, of which the answer is one number.
const SORT: &str = "select max(n) from (select row_number() over (order by text) as n from \
    (select a.detail || b.seq::text as text from events a cross join (select seq from events limit 100) b))";

#[test]
fn a_sort_that_outgrows_its_memory_goes_to_disk_where_there_is_room() {
    let story = many();
    let rows = (story.events.len() * 100).to_string();
    let dir = tempfile::tempdir().unwrap();
    let on_disk = audit(&story, &bounds(64 * MIB, spill(dir.path(), 1 << 30)));
    assert_eq!(code(&on_disk, SORT), Ok(rows));
    let in_memory = audit(&story, &bounds(64 * MIB, None));
    assert_eq!(code(&in_memory, SORT), Err("sql_memory"));
    let small = audit(&story, &bounds(64 * MIB, spill(&dir.path().join("small"), 4 * MIB as u64)));
    assert_eq!(code(&small, SORT), Err("sql_disk"));
    for audit in [&on_disk, &in_memory, &small] {
        assert_eq!(code(audit, "select count(*) from owners"), Ok("1501".to_owned()));
    }
    drop(on_disk);
    assert!(!dir.path().join("spill").exists());
}

#[test]
fn a_join_that_outgrows_its_memory_says_that_joins_do_not_go_to_disk() {
    let story = many();
    let dir = tempfile::tempdir().unwrap();
    let audit = audit(&story, &bounds(2 * MIB, spill(dir.path(), 1 << 30)));
    let sql = "select count(*) from (select a.detail, a.seq from events a, (select 1 from events limit 20) x) a \
        join (select b.detail || 'x' as detail, b.seq from events b, (select 1 from events limit 20) y) b \
        on a.detail = b.detail";
    let error = wait(audit.run(sql, &audit.limits())).unwrap_err();
    assert_eq!(error.code(), "sql_memory", "{error}");
    assert!(error.to_string().contains("joins are not done on disk"), "{error}");
}

#[test]
fn what_all_questions_hold_together_is_bounded() {
    let story = many();
    let limits = Limits { time: Duration::from_secs(120), ..Limits::INTERACTIVE };
    let bounds = Bounds { limits, memory_bytes: 16 * MIB, spill: None };
    let audit = audit(&story, &bounds);
    // Alone it is within its own share of memory, and beyond what there is for all.
    let error = wait(audit.run(SORT, &limits)).unwrap_err();
    assert_eq!(error.code(), "sql_busy", "{error}");
    assert_eq!(code(&audit, "select count(*) from owners"), Ok("1501".to_owned()));
}

#[test]
fn an_answer_counts_against_the_memory_of_its_question() {
    let story = many();
    let limits = Limits { memory_bytes: 2 * MIB, bytes: 64 * MIB, ..Limits::INTERACTIVE };
    let audit = audit(&story, &Bounds { limits, ..Bounds::INTERACTIVE });
    let sql = "select a.detail from events a, (select 1 from events limit 8) b";
    assert_eq!(wait(audit.run(sql, &limits)).unwrap_err().code(), "sql_memory");
    // What is handed on as it comes is not held.
    let (none, question) = (Parameters::new(), sql);
    let bytes = wait(async {
        let question = Question::Sql(question, &none);
        audit.answer(&question, Form::Arrow, &limits).await?.collected().await
    });
    assert!(bytes.unwrap().len() > 2 * MIB);
}

#[test]
fn what_is_sorted_for_a_limit_is_no_more_than_an_answer_may_have() {
    let audit = audit(&many(), &Bounds::INTERACTIVE);
    let run = |sql: &str| code(&audit, sql).map(|_| ());
    let cap = Limits::INTERACTIVE.rows;
    assert_eq!(run("select seq from events order by detail limit 10"), Ok(()));
    assert_eq!(run(&format!("select seq from events order by detail limit {cap}")), Ok(()));
    let refused = Err("sql_limit_too_large");
    for sql in [
        format!("select seq from events order by detail limit {}", cap + 1),
        "select seq from events order by detail limit 1000000000000".to_owned(),
        format!("select seq from events order by detail limit 10 offset {cap}"),
        format!("select max(seq) from (select seq from events order by detail limit {})", 9 * cap),
    ] {
        assert_eq!(run(&sql), refused, "{sql}");
    }
    let given = Parameters::from([("n".to_owned(), (9 * cap).into())]);
    let sql = "select seq from events order by detail limit $n";
    let bound = wait(audit.run_with(sql, &given, &audit.limits())).unwrap_err();
    assert_eq!(bound.code(), "sql_limit_too_large");
    // Without an order nothing is kept, and the answer has its own limit.
    assert_eq!(run("select seq from events limit 1000000000000"), Ok(()));
    let many = "select a.seq from events a, events b limit 1000000000000";
    assert_eq!(run(many), Err("sql_too_many_rows"));
}

/// Everything that is asked amiss at once, and a plain question among it.
#[test]
fn a_hundred_questions_at_once_are_answered_or_told_why_not() {
    let audit = audit(&many(), &Bounds::INTERACTIVE);
    let long = format!("select '{}'", "x".repeat(10_000_000));
    let asked = [
        (long.as_str(), Err("sql_too_long")),
        (
            "with recursive r as (select 1 as n union all select n + 1 from r) select * from r",
            Err("sql_clause_refused"),
        ),
        ("select * from generate_series(1, 1000000000000)", Err("sql_function_refused")),
        ("select count(*) from events order by 1 limit 1000000000000", Ok(())),
        ("select a.detail from events a order by 1 limit 10000000", Err("sql_limit_too_large")),
        ("select 1; select 2", Err("sql_many_statements")),
        ("select * from 'file:///etc/passwd'", Err("sql_table_unknown")),
        ("select count(*) from owners", Ok(())),
    ];
    let none = Parameters::new();
    wait(async {
        let limits = audit.limits();
        let hundred = (0..104).map(|n| {
            let (sql, expected) = asked[n % asked.len()];
            let (audit, none, limits) = (&audit, &none, &limits);
            async move {
                let question = Question::Sql(sql, none);
                let answer = match audit.answer(&question, Form::Csv, limits).await {
                    Ok(pieces) => pieces.collected().await.map(drop),
                    Err(error) => Err(error),
                };
                assert_eq!(answer.map_err(|e| e.code()), expected, "{}", &sql[..sql.len().min(80)]);
            }
        });
        futures::future::join_all(hundred).await;
    });
}

#[test]
fn an_endless_join_is_cut_and_others_are_answered_meanwhile() {
    let audit = audit(&many(), &Bounds::INTERACTIVE);
    let brief = Limits { time: Duration::from_millis(700), ..audit.limits() };
    let endless = "select count(*) from events a, events b, events c, events d \
        where a.detail || b.detail < c.detail || d.detail";
    wait(async {
        let (cut, answered) = tokio::join!(audit.run(endless, &brief), async {
            tokio::task::yield_now().await;
            audit.run("select count(*) from owners", &audit.limits()).await
        });
        assert_eq!(cut.unwrap_err().code(), "sql_timeout");
        assert_eq!(answered.unwrap().rows.len(), 1);
    });
}
