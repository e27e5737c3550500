//! Members of a JSON object, taken out one by one. What nobody takes is ignored, as AuthZEN wants.

use bailiwick_core::properties::Properties;
use serde_json::{Map, Value};

use crate::problem::{INVALID_BODY, Problem};

/// An object with its place in the body, for messages.
pub(super) struct Members {
    place: &'static str,
    map: Map<String, Value>,
}

impl Members {
    /// The body itself.
    pub(super) fn of_body(value: Value) -> Result<Self, Problem> {
        match value {
            Value::Object(map) => Ok(Self { place: "", map }),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Err(INVALID_BODY.with("the body is not a JSON object")),
        }
    }

    /// One question of a batch.
    pub(super) fn of_item(value: Value) -> Result<Self, Problem> {
        Self::of_body(value)
            .map_err(|_| INVALID_BODY.with("an item of `evaluations` is not a JSON object"))
    }

    /// A member that stays where it is.
    pub(super) fn peek(&self, name: &str) -> Option<&Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    fn wrong(&self, name: &str, what: &str) -> Problem {
        let dot = if self.place.is_empty() { "" } else { "." };
        INVALID_BODY.with(format!("`{}{dot}{name}` is {what}", self.place))
    }

    /// A member of any type, if it is there.
    pub(super) fn any(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    /// An object, if it is there; `place` is where it stands in the body.
    pub(super) fn object(
        &mut self,
        name: &str,
        place: &'static str,
    ) -> Result<Option<Self>, Problem> {
        match self.any(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Self { place, map })),
            Some(_) => Err(self.wrong(name, "not an object")),
        }
    }

    /// An object that must be there.
    pub(super) fn needed_object(&mut self, name: &'static str) -> Result<Self, Problem> {
        let found = self.object(name, name)?;
        found.ok_or_else(|| self.wrong(name, "missing"))
    }

    /// A text, if it is there.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.any(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "not a string")),
        }
    }

    /// A text that must be there and hold something.
    pub(super) fn needed_text(&mut self, name: &str) -> Result<String, Problem> {
        match self.text(name)? {
            Some(text) if !text.is_empty() => Ok(text),
            Some(_) => Err(self.wrong(name, "empty")),
            None => Err(self.wrong(name, "missing")),
        }
    }

    /// A truth value, if it is there.
    pub(super) fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        match self.any(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(self.wrong(name, "not true or false")),
        }
    }

    /// The `properties`, none if they are not there.
    pub(super) fn properties(&mut self) -> Result<Properties, Problem> {
        let Some(value) = self.any("properties") else { return Ok(Properties::default()) };
        Properties::of_json(&value)
            .map_err(|error| INVALID_BODY.with(format!("`{}`: {error}", self.place)))
    }

    /// A list, if it is there.
    pub(super) fn list(&mut self, name: &str) -> Result<Option<Vec<Value>>, Problem> {
        match self.any(name) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(_) => Err(self.wrong(name, "not an array")),
        }
    }

    /// Puts a member in the place of another, if there is one.
    pub(super) fn set(&mut self, name: &str, value: Value) {
        self.map.insert(name.to_owned(), value);
    }

    /// What is left.
    pub(super) fn rest(self) -> Map<String, Value> {
        self.map
    }
}
