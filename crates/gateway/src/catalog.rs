//! The tools a server says it has: each definition's hash, and its untrusted hints.
//!
//! The hash covers name, description, input schema and annotations, which is what an agent and its
//! owner go by when they decide to use a tool. A definition that changes has another hash, and the
//! ledger treats it as another tool.

use std::collections::BTreeMap;

use bailiwick_core::event::Effect;
use bailiwick_core::json::{Limits, canonical, parse_strict};
use bailiwick_core::record::hash::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The most tools that are remembered of one server.
pub const TOOLS_MAX: usize = 4_096;
/// How large and how deep a list of tools may be.
const LIMITS: Limits = Limits { bytes: 16 * 1_024 * 1_024, depth: 64 };
const CONTEXT: &str = "bailiwick v1 tool definition";

/// What a server says about a tool's nature. Believed only where it makes things worse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Hints {
    /// `readOnlyHint`.
    #[serde(default, rename = "readOnlyHint")]
    pub read_only: Option<bool>,
    /// `destructiveHint`.
    #[serde(default, rename = "destructiveHint")]
    pub destructive: Option<bool>,
    /// `openWorldHint`.
    #[serde(default, rename = "openWorldHint")]
    pub open_world: Option<bool>,
}

impl Hints {
    /// The effect of a tool of which nothing else is known.
    #[must_use]
    pub const fn effect(self) -> Effect {
        match (self.destructive, self.open_world) {
            (Some(true), _) => Effect::Destructive,
            (Some(false) | None, Some(true)) => Effect::External,
            (Some(false) | None, Some(false) | None) => Effect::Write,
        }
    }
}

/// What is remembered of a tool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Definition {
    /// Hash of the definition; none for a tool that was not listed, or not in a way that has only
    /// one meaning.
    pub hash: Option<Digest>,
    /// Its hints.
    pub hints: Hints,
}

/// The tools that were listed in this session since the server last said that they have changed.
#[derive(Debug, Default)]
pub struct Catalog {
    tools: BTreeMap<String, Definition>,
    /// What the client was told of them last, before a change or after: what the model acts on.
    shown: BTreeMap<String, Definition>,
    /// How often the server has said so.
    generation: u64,
    /// Whether there is nothing more to learn.
    whole: bool,
}

#[derive(Deserialize)]
struct Listed {
    tools: Vec<Tool>,
}

#[derive(Serialize, Deserialize)]
struct Tool {
    name: String,
    #[serde(default)]
    description: Value,
    #[serde(default, rename = "inputSchema")]
    input_schema: Value,
    #[serde(default)]
    annotations: Value,
}

impl Catalog {
    /// How often the server has said that its tools have changed.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// The server says that its tools have changed: nothing is known of them any more.
    pub fn changed(&mut self) {
        self.tools.clear();
        self.generation += 1;
        self.whole = false;
    }

    /// All was learned of this generation that there is to learn.
    pub const fn learned_all(&mut self, generation: u64) {
        self.whole |= generation == self.generation;
    }

    /// Whether to ask for the list of tools would say anything new of `tool`.
    #[must_use]
    pub fn knows(&self, tool: &str) -> bool {
        self.whole || self.tools.contains_key(tool)
    }

    /// Takes the tools from a result of `tools/list`, which was asked for in this generation: an
    /// older one says what was so before a change. What is not understood is not taken, so that its
    /// tools go without a hash.
    pub fn learn(&mut self, generation: u64, result: &str) {
        if generation == self.generation {
            take(&mut self.tools, result);
        } else {
            tracing::debug!("a list of tools from before they changed is not taken");
        }
    }

    /// The same for a result that the client gets to see, which counts for what it was shown however
    /// old it is.
    pub fn show(&mut self, generation: u64, result: &str) {
        take(&mut self.shown, result);
        self.learn(generation, result);
    }

    /// Whether the client was shown another definition of `tool` than the server has told since.
    #[must_use]
    pub fn is_shown_otherwise(&self, tool: &str) -> bool {
        match (self.shown.get(tool), self.tools.get(tool)) {
            (Some(shown), Some(known)) => shown.hash != known.hash,
            (None, _) | (_, None) => false,
        }
    }

    /// What is known of `tool`: what the server has told last, or what the client was shown.
    #[must_use]
    pub fn of(&self, tool: &str) -> Definition {
        self.tools.get(tool).or_else(|| self.shown.get(tool)).copied().unwrap_or_default()
    }
}

fn take(into: &mut BTreeMap<String, Definition>, result: &str) {
    let listed = match parse_strict(result.as_bytes(), LIMITS) {
        Ok(listed) => listed,
        Err(error) => {
            tracing::warn!(%error, "the server's list of tools is not understood");
            return;
        }
    };
    let Ok(Listed { tools }) = serde_json::from_value(listed) else {
        tracing::warn!("the server's list of tools is none");
        return;
    };
    for tool in tools {
        if into.len() >= TOOLS_MAX && !into.contains_key(&tool.name) {
            tracing::warn!(TOOLS_MAX, "the server has more tools than are remembered");
            return;
        }
        let hints = serde_json::from_value(tool.annotations.clone()).unwrap_or_default();
        let definition = Definition { hash: hash(&tool), hints };
        into.insert(tool.name, definition);
    }
}

fn hash(tool: &Tool) -> Option<Digest> {
    let canonical = canonical(&serde_json::to_value(tool).ok()?).ok()?;
    Some(Digest(blake3::derive_key(CONTEXT, &canonical)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(tools: &str) -> Catalog {
        let mut catalog = Catalog::default();
        catalog.learn(0, &format!(r#"{{"tools":{tools}}}"#));
        catalog
    }

    #[test]
    fn a_definition_has_one_hash_in_every_spelling() {
        let a =
            learned(r#"[{"name":"t","description":"d","inputSchema":{"a":1,"b":2},"title":"x"}]"#);
        let b = learned(
            r#"[{"inputSchema":{"b":2.0,"a":1},"annotations":null,"description":"\u0064","name":"t"}]"#,
        );
        assert!(a.of("t").hash.is_some());
        assert_eq!(a.of("t"), b.of("t"));
    }

    #[test]
    fn whatever_an_agent_goes_by_changes_the_hash() {
        let base = learned(r#"[{"name":"t","description":"d","inputSchema":{}}]"#).of("t").hash;
        for other in [
            r#"[{"name":"t","description":"e","inputSchema":{}}]"#,
            r#"[{"name":"t","description":"d","inputSchema":{"x":1}}]"#,
            r#"[{"name":"t","description":"d","inputSchema":{},"annotations":{"readOnlyHint":true}}]"#,
        ] {
            assert_ne!(learned(other).of("t").hash, base, "{other}");
        }
    }

    #[test]
    fn a_list_that_could_be_read_in_two_ways_teaches_nothing() {
        for bad in [r#"[{"name":"t","name":"u"}]"#, r#"[{"nam":"t"}]"#, "7"] {
            assert_eq!(learned(bad).of("t"), Definition::default(), "{bad}");
        }
    }

    #[test]
    fn a_change_makes_everything_unknown_and_older_lists_worthless() {
        let mut catalog = learned(r#"[{"name":"t"}]"#);
        assert!(catalog.knows("t") && !catalog.knows("u"));
        catalog.learned_all(0);
        assert!(catalog.knows("u"));
        catalog.changed();
        assert!(!catalog.knows("t") && catalog.of("t") == Definition::default());
        catalog.learn(0, r#"{"tools":[{"name":"t"}]}"#);
        catalog.learned_all(0);
        assert!(!catalog.knows("t"));
        catalog.learn(catalog.generation(), r#"{"tools":[{"name":"t"}]}"#);
        assert!(catalog.knows("t") && catalog.of("t").hash.is_some());
    }

    #[test]
    fn what_the_client_was_shown_counts_however_old_it_is() {
        let (one, other) = (
            r#"{"tools":[{"name":"t","description":"one"}]}"#,
            r#"{"tools":[{"name":"t","description":"another"}]}"#,
        );
        let mut catalog = Catalog::default();
        catalog.show(0, one);
        assert!(catalog.knows("t") && !catalog.is_shown_otherwise("t"));
        // The server says that its tools changed, and answers the gate with another definition.
        catalog.changed();
        assert!(!catalog.is_shown_otherwise("t") && catalog.of("t").hash.is_some());
        catalog.learn(1, other);
        assert!(catalog.is_shown_otherwise("t"));
        // A list that was asked for before the change comes late and says something else still.
        catalog.show(0, one);
        assert!(catalog.is_shown_otherwise("t"));
        catalog.show(1, other);
        assert!(!catalog.is_shown_otherwise("t"));
    }

    #[test]
    fn hints_are_read_where_they_are_booleans() {
        let catalog = learned(
            r#"[{"name":"t","annotations":{"destructiveHint":true}},{"name":"u","annotations":{"destructiveHint":"yes"}}]"#,
        );
        assert_eq!(catalog.of("t").hints.effect(), Effect::Destructive);
        assert_eq!(catalog.of("u").hints, Hints::default());
    }
}
