//! Processes of this same binary that a benchmark starts, and their certain end.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// What they log: errors, but not each attempt to reach a log that is away on purpose.
const LOG: &str = "error,async_nats=off";
/// How long a process may take to end when it was asked to.
const PATIENCE: Duration = Duration::from_secs(10);

/// This binary with nothing of the surroundings but what is set here.
pub(super) fn own(directory: &Path) -> Result<Command> {
    let own = std::env::current_exe().context("this executable cannot be found")?;
    let mut command = Command::new(own);
    let ours = std::env::vars().filter(|(name, _)| name.starts_with("BAILIWICK_"));
    for (name, _) in ours {
        command.env_remove(name);
    }
    command.env("BAILIWICK_LOG", LOG).current_dir(directory);
    Ok(command)
}

/// A child at the head of a process group of its own, which is killed when this is dropped, whether
/// it is stopped at that moment or not.
#[derive(Debug)]
pub(super) struct Group {
    child: Child,
    pid: Pid,
    ended: bool,
}

impl Group {
    /// Starts it with pipes for its standard input and output.
    pub(super) fn spawn(mut command: Command) -> Result<(Self, ChildStdin, ChildStdout)> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).kill_on_drop(true);
        let mut child = command.spawn().context("a process cannot be started")?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let (Some(pid), Some(to), Some(from)) = (pid, child.stdin.take(), child.stdout.take())
        else {
            bail!("a process was started and is gone already");
        };
        Ok((Self { child, pid, ended: false }, to, from))
    }

    /// Its process id.
    pub(super) const fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends a signal to all of the group.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        kill_process_group(self.pid, signal).context("a process cannot be sent a signal")
    }

    /// # Errors
    /// When it has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                self.ended = true;
                bail!("it ended: {status}")
            }
        }
    }

    /// Waits for an end that it was asked for.
    ///
    /// # Errors
    /// When it does not end, or badly.
    pub(super) async fn end(mut self) -> Result<()> {
        let waited = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = waited.context("a process does not end")??;
        self.ended = true;
        anyhow::ensure!(status.success(), "a process ended badly: {status}");
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.ended {
            // It may be gone by itself, which is as good.
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }
}

/// What `work` comes to, or an error when somebody wants the run to end.
pub(super) async fn unless_stopped<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).context("signals cannot be listened to")?;
    let mut terminate = signal(SignalKind::terminate()).context("signals cannot be listened to")?;
    tokio::select! {
        done = work => done,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
    }
}
