//! A server as a child process: its own process group, a cleared environment, and a certain end.
//!
//! The child gets the variables of [`PASSED`], those that begin with `LC_`, and those that were
//! named; nothing else, and never the gateway's own (`BAILIWICK_…`), with which it could act as its
//! own gatekeeper. Its standard error is ours.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::Error;

/// Variables that every server gets: where programs, files, words and certificates are, and what
/// package runners need to find a package. No variable that usually holds a secret is among them;
/// proxies may hold one and have to be named.
pub const PASSED: [&str; 22] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TERM",
    "TZ",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_PATH",
    "NODE_EXTRA_CA_CERTS",
    "npm_config_registry",
    "npm_config_cache",
    "npm_config_prefix",
    "npm_config_userconfig",
    "npm_config_offline",
];
const PASSED_PREFIX: &str = "LC_";
/// Variables that begin so are the gateway's own.
const OWN_PREFIX: &str = "BAILIWICK_";

/// How long the child may take to end after its input was closed, and again after SIGTERM.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// What to run.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Names of further variables of ours that the server gets.
    pub environment: Vec<String>,
    /// Where it runs; here if not given.
    pub directory: Option<PathBuf>,
}

/// A running child. Dropped while it runs, its whole group is killed.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// The group, whose number is the child's own. None once nothing of it is left.
    group: Option<Pid>,
}

impl Process {
    pub(crate) fn spawn(launch: &Launch) -> Result<(Self, ChildStdout, ChildStdin), Error> {
        let (program, arguments) = launch.command.split_first().ok_or(Error::NoCommand)?;
        if let Some(name) = launch.environment.iter().find(|name| name.starts_with(OWN_PREFIX)) {
            return Err(Error::Environment { name: name.clone() });
        }
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| {
                name.to_str().is_some_and(|name| is_passed(name, &launch.environment))
            }))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(directory) = &launch.directory {
            command.current_dir(directory);
        }
        let failed = |source| Error::Spawn { program: program.clone(), source };
        let mut child = command.spawn().map_err(failed)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed(std::io::Error::other("it has no standard streams")));
        };
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok((Self { child, group }, stdout, stdin))
    }

    /// Ends the child, whose input has been closed already: waits, asks, then kills, and last clears
    /// away whatever of its group outlived it.
    pub(crate) async fn end(mut self) -> Option<ExitStatus> {
        let mut status = self.wait().await;
        for signal in [Signal::TERM, Signal::KILL] {
            if status.is_some() {
                break;
            }
            tracing::debug!(?signal, "the server did not end by itself");
            self.signal(signal);
            status = self.wait().await;
        }
        self.signal(Signal::KILL);
        self.group = None;
        status
    }

    async fn wait(&mut self) -> Option<ExitStatus> {
        tokio::time::timeout(PATIENCE, self.child.wait()).await.ok()?.ok()
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // The group may be gone already, which is what was wanted.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

fn is_passed(name: &str, named: &[String]) -> bool {
    if name.starts_with(OWN_PREFIX) {
        return false;
    }
    PASSED.contains(&name)
        || name.starts_with(PASSED_PREFIX)
        || named.iter().any(|other| other == name)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    fn launch(script: &str, environment: &[&str]) -> Launch {
        Launch {
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            environment: environment.iter().map(|name| (*name).to_owned()).collect(),
            directory: None,
        }
    }

    #[tokio::test]
    async fn a_child_gets_no_variable_that_was_not_meant_for_it() {
        // Cargo sets both of these for every test.
        let (process, mut stdout, stdin) =
            Process::spawn(&launch("env", &["CARGO_PKG_NAME"])).unwrap();
        drop(stdin);
        let mut text = String::new();
        stdout.read_to_string(&mut text).await.unwrap();
        assert!(text.lines().any(|line| line.starts_with("PATH=")), "{text}");
        assert!(text.contains("CARGO_PKG_NAME=bailiwick-gateway"), "{text}");
        assert!(!text.contains("CARGO_MANIFEST_DIR"), "{text}");
        assert!(process.end().await.unwrap().success());
    }

    #[test]
    fn the_gateways_own_variables_are_never_passed_on() {
        assert!(!is_passed("BAILIWICK_KEY", &["BAILIWICK_KEY".to_owned()]));
        assert!(matches!(
            Process::spawn(&launch("true", &["BAILIWICK_KEY"])),
            Err(Error::Environment { .. })
        ));
        assert!(is_passed("LC_ALL", &[]) && !is_passed("AWS_SECRET_ACCESS_KEY", &[]));
    }

    #[tokio::test]
    async fn a_child_that_ignores_its_end_takes_nothing_with_it() {
        let script = "trap '' TERM; sleep 60 & echo $!; while :; do sleep 1; done";
        let (process, mut stdout, stdin) = Process::spawn(&launch(script, &[])).unwrap();
        let mut first = [0; 16];
        let read = stdout.read(&mut first).await.unwrap();
        let grandchild = str::from_utf8(&first[..read]).unwrap().trim().to_owned();
        drop(stdin);
        let status = process.end().await.unwrap();
        assert!(!status.success());
        // The signal has been sent; a busy system takes its time to end the process.
        let gone = async {
            let stat = format!("/proc/{grandchild}/stat");
            while std::fs::read_to_string(&stat).is_ok_and(|state| !state.contains(") Z ")) {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(std::time::Duration::from_secs(20), gone).await;
        assert!(waited.is_ok(), "process {grandchild} is still there");
    }

    #[tokio::test]
    async fn a_command_that_is_not_there_is_named() {
        let launch = Launch {
            command: vec!["/nonexistent/server".to_owned()],
            environment: Vec::new(),
            directory: None,
        };
        let Err(Error::Spawn { program, .. }) = Process::spawn(&launch) else { panic!("spawned") };
        assert_eq!(program, "/nonexistent/server");
    }
}
