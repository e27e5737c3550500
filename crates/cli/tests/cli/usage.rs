//! What makes no sense costs exit code 2, says why, and changes nothing.

use crate::bailiwick::{bailiwick, command, text};

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    for args in [
        &["nonsense"][..],
        &["owner", "add", "alice example"],
        &["agent", "add", "a", "--owner", "alice"],
        &["grant", "issue", "--agent", "a", "--action", "x y", "--scope", "crm://c"],
        &["grant", "issue", "--agent", "a", "--action", "x", "--scope", "c", "--ttl", "soon"],
        &["revoke"],
        &["revoke", "--agent", "a", "--all"],
        &["revoke", "--all"],
        &["revoke", "--all", "--wait"],
        &["revoke", "--agent", "a", "--wait", "soon"],
        &["revoke", "--agent", "a", "--preview", "--wait"],
        &["reinstate"],
        &["lift"],
        &["key", "issue", "--role", "king"],
        &["gateway", "--agent", "a", "--", "server"],
        &["gateway", "--stdio", "--agent", "a"],
        &["serve", "--listen", "nonsense"],
        &["serve", "--name", "a.b"],
        &["serve", "--tls-cert", "c.pem"],
        &["serve", "--nats", "nats://127.0.0.1:1", "--replicas", "2"],
        &["verify", "x", "--key", "abc"],
        &["completions", "cmd"],
        &["bench", "nonsense"],
        &["bench", "revoke-latency", "--cut-log"],
        &["bench", "revoke-latency", "--gateways", "2", "--pause", "3"],
    ] {
        let refused = bailiwick(args).ends_with(2);
        assert!(!refused.err.is_empty() && refused.out.is_empty(), "{args:?}: {refused:?}");
    }
}

#[test]
fn a_policy_is_checked_without_a_server_to_line_and_column() {
    let dir = tempfile::tempdir().unwrap();
    let (good, bad) = (dir.path().join("good.cedar"), dir.path().join("bad.cedar"));
    let permit = "permit (principal, action == Action::\"crm/read_case\", resource)";
    std::fs::write(&good, format!("{permit};")).unwrap();
    std::fs::write(&bad, format!("{permit}\nwhen {{ context.nonsense }};")).unwrap();
    let valid = bailiwick(&["policy", "check", text(&good)]).ends_with(0);
    assert!(valid.out.contains("one policy is valid"), "{valid:?}");
    let refused = bailiwick(&["policy", "check", text(&good), text(&bad)]).ends_with(1);
    let place = format!("{}:2:", text(&bad));
    assert!(refused.out.starts_with(&place) && !refused.out.contains("good"), "{refused:?}");
    let told = bailiwick(&["policy", "check", "--json", text(&bad)]).ends_with(1).json();
    assert_eq!((&told["valid"], &told["faults"][0]["line"]), (&false.into(), &2.into()));
}

#[test]
fn without_a_server_the_next_step_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("none");
    let refused = bailiwick(&["owner", "list", "--data", text(&data)]).ends_with(1);
    assert!(refused.err.contains("bailiwick serve"), "{refused:?}");
    let url = ["owner", "list", "--url", "http://127.0.0.1:9", "--key", "k"];
    let refused = bailiwick(&url).ends_with(1);
    assert!(refused.err.contains("bailiwick doctor"), "{refused:?}");
    let told = bailiwick(&["owner", "list", "--json", "--data", text(&data)]).ends_with(1);
    let told: serde_json::Value = serde_json::from_str(&told.err).unwrap();
    assert_eq!(
        (&told["error"]["code"], &told["error"]["exit_code"]),
        (&"no_server".into(), &1.into())
    );
}

#[test]
fn a_configuration_with_a_mistake_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bailiwick.toml"), "lissten = \"x\"").unwrap();
    let ended = command(&["owner", "list"]).current_dir(dir.path()).output().unwrap();
    assert_eq!(ended.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("lissten"));
}

#[test]
fn shells_are_told_what_can_be_said() {
    for shell in ["bash", "zsh", "fish"] {
        let script = bailiwick(&["completions", shell]).ends_with(0);
        assert!(script.out.contains("revoke") && script.err.is_empty(), "{shell}");
    }
}

#[test]
fn help_says_what_a_cut_dump_means_and_which_exit_codes_there_are() {
    assert!(bailiwick(&["verify", "--help"]).ends_with(0).out.contains("as a shorter ledger"));
    assert!(bailiwick(&["--help"]).ends_with(0).out.contains("4 verification failed"));
}
