//! JSON from outside, read so that everyone who reads it sees the same value: no member twice, no
//! number that changes when it is written again, bounded in size and depth.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::record::hash::Digest;

/// How large and how deep a JSON text may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the text.
    pub bytes: usize,
    /// Levels of arrays and objects.
    pub depth: usize,
}

/// The limits for bodies and arguments.
pub const LIMITS: Limits = Limits { bytes: 1_048_576, depth: 32 };

/// The largest whole number that every JSON reader reads alike: 2^53 − 1 (RFC 7493).
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Why a JSON text is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// More bytes than allowed.
    #[error("the JSON text has {bytes} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes given.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Not UTF-8, not JSON, too deep, a member twice, or a number outside the common range.
    #[error("{0}")]
    Invalid(String),
}

/// Reads a JSON text under `limits`.
///
/// # Errors
/// [`JsonError`] for anything that two readers could understand differently.
pub fn parse_strict(text: &[u8], limits: Limits) -> Result<Value, JsonError> {
    if text.len() > limits.bytes {
        return Err(JsonError::TooLong { bytes: text.len(), max: limits.bytes });
    }
    let mut from = serde_json::Deserializer::from_slice(text);
    let value = Strict { depth_left: limits.depth }.deserialize(&mut from);
    value
        .and_then(|value| from.end().map(|()| value))
        .map_err(|e| JsonError::Invalid(e.to_string()))
}

/// The RFC 8785 canonical form of a value.
///
/// # Errors
/// When a number has no canonical form, which [`parse_strict`] rules out.
pub fn canonical(value: &Value) -> Result<Vec<u8>, JsonError> {
    serde_json_canonicalizer::to_vec(value).map_err(|e| JsonError::Invalid(e.to_string()))
}

/// The commitment to a call's arguments: BLAKE3, keyed with the ledger's own secret, over their
/// canonical form. Only someone with the secret can test a guess.
///
/// # Errors
/// As [`canonical`].
pub fn commitment(secret: &[u8; 32], arguments: &Value) -> Result<Digest, JsonError> {
    let hash = blake3::keyed_hash(secret, &canonical(arguments)?);
    Ok(Digest(*hash.as_bytes()))
}

#[derive(Clone, Copy)]
struct Strict {
    depth_left: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left }),
            None => Err(E::custom("arrays and objects are nested too deep")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        if value > INTEGER_MAX {
            return Err(E::custom(format!("the number {value} is beyond 2^53")));
        }
        Ok(Value::from(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        if value.unsigned_abs() > INTEGER_MAX {
            return Err(E::custom(format!("the number {value} is beyond 2^53")));
        }
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        if value.fract() == 0.0 && value.abs() > INTEGER_MAX as f64 {
            return Err(E::custom(format!("the number {value:e} is beyond 2^53")));
        }
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if map.contains_key(&name) {
                return Err(A::Error::custom(format!("the member `{name}` stands there twice")));
            }
            let value = members.next_value_seed(inner)?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse_strict(text.as_bytes(), Limits { bytes: 1_000, depth: 4 }).unwrap_err().to_string()
    }

    #[test]
    fn a_member_that_stands_twice_is_refused_at_any_depth() {
        assert!(refused(r#"{"a":1,"a":1}"#).contains("twice"));
        assert!(refused(r#"{"x":[{"a":1,"b":2,"a":3}]}"#).contains("twice"));
        assert!(refused(r#"{"a":1,"\u0061":2}"#).contains("twice"));
    }

    #[test]
    fn numbers_that_readers_read_differently_are_refused() {
        for text in ["9007199254740993", "-9007199254740993", "1e300", "18446744073709551616"] {
            assert!(refused(text).contains("beyond 2^53"), "{text}");
        }
        assert!(!refused("1e999").is_empty());
    }

    #[test]
    fn size_depth_rubbish_and_leftovers_are_refused() {
        for text in ["[[[[[1]]]]]", "[[[[[]]]]]", r#"[[[[{}]]]]"#, r#"{"a":[{"a":[[]]}]}"#] {
            assert!(refused(text).contains("too deep"), "{text}");
        }
        assert!(parse_strict(b"[[[[1]]]]", Limits { bytes: 9, depth: 4 }).is_ok());
        assert!(refused(&"1".repeat(1_001)).contains("bytes"));
        for text in ["", "{", "nul", "1 2", "{} x", "\u{feff}{}", "{'a':1}"] {
            assert!(!refused(text).is_empty(), "{text}");
        }
        assert!(parse_strict(b"\"\xff\"", LIMITS).is_err());
    }

    #[test]
    fn the_commitment_ignores_order_and_spacing_and_nothing_else() {
        let commit = |text: &str, secret| {
            commitment(&[secret; 32], &parse_strict(text.as_bytes(), LIMITS).unwrap()).unwrap()
        };
        assert_eq!(
            commit(r#"{"b":1,"a":[1.0,"x"]}"#, 7),
            commit(r#"{ "a":[1,"\u0078"],"b":1 }"#, 7)
        );
        assert_ne!(commit(r#"{"a":1}"#, 7), commit(r#"{"a":2}"#, 7));
        assert_ne!(commit(r#"{"a":1}"#, 7), commit(r#"{"a":1}"#, 8));
    }
}
