//! Both logs against the one suite, with real faults: a real nats-server that is killed, real
//! connections that are cut, real processes that are killed while they write.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/nats.rs"]
mod nats;
#[path = "support/proxy.rs"]
mod proxy;

#[path = "log/embedded.rs"]
mod embedded;
#[path = "log/jetstream.rs"]
mod jetstream;
#[path = "log/repair.rs"]
mod repair;
