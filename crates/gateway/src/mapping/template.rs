//! Resource templates: text with arguments in braces.

use std::path::Path;

use bailiwick_core::id::Resource;
use serde_json::Value;

use super::{Unmapped, argument, place, plain};
use crate::frame::Members;

/// A resource with holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Argument { name: String, form: Form },
}

/// How an argument becomes part of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One segment, percent-encoded.
    Segment,
    /// A file's path, made absolute and normal.
    Path,
    /// A whole URI, made normal.
    Uri,
}

impl Template {
    /// Reads a template; what is wrong with it in words.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (inside, tail) = after.split_once('}').ok_or("a `{` is not closed")?;
            push_text(&mut parts, before)?;
            parts.push(part(inside)?);
            rest = tail;
        }
        push_text(&mut parts, rest)?;
        let template = Self { parts };
        template.check()?;
        Ok(template)
    }

    fn check(&self) -> Result<(), String> {
        let uri = |part: &Part| matches!(part, Part::Argument { form: Form::Uri, .. });
        if self.parts.iter().any(uri) && self.parts.len() != 1 {
            return Err("`{…:uri}` is a whole resource and stands alone".to_owned());
        }
        match self.parts.first() {
            None => Err("the template is empty".to_owned()),
            Some(Part::Argument { form: Form::Uri, .. }) => Ok(()),
            Some(Part::Text(text)) if text.contains("://") => {
                let sample: String = self.parts.iter().map(Part::sample).collect();
                Resource::new(&sample).map(|_| ()).map_err(|e| e.to_string())
            }
            Some(Part::Text(_) | Part::Argument { .. }) => {
                Err("it does not begin with a scheme such as `crm://`".to_owned())
            }
        }
    }

    /// The resource with these arguments.
    pub(super) fn fill(&self, members: &Members<'_>, root: &Path) -> Result<Resource, Unmapped> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(fixed) => text.push_str(fixed),
                Part::Argument { name, form } => {
                    let value = match argument(members, name)? {
                        None | Some(Value::Null) => {
                            let message = format!("argument `{name}` is missing");
                            return Err(Unmapped::resource(message));
                        }
                        Some(value) => value,
                    };
                    let value =
                        plain(&value).filter(|value| !value.is_empty()).ok_or_else(|| {
                            Unmapped::resource(format!(
                                "argument `{name}` cannot be part of a resource"
                            ))
                        })?;
                    text.push_str(&match form {
                        Form::Segment => place::encode(&value),
                        Form::Path => place::path(&value, root)?,
                        Form::Uri => place::uri(&value)?,
                    });
                }
            }
        }
        Resource::new(&text).map_err(|e| Unmapped::resource(e.to_string()))
    }
}

impl Part {
    fn sample(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Argument { form: Form::Segment | Form::Uri, .. } => "x",
            Self::Argument { form: Form::Path, .. } => "/x",
        }
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) -> Result<(), String> {
    if text.contains('}') {
        return Err("a `}` closes nothing".to_owned());
    }
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
    Ok(())
}

fn part(inside: &str) -> Result<Part, String> {
    let (name, form) = inside.split_once(':').unwrap_or((inside, "segment"));
    let form = match form {
        "segment" => Form::Segment,
        "path" => Form::Path,
        "uri" => Form::Uri,
        other => {
            return Err(format!("`{other}` is not a form; there are `segment`, `path`, `uri`"));
        }
    };
    if name.is_empty() || name.contains('{') {
        return Err("`{}` names no argument".to_owned());
    }
    Ok(Part::Argument { name: name.to_owned(), form })
}
