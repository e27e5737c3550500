//! What a revocation would end, before anybody asks for it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bailiwick_core::event::Selector;
use bailiwick_core::id::GrantId;
use bailiwick_core::state::{self, AgentStatus, OpenCall};
use bailiwick_core::time::Time;
use bailiwick_ledger::Ledger;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::auth::{Caller, READERS};
use crate::body::Told;
use crate::command::json;
use crate::desk::{Desk, blocking};
use crate::problem::{Details, Problem};
use crate::rest::selector;

/// Grants or calls that are looked at before others may have the state again.
const PIECE: usize = 20_000;

/// What might be taken back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// As a revocation names it.
    selector: Value,
}

/// What a revocation would end now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Preview {
    /// What it would take back.
    selector: Value,
    /// Live grants that it would end.
    grants: usize,
    /// Registered agents, not retired, that it would suspend unless it is for grants only.
    agents: usize,
    /// Calls in flight that it would cut. The ledger knows a call by its agent and its grant.
    calls_in_flight: usize,
    /// Live enforcement points that would hear of it.
    enforcement_points: usize,
}

/// Count what a revocation would end. Records nothing.
#[utoipa::path(post, path = "/v1/revocations/preview", tag = "revocations", request_body = Plan,
    responses((status = 200, body = Preview), (status = "default", body = Details)))]
pub(crate) async fn preview(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Told { body, about: _ }: Told<Plan>,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    let selector = selector(&body.selector)?;
    let (ledger, now) = (desk.ledger.clone(), desk.ledger.now());
    let count = blocking(move || {
        let agents = ledger.read(|state| agents(state, &selector));
        let calls = in_pieces(|after| {
            ledger.read(|state| {
                piece(state.open_calls(after), |_, call| is_cut(state, call, &selector))
            })
        });
        (grants(&ledger, &selector, now), agents, calls)
    });
    let (grants, agents, calls_in_flight) = count.await?;
    let enforcement_points = desk.points.live();
    let selector = body.selector;
    let preview = Preview { selector, grants, agents, calls_in_flight, enforcement_points };
    Ok(json(StatusCode::OK, &preview))
}

/// Adds up pieces, between which others may have the state: what each counts, and the last key that
/// it looked at where there may be more.
fn in_pieces<K>(mut count: impl FnMut(Option<K>) -> (usize, Option<K>)) -> usize {
    let (mut all, mut after) = (0, None);
    loop {
        let (counted, last) = count(after);
        all += counted;
        if last.is_none() {
            return all;
        }
        after = last;
    }
}

/// One piece of what [`in_pieces`] adds up.
fn piece<K: Copy, V>(
    items: impl Iterator<Item = (K, V)>,
    counts: impl Fn(K, V) -> bool,
) -> (usize, Option<K>) {
    let (mut counted, mut last) = (0, None);
    for (looked_at, (key, value)) in items.enumerate() {
        if looked_at == PIECE {
            return (counted, last);
        }
        counted += usize::from(counts(key, value));
        last = Some(key);
    }
    (counted, None)
}

fn grants(ledger: &Ledger, selector: &Selector, now: Time) -> usize {
    if let Selector::Grant(id) = selector {
        // Without a family there is nothing to look for beside the grant itself.
        let alone = ledger.read(|state| match state.grants().get(*id) {
            Some(grant) if grant.delegated() > 0 => None,
            Some(grant) => Some(usize::from(is_ended(state, *id, grant, selector, now))),
            None => Some(0),
        });
        if let Some(alone) = alone {
            return alone;
        }
    }
    in_pieces(|after| {
        ledger.read(|state| {
            let all = state.grants().after(after);
            piece(all, |id, grant| is_ended(state, id, grant, selector, now))
        })
    })
}

fn is_ended(
    state: &state::State,
    id: GrantId,
    grant: &state::Grant,
    selector: &Selector,
    now: Time,
) -> bool {
    state.grants().is_named_by(id, selector) && state.check_grant(id, grant, now).is_ok()
}

fn agents(state: &state::State, selector: &Selector) -> usize {
    let agents = state.agents();
    let is_there = |agent: &state::Agent| agent.status != AgentStatus::Retired;
    match selector {
        Selector::All => agents.values().filter(|agent| is_there(agent)).count(),
        Selector::Owner(owner) => {
            agents.values().filter(|agent| agent.owner == *owner && is_there(agent)).count()
        }
        Selector::Agent(id) => usize::from(agents.get(id).is_some_and(is_there)),
        Selector::Grant(_) | Selector::Task(_) | Selector::Tool(_) | Selector::Resource(_) => 0,
    }
}

fn is_cut(state: &state::State, call: &OpenCall, selector: &Selector) -> bool {
    if state.grants().get(call.grant).is_some() {
        return state.grants().is_named_by(call.grant, selector);
    }
    // The grant is forgotten: left are its number, who calls, and on whose behalf.
    let agent = call.agent.as_ref();
    match selector {
        Selector::All => true,
        Selector::Grant(id) => call.grant == *id,
        Selector::Agent(id) => agent == Some(id),
        Selector::Owner(id) => agent
            .and_then(|agent| state.agents().get(agent))
            .is_some_and(|agent| agent.owner == *id),
        Selector::Task(_) | Selector::Tool(_) | Selector::Resource(_) => false,
    }
}
