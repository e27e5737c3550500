use serde_json::{Value, json};

use super::*;

fn constraint(text: &str) -> Constraint {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn is_met(written: &str, arguments: Value) -> bool {
    are_met(&[constraint(written)], Some(&Arguments::of_json(&arguments).unwrap()))
}

#[test]
fn argument_meets_what_it_is_and_nothing_of_another_type() {
    for (written, argument) in [
        ("/a=equal:alice", json!("alice")),
        ("/a=equal:\"5\"", json!("5")),
        ("/a=equal:5", json!(5)),
        ("/a=equal:5", json!(5.0)),
        ("/a=equal:true", json!(true)),
        ("/a=one-of:[\"x\", 7, false]", json!(7)),
        ("/a=one-of:[\"x\", 7, false]", json!("x")),
        ("/a=prefix:in", json!("invoice")),
        ("/a=prefix:in", json!("in")),
        ("/a=max:500", json!(500)),
        ("/a=max:500", json!(-3)),
    ] {
        assert!(is_met(written, json!({"a": argument})), "{written} {argument}");
    }
    for (written, argument) in [
        ("/a=equal:alice", json!("Alice")),
        ("/a=equal:alice", json!(["alice"])),
        ("/a=equal:alice", json!({"alice": "alice"})),
        ("/a=equal:5", json!("5")),
        ("/a=equal:\"5\"", json!(5)),
        ("/a=equal:1", json!(true)),
        ("/a=equal:5", json!(5.5)),
        ("/a=equal:true", json!("true")),
        ("/a=equal:true", json!(null)),
        ("/a=one-of:[\"x\", 7, false]", json!("7")),
        ("/a=one-of:[\"x\", 7, false]", json!(true)),
        ("/a=prefix:in", json!("In")),
        ("/a=prefix:in", json!("i")),
        ("/a=prefix:in", json!(["in"])),
        ("/a=prefix:1", json!(12)),
        ("/a=max:500", json!(501)),
        ("/a=max:500", json!(499.5)),
        ("/a=max:500", json!("5")),
        ("/a=max:500", json!(null)),
    ] {
        assert!(!is_met(written, json!({"a": argument})), "{written} {argument}");
    }
}

#[test]
fn what_is_not_there_meets_nothing() {
    let written = constraint("/a=max:5");
    assert!(!are_met(std::slice::from_ref(&written), None));
    assert!(!are_met(&[written], Some(&Arguments::default())));
    assert!(!is_met("/a/b=equal:1", json!({"a/b": 1, "a": 1})));
    assert!(are_met(&[], None));
    // All of them, not one of them.
    let both = [constraint("/a=max:5"), constraint("/b=equal:x")];
    let met = |value: Value| are_met(&both, Some(&Arguments::of_json(&value).unwrap()));
    assert!(met(json!({"a": 5, "b": "x", "c": "y"})));
    assert!(!met(json!({"a": 5})) && !met(json!({"a": 6, "b": "x"})));
}

#[test]
fn a_path_does_not_leave_its_prefix() {
    for inside in
        ["/srv/reports/", "/srv/reports/a.txt", "/srv/reports/..a/b...", "/srv/reports//x"]
    {
        assert!(is_met("/path=prefix:/srv/reports/", json!({"path": inside})), "{inside}");
    }
    for outside in [
        "/srv/reports",
        "/srv/reportsx/a",
        "/SRV/reports/a",
        "srv/reports/a",
        "/srv/reports/../../etc/passwd",
        "/srv/reports/..",
        "/srv/reports/./a",
        "/srv/reports/x/../../y",
        "/srv/reports/%2e%2e/%2E%2e/etc",
        "/srv/reports/.%2E/etc",
        "/srv/reports/..%2f..%2Fetc",
        "/srv/reports/%252e%252e/etc",
        "/srv/reports/..%5c..%5Cetc",
        "/srv/reports/..\\..\\etc",
        "/srv/reports/a%00.txt",
        "/srv/reports/a\0.txt",
    ] {
        assert!(!is_met("/path=prefix:/srv/reports/", json!({"path": outside})), "{outside}");
    }
    // A prefix without a slash at its end is one of texts; it is not escaped from either.
    assert!(is_met("/path=prefix:reports", json!({"path": "reports-2026/a"})));
    for outside in ["reports/../etc", "reports%2f..%2fetc", "reports\\..\\etc"] {
        assert!(!is_met("/path=prefix:reports", json!({"path": outside})), "{outside}");
    }
}

#[test]
fn texts_that_look_alike_and_names_that_only_escape_alike_differ() {
    // Composed and decomposed, Latin and Cyrillic, plain and full width.
    for alike in ["cafe\u{301}", "\u{441}afé", "ｃafé", "café\u{200b}", " café"] {
        assert!(!is_met("/a=equal:café", json!({"a": alike})), "{alike:?}");
    }
    assert!(is_met("/a=equal:café", json!({"a": "caf\u{e9}"})));
    assert!(!is_met("/to=equal:x", json!({"tо": "x"})), "a Cyrillic name");
    assert!(is_met("/a~1b/m~0n=equal:1", json!({"a/b": {"m~n": 1}})));
    for other in [json!({"a": {"b": {"m~n": 1}}}), json!({"a~1b": {"m~0n": 1}})] {
        assert!(!is_met("/a~1b/m~0n=equal:1", other));
    }
    // `~01` is `~1` and never `/`.
    assert!(is_met("/a~01b=equal:1", json!({"a~1b": 1})));
    assert!(!is_met("/a~01b=equal:1", json!({"a/b": 1})));
}

#[test]
fn constraints_beyond_their_form_and_limits_are_refused() {
    let refused = |at: &str, must: Must| {
        check(&[Constraint { at: Text::new(at).unwrap(), must }]).expect_err(at)
    };
    let one = || Must::Max(1);
    for at in ["a", "a/b", "/a~", "/a~2", "/~x/b", &"/a".repeat(DEPTH_MAX + 1)] {
        assert_eq!(refused(at, one()), ConstraintError::Pointer, "{at}");
    }
    let n = i64::try_from(INTEGER_MAX).unwrap();
    for most in [n + 1, -n - 1, i64::MIN] {
        assert_eq!(refused("/a", Must::Max(most)), ConstraintError::Integer);
        assert_eq!(refused("/a", Must::Equal(Plain::Integer(most))), ConstraintError::Integer);
    }
    for values in [Vec::new(), vec![Plain::Bool(true); ONE_OF_MAX + 1]] {
        assert_eq!(refused("/a", Must::OneOf(values)), ConstraintError::Choices);
    }
    for prefix in ["/srv/../etc/", "./a", "/srv/%2e%2e/", "c:\\a"] {
        let prefix = Must::Prefix(Text::new(prefix).unwrap());
        assert_eq!(refused("/a", prefix), ConstraintError::Prefix);
    }
    assert_eq!(check(&vec![constraint("/a=max:1"); CONSTRAINTS_MAX]), Ok(()));
    let many = vec![constraint("/a=max:1"); CONSTRAINTS_MAX + 1];
    assert_eq!(check(&many), Err(ConstraintError::TooMany));
    let long = constraint(&format!("/a=equal:{}", "x".repeat(2_000)));
    assert_eq!(check(&vec![long.clone(); 4]), Ok(()));
    assert_eq!(check(&vec![long; 5]), Err(ConstraintError::TooLong));
}

#[test]
fn constraints_read_back_as_they_are_written() {
    for written in [
        "/path=prefix:/srv/reports/",
        "/path=prefix:a:b=c",
        "/amount=max:500",
        "/to=equal:\"alice\"",
        "/to/0=equal:true",
        "/n=equal:-5",
        "/to=one-of:[\"a\", 5, false]",
    ] {
        assert_eq!(constraint(written).to_string(), written);
    }
    assert_eq!(constraint("/to=equal:alice"), constraint("/to=equal:\"alice\""));
    for bad in [
        "",
        "/a",
        "/a=",
        "/a=max",
        "/a=max:",
        "/a=max:x",
        "/a=min:1",
        "a=max:1",
        "/a=equal:",
        "/a=equal:[1]",
        "/a=equal:1.5",
        "/a=equal:null",
        "/a=one-of:x",
        "/a=one-of:[]",
        "/a=prefix:",
        "/a=prefix:../x",
    ] {
        assert!(bad.parse::<Constraint>().is_err(), "{bad}");
    }
}

#[test]
fn constraints_may_be_added_and_none_dropped() {
    let [a, b, c] = ["/a=max:5", "/b=equal:x", "/a=max:4"].map(constraint);
    let all = |of: &[&Constraint]| of.iter().copied().cloned().collect::<Vec<_>>();
    assert!(keep_all(&all(&[&b, &a]), &all(&[&a])));
    assert!(keep_all(&all(&[&a, &c]), &all(&[&a])));
    assert!(!keep_all(&all(&[&c]), &all(&[&a])));
    assert!(!keep_all(&[], &all(&[&a])));
    assert!(keep_all(&[], &[]));
    assert_eq!(joined(&all(&[&a, &b]), &all(&[&b, &c])), all(&[&a, &b, &c]));
}
