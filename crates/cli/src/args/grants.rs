//! Parts of grants, and their review.

use bailiwick_core::event::Constraint;
use bailiwick_core::id::{AgentId, GrantId, OwnerId, TaskId, Text};
use bailiwick_core::time::Span;

use super::Access;

/// What part of a grant another agent is to hold.
#[derive(Debug, clap::Args)]
pub(crate) struct Part {
    /// Who is to hold it
    #[arg(long, value_name = "AGENT")]
    pub(crate) to: AgentId,
    /// For which of that agent's tasks only; needed where the grant is for a task
    #[arg(long)]
    pub(crate) task: Option<TaskId>,
    /// To what; as the grant if not given
    #[arg(long, visible_alias = "resource")]
    pub(crate) scope: Option<String>,
    /// How long it is good for, such as `5m`, at most what the grant has left
    #[arg(long, value_name = "LENGTH")]
    pub(crate) ttl: Option<Span>,
    /// How often it may be used; each use is one of the grant's as well
    #[arg(long, value_name = "N")]
    pub(crate) max_uses: Option<u32>,
    /// What an argument of a call has to be beside what the grant demands, such as
    /// `/path=prefix:/srv/reports/`; may be repeated
    #[arg(long = "where", value_name = "/POINTER=RULE:VALUE")]
    pub(crate) constraints: Vec<Constraint>,
    /// Why
    #[arg(long, value_name = "TEXT", visible_alias = "why")]
    pub(crate) justification: Option<Text>,
}

/// Look at what an owner's agents may do, and keep or revoke each grant.
///
/// On a terminal it asks for each, those for which the glass was broken first; everywhere else it
/// lists them, and `--keep` and `--revoke` answer. Each answer is recorded.
#[derive(Debug, clap::Args)]
pub(crate) struct Review {
    #[command(flatten)]
    pub(crate) access: Access,
    /// Whose agents
    #[arg(long)]
    pub(crate) owner: OwnerId,
    /// A grant that is still needed; may be repeated
    #[arg(long, value_name = "GRANT", num_args = 1..)]
    pub(crate) keep: Vec<GrantId>,
    /// A grant that is not; may be repeated
    #[arg(long, value_name = "GRANT", num_args = 1..)]
    pub(crate) revoke: Vec<GrantId>,
    /// Why, recorded with each answer
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<Text>,
}
