//! What a grant demands of a call's arguments: whether it is well said, and whether a call meets it.
//!
//! Constraints hold together: each has to be met. An argument that is not there, or is of another
//! type than the constraint speaks of, meets nothing; neither does a call that tells no arguments.

use std::fmt;
use std::str::FromStr;

use super::{Argument, Arguments, DEPTH_MAX};
use crate::event::{Constraint, Must, Plain};
use crate::id::Text;
use crate::json::INTEGER_MAX;

/// The most constraints of one grant, those of the grant that it was delegated from among them.
pub const CONSTRAINTS_MAX: usize = 16;
/// The most values that one constraint may offer.
pub const ONE_OF_MAX: usize = 64;
/// The most bytes of a grant's constraints together.
pub const CONSTRAINTS_BYTES_MAX: usize = 8_192;

/// Why constraints are not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// Too many altogether.
    #[error("a grant has at most {CONSTRAINTS_MAX} constraints")]
    TooMany,
    /// Too long altogether.
    #[error("the constraints of a grant have at most {CONSTRAINTS_BYTES_MAX} bytes together")]
    TooLong,
    /// Not a JSON pointer to a part of the arguments.
    #[error(
        "`at` is a JSON pointer such as `/path`, at most {DEPTH_MAX} steps deep, with `~` only in \
         `~0` and `~1`"
    )]
    Pointer,
    /// Nothing to choose from, or too much.
    #[error("`one_of` has 1 to {ONE_OF_MAX} values")]
    Choices,
    /// A prefix that could be escaped from by itself.
    #[error("`prefix` has no `.` or `..` segment, no backslash and none of these percent-encoded")]
    Prefix,
    /// A whole number that not every JSON reader reads alike.
    #[error("a whole number is beyond 2^53 - 1")]
    Integer,
    /// Not in the form in which a constraint is written.
    #[error(
        "a constraint is `/pointer=equal:VALUE`, `/pointer=one-of:[VALUE, …]`, \
         `/pointer=prefix:TEXT` or `/pointer=max:NUMBER`"
    )]
    Written,
}

/// Whether constraints are well said.
///
/// # Errors
/// [`ConstraintError`] for the first thing that is wrong.
pub fn check(constraints: &[Constraint]) -> Result<(), ConstraintError> {
    if constraints.len() > CONSTRAINTS_MAX {
        return Err(ConstraintError::TooMany);
    }
    constraints.iter().try_for_each(check_one)?;
    if constraints.iter().map(bytes).sum::<usize>() > CONSTRAINTS_BYTES_MAX {
        return Err(ConstraintError::TooLong);
    }
    Ok(())
}

/// Whether a call with these arguments meets every constraint.
#[must_use]
pub fn are_met(constraints: &[Constraint], arguments: Option<&Arguments>) -> bool {
    constraints.iter().all(|constraint| {
        let found = arguments.and_then(|arguments| arguments.at(constraint.at.as_str()));
        found.is_some_and(|argument| meets(argument, &constraint.must))
    })
}

/// Whether whoever is held by `narrower` is held by all of `wider` too: constraints may be added and
/// none dropped or changed.
#[must_use]
pub fn keep_all(narrower: &[Constraint], wider: &[Constraint]) -> bool {
    wider.iter().all(|constraint| narrower.contains(constraint))
}

/// All of `held` and what `added` has beside them.
#[must_use]
pub fn joined(held: &[Constraint], added: &[Constraint]) -> Vec<Constraint> {
    let mut all = held.to_vec();
    for constraint in added {
        if !all.contains(constraint) {
            all.push(constraint.clone());
        }
    }
    all
}

fn check_one(constraint: &Constraint) -> Result<(), ConstraintError> {
    if !is_pointer(constraint.at.as_str()) {
        return Err(ConstraintError::Pointer);
    }
    let integer = |n: i64| {
        if n.unsigned_abs() <= INTEGER_MAX { Ok(()) } else { Err(ConstraintError::Integer) }
    };
    let plain = |value: &Plain| match value {
        Plain::Integer(n) => integer(*n),
        Plain::Bool(_) | Plain::Text(_) => Ok(()),
    };
    match &constraint.must {
        Must::Equal(value) => plain(value),
        Must::OneOf(values) if values.is_empty() || values.len() > ONE_OF_MAX => {
            Err(ConstraintError::Choices)
        }
        Must::OneOf(values) => values.iter().try_for_each(plain),
        Must::Prefix(prefix) if strays(prefix.as_str()) => Err(ConstraintError::Prefix),
        Must::Prefix(_) => Ok(()),
        Must::Max(most) => integer(*most),
    }
}

/// RFC 6901, but for the pointer to the whole.
fn is_pointer(text: &str) -> bool {
    let escaped = |step: &str| step.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    let Some(steps) = text.strip_prefix('/') else { return false };
    let mut steps = steps.split('/');
    steps.clone().count() <= DEPTH_MAX && steps.all(escaped)
}

fn bytes(constraint: &Constraint) -> usize {
    let plain = |value: &Plain| match value {
        Plain::Bool(_) => 1,
        Plain::Integer(_) => 8,
        Plain::Text(text) => text.as_str().len(),
    };
    let must = match &constraint.must {
        Must::Equal(value) => plain(value),
        Must::OneOf(values) => values.iter().map(plain).sum(),
        Must::Prefix(prefix) => prefix.as_str().len(),
        Must::Max(_) => 8,
    };
    constraint.at.as_str().len() + must
}

/// Types are told apart: the text `5` is no number, and a number with decimals is no whole one. Texts
/// are compared by their bytes, so two that only look alike are two.
fn meets(argument: &Argument, must: &Must) -> bool {
    match must {
        Must::Equal(value) => is(argument, value),
        Must::OneOf(values) => values.iter().any(|value| is(argument, value)),
        Must::Prefix(prefix) => match argument {
            Argument::Text(text) => text.starts_with(prefix.as_str()) && !strays(text),
            Argument::Null
            | Argument::Bool(_)
            | Argument::Integer(_)
            | Argument::Decimal(_)
            | Argument::List(_)
            | Argument::Record(_) => false,
        },
        Must::Max(most) => match argument {
            Argument::Integer(n) => n <= most,
            Argument::Null
            | Argument::Bool(_)
            | Argument::Text(_)
            | Argument::Decimal(_)
            | Argument::List(_)
            | Argument::Record(_) => false,
        },
    }
}

fn is(argument: &Argument, value: &Plain) -> bool {
    match (argument, value) {
        (Argument::Bool(argument), Plain::Bool(value)) => argument == value,
        (Argument::Integer(argument), Plain::Integer(value)) => argument == value,
        (Argument::Text(argument), Plain::Text(value)) => argument == value.as_str(),
        (
            Argument::Null
            | Argument::Bool(_)
            | Argument::Integer(_)
            | Argument::Decimal(_)
            | Argument::Text(_)
            | Argument::List(_)
            | Argument::Record(_),
            Plain::Bool(_) | Plain::Integer(_) | Plain::Text(_),
        ) => false,
    }
}

/// Whether a text that begins with a prefix could still name something outside of it, for whoever
/// reads it as a path: it steps up, or could do so once it is decoded or read by another system.
/// `/srv/reports/../../etc` begins with `/srv/reports/` and is none of its files.
fn strays(text: &str) -> bool {
    // A dot, a slash, a backslash, a percent sign and NUL: what a segment could be smuggled in with.
    const ENCODED: [&[u8; 2]; 5] = [b"2e", b"2f", b"5c", b"25", b"00"];
    let is_encoded = |pair: &[u8]| {
        pair.first() == Some(&b'%')
            && pair
                .get(1..3)
                .is_some_and(|digits| ENCODED.iter().any(|code| code.eq_ignore_ascii_case(digits)))
    };
    text.contains(['\\', '\0'])
        || text.split('/').any(|segment| segment == "." || segment == "..")
        || (0..text.len()).any(|at| is_encoded(&text.as_bytes()[at..]))
}

/// As people write it: `/path=prefix:/srv/reports/`.
impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.at)?;
        match &self.must {
            Must::Equal(value) => write!(f, "equal:{value}"),
            Must::OneOf(values) => {
                f.write_str("one-of:[")?;
                for (n, value) in values.iter().enumerate() {
                    let comma = if n == 0 { "" } else { ", " };
                    write!(f, "{comma}{value}")?;
                }
                f.write_str("]")
            }
            Must::Prefix(prefix) => write!(f, "prefix:{prefix}"),
            Must::Max(most) => write!(f, "max:{most}"),
        }
    }
}

/// As JSON writes it, so that the text `5` and the number are told apart.
impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(truth) => write!(f, "{truth}"),
            Self::Integer(n) => write!(f, "{n}"),
            Self::Text(text) => {
                f.write_str(&serde_json::to_string(text.as_str()).map_err(|_| fmt::Error)?)
            }
        }
    }
}

/// Reads what [`Constraint`] displays. A value is JSON: `true`, `5`, `"5"`; where it is none, it is
/// the text as it stands, so that `alice` needs no quotes. A pointer with `=` has no such form.
impl FromStr for Constraint {
    type Err = ConstraintError;

    fn from_str(text: &str) -> Result<Self, ConstraintError> {
        let (at, must) = text.split_once('=').ok_or(ConstraintError::Written)?;
        let (what, value) = must.split_once(':').ok_or(ConstraintError::Written)?;
        let short = |text: &str| Text::new(text).map_err(|_| ConstraintError::Written);
        let must = match what {
            "equal" => Must::Equal(serde_json::from_str(value).or_else(|_| {
                let is_json = serde_json::from_str::<serde_json::Value>(value).is_ok();
                if is_json { Err(ConstraintError::Written) } else { short(value).map(Plain::Text) }
            })?),
            "one-of" => {
                Must::OneOf(serde_json::from_str(value).map_err(|_| ConstraintError::Written)?)
            }
            "prefix" => Must::Prefix(short(value)?),
            "max" => Must::Max(value.parse().map_err(|_| ConstraintError::Written)?),
            _ => return Err(ConstraintError::Written),
        };
        let constraint = Self { at: short(at)?, must };
        check_one(&constraint)?;
        Ok(constraint)
    }
}

#[cfg(test)]
mod tests;
