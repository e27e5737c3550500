//! Access review: what an owner's agents may do now, and whether each of it is still needed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bailiwick_audit::Limits;
use bailiwick_core::command::Command;
use bailiwick_core::event::{DenialCode, Issuance, Review, Role};
use bailiwick_core::id::{GrantId, OwnerId};
use bailiwick_core::state;
use bailiwick_core::time::Time;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Grant, show};
use crate::auth::{Caller, READERS};
use crate::body::{Asked, Named, Told};
use crate::command::{Recorded, changed, json};
use crate::desk::Desk;
use crate::page::{self, Page, PageQuery, Span};
use crate::problem::{Details, NOT_FOUND, Problem};
use crate::rest::text;

const LIST: &str = "reviews";
/// How long the tables may take to come up to what is listed.
const FRESH_MAX: Duration = Duration::from_secs(2);

/// A grant to be looked at.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reviewed {
    /// The grant.
    #[serde(flatten)]
    grant: Grant,
    /// Whether it was issued because somebody broke the glass: look at these first.
    break_glass: bool,
    /// Why it was issued, in the words of whoever wanted it.
    justification: Option<Value>,
    /// When it was used last.
    last_used: Option<Value>,
}

/// What a review came to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewReview {
    /// `keep` or `revoke`.
    #[schema(value_type = String)]
    review: Review,
    /// Why, in words for people.
    #[serde(default)]
    reason: Option<String>,
}

/// List the grants of an owner and of the owner's agents that are live or will be, for review: those for which the glass
/// was broken come first, on the first page. For the owner in person, with role `approver`, too.
#[utoipa::path(get, path = "/v1/owners/{id}/review", tag = "grants",
    params(("id" = String, Path), PageQuery),
    responses((status = 200, body = Page<Reviewed>), (status = "default", body = Details)))]
pub(crate) async fn list(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Asked(query): Asked<PageQuery>,
) -> Result<Response, Problem> {
    let owner = OwnerId::new(&name)?;
    let span: Span<GrantId> = query.span(LIST)?;
    let (now, actor, role) = (desk.ledger.now(), caller.actor(), caller.role);
    let found = desk.read(move |state| {
        let in_person = role == Role::Approver && state.human(&actor) == Some(&owner);
        if !in_person && !READERS.contains(&role) {
            return None;
        }
        let is_known = state.owners().contains_key(&owner);
        Some(is_known.then(|| page(state, &owner, &span, now)))
    });
    let Some(found) = found.await? else { return Err(caller.not_permitted()) };
    let unknown = || NOT_FOUND.with(format!("owner `{name}` is not registered"));
    let mut page = found.ok_or_else(unknown)?;
    tell(&desk, &mut page.items).await;
    Ok(json(StatusCode::OK, &page))
}

fn page(state: &state::State, owner: &OwnerId, span: &Span<GrantId>, now: Time) -> Page<Reviewed> {
    let is_live = |id: GrantId, grant: &state::Grant| {
        let standing = state.check_grant(id, grant, now);
        grant.owner == *owner && matches!(standing, Ok(()) | Err(DenialCode::NotYetValid))
    };
    let mut page = page::take(LIST, span.limit, state.grants().after(span.after), |id, grant| {
        let wanted = grant.issuance != Issuance::BreakGlass && is_live(*id, grant);
        wanted.then(|| reviewed(state, *id, grant, now))
    });
    if span.after.is_none() {
        let broken = state
            .grants()
            .after(None)
            .filter(|(id, grant)| grant.issuance == Issuance::BreakGlass && is_live(*id, grant));
        let broken =
            broken.take(page::LIMIT_MAX).map(|(id, grant)| reviewed(state, id, grant, now));
        page.items.splice(0..0, broken.collect::<Vec<_>>());
    }
    page
}

fn reviewed(state: &state::State, id: GrantId, grant: &state::Grant, now: Time) -> Reviewed {
    Reviewed {
        grant: show(state, id, grant, now),
        break_glass: grant.issuance == Issuance::BreakGlass,
        justification: None,
        last_used: None,
    }
}

/// Adds what the tables know: why each was issued, and when it was used last. A review goes on
/// without it.
async fn tell(desk: &Desk, items: &mut [Reviewed]) {
    if items.is_empty() {
        return;
    }
    let mut sql = "SELECT seq, justification, last_used FROM grants WHERE seq IN (".to_owned();
    for (n, item) in items.iter().enumerate() {
        let comma = if n == 0 { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(sql, "{comma}{}", item.grant.grant.0);
    }
    sql.push(')');
    let head = desk.ledger.committed().borrow().next_index;
    let told = async {
        if let Some(last) = head.checked_sub(1) {
            desk.audit.wait_for(last, FRESH_MAX).await?;
        }
        desk.audit.run(&sql, &Limits::INTERACTIVE).await
    };
    match told.await {
        Ok(table) => {
            let rows = table.rows.into_iter().filter_map(|row| {
                let [seq, why, used]: [Value; 3] = row.try_into().ok()?;
                Some((seq.as_u64()?, (why, used)))
            });
            let mut known: BTreeMap<u64, (Value, Value)> = rows.collect();
            for item in items {
                let Some((why, used)) = known.remove(&item.grant.grant.0) else { continue };
                item.justification = Some(why).filter(|why| !why.is_null());
                item.last_used = Some(used).filter(|used| !used.is_null());
            }
        }
        Err(error) => tracing::warn!(%error, "a review is listed without what the tables know"),
    }
}

/// Say of a grant whether it is still needed. `revoke` records the revocation in the same step. For
/// operators, and for the owner in person with role `approver`.
#[utoipa::path(post, path = "/v1/grants/{id}/review", tag = "grants",
    params(("id" = String, Path)), request_body = NewReview,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn create(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body, about }: Told<NewReview>,
) -> Result<Response, Problem> {
    let reason = text(body.reason.as_deref())?;
    let command = Command::ReviewGrant { grant: name.parse()?, review: body.review, reason };
    let outcome = desk.submit(&caller, about, command).await?;
    Ok(changed(&outcome, name))
}
