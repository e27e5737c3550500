//! Tools and the definitions that they are held to, and the settings.

use bailiwick_core::event::{Effect, Pinning};
use bailiwick_core::id::{Text, ToolId};
use bailiwick_core::record::hash::Digest;
use bailiwick_core::time::Span;
use clap::Subcommand;

use super::Access;

#[derive(Debug, clap::Args)]
pub(crate) struct Tool {
    #[command(flatten)]
    pub(crate) access: Access,
    #[command(subcommand)]
    pub(crate) verb: ToolVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ToolVerb {
    /// List tools that are held to a definition
    List,
    /// Show one tool, and the other definition that it came with last
    Show {
        /// Which, such as crm/read_case
        tool: ToolId,
    },
    /// Hold a tool to a definition; a suspension since it changed is lifted, grants stay ended
    Pin {
        /// Which, such as crm/read_case
        tool: ToolId,
        /// Hash of its definition
        #[arg(long, value_name = "HEX")]
        hash: Digest,
        /// What it does to the world, where a call claims less: read, open, write, external or
        /// destructive
        #[arg(long, value_parser = effect)]
        effect: Option<Effect>,
        /// An argument that names what it acts on, such as /case_id; may be repeated
        #[arg(long = "target", value_name = "POINTER")]
        targets: Vec<Text>,
        /// What is known of its data flow, such as reads:private; may be repeated
        #[arg(long = "label", value_name = "TEXT")]
        labels: Vec<Text>,
    },
    /// Hold a tool to no definition any more: the next one that is seen counts as the first
    Unpin {
        /// Which, such as crm/read_case
        tool: ToolId,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<Text>,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Config {
    #[command(flatten)]
    pub(crate) access: Access,
    #[command(subcommand)]
    pub(crate) verb: ConfigVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Show the settings
    Show,
    /// Change settings; what is not said stays
    Set(Settings),
}

/// Settings to be changed.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Settings {
    /// Who says which definition of a tool is right: first_use or operator
    #[arg(long, value_parser = pinning)]
    pub(crate) pinning: Option<Pinning>,
    /// How long people may take to answer, such as `10m`
    #[arg(long, value_name = "LENGTH")]
    pub(crate) approval_ttl: Option<Span>,
}

fn effect(text: &str) -> Result<Effect, String> {
    let effects =
        [Effect::Read, Effect::Open, Effect::Write, Effect::External, Effect::Destructive];
    let named = effects.into_iter().find(|effect| effect.as_str() == text);
    named.ok_or_else(|| "it is read, open, write, external or destructive".to_owned())
}

fn pinning(text: &str) -> Result<Pinning, String> {
    match text {
        "first_use" | "first-use" => Ok(Pinning::FirstUse),
        "operator" => Ok(Pinning::Operator),
        _ => Err("it is first_use or operator".to_owned()),
    }
}
