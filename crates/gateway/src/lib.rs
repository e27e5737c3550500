//! The gate: agents' calls to tools.
//!
//! An MCP client starts the gate where it would have started a server; the gate starts the server
//! and stands in between. It asks an [`Authority`](bailiwick_client::Authority) about every tool
//! call, passes on the very bytes that were decided about, records what came of them, and cuts what
//! runs when a revocation covers it or its lease ends.
//!
//! ```no_run
//! # use bailiwick_gateway::{mapping::{Mapping, ServerName}, pipeline::Config, stdio, upstream::stdio::Launch};
//! # async fn gate(ledger: bailiwick_client::Http) -> Result<(), Box<dyn std::error::Error>> {
//! let command: Vec<String> = ["npx", "-y", "server-filesystem", "/srv"].map(String::from).to_vec();
//! let server = ServerName::from_command(&command)?;
//! let mapping = Mapping::unmapped(server, std::env::current_dir()?);
//! let agent = "support".parse()?;
//! let point = format!("gateway-support-{:08x}", rand::random::<u32>()).parse()?;
//! let wait_for_approval = std::time::Duration::ZERO;
//! let config = Config { agent, on_behalf_of: None, task: None, mapping, wait_for_approval, point };
//! let launch = Launch { command, environment: vec![], directory: None };
//! let (from, to) = stdio::streams();
//! let status = stdio::run(config, &launch, ledger.into(), from, to).await?;
//! std::process::exit(status.code().into());
//! # }
//! ```
//!
//! Read in this order: [`pipeline`] is the gate itself, with the rules of what passes; [`frame`] is
//! what a message is; [`mapping`] and [`catalog`] say what a call means; [`denial`] how it is
//! refused; [`upstream`] is the server's side and [`stdio`] the whole on standard streams.
//! [`demo_server`] is a small MCP server to stand in front of. Streamable HTTP with both protocol
//! eras, the filter on `tools/list`, decisions about resources and prompts, elicitation of approvals
//! and forward authorization have their places beside these.
//!
//! This crate alone knows MCP. It knows nothing of the ledger but its `Authority`: no NATS, no axum,
//! no storage, no policy. It fails closed: no decision, no call.

pub mod pipeline;

pub mod catalog;
pub mod demo_server;
pub mod denial;
mod error;
pub mod frame;
pub mod mapping;
pub mod stdio;
pub mod upstream;

pub use error::Error;
