//! Owners, agents, tasks and keys.

use bailiwick_core::id::{
    ActionPattern, AgentId, CredentialId, GroupId, OwnerId, Resource, TaskId, Text,
};
use bailiwick_core::time::Span;
use clap::Subcommand;

use super::Access;

#[derive(Debug, clap::Args)]
pub(crate) struct Owner {
    #[command(flatten)]
    pub(crate) access: Access,
    #[command(subcommand)]
    pub(crate) verb: OwnerVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OwnerVerb {
    /// Register an owner
    Add {
        /// Who, such as alice@example.com
        owner: OwnerId,
        /// A group that the owner belongs to; may be repeated
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<GroupId>,
    },
    /// List owners
    List,
    /// Show one owner
    Show {
        /// Who
        owner: OwnerId,
    },
    /// Stop an owner and every agent of theirs
    Disable {
        /// Who
        owner: OwnerId,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<Text>,
    },
    /// Let a disabled owner and their agents act again
    Enable {
        /// Who
        owner: OwnerId,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<Text>,
    },
    /// Humans who may act through an owner's agents, within the owner's rights
    #[command(subcommand)]
    Delegate(DelegateVerb),
}

#[derive(Debug, Subcommand)]
pub(crate) enum DelegateVerb {
    /// Let a human act through an owner's agents, or say anew for how long
    Add {
        /// Whose agents
        owner: OwnerId,
        /// Who may
        delegate: OwnerId,
        /// For how long, such as `8h` [default: until it is taken back]
        #[arg(long, value_name = "LENGTH")]
        ttl: Option<Span>,
    },
    /// Take that back, at once
    Remove {
        /// Whose agents
        owner: OwnerId,
        /// Who no longer may
        delegate: OwnerId,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<Text>,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Properties {
    #[command(flatten)]
    pub(crate) access: Access,
    #[command(subcommand)]
    pub(crate) verb: PropertiesVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PropertiesVerb {
    /// Write all that is known of an owner, an agent or a resource
    Put {
        #[command(flatten)]
        of: Whose,
        /// A property, such as `status=archived`; a name that comes again has several values
        #[arg(value_name = "NAME=VALUE", required = true, value_parser = property)]
        properties: Vec<(String, String)>,
    },
    /// List everything that has properties
    List,
    /// Forget what is known of one
    Remove {
        #[command(flatten)]
        of: Whose,
    },
}

/// What has properties.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Whose {
    /// An owner
    #[arg(long)]
    pub(crate) owner: Option<OwnerId>,
    /// An agent
    #[arg(long)]
    pub(crate) agent: Option<AgentId>,
    /// A resource, exactly this one
    #[arg(long, value_name = "URI")]
    pub(crate) resource: Option<Resource>,
}

fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as `name=value`")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[derive(Debug, clap::Args)]
pub(crate) struct Agent {
    #[command(flatten)]
    pub(crate) access: Access,
    #[command(subcommand)]
    pub(crate) verb: AgentVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgentVerb {
    /// Register an agent under an owner
    Add {
        /// Its name
        agent: AgentId,
        /// The human it acts for
        #[arg(long)]
        owner: OwnerId,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        purpose: Text,
        /// An action that it may ask for at all, such as `crm/*`; may be repeated
        #[arg(long = "allow", value_name = "PATTERN", num_args = 1..)]
        allow: Vec<ActionPattern>,
        /// A group that it belongs to; may be repeated
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<GroupId>,
        /// How long it lives, such as `30d`
        #[arg(long, value_name = "LENGTH")]
        ttl: Option<Span>,
    },
    /// List agents
    List,
    /// Show one agent
    Show {
        /// Its name
        agent: AgentId,
    },
    /// Say how far an agent is distrusted, for policies to read
    Risk {
        /// Its name
        agent: AgentId,
        /// From 0 to 100
        risk: u8,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<Text>,
    },
    /// Stop an agent until it is reinstated
    Suspend {
        /// Its name
        agent: AgentId,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<Text>,
    },
    /// Let a suspended agent act again; grants from before stay ended
    Reinstate {
        /// Its name
        agent: AgentId,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<Text>,
    },
    /// Give an agent to another owner; its grants end, its tasks are closed, its keys stay
    Reassign {
        /// Its name
        agent: AgentId,
        /// The human it is to act for
        #[arg(long)]
        to: OwnerId,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<Text>,
    },
    /// End an agent's life; its name is never given again
    Retire {
        /// Its name
        agent: AgentId,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<Text>,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Task {
    #[command(flatten)]
    pub(crate) access: Access,
    #[command(subcommand)]
    pub(crate) verb: TaskVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TaskVerb {
    /// Open a task; the ledger gives its id
    Open {
        /// Who is asked
        #[arg(long)]
        agent: AgentId,
        /// What was asked, in words; only a keyed digest of them is recorded
        #[arg(long, value_name = "TEXT")]
        statement: Option<String>,
        /// What sort of task, for comparison with others of its sort
        #[arg(long, value_name = "WORD")]
        sort: Option<Text>,
        /// A resource that the statement names; may be repeated
        #[arg(long = "target", value_name = "URI")]
        targets: Vec<Resource>,
    },
    /// List open tasks
    List {
        /// Those of one agent
        #[arg(long)]
        agent: Option<AgentId>,
    },
    /// Close a task; its grants end
    Close {
        /// Its id
        task: TaskId,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<Text>,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Key {
    #[command(flatten)]
    pub(crate) access: Access,
    #[command(subcommand)]
    pub(crate) verb: KeyVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyVerb {
    /// Make a key; it is shown this once
    Issue {
        /// The key's public name [default: its role and a random number]
        name: Option<CredentialId>,
        /// What its holder may do
        #[arg(long, value_parser = ["admin", "operator", "approver", "enforcer", "agent", "auditor", "subscriber"])]
        role: String,
        /// The agent it speaks for, with `--role agent`
        #[arg(long)]
        agent: Option<AgentId>,
        /// The human who holds it: with `--role approver` it approves in this person's name
        #[arg(long)]
        owner: Option<OwnerId>,
        /// How long it works, such as `90d`
        #[arg(long, value_name = "LENGTH")]
        ttl: Option<Span>,
    },
    /// List keys by their public names, each with the minute of its last use since the server's start
    List,
    /// Put another key in the place of one; it is shown this once, and the old one ends a little later
    Rotate {
        /// The old key's public name
        name: CredentialId,
        /// The new key's public name [default: the old one's with the next number, such as `ci.2`]
        #[arg(long = "as", value_name = "NAME")]
        new_name: Option<CredentialId>,
        /// How long the old key still works, at most 30d [default: 1h]
        #[arg(long, value_name = "LENGTH")]
        overlap: Option<Span>,
    },
    /// Let a key work no more
    Revoke {
        /// The key's public name
        name: CredentialId,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<Text>,
    },
}
