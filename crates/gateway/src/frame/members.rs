//! An object's members as they stand on the wire, each once.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Members of an object, by name.
pub(crate) type Members<'a> = BTreeMap<String, &'a RawValue>;

/// The members of the object in `text`; an error for anything else, and for a member that stands
/// there twice. What is inside the members is not looked at.
pub(crate) fn members(text: &str) -> Result<Members<'_>, serde_json::Error> {
    let mut from = serde_json::Deserializer::from_str(text);
    let members = from.deserialize_map(Once)?;
    from.end()?;
    Ok(members)
}

/// A member that equals one of `known` for a parser that ignores case, and only for such a one.
pub(crate) fn twin<'m>(members: &'m Members<'_>, known: &[&str]) -> Option<&'m str> {
    let twins = |name: &&String| {
        !known.contains(&name.as_str()) && known.iter().any(|known| fold(known) == fold(name))
    };
    members.keys().find(twins).map(String::as_str)
}

/// Case folding as the loosest parsers do it: `ſ` is an `s` and the Kelvin sign a `k`.
fn fold(text: &str) -> String {
    text.to_uppercase().to_lowercase()
}

struct Once;

impl<'de> Visitor<'de> for Once {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Members<'de>, A::Error> {
        let mut members = Members::new();
        while let Some(name) = from.next_key::<String>()? {
            if members.contains_key(&name) {
                let name: String = name.chars().take(80).collect();
                return Err(A::Error::custom(format_args!("member `{name}` stands there twice")));
            }
            members.insert(name, from.next_value()?);
        }
        Ok(members)
    }
}
