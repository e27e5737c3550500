//! From a tool and its arguments to what is decided about: action, resource, effect, disclosed fields.
//!
//! The mapping is a file, `tools.toml`:
//!
//! ```toml
//! [server]
//! name = "crm"                          # before the slash in `crm/read_case`
//! root = "/srv/data"                    # what relative paths are relative to
//!
//! [tools.read_case]
//! action = "crm/read_case"              # if not given: server/tool
//! resource = "crm://case/{case_id}"     # if not given: as for a tool that is not in the file
//! effect = "read"                       # read | open | write | external | destructive
//! disclosed = ["case_id"]               # arguments that may be recorded in clear
//! ```
//!
//! A template names arguments: `{case_id}` is one segment, percent-encoded; `{file:path}` is a file's
//! path, made absolute and free of `.` and `..` before it is encoded; `{link:uri}` is a whole URI in
//! its normal form. A file is therefore `resource = "file://{file:path}"`.
//!
//! **A tool that is not in the file** has the action `server/tool`, and its resource is made of the
//! one argument that is called like a place: a path (`path`, `file`, …) becomes `file:///…`, a URI
//! (`uri`, `url`, …) stays one. With no such argument the resource is `mcp://server/tool`; with
//! several that name different places there is none, and the call is denied `resource_unmapped`.
//! Its effect is `write`, or what the server's own annotations make worse of it: an explicit
//! `openWorldHint` makes it `external`, an explicit `destructiveHint` `destructive`. Annotations are
//! the server's word: `readOnlyHint` never makes an effect less than `write`, only this file does.
//!
//! Paths are compared as text: the resource is what the agent named, not where a symbolic link leads.
//! Who must not be led elsewhere gives the server a tree without links out of it, or one that checks.

mod file;
mod place;
mod template;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bailiwick_core::event::{DenialCode, Effect};
use bailiwick_core::id::{Action, NAME_BYTES_MAX, Resource, Text, ToolId};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::Error;
use crate::catalog::Hints;
use crate::frame::{Members, members, twin};

use template::Template;

/// The most tools that one file may map.
pub const TOOLS_MAX: usize = 4_096;
/// The most bytes of the file.
pub const FILE_BYTES_MAX: u64 = 1_024 * 1_024;
/// The most bytes of a disclosed value; a longer one is left out.
pub const DISCLOSED_BYTES_MAX: usize = 256;

/// A server's tools and what they mean.
#[derive(Debug, Clone)]
pub struct Mapping {
    server: ServerName,
    root: PathBuf,
    tools: BTreeMap<String, Rule>,
}

/// What stands before the slash in a tool's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerName(String);

impl ServerName {
    /// Checks `name`: letters, digits, `_`, `.` and `-`.
    ///
    /// # Errors
    /// [`Error::ServerName`].
    pub fn new(name: &str) -> Result<Self, Error> {
        let refused = |why: &str| {
            Err(Error::ServerName { name: name.chars().take(80).collect(), why: why.to_owned() })
        };
        if name.is_empty() || name.len() > NAME_BYTES_MAX / 2 {
            return refused("it is empty or too long");
        }
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')) {
            return refused("only letters, digits, `_`, `.` and `-` may stand in it");
        }
        Ok(Self(name.to_owned()))
    }

    /// A name for the server that `command` starts: the program's own, or that of the first thing
    /// it is told to run, without what only says that it is a server. `npx -y
    /// @modelcontextprotocol/server-filesystem /srv` gives `filesystem`.
    ///
    /// # Errors
    /// [`Error::ServerName`] when nothing in `command` makes a name.
    pub fn from_command(command: &[String]) -> Result<Self, Error> {
        const LAUNCHERS: [&str; 14] = [
            "npx", "node", "npm", "exec", "bunx", "bun", "pnpm", "dlx", "uvx", "uv", "run",
            "python", "python3", "pipx",
        ];
        let base = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
        let named = command
            .iter()
            .filter(|word| !word.starts_with('-'))
            .map(|word| base(word))
            .find(|word| !LAUNCHERS.contains(&word.as_str()));
        let word = named.or_else(|| command.first().map(|word| base(word))).unwrap_or_default();
        let word = word.split('@').next().unwrap_or_default();
        let endings = [".js", ".mjs", ".cjs", ".py", ".exe", "-mcp-server", "-mcp", "-server"];
        let beginnings = ["mcp-server-", "server-", "mcp-"];
        let word = endings.iter().fold(word, |word, end| word.strip_suffix(end).unwrap_or(word));
        let word =
            beginnings.iter().fold(word, |word, start| word.strip_prefix(start).unwrap_or(word));
        Self::new(&word.replace(|c: char| !c.is_ascii_alphanumeric() && !"_.-".contains(c), "-"))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the file says about one tool.
#[derive(Debug, Clone, Default)]
struct Rule {
    action: Option<Action>,
    resource: Option<Template>,
    effect: Option<Effect>,
    disclosed: Vec<String>,
}

/// What a call means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    /// The tool as `server/tool`.
    pub tool: ToolId,
    /// What is done.
    pub action: Action,
    /// To what.
    pub resource: Resource,
    /// What that does to the world.
    pub effect: Effect,
    /// What may be recorded in clear.
    pub disclosed: BTreeMap<Text, Text>,
}

/// A call that cannot be decided about, and so is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmapped {
    /// `resource_unmapped` or `invalid_arguments`.
    pub code: DenialCode,
    /// Words for the model.
    pub message: String,
}

impl Unmapped {
    fn resource(message: impl Into<String>) -> Self {
        Self { code: DenialCode::ResourceUnmapped, message: message.into() }
    }

    fn arguments(message: impl Into<String>) -> Self {
        Self { code: DenialCode::InvalidArguments, message: message.into() }
    }
}

impl Mapping {
    /// No tool mapped; relative paths are relative to `root`, the directory the server runs in.
    #[must_use]
    pub const fn unmapped(server: ServerName, root: PathBuf) -> Self {
        Self { server, root, tools: BTreeMap::new() }
    }

    /// Reads a mapping from the file at `path`.
    ///
    /// `server` wins over the file's own name; `root`, the directory the server runs in, counts
    /// where the file gives none.
    ///
    /// # Errors
    /// [`Error::MappingFile`] and those of [`Mapping::parse`].
    pub fn read(path: &Path, server: Option<ServerName>, root: &Path) -> Result<Self, Error> {
        let failed = |source| Error::MappingFile { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(failed)?.len() > FILE_BYTES_MAX {
            let why = format!("the file has more than {FILE_BYTES_MAX} bytes");
            return Err(Error::Mapping { line: 1, why });
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        Self::parse(&text, server, root)
    }

    /// Reads a mapping from `text`, see the module's own words.
    ///
    /// # Errors
    /// [`Error::Mapping`] with the line, or [`Error::ServerName`].
    pub fn parse(text: &str, server: Option<ServerName>, root: &Path) -> Result<Self, Error> {
        file::parse(text, server, root)
    }

    /// The server's name.
    #[must_use]
    pub const fn server(&self) -> &ServerName {
        &self.server
    }

    /// What a call of `tool` with `arguments` means.
    ///
    /// # Errors
    /// [`Unmapped`] when that cannot be said for certain.
    pub fn resolve(
        &self,
        tool: &str,
        arguments: Option<&RawValue>,
        hints: Hints,
    ) -> Result<Mapped, Unmapped> {
        let members = match arguments {
            None => Members::new(),
            Some(raw) => members(raw.get())
                .map_err(|_| Unmapped::arguments("the arguments are not an object"))?,
        };
        let id = format!("{}/{tool}", self.server.as_str());
        let named = |e: bailiwick_core::id::IdError| Unmapped::arguments(e.to_string());
        let id = ToolId::new(&id).map_err(named)?;
        let fallback = Rule::default();
        let rule = self.tools.get(tool).unwrap_or(&fallback);
        let resource = match &rule.resource {
            Some(template) => template.fill(&members, &self.root)?,
            None => place::of_unmapped(&id, &members, &self.root)?,
        };
        let action = match &rule.action {
            Some(action) => action.clone(),
            None => Action::new(id.as_str()).map_err(named)?,
        };
        Ok(Mapped {
            action,
            resource,
            effect: rule.effect.unwrap_or_else(|| hints.effect()),
            disclosed: disclosed(&rule.disclosed, &members)?,
            tool: id,
        })
    }
}

/// The value of the argument `name`; none when there is none.
fn argument(members: &Members<'_>, name: &str) -> Result<Option<Value>, Unmapped> {
    if let Some(twin) = twin(members, &[name]) {
        let twin: String = twin.chars().take(80).collect();
        return Err(Unmapped::arguments(format!("argument `{twin}` is `{name}` in other letters")));
    }
    match members.get(name) {
        None => Ok(None),
        Some(raw) => serde_json::from_str(raw.get())
            .map(Some)
            .map_err(|_| Unmapped::arguments(format!("argument `{name}` is not understood"))),
    }
}

/// The disclosed arguments that are short, plain texts, numbers or booleans.
fn disclosed(names: &[String], members: &Members<'_>) -> Result<BTreeMap<Text, Text>, Unmapped> {
    let mut found = BTreeMap::new();
    for name in names {
        let Some(value) = argument(members, name)?.as_ref().and_then(plain) else { continue };
        if value.len() > DISCLOSED_BYTES_MAX {
            continue;
        }
        if let (Ok(name), Ok(value)) = (Text::new(name), Text::new(&value)) {
            found.insert(name, value);
        }
    }
    Ok(found)
}

/// A text, a whole number or a boolean as text. Fractions have many spellings and none is taken.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(is) => Some(is.to_string()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        Value::Number(_) | Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests;
