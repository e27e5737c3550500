//! `tools.toml` as text, checked as a whole before it is trusted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bailiwick_core::event::Effect;
use bailiwick_core::id::{Action, Text};
use serde::Deserialize;
use toml::Spanned;

use super::{Mapping, Rule, ServerName, TOOLS_MAX, Template};
use crate::Error;

/// The most arguments of one tool that may be recorded in clear.
const DISCLOSED_MAX: usize = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    server: Option<Spanned<Server>>,
    #[serde(default)]
    tools: BTreeMap<String, Spanned<Tool>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Server {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    root: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tool {
    #[serde(default)]
    action: Option<Spanned<String>>,
    #[serde(default)]
    resource: Option<Spanned<String>>,
    #[serde(default)]
    effect: Option<Effect>,
    #[serde(default)]
    disclosed: Vec<Spanned<String>>,
}

pub(super) fn parse(text: &str, server: Option<ServerName>, root: &Path) -> Result<Mapping, Error> {
    let at = |offset: usize, why: String| {
        let line = 1 + text.bytes().take(offset).filter(|b| *b == b'\n').count();
        Error::Mapping { line, why }
    };
    let file: File = toml::from_str(text)
        .map_err(|e| at(e.span().map_or(0, |span| span.start), e.message().to_owned()))?;
    if file.tools.len() > TOOLS_MAX {
        return Err(at(0, format!("more than {TOOLS_MAX} tools")));
    }
    let mut own = (None, None);
    if let Some(section) = file.server {
        let start = section.span().start;
        let section = section.into_inner();
        if section.root.as_ref().is_some_and(|root| !root.is_absolute()) {
            return Err(at(start, "`root` is not an absolute path".to_owned()));
        }
        let name = section.name.as_deref().map(ServerName::new).transpose();
        own = (name.map_err(|e| at(start, e.to_string()))?, section.root);
    }
    let Some(server) = server.or(own.0) else {
        return Err(at(0, "`[server]` has no `name`, and none was given".to_owned()));
    };
    let mut tools = BTreeMap::new();
    for (name, tool) in file.tools {
        let rule = rule(tool.into_inner())
            .map_err(|(offset, why)| at(offset, format!("tool `{name}`: {why}")))?;
        tools.insert(name, rule);
    }
    Ok(Mapping { server, root: own.1.unwrap_or_else(|| root.to_owned()), tools })
}

/// The rule, or where and why it is none.
fn rule(tool: Tool) -> Result<Rule, (usize, String)> {
    let parsed =
        |given: Option<Spanned<String>>| given.map(|text| (text.span().start, text.into_inner()));
    let mut rule = Rule { effect: tool.effect, ..Rule::default() };
    if let Some((start, action)) = parsed(tool.action) {
        rule.action = Some(Action::new(&action).map_err(|e| (start, e.to_string()))?);
    }
    if let Some((start, resource)) = parsed(tool.resource) {
        rule.resource = Some(Template::parse(&resource).map_err(|why| (start, why))?);
    }
    for field in tool.disclosed {
        let start = field.span().start;
        let field = field.into_inner();
        Text::new(&field).map_err(|e| (start, e.to_string()))?;
        if rule.disclosed.len() == DISCLOSED_MAX {
            return Err((start, format!("more than {DISCLOSED_MAX} disclosed arguments")));
        }
        rule.disclosed.push(field);
    }
    Ok(rule)
}
