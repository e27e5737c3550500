//! The rules of Bailiwick: what is recorded, what follows from the record, what may be done.
//!
//! A [`command::Submission`] and the [`state::State`] go into [`decide::decide`], events come out;
//! [`state::State::apply`] folds events into the state; [`record`] puts them on a chain that anyone
//! can verify. [`policy`] asks Cedar, [`detect`] looks for drift, [`feed`] says what was taken back and
//! [`enforce`] who has taken notice.
//!
//! Everything here is pure and total: knows nothing of IO, clocks, chance, threads or async. Time
//! is an argument, ids are the indexes of events, and a replay gives the same state to the byte.
//!
//! ```
//! use bailiwick_core::command::{Answer, Command, Submission, WriteOwner};
//! use bailiwick_core::{decide::decide, event::Actor, id::OwnerId, state::State, time::Time};
//!
//! let owner = WriteOwner { owner: OwnerId::new("alice@example.com")?, groups: [].into() };
//! let command = Command::RegisterOwner(owner);
//! let submission = Submission { actor: Actor::System, request: None, trace: None, command };
//! let decided = decide(&State::new(), &submission, Time(1));
//! assert!(matches!(decided.answer, Answer::Done(_)));
//! assert_eq!(decided.events[0].fact.name(), "owner.registered");
//! # Ok::<(), bailiwick_core::id::IdError>(())
//! ```

pub mod arguments;
pub mod id;
pub mod properties;
pub mod time;

pub mod event;
pub mod record;

pub mod approval;
pub mod command;
pub mod decide;
pub mod detect;
pub mod policy;
pub mod state;

pub mod enforce;
pub mod feed;
pub mod json;
