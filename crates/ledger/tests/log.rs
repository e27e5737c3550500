//! Both logs against the one suite, with real faults: a real nats-server that is killed, real
//! connections that are cut, real processes that are killed while they write.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/nats.rs"]
mod nats;
#[path = "support/proxy.rs"]
#[expect(dead_code, reason = "the tests of the engine use more of it")]
mod proxy;

#[path = "log/embedded.rs"]
mod embedded;
#[path = "log/feed.rs"]
mod feed;
#[path = "log/jetstream.rs"]
mod jetstream;
#[path = "log/repair.rs"]
mod repair;
