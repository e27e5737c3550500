//! Runs the binary, and keeps one demo ledger for all tests that only read.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    /// The answer as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The run, which must have ended with `code`.
    pub(crate) fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

/// The binary with nothing of the surroundings.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bailiwick"));
    let own = std::env::vars().filter(|(name, _)| name.starts_with("BAILIWICK_"));
    own.for_each(|(name, _)| {
        command.env_remove(name);
    });
    command.args(args).current_dir(std::env::temp_dir()).stdin(Stdio::null());
    command
}

pub(crate) fn bailiwick(args: &[&str]) -> Run {
    let ended = command(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run {
        code: ended.status.code().unwrap_or(-1),
        out: text(ended.stdout),
        err: text(ended.stderr),
    }
}

/// A ledger that a demo left, with a dump of it.
pub(crate) struct Demo {
    pub(crate) told: Run,
    pub(crate) dir: PathBuf,
    pub(crate) dump: PathBuf,
    pub(crate) key: String,
    _kept: TempDir,
}

/// The demo ledger. Nobody writes to it.
pub(crate) fn demo() -> &'static Demo {
    static DEMO: OnceLock<Demo> = OnceLock::new();
    DEMO.get_or_init(|| {
        let kept = tempfile::tempdir().unwrap();
        let (dir, dump) = (kept.path().join("ledger"), kept.path().join("ledger.dump"));
        let told = bailiwick(&["demo", "--data", text(&dir)]).ends_with(0);
        let args = ["ledger", "dump", "--json", "--data", text(&dir), "--out", text(&dump)];
        let key = bailiwick(&args).ends_with(0).json()["genesis_key"].as_str().unwrap().to_owned();
        Demo { told, dir, dump, key, _kept: kept }
    })
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
