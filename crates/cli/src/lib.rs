//! The hand: the `bailiwick` binary, and everything in it.
//!
//! [`run`] turns the command line into an exit code. `args` is what can be said, as it is said;
//! `config` adds the environment and `bailiwick.toml` and checks the whole; `command` has one file
//! a verb; `service` is a running server, for `serve` and `demo` alike; [`verify`] reads a ledger
//! and believes nothing; `show` is what people and programs see; `exit` says what a failure costs.
//!
//! The library is for this crate's own tests:
//!
//! ```
//! use bailiwick_cli::verify::{self, Bodies, KeyRing, PublicKey};
//!
//! let key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]).verifying_key().to_bytes();
//! let walk = verify::Walk::new(KeyRing::new(&PublicKey(key))?, Bodies::Present, 2);
//! let fault = verify::dump(&b"no ledger"[..], walk, |_| ()).unwrap_err();
//! assert!(fault.to_string().starts_with("entry 1, event 0:"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! This crate alone knows clap and `anyhow`, and picks every default. It decides nothing: whatever
//! a command changes, it asks the ledger to change.

use std::process::ExitCode;

use clap::Parser as _;

pub mod verify;

mod args;
mod command;
mod config;
mod demo;
mod exit;
mod moment;
mod service;
mod show;

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    let args = args::Args::parse();
    let json = args.command.wants_json();
    match command::run(args.command) {
        Ok(code) => code,
        Err(error) => exit::report(&error, json),
    }
}
