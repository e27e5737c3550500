use super::*;

#[track_caller]
fn check(sql: &str, code: Code) {
    match admit(sql) {
        Err(Error::Refused { code: found, message }) => assert_eq!(found, code, "{sql}: {message}"),
        other => panic!("{sql}: {other:?}"),
    }
}

#[track_caller]
fn passes(sql: &str) {
    if let Err(e) = admit(sql) {
        panic!("{sql}: {e}");
    }
}

#[test]
fn reads_pass() {
    passes("select agent_id, action from calls order by seq");
    passes(
        "select * from public.calls c join bailiwick.public.grants g on g.grant_id = c.grant_id;",
    );
    passes("with a as (select 1 as x) select x from a union all select 2");
    passes("explain analyze select count(*) from events");
    passes("show tables");
    passes("show columns from events");
    passes("describe grants");
    passes("select * from information_schema.columns");
    passes("values (1), (2)");
    passes("select row_number() over (partition by agent_id order by seq) from calls");
    passes(
        "select ts at time zone 'UTC', date_trunc('hour', ts), count(*) filter (where seq > $1) from events",
    );
}

#[test]
fn writes_are_refused() {
    for sql in [
        "copy calls to '/tmp/x.csv'",
        "copy (select 1) to 'x.parquet' stored as parquet",
        "create external table t stored as csv location '/etc/hostname'",
        "create table t as select 1",
        "create view v as select 1",
        "insert into calls values (1)",
        "update calls set seq = 1",
        "delete from calls",
        "truncate table calls",
        "drop table calls",
        "set datafusion.execution.batch_size = 1",
        "reset datafusion.execution.batch_size",
        "show all",
        "show datafusion.execution.batch_size",
        "attach 'x.db' as x",
        "attach database 'x.db' as x",
        "explain insert into calls values (1)",
        "explain copy calls to '/tmp/x.csv'",
        "explain explain select 1",
        "explain analyze create table t as select 1",
        "with w as (insert into calls values (1) returning seq) select * from w",
        "select * into t from calls",
        "prepare p as select 1",
        "execute p",
        "begin",
        "call something()",
        "do $$ x $$",
        "load 'library'",
        "grant select on calls to public",
        "vacuum",
    ] {
        let Err(Error::Refused { code, message }) = admit(sql) else { panic!("{sql} passed") };
        let right = matches!(code, Code::NotARead | Code::Syntax);
        assert!(right, "{sql}: {code} {message}");
    }
    check("copy calls to '/tmp/x.csv'", Code::NotARead);
    check("create external table t stored as csv location '/etc/hostname'", Code::NotARead);
    check("insert into calls values (1)", Code::NotARead);
    check("explain insert into calls values (1)", Code::NotARead);
    check("select * into t from calls", Code::NotARead);
    check("with w as (insert into calls values (1) returning seq) select * from w", Code::NotARead);
    check("set x = 1", Code::NotARead);
    check("drop table calls", Code::NotARead);
}

#[test]
fn one_statement_at_a_time() {
    check("select 1; select 2", Code::ManyStatements);
    check("select 1; drop table calls", Code::ManyStatements);
    check("", Code::ManyStatements);
    check(" ; -- nothing", Code::ManyStatements);
    passes("select 1;");
}

#[test]
fn only_our_tables_can_be_named() {
    for sql in [
        "select * from \"/etc/hostname\"",
        "select * from \"x.parquet\"",
        "select * from x.parquet",
        "select * from \"https://example.com/x.csv\"",
        "select * from other",
        "select * from secret.public.events",
        "select * from information_schema.df_settings",
        "select * from pg_catalog.pg_class",
        "select (select count(*) from other) from calls",
        "select 1 from calls where seq in (select seq from other)",
        "describe other",
        "show columns from other",
        "select * from \"Events\"",
    ] {
        check(sql, Code::TableUnknown);
    }
    check("select * from '/etc/hostname'", Code::TableUnknown);
    check("select * from 'x.parquet'", Code::TableUnknown);
}

#[test]
fn only_listed_functions_can_be_called() {
    for sql in [
        "select * from generate_series(1, 1000000000000)",
        "select * from range(1, 10)",
        "select * from read_csv('/etc/hostname')",
        "select * from read_parquet('x')",
        "select * from unnest(make_array(1, 2))",
        "select * from table(range(1, 10))",
        "select * from calls, lateral generate_series(1, 2)",
        "select generate_series(1, 1000000000000)",
        "select range(1, 10)",
        "select repeat('x', 1000000000)",
        "select lpad('x', 1000000000)",
        "select replace('a', 'a', 'b')",
        "select array_repeat(1, 1000000000)",
        "select \"REPEAT\"('x', 10)",
        "select pg_catalog.upper('x')",
        "select version()",
        "select unnest(make_array(1))",
        "select 1 from calls order by random()",
        "select sum(repeat(action, 2)::bigint) over () from calls",
    ] {
        check(sql, Code::FunctionRefused);
    }
}

#[test]
fn other_clauses_are_refused() {
    check(
        "with recursive r as (select 1 union all select 1 from r) select * from r",
        Code::ClauseRefused,
    );
    check("select * from calls for update", Code::ClauseRefused);
    check("select * from (table calls) t", Code::Syntax);
}

/// On a thread like those that admit questions.
#[test]
fn deep_and_long_texts_are_refused_and_do_not_overflow_the_stack() {
    on_a_deep_stack(deep_and_long_texts_are_refused);
}

fn on_a_deep_stack(test: fn()) {
    let thread = std::thread::Builder::new().stack_size(crate::STACK_BYTES);
    thread.spawn(test).unwrap().join().unwrap();
}

fn deep_and_long_texts_are_refused() {
    let nested =
        |open: &str, close: &str, n| format!("select {}1{}", open.repeat(n), close.repeat(n));
    check(&nested("(", ")", 10_000), Code::TooDeep);
    check(&nested("(select ", ")", 5_000), Code::TooDeep);
    check(&nested("not ", "", 10_000), Code::TooDeep);
    check(&nested("- ", "", 10_000), Code::TooDeep);
    check(&nested("", "+1", 20_000), Code::TooDeep);
    check(&nested("", "::int", 10_000), Code::TooDeep);
    check(&nested("", " union select 1", 4_000), Code::TooDeep);
    check(&nested("case when true then ", " end", 600), Code::TooDeep);
    check(&nested("", " = any (select 1)", 130), Code::TooDeep);
    check(&format!("select {}", "a".repeat(TEXT_BYTES_MAX)), Code::TooLong);
    let with = "with w as (".repeat(4) + "select 1" + &") select * from w".repeat(4);
    check(&with, Code::TooDeep);
}

#[test]
fn what_is_not_sql_is_refused_as_such() {
    for sql in
        ["selct 1", "select 'open", "select * from", "\u{0}", "select 1 select 2", "{\"sql\": 1}"]
    {
        check(sql, Code::Syntax);
    }
}

#[test]
fn functions_that_are_questions_take_what_they_take() {
    for sql in [
        "select * from grants_at('2026-01-01')",
        "select * from GRANTS_AT($1) g where g.agent_id = 'a'",
        "select * from grants_at(now() - interval '1 day')",
        "select * from access_at('crm://case/1', timestamp '2026-01-01')",
        "select * from agent_story('a', '2026-01-01', cast($2 as timestamp))",
        "select * from delegation_tree($grant), grants_at('2026-01-01')",
        "select why(seq), grant_active_at(grant_id, ts) from calls",
        "explain select why(3)",
    ] {
        passes(sql);
    }
    for (sql, code) in [
        ("select * from grants_at()", Code::Invalid),
        ("select * from grants_at(1, 2)", Code::Invalid),
        ("select why()", Code::Invalid),
        ("select grant_active_at('grant_1')", Code::Invalid),
        ("select * from calls c, grants_at(c.ts)", Code::FunctionRefused),
        ("select * from grants_at((select max(ts) from events))", Code::FunctionRefused),
        ("select * from grants_at(at => '2026-01-01')", Code::FunctionRefused),
        ("select * from grants_at(repeat('x', 9))", Code::FunctionRefused),
        ("select * from calls, lateral grants_at('2026-01-01')", Code::FunctionRefused),
        ("select * from why(1)", Code::FunctionRefused),
        ("select grants_at('2026-01-01')", Code::FunctionRefused),
        ("select why(*)", Code::FunctionRefused),
        ("select why(1) over () from calls", Code::FunctionRefused),
        ("select why(1) filter (where true) from calls", Code::FunctionRefused),
        ("select why(distinct seq) from calls", Code::FunctionRefused),
        ("select grant_active_at(why(seq), ts) from calls", Code::FunctionRefused),
        ("select public.why(1)", Code::FunctionRefused),
        ("select * from public.grants_at('2026-01-01')", Code::FunctionRefused),
        ("copy (select * from grants_at('2026-01-01')) to 'x.csv'", Code::NotARead),
        ("create table t as select * from grants_at('2026-01-01')", Code::NotARead),
        ("with \"public.grants\" as (select 1) select * from calls", Code::ClauseRefused),
    ] {
        check(sql, code);
    }
    let many = |n| format!("select {}", vec!["why(1)"; n].join(", "));
    passes(&many(made::CALLS_MAX));
    check(&many(made::CALLS_MAX + 1), Code::TooDeep);
}

#[test]
fn a_call_has_a_hundred_arguments_and_a_select_as_many_columns_as_elsewhere() {
    let call = |n| format!("select concat({})", vec!["kind"; n].join(", "));
    passes(&call(ARGUMENTS_MAX));
    check(&call(ARGUMENTS_MAX + 1), Code::TooDeep);
    let columns = |n| format!("select {} from events", vec!["seq"; n].join(", "));
    passes(&columns(COLUMNS_MAX));
    check(&columns(COLUMNS_MAX + 1), Code::TooDeep);
}

#[test]
fn a_query_with_a_name_counts_as_often_as_it_is_read() {
    let doubled = |n: usize| {
        let begin = "with q0 as (select seq from events)".to_owned();
        let names = (1..=n).fold(begin, |sql, at| {
            format!("{sql}, q{at} as (select x.seq from q{0} x, q{0} y)", at - 1)
        });
        format!("{names} select count(*) from q{n}")
    };
    passes(&doubled(7));
    check(&doubled(8), Code::TooDeep);
    check(&doubled(60), Code::TooDeep);
    passes(&format!("select 1 from {}", vec!["events"; TABLES_MAX].join(", ")));
    check(&format!("select 1 from {}", vec!["events"; TABLES_MAX + 1].join(", ")), Code::TooDeep);
    // A name inside that hides one outside hides nothing of what that reads.
    let hidden = "with a as (select 1 from events e, events f), b as (select 1 from a x, a y, a z, a w), \
        c as (select 1 from b x, b y, b z, b w), d as (with b as (select 1) select 1 from b) \
        select 1 from c x, c y, c z, c v, c w, c s, c t, c u";
    check(hidden, Code::TooDeep);
}

#[test]
fn what_grows_from_row_to_row_is_no_window() {
    check("select string_agg(kind, '') over (order by seq) from events", Code::FunctionRefused);
    check("select array_agg(kind) over () from events", Code::FunctionRefused);
    passes("select string_agg(kind, ''), array_agg(kind) from events");
    passes("select first_value(kind) over (order by seq) from events");
}

#[test]
fn calls_and_questions_in_each_other_are_read_in_time_or_not_at_all() {
    on_a_deep_stack(calls_and_questions_in_each_other);
}

fn calls_and_questions_in_each_other() {
    let nested =
        |n: usize| format!("select {}kind{} from events", "upper(".repeat(n), ")".repeat(n));
    passes(&nested(12));
    check(&nested(20), Code::TooDeep);
    check(&nested(BRACKETS_MAX), Code::TooDeep);
    let asked = |n: usize| format!("select {}1{}", "(select ".repeat(n), ")".repeat(n));
    passes(&asked(7));
    check(&asked(12), Code::TooDeep);
    let exists = |n: usize| format!("select {}1{}", "exists (select ".repeat(n), ")".repeat(n));
    check(&exists(12), Code::TooDeep);
    let over =
        |n: usize| format!("select {}1{}", "count(*) over (order by ".repeat(n), ")".repeat(n));
    check(&over(18), Code::TooDeep);
    let tables = |n: usize| format!("{}select 1{}", "select * from (".repeat(n), ") q".repeat(n));
    passes(&tables(12));
    check(
        &format!("select {}", vec!["abs(abs(abs(abs(abs(abs(abs(abs(1))))))))"; 1_000].join(",")),
        Code::TooDeep,
    );
    // Brackets that are no calls are read once.
    passes(&format!("select 1 where 1 in ({})", vec!["1"; 20_000].join(",")));
    passes(&format!(
        "select coalesce(sum(case when 1 in ({}) then 1 end))",
        vec!["1"; 10_000].join(",")
    ));
}
