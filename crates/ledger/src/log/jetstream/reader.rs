//! Reads entries from the stream in bulk: one request for many messages, no consumer on the server.

use std::sync::Arc;
use std::time::Duration;

use async_nats::client::Client;
use async_nats::header::{HeaderMap, NATS_SEQUENCE};
use async_nats::{Message, StatusCode};
use bytes::Bytes;
use futures::StreamExt;

use super::connect::{Connection, unavailable};
use crate::Error;
use crate::log::Reader;

const ENTRIES_MAX: usize = 1_000;
const BYTES_MAX: usize = 16 << 20;
const READ_MAX: Duration = Duration::from_secs(5);
/// The status with which a batch ends.
const NO_CONTENT: u16 = 204;
const HEAD_MAX: Duration = Duration::from_secs(2);

/// Reads from one stream.
#[derive(Debug)]
pub(crate) struct StreamReader {
    connection: Arc<Connection>,
}

/// What a message that comes for a request means.
enum Part {
    Entry(Bytes),
    End,
}

impl StreamReader {
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self { connection }
    }

    /// One entry, asked of the stream's leader: what another server of the cluster does not have
    /// yet, the leader has.
    fn read_one(&self, number: u64) -> Result<Vec<Bytes>, Error> {
        if let Some(entry) = self.connection.message(number, READ_MAX)? {
            return Ok(vec![entry]);
        }
        let head = self.connection.head(HEAD_MAX)?;
        if number > head {
            return Ok(Vec::new());
        }
        Err(Error::Missing { number, place: self.connection.stream.clone(), head })
    }
}

impl Reader for StreamReader {
    fn head(&self) -> Result<u64, Error> {
        self.connection.head(HEAD_MAX)
    }

    fn read(&self, from: u64, max_entries: usize, max_bytes: usize) -> Result<Vec<Bytes>, Error> {
        self.connection.check_up()?;
        let entries = max_entries.clamp(1, ENTRIES_MAX);
        let bytes = max_bytes.clamp(1, BYTES_MAX);
        let client = self.connection.client.clone();
        let stream = self.connection.stream.clone();
        let found = self.connection.wait_for(READ_MAX, async move {
            read_many(&client, &stream, from, entries, bytes).await
        })?;
        if found.is_empty() { self.read_one(from) } else { Ok(found) }
    }

    fn first(&self) -> Result<u64, Error> {
        let stream = &self.connection.stream;
        match self.connection.state(HEAD_MAX)? {
            Some(state) if state.last_seq == 0 => Ok(1),
            Some(state) => Ok(state.first_seq),
            None => Err(unavailable(&format!("there is no stream `{stream}`"))),
        }
    }
}

/// Asks for a batch and takes it in; empty when there is nothing at `from`.
async fn read_many(
    client: &Client,
    stream: &str,
    from: u64,
    entries: usize,
    bytes: usize,
) -> Result<Vec<Bytes>, Error> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.map_err(|e| unavailable(&e))?;
    let subject = format!("$JS.API.DIRECT.GET.{stream}");
    let request = serde_json::json!({"seq": from, "batch": entries, "max_bytes": bytes});
    client
        .publish_with_reply(subject, inbox, request.to_string().into())
        .await
        .map_err(|e| unavailable(&e))?;
    let mut found: Vec<Bytes> = Vec::new();
    let mut size = 0_usize;
    while let Some(message) = answers.next().await {
        match part(message, from + found.len() as u64, stream)? {
            Part::End => break,
            Part::Entry(entry) => {
                size = size.saturating_add(entry.len());
                // The server counts bytes in its own way; the caller's limit is on entries' bytes.
                if !found.is_empty() && size > bytes {
                    break;
                }
                found.push(entry);
                if found.len() == entries {
                    break;
                }
            }
        }
    }
    Ok(found)
}

/// Sorts out one answer; an entry must be number `expected`.
fn part(message: Message, expected: u64, stream: &str) -> Result<Part, Error> {
    match message.status {
        None => {}
        Some(status) if status == StatusCode::NOT_FOUND || status.as_u16() == NO_CONTENT => {
            return Ok(Part::End);
        }
        Some(status) => {
            let said = message.description.unwrap_or_default();
            return Err(unavailable(&format!("the server refused to read: {status} {said}")));
        }
    }
    match message.headers.as_ref().and_then(sequence) {
        Some(number) if number == expected => Ok(Part::Entry(message.payload)),
        // The server goes on at the next message it has; it must not be taken for this one.
        Some(head) => Err(Error::Missing { number: expected, place: stream.to_owned(), head }),
        None => Err(unavailable(&"an answer without a sequence")),
    }
}

fn sequence(headers: &HeaderMap) -> Option<u64> {
    headers.get(NATS_SEQUENCE)?.as_str().parse().ok()
}
