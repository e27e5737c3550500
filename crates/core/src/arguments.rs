//! A call's real arguments, as policies and grants read them. They are never recorded: the record
//! has a keyed commitment and the fields that a mapping discloses.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::id::canonical_number;
use crate::json::INTEGER_MAX;

pub mod constraints;

/// The deepest nesting of lists and records.
pub const DEPTH_MAX: usize = 16;
/// The most values, parts of parts included.
pub const VALUES_MAX: usize = 10_000;
/// The most bytes of one text or of one name.
pub const TEXT_BYTES_MAX: usize = 262_144;
/// How many ten-thousandths make one: the precision of a [`Argument::Decimal`].
pub const DECIMAL_ONE: i64 = 10_000;

/// One argument, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Argument {
    /// `null`.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number that every JSON reader reads alike (RFC 7493).
    Integer(i64),
    /// A number with at most four decimals, in ten-thousandths.
    Decimal(i64),
    /// A text.
    Text(String),
    /// An array.
    List(Vec<Argument>),
    /// An object.
    Record(BTreeMap<String, Argument>),
}

/// All arguments of a call, by name; or that there are some which nobody can decide about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arguments {
    /// INVARIANT: empty when there is a fault.
    members: BTreeMap<String, Argument>,
    fault: Option<ArgumentsError>,
}

/// Why arguments cannot be decided about. A call with such arguments is denied `invalid_arguments`.
/// The words name no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentsError {
    /// Not a JSON object.
    #[error("arguments are a JSON object")]
    NotAnObject,
    /// Lists and records in one another.
    #[error("arguments are nested deeper than {DEPTH_MAX}")]
    TooDeep,
    /// Values altogether.
    #[error("arguments have more than {VALUES_MAX} values")]
    TooMany,
    /// One text or name.
    #[error("an argument has more than {TEXT_BYTES_MAX} bytes")]
    TooLong,
    /// A number that could be read in two ways.
    #[error("a number is beyond 2^53 - 1 or has more than four decimals: send it as a string")]
    Number,
}

impl Arguments {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// [`ArgumentsError`] for anything else, and for what policies could not read exactly.
    pub fn of_json(value: &Value) -> Result<Self, ArgumentsError> {
        let mut left = VALUES_MAX;
        match argument(value, DEPTH_MAX, &mut left)? {
            Argument::Record(members) => Ok(Self { members, fault: None }),
            Argument::Null
            | Argument::Bool(_)
            | Argument::Integer(_)
            | Argument::Decimal(_)
            | Argument::Text(_)
            | Argument::List(_) => Err(ArgumentsError::NotAnObject),
        }
    }

    /// Reads a JSON value, and keeps why it is not acceptable: the call is to be denied, and that to
    /// be recorded.
    #[must_use]
    pub fn heard(value: &Value) -> Self {
        Self::of_json(value)
            .unwrap_or_else(|fault| Self { members: BTreeMap::new(), fault: Some(fault) })
    }

    /// Why nobody can decide about them.
    #[must_use]
    pub const fn fault(&self) -> Option<ArgumentsError> {
        self.fault
    }

    /// Every argument by its name, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Argument)> {
        self.members.iter().map(|(name, argument)| (name.as_str(), argument))
    }

    /// The argument of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Argument> {
        self.members.get(name)
    }

    /// The argument at a JSON pointer (RFC 6901) such as `/to/0`; none for the arguments as a whole.
    #[must_use]
    pub fn at(&self, pointer: &str) -> Option<&Argument> {
        let mut steps = pointer.strip_prefix('/')?.split('/').map(unescaped);
        let mut found = self.members.get(&steps.next()?)?;
        for step in steps {
            found = match found {
                Argument::Record(members) => members.get(&step)?,
                Argument::List(items) => items.get(canonical_number::<usize>(&step)?)?,
                Argument::Null
                | Argument::Bool(_)
                | Argument::Integer(_)
                | Argument::Decimal(_)
                | Argument::Text(_) => return None,
            };
        }
        Some(found)
    }
}

/// One step of a pointer: `~1` is `/` and `~0` is `~`.
fn unescaped(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

fn argument(value: &Value, depth: usize, left: &mut usize) -> Result<Argument, ArgumentsError> {
    *left = left.checked_sub(1).ok_or(ArgumentsError::TooMany)?;
    let below = || depth.checked_sub(1).ok_or(ArgumentsError::TooDeep);
    Ok(match value {
        Value::Null => Argument::Null,
        Value::Bool(truth) => Argument::Bool(*truth),
        Value::Number(number) => numeric(&number.to_string())?,
        Value::String(text) => Argument::Text(short(text)?.to_owned()),
        Value::Array(items) => {
            let depth = below()?;
            let items = items.iter().map(|item| argument(item, depth, left));
            Argument::List(items.collect::<Result<_, _>>()?)
        }
        Value::Object(members) => {
            let depth = below()?;
            let members = members.iter().map(|(name, member)| {
                Ok((short(name)?.to_owned(), argument(member, depth, left)?))
            });
            Argument::Record(members.collect::<Result<_, _>>()?)
        }
    })
}

fn short(text: &str) -> Result<&str, ArgumentsError> {
    if text.len() <= TEXT_BYTES_MAX { Ok(text) } else { Err(ArgumentsError::TooLong) }
}

/// A number from its shortest decimal spelling: `1.0` and `1e2` are whole.
fn numeric(digits: &str) -> Result<Argument, ArgumentsError> {
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            (mantissa, exponent.parse::<i32>().map_err(|_| ArgumentsError::Number)?)
        }
        None => (digits, 0),
    };
    let (whole, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let decimals = decimals.trim_end_matches('0');
    let number: i128 = format!("{whole}{decimals}").parse().map_err(|_| ArgumentsError::Number)?;
    let scale = i32::try_from(decimals.len()).map_err(|_| ArgumentsError::Number)? - exponent;
    let parts = match scale {
        ..=4 => u32::try_from(4 - scale).ok().filter(|shift| *shift <= 24),
        5.. => None,
    };
    let one = i128::from(DECIMAL_ONE);
    let most = i128::from(INTEGER_MAX) * one;
    let parts = parts
        .and_then(|shift| number.checked_mul(10_i128.pow(shift)))
        .filter(|parts| (-most..=most).contains(parts))
        .ok_or(ArgumentsError::Number)?;
    let exact = |n: i128| i64::try_from(n).map_err(|_| ArgumentsError::Number);
    if parts % one == 0 {
        Ok(Argument::Integer(exact(parts / one)?))
    } else {
        Ok(Argument::Decimal(exact(parts)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(value: Value) -> Result<Argument, ArgumentsError> {
        let arguments = Arguments::of_json(&json!({"a": value}))?;
        Ok(arguments.at("/a").unwrap().clone())
    }

    #[test]
    fn numbers_are_read_exactly_or_not_at_all() {
        let number = |text: &str| one(serde_json::from_str(text).unwrap());
        for (text, read) in [
            ("0", Argument::Integer(0)),
            ("-7", Argument::Integer(-7)),
            ("9007199254740991", Argument::Integer(9_007_199_254_740_991)),
            ("1.0", Argument::Integer(1)),
            ("1e2", Argument::Integer(100)),
            ("1.5", Argument::Decimal(15_000)),
            ("-0.0001", Argument::Decimal(-1)),
            ("1e-4", Argument::Decimal(1)),
        ] {
            assert_eq!(number(text), Ok(read), "{text}");
        }
        for text in ["9007199254740992", "18446744073709551615", "0.00001", "1e-5", "1e300", "1e19"]
        {
            assert_eq!(number(text), Err(ArgumentsError::Number), "{text}");
        }
    }

    #[test]
    fn a_pointer_finds_a_part_and_nothing_else() {
        let value = json!({"to": ["x", {"a/b": 1, "m~n": 2}], "": true});
        let arguments = Arguments::of_json(&value).unwrap();
        assert_eq!(arguments.at("/to/0"), Some(&Argument::Text("x".to_owned())));
        assert_eq!(arguments.at("/to/1/a~1b"), Some(&Argument::Integer(1)));
        assert_eq!(arguments.at("/to/1/m~0n"), Some(&Argument::Integer(2)));
        assert_eq!(arguments.at("/"), Some(&Argument::Bool(true)));
        for none in ["", "to", "/to/2", "/to/00", "/to/-", "/to/0/0", "/To", "/to/1/a/b"] {
            assert_eq!(arguments.at(none), None, "{none}");
        }
    }

    #[test]
    fn arguments_beyond_the_limits_are_refused() {
        let nested = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!([inner]));
        assert!(one(nested(DEPTH_MAX - 1)).is_ok());
        assert_eq!(one(nested(DEPTH_MAX)), Err(ArgumentsError::TooDeep));
        assert_eq!(one(json!(vec![0; VALUES_MAX])), Err(ArgumentsError::TooMany));
        assert_eq!(one(json!("x".repeat(TEXT_BYTES_MAX + 1))), Err(ArgumentsError::TooLong));
        assert_eq!(Arguments::of_json(&json!([1])), Err(ArgumentsError::NotAnObject));
        let heard = Arguments::heard(&json!({"a": 1, "b": 0.00001}));
        assert_eq!((heard.fault(), heard.at("/a")), (Some(ArgumentsError::Number), None));
        assert_eq!(Arguments::heard(&json!({"a": 1})).fault(), None);
    }
}
