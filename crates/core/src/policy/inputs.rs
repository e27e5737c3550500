//! What the arguments of an action look like to policies: a record type, from its tool's input
//! schema.
//!
//! A text is a `String`, a bool a `Bool`, an integer a `Long`, a number with at most four decimals a
//! `decimal`, an array a `Set` and an object a record; `null` is an attribute that is absent. What
//! has no exact type (any value, one of several types, a list of anything) is left out: a policy
//! that reads it does not validate, rather than to miss what it was written for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use smol_str::SmolStr;

use crate::arguments::{Argument, Arguments, DECIMAL_ONE};
use crate::json::{Limits, parse_strict};

/// The most bytes of an input schema, so that it fits into one event.
pub const SCHEMA_BYTES_MAX: usize = 48_000;
/// The deepest nesting of a schema's own JSON.
const SCHEMA_DEPTH_MAX: usize = 32;

/// Why a text is no input schema. Its code is `invalid_schema`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputsError {
    /// No JSON that everyone reads alike.
    #[error("the schema is not acceptable: {0}")]
    Json(#[from] crate::json::JsonError),
    /// JSON, but not the schema of an object.
    #[error("{at}: {why}")]
    Form {
        /// Where: a JSON pointer into the schema.
        at: String,
        /// What is wrong.
        why: &'static str,
    },
}

/// The arguments of one action, typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    pub(super) fields: Fields,
    left_out: Vec<LeftOut>,
}

/// What a policy finds at a path into the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Something typed.
    Known,
    /// Something that has no exact type, and why.
    LeftOut(&'static str),
    /// Nothing that the schema declares.
    Nothing,
}

/// An argument that policies cannot read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its names from the outside in, such as `filter.any`.
    pub path: String,
    /// Why it has no exact type.
    pub why: &'static str,
}

/// The members of a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) known: BTreeMap<SmolStr, Field>,
    /// Members that are declared and have no exact type.
    inexact: BTreeSet<SmolStr>,
    /// Whether a member that is not declared is refused.
    closed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) of: Type,
    pub(super) required: bool,
}

/// A type that policies and JSON share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Integer,
    Decimal,
    Text,
    List(Box<Type>),
    Record(Fields),
}

impl Inputs {
    /// Reads a tool's input schema (JSON Schema of an object).
    ///
    /// # Errors
    /// [`InputsError`] when it is not one, or beyond [`SCHEMA_BYTES_MAX`].
    pub fn of_json_schema(text: &str) -> Result<Self, InputsError> {
        let limits = Limits { bytes: SCHEMA_BYTES_MAX, depth: SCHEMA_DEPTH_MAX };
        let schema = parse_strict(text.as_bytes(), limits)?;
        let form = |why| InputsError::Form { at: "/".to_owned(), why };
        let schema = schema.as_object().ok_or_else(|| form("a schema is an object"))?;
        if schema.get("type").is_some_and(|of| of != "object") {
            return Err(form("arguments are an object: `type` is `object`"));
        }
        let mut reader = Reader::default();
        let fields = reader.fields(schema)?;
        Ok(Self { fields, left_out: reader.left_out })
    }

    /// Arguments that policies cannot read, and why.
    #[must_use]
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Whether arguments have the types that policies were validated with. Those that do not are
    /// denied before any policy is asked.
    #[must_use]
    pub fn accept(&self, arguments: &Arguments) -> bool {
        self.fields.accept(&|name| arguments.get(name), arguments.iter().map(|(name, _)| name))
    }

    /// What a path of names leads to.
    pub(super) fn look(&self, path: &[SmolStr]) -> Look {
        let mut fields = &self.fields;
        for (at, name) in path.iter().enumerate() {
            if fields.inexact.contains(name) {
                let path = path[..=at].join(".");
                let why = self.left_out.iter().find(|out| out.path == path).map(|out| out.why);
                return Look::LeftOut(why.unwrap_or("it has no exact type"));
            }
            match fields.known.get(name).map(|field| &field.of) {
                Some(Type::Record(inner)) => fields = inner,
                Some(Type::Bool | Type::Integer | Type::Decimal | Type::Text | Type::List(_))
                    if at + 1 == path.len() => {}
                Some(_) | None => return Look::Nothing,
            }
        }
        Look::Known
    }

    /// The record type in Cedar's JSON form.
    pub(super) fn cedar(&self) -> Value {
        self.fields.cedar()
    }
}

impl Fields {
    fn accept<'a>(
        &self,
        member: &dyn Fn(&str) -> Option<&'a Argument>,
        mut names: impl Iterator<Item = &'a str>,
    ) -> bool {
        let known = self.known.iter().all(|(name, field)| match member(name) {
            None | Some(Argument::Null) => !field.required,
            Some(argument) => field.of.accept(argument),
        });
        let declared = |name: &str| self.known.contains_key(name) || self.inexact.contains(name);
        known && (!self.closed || names.all(declared))
    }

    fn cedar(&self) -> Value {
        let attributes = self.known.iter().map(|(name, field)| {
            let mut of = field.of.cedar();
            of["required"] = json!(field.required);
            (name.to_string(), of)
        });
        json!({"type": "Record", "attributes": attributes.collect::<Map<_, _>>()})
    }
}

impl Type {
    fn accept(&self, argument: &Argument) -> bool {
        match (self, argument) {
            (Self::Bool, Argument::Bool(_))
            | (Self::Integer, Argument::Integer(_))
            | (Self::Decimal, Argument::Decimal(_))
            | (Self::Text, Argument::Text(_)) => true,
            (Self::Decimal, Argument::Integer(whole)) => whole.checked_mul(DECIMAL_ONE).is_some(),
            (Self::List(of), Argument::List(items)) => items.iter().all(|item| of.accept(item)),
            (Self::Record(fields), Argument::Record(members)) => {
                fields.accept(&|name| members.get(name), members.keys().map(String::as_str))
            }
            (
                Self::Bool
                | Self::Integer
                | Self::Decimal
                | Self::Text
                | Self::List(_)
                | Self::Record(_),
                _,
            ) => false,
        }
    }

    fn cedar(&self) -> Value {
        match self {
            Self::Bool => json!({"type": "Boolean"}),
            Self::Integer => json!({"type": "Long"}),
            Self::Decimal => json!({"type": "Extension", "name": "decimal"}),
            Self::Text => json!({"type": "String"}),
            Self::List(of) => json!({"type": "Set", "element": of.cedar()}),
            Self::Record(fields) => fields.cedar(),
        }
    }
}

/// A type, and whether `null` may stand in its place.
type OrNull = (Type, bool);

/// Why a schema has no exact type, or why it is none.
enum Not {
    Exact(&'static str),
    Schema(InputsError),
}

impl From<InputsError> for Not {
    fn from(error: InputsError) -> Self {
        Self::Schema(error)
    }
}

/// Reads a schema from the outside in.
#[derive(Default)]
struct Reader {
    path: Vec<String>,
    left_out: Vec<LeftOut>,
}

impl Reader {
    fn form(&self, why: &'static str) -> InputsError {
        let at: String = self.path.iter().map(|name| format!("/properties/{name}")).collect();
        InputsError::Form { at: if at.is_empty() { "/".to_owned() } else { at }, why }
    }

    fn fields(&mut self, schema: &Map<String, Value>) -> Result<Fields, InputsError> {
        let mut fields = Fields {
            closed: schema.get("additionalProperties") == Some(&Value::Bool(false)),
            ..Fields::default()
        };
        let required = match schema.get("required") {
            None => BTreeSet::new(),
            Some(names) => {
                let names = names.as_array().ok_or_else(|| self.form("`required` is a list"))?;
                names.iter().filter_map(Value::as_str).collect()
            }
        };
        let Some(properties) = schema.get("properties") else { return Ok(fields) };
        let properties =
            properties.as_object().ok_or_else(|| self.form("`properties` is an object"))?;
        for (name, of) in properties {
            self.path.push(name.clone());
            match self.exact(of) {
                Ok((of, nullable)) => {
                    let required = required.contains(name.as_str()) && !nullable;
                    fields.known.insert(SmolStr::new(name), Field { of, required });
                }
                Err(Not::Exact(why)) => {
                    self.left_out.push(LeftOut { path: self.path.join("."), why });
                    fields.inexact.insert(SmolStr::new(name));
                }
                Err(Not::Schema(error)) => return Err(error),
            }
            self.path.pop();
        }
        Ok(fields)
    }

    fn exact(&mut self, schema: &Value) -> Result<OrNull, Not> {
        if schema.is_boolean() {
            return Err(Not::Exact("it may be any value"));
        }
        let schema = schema.as_object().ok_or_else(|| self.form("a schema is an object"))?;
        match schema.get("type") {
            Some(Value::String(name)) => Ok((self.named(name, schema)?, false)),
            Some(Value::Array(names)) => self.one_of_types(names, schema),
            Some(_) => Err(self.form("`type` is a name or a list of names").into()),
            None => self.untyped(schema),
        }
    }

    fn named(&mut self, name: &str, schema: &Map<String, Value>) -> Result<Type, Not> {
        match name {
            "string" => Ok(Type::Text),
            "boolean" => Ok(Type::Bool),
            "integer" => Ok(Type::Integer),
            "number" => Ok(Type::Decimal),
            "array" => self.list(schema),
            "object" if schema.contains_key("properties") => Ok(Type::Record(self.fields(schema)?)),
            "object" => Err(Not::Exact("it is an object of any members")),
            "null" => Err(Not::Exact("it is always null")),
            _ => Err(self.form("`type` is none of JSON's types").into()),
        }
    }

    fn list(&mut self, schema: &Map<String, Value>) -> Result<Type, Not> {
        if schema.contains_key("prefixItems") || schema.get("items").is_some_and(Value::is_array) {
            return Err(Not::Exact("its items have different types"));
        }
        let Some(items) = schema.get("items") else {
            return Err(Not::Exact("it is a list of any values"));
        };
        match self.exact(items)? {
            (of, false) => Ok(Type::List(Box::new(of))),
            (_, true) => Err(Not::Exact("its items may be null")),
        }
    }

    fn one_of_types(
        &mut self,
        names: &[Value],
        schema: &Map<String, Value>,
    ) -> Result<OrNull, Not> {
        let names: BTreeSet<&str> = names.iter().filter_map(Value::as_str).collect();
        let nullable = names.contains("null");
        let others: Vec<&str> = names.into_iter().filter(|name| *name != "null").collect();
        match others[..] {
            [name] => Ok((self.named(name, schema)?, nullable)),
            ["integer", "number"] => Ok((Type::Decimal, nullable)),
            _ => Err(Not::Exact("it may have several types")),
        }
    }

    /// Without `type`: a choice of values of one type, or a type or null.
    fn untyped(&mut self, schema: &Map<String, Value>) -> Result<OrNull, Not> {
        let one = schema.get("const").map(std::slice::from_ref);
        let choice = schema.get("enum").and_then(Value::as_array).map(Vec::as_slice);
        if let Some(values) = choice.or(one) {
            return of_values(values);
        }
        let either = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array);
        let Some(either) = either else {
            return Err(Not::Exact(
                if schema.contains_key("$ref") || schema.contains_key("allOf") {
                    "it is put together from other schemas"
                } else {
                    "it may be any value"
                },
            ));
        };
        let is_null = |schema: &&Value| schema.get("type").is_some_and(|of| of == "null");
        let others: Vec<&Value> = either.iter().filter(|schema| !is_null(schema)).collect();
        match others[..] {
            [one] => {
                let (of, nullable) = self.exact(one)?;
                Ok((of, nullable || others.len() < either.len()))
            }
            _ => Err(Not::Exact("it may have several types")),
        }
    }
}

fn of_values(values: &[Value]) -> Result<OrNull, Not> {
    let nullable = values.iter().any(Value::is_null);
    let mut others = values.iter().filter(|value| !value.is_null()).peekable();
    if others.peek().is_none() {
        return Err(Not::Exact("it is always null"));
    }
    let others: Vec<&Value> = others.collect();
    let all = |is: fn(&Value) -> bool| others.iter().all(|value| is(value));
    let of = if all(Value::is_string) {
        Type::Text
    } else if all(Value::is_boolean) {
        Type::Bool
    } else if all(|value| value.is_i64() || value.is_u64()) {
        Type::Integer
    } else {
        return Err(Not::Exact("its values have several types"));
    };
    Ok((of, nullable))
}
