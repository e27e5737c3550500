//! What runs on this machine: servers, the gateway, and work on a ledger's own files.

use std::path::PathBuf;

use bailiwick_core::id::{AgentId, OwnerId, PointId, TaskId};
use bailiwick_core::record::{Link, PublicKey};
use bailiwick_core::time::Span;
use clap::Subcommand;

use super::Access;

/// Run the whole story with real parts, in a few seconds, and check every step of it.
///
/// A ledger, its HTTP server, the real gateway in front of a real MCP server, an agent that gets
/// permissions just in time and loses all of them at once, a hijacked one that is torn down, the
/// story in SQL, and the proof of the chain. Exits 0 only if every step went as it must.
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// Keep the ledger in this directory, which must not hold one yet [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Store the ledger on NATS JetStream
    #[arg(long, value_name = "URL")]
    pub(crate) nats: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// How access tokens are taken, for those who read about `serve`.
pub(crate) const ISSUERS: &str = r#"Access tokens (JWT, RFC 9068) are taken beside API keys from each issuer that `bailiwick.toml` names.
`sub`, or `subject_claim`, is the owner and the outermost `act.sub` the agent, which then is all that the token speaks for.
Without `act` it comes in the role that its scopes give, or is refused.

[[issuers]]
issuer = "https://id.example.com"          # exactly as in `iss`
audience = "https://bailiwick.example.com" # as in `aud` [default: the public URL]
jwks_uri = "https://id.example.com/keys"   # [default: as the issuer's metadata says]
algorithms = ["RS256", "ES256"]            # [default: RS256, PS256, ES256, EdDSA]
plain_jwt = false                          # take type `JWT` beside `at+jwt`
skew = "30s"                               # between the clocks, at most 60s
subject_claim = "sub"                      # or `email`, if the issuer vouches for it
roles_claim = "scope"                      # or one that lists texts, such as `roles`
roles = { "bailiwick:auditor" = "auditor" } # [default: `bailiwick:ROLE`, but for `admin`]
admin = false                              # whether `roles` may give `admin`"#;

/// Run a ledger and serve it over HTTP.
///
/// Each flag can also stand in the environment (BAILIWICK_DATA, BAILIWICK_LISTEN, BAILIWICK_NATS,
/// BAILIWICK_REPLICAS, …) or in `bailiwick.toml` (`data = "…"`, `listen = "…"`, …); flags are
/// stronger than the environment, and that is stronger than the file.
#[derive(Debug, Default, clap::Args)]
#[command(after_long_help = ISSUERS)]
pub(crate) struct Serve {
    /// Directory of keys, anchor, snapshot and the embedded log [default: bailiwick-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:7420]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// Name of the ledger [default: default]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Store entries on NATS JetStream at nats://host:port, instead of in the data directory
    #[arg(long, value_name = "URL")]
    pub(crate) nats: Option<String>,
    /// Copies of the stream: 1, 3 or 5 [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) replicas: Option<String>,
    /// A NATS credentials file
    #[arg(long, value_name = "FILE")]
    pub(crate) nats_creds: Option<PathBuf>,
    /// Certificates of NATS servers to trust besides the system's, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) nats_ca: Option<PathBuf>,
    /// Where to listen for PostgreSQL clients, such as 127.0.0.1:5433 [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) pg_listen: Option<String>,
    /// Certificate chain for TLS, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Serve plain HTTP on an address that other machines reach
    #[arg(long)]
    pub(crate) allow_plain: bool,
    /// What the server is called from outside, such as https://bailiwick.example.com
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,
    #[command(flatten)]
    pub(crate) archive: Archiving,
    #[command(flatten)]
    pub(crate) sql: Asking,
    /// How often the ledger's tree is signed, where there is news, or `never` [default: 10m]
    #[arg(long, value_name = "TIME")]
    pub(crate) checkpoint_every: Option<String>,
    /// Accept a ledger that this node has never seen: compare its checkpoint with another node's
    /// first
    #[arg(long)]
    pub(crate) trust_head: bool,
    /// Accept the system's clock although it does not fit the ledger
    #[arg(long)]
    pub(crate) trust_clock: bool,
    /// Configuration file [env: BAILIWICK_CONFIG] [default: bailiwick.toml where there is one]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print where it listens as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where older rows are kept for questions. The ledger itself keeps everything.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Archive")]
pub(crate) struct Archiving {
    /// A directory, s3://bucket/prefix (with AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID … as usual), or
    /// `none` to keep all rows in memory [default: archive in the data directory]
    #[arg(long, value_name = "PLACE")]
    pub(crate) archive: Option<String>,
    /// Events that make a segment full [default: 1048576]
    #[arg(long, value_name = "N")]
    pub(crate) archive_events: Option<String>,
    /// How old rows may become before they are sealed [default: 15m if there are 16384, else 1d]
    #[arg(long, value_name = "TIME")]
    pub(crate) archive_after: Option<String>,
    /// How long sealed rows are kept, such as 400d [default: for ever]
    #[arg(long, value_name = "TIME")]
    pub(crate) archive_keep: Option<String>,
}

/// What questions to the record may take.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Asking {
    /// The most rows of an answer [default: 100000]
    #[arg(long, value_name = "N", help_heading = "Questions")]
    pub(crate) sql_rows: Option<String>,
    /// The most bytes of an answer [default: 64MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Questions")]
    pub(crate) sql_bytes: Option<String>,
    /// How long an answer may take, at most 60s [default: 10s]
    #[arg(long, value_name = "TIME", help_heading = "Questions")]
    pub(crate) sql_time: Option<String>,
    /// Working memory of one question [default: 256MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Questions")]
    pub(crate) sql_memory: Option<String>,
    /// Working memory of all questions together [default: four times that of one]
    #[arg(long, value_name = "SIZE", help_heading = "Questions")]
    pub(crate) sql_memory_all: Option<String>,
    /// Questions at once; others wait within their time [default: 2 a thread, of 4 at most]
    #[arg(long, value_name = "N", help_heading = "Questions")]
    pub(crate) sql_at_once: Option<String>,
    /// Room in the data directory for what sorts write, of all questions; 0 for none [default: 1GiB]
    #[arg(long, value_name = "SIZE", help_heading = "Questions")]
    pub(crate) sql_spill: Option<String>,
}

/// Work on the archive of older rows.
#[derive(Debug, clap::Args)]
pub(crate) struct Archive {
    #[command(flatten)]
    pub(crate) access: Access,
    #[command(subcommand)]
    pub(crate) verb: ArchiveVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ArchiveVerb {
    /// Show how a server's archive stands
    Status,
    /// Have a server seal what is in memory, without waiting until it is time to
    Seal,
    /// Make a stopped ledger's archive anew, from the ledger
    Rebuild(Offline),
    /// Compare a stopped ledger's archive with the ledger, every row and every file
    Verify(Offline),
}

/// A stopped ledger and its archive.
#[derive(Debug, clap::Args)]
pub(crate) struct Offline {
    #[command(flatten)]
    pub(crate) archive: Archiving,
    /// The ledger is on this NATS JetStream
    #[arg(long, value_name = "URL")]
    pub(crate) nats: Option<String>,
    /// Name of the ledger on NATS [default: default]
    #[arg(long, requires = "nats")]
    pub(crate) name: Option<String>,
}

/// Stand between an MCP client and an MCP server.
///
/// An MCP client starts this in the place of the server, whose command stands behind `--`. Every
/// tool call is put to the ledger first; a denied one is answered readably and never reaches the
/// server; a revocation cuts what runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Gateway {
    #[command(flatten)]
    pub(crate) access: Access,
    /// Speak MCP on standard input and output
    #[arg(long, required = true)]
    pub(crate) stdio: bool,
    /// Who calls
    #[arg(long)]
    pub(crate) agent: AgentId,
    /// Under which task [default: a new one for this session]
    #[arg(long)]
    pub(crate) task: Option<TaskId>,
    /// The authenticated human for whom the agent acts
    #[arg(long, value_name = "OWNER")]
    pub(crate) on_behalf_of: Option<OwnerId>,
    /// The server's name, as in `crm/read_case` [default: the mapping's, or made of the command]
    #[arg(long, value_name = "NAME")]
    pub(crate) server: Option<String>,
    /// What the server's tools mean: a `tools.toml`
    #[arg(long, value_name = "FILE")]
    pub(crate) tools: Option<PathBuf>,
    /// Wait so long for people when they have to approve a call, such as `2m` [default: answer at
    /// once, with what they need to find it]
    #[arg(long, value_name = "LENGTH")]
    pub(crate) wait_for_approval: Option<Span>,
    /// Its name as an enforcement point; each start adds eight random digits [default:
    /// gateway-AGENT]
    #[arg(long, value_name = "NAME")]
    pub(crate) point: Option<PointId>,
    /// A variable that the server gets besides the usual ones; may be repeated
    #[arg(long = "env", value_name = "NAME")]
    pub(crate) environment: Vec<String>,
    /// The server's command
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DemoServer {
    /// Directory in which used download tickets are remembered [default: memory]
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}

/// Verify a ledger, from a dump or a data directory, believing nothing.
///
/// Every link, digest, number, time and signature is computed anew from the stored bytes. The first
/// thing that is wrong is named by entry and event, and the exit code is 4.
///
/// A ledger proves itself under a key: give the one that you know with `--key`. Without it, a data
/// directory is checked under its own signing key and anchor, and a dump under the key that it names
/// itself, which proves that it is whole, not whose it is.
///
/// A dump that was cut off after a whole entry verifies, as a shorter ledger. Who knows a later
/// count or link finds that out with `--expect-events` and `--expect-link`.
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// A dump, or a data directory that no server has open
    pub(crate) path: PathBuf,
    /// A key to trust, 64 hexadecimal digits: the ledger's first; for a copy without bodies also
    /// each later one
    #[arg(long = "key", value_name = "HEX")]
    pub(crate) keys: Vec<PublicKey>,
    /// The dump holds headers only
    #[arg(long)]
    pub(crate) headers: bool,
    /// Fail unless there are exactly so many events
    #[arg(long, value_name = "N")]
    pub(crate) expect_events: Option<u64>,
    /// Fail unless the last event has this link
    #[arg(long, value_name = "HEX")]
    pub(crate) expect_link: Option<Link>,
    /// The ledger of the data directory is on this NATS JetStream
    #[arg(long, value_name = "URL")]
    pub(crate) nats: Option<String>,
    /// Name of the ledger on NATS [default: default]
    #[arg(long, requires = "nats")]
    pub(crate) name: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Ledger {
    #[command(flatten)]
    pub(crate) access: Access,
    #[command(subcommand)]
    pub(crate) verb: LedgerVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LedgerVerb {
    /// Say what a ledger is and how far it goes; verifies it on the way
    Info(Which),
    /// Write a ledger into one file: each entry behind its length (u32, big-endian)
    Dump(Dump),
    /// Have a server sign the ledger's tree now, and print the note
    Checkpoint,
    /// Put back the end of a ledger that was rolled back, from what this node kept
    Repair(Which),
}

/// Which stopped ledger, where it is not in the data directory itself.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// The ledger is on this NATS JetStream
    #[arg(long, value_name = "URL")]
    pub(crate) nats: Option<String>,
    /// Name of the ledger on NATS [default: default]
    #[arg(long, requires = "nats")]
    pub(crate) name: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Dump {
    #[command(flatten)]
    pub(crate) which: Which,
    /// The file to write; it must not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Leave out the bodies: order, kinds, times and count can still be proven
    #[arg(long)]
    pub(crate) headers: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}
