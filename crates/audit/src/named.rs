//! Named questions: the files of `queries/`, each with a header that says what it asks, what it
//! takes, and which controls its answer is evidence for.
//!
//! ```text
//! -- question: Who touched a resource, and why was it allowed?
//! -- parameter: $resource text; the resource, with everything below it
//! -- parameter: $since timestamptz = 1970-01-01T00:00:00Z; the first moment that counts
//! -- controls: SOC 2 CC6.1; ISO 27001 A.8.15
//! --
//! -- Words for who reads the SQL.
//! select …
//! ```
//!
//! A parameter without `=` has to be given. `= null` leaves it out, and for a moment `= now` is
//! when the question is asked. Values are bound with their types and never become text.

use std::collections::HashMap;
use std::sync::LazyLock;

use arrow::datatypes::{DataType, TimeUnit};
use bailiwick_core::time::Time;
use datafusion::common::{ParamValues, ScalarValue};
use serde_json::Value;

use crate::error::{Code, Error};
use crate::query::Parameters;
use crate::table::sheet::{UTC, micros};

mod header;

pub use header::HeaderError;

/// The most bytes that a text given for a parameter may have.
pub const TEXT_PARAMETER_BYTES_MAX: usize = 4_096;

/// A named question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its name, which is the file's.
    pub name: &'static str,
    /// What it asks, in words.
    pub question: String,
    /// What it takes, in the order of the header.
    pub parameters: Vec<Taken>,
    /// What its answer is evidence for, such as `SOC 2 CC6.1, CC6.2`: one text a framework.
    pub controls: Vec<String>,
    /// The file, header and all.
    pub sql: &'static str,
}

/// A parameter of a named question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its name, without the `$`.
    pub name: String,
    /// Of what type its values are.
    pub kind: Kind,
    /// The value when none is given; without one, one has to be given.
    pub default: Option<Preset>,
    /// What it means, in words.
    pub about: String,
}

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A whole number.
    Bigint,
    /// True or false.
    Boolean,
    /// A moment, as RFC 3339 text.
    Timestamptz,
}

impl Kind {
    /// Every type.
    pub const ALL: [Self; 4] = [Self::Text, Self::Bigint, Self::Boolean, Self::Timestamptz];

    /// The type as SQL has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Bigint => "bigint",
            Self::Boolean => "boolean",
            Self::Timestamptz => "timestamptz",
        }
    }

    /// A value of this type as people write it.
    ///
    /// # Errors
    /// Says what is wanted instead.
    pub fn read(self, text: &str) -> Result<Value, &'static str> {
        match self {
            Self::Text => Ok(text.into()),
            Self::Bigint => text.parse::<i64>().map(Value::from).map_err(|_| self.wanted()),
            Self::Boolean => text.parse::<bool>().map(Value::from).map_err(|_| self.wanted()),
            Self::Timestamptz => self.scalar(&text.into()).map(|_| text.into()),
        }
    }

    const fn wanted(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Bigint => "a whole number",
            Self::Boolean => "`true` or `false`",
            Self::Timestamptz => "a moment such as `2026-01-01T00:00:00Z`",
        }
    }

    fn scalar(self, value: &Value) -> Result<ScalarValue, &'static str> {
        match (self, value) {
            (_, Value::Null) => Ok(self.absent()),
            (Self::Text, Value::String(text)) => Ok(ScalarValue::from(text.as_str())),
            (Self::Bigint, Value::Number(number)) => {
                number.as_i64().map(ScalarValue::from).ok_or_else(|| self.wanted())
            }
            (Self::Boolean, Value::Bool(flag)) => Ok(ScalarValue::from(*flag)),
            (Self::Timestamptz, Value::String(text)) => moment(text).ok_or_else(|| self.wanted()),
            (Self::Text | Self::Bigint | Self::Boolean | Self::Timestamptz, _) => {
                Err(self.wanted())
            }
        }
    }

    const fn absent(self) -> ScalarValue {
        match self {
            Self::Text => ScalarValue::Utf8(None),
            Self::Bigint => ScalarValue::Int64(None),
            Self::Boolean => ScalarValue::Boolean(None),
            Self::Timestamptz => ScalarValue::TimestampMicrosecond(None, None),
        }
    }
}

fn moment(text: &str) -> Option<ScalarValue> {
    let moment = DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()));
    ScalarValue::from(text).cast_to(&moment).ok()
}

/// What a parameter is when nothing is given for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preset {
    /// A value of its type, or null.
    Value(Value),
    /// When the question is asked.
    Now,
}

impl Preset {
    /// The value as it is written in a header.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Now => "now".to_owned(),
            Self::Value(Value::String(text)) => text.clone(),
            Self::Value(value) => value.to_string(),
        }
    }
}

impl Named {
    /// Every named question, by name.
    #[must_use]
    pub fn all() -> &'static [Self] {
        &NAMED
    }

    /// The question of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        NAMED.iter().find(|named| named.name == name)
    }

    /// Reads a question from its file.
    ///
    /// # Errors
    /// [`HeaderError`] with the line that is wrong.
    pub fn parse(name: &'static str, sql: &'static str) -> Result<Self, HeaderError> {
        header::parse(name, sql)
    }

    /// The values that the question is asked with at `now`.
    ///
    /// # Errors
    /// [`Error::Refused`]: [`Code::ParameterUnknown`], [`Code::ParameterType`], or
    /// [`Code::Parameter`] when one is missing.
    pub(crate) fn bind(&self, given: &Parameters, now: Time) -> Result<ParamValues, Error> {
        if let Some(name) = given.keys().find(|name| self.taken(name).is_none()) {
            let name: String = name.chars().take(80).collect();
            let message = format!("`{}` takes no parameter `{name}`; {}", self.name, self.takes());
            return Err(Error::refused(Code::ParameterUnknown, message));
        }
        let mut values = HashMap::with_capacity(self.parameters.len());
        for taken in &self.parameters {
            let scalar = taken.value(given.get(&taken.name), self.name, now)?;
            values.insert(taken.name.clone(), scalar.into());
        }
        Ok(ParamValues::Map(values))
    }

    /// The parameter of this name.
    #[must_use]
    pub fn taken(&self, name: &str) -> Option<&Taken> {
        self.parameters.iter().find(|taken| taken.name == name)
    }

    fn takes(&self) -> String {
        let names: Vec<String> =
            self.parameters.iter().map(|taken| format!("`{}`", taken.name)).collect();
        match names.as_slice() {
            [] => "it takes none".to_owned(),
            names => format!("it takes {}", names.join(", ")),
        }
    }
}

impl Taken {
    fn value(&self, given: Option<&Value>, of: &str, now: Time) -> Result<ScalarValue, Error> {
        let value = match (given, &self.default) {
            (Some(value), _) => value,
            (None, Some(Preset::Value(value))) => value,
            (None, Some(Preset::Now)) => {
                return Ok(ScalarValue::TimestampMicrosecond(Some(micros(now)), Some(UTC.into())));
            }
            (None, None) => {
                let kind = self.kind.as_str();
                let message = format!("`{of}` needs the parameter `{}` ({kind})", self.name);
                return Err(Error::refused(Code::Parameter, message));
            }
        };
        let wrong = |wanted: &str| {
            let message = format!("the parameter `{}` of `{of}` has to be {wanted}", self.name);
            Error::refused(Code::ParameterType, message)
        };
        // Only what may be left out may be null.
        if value.is_null() && self.default != Some(Preset::Value(Value::Null)) {
            return Err(wrong(self.kind.wanted()));
        }
        if value.as_str().is_some_and(|text| text.len() > TEXT_PARAMETER_BYTES_MAX) {
            return Err(wrong(&format!("of at most {TEXT_PARAMETER_BYTES_MAX} bytes")));
        }
        self.kind.scalar(value).map_err(wrong)
    }
}

macro_rules! files {
    ($($name:literal)+) => {
        [$(($name, include_str!(concat!("../../../queries/", $name, ".sql")))),+]
    };
}

/// Every file of `queries/`, in order.
const FILES: [(&str, &str); 16] = files! {
    "access-review"
    "agent-story"
    "approvals"
    "break-glass"
    "calls-after-revocation"
    "changes-of-tools-and-policies"
    "delegation-tree"
    "denial-bursts"
    "denials-by-agent"
    "drift"
    "grants-never-used"
    "revocation-latency"
    "standing-grants"
    "standing-grants-from-log"
    "who-did-what-and-why"
    "who-touched"
};

static NAMED: LazyLock<Vec<Named>> = LazyLock::new(|| {
    let read = |(name, sql)| Named::parse(name, sql).ok();
    FILES.into_iter().filter_map(read).collect()
});

#[cfg(test)]
mod tests;
