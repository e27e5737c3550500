//! A real nats-server on a free port with a directory of its own, started, killed and restarted.
//!
//! Test binaries take this file in with `#[path]`. The server is `nats-server` from
//! `$BAILIWICK_TEST_TOOLS/bin`, from `target/tools/bin` of this workspace, or from `PATH`.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_MAX: Duration = Duration::from_secs(20);

/// A running nats-server; dropping it kills it.
pub(crate) struct Server {
    binary: PathBuf,
    dir: PathBuf,
    port: u16,
    process: Child,
}

/// The server's binary. Without one the test is to end at once: this says so, or fails where
/// `BAILIWICK_TEST_REQUIRE_TOOLS=1` says that there has to be one.
pub(crate) fn binary() -> Option<PathBuf> {
    let tools = std::env::var_os("BAILIWICK_TEST_TOOLS").map(PathBuf::from);
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|d| d.join("target/tools"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = tools
        .into_iter()
        .chain(target)
        .map(|tools| tools.join("bin"))
        .chain(std::env::split_paths(&path))
        .map(|dir| dir.join("nats-server"))
        .find(|binary| binary.is_file());
    if found.is_none() {
        let required = std::env::var_os("BAILIWICK_TEST_REQUIRE_TOOLS").is_some_and(|v| v == "1");
        assert!(!required, "nats-server not found (run tests/run)");
        say_skipped();
    }
    found
}

#[expect(clippy::print_stderr, reason = "who runs the tests has to see what was left out")]
fn say_skipped() {
    eprintln!("skipped: nats-server not found (run tests/run)");
}

impl Server {
    /// Starts a server that stores below `dir` and syncs every message before it acknowledges it.
    pub(crate) fn start(dir: &Path) -> Option<Self> {
        Some(Self::start_with(dir, &binary()?))
    }

    fn start_with(dir: &Path, binary: &Path) -> Self {
        let process = spawn(binary, dir, None);
        let mut server = Self { binary: binary.to_owned(), dir: dir.to_owned(), port: 0, process };
        server.port = server.announced_port();
        server.await_ready();
        server
    }

    /// Where clients connect.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Where clients connect, for a proxy in between.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Kills the server at once (SIGKILL) and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("kill nats-server");
        self.process.wait().expect("wait for nats-server");
    }

    /// Starts a killed server again over the same store, on the same port.
    pub(crate) fn restart(&mut self) {
        self.process = spawn(&self.binary, &self.dir, Some(self.port));
        self.await_ready();
    }

    /// The port that the server itself chose, from the file in which it says so.
    fn announced_port(&mut self) -> u16 {
        let file = self.dir.join(format!("nats-server_{}.ports", self.process.id()));
        self.until("said its port", || {
            let text = fs::read_to_string(&file).ok()?;
            let ports: serde_json::Value = serde_json::from_str(&text).ok()?;
            ports["nats"][0].as_str()?.rsplit_once(':')?.1.parse().ok()
        })
    }

    fn await_ready(&mut self) {
        let port = self.port;
        self.until("accepted a connection", || {
            let mut client = TcpStream::connect(("127.0.0.1", port)).ok()?;
            let mut greeting = [0; 5];
            client.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
            client.read_exact(&mut greeting).ok()?;
            greeting.starts_with(b"INFO ").then_some(())
        });
    }

    fn until<T>(&mut self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            let ended = self.process.try_wait().expect("look after nats-server");
            let log = || fs::read_to_string(self.dir.join("nats.log")).unwrap_or_default();
            assert!(ended.is_none(), "nats-server ended: {ended:?}\n{}", log());
            assert!(started.elapsed() < START_MAX, "nats-server never {what}\n{}", log());
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A server that a test has killed already is gone; there is nothing more to do about it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(binary: &Path, dir: &Path, port: Option<u16>) -> Child {
    let config = dir.join("nats.conf");
    let port = port.map_or(-1, i32::from);
    let text = format!(
        "listen: \"127.0.0.1:{port}\"\nports_file_dir: {dir:?}\nlog_file: {log:?}\n\
         jetstream {{ store_dir: {store:?}, sync_interval: always }}\n",
        log = dir.join("nats.log"),
        store = dir.join("store"),
    );
    fs::write(&config, text).expect("write nats.conf");
    Command::new(binary)
        .arg("--config")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start nats-server")
}
