//! The stream of a ledger's revocation feed: one message an item, its sequence the item's number
//! (`record.md` §6).

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;

pub(crate) use super::connect::Message;
use super::connect::{Connection, unavailable, wanted};
use super::{Config, Name};
use crate::Error;
use crate::error::report;

/// Messages that are sent before the first of them is acknowledged.
pub(crate) const MESSAGES_MAX: usize = 256;
/// The longest message; an item's texts have limits of their own that are well below it.
const BYTES_MAX: usize = 256 << 10;
/// How long the next acknowledgement may take.
const ACK_MAX: Duration = Duration::from_millis(500);
const STATE_MAX: Duration = Duration::from_millis(500);

/// The stream, on the connection of the ledger's own.
#[derive(Debug)]
pub(crate) struct FeedStream {
    connection: Arc<Connection>,
    name: Name,
    stream: String,
    replicas: usize,
}

/// The end of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Last {
    /// The last sequence; 0 when there never was a message.
    pub(crate) number: u64,
    /// The message that has it.
    pub(crate) message: Option<Message>,
}

/// What became of messages that were published one behind another.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Published {
    /// So many are stored, from the first on.
    pub(crate) stored: usize,
    /// Why it is not known of the others.
    pub(crate) doubt: Option<String>,
}

impl FeedStream {
    /// Makes the stream, or checks that the one that is there keeps all items.
    ///
    /// # Errors
    /// [`Error::StreamConfig`], [`Error::Unavailable`].
    pub(super) fn open(connection: Arc<Connection>, config: &Config) -> Result<Self, Error> {
        let (name, stream) = (config.name.clone(), config.name.feed_stream());
        let feed = Self { connection, name, stream, replicas: config.replicas };
        let made = feed.make_or_check();
        if let Err(Error::Unavailable { what }) = made {
            let stream = &feed.stream;
            let what = format!(
                "the feed's stream `{stream}` was neither found nor made: {what}; see that this \
                 identity may do both"
            );
            return Err(Error::Unavailable { what });
        }
        made?;
        Ok(feed)
    }

    /// As [`FeedStream::open`], for a stream that has gone since.
    pub(crate) fn make_or_check(&self) -> Result<(), Error> {
        let subjects = self.name.feed_subject(">");
        let wanted = wanted(&self.stream, &subjects, self.replicas);
        self.connection.make_or_check_stream(&wanted, BYTES_MAX)
    }

    /// The stream's name.
    pub(crate) fn name(&self) -> &str {
        &self.stream
    }

    /// A message whose own part of the subject is `subject`.
    pub(crate) fn message(&self, subject: &str, body: String) -> Message {
        Message { subject: self.name.feed_subject(subject), body: Bytes::from(body) }
    }

    /// The end of the stream, from its leader; none when there is no such stream.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(crate) fn last(&self) -> Result<Option<Last>, Error> {
        let Some(state) = self.connection.state_of(&self.stream, STATE_MAX)? else {
            return Ok(None);
        };
        let number = state.last_seq;
        let message = match number {
            0 => None,
            _ => self.connection.message_of(&self.stream, number, STATE_MAX)?,
        };
        Ok(Some(Last { number, message }))
    }

    /// Publishes messages, [`MESSAGES_MAX`] at most, behind the one with sequence `after`: all are
    /// sent, then their acknowledgements awaited. The server stores each at its one place or not at
    /// all, so what is in doubt may be published again.
    pub(crate) fn publish(&self, after: u64, messages: Vec<Message>) -> Published {
        debug_assert!(messages.len() <= MESSAGES_MAX, "the caller takes no more");
        if let Err(error) = self.connection.check_up() {
            return Published { stored: 0, doubt: Some(error.to_string()) };
        }
        let (context, stream) = (self.connection.context.clone(), self.stream.clone());
        let acknowledgements = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        let limit = ACK_MAX.saturating_mul(acknowledgements.saturating_add(1));
        let published = self
            .connection
            .wait_for(limit, async move { Ok(publish(&context, &stream, after, messages).await) });
        published.unwrap_or_else(|e| Published { stored: 0, doubt: Some(e.to_string()) })
    }
}

async fn publish(context: &Context, stream: &str, after: u64, messages: Vec<Message>) -> Published {
    let mut sent = Vec::with_capacity(messages.len());
    let mut doubt = None;
    for (before, message) in (after..).zip(messages) {
        let publish = PublishMessage::build()
            .payload(message.body)
            .expected_stream(stream)
            .expected_last_sequence(before);
        match context.send_publish(message.subject, publish).await {
            Ok(acknowledgement) => sent.push((before + 1, acknowledgement)),
            Err(error) => {
                doubt = Some(report(&error));
                break;
            }
        }
    }
    let mut stored = 0;
    for (number, acknowledgement) in sent {
        let answer = tokio::time::timeout(ACK_MAX, acknowledgement).await;
        let why = match answer {
            Ok(Ok(ack)) if ack.sequence == number && !ack.duplicate => {
                stored += 1;
                continue;
            }
            // The server was told the one place where this may go.
            Ok(Ok(ack)) => format!("an item went to {}, not to {number}", ack.sequence),
            Ok(Err(error)) => report(&error),
            Err(_) => unavailable(&"no answer in time").to_string(),
        };
        return Published { stored, doubt: Some(why) };
    }
    Published { stored, doubt }
}
