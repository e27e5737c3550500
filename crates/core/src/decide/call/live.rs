//! What the ledger knows of a call at the moment it is decided, for policies to read. Each thing is
//! looked up when a policy reads it, and once for the agent's question and the owner's.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use super::{Party, covers, holder, is_for};
use crate::command::Authorize;
use crate::id::{PolicyId, Text};
use crate::policy::{Live, UsableGrant};
use crate::state::{State, Verdicts, View};
use crate::time::Time;

/// What the call's event tells of how the policies saw it.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// The counts and the risk that they read.
    pub(super) read: BTreeMap<Text, i64>,
    /// Shadow policies that would have changed the answer, the first by id.
    pub(super) shadow: Vec<PolicyId>,
}

impl Seen {
    pub(super) fn of(verdicts: &Verdicts, view: &View) -> Self {
        let read = verdicts.read().filter_map(|(name, n)| Some((Text::new(name).ok()?, n)));
        Self { read: read.collect(), shadow: super::named(view, &verdicts.shadow()) }
    }

    /// What is told of a call that policy permits and something else denies: no shadow policy would
    /// have changed that.
    pub(super) fn without_shadow(self) -> Self {
        Self { shadow: Vec::new(), ..self }
    }
}

/// Asks the policies with everything the state knows.
pub(super) fn verdicts(
    state: &State,
    party: &Party<'_>,
    ask: &Authorize,
    now: Time,
) -> Option<Verdicts> {
    let (history, grant) = (OnceCell::new(), OnceCell::new());
    let live = Live {
        history: &|| *history.get_or_init(|| state.history(ask, now)),
        risk: party.agent.map_or(0, |(agent, _)| state.risk(agent)),
        grant: &|| *grant.get_or_init(|| usable_grant(state, party, ask, now)),
    };
    state.view().verdicts_with(ask, now, Some(live))
}

/// The live grant with the lowest index that covers the call, before policy narrows what may be used.
fn usable_grant(
    state: &State,
    party: &Party<'_>,
    ask: &Authorize,
    now: Time,
) -> Option<UsableGrant> {
    let holder = holder(party);
    let grants = state.grants().candidates(&holder, ask.task, &ask.action, &ask.resource);
    let live = grants
        .filter(|(_, grant)| is_for(grant, ask))
        .filter(|(id, grant)| covers(state, party, *id, grant, ask, now).is_ok());
    let (_, grant) = live.min_by_key(|(id, _)| *id)?;
    Some(UsableGrant {
        uses: grant.uses,
        uses_left: grant.max_uses.saturating_sub(grant.uses),
        age_seconds: now.since(grant.not_before).0 / 1_000,
        expires_in_seconds: grant.expires_at.since(now).0 / 1_000,
    })
}
