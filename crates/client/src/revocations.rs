//! Revocations as they happen: server-sent events, resumed where they broke off.
//!
//! Feed items carry contiguous numbers and the server says every 250 ms where the feed stands, so
//! that nothing is missed in silence: whoever listens has everything up to a number, or hears that
//! it has not. What is missing is asked for again; only what will never come is [`Signal::Missed`].
//!
//! ```no_run
//! # use bailiwick_client::{Http, Revocations, revocations::Signal};
//! # use futures::StreamExt as _;
//! # async fn listen(ledger: &Http, known: Option<u64>) {
//! let mut revocations = Revocations::follow(ledger, known);
//! while let Some(signal) = revocations.next().await {
//!     match signal {
//!         Signal::Item(item) => println!("{} ends what it names: {}", item.number, item.selector),
//!         Signal::Alive { number } => println!("everything up to {number} has been heard"),
//!         Signal::Behind { .. } | Signal::Lost { .. } => println!("something may be missing"),
//!         Signal::Missed { .. } => println!("something is missing for good: begin anew"),
//!     }
//! }
//! # }
//! ```

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bailiwick_core::feed::Item;
use futures::Stream;
use reqwest::Response;
use tokio::time::Instant;

use crate::authority::{LEASE, Signals};
use crate::sse::{Event, Parser};
use crate::{Error, Http};

const PATH: &str = "/v1/revocations/stream";
/// The first wait before a stream that gave nothing is opened again; it doubles with every failure.
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// The longest wait before a stream is opened again.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// What a follower hears.
#[derive(Debug, Clone)]
pub enum Signal {
    /// The stream is open and everything up to now has been delivered. Comes again after each of the
    /// troubles below.
    Alive {
        /// Where the feed stands.
        number: u64,
    },
    /// The next thing that narrowed what is allowed. Each comes once, in order, without a hole but
    /// where [`Signal::Missed`] stands.
    Item(Box<Item>),
    /// Items are missing and have been asked for again: they come next.
    Behind {
        /// The last number before the hole.
        after: u64,
        /// The number that showed it.
        shown: u64,
        /// The item that came too early, where one did: what it ends, it ends now. It comes again at
        /// its place.
        early: Option<Box<Item>>,
    },
    /// There has been no sign of life since then; the stream is opened again.
    Lost {
        /// When the last sign of life came.
        since: std::time::Instant,
    },
    /// Items may be missing behind this number (none: behind an unknown one), and will not come: the
    /// server no longer keeps them, knows no such number, or says what is not understood. What
    /// follows begins at the feed's position.
    Missed {
        /// The last number that was delivered.
        after: Option<u64>,
    },
}

/// The revocation feed of one server, resumed wherever it breaks off. Never ends.
pub struct Revocations {
    signals: Signals,
    number: Option<u64>,
}

impl Revocations {
    /// Everything behind number `after`, or from now on. Nothing is sent before it is polled.
    #[must_use]
    pub fn follow(http: &Http, after: Option<u64>) -> Self {
        let follower = Follower {
            http: http.clone(),
            last: after,
            connection: None,
            ready: VecDeque::new(),
            is_alive: false,
            wait: Duration::ZERO,
        };
        let signals = futures::stream::unfold(follower, |mut follower| async {
            let signal = follower.next().await;
            Some((signal, follower))
        });
        Self { signals: Box::pin(signals), number: after }
    }

    /// Everything up to this number has been delivered; none before the feed's position is known,
    /// and after items were missed. To follow on later, begin here.
    #[must_use]
    pub const fn number(&self) -> Option<u64> {
        self.number
    }
}

impl std::fmt::Debug for Revocations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Revocations").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Stream for Revocations {
    type Item = Signal;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Signal>> {
        let signal = ready!(self.signals.as_mut().poll_next(context));
        match &signal {
            Some(Signal::Alive { number }) => self.number = Some(*number),
            Some(Signal::Item(item)) => self.number = Some(item.number),
            Some(Signal::Missed { .. }) => self.number = None,
            Some(Signal::Behind { .. } | Signal::Lost { .. }) | None => {}
        }
        Poll::Ready(signal)
    }
}

/// Whether the server says that what lies behind the number will not come: it is no longer kept, or
/// the number was given by another ledger, or by this one before it was set back.
fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Refused { code, .. } if code == "feed_truncated" || code == "feed_future")
}

struct Follower {
    http: Http,
    /// The number of the last item that was delivered, or the feed's position.
    last: Option<u64>,
    connection: Option<Connection>,
    ready: VecDeque<Signal>,
    /// Whether the last word was that everything has been delivered.
    is_alive: bool,
    /// How long to wait before the stream is opened again; nothing once it has brought something.
    wait: Duration,
}

struct Connection {
    response: Response,
    parser: Parser,
    /// When the last sign of life came: not any byte, but one that says where the feed stands.
    heard: Instant,
}

/// What an event was to the follower.
#[derive(PartialEq, Eq)]
enum Said {
    /// A sign of life.
    Life,
    /// Nothing.
    Nothing,
    /// Something that this connection cannot go on from.
    Trouble,
}

impl Follower {
    async fn next(&mut self) -> Signal {
        loop {
            if let Some(signal) = self.ready.pop_front() {
                return signal;
            }
            match self.connection.take() {
                None => self.connect().await,
                Some(connection) => self.listen(connection).await,
            }
        }
    }

    async fn connect(&mut self) {
        if !self.wait.is_zero() {
            tokio::time::sleep(self.wait).await;
        }
        self.wait = (self.wait * 2).clamp(RETRY_FIRST, RETRY_MAX);
        match self.http.open_stream(PATH, self.last).await {
            Ok(response) => {
                let (parser, heard) = (Parser::default(), Instant::now());
                self.connection = Some(Connection { response, parser, heard });
            }
            Err(error) if is_gone(&error) => {
                tracing::warn!(%error, "the revocation stream begins anew");
                self.miss();
            }
            Err(error) if self.wait == RETRY_FIRST => {
                tracing::warn!(%error, "the revocation stream cannot be opened; trying on");
            }
            Err(_) => {}
        }
    }

    async fn listen(&mut self, mut connection: Connection) {
        let deadline = connection.heard + LEASE;
        let chunk = tokio::time::timeout_at(deadline, connection.response.chunk()).await;
        let Ok(Ok(Some(bytes))) = chunk else { return self.lose(connection.heard) };
        let mut events = Vec::new();
        let read = connection.parser.push(&bytes, &mut events);
        for event in events {
            match self.take(event) {
                Said::Life => connection.heard = Instant::now(),
                Said::Nothing => {}
                // What else came is asked for again.
                Said::Trouble => return,
            }
        }
        // A stream that brings bytes but never says where the feed stands has stalled all the same.
        if read.is_err() || connection.heard + LEASE <= Instant::now() {
            return self.lose(connection.heard);
        }
        self.connection = Some(connection);
    }

    fn lose(&mut self, heard: Instant) {
        tracing::warn!("the revocation stream broke off; opening it again");
        if std::mem::take(&mut self.is_alive) {
            self.ready.push_back(Signal::Lost { since: heard.into_std() });
        }
    }

    fn miss(&mut self) {
        self.is_alive = false;
        self.ready.push_back(Signal::Missed { after: self.last.take() });
    }

    fn take(&mut self, event: Event) -> Said {
        match event.name.as_str() {
            "revocation" => {}
            "heartbeat" => {
                let number = event.id.as_deref().and_then(|id| id.parse().ok());
                return number.map_or(Said::Nothing, |number| self.take_heartbeat(number));
            }
            "" => return Said::Nothing,
            // The server's last words, say `lagged`; the end of the stream follows. An item cannot
            // hide under another name: it would leave a hole in the numbers.
            name => {
                tracing::warn!(name, "the revocation stream said something else");
                return Said::Nothing;
            }
        }
        match serde_json::from_str::<Item>(&event.data) {
            Ok(item) => self.take_item(item),
            Err(error) => {
                tracing::warn!(%error, "an item of the revocation stream is not understood");
                self.miss();
                Said::Trouble
            }
        }
    }

    /// A heartbeat comes when there is nothing else to send, and says where the feed stands.
    fn take_heartbeat(&mut self, number: u64) -> Said {
        match self.last {
            Some(last) if number > last => return self.behind(last, number, None),
            // Said before something that has been heard.
            Some(last) if number < last => return Said::Nothing,
            Some(_) | None => self.last = Some(number),
        }
        self.wait = Duration::ZERO;
        if !std::mem::replace(&mut self.is_alive, true) {
            self.ready.push_back(Signal::Alive { number });
        }
        Said::Life
    }

    fn take_item(&mut self, item: Item) -> Said {
        match self.last {
            // Heard before: it says nothing about where the feed stands now.
            Some(last) if item.number <= last => return Said::Nothing,
            Some(last) if item.number > last + 1 => {
                return self.behind(last, item.number, Some(Box::new(item)));
            }
            Some(_) | None => {}
        }
        self.wait = Duration::ZERO;
        self.last = Some(item.number);
        self.ready.push_back(Signal::Item(Box::new(item)));
        Said::Life
    }

    fn behind(&mut self, after: u64, shown: u64, early: Option<Box<Item>>) -> Said {
        tracing::warn!(after, shown, "items of the revocation stream are missing; asking again");
        self.is_alive = false;
        self.ready.push_back(Signal::Behind { after, shown, early });
        Said::Trouble
    }
}

#[cfg(test)]
mod tests;
