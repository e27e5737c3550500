//! What a question makes of little: texts, lists and rows that grow with each step are refused
//! before they are made, and honest ones are answered as the engine answers them.

use std::time::{Duration, Instant};

use bailiwick_audit::{Audit, Form, Limits, Parameters, Question, Settings};

use crate::story::{Story, ask, lines, wait};

/// Bytes that this process may take at its peak: four questions at the most that each may take, with
/// as much again for what is not counted, and what other tests of the process hold meanwhile.
const PEAK_BYTES_MAX: usize = 2 * 1_024 * 1_024 * 1_024;

/// A debug build that shares its cores with other tests is slow; none of these takes a second else.
const TIME_MAX: Duration = Duration::from_secs(60);

/// The most memory that this process has had.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1_024
}

/// Some thousand events with a text that differs.
fn many() -> Audit {
    let mut story = Story::begin();
    for n in 0..1_500 {
        story.register(&format!("owner{n}@example.com"), &format!("agent-{n}"));
    }
    story.audit()
}

/// A question is refused with one of these codes, in time, and without much memory.
#[track_caller]
fn refused(audit: &Audit, sql: &str, codes: &[&str]) {
    let shown: String = sql.chars().take(120).collect();
    let begun = Instant::now();
    let limits = Limits { time: TIME_MAX, ..audit.limits() };
    let answer = wait(audit.run(sql, &limits));
    let took = begun.elapsed();
    match answer {
        Ok(table) => panic!("{shown}: {} rows", table.rows.len()),
        Err(error) => assert!(codes.contains(&error.code()), "{shown}: {} {error}", error.code()),
    }
    assert!(took < TIME_MAX, "{shown}: {took:?}");
    assert!(peak() < PEAK_BYTES_MAX, "{shown}: {} bytes", peak());
}

/// Calls in calls: `f(f(…(x)…))`.
fn nested(times: usize, x: &str, call: impl Fn(&str) -> String) -> String {
    (0..times).fold(x.to_owned(), |x, _| call(&x))
}

/// Questions over questions, each of which makes `x` anew.
fn stacked(times: usize, x: &str, from: &str, made: &str) -> String {
    let first = format!("with q0 as (select {x} as x from {from})");
    let names = (1..=times)
        .fold(first, |sql, n| format!("{sql}, q{n} as (select {made} as x from q{})", n - 1));
    format!("{names} select x from q{times}")
}

#[test]
fn texts_that_grow_with_each_call_are_refused() {
    let audit = many();
    let memory = &["sql_memory"][..];
    refused(&audit, &stacked(30, "detail", "events", "concat(x, x, x)"), memory);
    refused(&audit, &stacked(30, "detail", "events", "x || x"), memory);
    refused(&audit, &stacked(30, "'ab'", "events", "x || x"), memory);
    refused(&audit, &stacked(30, "'ab'", "(select 1) t", "concat(x, x)"), memory);
    refused(&audit, &stacked(20, "detail", "events", "concat_ws(x, x, x, x)"), memory);
    refused(
        &audit,
        &stacked(20, "detail", "events", "replace(x, 'a', x)"),
        &["sql_function_refused"],
    );
    refused(
        &audit,
        &stacked(20, "link", "events", "x || x"),
        &["sql_memory", "sql_invalid", "sql_failed"],
    );
    let joined = "array_to_string(make_array(x, x, x, x), x)";
    refused(&audit, &stacked(20, "detail", "events", joined), memory);
    refused(&audit, &stacked(20, "detail", "events", "array_to_string([x, x, x, x], ',')"), memory);
    let lists = "array_concat(x, x)";
    refused(&audit, &stacked(20, "[detail]", "events", lists), &["sql_function_refused"]);
    refused(&audit, &stacked(30, "[detail]", "events", "x || x"), memory);
    let nest = nested(6, "'x'", |x| format!("concat({})", [x; 9].join(",")));
    refused(&audit, &format!("select {nest} from events"), &["sql_too_long", "sql_memory"]);
    let format = "%+".repeat(20_000);
    refused(&audit, &format!("select to_char(ts, '{format}') from events"), memory);
    let lower = stacked(12, "detail", "events", "concat(x, x, x, x, left(x, 100000000))");
    refused(&audit, &lower, memory);
    let groups = format!("{}x*{}", "(".repeat(30), ")".repeat(30));
    let text = "x".repeat(30_000);
    let matched = format!("select regexp_match('{text}' || kind, '{groups}') from events");
    refused(&audit, &matched, memory);
    // Others go on.
    assert_eq!(lines(&audit, "select count(*) from owners"), ["[1501]"]);
}

#[test]
fn long_texts_that_every_row_has_are_made_for_few_rows_at_a_time() {
    let audit = many();
    let text = "x".repeat(30_000);
    // A text of the question's own, on each of some thousand rows, and nothing kept of it.
    let sql = format!("select max(length(t)) from (select '{text}' as t, seq from events) q");
    assert_eq!(lines(&audit, &sql), ["[30000]"]);
    let sql = format!("select max(length(t)) from (select detail || '{text}' as t from events) q");
    assert!(lines(&audit, &sql)[0].len() > 4);
    assert!(peak() < PEAK_BYTES_MAX);
    let large = &["sql_too_large", "sql_memory", "sql_too_many_rows"][..];
    refused(&audit, &format!("select '{text}' as t, seq from events"), large);
    let short = "y".repeat(4_000);
    let names: Vec<String> = (0..1_000).map(|n| format!("l as l{n}")).collect();
    let sql = format!("select {} from (select '{short}' as l from events) q", names.join(","));
    refused(&audit, &sql, &["sql_memory", "sql_too_large"]);
    let given = Parameters::from([("t".to_owned(), "z".repeat(1_000_000).into())]);
    let error = wait(audit.run_with("select $t from events", &given, &audit.limits())).unwrap_err();
    assert!(["sql_memory", "sql_too_large"].contains(&error.code()), "{error}");
    assert!(peak() < PEAK_BYTES_MAX);
}

#[test]
fn columns_that_share_a_text_are_not_copied_without_bound() {
    let audit = many();
    let names = |what: &str, times: usize| -> String {
        let named = (0..times).map(|n| format!("{what} as c{n}"));
        named.collect::<Vec<_>>().join(", ")
    };
    let large = &["sql_memory", "sql_too_large", "sql_too_many_rows"][..];
    let wide = names("detail", 800);
    refused(&audit, &format!("select {wide} from events order by kind, seq"), large);
    refused(&audit, &format!("select {wide} from events"), large);
    refused(
        &audit,
        &format!("select {wide} from (select a.detail from events a, events b) q"),
        large,
    );
    let cases: Vec<String> =
        (0..100).map(|n| format!("case when seq > {n} then detail end as c{n}")).collect();
    let sql =
        format!("select count(*) from (select {} from events) q where c1 < c2", cases.join(", "));
    assert_eq!(lines(&audit, &sql), ["[0]"]);
    let coalesced: Vec<String> =
        (0..400).map(|n| format!("coalesce(detail, '{n}') as c{n}")).collect();
    let sql = format!("select {} from events order by c1", coalesced.join(", "));
    refused(&audit, &sql, large);
    for form in [Form::Json, Form::Csv, Form::Arrow] {
        let sql = format!("select {wide} from events");
        let none = Parameters::new();
        let answer = wait(async {
            let question = Question::Sql(&sql, &none);
            audit.answer(&question, form, &audit.limits()).await?.collected().await
        });
        assert!(large.contains(&answer.unwrap_err().code()));
        assert!(peak() < PEAK_BYTES_MAX);
    }
}

#[test]
fn a_join_or_window_does_not_repeat_a_huge_text() {
    let audit = many();
    let all = "(select string_agg(detail, '') as x from events)";
    let memory = &["sql_memory"][..];
    refused(&audit, &format!("select t.x from events cross join {all} t"), memory);
    refused(
        &audit,
        &format!("select length(t.x) from events e join {all} t on length(t.x) > e.seq"),
        memory,
    );
    refused(&audit, &format!("select {all} from events"), memory);
    refused(&audit, &format!("select length({all} || kind) from events"), memory);
    let window = "select first_value(x) over () from (select 1 from events) e cross join";
    refused(&audit, &format!("{window} {all} t"), memory);
    let first = "select max(length(f)) from (select first_value(x) over (order by s) as f from \
        (select detail as x, seq as s from events union all select string_agg(detail, ''), 0 from events))";
    refused(&audit, first, memory);
    let error = ask(&audit, &format!("select t.x from events cross join {all} t")).unwrap_err();
    assert!(error.to_string().contains("left("), "{error}");
}

#[test]
fn what_takes_time_by_the_product_of_two_lengths_is_bounded() {
    let audit = many();
    let text = "ab".repeat(15_000);
    let failed = &["sql_failed"][..];
    refused(
        &audit,
        &format!("select levenshtein('{text}', detail || '{text}') from events"),
        failed,
    );
    refused(&audit, &format!("select btrim('{text}', detail || '{text}') from events"), failed);
    let list = "string_to_array(repeated, 'a')";
    let sql = format!(
        "select array_has_all({list}, {list}) from (select detail || '{text}' as repeated from events) q"
    );
    refused(&audit, &sql, &["sql_failed", "sql_memory"]);
    let listed = "select array_has_all(string_to_array(detail || detail, null), ['x']) from events";
    refused(&audit, listed, failed);
    let invalid = &["sql_invalid"][..];
    refused(&audit, "select regexp_like(detail, kind) from events", invalid);
    refused(&audit, "select 1 from events where detail ~ kind", invalid);
    refused(&audit, &format!("select regexp_count(detail, '{text}') from events"), invalid);
    assert_eq!(
        lines(&audit, "select levenshtein('kitten', 'sitting'), btrim('xxaxx', 'x')"),
        [r#"[3,"a"]"#]
    );
    assert_eq!(lines(&audit, "select count(*) from events where kind ~ '^agent'"), ["[1501]"]);
}

#[test]
fn records_are_not_made() {
    let audit = Story::begin().audit();
    let function = &["sql_function_refused"][..];
    refused(&audit, &stacked(60, "struct(1, 1)", "events", "struct(x, x)"), function);
    refused(&audit, &stacked(60, "1", "events", "named_struct('a', x, 'b', x)"), function);
    refused(&audit, &stacked(60, "1", "events", "row(x, x)"), function);
    refused(&audit, &stacked(60, "1", "events", "(x, x)"), &["sql_clause_refused"]);
}

#[test]
fn honest_texts_and_lists_are_made_as_before() {
    let audit = Story::begin().audit();
    for (sql, expected) in [
        ("concat('a', null, 1, 'b')", r#""a1b""#),
        ("concat_ws('-', 'a', null, 'b')", r#""a-b""#),
        ("'a' || 'b' || 'c'", r#""abc""#),
        ("'a' || null || 'c'", "null"),
        ("'a' || 1 || true", r#""a1true""#),
        ("1 || 'a'", r#""1a""#),
        ("cast('a' as varchar) || 'b'", r#""ab""#),
        ("'{' || ('a' || 'b') || '}'", r#""{ab}""#),
        ("array_to_string([1, null, 3], ',', '-')", r#""1,-,3""#),
        ("array_to_string(make_array('a', 'b'), ', ')", r#""a, b""#),
        ("['a'] || ['b', 'c']", r#"["a","b","c"]"#),
        ("['a'] || 'b'", r#"["a","b"]"#),
        ("string_to_array('a,b', ',')", r#"["a","b"]"#),
        ("to_char(timestamp '2026-01-02 03:04:05', '%Y-%m-%d')", r#""2026-01-02""#),
        ("upper('straße') || initcap('ab cd')", r#""STRASSEAb Cd""#),
        ("coalesce(null, 'x') || nullif('a', 'b')", r#""xa""#),
        ("regexp_match('ab12', '([a-z]+)([0-9]+)')", r#"["ab","12"]"#),
        ("overlay('abcdef' placing 'xx' from 2)", r#""axxdef""#),
        ("length(concat('a', 'b')) + strpos('abc', 'c')", "5"),
    ] {
        assert_eq!(lines(&audit, &format!("select {sql}")), [format!("[{expected}]")], "{sql}");
    }
    let rows = lines(
        &audit,
        "select kind || '/' || cast(seq as text), kind || reason, \
        concat(kind, reason), seq || kind from events order by seq limit 1",
    );
    assert_eq!(rows.len(), 1);
    assert!(rows[0].contains("/0") && rows[0].contains("null"), "{rows:?}");
    let grouped = "select kind || '!' as k, string_agg(cast(seq as text), ',' order by seq) \
        from events group by kind || '!' order by kind || '!'";
    assert!(!lines(&audit, grouped).is_empty());
    let values = vec!["'some short value'"; 3_000].join(", ");
    let listed = format!("select count(*) from events where kind in ({values}) or seq >= 0");
    assert_eq!(lines(&audit, &listed), [format!("[{}]", 3)]);
}

#[test]
fn what_is_made_is_given_back() {
    let mut story = Story::begin();
    for n in 0..2_000 {
        story.register(&format!("owner{n}@example.com"), &format!("agent-{n}"));
    }
    let audit = Audit::new(Settings { threads: 2, at_once: 2 }).unwrap();
    audit.ingest(0, &story.events).unwrap();
    // Several times as much is made in all as there is at a time.
    let limits =
        Limits { memory_bytes: 48 << 20, time: Duration::from_secs(60), ..Limits::INTERACTIVE };
    let sql = "select max(length(a.detail || b.detail || upper(a.kind))) from events a \
        cross join (select detail from events limit 100) b";
    let answer = wait(audit.run(sql, &limits)).unwrap();
    assert_eq!(answer.rows.len(), 1);
}
