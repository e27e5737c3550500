//! Event bodies, byte for byte: released types are frozen, and nothing but a body decodes.

use std::path::PathBuf;

use bailiwick_core::event::{DecodeError, Event, KINDS, SALT_BYTES};
use bailiwick_core::record::frame::BODY_BYTES_MAX;
use proptest::prelude::*;

use super::samples;

const SALT: [u8; SALT_BYTES] = *b"a salt of tests.";

fn body(event: &Event) -> Vec<u8> {
    let mut body = Vec::new();
    event.encode_body(SALT, &mut body).unwrap();
    body
}

/// Whether this build has a type for a kind: it does if the kind's number is not what stops it.
fn is_typed(kind: u16) -> bool {
    let plain = Event { about: samples::empty(), fact: samples::all()[0].fact.clone() };
    let read = |schema| Event::decode_body(kind, schema, &body(&plain));
    [1, 2, 3].into_iter().any(|schema| !matches!(read(schema), Err(DecodeError::Unknown { .. })))
}

#[test]
fn bodies_have_the_bytes_that_were_released() {
    let lines: Vec<String> = samples::all()
        .iter()
        .map(|event| {
            let fact = &event.fact;
            let bytes = hex::encode(body(event));
            format!("{} {} {} {bytes}\n", fact.kind(), fact.schema(), fact.name())
        })
        .collect();
    super::schemas::expect(
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/events.txt")),
        &lines.concat(),
    );
}

/// Bodies of earlier schemas as they were written once: they are read for ever, and what they did
/// not say yet is empty.
#[test]
fn bodies_of_an_earlier_schema_are_read_as_todays() {
    let golden =
        [include_str!("../golden/events-1.txt"), include_str!("../golden/events-2.txt")].concat();
    let samples = samples::all();
    let mut read = 0;
    for line in golden.lines() {
        let [kind, schema, name, bytes] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let (kind, schema): (u16, u8) = (kind.parse().unwrap(), schema.parse().unwrap());
        let event = Event::decode_body(kind, schema, &hex::decode(bytes).unwrap()).unwrap();
        let today = samples.iter().find(|event| event.fact.kind() == kind).unwrap();
        assert_eq!(event.fact.name(), name);
        assert!(schema < event.fact.schema(), "{name} {schema}");
        let (then, now) = (json(&event), json(today));
        for (member, value) in then.as_object().unwrap() {
            let is_empty = value.is_null()
                || *value == serde_json::json!([])
                || *value == serde_json::json!({});
            assert!(member == "call" || is_empty || *value == now[member], "{name}.{member}");
        }
        assert_ne!(then, now, "{name}: a later schema says more");
        read += 1;
    }
    let earlier = samples.iter().map(|event| usize::from(event.fact.schema()) - 1);
    assert_eq!(read, earlier.sum::<usize>());
}

fn json(event: &Event) -> serde_json::Value {
    serde_json::to_value(&event.fact).unwrap()["data"].clone()
}

#[test]
fn every_typed_kind_has_its_golden_bytes() {
    let samples = samples::all();
    for (kind, name) in KINDS {
        let sampled = samples.iter().any(|event| event.fact.kind() == *kind);
        assert_eq!(sampled, is_typed(*kind), "{kind} {name}");
    }
}

#[test]
fn body_reads_back_whole_and_says_its_size() {
    for event in samples::all() {
        let body = body(&event);
        assert_eq!(event.body_bytes(), body.len());
        assert_eq!(Event::decode_body(event.fact.kind(), event.fact.schema(), &body), Ok(event));
    }
}

#[test]
fn body_of_another_kind_or_schema_or_length_is_refused() {
    for event in samples::all() {
        let (kind, body) = (event.fact.kind(), body(&event));
        let schema = event.fact.schema();
        for schema in [0, schema + 1, u8::MAX] {
            let unknown = Event::decode_body(kind, schema, &body);
            assert_eq!(unknown, Err(DecodeError::Unknown { kind, schema }));
        }
        for kind in [0, 6, 99, 152, u16::MAX] {
            let unknown = Event::decode_body(kind, 1, &body);
            assert_eq!(unknown, Err(DecodeError::Unknown { kind, schema: 1 }));
        }
        for end in 0..body.len() {
            assert!(Event::decode_body(kind, schema, &body[..end]).is_err(), "{kind} cut at {end}");
        }
        let longer = [body, vec![0]].concat();
        assert!(Event::decode_body(kind, schema, &longer).is_err(), "{kind} with a byte more");
    }
    let endless = vec![0; BODY_BYTES_MAX + 1];
    let message = Event::decode_body(2, 1, &endless).unwrap_err().to_string();
    assert!(message.contains("65536 bytes"), "{message}");
}

#[test]
fn body_that_no_frame_holds_is_not_written() {
    use bailiwick_core::event::{Fact, PolicyPut};
    let put = |bytes| Event {
        about: samples::empty(),
        fact: Fact::PolicyPut(PolicyPut {
            policy: super::harness::id("p"),
            text: "x".repeat(bytes),
            reason: None,
        }),
    };
    let mut out = vec![1, 2, 3];
    assert!(put(BODY_BYTES_MAX).encode_body(SALT, &mut out).is_err());
    assert_eq!(out, [1, 2, 3], "what was there is left as it was");
    let overhead = put(BODY_BYTES_MAX).body_bytes() - BODY_BYTES_MAX;
    put(BODY_BYTES_MAX - overhead).encode_body(SALT, &mut out).unwrap();
    assert_eq!(out.len(), 3 + BODY_BYTES_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_bytes_decode_or_are_refused(
        kind in prop::sample::select(KINDS),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = Event::decode_body(kind.0, 1, &bytes);
        let _ = Event::decode_body(kind.0, 2, &bytes);
    }

    #[test]
    fn body_with_a_few_bytes_changed_decodes_or_is_refused(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let samples = samples::all();
        let event = which.get(&samples);
        let mut bytes = body(event);
        for (at, byte) in changes {
            *at.get_mut(&mut bytes) = byte;
        }
        // What decodes is an event like any other: it can be written and read back.
        let (kind, schema) = (event.fact.kind(), event.fact.schema());
        if let Ok(read) = Event::decode_body(kind, schema, &bytes) {
            prop_assert_eq!(Event::decode_body(kind, schema, &body(&read)), Ok(read));
        }
    }
}
