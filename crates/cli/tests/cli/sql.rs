//! Questions from the command line: texts and values, forms and files, and a real terminal.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::bailiwick::{Run, bailiwick, command, demo, text};
use crate::server::{Server, place, with_agent};

fn asked(args: &[&str]) -> Run {
    bailiwick(&[&["sql", "--data", text(&demo().dir)], args].concat())
}

fn piped(args: &[&str], input: &str) -> Run {
    let mut child = command(&[&["sql", "--data", text(&demo().dir)], args].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that reads nothing closes it early.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let ended = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: ended.status.code().unwrap(), out: text(ended.stdout), err: text(ended.stderr) }
}

#[test]
fn a_question_comes_as_an_argument_a_file_or_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("q.sql");
    let sql = "select count(*) as n from owners";
    std::fs::write(&file, format!("-- how many\n{sql};\n")).unwrap();
    let expected = asked(&["--format", "csv", sql]).ends_with(0).out;
    assert!(expected.starts_with("n\r\n"), "{expected}");
    let csv = ["--format", "csv"];
    assert_eq!(asked(&["--format", "csv", "--file", text(&file)]).out, expected);
    for input in [&["-"][..], &["--file", "-"], &[]] {
        assert_eq!(piped(&[&csv[..], input].concat(), sql).ends_with(0).out, expected);
    }
    piped(&[], " \n").ends_with(2);
    asked(&["--file", text(&dir.path().join("none"))]).ends_with(1);
    asked(&["--file", text(&file), sql]).ends_with(2);
    piped(&["-"], &" ".repeat(1_100_000)).ends_with(2);
    let long = format!("select '{}'", "x".repeat(100_000));
    let refused = piped(&["-"], &long).ends_with(1);
    assert!(refused.err.contains("sql_too_long"), "{}", refused.err);
}

#[test]
fn placeholders_take_values_of_the_types_that_they_read_as() {
    let sql = "select $n + 1 as n, $who as who, $flag and true as flag";
    let args = ["--json", sql, "--param", "n=4", "--param", "who=\"5\"", "--param", "flag=true"];
    assert_eq!(asked(&args).ends_with(0).json()["rows"], serde_json::json!([[5, "5", true]]));
    let missing = asked(&[sql, "--param", "n=4"]).ends_with(1);
    assert!(missing.err.contains("sql_parameter"), "{}", missing.err);
    asked(&["select $n", "--param", "n=4", "--param", "n=5"]).ends_with(2);
    asked(&["select $n", "--param", "n"]).ends_with(2);
}

/// Both ways in give the same bytes but for what only the server records.
#[test]
fn an_answer_is_shown_in_each_format_and_written_to_a_file() {
    let (dir, data) = place();
    let server = Server::start(data);
    with_agent(&server);
    let sql = "select seq, kind, ts, link from events where kind <> 'query.run' order by seq";
    let url = server.told["url"].as_str().unwrap().to_owned();
    let asked = |args: &[&str]| server.run(&[args, &["--url", &url]].concat());
    let online = |args: &[&str]| asked(&[&["sql", sql], args].concat());
    let file = dir.path().join("a.parquet");
    let written = online(&["--format", "parquet", "--output", text(&file)]).ends_with(0);
    assert!(written.out.is_empty() && written.err.contains("a.parquet"), "{written:?}");
    let parquet = std::fs::read(&file).unwrap();
    assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
    let csv = online(&["--format", "csv"]).ends_with(0).out;
    assert!(csv.starts_with("seq,kind,ts,link\r\n0,ledger.created,"), "{csv}");
    let out = dir.path().join("a.csv");
    online(&["--format", "csv", "--output", text(&out)]).ends_with(0);
    assert_eq!(std::fs::read_to_string(&out).unwrap(), csv);
    let json = online(&["--json"]).ends_with(0).json();
    assert_eq!(json["rows"].as_array().unwrap().len(), csv.lines().count() - 1);
    let table = online(&[]).ends_with(0).out;
    assert_eq!(table.lines().count(), csv.lines().count());
    let explained = asked(&["sql", &format!("explain {sql}")]).ends_with(0).out;
    assert!(explained.contains("physical_plan"), "{explained}");
    let run = ["query", "run", "calls-after-revocation", "--format", "parquet", "--output"];
    asked(&[&run[..], &[text(&file)]].concat()).ends_with(0);
    asked(&run[..5]).ends_with(2);
    online(&["--format", "parquet"]).ends_with(2);
    online(&["--output", text(&dir.path().join("no/such/place"))]).ends_with(1);

    let data = server.stop();
    let offline = |args: &[&str]| {
        let args = [&["sql", sql, "--data", text(&data)], args].concat();
        bailiwick(&args).ends_with(0)
    };
    let stopped = offline(&["--format", "csv"]);
    assert!(stopped.out.starts_with(&csv), "{}", stopped.out);
    assert!(stopped.err.contains("not recorded"), "{}", stopped.err);
    offline(&["--format", "parquet", "--output", text(&file)]);
    assert!(std::fs::read(&file).unwrap().ends_with(b"PAR1"));
}

/// The binary at a terminal of its own, which `script` makes. It takes the place of the shell that
/// starts it: Ctrl-C reaches a shell too, and some then end with a status of their own.
struct Terminal {
    child: Child,
    shown: Receiver<Vec<u8>>,
    text: String,
}

impl Terminal {
    fn open(args: &[&str], state: &Path) -> Self {
        let whole = [&[env!("CARGO_BIN_EXE_bailiwick")], args].concat();
        let quoted: Vec<String> = whole.iter().map(|arg| format!("'{arg}'")).collect();
        let mut child = std::process::Command::new("script")
            .args(["-qefc", &format!("exec {}", quoted.join(" ")), "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env("XDG_STATE_HOME", state)
            .env("TERM", "xterm")
            .env_remove("BAILIWICK_DATA")
            .env_remove("BAILIWICK_URL")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`script` of util-linux makes the terminal");
        let mut out = child.stdout.take().unwrap();
        let (sender, shown) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok(read @ 1..) = out.read(&mut bytes) {
                if sender.send(bytes[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, shown, text: String::new() }
    }

    fn type_in(&mut self, keys: &str) {
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the terminal shows it, and forgets what it showed up to there.
    #[track_caller]
    fn shows(&mut self, expected: &str) {
        assert!(self.shows_within(expected, Duration::from_secs(60)), "{expected}: {}", self.text);
    }

    fn shows_within(&mut self, expected: &str, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(at) = self.text.find(expected) {
                self.text.drain(..at + expected.len());
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.shown.recv_timeout(left) {
                Ok(bytes) => self.text.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => return false,
            }
        }
    }
}

impl Terminal {
    /// Waits until the command has ended well. The keyboard stays there meanwhile: `script` reads
    /// the end of its own input as a key.
    #[track_caller]
    fn ends_well(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it goes on: {}", self.text);
            std::thread::sleep(Duration::from_millis(10));
        };
        self.text.extend(self.shown.iter().map(|b| String::from_utf8_lossy(&b).into_owned()));
        assert!(status.success(), "{status}: {}", self.text);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // One that ended is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn at_a_terminal_words_are_completed_and_questions_answered_one_by_one() {
    let (dir, data) = place();
    let server = Server::start(data);
    with_agent(&server);
    let url = server.told["url"].as_str().unwrap();
    let args = ["sql", "--data", text(&server.data), "--url", url];
    let mut terminal = Terminal::open(&args, dir.path());
    terminal.shows("bailiwick> ");
    // A table and a column completed, a question over two lines.
    terminal.type_in("select owner_\t");
    terminal.shows("owner_id");
    terminal.type_in(" as whose\r");
    terminal.type_in("from own\t limit 5;\r");
    terminal.shows("whose");
    terminal.shows("alice");
    terminal.shows("(1 row)");
    terminal.shows("bailiwick> ");
    terminal.type_in("\\d\t\t");
    terminal.shows("\\dq");
    terminal.type_in("t\r");
    terminal.shows("revocations");
    terminal.shows("bailiwick> ");
    terminal.type_in("\\d grants\r");
    terminal.shows("valid_to");
    terminal.shows("bailiwick> ");
    terminal.type_in("\\format json\r");
    terminal.shows("bailiwick> ");
    terminal.type_in("\\timing\r");
    terminal.shows("timing is on");
    terminal.shows("bailiwick> ");
    terminal.type_in("select 1 as one;\r");
    terminal.shows(r#""rows":[[1]]"#);
    terminal.shows(" ms");
    terminal.shows("bailiwick> ");
    terminal.type_in("drop table calls;\r");
    terminal.shows("sql_not_a_read");
    terminal.shows("bailiwick> ");
    terminal.type_in("\\run calls-after\t\r");
    terminal.shows(r#""rows":[]"#);
    terminal.shows("bailiwick> ");
    terminal.type_in("\\q\r");
    terminal.ends_well();
    let history = std::fs::read_to_string(dir.path().join("bailiwick/sql_history")).unwrap();
    assert!(history.contains("as whose") && history.contains("drop table"), "{history}");
}

#[test]
fn ctrl_c_breaks_a_question_off_and_not_the_conversation() {
    let state = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::open(&["sql", "--data", text(&demo().dir)], state.path());
    terminal.shows("bailiwick> ");
    let cross = "select count(*) from events a, events b, events c, events d \
        where a.detail || b.detail || c.detail < d.detail;\r";
    terminal.type_in(cross);
    // At a prompt the key does nothing, so it may come too early.
    let deadline = Instant::now() + Duration::from_secs(8);
    while !terminal.shows_within("broken off", Duration::from_millis(100)) {
        assert!(Instant::now() < deadline, "{}", terminal.text);
        terminal.type_in("\u{3}");
    }
    terminal.shows("bailiwick> ");
    terminal.type_in("select 7 * 6 as n;\r");
    terminal.shows("42");
    // Without a prompt the terminal itself would take the key.
    terminal.shows("bailiwick> ");
    terminal.type_in("\u{4}");
    terminal.ends_well();
}
