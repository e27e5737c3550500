//! The desk: people and programs come in over HTTP.
//!
//! [`serve`] opens the desk in front of a `bailiwick_ledger::Ledger` and a `bailiwick_audit::Audit`:
//! AuthZEN decisions (`POST /access/v1/evaluation`), REST for everything else that the ledger
//! knows (`/v1/…`), the revocation stream, audit questions, and what operators of servers need
//! (`/healthz`, `/readyz`, `/metrics`, `/openapi.json`).
//!
//! ```no_run
//! use std::{num::NonZeroUsize, sync::Arc};
//! # async fn start(ledger: bailiwick_ledger::Ledger, audit: Arc<bailiwick_audit::Audit>) -> Result<(), bailiwick_api::Error> {
//! let config = bailiwick_api::Config {
//!     listen: ([127, 0, 0, 1], 7420).into(),
//!     tls: None,
//!     allow_plain: false,
//!     threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
//!     public_url: None,
//!     person_types: bailiwick_api::PERSON_TYPES.map(str::to_owned).to_vec(),
//!     issuers: Vec::new(),
//!     count_refused: std::time::Duration::from_secs(1),
//!     bench: false,
//! };
//! let server = bailiwick_api::serve(config, ledger, audit)?;
//! println!("listening on {}", server.local_addr());
//! server.wait().await;
//! # Ok(())
//! # }
//! ```
//!
//! Read in this order: [`server`] runs a thread a core, each with its own listener; `route` is the
//! list of everything that is offered; `auth` turns a key or token into a caller
//! ([`token`] has what makes a token believable), `body` a body into a typed
//! request, and `command` a request into an answer from the ledger, the same way for every route;
//! `authzen` is the path of a decision, kept short; `rest` has one file for each kind of thing;
//! `stream` is the revocation feed, and `enforce` knows who has acknowledged it; [`problem`] is the
//! list of everything that can be wrong with a request.
//!
//! A request is parsed here, once, into the types of `bailiwick_core`; nothing is decided here but
//! whether a role may read. This crate alone knows axum, and no type of it crosses this API. It
//! knows nothing of NATS, MCP, Cedar and DataFusion, keeps no key, and holds no state of its own but
//! which enforcement points there are, which is worth a few seconds.

pub mod problem;
pub mod server;
pub mod token;

mod asked;
mod auth;
mod authzen;
mod body;
mod command;
mod desk;
mod enforce;
mod error;
mod moment;
mod openapi;
mod operate;
mod page;
mod refused;
mod rest;
mod route;
mod stream;

pub use asked::{Questions, WAITING_MAX};
pub use auth::Readers;
pub use authzen::PERSON_TYPES;
pub use error::Error;
pub use openapi::document as openapi;
pub use rest::credentials::new_key;
pub use server::{Config, Server, serve};
