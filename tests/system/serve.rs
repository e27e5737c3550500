//! A running `bailiwick serve` on a free port, killed, stopped and started again over its directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::http::Client;
use super::{PATIENCE, bailiwick, until};

/// How to start `serve`.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// Its data directory.
    pub(crate) data: PathBuf,
    /// The NATS server that has the ledger; none for the embedded log.
    pub(crate) nats: Option<String>,
    /// A shell command to be run first, in a mount namespace of `serve`'s own.
    pub(crate) mount: Option<String>,
    /// Further arguments.
    pub(crate) more: Vec<&'static str>,
    /// Further variables of its environment.
    pub(crate) env: Vec<(&'static str, String)>,
}

/// A running server; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Serve {
    process: Child,
    launch: Launch,
    url: String,
    key: String,
}

impl Launch {
    pub(crate) fn embedded(data: &Path) -> Self {
        Self { data: data.to_owned(), nats: None, mount: None, more: Vec::new(), env: Vec::new() }
    }

    pub(crate) fn on_nats(data: &Path, url: &str) -> Self {
        Self { nats: Some(url.to_owned()), ..Self::embedded(data) }
    }

    fn arguments(&self) -> Vec<String> {
        let data = self.data.display().to_string();
        let mut arguments =
            ["serve", "--data", &data, "--listen", "127.0.0.1:0"].map(String::from).to_vec();
        if let Some(url) = &self.nats {
            arguments.extend(["--nats".to_owned(), url.clone()]);
        }
        arguments.extend(self.more.iter().map(|&argument| argument.to_owned()));
        arguments
    }

    fn spawn(&self) -> Child {
        let log = File::options().create(true).append(true).open(self.log()).expect("open the log");
        let mut command = match &self.mount {
            None => Command::new(bailiwick()),
            Some(mount) => {
                let mut command = Command::new("unshare");
                let script = format!("{mount} && exec \"$0\" \"$@\"");
                command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
                command.arg(bailiwick());
                command
            }
        };
        command.args(self.arguments()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        without_surroundings(&mut command).envs(self.env.iter().map(|(name, value)| (name, value)));
        command.spawn().expect("start `bailiwick serve`")
    }

    fn log(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    /// Starts the server and waits until it is ready.
    pub(crate) fn start(self) -> Serve {
        // What an earlier server wrote leads nowhere.
        let _ = fs::remove_file(self.data.join("endpoint"));
        let process = self.spawn();
        let mut serve = Serve { process, launch: self, url: String::new(), key: String::new() };
        serve.url = serve.until("said where it listens", |serve| serve.file("endpoint"));
        serve.key = serve.until("left its admin key", |serve| serve.file("admin.key"));
        serve.until("was ready", |serve| {
            let answer = serve.client().send("GET", "/readyz", None).ok()?;
            (answer.status == 200).then_some(())
        });
        serve
    }

    /// Starts a server that refuses to serve, and waits until it has ended.
    pub(crate) fn refused(self) -> Output {
        let before = fs::metadata(self.log()).map_or(0, |log| log.len());
        let mut process = self.spawn();
        let status = until("`serve` had refused", PATIENCE, || process.try_wait().expect("wait"));
        let log = fs::read(self.log()).expect("read the log");
        let stderr = log.get(usize::try_from(before).expect("a short log")..).unwrap_or_default();
        Output { status, stdout: Vec::new(), stderr: stderr.to_vec() }
    }
}

impl Serve {
    /// A client with the admin key.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url, &self.key)
    }

    pub(crate) fn data(&self) -> &Path {
        &self.launch.data
    }

    /// The data directory as it is seen from here.
    pub(crate) fn seen(&self) -> PathBuf {
        let data = &self.launch.data;
        if self.launch.mount.is_none() {
            return data.clone();
        }
        let inside = data.strip_prefix("/").expect("an absolute path");
        Path::new("/proc").join(self.process.id().to_string()).join("root").join(inside)
    }

    /// A `bailiwick` command that finds this server.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(bailiwick());
        command.args(arguments);
        without_surroundings(&mut command);
        command.env("BAILIWICK_URL", &self.url).env("BAILIWICK_KEY", &self.key);
        command
    }

    /// Runs a `bailiwick` command that has to go well, and gives what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("run `bailiwick`");
        assert!(output.status.success(), "`bailiwick {arguments:?}`: {}", super::said(&output));
        super::text(&output.stdout)
    }

    /// SIGKILL, and waits until the process is gone.
    pub(crate) fn kill(mut self) -> Launch {
        self.process.kill().expect("kill `serve`");
        self.process.wait().expect("wait for `serve`");
        self.launch.clone()
    }

    /// No call was allowed that a revocation before it covers, whatever a test did.
    fn check_revocations(&self) {
        let Ok(ready) = self.client().send("GET", "/readyz", None) else { return };
        if ready.status != 200 {
            return;
        }
        let path = "/v1/queries/calls-after-revocation";
        // A ledger that is being cut off cannot say, nor can one that has no time.
        let Ok(asked) = self.client().send("POST", path, Some(&json!({"params": {}}))) else {
            return;
        };
        let code = asked.body["code"].as_str().unwrap_or_default();
        let cannot = asked.status == 503 || ["sql_busy", "sql_timeout"].contains(&code);
        let none = cannot || asked.body["rows"] == json!([]);
        assert!(none, "calls were allowed after a revocation: {}", asked.body);
    }

    /// SIGTERM, and waits until the process has ended as it should.
    pub(crate) fn stop(mut self) -> Launch {
        self.check_revocations();
        let id = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("a process id"), Signal::TERM).expect("signal `serve`");
        let status = self.until("ended", |serve| serve.process.try_wait().expect("wait"));
        assert!(status.success(), "`serve` ended with {status}\n{}", self.log());
        self.launch.clone()
    }

    fn file(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.seen().join(name)).ok()?;
        text.ends_with('\n').then(|| text.trim().to_owned())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.launch.log()).unwrap_or_default()
    }

    fn until<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        until(&format!("`serve` {what}"), PATIENCE, || {
            let found = look(self);
            if found.is_none() {
                let ended = self.process.try_wait().expect("look after `serve`");
                assert!(ended.is_none(), "`serve` ended: {ended:?}\n{}", self.log());
            }
            found
        })
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check_revocations();
        }
        // A server that a test has ended already is gone; there is nothing more to do about it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A `bailiwick` command that knows no server, without what the tester's own environment says.
pub(crate) fn plain(arguments: &[&str]) -> Command {
    let mut command = Command::new(bailiwick());
    command.args(arguments);
    without_surroundings(&mut command);
    command
}

fn without_surroundings(command: &mut Command) -> &mut Command {
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.to_string_lossy().starts_with("BAILIWICK_")) {
        command.env_remove(name);
    }
    command
}
