//! Real MCP servers behind the gate, called by real MCP clients.
//!
//! Servers: `server-filesystem` and `server-everything`. Clients: the Inspector's command line, which
//! opens a session for every call, and the Python library, which keeps one.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::serve::{Launch, Serve};
use crate::support::{PATIENCE, bailiwick, said, text, tool, until, world};

const META: &str = "dev.bailiwick/decision";
/// From a revocation to the answer of the call that it cuts; the call itself would take 30 s.
const CUT_MAX: Duration = Duration::from_secs(5);

/// A ledger, a directory with files, and the tools to try them with.
struct Scene {
    serve: Serve,
    files: PathBuf,
    servers: PathBuf,
    _dir: tempfile::TempDir,
}

impl Scene {
    /// None when the tools are not there.
    fn set() -> Option<Self> {
        let servers = tool("mcp/node_modules/.bin")?;
        let dir = tempfile::tempdir().expect("a temporary directory");
        // The server resolves links, and so must the scope of a grant.
        let files = dir.path().canonicalize().expect("a real path").join("files");
        for (name, words) in [("open/note.txt", "for everyone"), ("closed/note.txt", "for nobody")]
        {
            let file = files.join(name);
            std::fs::create_dir_all(file.parent().expect("a directory")).expect("make it");
            std::fs::write(file, words).expect("write it");
        }
        let serve = Launch::embedded(&dir.path().join("data")).start();
        Some(Self { serve, files, servers, _dir: dir })
    }

    /// Registers `agent` and lets it call `action` on `scope`.
    fn admit(&self, agent: &str, action: &str, scope: &str) {
        let client = self.serve.client();
        world::found(&client, &[agent]);
        let grant = json!({"agent": agent, "action": action, "scope": scope, "ttl": "1h",
            "max_uses": 100, "justification": "the support team asked for it"});
        client.post("/v1/grants", &grant).ok();
    }

    fn admit_to_files(&self, agent: &str) {
        let scope = format!("file://{}/**", self.files.join("open").display());
        self.admit(agent, "filesystem/read_text_file", &scope);
    }

    /// The command that a client is told to start instead of the server's own.
    fn gated(&self, agent: &str, server: &str, arguments: &[&str]) -> Vec<String> {
        let server = self.servers.join(server).display().to_string();
        let gate = [
            bailiwick().to_str().expect("a path of text"),
            "gateway",
            "--stdio",
            "--agent",
            agent,
            "--",
        ];
        let mut command = gate.map(str::to_owned).to_vec();
        command.push(server);
        command.extend(arguments.iter().map(|&argument| argument.to_owned()));
        command
    }

    fn gated_files(&self, agent: &str) -> Vec<String> {
        let files = self.files.display().to_string();
        self.gated(agent, "mcp-server-filesystem", &[&files])
    }

    fn file(&self, name: &str) -> String {
        self.files.join(name).display().to_string()
    }

    fn revoke(&self, agent: &str) {
        self.serve.run(&["revoke", "--agent", agent]);
    }

    /// Events of one kind about one agent's calls.
    fn calls(&self, kind: &str, agent: &str) -> Vec<Value> {
        let page = self.serve.client().get(&format!("/v1/events?limit=1000&kind={kind}")).ok();
        let events = page["items"].as_array().expect("items").iter();
        events.filter(|event| event["data"]["call"]["agent"] == agent).cloned().collect()
    }
}

/// The Inspector's command line: one session a call.
struct Inspector<'a> {
    scene: &'a Scene,
    config: PathBuf,
}

impl<'a> Inspector<'a> {
    fn new(scene: &'a Scene, gated: &[String]) -> Self {
        let (command, arguments) = gated.split_first().expect("a command");
        let environment = environment(&scene.serve);
        let server =
            json!({"type": "stdio", "command": command, "args": arguments, "env": environment});
        let config = scene.files.with_extension("json");
        let text = json!({"mcpServers": {"gated": server}}).to_string();
        std::fs::write(&config, text).expect("write the inspector's configuration");
        Self { scene, config }
    }

    fn run(&self, arguments: &[&str]) -> Value {
        let output = Command::new(self.scene.servers.join("mcp-inspector"))
            .env("MCP_INSPECTOR_SECRET_STORE", "memory")
            .arg("--cli")
            .arg("--config")
            .arg(&self.config)
            .args(["--server", "gated"])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("run the inspector");
        let printed = text(&output.stdout);
        let json = printed.find('{').map(|at| &printed[at..]).unwrap_or_default();
        serde_json::from_str(json).unwrap_or_else(|e| panic!("{e} in {}", said(&output)))
    }

    fn tools(&self) -> Value {
        self.run(&["--method", "tools/list"])
    }

    fn call(&self, name: &str, argument: &str) -> Value {
        let call = ["--method", "tools/call", "--tool-name", name, "--tool-arg", argument];
        self.run(&call)
    }
}

/// The Python client: one session for everything.
struct Python {
    process: Child,
    told: ChildStdin,
    says: BufReader<ChildStdout>,
}

impl Python {
    fn new(scene: &Scene, gated: &[String]) -> Option<Self> {
        let python = tool("py/bin/python")?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/mcp_client.py");
        let mut command = Command::new(python);
        command.arg(script).args(gated).stdin(Stdio::piped()).stdout(Stdio::piped());
        for (name, value) in environment(&scene.serve).as_object().into_iter().flatten() {
            command.env(name, value.as_str().expect("a text"));
        }
        let mut process = command.spawn().expect("start the Python client");
        let told = process.stdin.take().expect("its input");
        let says = BufReader::new(process.stdout.take().expect("its output"));
        Some(Self { process, told, says })
    }

    fn tell(&mut self, what: &Value) {
        writeln!(self.told, "{what}").expect("the Python client lives");
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.says.read_line(&mut line).expect("the Python client lives");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e} in `{line}`"))
    }

    fn tools(&mut self) -> Value {
        self.tell(&json!({"list": true}));
        self.hear()
    }

    fn call(&mut self, name: &str, arguments: Value) -> Value {
        self.tell(&json!({"tool": name, "arguments": arguments}));
        self.hear()
    }

    /// Ends the session as a client does that is done.
    fn leave(self) {
        let Self { mut process, told, says } = self;
        drop((told, says));
        let status = process.wait().expect("wait for the Python client");
        assert!(status.success(), "the Python client ended with {status}");
    }
}

/// How the gate finds the ledger.
fn environment(serve: &Serve) -> Value {
    let command = serve.command(&[]);
    let known = command.get_envs().filter_map(|(name, value)| {
        Some((name.to_str()?.to_owned(), Value::from(value?.to_str()?)))
    });
    let path = Value::from(std::env::var("PATH").unwrap_or_default());
    Value::Object(known.chain([("PATH".to_owned(), path)]).collect())
}

fn names(tools: &Value) -> Vec<&str> {
    let tools = tools["tools"].as_array().unwrap_or_else(|| panic!("no tools in {tools}"));
    tools.iter().map(|tool| tool["name"].as_str().expect("a name")).collect()
}

fn words(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text in {result}"))
}

fn is_allowed(result: &Value, says: &str) {
    assert_ne!(result["isError"], true, "{result}");
    assert!(words(result).contains(says), "{result}");
}

/// A "no" that a model can read, and a program too.
fn is_denied(result: &Value, codes: &[&str]) {
    assert_eq!(result["isError"], true, "{result}");
    let decision = &result["_meta"][META];
    let code = decision["reason_code"].as_str().unwrap_or_else(|| panic!("no code in {result}"));
    assert!(codes.contains(&code), "{result}");
    assert!(words(result).starts_with("Not allowed: "), "{result}");
    assert!(words(result).contains(code), "{result}");
    assert!(decision["receipt"]["link"].is_string(), "a denial is on the chain: {result}");
}

const REVOKED: &[&str] = &["suspended", "agent_suspended", "grant_revoked"];

#[test]
fn files_are_read_within_the_grant_by_the_inspector() {
    let Some(scene) = Scene::set() else { return };
    scene.admit_to_files("inspector");
    let inspector = Inspector::new(&scene, &scene.gated_files("inspector"));
    let tools = inspector.tools();
    assert!(names(&tools).contains(&"read_text_file"), "{tools}");
    let path = |name: &str| format!("path={}", scene.file(name));
    is_allowed(&inspector.call("read_text_file", &path("open/note.txt")), "for everyone");
    is_denied(&inspector.call("read_text_file", &path("closed/note.txt")), &["no_grant"]);
    scene.revoke("inspector");
    is_denied(&inspector.call("read_text_file", &path("open/note.txt")), REVOKED);
    assert_eq!(scene.calls("call.authorized", "inspector").len(), 1);
    assert_eq!(scene.calls("call.denied", "inspector").len(), 2);
}

#[test]
fn files_are_read_within_the_grant_by_the_python_client() {
    let Some(scene) = Scene::set() else { return };
    scene.admit_to_files("python");
    let Some(mut python) = Python::new(&scene, &scene.gated_files("python")) else { return };
    let tools = python.tools();
    assert!(names(&tools).contains(&"read_text_file"), "{tools}");
    let mut read = |name: &str| python.call("read_text_file", json!({"path": scene.file(name)}));
    is_allowed(&read("open/note.txt"), "for everyone");
    is_allowed(&read("open/../open/./note.txt"), "for everyone");
    is_denied(&read("closed/note.txt"), &["no_grant"]);
    is_denied(&read("open/../closed/note.txt"), &["no_grant"]);
    scene.revoke("python");
    is_denied(&read("open/note.txt"), REVOKED);
    python.leave();

    let allowed = scene.calls("call.authorized", "python");
    assert_eq!(allowed.len(), 2);
    let resource = format!("file://{}", scene.file("open/note.txt"));
    assert_eq!(allowed[0]["data"]["call"]["resource"], resource);
    let finished = scene.serve.client().get("/v1/events?kind=call.finished").ok();
    let outcomes: Vec<&Value> =
        finished["items"].as_array().unwrap().iter().map(|e| &e["data"]["outcome"]).collect();
    assert_eq!(outcomes, ["ok", "ok"], "{finished}");
}

#[test]
fn everything_is_gated_for_the_inspector() {
    let Some(scene) = Scene::set() else { return };
    scene.admit("inspector", "everything/echo", "mcp://everything/echo");
    let gated = scene.gated("inspector", "mcp-server-everything", &[]);
    let inspector = Inspector::new(&scene, &gated);
    let tools = inspector.tools();
    assert!(names(&tools).contains(&"echo"), "{tools}");
    is_allowed(&inspector.call("echo", "message=hello"), "hello");
    is_denied(&inspector.call("get-tiny-image", "none=0"), &["no_grant"]);
    scene.revoke("inspector");
    is_denied(&inspector.call("echo", "message=hello"), REVOKED);
}

#[test]
fn everything_is_gated_for_the_python_client_and_a_revocation_cuts_what_runs() {
    const LONG: &str = "trigger-long-running-operation";
    let Some(scene) = Scene::set() else { return };
    scene.admit("python", "everything/echo", "mcp://everything/echo");
    let grant = json!({"agent": "python", "action": format!("everything/{LONG}"), "ttl": "1h",
        "scope": format!("mcp://everything/{LONG}"), "justification": "it takes long"});
    scene.serve.client().post("/v1/grants", &grant).ok();
    let gated = scene.gated("python", "mcp-server-everything", &[]);
    let Some(mut python) = Python::new(&scene, &gated) else { return };
    let tools = python.tools();
    assert!(names(&tools).contains(&"echo"), "{tools}");
    is_allowed(&python.call("echo", json!({"message": "hello"})), "hello");
    is_denied(&python.call("get-sum", json!({"a": 1, "b": 2})), &["no_grant"]);

    python.tell(&json!({"tool": LONG, "arguments": {"duration": 30, "steps": 30}}));
    until("the long call was allowed", PATIENCE, || {
        (scene.calls("call.authorized", "python").len() == 2).then_some(())
    });
    let revoked = Instant::now();
    scene.revoke("python");
    let cut = python.hear();
    let took = revoked.elapsed();
    assert!(took < CUT_MAX, "cut after {took:?}: {cut}");
    assert_eq!(cut["isError"], true, "{cut}");
    assert_eq!(cut["_meta"][META]["outcome"], "cut", "{cut}");
    is_denied(&python.call("echo", json!({"message": "hello"})), REVOKED);
    python.leave();
    let finished = scene.serve.client().get("/v1/events?kind=call.finished").ok();
    let outcomes: Vec<&Value> =
        finished["items"].as_array().unwrap().iter().map(|e| &e["data"]["outcome"]).collect();
    assert_eq!(outcomes, ["ok", "cut"], "{finished}");
}

#[test]
fn a_client_that_never_looks_at_a_pinned_tool_may_call_it_as_long_as_it_is_the_same() {
    let Some(scene) = Scene::set() else { return };
    scene.admit_to_files("python");
    let gated = scene.gated_files("python");
    // The first session pins what the server says it is; the second shows that it still is.
    for _ in 0..2 {
        let Some(mut python) = Python::new(&scene, &gated) else { return };
        let path = json!({"path": scene.file("open/note.txt")});
        is_allowed(&python.call("read_text_file", path), "for everyone");
        python.leave();
    }
    let pinned = scene.serve.client().get("/v1/events?kind=tool.pinned").ok();
    let pinned: Vec<&Value> =
        pinned["items"].as_array().unwrap().iter().map(|e| &e["data"]).collect();
    assert_eq!(pinned.len(), 1, "{pinned:?}");
    let calls = scene.calls("call.authorized", "python");
    assert_eq!(calls.len(), 2);
    for call in calls {
        assert_eq!(call["data"]["call"]["tool_hash"], pinned[0]["hash"]);
    }

    // Held to something else by an operator, it is another tool.
    let tool = pinned[0]["tool"].as_str().unwrap();
    let mut other = pinned[0]["hash"].as_str().unwrap().to_owned();
    let last = if other.pop() == Some('0') { '1' } else { '0' };
    other.push(last);
    scene.serve.run(&["tool", "pin", tool, "--hash", &other]);
    let Some(mut python) = Python::new(&scene, &gated) else { return };
    let path = json!({"path": scene.file("open/note.txt")});
    is_denied(&python.call("read_text_file", path), &["tool_changed"]);
    python.leave();
}
