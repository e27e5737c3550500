//! Revocations as they happen: server-sent events, resumed where they broke off.
//!
//! Feed items carry contiguous numbers and the server sends a sign of life every 250 ms, so that
//! the three kinds of trouble are told apart: silence ([`Signal::Lost`]), a hole in the numbers
//! ([`Signal::Missed`]), and nothing to report. A follower that hears of trouble takes it as bad
//! news: it denies, or cuts what is running, until [`Signal::Alive`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bailiwick_core::feed::Item;
use reqwest::Response;

use crate::authority::{LEASE, Signals};
use crate::sse::{Event, Parser};
use crate::{Error, Http};

const PATH: &str = "/v1/revocations/stream";
/// The first wait before a broken stream is opened again; it doubles with every failure.
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// The longest wait before a broken stream is opened again.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// What a follower hears.
#[derive(Debug, Clone)]
pub enum Signal {
    /// The stream is open and everything up to now has been delivered.
    Alive,
    /// Something narrowed what is allowed.
    Item(Box<Item>),
    /// There has been no sign of life since then. [`Signal::Alive`] follows when there is one again.
    Lost {
        /// When the last sign of life came.
        since: Instant,
    },
    /// Items may be missing behind this number (none: behind an unknown one). They will not come.
    Missed {
        /// The last number that was delivered.
        after: Option<u64>,
    },
}

/// Follows the feed of the server that `http` knows.
pub(crate) fn follow(http: Http, from: Option<u64>) -> Signals {
    let follower = Follower {
        http,
        last: from,
        connection: None,
        ready: VecDeque::new(),
        state: State::Fresh,
        retry: RETRY_FIRST,
    };
    Box::pin(futures::stream::unfold(follower, |mut follower| async {
        let signal = follower.next().await;
        Some((signal, follower))
    }))
}

/// Whether a refusal may mean that the feed no longer has, or does not have yet, what lies behind the
/// number that was asked for: a client error that is not about the key or the load.
fn is_about_the_number(status: u16) -> bool {
    (400..500).contains(&status) && !matches!(status, 401 | 403 | 408 | 429)
}

struct Follower {
    http: Http,
    /// The number of the last item that was delivered, or the feed's position.
    last: Option<u64>,
    connection: Option<Connection>,
    ready: VecDeque<Signal>,
    state: State,
    retry: Duration,
}

struct Connection {
    response: Response,
    parser: Parser,
    heard: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Never connected.
    Fresh,
    /// Connected, the backlog is still coming.
    Catching,
    /// Caught up.
    Alive,
    /// Broken off.
    Lost,
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
        match self.http.open_stream(PATH, self.last).await {
            Ok(response) => {
                // What happened while nobody listened cannot be asked for without a number.
                if self.state == State::Lost && self.last.is_none() {
                    self.ready.push_back(Signal::Missed { after: None });
                }
                self.state = State::Catching;
                self.connection =
                    Some(Connection { response, parser: Parser::default(), heard: Instant::now() });
            }
            Err(error) => {
                if matches!(error, Error::Refused { status, .. } if is_about_the_number(status)) {
                    self.ready.push_back(Signal::Missed { after: self.last.take() });
                }
                if self.retry == RETRY_FIRST {
                    tracing::warn!(%error, "the revocation stream cannot be opened; trying on");
                }
                tokio::time::sleep(self.retry).await;
                self.retry = (self.retry * 2).min(RETRY_MAX);
            }
        }
    }

    async fn listen(&mut self, mut connection: Connection) {
        let deadline = (connection.heard + LEASE).into();
        let chunk = tokio::time::timeout_at(deadline, connection.response.chunk()).await;
        let Ok(Ok(Some(bytes))) = chunk else { return self.lose(connection.heard) };
        connection.heard = Instant::now();
        let mut events = Vec::new();
        let read = connection.parser.push(&bytes, &mut events);
        for event in events {
            self.take(event);
        }
        if read.is_err() {
            self.ready.push_back(Signal::Missed { after: self.last });
            return self.lose(connection.heard);
        }
        self.connection = Some(connection);
    }

    fn lose(&mut self, heard: Instant) {
        tracing::warn!("the revocation stream broke off; opening it again");
        self.state = State::Lost;
        self.ready.push_back(Signal::Lost { since: heard });
    }

    fn take(&mut self, event: Event) {
        match event.name.as_str() {
            "revocation" => {}
            "heartbeat" => return self.take_heartbeat(&event),
            "" if event.data.is_empty() => return self.take_heartbeat(&event),
            // The server's last words, say `lagged`; the end of the stream follows. An item cannot
            // hide under another name: it would leave a hole in the numbers.
            name => {
                tracing::warn!(name, "the revocation stream said something else");
                return;
            }
        }
        match serde_json::from_str::<Item>(&event.data) {
            Ok(item) => self.take_item(item),
            Err(error) => {
                tracing::warn!(%error, "an item of the revocation stream is not understood");
                self.ready.push_back(Signal::Missed { after: self.last });
            }
        }
    }

    /// A heartbeat comes when there is nothing else to send; its id, if any, is the feed's position.
    fn take_heartbeat(&mut self, event: &Event) {
        if let Some(position) = event.id.as_deref().and_then(|id| id.parse().ok()) {
            match self.last {
                Some(last) if position > last => {
                    self.ready.push_back(Signal::Missed { after: Some(last) });
                    self.last = Some(position);
                }
                Some(_) => {}
                None => self.last = Some(position),
            }
        }
        if self.state != State::Alive {
            self.state = State::Alive;
            self.retry = RETRY_FIRST;
            self.ready.push_back(Signal::Alive);
        }
    }

    fn take_item(&mut self, item: Item) {
        match self.last {
            Some(last) if item.number <= last => return,
            Some(last) if item.number > last + 1 => {
                self.ready.push_back(Signal::Missed { after: Some(last) });
            }
            Some(_) | None => {}
        }
        self.last = Some(item.number);
        self.ready.push_back(Signal::Item(Box::new(item)));
    }
}

#[cfg(test)]
mod tests;
