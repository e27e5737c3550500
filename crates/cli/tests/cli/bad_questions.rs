//! Questions that ask for too much, or for what is not to be had, at a server that decides calls:
//! each is told why it is not answered, memory stays within bounds, and everything else goes on.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;

use serde_json::{Value, json};

use crate::bailiwick::text;
use crate::server::{Server, place, with_agent};

/// Sends a question and reads the status and the body of the answer, which may come before all of it
/// was sent.
fn ask(server: &Server, accept: &str, sql: &str) -> (u16, Vec<u8>) {
    let mut connection = send(server, accept, sql);
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer);
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, answer.get(end + 4..).unwrap_or_default().to_vec())
}

fn send(server: &Server, accept: &str, sql: &str) -> TcpStream {
    let url = server.told["url"].as_str().unwrap().trim_start_matches("http://");
    let key = std::fs::read_to_string(server.data.join("admin.key")).unwrap();
    let body = json!({"sql": sql}).to_string();
    let mut connection = TcpStream::connect(url).unwrap();
    let head = format!(
        "POST /v1/sql HTTP/1.1\r\nhost: {url}\r\nauthorization: Bearer {}\r\naccept: {accept}\r\n\
         connection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        key.trim(),
        body.len()
    );
    // A server that refuses a body need not read it to its end.
    let _ =
        connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(body.as_bytes()));
    connection
}

fn code(answer: &[u8]) -> String {
    let problem: Value = serde_json::from_slice(answer).unwrap_or_default();
    problem["code"].as_str().unwrap_or("answered").to_owned()
}

const SETTINGS: &str = r#"
[sql]
rows = 20000
bytes = "4MiB"
time = "2s"
memory = "32MiB"
memory_all = "96MiB"
at_once = 8
spill = "64MiB"
"#;

/// Every way to ask too much, with the codes that may come of it. What is refused by its text alone
/// is refused at once, whatever runs; what has to be planned shares the cores with endless joins.
fn amiss() -> Vec<(String, &'static [&'static str])> {
    let endless = "select count(*) from events a, events b, events c, events d, events e, events f \
        where a.detail || b.detail || c.detail < d.detail || e.detail || f.detail";
    let wide =
        "select a.detail, b.detail from events a, events b, events c order by a.detail, b.detail";
    let cases: [(&str, &[&str]); 12] = [
        ("select 1; select 2", &["sql_many_statements"]),
        ("drop table calls", &["sql_not_a_read"]),
        ("copy events to '/tmp/x.parquet'", &["sql_not_a_read"]),
        ("set datafusion.execution.batch_size = 1", &["sql_not_a_read"]),
        ("select * from 'https://example.com/x.csv'", &["sql_table_unknown"]),
        ("select * from generate_series(1, 1000000000000)", &["sql_function_refused"]),
        (
            "with recursive r as (select 1 as n union all select n + 1 from r) select count(*) from r",
            &["sql_clause_refused"],
        ),
        (
            "select * from events order by detail limit 1000000000",
            &["sql_limit_too_large", "sql_timeout", "sql_busy"],
        ),
        ("select $1 + 1", &["sql_parameter", "sql_timeout", "sql_busy"]),
        (endless, &["sql_timeout", "sql_busy"]),
        (wide, &["sql_timeout", "sql_busy", "sql_memory", "sql_disk", "sql_too_many_rows"]),
        ("select count(*) from owners", &["answered", "sql_timeout", "sql_busy"]),
    ];
    cases.into_iter().map(|(sql, codes)| (sql.to_owned(), codes)).collect()
}

#[test]
fn a_hundred_bad_questions_at_once_are_told_why_and_the_server_goes_on() {
    let (dir, data) = place();
    std::fs::write(dir.path().join("bailiwick.toml"), SETTINGS).unwrap();
    let server = Server::start_in(dir.path(), data);
    with_agent(&server);
    for n in 0..40 {
        server.run(&["owner", "add", &format!("owner-{n}")]).ends_with(0);
    }
    let long = format!("select '{}'", "x".repeat(10_000_000));
    assert_eq!(ask(&server, "*/*", &long).0, 413);
    let longish = format!("select '{}'", "x".repeat(900_000));
    let (status, answer) = ask(&server, "*/*", &longish);
    assert_eq!((status, code(&answer).as_str()), (400, "sql_too_long"));

    let amiss = amiss();
    thread::scope(|scope| {
        for n in 0..100 {
            let (sql, codes) = &amiss[n % amiss.len()];
            let server = &server;
            scope.spawn(move || {
                let (_, answer) = ask(server, "application/json", sql);
                let code = code(&answer);
                assert!(codes.contains(&code.as_str()), "{sql}: {code}");
            });
        }
        // Calls are decided and things registered all the while.
        for n in 0..5 {
            server.run(&["owner", "add", &format!("meanwhile-{n}")]).ends_with(0);
        }
    });
    for accept in ["application/vnd.apache.arrow.stream", "text/csv"] {
        let gone = "select a.detail, b.detail from events a, events b";
        let mut connection = send(&server, accept, gone);
        let mut some = [0; 16];
        connection.read_exact(&mut some).unwrap();
        drop(connection);
    }
    let (status, answer) = ask(&server, "application/json", "select count(*) from owners");
    assert_eq!(status, 200);
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["rows"], json!([[46]]));
    let peak = server.memory_peak();
    assert!(peak < 700 << 20, "{} MiB", peak >> 20);
    assert!(server.data.join("sql-spill").exists());
    let data = server.stop();
    assert!(!data.join("sql-spill").exists(), "{}", text(&data));
}

#[test]
fn limits_of_questions_are_those_that_are_configured() {
    let (dir, data) = place();
    std::fs::write(dir.path().join("bailiwick.toml"), "[sql]\nrows = 3\nbytes = \"1KiB\"").unwrap();
    let server = Server::start_in(dir.path(), data);
    for (sql, expected) in [
        ("select 1 from events limit 3", "answered"),
        ("values (1), (2), (3), (4)", "sql_too_many_rows"),
        ("select seq from events order by ts limit 4", "sql_limit_too_large"),
        (
            "select repeat from (select concat(detail, detail, detail, detail, detail, detail) as repeat from events limit 1)",
            "sql_too_large",
        ),
    ] {
        assert_eq!(code(&ask(&server, "*/*", sql).1), expected, "{sql}");
    }
}
