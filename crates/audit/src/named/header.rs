//! The header of a named question's file.

use serde_json::Value;

use super::{Kind, Named, Preset, Taken};

/// A header that is not of its form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{file}.sql`, line {line}: {why}")]
pub struct HeaderError {
    /// The question's name.
    pub file: String,
    /// Which line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

pub(super) fn parse(name: &'static str, sql: &'static str) -> Result<Named, HeaderError> {
    let wrong = |line: usize, why: String| HeaderError { file: name.to_owned(), line, why };
    let (mut question, mut parameters, mut controls) = (None, Vec::<Taken>::new(), Vec::new());
    let mut last = 0;
    for (at, line) in sql.lines().enumerate() {
        let line_number = at + 1;
        // An empty comment, or the statement, ends the header.
        let Some((key, value)) = line.strip_prefix("-- ").and_then(|text| text.split_once(": "))
        else {
            break;
        };
        last = line_number;
        let value = value.trim();
        match key {
            "question" if question.is_none() => question = Some(value.to_owned()),
            "controls" if controls.is_empty() => {
                controls = value.split("; ").map(str::to_owned).collect();
            }
            "parameter" => {
                let taken = parameter(value).map_err(|why| wrong(line_number, why))?;
                if parameters.iter().any(|other| other.name == taken.name) {
                    return Err(wrong(line_number, format!("`${}` comes twice", taken.name)));
                }
                parameters.push(taken);
            }
            "question" | "controls" => {
                return Err(wrong(line_number, format!("`{key}` comes twice")));
            }
            _ => {
                let why = format!("`{key}` is none of `question`, `parameter` and `controls`");
                return Err(wrong(line_number, why));
            }
        }
    }
    let missing = |what: &str| wrong(last + 1, format!("`-- {what}: …` is missing"));
    let question = question.filter(|words| !words.is_empty()).ok_or_else(|| missing("question"))?;
    if controls.is_empty() || controls.iter().any(String::is_empty) {
        return Err(missing("controls"));
    }
    Ok(Named { name, question, parameters, controls, sql })
}

/// `$name type; words`, or `$name type = default; words`.
fn parameter(text: &str) -> Result<Taken, String> {
    let (declared, about) = text
        .split_once("; ")
        .filter(|(_, about)| !about.is_empty())
        .ok_or("after `; ` a parameter says what it means")?;
    let (typed, default) = match declared.split_once(" = ") {
        Some((typed, default)) => (typed, Some(default)),
        None => (declared, None),
    };
    let (name, kind) = typed
        .strip_prefix('$')
        .and_then(|typed| typed.split_once(' '))
        .ok_or("a parameter reads `$name type`")?;
    let plain = |c: char| c.is_ascii_lowercase() || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        return Err(format!("`${name}` is no name: lower-case letters and `_`"));
    }
    let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind).ok_or_else(|| {
        let known: Vec<&str> = Kind::ALL.into_iter().map(Kind::as_str).collect();
        format!("`{kind}` is none of the types {}", known.join(", "))
    })?;
    let default = default.map(|text| preset(kind, text)).transpose()?;
    Ok(Taken { name: name.to_owned(), kind, default, about: about.to_owned() })
}

fn preset(kind: Kind, text: &str) -> Result<Preset, String> {
    match (kind, text) {
        (_, "null") => Ok(Preset::Value(Value::Null)),
        (Kind::Timestamptz, "now") => Ok(Preset::Now),
        (Kind::Text | Kind::Bigint | Kind::Boolean | Kind::Timestamptz, _) => {
            let value = kind.read(text);
            value.map(Preset::Value).map_err(|wanted| format!("the default has to be {wanted}"))
        }
    }
}
