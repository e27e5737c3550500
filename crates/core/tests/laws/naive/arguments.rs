//! What grants demand of a call's arguments, said a second time.

use bailiwick_core::arguments::{Argument, Arguments};
use bailiwick_core::event::{Constraint, Must, Plain};

/// Whether a call with these arguments does what every constraint demands.
pub(super) fn meet(constraints: &[Constraint], arguments: Option<&Arguments>) -> bool {
    for constraint in constraints {
        let Some(arguments) = arguments else { return false };
        let found = find(arguments, constraint.at.as_str());
        if !found.is_some_and(|argument| is_as_demanded(argument, &constraint.must)) {
            return false;
        }
    }
    true
}

/// The argument at a pointer; the pointers of these tests have no escapes.
fn find<'a>(arguments: &'a Arguments, pointer: &str) -> Option<&'a Argument> {
    let mut names = pointer.split('/').skip(1);
    let first = names.next()?;
    let mut at = arguments.iter().find(|(name, _)| *name == first)?.1;
    for name in names {
        at = match at {
            Argument::Record(members) => members.iter().find(|(known, _)| *known == name)?.1,
            Argument::List(items) => items.get(name.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(at)
}

fn is_as_demanded(argument: &Argument, must: &Must) -> bool {
    match (must, argument) {
        (Must::Equal(value), _) => same(argument) == Some(value.clone()),
        (Must::OneOf(values), _) => same(argument).is_some_and(|value| values.contains(&value)),
        (Must::Prefix(prefix), Argument::Text(text)) => {
            let lower = text.to_ascii_lowercase();
            let coded = ["%2e", "%2f", "%5c", "%25", "%00", "\\", "\0"];
            let steps = format!("/{text}/");
            text.find(prefix.as_str()) == Some(0)
                && !coded.iter().any(|part| lower.contains(part))
                && !steps.contains("/../")
                && !steps.contains("/./")
        }
        (Must::Max(most), Argument::Integer(n)) => *n <= *most,
        (Must::Prefix(_) | Must::Max(_), _) => false,
    }
}

/// The value that an argument would have to be equal to.
fn same(argument: &Argument) -> Option<Plain> {
    match argument {
        Argument::Bool(truth) => Some(Plain::Bool(*truth)),
        Argument::Integer(n) => Some(Plain::Integer(*n)),
        Argument::Text(text) => Some(Plain::Text(bailiwick_core::id::Text::new(text).ok()?)),
        _ => None,
    }
}
