//! The cord: a Rust program's way to ask, act and follow revocations over HTTP.
//!
//! A program that guards something asks an [`Authority`] before it acts, reports what came of it,
//! and follows the [revocations](revocations::Signal) meanwhile. There are two authorities:
//! [`Http`], a client of a running `bailiwick serve`, and the engine within the process, which the
//! `bailiwick` binary hands over where it hosts both.
//!
//! ```no_run
//! # use bailiwick_client::{authority::{Ask, Authority, LEASE, Ruling}, discover::{Sources, discover}};
//! # async fn act(ask: Ask) -> Result<(), bailiwick_client::Error> {
//! let ledger = discover(&Sources::from_environment("./bailiwick-data".as_ref()))?;
//! match ledger.authorize(ask).await? {
//!     Ruling::Allowed(permit) if permit.asked.elapsed() < LEASE => {
//!         println!("{} is on the chain at {}", permit.call, permit.receipt.index);
//!     }
//!     Ruling::Allowed(_) => println!("too late: ask again"),
//!     Ruling::Denied(denial) => println!("no: {}", denial.code),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Read in this order: [`authority`] is what an enforcement point needs and its types; [`http`] is
//! the client itself with plain `get` and `post` for everything else the server offers;
//! [`discover`](mod@discover) finds the server and the key; [`revocations`] is the feed, and
//! [`guard`] what a program that enforces makes of it: a lease held by pings, denials before anybody
//! is asked, and the word that something running is to be stopped.
//!
//! This crate knows HTTP. It knows nothing of axum, NATS, MCP or DataFusion, decides nothing, and
//! never turns a failure into a "yes".

pub mod authority;
pub mod discover;
mod error;
mod evaluation;
pub mod guard;
pub mod http;
pub mod revocations;
mod rfc3339;
mod sse;

pub use authority::Authority;
pub use error::Error;
pub use guard::Guard;
pub use http::Http;
pub use revocations::Revocations;
