//! What every system test needs: the binary, a running `serve`, and a plain HTTP client.

pub(crate) mod http;
pub(crate) mod serve;
pub(crate) mod world;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long anything may take that has no limit of its own: a busy machine is slow, not wrong.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The `bailiwick` binary of the same build as this test, made now if it is missing. Testing the
/// whole workspace makes it anew; asking cargo again would build the dependencies with other features.
pub(crate) fn bailiwick() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = std::env::current_exe().expect("where this test is");
        let profile = test.ancestors().nth(2).expect("tests are below the profile's directory");
        let binary = profile.join("bailiwick");
        if let (false, Some(cargo)) = (binary.is_file(), std::env::var_os("CARGO")) {
            build(Path::new(&cargo), profile);
        }
        assert!(binary.is_file(), "there is no {}: run `cargo build`", binary.display());
        binary
    })
}

/// `cargo test --test system` alone builds no binary of another package.
fn build(cargo: &Path, profile: &Path) {
    let mut command = Command::new(cargo);
    command.current_dir(root()).args(["build", "--quiet", "--bin", "bailiwick", "--target-dir"]);
    command.arg(profile.parent().expect("the target directory"));
    if profile.ends_with("release") {
        command.arg("--release");
    }
    let built = command.output().expect("run cargo");
    assert!(built.status.success(), "`cargo build` failed:\n{}", text(&built.stderr));
}

/// Output as text, whatever it is.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Both streams of a finished command, for messages.
pub(crate) fn said(output: &Output) -> String {
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// Looks again and again until `look` finds something.
///
/// # Panics
/// When it does not in `limit`.
pub(crate) fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < limit, "waited {limit:?} in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// The directory of tools that `tests/run` fetched, if `program` is in it. Without it the test is
/// to end at once: this says so, or fails where there has to be one.
pub(crate) fn tool(program: &str) -> Option<PathBuf> {
    let given = std::env::var_os("BAILIWICK_TEST_TOOLS").map(PathBuf::from);
    let found = given.unwrap_or_else(|| root().join("target/tools")).join(program);
    if found.exists() {
        return Some(found);
    }
    skip(&format!("{program} not found (run tests/run)"));
    None
}

/// Says that a test ends early, or fails where it must not.
#[expect(clippy::print_stderr, reason = "who runs the tests has to see what was left out")]
pub(crate) fn skip(why: &str) {
    let required = std::env::var_os("BAILIWICK_TEST_REQUIRE_TOOLS").is_some_and(|v| v == "1");
    assert!(!required, "{why}");
    eprintln!("skipped: {why}");
}

/// A number from the environment, to run a test longer or shorter.
pub(crate) fn number(variable: &str, usual: usize) -> usize {
    let Ok(given) = std::env::var(variable) else { return usual };
    given.parse().unwrap_or_else(|_| panic!("`{variable}` is `{given}`, not a number"))
}
