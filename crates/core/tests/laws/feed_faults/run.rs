//! One run: a server with a feed, a faulty way to one subscriber, and what that subscriber makes of
//! it. Time goes in steps of a tenth of a second.

use bailiwick_core::enforce::{Ended, Guard, Heard, Held, LEASE, Monotonic, Nonce, Subject};
use bailiwick_core::event::Call;
use bailiwick_core::feed::{Item, ResumeError};
use bailiwick_core::id::GrantId;

use super::server::{Happening, Server, ends};
use super::stream::{Faults, Message, Stream, Weather};
use crate::laws::chance::Chance;

/// Milliseconds of a step.
const STEP: u64 = 100;
/// Steps in which things happen, and then in which nothing new does: longer than a lease.
const BUSY: u64 = 24;
const QUIET: u64 = 24;
/// Milliseconds between two signs of life, and between two pings.
const EVERY: u64 = 2 * STEP;
const RECEIPTS_MAX: usize = 4;

/// How the subscriber's program behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// As it should.
    Sound,
    /// Takes an answered ping for a sign that nothing is missing.
    BelievesPings,
    /// Goes on after items were missed as if they had not been.
    ForgetsMisses,
}

/// What was seen in one run, or in all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) faults: Faults,
    pub(super) gaps: u64,
    pub(super) heard_again: u64,
    pub(super) resumed: u64,
    pub(super) refused_as_too_old: u64,
    pub(super) refused_as_future: u64,
    /// Runs by how they ended.
    pub(super) whole: u64,
    pub(super) without_a_lease: u64,
    pub(super) behind: u64,
    /// Receipts by what the guard said of them at the end of a run that ended whole.
    pub(super) good: u64,
    pub(super) narrowed: u64,
    pub(super) unsure: u64,
}

impl Seen {
    pub(super) fn add(&mut self, other: &Self) {
        self.faults.add(&other.faults);
        self.gaps += other.gaps;
        self.heard_again += other.heard_again;
        self.resumed += other.resumed;
        self.refused_as_too_old += other.refused_as_too_old;
        self.refused_as_future += other.refused_as_future;
        self.whole += other.whole;
        self.without_a_lease += other.without_a_lease;
        self.behind += other.behind;
        self.good += other.good;
        self.narrowed += other.narrowed;
        self.unsure += other.unsure;
    }
}

struct Ping {
    nonce: Nonce,
    /// When it reaches the server, and when the answer is back.
    answered: u64,
    arrives: u64,
    number: Option<u64>,
}

struct Receipt {
    held: Held,
    index: u64,
    grant: GrantId,
    call: Call,
    /// When something ended it.
    ended: Option<u64>,
    /// Whether what ended it was lost again: who heard of it in time may still say so.
    was_ended: bool,
}

pub(super) struct Run<'a> {
    program: Program,
    weather: Weather,
    server: Server<'a>,
    now: u64,
    /// How often the clock was read in this step: no two readings are the same.
    readings: u64,
    guard: Guard,
    stream: Option<Stream>,
    retries: u64,
    pings: Vec<Ping>,
    pinged: u128,
    receipts: Vec<Receipt>,
    /// The highest number that the subscriber was shown.
    shown: u64,
    /// This number is not given again before the subscriber was refused: numbers alone cannot tell a
    /// feed that was set back and has come as far again. A ledger's own anchor tells.
    barred: Option<u64>,
    pub(super) seen: Seen,
}

impl<'a> Run<'a> {
    pub(super) fn new(seed: u64, program: Program, history: &'a [Happening]) -> Self {
        let mut chance = Chance::new(seed);
        let begin = chance.below(history.len() as u64 * 2 / 3) as usize;
        let rates = Faults::some(&mut chance);
        Self {
            program,
            weather: Weather { chance, rates, struck: Faults::default() },
            server: Server::new(history, begin),
            now: 0,
            readings: 0,
            guard: Guard::new(LEASE),
            stream: None,
            retries: 0,
            pings: Vec::new(),
            pinged: 0,
            receipts: Vec::new(),
            shown: 0,
            barred: None,
            seen: Seen::default(),
        }
    }

    /// Plays the run; an error says what was wrong without being known.
    pub(super) fn play(&mut self) -> Result<(), String> {
        for step in 0..BUSY + QUIET {
            self.now += STEP;
            self.readings = 0;
            if step == BUSY && self.weather.chance.percent(60) {
                self.weather.rates = Faults::default();
            }
            if step < BUSY {
                self.happen();
                self.server_fails();
            }
            self.stream();
            self.ping();
            self.nothing_outlives_its_lease()?;
        }
        self.seen.faults = self.weather.struck;
        self.what_is_whole_is_right()
    }

    fn read(&mut self) -> Monotonic {
        self.readings += 1;
        Monotonic(self.now * 1_000_000 + self.readings)
    }

    /// The ledger goes on.
    fn happen(&mut self) {
        for _ in 0..self.weather.chance.below(4) {
            match self.server.next() {
                None => return,
                Some(Happening::Authorized { index, grant, call }) => {
                    self.ask(*index, *grant, call);
                    self.server.advance();
                }
                Some(Happening::Narrowed(_)) => {
                    if self.barred.is_some_and(|barred| self.server.last() + 1 >= barred) {
                        return;
                    }
                    let Some(item) = self.server.advance() else { return };
                    for receipt in &mut self.receipts {
                        if receipt.ended.is_none() && ends(&item, receipt.grant, &receipt.call) {
                            receipt.ended = Some(self.now);
                        }
                    }
                }
            }
        }
    }

    /// The subscriber asks for a call and is allowed. It may not know owner and task.
    fn ask(&mut self, index: u64, grant: GrantId, call: &Call) {
        if self.receipts.len() == RECEIPTS_MAX {
            return;
        }
        let mut call = call.clone();
        call.owner = call.owner.filter(|_| self.weather.chance.percent(80));
        call.task = call.task.filter(|_| self.weather.chance.percent(50));
        let asked = self.read();
        let subject = Subject {
            grant,
            agent: call.agent.as_ref(),
            owner: call.owner.as_ref(),
            task: call.task,
            tool: call.tool.as_ref(),
            action: &call.action,
            resource: &call.resource,
        };
        let held = Held::new(index, asked, &subject);
        self.receipts.push(Receipt { held, index, grant, call, ended: None, was_ended: false });
    }

    fn server_fails(&mut self) {
        if self.weather.strikes(|faults| &mut faults.truncated) {
            let kept = self.weather.chance.below(3);
            self.server.truncate(kept);
        }
        if !self.weather.strikes(|faults| &mut faults.set_back) {
            return;
        }
        let items = 1 + self.weather.chance.below(8);
        let lost = self.server.set_back(items);
        let known = [self.guard.applied(), self.guard.applied().map(|_| self.shown)];
        self.barred = known.into_iter().flatten().find(|number| *number > self.server.last());
        // What the ledger has lost is no call any more, and ends none.
        self.receipts.retain(|receipt| receipt.index < lost);
        for receipt in &mut self.receipts {
            if self.server.ended_by(receipt.index, receipt.grant, &receipt.call).is_none() {
                receipt.was_ended |= receipt.ended.take().is_some();
            }
        }
        if let Some(stream) = &mut self.stream {
            stream.lose(self.weather.chance.percent(50));
        }
    }

    /// The server sends, messages arrive, and what has ended is opened again.
    fn stream(&mut self) {
        if let Some(mut stream) = self.stream.take() {
            stream.is_cut |= self.weather.strikes(|faults| &mut faults.cut);
            stream.is_stalled |= self.weather.strikes(|faults| &mut faults.stalled);
            stream.send(&self.server, self.now.is_multiple_of(EVERY), self.now, &mut self.weather);
            let resumes = stream.arrived(self.now).into_iter().any(|message| !self.hear(message));
            let is_silent = self.now >= stream.heard + LEASE.0;
            if !resumes && !stream.is_cut && !is_silent {
                self.stream = Some(stream);
            }
        }
        if self.stream.is_none() && self.now >= self.retries {
            self.connect();
        }
    }

    /// False when the stream has to be opened again, because something is missing.
    fn hear(&mut self, message: Message) -> bool {
        let now = self.read();
        match message {
            Message::Position(number) => {
                self.shown = self.shown.max(number);
                self.guard.stands_at(number, now);
                !self.guard.is_behind()
            }
            Message::Item(item) => {
                self.shown = self.shown.max(item.number);
                self.hear_item(&item, now)
            }
        }
    }

    fn hear_item(&mut self, item: &Item, now: Monotonic) -> bool {
        match self.guard.hear(item, now) {
            Heard::Next => true,
            Heard::Again => {
                self.seen.heard_again += 1;
                true
            }
            Heard::Gap { after } => {
                assert_eq!(Some(after), self.guard.applied());
                self.seen.gaps += 1;
                false
            }
        }
    }

    fn connect(&mut self) {
        if self.weather.strikes(|faults| &mut faults.unreachable) {
            self.retries = self.now + STEP * (1 + self.weather.chance.below(8));
            return;
        }
        if let Some(after) = self.guard.applied() {
            match self.server.after(after) {
                Ok(_) => self.seen.resumed += 1,
                Err(ResumeError::TooOld { .. }) => {
                    self.seen.refused_as_too_old += 1;
                    self.miss();
                }
                Err(ResumeError::Future { .. }) => {
                    self.seen.refused_as_future += 1;
                    self.miss();
                }
            }
        }
        self.stream = Some(Stream::open(self.guard.applied(), &self.server, self.now));
    }

    fn miss(&mut self) {
        (self.shown, self.barred) = (0, None);
        let now = self.read();
        if self.program == Program::ForgetsMisses {
            let beginning = Monotonic(0);
            self.guard.missed(Some(self.server.last()), beginning);
        } else {
            self.guard.missed(None, now);
        }
    }

    fn ping(&mut self) {
        for ping in &mut self.pings {
            if ping.answered <= self.now && ping.number.is_none() {
                ping.number = Some(self.server.last());
            }
        }
        let now = self.now;
        let (back, away): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pings).into_iter().partition(|ping| ping.arrives <= now);
        self.pings = away;
        for Ping { nonce, number, .. } in back {
            let mut number = number.unwrap();
            if self.program == Program::BelievesPings {
                number = number.min(self.guard.applied().unwrap_or(0));
            }
            self.guard.ponged(nonce, number);
        }
        if self.now.is_multiple_of(EVERY) {
            self.pinged += 1;
            let nonce = Nonce(self.pinged);
            let now = self.read();
            self.guard.pinged(nonce, now);
            if !self.weather.strikes(|faults| &mut faults.pings_lost) {
                let answered = self.now + self.weather.chance.below(300);
                let arrives = answered + self.weather.chance.below(500);
                self.pings.push(Ping { nonce, answered, arrives, number: None });
            }
        }
    }

    /// What ended more than a lease ago is neither started nor let go on, whatever was heard.
    fn nothing_outlives_its_lease(&mut self) -> Result<(), String> {
        let now = self.read();
        for receipt in &self.receipts {
            let Some(ended) = receipt.ended.filter(|ended| self.now > ended + LEASE.0) else {
                continue;
            };
            let verdicts = (
                self.guard.may_start(&receipt.held, now),
                self.guard.may_go_on(&receipt.held, now),
            );
            if verdicts.0.is_ok() || verdicts.1.is_ok() {
                let Receipt { index, .. } = receipt;
                return Err(format!("{verdicts:?} of {index} at {}, ended at {ended}", self.now));
            }
        }
        Ok(())
    }

    /// A guard that says that nothing is missing has everything, and says of every receipt what is so.
    fn what_is_whole_is_right(&mut self) -> Result<(), String> {
        let now = self.read();
        match self.guard.may_ask(now) {
            Ok(()) => self.seen.whole += 1,
            Err(Ended::Lease) => self.seen.without_a_lease += 1,
            Err(Ended::Behind) => self.seen.behind += 1,
            Err(ended) => return Err(format!("{ended:?} is no answer to a question")),
        }
        if self.guard.may_ask(now).is_err() {
            return Ok(());
        }
        let (applied, last) = (self.guard.applied(), self.server.last());
        if applied != Some(last) {
            return Err(format!("applied {applied:?} of {last}"));
        }
        for receipt in &self.receipts {
            let Receipt { held, index, grant, call, was_ended, .. } = receipt;
            let said = self.guard.may_go_on(held, now);
            let truth = self.server.ended_by(*index, *grant, call);
            let is_so = match (said, truth) {
                (Err(Ended::Unsure), _) => {
                    self.seen.unsure += 1;
                    true
                }
                (Ok(()), None) => {
                    self.seen.good += 1;
                    true
                }
                (Err(Ended::Narrowed { suspend }), Some(item)) => {
                    self.seen.narrowed += 1;
                    suspend == item.suspend || *was_ended
                }
                (Err(Ended::Narrowed { .. }), None) => *was_ended,
                (Ok(()) | Err(_), _) => false,
            };
            if !is_so {
                return Err(format!("{said:?} of {index}, ended by {truth:?}"));
            }
        }
        Ok(())
    }
}
