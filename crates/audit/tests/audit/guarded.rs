//! What is not answered, and that it does no harm on the way.

use std::time::Duration;

use bailiwick_audit::{Audit, Error, LINKS_MAX, Limits, Settings};

use crate::story::{Story, ask, wait};

#[track_caller]
fn check(audit: &Audit, sql: &str, code: &str) {
    match ask(audit, sql) {
        Err(e) => assert_eq!(e.code(), code, "{sql}: {e}"),
        Ok(table) => panic!("{sql} was answered: {table:?}"),
    }
}

#[test]
fn what_is_not_a_read_of_our_tables_is_refused() {
    let audit = Story::begin().audit();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out.csv");
    std::fs::write(dir.path().join("x.csv"), "a,b\n1,2\n").unwrap();
    let (file, x) = (file.display(), dir.path().join("x.csv"));
    let x = x.display();
    check(&audit, &format!("copy calls to '{file}'"), "sql_not_a_read");
    check(&audit, &format!("copy (select 1) to '{file}' stored as csv"), "sql_not_a_read");
    check(
        &audit,
        "create external table t stored as csv location '/etc/hostname'",
        "sql_not_a_read",
    );
    check(&audit, "create table t as select * from calls", "sql_not_a_read");
    check(&audit, "insert into calls select * from calls", "sql_not_a_read");
    check(&audit, "select 1; select 2", "sql_many_statements");
    check(&audit, "select * from \"/etc/hostname\"", "sql_table_unknown");
    check(&audit, "select * from '/etc/hostname'", "sql_table_unknown");
    check(&audit, &format!("select * from \"{x}\""), "sql_table_unknown");
    check(&audit, &format!("select * from \"file://{x}\""), "sql_table_unknown");
    check(&audit, "select * from \"x.parquet\"", "sql_table_unknown");
    check(&audit, "set datafusion.catalog.information_schema = false", "sql_not_a_read");
    check(&audit, "drop table calls", "sql_not_a_read");
    check(&audit, "attach 'x.db' as x", "sql_not_a_read");
    check(&audit, "explain insert into calls select * from calls", "sql_not_a_read");
    check(&audit, &format!("explain copy calls to '{file}'"), "sql_not_a_read");
    check(
        &audit,
        "with w as (insert into calls values (1) returning 1) select * from w",
        "sql_not_a_read",
    );
    check(&audit, "select * into t from calls", "sql_not_a_read");
    check(&audit, "select * from generate_series(1, 1000000000000)", "sql_function_refused");
    check(&audit, &format!("select * from read_csv('{x}')"), "sql_function_refused");
    check(&audit, "select repeat('x', 2000000000)", "sql_function_refused");
    check(&audit, "select no_such_column from calls", "sql_invalid");
    check(&audit, "select seq + 'x' from events", "sql_invalid");
    check(&audit, "select cast(kind as bigint) from events", "sql_failed");
    check(&audit, "select 1 / (seq - seq) from events", "sql_failed");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "a question wrote a file");
    assert_eq!(ask(&audit, "select count(*) from calls").unwrap().rows.len(), 1);
}

#[test]
fn the_longest_chains_that_pass_are_answered_on_the_stack_there_is() {
    let audit = Story::begin().audit();
    let chains = [
        format!("select 1{}", " + 1".repeat(LINKS_MAX - 1)),
        format!("select * from events where seq = 1{}", " or seq = 2".repeat(LINKS_MAX / 2 - 2)),
        format!("select 1{}", " union all select 1".repeat(LINKS_MAX / 2 - 1)),
        format!("select 1{}", "::bigint".repeat(LINKS_MAX - 1)),
        format!("select 'a'{}", " || 'a'".repeat(LINKS_MAX - 1)),
        format!("select {}1{}", "(".repeat(25), ")".repeat(25)),
    ];
    for sql in chains {
        let answer = ask(&audit, &sql);
        assert!(answer.is_ok_and(|table| !table.rows.is_empty()), "{}", &sql[..40]);
    }
}

#[test]
fn an_answer_stays_within_its_limits() {
    let mut story = Story::begin();
    for n in 0..2_000 {
        story.register(&format!("owner{n}@example.com"), &format!("agent-{n}"));
    }
    let audit = story.audit();
    let asked = |sql: &str, limits: Limits| match wait(audit.run(sql, &limits)) {
        Ok(table) => Ok(table.rows.len()),
        Err(e) => Err(e.code()),
    };
    let usual = Limits::INTERACTIVE;
    assert_eq!(asked("select * from events limit 10", Limits { rows: 10, ..usual }), Ok(10));
    assert_eq!(
        asked("select * from events limit 11", Limits { rows: 10, ..usual }),
        Err("sql_too_many_rows")
    );
    assert_eq!(
        asked("select * from events", Limits { bytes: 10_000, ..usual }),
        Err("sql_too_large")
    );
    let cross =
        "select count(*) from events a, events b, events c where a.detail || b.detail < c.detail";
    let brief = Limits { time: Duration::from_millis(300), ..usual };
    assert_eq!(asked(cross, brief), Err("sql_timeout"));
    let sort = "select a.detail from events a, events b order by a.detail, b.detail";
    let narrow = Limits { memory_bytes: 1_000_000, time: Duration::from_secs(60), ..usual };
    assert_eq!(asked(sort, narrow), Err("sql_memory"));
    assert_eq!(asked("select count(*) from events", usual), Ok(1));
}

#[test]
fn a_question_that_finds_no_turn_is_told_so_in_time() {
    let mut story = Story::begin();
    for n in 0..500 {
        story.register(&format!("owner{n}@example.com"), &format!("agent-{n}"));
    }
    let audit = Audit::new(Settings { threads: 1, at_once: 1 }).unwrap();
    audit.ingest(0, &story.events).unwrap();
    wait(async {
        let long = Limits { time: Duration::from_secs(2), ..Limits::INTERACTIVE };
        let brief = Limits { time: Duration::from_millis(100), ..Limits::INTERACTIVE };
        let cross = "select count(*) from events a, events b, events c where a.detail || b.detail < c.detail";
        let (first, second) = tokio::join!(audit.run(cross, &long), async {
            tokio::task::yield_now().await;
            audit.run("select 1", &brief).await
        });
        assert_eq!(first.unwrap_err().code(), "sql_timeout");
        assert_eq!(second.unwrap_err().code(), "sql_busy");
        let third = audit.run("select 1", &Limits::INTERACTIVE).await;
        assert_eq!(third.unwrap().rows.len(), 1, "an abandoned question gives its turn back");
    });
}

#[test]
fn events_come_in_order_or_not_at_all() {
    let story = Story::begin();
    let audit = crate::story::audit();
    let missing = audit.ingest(0, &story.events[1..]);
    assert_eq!(missing, Err(Error::Gap { expected: 0, found: 1 }));
    audit.ingest(0, &story.events).unwrap();
    audit.ingest(0, &story.events).unwrap();
    assert_eq!(audit.ingested(), Some(2));
    assert_eq!(crate::story::lines(&audit, "select count(*) from events"), ["[3]"]);
}

#[test]
fn waiting_ends_when_the_event_arrives_or_patience_does() {
    let story = Story::begin();
    let audit = crate::story::audit();
    let brief = Duration::from_millis(20);
    wait(async {
        let late = audit.wait_for(2, brief).await;
        assert_eq!(late, Err(Error::Behind { index: 2, waited: brief }));
        let (reached, ()) = tokio::join!(audit.wait_for(2, Duration::from_secs(60)), async {
            audit.ingest(0, &story.events).unwrap();
        });
        assert_eq!(reached, Ok(()));
    });
}
