//! The way from the server to the subscriber, and what goes wrong on it.

use std::rc::Rc;

use bailiwick_core::feed::Item;

use super::server::Server;
use crate::laws::chance::Chance;

/// How often what goes wrong, in percent of messages or of steps; or how often it went wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Faults {
    pub(super) dropped: u64,
    pub(super) duplicated: u64,
    pub(super) delayed: u64,
    pub(super) reordered: u64,
    pub(super) cut: u64,
    pub(super) stalled: u64,
    pub(super) unreachable: u64,
    pub(super) pings_lost: u64,
    pub(super) truncated: u64,
    pub(super) set_back: u64,
}

impl Faults {
    /// Every other fault, about, is out of the question in a run.
    pub(super) fn some(chance: &mut Chance) -> Self {
        let mut rate = |percent| if chance.percent(50) { percent } else { 0 };
        Self {
            dropped: rate(20),
            duplicated: rate(20),
            delayed: rate(15),
            reordered: rate(30),
            cut: rate(5),
            stalled: rate(5),
            unreachable: rate(70),
            pings_lost: rate(30),
            truncated: rate(20),
            set_back: rate(4),
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        let Self { dropped, duplicated, delayed, reordered, cut, .. } = other;
        self.dropped += dropped;
        self.duplicated += duplicated;
        self.delayed += delayed;
        self.reordered += reordered;
        self.cut += cut;
        self.stalled += other.stalled;
        self.unreachable += other.unreachable;
        self.pings_lost += other.pings_lost;
        self.truncated += other.truncated;
        self.set_back += other.set_back;
    }
}

/// What goes wrong in one run.
pub(super) struct Weather {
    pub(super) chance: Chance,
    pub(super) rates: Faults,
    pub(super) struck: Faults,
}

impl Weather {
    pub(super) fn strikes(&mut self, fault: fn(&mut Faults) -> &mut u64) -> bool {
        let strikes = self.chance.percent(*fault(&mut self.rates));
        *fault(&mut self.struck) += u64::from(strikes);
        strikes
    }
}

#[derive(Clone)]
pub(super) enum Message {
    Item(Rc<Item>),
    /// A sign of life, with where the feed stands.
    Position(u64),
}

/// A stream that is open, as far as the subscriber knows.
pub(super) struct Stream {
    /// The last number that the server sent.
    sent: u64,
    /// When each message arrives, in the order in which they were sent.
    coming: Vec<(u64, Message)>,
    pub(super) heard: u64,
    pub(super) is_stalled: bool,
    pub(super) is_cut: bool,
}

impl Stream {
    /// Behind this number. The server says at once where the feed stands to whoever names none.
    pub(super) fn open(after: Option<u64>, server: &Server<'_>, now: u64) -> Self {
        let coming = match after {
            Some(_) => Vec::new(),
            None => vec![(now, Message::Position(server.last()))],
        };
        let sent = after.unwrap_or(server.last());
        Self { sent, coming, heard: now, is_stalled: false, is_cut: false }
    }

    /// The server is gone: what was on its way is lost.
    pub(super) fn lose(&mut self, is_noticed: bool) {
        self.coming.clear();
        self.is_stalled = true;
        self.is_cut |= is_noticed;
    }

    /// The server sends what it has not sent yet, and a sign of life if it is time for one.
    pub(super) fn send(
        &mut self,
        server: &Server<'_>,
        beats: bool,
        now: u64,
        weather: &mut Weather,
    ) {
        if self.is_stalled || self.is_cut {
            return;
        }
        let Ok(items) = server.after(self.sent) else {
            // It no longer has what this reader has not got.
            self.is_cut = true;
            return;
        };
        for item in items {
            self.post(Message::Item(Rc::clone(item)), now, weather);
        }
        self.sent = server.last();
        if beats {
            self.post(Message::Position(self.sent), now, weather);
        }
    }

    fn post(&mut self, message: Message, now: u64, weather: &mut Weather) {
        if weather.strikes(|faults| &mut faults.dropped) {
            return;
        }
        let copies = 1 + u64::from(weather.strikes(|faults| &mut faults.duplicated));
        for _ in 0..copies {
            let mut arrives = now;
            if weather.strikes(|faults| &mut faults.reordered) {
                arrives += weather.chance.below(400);
            }
            if weather.strikes(|faults| &mut faults.delayed) {
                arrives += weather.chance.below(2_000);
            }
            self.coming.push((arrives, message.clone()));
        }
    }

    /// What has arrived by now, in the order in which it did.
    pub(super) fn arrived(&mut self, now: u64) -> Vec<Message> {
        if self.is_stalled || self.is_cut {
            return Vec::new();
        }
        let (mut arrived, coming): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.coming).into_iter().partition(|(at, _)| *at <= now);
        self.coming = coming;
        arrived.sort_by_key(|(at, _)| *at);
        if !arrived.is_empty() {
            self.heard = now;
        }
        arrived.into_iter().map(|(_, message)| message).collect()
    }
}
