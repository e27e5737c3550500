//! What comes of each step. Guard and Points are the real ones; what surrounds them is as hostile as
//! it can be: a message is delivered at any later moment or never, a gateway may take no step for as
//! long as it likes, and a call that was started is looked at again only to go on with it, never to
//! cut it.

use std::collections::BTreeMap;

use bailiwick_core::enforce::{Guard, Held, Monotonic, Nonce, Points, Subject};
use bailiwick_core::event::{Actor, Selector};
use bailiwick_core::feed::Item;
use bailiwick_core::id::{GrantId, PointId};
use bailiwick_core::time::{Span, Time};

use super::super::harness::{id, link, text};
use super::shelf::Shelf;
use super::world::{
    Call, GATEWAYS, Gateway, LEASE, Limits, Message, Overtaken, Revocation, SKEW, START, Step,
    What, World, monotonic,
};

/// A rule that is left out, to see that it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// None: the rules are as they are.
    AllKept,
    /// The writer allows for the drift of clocks.
    WriterWaitsForTheSkew,
    /// The writer waits for the whole lease.
    WriterWaitsForTheLease,
    /// A new writer waits for two leases, since the one before it may still answer for one.
    NewWriterWaitsForTheOldOne,
    /// A writer answers only while its last round trip is less than a lease ago.
    OvertakenWriterFallsSilent,
    /// An answer tells of every number that anybody was told is enforced.
    AnswersAreUpToDate,
    /// No ping is answered while something is in force that is not on the ledger.
    SilentUntilRecorded,
    /// The lease counts from when the ping was sent.
    LeaseCountsFromSending,
    /// An answer counts once the items that it tells of are applied.
    AnswerWaitsForItems,
    /// What was asked before items were missed is no longer good.
    MissEndsReceipts,
    /// Only what is applied is acknowledged.
    AcknowledgesWhatIsApplied,
}

/// What was seen in some world.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) used: bool,
    pub(super) lease_ran_out: bool,
    pub(super) lease_was_renewed: bool,
    pub(super) cut_by_an_item: bool,
    pub(super) enforced_by_acknowledgement: bool,
    pub(super) enforced_by_the_end_of_a_lease: bool,
    pub(super) enforced_by_a_new_writer: bool,
    pub(super) enforced_before_it_was_recorded: bool,
    pub(super) answered_by_an_overtaken_writer: bool,
}

/// The rules of a run, and the parts that its worlds share.
pub(super) struct Model {
    rule: Rule,
    guards: Shelf<Guard>,
    points: Shelf<Points>,
    /// Receipts made ready, and items: the model needs few of them, each a million times.
    receipts: BTreeMap<(usize, u64, Monotonic), Held>,
    items: BTreeMap<(u64, usize, u64), Item>,
    names: Vec<PointId>,
    pub(super) seen: Seen,
}

impl Model {
    pub(super) fn new(left_out: Rule) -> Self {
        Self {
            rule: left_out,
            guards: Shelf::default(),
            points: Shelf::default(),
            receipts: BTreeMap::new(),
            items: BTreeMap::new(),
            names: (1..=GATEWAYS).map(|n| id(&format!("gateway-{n}"))).collect(),
            seen: Seen::default(),
        }
    }

    fn keeps(&self, rule: Rule) -> bool {
        self.rule != rule
    }

    /// Both gateways follow the feed; the first holds a lease, the second has not pinged yet.
    pub(super) fn first(&mut self, limits: Limits) -> World {
        let mut guard = Guard::new(LEASE);
        guard.stands_at(0, monotonic(START));
        let fresh = self.guards.put(guard.clone());
        guard.pinged(Nonce(0), monotonic(START));
        let mut points = self.begin_points(0);
        points.answer(&self.names[0], Some(0), 0, monotonic(START)).unwrap();
        assert!(guard.ponged(Nonce(0), 0));
        let leased = self.guards.put(guard);
        let gateway = |guard| Gateway {
            guard,
            messages: Vec::new(),
            call: None,
            pings: 0,
            lost: 0,
            begun: 0,
        };
        World {
            left: limits,
            now: START,
            index: 0,
            points: self.points.put(points),
            overtaken: None,
            revocations: Vec::new(),
            gateways: vec![gateway(leased), gateway(fresh)],
        }
    }

    fn begin_points(&self, since: u64) -> Points {
        let lease =
            if self.keeps(Rule::WriterWaitsForTheLease) { LEASE } else { Span(LEASE.0 - 1) };
        let skew = if self.keeps(Rule::WriterWaitsForTheSkew) { SKEW } else { Span(0) };
        let early = if self.keeps(Rule::NewWriterWaitsForTheOldOne) { 0 } else { LEASE.0 };
        Points::new(lease, skew, monotonic(since.saturating_sub(early)))
    }

    /// Everything that can happen next, with what comes of it. Nothing does where no call is left
    /// that could be used wrongly.
    pub(super) fn next(&mut self, world: &World) -> Vec<(Step, World)> {
        if world.is_over() {
            return Vec::new();
        }
        let steps = world.steps();
        let mut next = Vec::with_capacity(steps.len());
        for step in steps {
            if let Some(mut to) = self.take(world, step) {
                self.look(&mut to);
                self.forget(&mut to);
                next.push((step, to));
            }
        }
        next
    }

    fn take(&mut self, from: &World, step: Step) -> Option<World> {
        let mut world = from.clone();
        match step {
            Step::Tick { lost_by } => {
                world.left.ticks -= 1;
                world.now += 1;
                if let Some(gateway) = lost_by {
                    world.left.lost_ticks -= 1;
                    world.gateways[gateway].lost += 1;
                }
            }
            Step::Ask(gateway, grant) => {
                world.left.calls -= 1;
                let asked = world.reading(gateway);
                let call = Call { grant, asked, index: None, started: false };
                world.gateways[gateway].call = Some(call);
            }
            Step::Authorize(gateway) => {
                world.index += 1;
                world.gateways[gateway].call.as_mut()?.index = Some(world.index);
            }
            Step::Use(gateway) => {
                if !self.is_usable(&world, gateway) {
                    return None;
                }
                world.gateways[gateway].call.as_mut()?.started = true;
            }
            Step::Revoke(grant) => {
                world.left.revocations -= 1;
                let asked = world.now;
                world.revocations.push(Revocation { grant, asked, index: None, enforced: false });
                if !world.left.in_force_first {
                    world.record();
                }
            }
            Step::Record => world.record(),
            Step::Overtake => {
                world.left.writers -= 1;
                let falls_silent = self.keeps(Rule::OvertakenWriterFallsSilent);
                let answers_until = if falls_silent { world.now + LEASE.0 } else { u64::MAX };
                world.overtaken = Some(Overtaken { number: world.number(), answers_until });
                world.points = self.points.put(self.begin_points(world.now));
            }
            Step::Ping(_) | Step::Answer(..) | Step::AnswerLate(..) | Step::Hear(..) => {
                self.take_ping(&mut world, step)?;
            }
            Step::Item(..) | Step::Miss(_) | Step::Begin(..) => self.take_feed(&mut world, step)?,
        }
        Some(world)
    }

    fn take_ping(&mut self, world: &mut World, step: Step) -> Option<()> {
        match step {
            Step::Ping(gateway) => {
                world.left.pings -= 1;
                let reading = world.reading(gateway);
                let acknowledges = match self.keeps(Rule::AcknowledgesWhatIsApplied) {
                    true => self.guards.get(world.gateways[gateway].guard).applied(),
                    false => Some(world.number()),
                };
                let one = &mut world.gateways[gateway];
                one.pings += 1;
                let nonce = Nonce(u128::from(one.pings));
                let what = What::Ping { applied: acknowledges };
                one.messages.push(Message { nonce, sent: reading, what });
                one.guard = self.guards.change(one.guard, |guard| guard.pinged(nonce, reading));
            }
            Step::Answer(gateway, nonce) => {
                if self.keeps(Rule::SilentUntilRecorded) && !world.records() {
                    return None;
                }
                let (now, mut number) = (monotonic(world.now), world.number());
                if !self.keeps(Rule::AnswersAreUpToDate) {
                    number = number.saturating_sub(1);
                }
                let message = world.gateways[gateway].message(nonce)?;
                let What::Ping { applied } = message.what else { return None };
                let mut points = self.points.get(world.points).clone();
                let number = points.answer(&self.names[gateway], applied, number, now).unwrap();
                message.what = What::Pong { number };
                world.points = self.points.put(points);
            }
            Step::AnswerLate(gateway, nonce) => {
                let number = world.overtaken?.number;
                world.gateways[gateway].message(nonce)?.what = What::Pong { number };
                self.seen.answered_by_an_overtaken_writer = true;
            }
            Step::Hear(gateway, nonce) => {
                let reading = world.reading(gateway);
                let from_sending = self.keeps(Rule::LeaseCountsFromSending);
                let waits = self.keeps(Rule::AnswerWaitsForItems);
                let one = &mut world.gateways[gateway];
                let at = one.messages.iter().position(|message| message.nonce == nonce)?;
                let What::Pong { number } = one.messages.remove(at).what else { return None };
                one.guard = self.guards.change(one.guard, |guard| {
                    let known = guard.applied().unwrap_or(0);
                    if !from_sending {
                        guard.pinged(nonce, reading);
                        // The first of the same nonce is found first: it is the older one.
                        guard.ponged(nonce, number);
                    }
                    guard.ponged(nonce, if waits { number } else { number.min(known) });
                });
            }
            _ => return None,
        }
        Some(())
    }

    fn take_feed(&mut self, world: &mut World, step: Step) -> Option<()> {
        match step {
            Step::Item(gateway, number) => {
                let at = usize::try_from(number).unwrap() - 1;
                let Revocation { grant, index, .. } = world.revocations[at];
                let key = (number, grant, index?);
                let item = self.items.entry(key).or_insert_with(|| item(number, grant, key.2));
                let reading = world.reading(gateway);
                let guard = world.gateways[gateway].guard;
                self.guards.get(guard).applied()?;
                world.gateways[gateway].guard = self.guards.change(guard, |guard| {
                    guard.hear(item, reading);
                });
            }
            Step::Miss(gateway) => {
                world.left.misses -= 1;
                world.gateways[gateway].begun += 1;
                let reading = world.reading(gateway);
                let one = &mut world.gateways[gateway];
                one.guard = self.guards.change(one.guard, |guard| guard.missed(None, reading));
            }
            Step::Begin(gateway, number) => {
                let guard = world.gateways[gateway].guard;
                if self.guards.get(guard).applied().is_some() {
                    return None;
                }
                world.gateways[gateway].begun += 1;
                let reading = world.reading(gateway);
                let one = &mut world.gateways[gateway];
                one.guard = self.guards.change(guard, |guard| guard.stands_at(number, reading));
                if !self.keeps(Rule::MissEndsReceipts)
                    && let Some(call) = &mut one.call
                {
                    call.asked = reading;
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Notes who may be told now that a revocation is enforced: whoever asks, asks at once.
    fn look(&mut self, world: &mut World) {
        let points = self.points.get(world.points);
        for (revocation, number) in world.revocations.iter_mut().zip(1..) {
            if revocation.enforced {
                continue;
            }
            let number = revocation.index.map(|_| number);
            let asked = monotonic(revocation.asked);
            let enforced = points.enforced(number, asked, monotonic(world.now));
            if !enforced.is_done() {
                continue;
            }
            revocation.enforced = true;
            self.seen.enforced_by_acknowledgement |= !enforced.acknowledged.is_empty();
            self.seen.enforced_by_the_end_of_a_lease |= !enforced.expired.is_empty();
            self.seen.enforced_before_it_was_recorded |= number.is_none();
            self.seen.enforced_by_a_new_writer |= world.overtaken.is_some();
        }
        for gateway in 0..GATEWAYS {
            let guard = self.guards.get(world.gateways[gateway].guard);
            let alive = guard.is_alive(world.reading(gateway));
            self.seen.lease_ran_out |= guard.lease_ends().is_some() && !alive;
            self.seen.lease_was_renewed |= guard.lease_ends() > Some(monotonic(START + LEASE.0));
            let started = world.gateways[gateway].call.is_some_and(|call| call.started);
            self.seen.used |= started;
            self.seen.cut_by_an_item |= started && alive && !self.is_usable(world, gateway);
        }
    }

    /// Forgets what can no longer lead to a wrong use, so that fewer worlds differ: answers that
    /// come too late or to a gateway without a call, and once everything is enforced the points.
    fn forget(&mut self, world: &mut World) {
        let is_settled = world.is_settled();
        for gateway in 0..GATEWAYS {
            let (matters, now) = (world.matters(gateway), world.reading(gateway));
            let from_sending = self.keeps(Rule::LeaseCountsFromSending);
            world.gateways[gateway].messages.retain(|message| {
                let is_late = from_sending && now >= message.sent.after(LEASE);
                let is_pong = matches!(message.what, What::Pong { .. });
                if is_pong || is_settled { matters && !is_late } else { true }
            });
        }
        if is_settled {
            world.points = self.points.put(self.begin_points(0));
        }
    }

    /// Whether a gateway, at its next step, uses what somebody was told is out of use.
    pub(super) fn is_violated(&mut self, world: &World) -> bool {
        (0..GATEWAYS).any(|gateway| {
            let Some(call) = world.gateways[gateway].call else { return false };
            let mut of_grant = world.revocations.iter().filter(|one| one.grant == call.grant);
            of_grant.any(|one| one.enforced) && self.is_usable(world, gateway)
        })
    }

    /// Whether the gateway may start its call, or go on with it.
    fn is_usable(&mut self, world: &World, gateway: usize) -> bool {
        let one = &world.gateways[gateway];
        let Some(Call { grant, asked, index: Some(index), started }) = one.call else {
            return false;
        };
        let key = (grant, index, asked);
        let held = self.receipts.entry(key).or_insert_with(|| receipt(grant, index, asked));
        let (guard, now) = (self.guards.get(one.guard), world.reading(gateway));
        match started {
            true => guard.may_go_on(held, now).is_ok(),
            false => guard.may_start(held, now).is_ok(),
        }
    }

    /// What is known at a gateway, for whoever reads how a rule was broken.
    pub(super) fn shown(&self, world: &World) -> String {
        let guards = world.gateways.iter().map(|one| self.guards.get(one.guard));
        format!(
            "{world:#?}\n{:#?}\n{:#?}",
            guards.collect::<Vec<_>>(),
            self.points.get(world.points)
        )
    }
}

fn item(number: u64, of: usize, index: u64) -> Item {
    Item {
        number,
        index,
        link: link(index),
        time: Time(index),
        kind: "revocation.issued".to_owned(),
        selector: Selector::Grant(grant(of)),
        suspend: false,
        reason_code: Some(text("operator")),
        reason: None,
        by: Actor::System,
        cause: None,
    }
}

fn receipt(of: usize, index: u64, asked: Monotonic) -> Held {
    let subject = Subject {
        grant: grant(of),
        agent: None,
        owner: Some(&id("alice")),
        task: None,
        tool: None,
        action: &id("read"),
        resource: &id("crm:"),
    };
    Held::new(index, asked, &subject)
}

const fn grant(n: usize) -> GrantId {
    GrantId(100 + n as u64)
}
