//! An event's own fields as canonical JSON: keys in order, no white space, integers as they are.
//!
//! Not RFC 8785, whose numbers are doubles: a moment in nanoseconds would lose its last digits.

use serde_json::Value;

/// The canonical JSON of `data`.
pub(crate) fn canonical(data: &impl serde::Serialize) -> String {
    let mut text = String::new();
    match serde_json::to_value(data) {
        Ok(value) => write(&value, &mut text),
        // Facts have string keys and no floats, so none fails; a reader of the row would see it.
        Err(_) => text.push_str("null"),
    }
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            text.push('{');
            for (at, (key, value)) in members.into_iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write(&Value::from(key.as_str()), text);
                text.push(':');
                write(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write(item, text);
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ordered_and_integers_keep_every_digit() {
        let value = serde_json::json!({"b": [1, {"z": null, "a": "q\"\n"}], "a": u64::MAX});
        assert_eq!(
            canonical(&value),
            r#"{"a":18446744073709551615,"b":[1,{"a":"q\"\n","z":null}]}"#
        );
    }
}
