//! Arguments and what the ledger knows of a call, as Cedar's values.

use std::collections::BTreeMap;
use std::sync::Arc;

use cedar_policy_core::ast::{Name, PartialValue, Value};
use cedar_policy_core::extensions::Extensions;
use smol_str::{SmolStr, format_smolstr};

use crate::arguments::{Argument, Arguments, DECIMAL_ONE};
use crate::policy::inputs::{Fields, Inputs, Type};
use crate::policy::{Counts, History, Lately, UsableGrant};

pub(super) fn record(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let fields = fields.into_iter().map(|(name, value)| (SmolStr::new_static(name), value));
    Value::record_arc(Arc::new(fields.collect()), None)
}

/// Arguments with exactly the types that policies were validated with; nothing where they differ.
/// What has no exact type is left out.
pub(super) fn of_arguments(inputs: &Inputs, arguments: &Arguments) -> Option<Value> {
    of_record(&inputs.fields, |name| arguments.get(name)).filter(|_| inputs.accept(arguments))
}

fn of_record<'a>(fields: &Fields, member: impl Fn(&str) -> Option<&'a Argument>) -> Option<Value> {
    let mut values = BTreeMap::new();
    for (name, field) in &fields.known {
        match member(name) {
            None | Some(Argument::Null) if field.required => return None,
            None | Some(Argument::Null) => {}
            Some(argument) => {
                values.insert(name.clone(), of_argument(&field.of, argument)?);
            }
        }
    }
    Some(Value::record_arc(Arc::new(values), None))
}

fn of_argument(of: &Type, argument: &Argument) -> Option<Value> {
    match (of, argument) {
        (Type::Bool, Argument::Bool(truth)) => Some(Value::from(*truth)),
        (Type::Integer, Argument::Integer(number)) => Some(Value::from(*number)),
        (Type::Decimal, Argument::Integer(whole)) => decimal(whole.checked_mul(DECIMAL_ONE)?),
        (Type::Decimal, Argument::Decimal(parts)) => decimal(*parts),
        (Type::Text, Argument::Text(text)) => Some(Value::from(text.as_str())),
        (Type::List(of), Argument::List(items)) => {
            let items: Option<Vec<Value>> =
                items.iter().map(|item| of_argument(of, item)).collect();
            Some(Value::set(items?, None))
        }
        (Type::Record(fields), Argument::Record(members)) => {
            of_record(fields, |name| members.get(name))
        }
        (
            Type::Bool
            | Type::Integer
            | Type::Decimal
            | Type::Text
            | Type::List(_)
            | Type::Record(_),
            _,
        ) => None,
    }
}

/// Cedar makes its decimals from texts alone.
fn decimal(parts: i64) -> Option<Value> {
    let one = DECIMAL_ONE.unsigned_abs();
    let (whole, rest) = (parts.unsigned_abs() / one, parts.unsigned_abs() % one);
    let sign = if parts < 0 { "-" } else { "" };
    let name = Name::parse_unqualified_name("decimal").ok()?;
    let make = Extensions::all_available().func(&name).ok()?;
    match make.call(&[Value::from(format_smolstr!("{sign}{whole}.{rest:04}"))]).ok()? {
        PartialValue::Value(value) => Some(value),
        PartialValue::Residual(_) => None,
    }
}

pub(super) fn of_history(history: &History) -> Value {
    let lately = |of: &Lately| {
        let numbers = [("minute", of.minute), ("hour", of.hour), ("day", of.day)];
        let known = numbers.into_iter().filter_map(|(name, number)| Some((name, number?)));
        record(known.map(|(name, number)| (name, Value::from(i64::from(number)))))
    };
    let counts =
        |of: &Counts| record([("calls", lately(&of.calls)), ("denials", lately(&of.denials))]);
    record([
        ("agent", counts(&history.agent)),
        ("task", counts(&history.task)),
        ("tool", counts(&history.tool)),
    ])
}

pub(super) fn of_grant(grant: UsableGrant) -> Value {
    let seconds = |seconds: u64| Value::from(i64::try_from(seconds).unwrap_or(i64::MAX));
    record([
        ("uses", Value::from(i64::from(grant.uses))),
        ("uses_left", Value::from(i64::from(grant.uses_left))),
        ("age_seconds", seconds(grant.age_seconds)),
        ("expires_in_seconds", seconds(grant.expires_in_seconds)),
    ])
}
