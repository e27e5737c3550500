//! Properties of owners, agents, resources and actions: names with sets of texts, which policies
//! read as Cedar tags: `resource.getTag("status").contains("archived")`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::id::{IdError, Text};

/// The most names of one thing.
pub const PROPERTIES_MAX: usize = 64;
/// The most values of one name.
pub const VALUES_MAX: usize = 64;
/// The most bytes of all names and values of one thing together.
pub const PROPERTIES_BYTES_MAX: usize = 16_384;
/// The deepest nesting of objects that is taken; a deeper one has no name that a policy would use.
pub const PROPERTIES_DEPTH_MAX: usize = 8;

/// What is known of one thing.
#[derive(
    Debug,
    Clone,
    Default,
    PartialEq,
    Eq,
    bincode::Encode,
    bincode::Decode,
    serde::Serialize,
    schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct Properties(BTreeMap<Text, BTreeSet<Text>>);

/// Why properties were not taken. Its code is `invalid_properties`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PropertiesError {
    /// They are no JSON object.
    #[error("properties are not an object")]
    NoObject,
    /// A value that is no text, number or truth, and no list of these.
    #[error("property `{name}` is no text, number, truth, nor a list of these")]
    Value {
        /// The name, cut to 80 characters.
        name: String,
    },
    /// A name or a text that cannot be recorded.
    #[error("property `{name}` is not acceptable")]
    Text {
        /// The name, cut to 80 characters.
        name: String,
        /// Why not.
        #[source]
        source: IdError,
    },
    /// One name was given in two spellings, such as `a.b` beside `{"a": {"b": …}}`.
    #[error("property `{name}` is given twice")]
    Twice {
        /// The name, cut to 80 characters.
        name: String,
    },
    /// Too many or too long.
    #[error(
        "properties are more than {PROPERTIES_MAX} names of {VALUES_MAX} values, \
         {PROPERTIES_DEPTH_MAX} levels or {PROPERTIES_BYTES_MAX} bytes"
    )]
    TooMany,
}

impl Properties {
    /// Reads a JSON object. Every value becomes a set of texts: a text itself, a number or truth as
    /// JSON writes it, a list of these as their set. `null` is as if it were not there. An object
    /// inside gives names with a dot: `{"address": {"city": "Bern"}}` is `address.city`.
    ///
    /// # Errors
    /// [`PropertiesError`]: nothing that a policy might have asked about is left out in silence.
    pub fn of_json(value: &Value) -> Result<Self, PropertiesError> {
        let Value::Object(members) = value else { return Err(PropertiesError::NoObject) };
        let mut properties = Self::default();
        properties.add_all("", members, 1)?;
        if !properties.is_within_limits() {
            return Err(PropertiesError::TooMany);
        }
        Ok(properties)
    }

    fn add_all(
        &mut self,
        prefix: &str,
        members: &serde_json::Map<String, Value>,
        depth: usize,
    ) -> Result<(), PropertiesError> {
        for (name, value) in members {
            let name = format!("{prefix}{name}");
            match value {
                Value::Object(members) if depth < PROPERTIES_DEPTH_MAX => {
                    self.add_all(&format!("{name}."), members, depth + 1)?;
                }
                Value::Object(_) => return Err(PropertiesError::TooMany),
                Value::Null => {}
                Value::Array(items) => self.add(&name, items)?,
                Value::String(_) | Value::Number(_) | Value::Bool(_) => {
                    self.add(&name, std::slice::from_ref(value))?;
                }
            }
            if self.0.len() > PROPERTIES_MAX {
                return Err(PropertiesError::TooMany);
            }
        }
        Ok(())
    }

    fn add(&mut self, name: &str, values: &[Value]) -> Result<(), PropertiesError> {
        let short = || name.chars().take(80).collect::<String>();
        let text = |text: &str| {
            Text::new(text).map_err(|source| PropertiesError::Text { name: short(), source })
        };
        let mut texts = BTreeSet::new();
        for value in values {
            texts.insert(match value {
                Value::String(given) => text(given)?,
                Value::Number(number) => text(&number.to_string())?,
                Value::Bool(truth) => text(if *truth { "true" } else { "false" })?,
                Value::Null | Value::Array(_) | Value::Object(_) => {
                    return Err(PropertiesError::Value { name: short() });
                }
            });
        }
        match self.0.insert(text(name)?, texts) {
            None => Ok(()),
            Some(_) => Err(PropertiesError::Twice { name: short() }),
        }
    }

    /// Whether they are few and short enough.
    #[must_use]
    pub fn is_within_limits(&self) -> bool {
        let bytes = self.0.iter().map(|(name, values)| {
            name.as_str().len() + values.iter().map(|value| value.as_str().len()).sum::<usize>()
        });
        self.0.len() <= PROPERTIES_MAX
            && self.0.values().all(|values| values.len() <= VALUES_MAX)
            && bytes.sum::<usize>() <= PROPERTIES_BYTES_MAX
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names with their values, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&Text, &BTreeSet<Text>)> {
        self.0.iter()
    }

    /// These, and where both have a name, the `other`'s values.
    #[must_use]
    pub fn overlaid(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.0.extend(other.0.iter().map(|(name, values)| (name.clone(), values.clone())));
        both
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(given: &Value, expected: &str) {
        let read = match Properties::of_json(given) {
            Ok(properties) => serde_json::to_string(&properties).unwrap(),
            Err(error) => error.to_string(),
        };
        assert_eq!(read, expected, "{given}");
    }

    #[test]
    fn every_scalar_becomes_a_set_of_texts_and_nesting_becomes_dots() {
        check(&json!({}), "{}");
        check(&json!({"role": "admin"}), r#"{"role":["admin"]}"#);
        check(&json!({"roles": ["b", "a", "b"]}), r#"{"roles":["a","b"]}"#);
        check(
            &json!({"soft": true, "n": 5, "x": 1.5}),
            r#"{"n":["5"],"soft":["true"],"x":["1.5"]}"#,
        );
        check(&json!({"gone": null, "none": []}), r#"{"none":[]}"#);
        check(&json!({"address": {"city": "Bern"}}), r#"{"address.city":["Bern"]}"#);
    }

    #[test]
    fn what_a_policy_could_not_read_is_refused_and_not_left_out() {
        check(&json!([]), "properties are not an object");
        let no_scalar = "property `a` is no text, number, truth, nor a list of these";
        check(&json!({"a": [["b"]]}), no_scalar);
        check(&json!({"a": [{}]}), no_scalar);
        check(&json!({"a": [null]}), no_scalar);
        check(&json!({"a": ""}), "property `a` is not acceptable");
        check(&json!({"": "a"}), "property `` is not acceptable");
        check(&json!({"a.b": 1, "a": {"b": 2}}), "property `a.b` is given twice");
    }

    #[test]
    fn there_are_limits_on_everything() {
        let refused = PropertiesError::TooMany.to_string();
        let many = |n: usize| (0..n).map(|n| (format!("p{n}"), json!(1))).collect();
        assert!(Properties::of_json(&Value::Object(many(PROPERTIES_MAX))).is_ok());
        check(&Value::Object(many(PROPERTIES_MAX + 1)), &refused);
        check(&json!({"a": (0..=VALUES_MAX).collect::<Vec<_>>()}), &refused);
        let long: Vec<_> = (0..10).map(|n| format!("{n}{}", "x".repeat(2_000))).collect();
        check(&json!({"a": long}), &refused);
        let mut deep = json!(1);
        for _ in 0..=PROPERTIES_DEPTH_MAX {
            deep = json!({"a": deep});
        }
        check(&deep, &refused);
    }

    #[test]
    fn what_is_laid_over_wins_name_by_name() {
        let of = |value| Properties::of_json(&value).unwrap();
        let both = of(json!({"a": 1, "b": 1})).overlaid(&of(json!({"b": 2, "c": 2})));
        assert_eq!(both, of(json!({"a": 1, "b": 2, "c": 2})));
    }
}
