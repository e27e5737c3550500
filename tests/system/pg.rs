//! Real clients over the `PostgreSQL` wire: psql, psycopg 3, `SQLAlchemy`, pgjdbc, and what DBeaver
//! and Grafana send. And clients that are none.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::support::serve::{Launch, Serve, plain};
use crate::support::{PATIENCE, root, said, text, tool, until, world};

/// A ledger with some history, served to `PostgreSQL` clients.
struct Scene {
    serve: Serve,
    host: String,
    port: String,
    _dir: tempfile::TempDir,
}

/// A credential's name and key.
struct Login {
    user: String,
    key: String,
}

impl Scene {
    fn set() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut launch = Launch::embedded(&dir.path().join("data"));
        launch.more = vec!["--pg-listen", "127.0.0.1:0"];
        let serve = launch.start();
        let endpoint = std::fs::read_to_string(serve.data().join("pg-endpoint")).expect("where");
        let (host, port) = endpoint.trim().rsplit_once(':').expect("an address");
        let (host, port) = (host.to_owned(), port.to_owned());
        world::found(&serve.client(), &["support", "helper"]);
        for case in 0..20 {
            world::grant(&serve.client(), "support", &format!("crm://case/{case}"), 1);
        }
        Self { serve, host, port, _dir: dir }
    }

    fn login(&self, user: &str, role: &str, agent: Option<&str>) -> Login {
        let issue = json!({"credential": user, "role": role, "agent": agent});
        let issued = self.serve.client().post("/v1/credentials", &issue).ok();
        let key = issued["key"].as_str().expect("a key").to_owned();
        Login { user: user.to_owned(), key }
    }

    /// A client that is told everything but what to ask.
    fn client(&self, program: &Path, login: &Login) -> Command {
        let mut command = Command::new(program);
        command.env("PGPASSWORD", &login.key).env("PGCONNECT_TIMEOUT", "20");
        for name in ["PGUSER", "PGHOST", "PGPORT", "PGDATABASE", "PGSERVICE", "PGOPTIONS"] {
            command.env_remove(name);
        }
        command
    }

    fn psql(&self, psql: &Path, login: &Login, arguments: &[&str]) -> Output {
        let mut command = self.client(psql, login);
        command.args(["-X", "-h", &self.host, "-p", &self.port, "-U", &login.user]);
        command.args(["-d", "bailiwick", "-v", "ON_ERROR_STOP=1"]).args(arguments);
        command.output().expect("run psql")
    }

    /// A program that asks and checks by itself.
    fn script(&self, program: &Path, before: &[&str], script: &str, login: &Login) {
        let mut command = self.client(program, login);
        command.args(before).arg(root().join("tests/clients").join(script));
        command.args([&self.host, &self.port, &login.user, &login.key]);
        let output = command.output().expect("run the client");
        assert!(output.status.success(), "{script}: {}", said(&output));
        assert!(text(&output.stdout).ends_with("all is well\n"), "{}", said(&output));
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(format!("{}:{}", self.host, self.port)).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
        stream
    }
}

#[track_caller]
fn shown(output: Output) -> String {
    assert!(output.status.success(), "{}", said(&output));
    text(&output.stdout)
}

fn psql() -> Option<PathBuf> {
    tool("bin/psql")
}

#[test]
fn psql_lists_describes_and_selects() {
    let Some(psql) = psql() else { return };
    let scene = Scene::set();
    let login = scene.login("auditor", "auditor", None);
    let ask = |sql: &str| shown(scene.psql(&psql, &login, &["-c", sql]));
    for list in [r"\dt", r"\d", r"\dt+"] {
        let tables = ask(list);
        for table in ["events", "grants", "calls", "revocations"] {
            assert!(tables.contains(&format!("| {table}")), "{list}: {tables}");
        }
    }
    for describe in [r"\d events", r"\d+ events"] {
        let columns = ask(describe);
        assert!(columns.contains("timestamp with time zone |"), "{columns}");
        assert!(columns.contains("bigint"), "{columns}");
    }
    for quiet in ["show all", r"\l", r"\dn", r"\df", r"\di", r"\dv", r"\dp", r"\du", r"\conninfo"] {
        ask(quiet);
    }
    let kinds = shown(scene.psql(&psql, &login, &["-At", "-c", "select kind from events limit 1"]));
    assert_eq!(kinds, "ledger.created\n");
    let bound = "select seq from events where ts >= $1 and seq = $2 \\bind '2020-01-01' 2 \\g\n";
    let file = scene.serve.data().join("bound.sql");
    std::fs::write(&file, bound).expect("write the question");
    let path = file.to_str().expect("a path of text");
    assert_eq!(shown(scene.psql(&psql, &login, &["-At", "-f", path])), "2\n");
}

#[test]
fn psql_is_told_what_is_refused_and_why() {
    let Some(psql) = psql() else { return };
    let scene = Scene::set();
    let login = scene.login("auditor", "auditor", None);
    for (sql, words) in [
        ("drop table events", "code: sql_not_a_read"),
        ("create table t (a int)", "code: sql_not_a_read"),
        ("copy events to '/tmp/events.csv'", "code: sql_not_a_read"),
        ("set role admin", "code: pg_setting_refused"),
        ("set session_preload_libraries = 'x'", "code: pg_setting_refused"),
        ("select * from nothing", "code: sql_table_unknown"),
        ("select pg_sleep(10)", "code: sql_function_refused"),
        ("select * from pg_catalog.pg_shadow", "code: sql_table_unknown"),
        ("select 1; select 2", "code: sql_many_statements"),
    ] {
        let output = scene.psql(&psql, &login, &["-c", sql]);
        assert!(!output.status.success(), "{sql}: {}", said(&output));
        assert!(text(&output.stderr).contains(words), "{sql}: {}", said(&output));
    }
}

/// The wrong key, a role that does not read, and nobody's name; and a key that is taken back while
/// its session lasts.
#[test]
fn only_readers_come_in_and_only_as_long_as_they_may() {
    let Some(psql) = psql() else { return };
    let scene = Scene::set();
    let auditor = scene.login("auditor", "auditor", None);
    let agent = scene.login("agent-key", "agent", Some("support"));
    let wrong = Login { user: "auditor".to_owned(), key: agent.key.clone() };
    let nobody = Login { user: "nobody".to_owned(), key: auditor.key.clone() };
    let refused = |login: &Login, words: &str| {
        let output = scene.psql(&psql, login, &["-c", "select 1"]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(text(&output.stderr).contains(words), "{}", said(&output));
    };
    refused(&wrong, "the key is not that of credential `auditor`");
    refused(&nobody, "the key is not that of credential `nobody`");
    refused(&agent, "role `agent` of credential `agent-key` does not allow this");

    let turned_away = until("it was recorded who was turned away", PATIENCE, || {
        let events = scene.serve.client().events(0);
        let told = events.iter().filter(|event| event["kind"] == "denials.aggregated");
        let told: Vec<_> =
            told.flat_map(|e| e["data"]["denials"].as_array().cloned()).flatten().collect();
        (told.iter().filter_map(|one| one["count"].as_u64()).sum::<u64>() >= 3).then_some(told)
    });
    let codes: BTreeSet<_> = turned_away.iter().filter_map(|one| one["code"].as_str()).collect();
    assert_eq!(codes, BTreeSet::from(["credential_invalid", "not_permitted"]), "{turned_away:?}");

    let rotated = scene.serve.client().post("/v1/credentials/auditor/rotate", &json!({})).ok();
    let key = rotated["key"].as_str().expect("a key").to_owned();
    let rotated = Login { user: "auditor.2".to_owned(), key };
    assert_eq!(shown(scene.psql(&psql, &rotated, &["-At", "-c", "select 1"])), "1\n");

    // psql runs the command between two questions of one session.
    let revoke = format!(
        r#"\! curl --silent --fail -X POST -H 'authorization: Bearer {}' -H 'content-type: application/json' -d '{{}}' {}/v1/credentials/auditor/revoke > /dev/null"#,
        std::fs::read_to_string(scene.serve.data().join("admin.key")).expect("the key").trim(),
        std::fs::read_to_string(scene.serve.data().join("endpoint")).expect("where").trim(),
    );
    let asked = ["-At", "-c", "select 'before'", "-c", &revoke, "-c", "select 'after'"];
    let output = scene.psql(&psql, &auditor, &asked);
    assert_eq!(text(&output.stdout), "before\n", "{}", said(&output));
    let words = "credential `auditor` is unknown, revoked or expired";
    assert!(text(&output.stderr).contains(words), "{}", said(&output));
    refused(&auditor, "the key is not that of credential `auditor`");
}

#[test]
fn what_dbeaver_and_grafana_send_is_answered() {
    let Some(psql) = psql() else { return };
    let scene = Scene::set();
    let login = scene.login("auditor", "auditor", None);
    for (script, words) in [("dbeaver.sql", "ledger.created"), ("grafana.sql", "ts|timestamp with")]
    {
        let path = root().join("tests/clients").join(script);
        let path = path.to_str().expect("a path of text");
        let answers = shown(scene.psql(&psql, &login, &["-At", "-f", path]));
        assert!(answers.contains(words), "{script}: {answers}");
    }
}

#[test]
fn psycopg_asks_cancels_and_goes() {
    let Some(python) = tool("py/bin/python") else { return };
    let scene = Scene::set();
    scene.script(&python, &[], "pg_psycopg.py", &scene.login("ci", "operator", None));
}

#[test]
fn sqlalchemy_reflects_the_tables() {
    let Some(python) = tool("py/bin/python") else { return };
    let scene = Scene::set();
    scene.script(&python, &[], "pg_sqlalchemy.py", &scene.login("ci", "auditor", None));
}

/// Where Java and the driver are: `tests/run` says what it fetches.
#[test]
fn pgjdbc_reads_the_metadata() {
    let tools = std::env::var_os("BAILIWICK_TEST_TOOLS").map(PathBuf::from);
    let jar = tools.unwrap_or_else(|| root().join("target/tools")).join("pgjdbc.jar");
    if !jar.is_file() {
        left_out("pgjdbc is not there (a Debian package; see tests/run)");
        return;
    }
    let scene = Scene::set();
    let jar = jar.to_str().expect("a path of text");
    let login = scene.login("ci", "auditor", None);
    scene.script(Path::new("java"), &["-cp", jar], "PgMetadata.java", &login);
}

/// Says that a test ends early, also where tools have to be there: this one is not for every machine.
#[expect(clippy::print_stderr, reason = "who runs the tests has to see what was left out")]
fn left_out(why: &str) {
    eprintln!("skipped: {why}");
}

/// Where there is a certificate it is used, checked by the client, and nothing goes on without.
#[test]
fn psycopg_comes_in_under_tls_and_not_otherwise() {
    let Some(python) = tool("py/bin/python") else { return };
    let scene = Scene::set();
    let login = scene.login("ci", "auditor", None);
    let Scene { serve, _dir, .. } = scene;
    let data = serve.stop().data;
    let fixture = |name: &str| root().join("crates/api/tests/fixtures").join(name);
    let mut command = plain(&["serve", "--listen", "127.0.0.1:0", "--pg-listen", "127.0.0.1:0"]);
    command.arg("--data").arg(&data);
    command.arg("--tls-cert").arg(fixture("localhost.crt"));
    command.arg("--tls-key").arg(fixture("localhost.key"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = command.spawn().expect("start `bailiwick serve`");
    let endpoint = until("it said where it listens", PATIENCE, || {
        let text = std::fs::read_to_string(data.join("pg-endpoint")).ok()?;
        text.ends_with('\n').then(|| text.trim().to_owned())
    });
    let port = endpoint.rsplit_once(':').expect("an address").1;
    let connect = |mode: &str| {
        let mut command = Command::new(&python);
        let script = "import psycopg, sys; c = psycopg.connect(sys.argv[1]); \
                      print(c.execute('select 1').fetchone()[0], c.pgconn.ssl_in_use)";
        let certificate = fixture("localhost.crt");
        let told = format!(
            "host=localhost port={port} user={} password={} sslmode={mode} sslrootcert={}",
            login.user,
            login.key,
            certificate.display(),
        );
        command.args(["-c", script, &told]).output().expect("run the client")
    };
    let (secure, plain) = (connect("verify-full"), connect("disable"));
    let bound = connect("require channel_binding=require");
    process.kill().expect("kill `serve`");
    process.wait().expect("wait for `serve`");
    assert_eq!(shown(secure), "1 True\n");
    assert_eq!(shown(bound), "1 True\n");
    assert!(text(&plain.stderr).contains("connections under TLS only"), "{}", said(&plain));
}

/// What is no client gets no further than its first bytes, and nobody else notices.
#[test]
fn what_is_no_client_is_hung_up_on() {
    let scene = Scene::set();
    let startup = |version: u32, rest: &[u8]| {
        let length = u32::try_from(8 + rest.len()).expect("a short packet");
        [&length.to_be_bytes(), &version.to_be_bytes(), rest].concat()
    };
    for (name, bytes) in [
        ("nothing", Vec::new()),
        ("HTTP", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
        ("a length of zero", vec![0; 8]),
        ("a negative length", vec![255; 8]),
        ("a gigabyte", vec![0x3f, 255, 255, 255, 0, 3, 0, 0]),
        ("a startup that does not end", startup(0x3_0000, b"user\0ci")),
        ("version 2", startup(0x2_0000, b"user\0ci\0\0")),
        ("no user", startup(0x3_0000, b"\0")),
        ("an unknown setting", startup(0x3_0000, b"user\0ci\0x\0y\0\0")),
        ("a question at once", [startup(0x3_0000, b"user\0ci\0\0"), question("select 1")].concat()),
        ("TLS that is not there", vec![0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]),
        ("a cancel of nobody", [&[0, 0, 0, 16, 4, 210, 22, 46][..], &[0; 8]].concat()),
        ("half a cancel", [&[0, 0, 0, 10, 4, 210, 22, 46][..], &[0; 2]].concat()),
    ] {
        let mut stream = scene.connect();
        // The other side may have hung up already: that is what is tested.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        // A hang-up may come as a reset, since not everything was read.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() < 1_024, "{name}: {} bytes", answer.len());
        assert!(!answer.windows(5).any(|w| w == [b'Z', 0, 0, 0, 5]), "{name} has a session");
    }
    assert_eq!(scene.serve.client().get("/healthz").status, 200);
    // Whoever asks for TLS where there is none is told so, and may go on without.
    let mut stream = scene.connect();
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).expect("ask for TLS");
    let mut byte = [0];
    stream.read_exact(&mut byte).expect("an answer");
    assert_eq!(byte, [b'N']);
}

fn question(sql: &str) -> Vec<u8> {
    let length = u32::try_from(5 + sql.len()).expect("a short text");
    [b"Q", &length.to_be_bytes()[..], sql.as_bytes(), &[0]].concat()
}
