//! The log on NATS JetStream: one stream a ledger, one message an entry (`record.md` §4).
//!
//! An acknowledgement's code never decides what is stored: its meaning differs by server version
//! and replica count. Where an answer is anything but a plain one, the entry at that number is read
//! from the stream's leader and its bytes decide.

pub(crate) mod feed;

mod connect;
mod name;
mod reader;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::client::{Request, RequestErrorKind};
use async_nats::header::HeaderMap;
use bailiwick_core::record::{LedgerId, Link};
use bytes::Bytes;
use serde::Deserialize;

pub use self::name::Name;

use self::connect::Connection;
use self::feed::FeedStream;
use self::reader::StreamReader;
use super::{ATTEMPT_MAX, Append, Log, Reader, Reason, check_place, place};
use crate::Error;

/// The oldest server that the record relies on.
pub const SERVER_VERSION_MIN: &str = "2.12.3";
/// How long a stream may be shorter than it was before that counts as a roll back.
pub const SHORTER_MAX: Duration = Duration::from_secs(10);

/// How long an attempt waits for the acknowledgement; whatever is left of it is for reading back.
const PUBLISH_MAX: Duration = Duration::from_millis(330);
const HEAD_MAX: Duration = Duration::from_millis(500);

/// Where a ledger's stream is and how to get in.
#[derive(Debug, Clone)]
pub struct Config {
    /// `nats://host:port` or `tls://host:port`, several with commas between; user and password or a token may stand in it.
    pub url: String,
    /// The ledger's name, which names its stream.
    pub name: Name,
    /// Copies of the stream: 1, 3 or 5.
    pub replicas: usize,
    /// A NATS credentials file (JWT and seed).
    pub credentials: Option<PathBuf>,
    /// Certificates to trust besides the system's, PEM.
    pub root_certificates: Option<PathBuf>,
}

/// The log on a JetStream stream, open for a writer. Others may write too: the expected head
/// decides who wins.
#[derive(Debug)]
pub struct JetStream {
    connection: Arc<Connection>,
    ledger: Option<LedgerId>,
    /// Since when the stream has been shorter than what was acknowledged.
    shorter_since: Option<Instant>,
}

/// One attempt to append.
struct Attempt<'a> {
    started: Instant,
    expected_head: u64,
    entry: &'a [u8],
}

impl Attempt<'_> {
    /// What one more request may take: all that is left, less what handing its answer over takes.
    fn left(&self) -> Duration {
        ATTEMPT_MAX.saturating_sub(self.started.elapsed()).saturating_sub(connect::HAND_OVER)
    }
}

/// What the server said to a publish.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Stored { number: u64 },
    Duplicate,
    WrongSequence,
    NoResponders,
    Unknown(Reason),
}

#[derive(Debug, Deserialize)]
struct PublishAck {
    seq: Option<u64>,
    #[serde(default)]
    duplicate: bool,
    error: Option<connect::ApiError>,
}

impl JetStream {
    /// Connects and makes the stream, or checks that the one that is there keeps all history.
    ///
    /// From then on the connection heals itself; while it is lost, appends are unknown and reads
    /// unavailable.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no server answers, [`Error::ServerTooOld`], [`Error::Server`],
    /// [`Error::StreamConfig`].
    pub fn connect(config: &Config) -> Result<Self, Error> {
        let connection = Arc::new(Connection::open(config)?);
        let reader = StreamReader::new(Arc::clone(&connection));
        let first = if reader.head()? == 0 { Vec::new() } else { reader.read(1, 1, 1)? };
        let ledger = first.first().and_then(|entry| place(entry)).map(|place| place.ledger);
        Ok(Self { connection, ledger, shorter_since: None })
    }

    /// The stream of the ledger's revocation feed, made or checked as the log's own.
    ///
    /// # Errors
    /// [`Error::StreamConfig`], [`Error::Unavailable`].
    pub(crate) fn feed(&self, config: &Config) -> Result<FeedStream, Error> {
        FeedStream::open(Arc::clone(&self.connection), config)
    }

    /// Publishes once and says what was answered.
    fn publish(&self, expected_head: u64, entry: &[u8], message_id: Option<&Link>) -> Answer {
        let connection = &self.connection;
        if !connection.is_up() {
            return Answer::Unknown(Reason::Disconnected);
        }
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Stream", connection.stream.as_str());
        headers.insert("Nats-Expected-Last-Sequence", expected_head.to_string().as_str());
        if let Some(link) = message_id {
            headers.insert("Nats-Msg-Id", link.to_string().as_str());
        }
        let request = Request::new()
            .headers(headers)
            .payload(Bytes::copy_from_slice(entry))
            .timeout(Some(PUBLISH_MAX));
        let client = connection.client.clone();
        let subject = connection.subject.clone();
        let answer = connection
            .wait_for(PUBLISH_MAX, async move { Ok(client.send_request(subject, request).await) });
        match answer {
            Ok(Ok(message)) => answer_in(&message.payload),
            Ok(Err(e)) => match e.kind() {
                RequestErrorKind::NoResponders => Answer::NoResponders,
                RequestErrorKind::TimedOut => Answer::Unknown(Reason::Timeout),
                RequestErrorKind::InvalidSubject
                | RequestErrorKind::MaxPayloadExceeded
                | RequestErrorKind::Other => Answer::Unknown(Reason::Refused(e.to_string())),
            },
            Err(_) => Answer::Unknown(Reason::Timeout),
        }
    }

    /// Reads what is stored at the entry's number and lets it decide.
    fn read_back(&mut self, attempt: &Attempt<'_>, duplicate: bool) -> Append {
        let (expected_head, entry) = (attempt.expected_head, attempt.entry);
        let number = expected_head + 1;
        let stream = self.connection.stream.clone();
        match self.connection.message(number, attempt.left()) {
            Ok(Some(stored)) if stored == entry => Append::Committed,
            Ok(_) if duplicate => Append::Fatal(Error::Misplaced { stream, number }),
            Ok(Some(_)) => Append::LostRace,
            Ok(None) => self.look_at_head(attempt),
            Err(e) => Append::Unknown(Reason::Refused(e.to_string())),
        }
    }

    /// The entry is not stored, and the sequence was said to be wrong: is the stream shorter?
    fn look_at_head(&mut self, attempt: &Attempt<'_>) -> Append {
        let expected_head = attempt.expected_head;
        let number = expected_head + 1;
        match self.connection.state(attempt.left()) {
            Err(e) => Append::Unknown(Reason::Refused(e.to_string())),
            Ok(None) => self.shorter(0, expected_head),
            Ok(Some(state)) if state.last_seq < expected_head => {
                self.shorter(state.last_seq, expected_head)
            }
            Ok(Some(state)) if state.last_seq > expected_head => {
                let place = self.connection.stream.clone();
                Append::Fatal(Error::Missing { number, place, head: state.last_seq })
            }
            Ok(Some(_)) => {
                self.shorter_since = None;
                Append::Unknown(Reason::Refused("the sequence was wrong a moment ago".to_owned()))
            }
        }
    }

    /// The stream ends at `head`: unknown for [`SHORTER_MAX`], then rolled back.
    fn shorter(&mut self, head: u64, expected_head: u64) -> Append {
        let since = *self.shorter_since.get_or_insert_with(Instant::now);
        if since.elapsed() < SHORTER_MAX {
            return Append::Unknown(Reason::Shorter { head });
        }
        let stream = self.connection.stream.clone();
        Append::Fatal(Error::RolledBack { stream, head, expected: expected_head })
    }
}

impl Log for JetStream {
    fn head(&mut self) -> Result<u64, Error> {
        self.connection.head(HEAD_MAX)
    }

    fn append(&mut self, expected_head: u64, entry: &[u8], message_id: Option<&Link>) -> Append {
        let number = expected_head + 1;
        let ledger = match check_place(entry, number, self.ledger) {
            Ok(ledger) => ledger,
            Err(e) => return Append::Fatal(e),
        };
        let attempt = Attempt { started: Instant::now(), expected_head, entry };
        let outcome = match self.publish(expected_head, entry, message_id) {
            Answer::Stored { number: stored } if stored == number => Append::Committed,
            // The server was told the one place where this may go.
            Answer::Stored { .. } => {
                Append::Fatal(Error::Misplaced { stream: self.connection.stream.clone(), number })
            }
            Answer::Duplicate => self.read_back(&attempt, true),
            Answer::WrongSequence => self.read_back(&attempt, false),
            // Nobody listens on the subject: a server that starts, or a stream that is gone.
            Answer::NoResponders => match self.connection.state(attempt.left()) {
                Ok(None) => self.shorter(0, expected_head),
                Ok(Some(_)) | Err(_) => {
                    Append::Unknown(Reason::Refused("nobody takes entries".to_owned()))
                }
            },
            Answer::Unknown(reason) => Append::Unknown(reason),
        };
        if matches!(outcome, Append::Committed) {
            self.ledger = Some(ledger);
            self.shorter_since = None;
        }
        outcome
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::new(StreamReader::new(Arc::clone(&self.connection)))
    }
}

/// The JetStream codes that say that the expected sequence was not the last one.
const WRONG_SEQUENCE: [u64; 2] = [10_071, 10_201];

fn answer_in(payload: &[u8]) -> Answer {
    let ack: PublishAck = match serde_json::from_slice(payload) {
        Ok(ack) => ack,
        Err(e) => return Answer::Unknown(Reason::Refused(format!("an answer of other form: {e}"))),
    };
    match ack {
        PublishAck { error: Some(error), .. } if WRONG_SEQUENCE.contains(&error.err_code) => {
            Answer::WrongSequence
        }
        PublishAck { error: Some(error), .. } => Answer::Unknown(error.reason()),
        PublishAck { duplicate: true, .. } => Answer::Duplicate,
        PublishAck { seq: Some(number), .. } => Answer::Stored { number },
        PublishAck { .. } => {
            Answer::Unknown(Reason::Refused("an answer without a sequence".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u64, err_code: u64) -> Answer {
        answer_in(
            format!(
                r#"{{"error":{{"code":{code},"err_code":{err_code},"description":"said so"}},"stream":"S","seq":0}}"#
            )
            .as_bytes(),
        )
    }

    #[test]
    fn a_plain_acknowledgement_names_its_number() {
        let answer = answer_in(br#"{"stream":"BAILIWICK_x","seq":7}"#);
        assert_eq!(answer, Answer::Stored { number: 7 });
    }

    #[test]
    fn a_duplicate_is_never_taken_for_stored() {
        let answer = answer_in(br#"{"stream":"BAILIWICK_x","seq":7,"duplicate":true}"#);
        assert_eq!(answer, Answer::Duplicate);
    }

    #[test]
    fn wrong_sequences_have_two_codes() {
        assert_eq!(refused(400, 10_071), Answer::WrongSequence);
        assert_eq!(refused(400, 10_201), Answer::WrongSequence);
    }

    #[test]
    fn every_other_answer_is_unknown() {
        for (code, err_code) in
            [(409, 10_158), (503, 10_077), (429, 10_167), (503, 0), (400, 10_060)]
        {
            assert!(matches!(refused(code, err_code), Answer::Unknown(_)), "{err_code}");
        }
        for odd in ["", "{}", "+OK", "{\"seq\":\"7\"}", "[7]", "\u{0}"] {
            assert!(matches!(answer_in(odd.as_bytes()), Answer::Unknown(_)), "{odd}");
        }
    }

    #[test]
    fn no_room_is_said_to_be_no_room() {
        assert!(matches!(refused(503, 10_077), Answer::Unknown(Reason::Full(_))));
        assert!(matches!(refused(503, 10_023), Answer::Unknown(Reason::Full(_))));
    }
}
