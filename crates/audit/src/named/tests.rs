use std::collections::BTreeSet;

use super::*;

const WELL: &str = "-- question: What?\n-- parameter: $who text; whom\n\
    -- parameter: $since timestamptz = 2026-01-01T00:00:00Z; from when on\n\
    -- parameter: $count bigint = null; how many\n-- controls: SOC 2 CC6.1, CC6.2; ISO 27001 A.8.15\n\
    --\n-- words: that are no header\nselect 1";

#[test]
fn a_header_reads_as_it_is_written() {
    let named = Named::parse("what", WELL).unwrap();
    assert_eq!(named.question, "What?");
    assert_eq!(named.controls, ["SOC 2 CC6.1, CC6.2", "ISO 27001 A.8.15"]);
    let told: Vec<_> = named
        .parameters
        .iter()
        .map(|taken| (taken.name.as_str(), taken.kind.as_str(), taken.default.as_ref()))
        .map(|(name, kind, default)| format!("{name} {kind} {:?}", default.map(Preset::text)))
        .collect();
    assert_eq!(
        told,
        [
            "who text None",
            "since timestamptz Some(\"2026-01-01T00:00:00Z\")",
            "count bigint Some(\"null\")"
        ]
    );
}

#[test]
fn a_header_of_another_form_is_refused_with_its_line() {
    for (sql, told) in [
        ("select 1", "line 1: `-- question: …` is missing"),
        ("-- question: What?\nselect 1", "line 2: `-- controls: …` is missing"),
        ("-- question: What?\n-- question: Who?\n", "line 2: `question` comes twice"),
        ("-- question: What?\n-- controls: A\n-- controls: B\n", "line 3: `controls` comes twice"),
        ("-- asks: What?\n", "line 1: `asks` is none of"),
        ("-- parameter: $who text\n", "line 1: after `; ` a parameter says what it means"),
        ("-- parameter: who text; whom\n", "line 1: a parameter reads `$name type`"),
        ("-- parameter: $Who text; whom\n", "`$Who` is no name"),
        ("-- parameter: $who uuid; whom\n", "`uuid` is none of the types text, bigint"),
        ("-- parameter: $n bigint = many; n\n", "the default has to be a whole number"),
        ("-- parameter: $n bigint = now; n\n", "the default has to be a whole number"),
        ("-- parameter: $n bigint; n\n-- parameter: $n text; n\n", "line 2: `$n` comes twice"),
    ] {
        let error = Named::parse("what", sql).unwrap_err().to_string();
        assert!(error.starts_with("`what.sql`, ") && error.contains(told), "{error}");
    }
}

#[test]
fn every_file_is_read_and_every_placeholder_is_declared() {
    for (name, sql) in FILES {
        let named = Named::parse(name, sql).unwrap();
        let declared: BTreeSet<&str> = named.parameters.iter().map(|p| p.name.as_str()).collect();
        let statement = sql.lines().filter(|line| !line.starts_with("--"));
        let statement = statement.collect::<Vec<_>>().join("\n");
        let used: BTreeSet<&str> = statement
            .split('$')
            .skip(1)
            .map(|rest| {
                let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_');
                &rest[..end.unwrap_or(rest.len())]
            })
            .collect();
        assert_eq!(declared, used, "{name}");
    }
    assert_eq!(Named::all().len(), FILES.len());
    assert!(Named::all().is_sorted_by_key(|named| named.name));
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../queries");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|file| file != "README.md")
        .map(|file| file.strip_suffix(".sql").unwrap().to_owned())
        .collect();
    files.sort();
    assert_eq!(files, FILES.map(|(name, _)| name), "a file is not built in");
}

#[test]
fn values_are_bound_with_their_types_or_refused() {
    let named = Named::parse("what", WELL).unwrap();
    let bound = |given: &[(&str, Value)]| {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        named.bind(&given.collect(), Time(5_000)).map_err(|error| error.code())
    };
    let who = ("who", Value::from("a'; drop"));
    let ParamValues::Map(values) = bound(std::slice::from_ref(&who)).unwrap() else { panic!() };
    assert_eq!(values["who"].value, ScalarValue::from("a'; drop"));
    assert_eq!(values["count"].value, ScalarValue::Int64(None));
    let since = ScalarValue::TimestampMicrosecond(Some(1_767_225_600_000_000), Some(UTC.into()));
    assert_eq!(values["since"].value, since);
    for (given, code) in [
        (&[][..], "sql_parameter"),
        (&[who.clone(), ("whom", Value::Null)], "sql_parameter_unknown"),
        (&[("who", Value::from(1))], "sql_parameter_type"),
        (&[("who", Value::Null)], "sql_parameter_type"),
        (&[("who", Value::from("x".repeat(5_000)))], "sql_parameter_type"),
        (&[who.clone(), ("count", Value::from("1"))], "sql_parameter_type"),
        (&[who.clone(), ("count", Value::from(1.5))], "sql_parameter_type"),
        (&[who.clone(), ("since", Value::Null)], "sql_parameter_type"),
        (&[who.clone(), ("since", Value::from("yesterday"))], "sql_parameter_type"),
        (&[who.clone(), ("since", Value::from(5))], "sql_parameter_type"),
    ] {
        assert_eq!(bound(given).unwrap_err(), code, "{given:?}");
    }
}
