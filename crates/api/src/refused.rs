//! What is turned away at this door, counted, and recorded a moment later: a key that is not good, a
//! role that is too small, and what agents, enforcement points and approvers sent that could not be
//! taken, such as an argument twice or a part of a grant that is wider than the whole. All of it
//! leaves a trace, and nobody fills the ledger with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use bailiwick_core::command::{Answer, Command, Submission};
use bailiwick_core::event::{Actor, DenialsAggregated, REFUSED_MAX, Refused, Role};
use bailiwick_core::id::Text;
use bailiwick_ledger::Ledger;
use tokio::sync::watch;

use crate::auth::Caller;
use crate::desk::Desk;
use crate::problem::{Kind, point_to};

/// While requests are turned away without a pause, it takes longer each time until they are recorded,
/// up to so many times the usual: an attack is about one event each minute and not each second.
const PATIENCE_MAX: u32 = 64;

/// Bytes of what one event tells, as JSON; an event may hold a quarter more.
const PART_BYTES_MAX: usize = 48 * 1_024;

/// Who asked, the code, and what was asked for.
type Alike = (Option<Actor>, &'static str, String);

/// Refusals that wait to be recorded. Shared by all threads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refusals(Arc<Mutex<BTreeMap<Alike, u32>>>);

impl Refusals {
    fn counts(&self) -> MutexGuard<'_, BTreeMap<Alike, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more. When too many differ, those that come last are counted together.
    pub(crate) fn add(&self, alike: Alike, times: u32) {
        let mut counts = self.counts();
        let is_new = !counts.contains_key(&alike);
        let (_, code, _) = alike;
        let crowded = is_new && counts.len() + 2 >= REFUSED_MAX;
        let alike = if crowded { (None, code, "other requests".to_owned()) } else { alike };
        let count = counts.entry(alike).or_default();
        *count = count.saturating_add(times);
    }

    /// Records what was counted, every so often, and once more when the server closes.
    pub(crate) async fn record(
        &self,
        ledger: &Ledger,
        every: Duration,
        mut closing: watch::Receiver<bool>,
    ) {
        let (mut since, mut patience) = (Instant::now(), 1);
        loop {
            let wait = every.saturating_mul(patience);
            let closed = tokio::time::timeout(wait, closing.wait_for(|closing| *closing)).await;
            patience = patience_after(patience, self.counts().is_empty());
            since = self.flush(ledger, since).await;
            if closed.is_ok() {
                return;
            }
        }
    }

    /// Records what was counted since then; what cannot be recorded now waits.
    async fn flush(&self, ledger: &Ledger, since: Instant) -> Instant {
        let counts = std::mem::take(&mut *self.counts());
        let milliseconds = u32::try_from(since.elapsed().as_millis()).unwrap_or(u32::MAX);
        let mut waits = false;
        for part in parts(counts) {
            let denials = part.iter().filter_map(told).collect();
            let refused = DenialsAggregated { milliseconds, denials };
            let command = Command::RecordRefused(refused);
            let actor = Actor::System;
            let reply = ledger.submit(Submission { actor, request: None, trace: None, command });
            let reply = reply.await;
            if !reply.durable || !matches!(reply.answer, Answer::Done(_)) {
                waits = true;
                part.into_iter().for_each(|(alike, times)| self.add(alike, times));
            }
        }
        if waits { since } else { Instant::now() }
    }
}

/// What was counted, in parts that one event can hold each: names of owners and issuers may be long.
fn parts(counts: BTreeMap<Alike, u32>) -> Vec<Vec<(Alike, u32)>> {
    let mut parts: Vec<Vec<(Alike, u32)>> = Vec::new();
    let mut bytes = 0;
    for one in counts {
        // Written as JSON it is longer than as it is recorded.
        let more =
            told(&one).and_then(|told| serde_json::to_vec(&told).ok()).map_or(0, |j| j.len());
        bytes += more;
        match parts.last_mut() {
            Some(part) if bytes <= PART_BYTES_MAX && part.len() < REFUSED_MAX => part.push(one),
            Some(_) | None => {
                bytes = more;
                parts.push(vec![one]);
            }
        }
    }
    parts
}

fn told(((actor, code, what), count): &(Alike, u32)) -> Option<Refused> {
    let (code, what) = (Text::new(code).ok()?, Text::new(what).ok()?);
    Some(Refused { actor: actor.clone(), code, what, count: *count })
}

/// How patient to be next, when nobody was turned away or somebody was.
fn patience_after(patience: u32, is_quiet: bool) -> u32 {
    if is_quiet { 1 } else { patience.saturating_mul(2).min(PATIENCE_MAX) }
}

/// Lets a request through and, if it is turned away, counts it; with 401 or 403 it says where it says
/// how to come in.
pub(crate) async fn note(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().cloned();
    let authorization = request.headers().get(AUTHORIZATION).cloned();
    let mut response = next.run(request).await;
    let status = response.status();
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        point_to(&mut response, &desk.settings.resource_metadata);
    }
    let Some(kind) = response.extensions().get::<Kind>().copied() else { return response };
    let headers = authorization.into_iter().map(|key| (AUTHORIZATION, key)).collect();
    let actor = match status {
        StatusCode::UNAUTHORIZED => None,
        StatusCode::FORBIDDEN => {
            Caller::of(&desk, &headers).await.ok().map(|caller| caller.actor())
        }
        StatusCode::BAD_REQUEST | StatusCode::CONFLICT | StatusCode::PAYLOAD_TOO_LARGE
            if method != Method::GET =>
        {
            match Caller::of(&desk, &headers).await {
                Ok(caller) if !may_err(caller.role) => Some(caller.actor()),
                Ok(_) | Err(_) => return response,
            }
        }
        _ => return response,
    };
    let path = path.as_ref().map_or("another path", MatchedPath::as_str);
    desk.refused.add((actor, kind.code, format!("{method} {path}")), 1);
    response
}

/// Whether what somebody in this role sends amiss is a slip, and not worth a record: people who run
/// the ledger, and people who only look.
const fn may_err(role: Role) -> bool {
    match role {
        Role::Admin | Role::Operator | Role::Auditor | Role::Subscriber => true,
        Role::Agent | Role::Enforcer | Role::Approver => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attack_is_recorded_ever_more_seldom_and_a_pause_ends_that() {
        let mut patience = 1;
        let mut waits = Vec::new();
        for _ in 0..8 {
            patience = patience_after(patience, false);
            waits.push(patience);
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 64, 64]);
        assert_eq!(patience_after(patience, true), 1);
    }

    #[test]
    fn too_many_that_differ_are_counted_together() {
        let refusals = Refusals::default();
        for n in 0..2 * REFUSED_MAX {
            refusals.add((None, "not_permitted", format!("GET /{n}")), 1);
            refusals.add((None, "credential_invalid", format!("GET /{n}")), 2);
        }
        let counts = refusals.counts();
        assert!(counts.len() <= REFUSED_MAX);
        let of = |code: &str| {
            let alike = counts.iter().filter(|((_, of, _), _)| *of == code);
            alike.map(|(_, count)| *count as usize).sum::<usize>()
        };
        assert_eq!(of("not_permitted"), 2 * REFUSED_MAX);
        assert_eq!(of("credential_invalid"), 4 * REFUSED_MAX);
    }

    #[test]
    fn what_is_counted_of_long_names_comes_in_parts_that_can_be_recorded() {
        let refusals = Refusals::default();
        let name = |n: usize| format!("{n}{}", "x".repeat(250));
        for n in 0..REFUSED_MAX {
            let actor = Actor::Token {
                issuer: Text::new(&format!("https://{}", "i".repeat(1_000))).unwrap(),
                owner: name(n).parse().unwrap(),
                agent: Some(name(n).parse().unwrap()),
                role: bailiwick_core::event::Role::Agent,
            };
            refusals.add((Some(actor), "not_permitted", "GET /v1/agents/{id}".to_owned()), 1);
        }
        let counts = std::mem::take(&mut *refusals.counts());
        let (all, parts) = (counts.len(), parts(counts));
        assert!(parts.len() > 1);
        assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), all);
        for part in parts {
            let denials: Vec<_> = part.iter().filter_map(told).collect();
            assert_eq!(denials.len(), part.len());
            let bytes = serde_json::to_vec(&denials).unwrap().len();
            assert!(bytes < bailiwick_core::record::frame::BODY_BYTES_MAX, "{bytes}");
        }
    }
}
