//! What is turned away at this door, counted, and recorded a moment later: a key that is not good
//! and a role that is too small leave a trace, and nobody fills the ledger with them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use bailiwick_core::command::{Answer, Command, Submission};
use bailiwick_core::event::{Actor, DenialsAggregated, REFUSED_MAX, Refused};
use bailiwick_core::id::Text;
use bailiwick_ledger::Ledger;
use tokio::sync::watch;

use crate::auth::Caller;
use crate::desk::Desk;
use crate::problem::{CREDENTIAL_INVALID, NOT_PERMITTED};

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
    fn add(&self, alike: Alike, times: u32) {
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
        let mut since = Instant::now();
        loop {
            let closed = tokio::time::timeout(every, closing.wait_for(|closing| *closing)).await;
            since = self.flush(ledger, since).await;
            if closed.is_ok() {
                return;
            }
        }
    }

    /// Records what was counted since then; what cannot be recorded now waits.
    async fn flush(&self, ledger: &Ledger, since: Instant) -> Instant {
        let counts = std::mem::take(&mut *self.counts());
        if counts.is_empty() {
            return Instant::now();
        }
        let milliseconds = u32::try_from(since.elapsed().as_millis()).unwrap_or(u32::MAX);
        let denials = counts.iter().filter_map(|((actor, code, what), count)| {
            let (code, what) = (Text::new(code).ok()?, Text::new(what).ok()?);
            Some(Refused { actor: actor.clone(), code, what, count: *count })
        });
        let refused = DenialsAggregated { milliseconds, denials: denials.collect() };
        let command = Command::RecordRefused(refused);
        let submission = Submission { actor: Actor::System, request: None, trace: None, command };
        let reply = ledger.submit(submission).await;
        if reply.durable && matches!(reply.answer, Answer::Done(_)) {
            return Instant::now();
        }
        counts.into_iter().for_each(|(alike, times)| self.add(alike, times));
        since
    }
}

/// Lets a request through and counts it if it is turned away: 401 or 403.
pub(crate) async fn note(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().cloned();
    let authorization = request.headers().get(AUTHORIZATION).cloned();
    let response = next.run(request).await;
    let status = response.status();
    if status != StatusCode::UNAUTHORIZED && status != StatusCode::FORBIDDEN {
        return response;
    }
    let headers: HeaderMap = authorization.into_iter().map(|key| (AUTHORIZATION, key)).collect();
    let actor = Caller::of(&desk, &headers).await.ok().map(|caller| caller.actor());
    let code = match status {
        StatusCode::UNAUTHORIZED => CREDENTIAL_INVALID.code,
        _ => NOT_PERMITTED.code,
    };
    let path = path.as_ref().map_or("another path", MatchedPath::as_str);
    desk.refused.add((actor, code, format!("{method} {path}")), 1);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
