//! The whole API over TCP: a real ledger on the embedded log, real audit tables, a real server and a
//! real HTTP client. One binary: each link of the query engine costs seconds.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod api {
    pub(crate) mod house;

    mod approvals;
    mod asked;
    mod attacks;
    mod authzen;
    mod bad_input;
    mod certification;
    mod checkpoints;
    mod enforce;
    mod grants;
    mod identity;
    mod keys;
    mod operate;
    mod preview;
    mod refused;
    mod registry;
    mod rest;
    mod retries;
    mod roles;
    mod server;
    mod stream;
}
