//! What calls mean, and which mean nothing that could be decided about.

use super::*;

const FILE: &str = r#"
[server]
name = "crm"
root = "/srv/data"

[tools.read_case]
resource = "crm://case/{case_id}"
effect = "read"
disclosed = ["case_id", "absent", "long"]

[tools.write_ticket]
action = "tickets/write_ticket"
resource = "tickets://case/{case_id}/ticket"

[tools.open]
resource = "file://{name:path}"

[tools.fetch]
resource = "{where:uri}"
"#;

fn mapping() -> Mapping {
    Mapping::parse(FILE, None, Path::new("/")).unwrap()
}

fn resolve(tool: &str, arguments: &str, hints: Hints) -> Result<Mapped, Unmapped> {
    let raw = RawValue::from_string(arguments.to_owned()).unwrap();
    mapping().resolve(tool, Some(&raw), hints)
}

/// `action resource effect`, or the code of the refusal.
fn check(tool: &str, arguments: &str, expected: &str) {
    let found = match resolve(tool, arguments, Hints::default()) {
        Ok(Mapped { action, resource, effect, .. }) => {
            format!("{action} {resource} {}", effect.as_str())
        }
        Err(unmapped) => unmapped.code.to_string(),
    };
    assert_eq!(found, expected, "{tool} {arguments}");
}

#[test]
fn a_template_is_filled_with_encoded_arguments() {
    check("read_case", r#"{"case_id":"1234"}"#, "crm/read_case crm://case/1234 read");
    check("read_case", r#"{"case_id":1234}"#, "crm/read_case crm://case/1234 read");
    check(
        "read_case",
        r#"{"case_id":"a/b?c%#*é"}"#,
        "crm/read_case crm://case/a%2Fb%3Fc%25%23%2A%C3%A9 read",
    );
    check(
        "write_ticket",
        r#"{"case_id":"7"}"#,
        "tickets/write_ticket tickets://case/7/ticket write",
    );
}

#[test]
fn a_template_that_cannot_be_filled_for_certain_is_no_resource() {
    for arguments in [
        "{}",
        r#"{"case_id":null}"#,
        r#"{"case_id":""}"#,
        r#"{"case_id":".."}"#,
        r#"{"case_id":"."}"#,
        r#"{"case_id":1.5}"#,
        r#"{"case_id":["1"]}"#,
        r#"{"case_id":{"$ne":1}}"#,
    ] {
        check("read_case", arguments, "resource_unmapped");
    }
    check("read_case", r#"{"case_id":"1","Case_ID":"2"}"#, "invalid_arguments");
    check("read_case", r#"{"case_id":"1","caſe_id":"2"}"#, "invalid_arguments");
}

#[test]
fn only_named_short_plain_arguments_are_disclosed() {
    let arguments = format!(r#"{{"case_id":"1","secret":"x","long":"{}"}}"#, "y".repeat(300));
    let found = resolve("read_case", &arguments, Hints::default()).unwrap().disclosed;
    let found: Vec<_> = found.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(found, ["case_id=1"]);
}

#[test]
fn a_path_is_made_absolute_and_normal() {
    for (given, expected) in [
        ("/srv/a.txt", "file:///srv/a.txt"),
        ("a/b", "file:///srv/data/a/b"),
        ("./a/../b/", "file:///srv/data/b"),
        ("../x", "file:///srv/x"),
        ("/srv//a/./b/..", "file:///srv/a"),
        ("/", "file:///"),
        ("/srv/%2e%2e/x y", "file:///srv/%252e%252e/x%20y"),
        ("/srv/...", "file:///srv/..."),
    ] {
        let arguments = serde_json::json!({ "name": given }).to_string();
        check("open", &arguments, &format!("crm/open {expected} write"));
        let arguments = serde_json::json!({ "path": given }).to_string();
        check("unmapped", &arguments, &format!("crm/unmapped {expected} write"));
    }
}

#[test]
fn a_path_that_servers_read_in_their_own_way_is_no_resource() {
    for given in [
        "",
        "~",
        "~/x",
        "~root/x",
        " /etc/passwd",
        "/etc/passwd ",
        "'/etc/passwd'",
        "\"/etc/passwd\"",
        "a\\..\\b",
        "a\u{0}b",
        "a\nb",
        "/..",
        "../../../x",
        "file:///etc/passwd",
        "FILE:/etc/passwd",
    ] {
        let arguments = serde_json::json!({ "path": given }).to_string();
        check("unmapped", &arguments, "resource_unmapped");
    }
}

#[test]
fn a_uri_has_one_normal_form() {
    for (given, expected) in [
        ("HTTPS://Example.COM:443/a/%7eb?q=%2f#x", "https://example.com/a/~b?q=%2F#x"),
        ("http://example.com", "http://example.com/"),
        ("http://example.com:8080?x", "http://example.com:8080/?x"),
        ("file:///srv/%61/./x", "file:///srv/a/x"),
        ("file://localhost/srv/../etc", "file:///etc"),
        ("test://static/1", "test://static/1"),
    ] {
        let arguments = serde_json::json!({ "where": given }).to_string();
        check("fetch", &arguments, &format!("crm/fetch {expected} write"));
        let arguments = serde_json::json!({ "url": given }).to_string();
        check("unmapped", &arguments, &format!("crm/unmapped {expected} write"));
    }
    for bad in [
        "",
        "example.com/x",
        "//x",
        "http://a@b/",
        "http://a b/",
        "http://a\\b/",
        "file:x",
        "file://other/x",
        "http://h/a/../b",
        "http://h/%2e%2e/b",
        "http://h/%zz",
        "http://%61/",
    ] {
        let arguments = serde_json::json!({ "url": bad }).to_string();
        check("unmapped", &arguments, "resource_unmapped");
    }
}

#[test]
fn an_unmapped_tool_acts_on_itself_or_on_the_one_place_it_names() {
    check("ping", "{}", "crm/ping mcp://crm/ping write");
    check("ping", r#"{"text":"/etc/passwd"}"#, "crm/ping mcp://crm/ping write");
    check("many", r#"{"paths":["/a"]}"#, "crm/many file:///a write");
    check("many", r#"{"paths":["/a","/./a"],"path":"/a"}"#, "crm/many file:///a write");
    check("many", r#"{"paths":["/a","/b"]}"#, "resource_unmapped");
    check("move", r#"{"source":"/a","destination":"/b"}"#, "resource_unmapped");
    check("move", r#"{"path":"/a","url":"http://h/"}"#, "resource_unmapped");
    check("odd", r#"{"path":{"a":1}}"#, "resource_unmapped");
    check("odd", r#"{"path":"/a","Path":"/b"}"#, "invalid_arguments");
    check("a b", "{}", "invalid_arguments");
}

#[test]
fn annotations_make_an_effect_worse_and_never_better() {
    let effect = |tool: &str, hints| resolve(tool, r#"{"case_id":"1"}"#, hints).unwrap().effect;
    let hints = |read_only, destructive, open_world| Hints { read_only, destructive, open_world };
    assert_eq!(effect("x", hints(None, None, None)), Effect::Write);
    assert_eq!(effect("x", hints(Some(true), None, None)), Effect::Write);
    assert_eq!(effect("x", hints(Some(true), None, Some(true))), Effect::External);
    assert_eq!(effect("x", hints(None, Some(true), Some(true))), Effect::Destructive);
    assert_eq!(effect("x", hints(None, Some(false), Some(false))), Effect::Write);
    assert_eq!(effect("read_case", hints(None, Some(true), None)), Effect::Read);
}

#[test]
fn a_file_that_cannot_mean_what_it_says_is_refused_with_its_line() {
    for (text, line, part) in [
        ("[server]\nname = \"a b\"", 1, "cannot be called"),
        ("[server]\nroot = \"srv\"\nname=\"a\"", 1, "absolute"),
        ("[tools.x]\neffect = \"read\"", 1, "no `name`"),
        ("[server]\nname=\"a\"\n[tools.x]\nefect = \"read\"", 4, "efect"),
        ("[server]\nname=\"a\"\n[tools.x]\neffect = \"reads\"", 4, "reads"),
        ("[server]\nname=\"a\"\n[tools.x]\nresource = \"a://{b\"", 4, "`x`: a `{` is not closed"),
        ("[server]\nname=\"a\"\n[tools.x]\nresource = \"{b}\"", 4, "scheme"),
        ("[server]\nname=\"a\"\n[tools.x]\nresource = \"a://{}\"", 4, "names no argument"),
        ("[server]\nname=\"a\"\n[tools.x]\nresource = \"a://{b:c}\"", 4, "not a form"),
        ("[server]\nname=\"a\"\n[tools.x]\nresource = \"a://x/{b:uri}\"", 4, "stands alone"),
        ("[server]\nname=\"a\"\n[tools.x]\nresource = \"a://../{b}\"", 4, "segments"),
        ("[server]\nname=\"a\"\n[tools.x]\naction = \"a b\"", 4, "action"),
        ("[server]\nname=\"a\"\n[tools.x]\n[tools.x]", 4, ""),
        ("nonsense", 1, ""),
    ] {
        let Err(Error::Mapping { line: found, why }) = Mapping::parse(text, None, Path::new("/"))
        else {
            panic!("accepted: {text}")
        };
        assert!(found == line && why.contains(part), "{text}: line {found}: {why}");
    }
}

#[test]
fn a_server_is_called_after_what_is_run() {
    for (command, name) in [
        ("npx -y @modelcontextprotocol/server-filesystem /srv", "filesystem"),
        ("npx -y @modelcontextprotocol/server-everything@2026.8.31", "everything"),
        ("uvx mcp-server-git", "git"),
        ("node /opt/tools/dist/index.js", "index"),
        ("/usr/bin/github-mcp-server stdio", "github"),
        ("bailiwick demo-server", "bailiwick"),
        ("python3 -m time", "time"),
    ] {
        let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        assert_eq!(ServerName::from_command(&words).unwrap().as_str(), name, "{command}");
    }
    assert!(ServerName::from_command(&[]).is_err());
}
