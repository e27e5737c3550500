//! Named audit questions.

use std::path::PathBuf;

use bailiwick_core::id::AgentId;
use clap::Subcommand;

use super::{Access, Format, Shown};

#[derive(Debug, clap::Args)]
pub(crate) struct Query {
    #[command(flatten)]
    pub(crate) access: Access,
    #[command(subcommand)]
    pub(crate) verb: QueryVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueryVerb {
    /// List named questions, and what each takes
    List,
    /// Show what one asks, takes and is evidence for, and its SQL
    Show {
        /// Its name
        name: String,
    },
    /// Ask one
    ///
    /// Without `--data`, a running server is asked. With `--data DIR` the ledger in DIR is read,
    /// which no server may have open: its chain is verified first, and nothing is recorded about
    /// the question.
    Run {
        /// Its name
        name: String,
        /// A parameter's value, such as `agent=support-bot` or `since=2026-11-01T00:00:00Z`; may be
        /// repeated
        #[arg(long = "param", value_name = "NAME=VALUE", value_parser = param)]
        params: Vec<(String, String)>,
        #[command(flatten)]
        shown: Shown,
    },
}

/// Tell what happened to one agent, in order, and why.
///
/// Grants, calls and what came of them, denials with their codes and policies, approvals,
/// findings, revocations. A server is asked, or with `--data DIR` the stopped ledger in DIR.
#[derive(Debug, clap::Args)]
pub(crate) struct Story {
    #[command(flatten)]
    pub(crate) access: Access,
    /// Whose story
    #[arg(long)]
    pub(crate) agent: AgentId,
    /// From when on, such as 2026-11-23T08:00:00Z
    #[arg(long, value_name = "MOMENT")]
    pub(crate) from: Option<String>,
    /// Until when
    #[arg(long, value_name = "MOMENT")]
    pub(crate) to: Option<String>,
    /// Write it as a page with a picture, which needs nothing else
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

impl Query {
    /// Whether answers are printed as JSON.
    pub(crate) fn wants_json(&self) -> bool {
        let asks_json = match &self.verb {
            QueryVerb::Run { shown, .. } => shown.format == Format::Json,
            QueryVerb::List | QueryVerb::Show { .. } => false,
        };
        self.access.json || asks_json
    }
}

/// `NAME=VALUE`.
pub(super) fn param(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as `name=value`")?;
    Ok((name.trim_start_matches('$').to_owned(), value.to_owned()))
}
