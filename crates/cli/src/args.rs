//! What can be said on the command line, as it is said. Ids and lengths of time are parsed here,
//! so that a misspelt one is a usage error; everything that depends on more than the command line
//! is `config`'s.

use std::path::PathBuf;

use bailiwick_core::event::Constraint;
use bailiwick_core::id::{
    Action, AgentId, GrantId, GrantRequestId, OwnerId, PolicyId, Resource, TaskId, Text, ToolId,
};
use bailiwick_core::time::Span;
use clap::{Parser, Subcommand};

mod approvals;
mod grants;
mod local;
mod query;
mod registry;
mod schema;
mod tools;

pub(crate) use approvals::{Approvals, ApprovalsVerb, Approve, Deny, No, Yes};
pub(crate) use grants::{Part, Review};
#[cfg(test)]
pub(crate) use local::ISSUERS;
pub(crate) use local::{
    Archive, ArchiveVerb, Archiving, Asking, Completions, Demo, DemoServer, Dump, Gateway, Ledger,
    LedgerVerb, Offline, Serve, Verify, Which,
};
pub(crate) use query::{Query, QueryVerb, Story};
pub(crate) use registry::{
    Agent, AgentVerb, DelegateVerb, Key, KeyVerb, Owner, OwnerVerb, Properties, PropertiesVerb,
    Task, TaskVerb, Whose,
};
pub(crate) use schema::{Schema, SchemaVerb};
pub(crate) use tools::{Config, ConfigVerb, Tool, ToolVerb};

use crate::command::bench;

/// Decides, for each action of an AI agent, the smallest permission; records it before it takes
/// effect; and takes it back everywhere at once.
///
/// `bailiwick demo` shows all of it in a few seconds. `bailiwick serve` runs a ledger; the other
/// commands find it by `--url`, BAILIWICK_URL, or the data directory.
///
/// Exit codes: 0 done, 1 error, 2 usage, 3 denied, 4 verification failed.
#[derive(Debug, Parser)]
#[command(name = "bailiwick", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// One variant a verb, in the order in which a newcomer needs them. A variant without words has
/// them at its arguments, where there are more of them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(Demo),
    Serve(Box<Serve>),
    Gateway(Gateway),
    /// Run the demo's small MCP server: support cases, tickets, downloads, mail
    DemoServer(DemoServer),
    /// Owners: the humans on whose behalf agents act
    Owner(Owner),
    /// Agents: what acts, each under one owner
    Agent(Agent),
    /// Tasks: what an agent was asked to do
    Task(Task),
    /// Properties of owners, agents and resources, for policies to read
    Properties(Properties),
    /// Tools: the definitions that they are held to
    Tool(Tool),
    /// Policies: what may be granted at all, in Cedar
    Policy(Policy),
    /// Input schemas: which arguments of an action policies may read, and as what
    Schema(Schema),
    /// Grants: who may do what, to what, until when, how often
    Grant(Grant),
    /// Look at what an owner's agents may do, and keep or revoke each grant
    Review(Review),
    /// Approvals: what waits for a person
    Approvals(Approvals),
    /// Say yes to what is shown
    Approve(Approve),
    /// Say no to what an agent asked for
    Deny(Deny),
    /// Take permissions back, everywhere at once
    Revoke(Revoke),
    /// Lift the suspension that a revocation left: who it named may ask again, grants stay ended
    #[command(visible_alias = "reinstate")]
    Lift(Lift),
    /// List enforcement points: who hears of revocations, and whether each still may act
    Points(Points),
    /// Follow revocations as they happen
    Watch(Watch),
    /// List the record itself, event by event
    Events(Events),
    Sql(Sql),
    /// Ask the record one of the questions that auditors ask, by name
    Query(Query),
    Story(Story),
    Verify(Verify),
    /// Work on a ledger that no server has open
    Ledger(Ledger),
    Archive(Archive),
    /// API keys
    Key(Key),
    /// Settings: how the ledger decides, where that is a matter of choice
    Config(Config),
    /// Look for what is wrong with a server, its data directory and its NATS
    Doctor(Doctor),
    /// Measure
    Bench(bench::Args),
    /// Print a completion script for a shell
    Completions(Completions),
}

/// Where the server is, and how answers are shown.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Access {
    /// URL of the server [env: BAILIWICK_URL] [default: the data directory's own]
    #[arg(long, global = true, value_name = "URL", help_heading = "Server")]
    pub(crate) url: Option<String>,
    /// API key [env: BAILIWICK_KEY] [default: the data directory's admin key]; others can read a
    /// command line, so prefer the variable
    #[arg(long, global = true, value_name = "KEY", help_heading = "Server")]
    pub(crate) key: Option<String>,
    /// Data directory of a server on this machine [env: BAILIWICK_DATA] [default: bailiwick-data]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Server")]
    pub(crate) data: Option<PathBuf>,
    /// Configuration file [env: BAILIWICK_CONFIG] [default: bailiwick.toml where there is one]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Server")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true, help_heading = "Server")]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Policy {
    #[command(flatten)]
    pub(crate) access: Access,
    #[command(subcommand)]
    pub(crate) verb: PolicyVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyVerb {
    /// Put policies on the stage, one a file; its id is the file's name without `.cedar`
    Put {
        /// Files of one Cedar policy each
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The policy's id, with a single file
        #[arg(long)]
        id: Option<PolicyId>,
        /// Why it is written
        #[arg(long, value_name = "TEXT")]
        reason: Option<Text>,
        /// Let the whole stage take effect afterwards
        #[arg(long)]
        activate: bool,
    },
    /// List policies, on the stage and in force
    List,
    /// Print one policy
    Show {
        /// Its id
        id: PolicyId,
    },
    /// Take a policy off the stage; it stays in force until the stage is activated
    Remove {
        /// Its id
        id: PolicyId,
    },
    /// Let the stage take effect, all of it at once
    Activate,
    /// Check policies without a server, each and all together, with line and column of every fault
    Check {
        /// Files of one Cedar policy each, or directories of them
        #[arg(required = true, value_name = "FILE|DIR")]
        files: Vec<PathBuf>,
        /// The input schema of an action, for policies that read its arguments; may be repeated
        #[arg(long = "schema", value_name = "ACTION=FILE", value_parser = schema::named)]
        schemas: Vec<(Action, PathBuf)>,
    },
    /// Show what would change if these files were all the policies there are
    Diff {
        /// Files of one Cedar policy each, or directories of them
        #[arg(required = true, value_name = "FILE|DIR")]
        files: Vec<PathBuf>,
        /// Compare with the stage instead of what is in force
        #[arg(long)]
        staged: bool,
        /// End with 1 if anything would change
        #[arg(long)]
        exit_code: bool,
    },
    /// Play given/when/then files without a server: which calls policies allow, and which they deny
    Test {
        /// TOML files of cases
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Grant {
    #[command(flatten)]
    pub(crate) access: Access,
    #[command(subcommand)]
    pub(crate) verb: GrantVerb,
}

/// What a grant is to allow.
#[derive(Debug, clap::Args)]
pub(crate) struct Terms {
    /// Who is to hold it
    #[arg(long, value_name = "AGENT")]
    pub(crate) agent: AgentId,
    /// To do what, such as `crm/read_case`
    #[arg(long)]
    pub(crate) action: Action,
    /// To what: `crm://case/1234`, or all below a prefix as `crm://case/**`
    #[arg(long, visible_alias = "resource")]
    pub(crate) scope: String,
    /// For which task only
    #[arg(long)]
    pub(crate) task: Option<TaskId>,
    /// How long it is good for, such as `5m`
    #[arg(long, value_name = "LENGTH")]
    pub(crate) ttl: Option<Span>,
    /// How often it may be used
    #[arg(long, value_name = "N")]
    pub(crate) max_uses: Option<u32>,
    /// Why
    #[arg(long, value_name = "TEXT", visible_alias = "why")]
    pub(crate) justification: Option<Text>,
    /// What an argument of a call has to be, such as `/path=prefix:/srv/reports/`,
    /// `/amount=max:500`, `/to=equal:alice` or `/to=one-of:["alice", "bob"]`; may be repeated
    #[arg(long = "where", value_name = "/POINTER=RULE:VALUE")]
    pub(crate) constraints: Vec<Constraint>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GrantVerb {
    /// Issue a grant as an operator; policy is asked again at every use
    Issue {
        #[command(flatten)]
        terms: Terms,
        /// From when, such as 2026-11-23T08:00:00Z
        #[arg(long, value_name = "MOMENT")]
        not_before: Option<String>,
        /// The request that it answers
        #[arg(long)]
        request: Option<GrantRequestId>,
    },
    /// Ask for a grant; policy may issue it at once, or an operator later
    Request {
        #[command(flatten)]
        terms: Terms,
    },
    /// List grants that are live or ended a short while ago
    List {
        /// Those of one agent
        #[arg(long)]
        agent: Option<AgentId>,
        /// Those of one task
        #[arg(long)]
        task: Option<TaskId>,
        /// Those that are good now
        #[arg(long)]
        live: bool,
        /// Requests that wait for an answer, instead
        #[arg(long, conflicts_with_all = ["agent", "task", "live"])]
        requests: bool,
    },
    /// Show one grant
    Show {
        /// Its id
        id: GrantId,
    },
    /// Give a part of a grant to another agent of the same owner; it dies with the grant
    Delegate {
        /// The grant's id
        id: GrantId,
        #[command(flatten)]
        part: Part,
    },
    /// Hand a grant back early
    Return {
        /// Its id
        id: GrantId,
    },
    /// Turn a request down
    Deny {
        /// The request's id
        id: GrantRequestId,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<Text>,
    },
}

/// What a revocation names.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Selector {
    /// All grants of an agent
    #[arg(long)]
    pub(crate) agent: Option<AgentId>,
    /// All grants of an owner and of the owner's agents
    #[arg(long)]
    pub(crate) owner: Option<OwnerId>,
    /// All grants of a task
    #[arg(long)]
    pub(crate) task: Option<TaskId>,
    /// All grants on a tool, such as `crm/read_case`
    #[arg(long)]
    pub(crate) tool: Option<ToolId>,
    /// All grants on a resource and what lies below it
    #[arg(long, value_name = "URI")]
    pub(crate) resource: Option<Resource>,
    /// One grant
    #[arg(long)]
    pub(crate) grant: Option<GrantId>,
    /// Everything
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Revoke {
    #[command(flatten)]
    pub(crate) access: Access,
    #[command(flatten)]
    pub(crate) selector: Selector,
    /// Why, in words
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<Text>,
    /// Why, in a word for programs
    #[arg(long, value_name = "WORD")]
    pub(crate) reason_code: Option<Text>,
    /// End the grants, but let new ones be issued
    #[arg(long)]
    pub(crate) grants_only: bool,
    /// Do not ask before everything is revoked
    #[arg(long)]
    pub(crate) yes: bool,
    /// Only show what it would hit; nothing is revoked and nothing is recorded
    #[arg(long, conflicts_with_all = ["yes", "wait"])]
    pub(crate) preview: bool,
    /// Wait until no enforcement point can act against it any more, at most so long [default: 5s]
    #[arg(long, value_name = "TIMEOUT", num_args = 0..=1, default_missing_value = "5s")]
    pub(crate) wait: Option<Span>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Lift {
    #[command(flatten)]
    pub(crate) access: Access,
    #[command(flatten)]
    pub(crate) selector: Selector,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<Text>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Points {
    #[command(flatten)]
    pub(crate) access: Access,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Watch {
    #[command(flatten)]
    pub(crate) access: Access,
    /// Begin behind this number of the feed; 0 is its start
    #[arg(long, value_name = "NUMBER")]
    pub(crate) after: Option<u64>,
    /// End after so many items
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Events {
    #[command(flatten)]
    pub(crate) access: Access,
    /// Those behind this index
    #[arg(long, value_name = "INDEX")]
    pub(crate) after: Option<u64>,
    /// The most to list; 0 is all of them
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
    /// Those of one kind, such as `call.denied`
    #[arg(long)]
    pub(crate) kind: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    Table,
    Csv,
    Json,
    /// A file for other programs; needs `--output`
    Parquet,
}

/// How an answer is shown, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Shown {
    /// How the answer is written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
    /// Write the answer to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// Ask the record, in SQL.
///
/// Only questions are answered: SELECT, EXPLAIN, SHOW, DESCRIBE; `show tables` lists the tables.
/// Without a question, on a terminal, questions are asked one by one.
///
/// Without `--data`, a running server is asked. With `--data DIR` the ledger in DIR is read, which
/// no server may have open: its chain is verified first, and nothing is recorded about the question.
#[derive(Debug, clap::Args)]
pub(crate) struct Sql {
    #[command(flatten)]
    pub(crate) access: Access,
    /// The question; `-` reads it from standard input
    pub(crate) sql: Option<String>,
    /// Read the question from a file; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "sql")]
    pub(crate) file: Option<PathBuf>,
    /// The value of a placeholder, such as `agent=support-bot` for `$agent`; may be repeated. What
    /// reads as a number, `true`, `false` or `null` is one, and `"5"` in quotes is a text
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = query::param)]
    pub(crate) params: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) shown: Shown,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) access: Access,
    /// URL of a nats-server's monitoring port, such as http://127.0.0.1:8222
    #[arg(long, value_name = "URL")]
    pub(crate) nats_monitor: Option<String>,
}

impl Command {
    /// Whether a failure is to be told as JSON.
    pub(crate) fn wants_json(&self) -> bool {
        match self {
            Self::Demo(args) => args.json,
            Self::Serve(args) => args.json,
            Self::Owner(args) => args.access.json,
            Self::Agent(args) => args.access.json,
            Self::Task(args) => args.access.json,
            Self::Properties(args) => args.access.json,
            Self::Tool(args) => args.access.json,
            Self::Policy(args) => args.access.json,
            Self::Schema(args) => args.access.json,
            Self::Grant(args) => args.access.json,
            Self::Review(args) => args.access.json,
            Self::Approvals(args) => args.access.json,
            Self::Approve(args) => args.access.json,
            Self::Deny(args) => args.access.json,
            Self::Revoke(args) => args.access.json,
            Self::Lift(args) => args.access.json,
            Self::Points(args) => args.access.json,
            Self::Watch(args) => args.access.json,
            Self::Events(args) => args.access.json,
            Self::Sql(args) => args.access.json || args.shown.format == Format::Json,
            Self::Query(args) => args.wants_json(),
            Self::Story(args) => args.access.json,
            Self::Verify(args) => args.json,
            Self::Ledger(args) => args.access.json,
            Self::Archive(args) => args.access.json,
            Self::Key(args) => args.access.json,
            Self::Config(args) => args.access.json,
            Self::Doctor(args) => args.access.json,
            Self::Gateway(_) | Self::DemoServer(_) | Self::Bench(_) | Self::Completions(_) => false,
        }
    }
}
