//! The JSON Schemas under `schemas/`, generated from the types that they describe.

use std::path::{Path, PathBuf};

use bailiwick_core::event::{Json, KINDS, Place, Recorded};
use bailiwick_core::feed::Line;
use bailiwick_core::record::hash::Link;
use bailiwick_core::time::Time;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::samples;

/// Compares a committed file with what it should hold, or rewrites it with `UPDATE_EXPECT=1`.
#[track_caller]
pub(super) fn expect(path: PathBuf, expected: &str) {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, expected).unwrap();
        return;
    }
    let held = std::fs::read_to_string(&path).unwrap_or_default();
    let line = held.lines().zip(expected.lines()).position(|(held, expected)| held != expected);
    let line = line.unwrap_or(held.lines().count().min(expected.lines().count())) + 1;
    assert!(
        held == expected,
        "{} differs from line {line} on: `UPDATE_EXPECT=1 cargo test -p bailiwick-core` rewrites it",
        path.display()
    );
}

/// The schema of what is written, not of what would be read.
fn schema_of<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    generator.into_root_schema_for::<T>().to_value()
}

fn committed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas").join(name)
}

fn pretty(schema: &Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(schema).unwrap())
}

#[test]
fn event_schema_is_the_committed_one() {
    expect(committed("event.schema.json"), &pretty(&schema_of::<Json<'_>>()));
}

#[test]
fn feed_item_schema_is_the_committed_one() {
    expect(committed("feed-item.schema.json"), &pretty(&schema_of::<Line<'_>>()));
}

#[test]
fn event_schema_names_every_typed_kind_and_every_member_that_is_written() {
    let schema = schema_of::<Json<'_>>().to_string();
    for event in samples::all() {
        let place = Place { index: 7, time: Time(8), link: Link([9; 32]) };
        let name = event.fact.name();
        assert!(KINDS.iter().any(|(_, known)| *known == name));
        assert!(schema.contains(&format!("\"{name}\"")), "{name}");
        let json = serde_json::to_value(Recorded { place, event }.json()).unwrap();
        for member in ["index", "time", "link", "schema", "about", "kind", "data"] {
            assert!(json.get(member).is_some(), "{name} has no `{member}`");
            assert!(schema.contains(&format!("\"{member}\"")), "the schema has no `{member}`");
        }
        let data = json["data"].as_object().unwrap();
        for member in data.keys() {
            assert!(schema.contains(&format!("\"{member}\"")), "{name}: no `{member}`");
        }
    }
}
