//! What waits for a person.

use bailiwick_core::id::{AgentId, ApprovalId, Text};
use clap::Subcommand;

use super::Access;

#[derive(Debug, clap::Args)]
pub(crate) struct Approvals {
    #[command(flatten)]
    pub(crate) access: Access,
    #[command(subcommand)]
    pub(crate) verb: ApprovalsVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalsVerb {
    /// List what waits for people, or ended a short while ago
    List {
        /// Only those that stand so
        #[arg(long, value_parser = ["pending", "granted", "denied", "expired", "withdrawn"])]
        status: Option<String>,
        /// Only this agent's
        #[arg(long)]
        agent: Option<AgentId>,
    },
    /// Show what is asked: what an approval is bound to
    Show {
        /// Which, such as `approval_12`
        id: ApprovalId,
    },
    /// Say yes to what is shown
    Approve(Yes),
    /// Say no
    Deny(No),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Approve {
    #[command(flatten)]
    pub(crate) access: Access,
    #[command(flatten)]
    pub(crate) yes: Yes,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Deny {
    #[command(flatten)]
    pub(crate) access: Access,
    #[command(flatten)]
    pub(crate) no: No,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Yes {
    /// Which, such as `approval_12`
    pub(crate) id: ApprovalId,
    /// Why, in words
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<Text>,
    /// Do not ask after what is approved was shown
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct No {
    /// Which, such as `approval_12`
    pub(crate) id: ApprovalId,
    /// Why, in words; the agent is told
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<Text>,
}
