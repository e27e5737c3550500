//! Policies as files: checked, compared with a server's, and played against cases.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use crate::bailiwick::{Run, bailiwick, text};
use crate::server::{Server, place};

const PERMIT: &str = "permit (principal, action == Action::\"crm/read_case\", resource);\n";

/// A directory with these files.
fn files(contents: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in contents {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

fn founding() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/policies/founding.toml")
}

const REFUND: &str = "@jit(\"true\") permit (principal, action == Action::\"crm/refund\", resource)
    when { context.args has amount && context.args.amount <= 100 };\n";

#[test]
fn policies_that_read_arguments_need_the_schema_that_types_them() {
    let schema = r#"{"type": "object", "properties": {"amount": {"type": "integer"}}}"#;
    let cases = r#"
        [given]
        policies = ["refunds.cedar"]
        schemas = [{ action = "crm/refund", file = "refund.json" }]
        owners = [{ owner = "alice" }]
        agents = [{ agent = "bot", owner = "alice", risk = 10 }]
        [[case]]
        name = "small refunds only"
        when = [
          { agent = "bot", action = "crm/refund", resource = "crm://case/1", args = { amount = 100 }, then.decision = "allow" },
          { agent = "bot", action = "crm/refund", resource = "crm://case/1", args = { amount = 101 }, then = { decision = "deny", code = "forbidden" } },
          { agent = "bot", action = "crm/refund", resource = "crm://case/1", args = { amount = "1" }, then = { decision = "deny", code = "invalid_arguments" } },
        ]"#;
    let dir = files(&[
        ("refunds.cedar", REFUND),
        ("refund.json", schema),
        ("wrong.json", r#"{"type": "array"}"#),
        ("cases.toml", cases),
    ]);
    let path = |name: &str| dir.path().join(name);
    let policy = path("refunds.cedar");
    let alone = bailiwick(&["policy", "check", text(&policy)]).ends_with(1);
    assert!(alone.out.contains("refunds.cedar:2:"), "{alone:?}");
    let typed = format!("crm/refund={}", path("refund.json").display());
    bailiwick(&["policy", "check", text(&policy), "--schema", &typed]).ends_with(0);
    let wrong = format!("crm/refund={}", path("wrong.json").display());
    let wrong = bailiwick(&["policy", "check", text(&policy), "--schema", &wrong]).ends_with(1);
    assert!(wrong.out.contains("arguments are an object"), "{wrong:?}");
    bailiwick(&["policy", "check", text(&policy), "--schema", "crm/refund"]).ends_with(2);
    bailiwick(&["policy", "test", text(&path("cases.toml"))]).ends_with(0);
}

#[test]
fn schemas_are_imported_from_what_a_server_tells_of_its_tools() {
    let tools = r#"{"tools": [{"name": "refund", "inputSchema":
        {"type": "object", "properties": {"amount": {"type": "integer"}}}}]}"#;
    let dir = files(&[("refunds.cedar", REFUND), ("tools.json", tools)]);
    let (_data, place) = place();
    let server = Server::start(place);
    let tools = dir.path().join("tools.json");
    server.run(&["schema", "import", "crm", text(&tools)]).ends_with(0);
    let listed = server.json(&["schema", "list"]);
    assert_eq!(
        (&listed["items"][0]["action"], &listed["items"][0]["status"]),
        (&json!("crm/refund"), &json!("staged"))
    );
    let policy = dir.path().join("refunds.cedar");
    let diff = server.run(&["policy", "diff", text(&policy)]).ends_with(0);
    assert!(diff.out.contains("policy refunds: added"), "{diff:?}");
    server.run(&["policy", "put", "--activate", text(&policy)]).ends_with(0);
    assert_eq!(server.json(&["schema", "show", "crm/refund"])["status"], "active");
    let same = server.run(&["policy", "diff", text(&policy)]).ends_with(0);
    assert!(same.out.contains("nothing would change"), "{same:?}");
    server.run(&["schema", "import", "crm", text(&policy)]).ends_with(2);
    server.stop();
}

#[test]
fn policies_are_checked_together_too() {
    let dir = files(&[("a/read.cedar", PERMIT), ("a/b/write.cedar", PERMIT), ("a/notes.txt", "")]);
    let a = dir.path().join("a");
    let valid = bailiwick(&["policy", "check", text(&a)]).ends_with(0);
    assert!(valid.out.starts_with("2 policies are valid, the hash of the set is "), "{valid:?}");
    let told = bailiwick(&["policy", "check", "--json", text(&a)]).ends_with(0).json();
    assert_eq!(
        (&told["valid"], &told["policies"], &told["faults"]),
        (&true.into(), &2.into(), &json!([]))
    );
    let hash = told["hash"].as_str().unwrap();
    assert!(valid.out.contains(hash) && hash.len() == 64, "{told}");

    let faulty = files(&[
        ("a/read.cedar", PERMIT),
        ("b/read.cedar", PERMIT),
        ("b/two words.cedar", PERMIT),
        ("b/wrong.cedar", &PERMIT.replace(';', "\nwhen { context.nonsense };")),
        ("empty/notes.txt", ""),
    ]);
    fs::write(faulty.path().join("b/latin.cedar"), b"// \xe9\n").unwrap();
    let all = ["a", "b"].map(|name| faulty.path().join(name));
    let args = ["policy", "check", "--json", text(&all[0]), text(&all[1])];
    let told = bailiwick(&args).ends_with(1).json();
    assert_eq!((&told["valid"], &told["hash"]), (&false.into(), &json!(null)));
    let found: Vec<(&str, u64, &str)> = told["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| {
            let name = fault["file"].as_str().unwrap().rsplit('/').next().unwrap();
            (name, fault["line"].as_u64().unwrap(), fault["message"].as_str().unwrap())
        })
        .collect();
    for (name, line, part) in [
        ("latin.cedar", 1, "is not UTF-8"),
        ("read.cedar", 1, "is policy `read` already"),
        ("two words.cedar", 1, "gives no policy id"),
        ("wrong.cedar", 2, "nonsense"),
    ] {
        let fits = |fault: &&(&str, u64, &str)| {
            fault.0 == name && fault.1 == line && fault.2.contains(part)
        };
        assert!(found.iter().any(|fault| fits(&fault)), "{name}: {found:?}");
    }
    assert_eq!(found.len(), 4, "{found:?}");

    let empty = faulty.path().join("empty");
    let refused = bailiwick(&["policy", "check", text(&empty)]).ends_with(2);
    assert!(refused.err.contains("holds no `.cedar` file"), "{refused:?}");
    let none = faulty.path().join("none.cedar");
    bailiwick(&["policy", "check", text(&none)]).ends_with(1);
}

#[test]
fn files_are_compared_with_what_is_in_force_and_on_the_stage() {
    let (_dir, data) = place();
    let server = Server::start(data);
    let old = files(&[("keep.cedar", PERMIT), ("gone.cedar", PERMIT), ("change.cedar", PERMIT)]);
    let old_files = ["keep", "gone", "change"].map(|id| old.path().join(format!("{id}.cedar")));
    let put = |files: &[PathBuf]| {
        let files: Vec<&str> = files.iter().map(|file| text(file)).collect();
        server.run(&[&["policy", "put"], &files[..]].concat()).ends_with(0);
    };
    let diff = |dir: &Path, more: &[&str]| -> Run {
        server.run(&[&["policy", "diff", text(dir)], more].concat())
    };

    put(&old_files);
    let told = diff(old.path(), &["--json"]).ends_with(0).json();
    assert_eq!(told["changes"][0]["change"], "added");
    assert_eq!((&told["changes"][0]["staged"], &told["against"]), (&true.into(), &"active".into()));
    let activated = server.json(&["policy", "activate"]);
    assert_eq!(activated["id"], told["hash"], "the hash is that of the set that was activated");
    let same = diff(old.path(), &["--exit-code"]).ends_with(0);
    assert!(same.out.starts_with("nothing would change: 3 policies"), "{same:?}");

    let changed = PERMIT.replace("resource)", "resource in Resource::\"crm://case\")");
    let new = files(&[
        ("keep.cedar", PERMIT),
        ("change.cedar", &format!("// narrower\n{changed}")),
        ("add.cedar", PERMIT),
    ]);
    let told = diff(new.path(), &["--json"]).ends_with(0).json();
    let changes = told["changes"].as_array().unwrap();
    let changes: Vec<_> = changes.iter().map(|c| (&c["policy"], &c["change"])).collect();
    let expected = [("add", "added"), ("change", "changed"), ("gone", "removed")];
    let expected = expected.map(|(id, what)| (json!(id), json!(what)));
    assert!(changes.iter().zip(&expected).all(|(c, e)| (c.0, c.1) == (&e.0, &e.1)), "{told}");
    assert_eq!(changes.len(), 3);
    assert_eq!((&told["policies"], &told["hash_before"]), (&3.into(), &activated["id"]));
    let shown = diff(new.path(), &["--exit-code"]).ends_with(1);
    let hunk = format!("@@ -1 +1,2 @@\n-{PERMIT}+// narrower\n+{changed}");
    assert!(shown.out.contains(&hunk) && shown.out.contains("policy gone: removed\n"), "{shown:?}");

    put(&[new.path().join("change.cedar"), new.path().join("add.cedar")]);
    server.run(&["policy", "remove", "gone"]).ends_with(0);
    let told = diff(new.path(), &["--json"]).ends_with(0).json();
    assert!(told["changes"].as_array().unwrap().iter().all(|c| c["staged"] == true), "{told}");
    let told = diff(new.path(), &["--json", "--staged", "--exit-code"]).ends_with(0).json();
    assert_eq!((&told["changes"], &told["against"]), (&json!([]), &"staged".into()));

    let faulty = files(&[("bad.cedar", "permit (principal, action)")]);
    let refused = diff(faulty.path(), &[]).ends_with(1);
    assert!(refused.out.is_empty() && refused.err.contains("bad.cedar:1:"), "{refused:?}");
    server.stop();
}

#[test]
fn the_founding_scenario_is_played_by_the_rules() {
    let told = bailiwick(&["policy", "test", text(&founding())]).ends_with(0);
    assert!(told.out.contains("one single object is downloaded, once"), "{told:?}");
    assert!(!told.out.contains("FAILED"), "{told:?}");
    let told = bailiwick(&["policy", "test", "--json", text(&founding())]).ends_with(0).json();
    assert_eq!(
        (&told["passed"], &told["failed"], &told["faults"]),
        (&5.into(), &0.into(), &json!([]))
    );
    let call = &told["cases"][0]["calls"][0];
    assert_eq!(call["call"], "support-bot crm/read_case crm://case/1234");
    let got = json!({
        "decision": "allow", "code": null, "policies": ["alice", "support-reads-cases"],
        "ttl": "5m", "uses_left": 9,
    });
    assert_eq!(call["got"], got);
}

#[test]
fn a_case_whose_expectation_is_wrong_fails_and_says_how() {
    let right = fs::read_to_string(founding()).unwrap();
    let policies = founding().parent().unwrap().join("founding");
    let right = right.replace("[\"founding\"]", &format!("[{:?}]", text(&policies)));
    let dir = files(&[("right.toml", right.as_str())]);
    let path = dir.path().join("wrong.toml");
    bailiwick(&["policy", "test", text(&dir.path().join("right.toml"))]).ends_with(0);
    for (before, after) in [
        (r#"ttl = "1m", uses_left = 8"#, r#"ttl = "59s", uses_left = 8"#),
        (r#"ttl = "1m", uses_left = 8"#, r#"ttl = "1m", uses_left = 9"#),
        (r#"code = "grant_expired""#, r#"code = "grant_revoked""#),
        (r#"policies = ["nothing-sealed"]"#, "policies = []"),
        (r#"policies = ["alice", "support-reads-cases"]"#, r#"policies = ["alice"]"#),
        (r#"decision = "allow", uses_left = 0"#, r#"decision = "deny""#),
        (r#"decision = "deny", code = "grant_exhausted""#, r#"decision = "allow""#),
        (
            r#"revoke = "all""#,
            r#"advance = "1s"
revoke = { agent = "intern-bot" }"#,
        ),
        ("advance = \"1m\"\n", ""),
        ("told.resource = { status = \"open\" }\n", ""),
        ("groups = [\"support\"], ", ""),
    ] {
        assert!(right.contains(before), "{before}");
        fs::write(&path, right.replacen(before, after, 1)).unwrap();
        let told = bailiwick(&["policy", "test", "--json", text(&path)]).ends_with(1).json();
        assert!(told["failed"].as_u64() > Some(0), "{before} {told}");
        assert_eq!(told["faults"], json!([]), "{before}");
    }
    fs::write(&path, right.replace("crm://case/sealed/7", "crm://case/7")).unwrap();
    let told = bailiwick(&["policy", "test", text(&path)]).ends_with(1);
    assert!(told.err.contains("1 of 5 cases failed"), "{told:?}");
    let (_, failed) = told.out.split_once("\na grant does not reach what is sealed:\n").unwrap();
    let row = failed.lines().nth(1).unwrap();
    let parts = [
        "support-bot crm/read_case crm://case/7",
        "deny forbidden by nothing-sealed",
        "allow",
        "alice, support-reads-cases",
    ];
    assert!(parts.iter().all(|part| row.contains(part)), "{failed}");
}

#[test]
fn a_file_of_cases_that_means_nothing_is_refused_with_line_and_column() {
    const CALL: &str = "agent = \"a\"\naction = \"x\"\nresource = \"crm://1\"\n";
    let case = |step: &str| format!("[[case]]\nname = \"n\"\n[[case.when]]\n{step}");
    let call = |then: &str| case(&format!("{CALL}then = {then}"));
    let owner = "[given]\nowners = [{ owner = \"o\" }]\n";
    let allow = call("{ decision = \"allow\" }");
    for (content, place, part) in [
        ("", "1:1", "there is no `[[case]]`"),
        ("[[case]\n", "1:", ""),
        ("[given]\nownrs = []\n", "2:1", "unknown field `ownrs`"),
        ("[given]\nowners = [{ owner = \"o\", gruops = [] }]\n", "2:26", "unknown field `gruops`"),
        (&case("agnet = \"a\"\n"), "4:1", "unknown field `agnet`"),
        (&call("{ decision = \"allow\", tll = \"5m\" }"), "7:", "unknown field `tll`"),
        (&call("{ decision = \"perhaps\" }"), "7:", "perhaps"),
        (&call("{ code = \"forbidden\" }"), "7:", "decision"),
        (&call("{ decision = \"deny\", code = \"nonsense\" }"), "7:", "nonsense"),
        (&call("{ decision = \"allow\", code = \"forbidden\" }"), "3:", "no `code`"),
        (&call("{ decision = \"deny\", uses_left = 1 }"), "3:", "no `uses_left`"),
        (&call("{ decision = \"allow\", ttl = \"soon\" }"), "7:", "is not a length of time"),
        (&case(CALL), "3:", "a call needs `then`"),
        (&case("revoke = \"all\"\n"), "1:", "makes no call"),
        (&case(&format!("{CALL}revoke = \"all\"")), "3:", "not both"),
        (&call("{ decision = \"allow\" }\nperson = \"o\""), "3:", "either `agent` or `person`"),
        (&case("agent = \"a\"\nthen = { decision = \"deny\" }"), "3:", "`action` and `resource`"),
        (&call("{ decision = \"deny\" }\ntask = \"t\""), "3:", "task `t` is not given"),
        (&call("{ decision = \"deny\" }\nargs = { n = nan }"), "8:", "no number `NaN`"),
        (&format!("[given]\nclock = 09:00:00\n{allow}"), "2:9", "a moment in UTC"),
        (&format!("[given]\nclock = 1969-12-31T23:59:59Z\n{allow}"), "2:9", "before 1970"),
        (&format!("[given]\npolicies = [\"a.cedar\"]\n{allow}"), "1:1", "Nonsense"),
        (
            &format!("[given]\nagents = [{{ agent = \"a\", owner = \"o\" }}]\n{allow}"),
            "2:11",
            "`o`",
        ),
        (
            &format!(
                "{owner}grants = [{{ agent = \"a\", action = \"x\", scope = \"crm://1\" }}]\n{allow}"
            ),
            "3:11",
            "not_found",
        ),
        (
            &format!(
                "{owner}resources = [{{ resource = \"crm://1\", properties = {{ a = [[1]] }} }}]\n{allow}"
            ),
            "3:",
            "property `a`",
        ),
        (
            &allow.replace("name = \"n\"", "name = \"n\"\ngiven.policies = [\"a.cedar\"]"),
            "1:",
            "whole file",
        ),
    ] {
        let nonsense = "permit (principal is Nonsense, action, resource);";
        let dir = files(&[("cases.toml", content), ("a.cedar", nonsense)]);
        let path = dir.path().join("cases.toml");
        let told = bailiwick(&["policy", "test", text(&path)]).ends_with(1);
        let file = if part == "Nonsense" { dir.path().join("a.cedar") } else { path };
        let start = format!("{}:{place}", text(&file));
        assert!(told.out.starts_with(&start) && told.out.contains(part), "{content}\n{told:?}");
    }
    let dir = files(&[("cases.toml", &format!("[given]\npolicies = [\"none.cedar\"]\n{allow}"))]);
    let told = bailiwick(&["policy", "test", text(&dir.path().join("cases.toml"))]).ends_with(1);
    assert!(told.err.contains("none.cedar"), "{told:?}");
}
