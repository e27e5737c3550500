//! Input schemas of actions.

use std::path::PathBuf;

use bailiwick_core::id::Action;
use clap::Subcommand;

use super::Access;

#[derive(Debug, clap::Args)]
pub(crate) struct Schema {
    #[command(flatten)]
    pub(crate) access: Access,
    #[command(subcommand)]
    pub(crate) verb: SchemaVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SchemaVerb {
    /// Put the input schema of one action on the stage
    Put {
        /// The action, such as `crm/refund`
        action: Action,
        /// JSON Schema of its arguments, `-` for standard input
        file: PathBuf,
    },
    /// Put the input schemas of all tools of a server on the stage
    Import {
        /// The server as the gateway names it: its tools are the actions `SERVER/TOOL`
        server: String,
        /// What the server answers to `tools/list`, `-` for standard input
        file: PathBuf,
    },
    /// List input schemas, and what policies cannot read of them
    List,
    /// Print one
    Show {
        /// The action
        action: Action,
    },
}

/// `ACTION=FILE`.
pub(super) fn named(text: &str) -> Result<(Action, PathBuf), String> {
    let (action, file) = text.split_once('=').ok_or("write it as `action=file`")?;
    Ok((Action::new(action).map_err(|e| e.to_string())?, PathBuf::from(file)))
}
