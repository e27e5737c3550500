//! Owners: the humans on whose behalf agents act.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bailiwick_core::command::{Command, WriteOwner};
use bailiwick_core::event::Selector;
use bailiwick_core::id::{GroupId, OwnerId};
use bailiwick_core::state;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Why;
use super::delegates::{self, Delegate};
use crate::auth::{Caller, READERS};
use crate::body::{Asked, Named, Told};
use crate::command::{Recorded, changed, created, json};
use crate::desk::Desk;
use crate::moment;
use crate::page::{self, Page, PageQuery, Span};
use crate::problem::{Details, INVALID_BODY, NOT_FOUND, Problem};

const LIST: &str = "owners";

/// An owner to be registered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewOwner {
    /// Who.
    owner: String,
    /// Groups the owner belongs to.
    #[serde(default)]
    groups: Vec<String>,
}

/// An owner's record, whole.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnerChange {
    /// Who; the path says so already.
    #[serde(default)]
    owner: Option<String>,
    /// Groups the owner belongs to.
    #[serde(default)]
    groups: Vec<String>,
}

/// An owner as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Owner {
    /// Who.
    #[schema(value_type = String)]
    owner: OwnerId,
    /// Groups the owner belongs to.
    #[schema(value_type = Vec<String>)]
    groups: BTreeSet<GroupId>,
    /// Whether everything under the owner is stopped.
    disabled: bool,
    /// The revocation whose suspension holds until lifted.
    suspended_by: Option<String>,
    /// Humans who may act through the owner's agents.
    delegates: Vec<Delegate>,
    /// When registered.
    registered_at: String,
}

/// The groups that a body names.
pub(super) fn groups(given: &[String]) -> Result<BTreeSet<GroupId>, Problem> {
    Ok(given.iter().map(|group| GroupId::new(group)).collect::<Result<_, _>>()?)
}

/// The revocation that suspends exactly this.
pub(super) fn suspended_by(state: &state::State, selector: &Selector) -> Option<String> {
    state.marks().is_suspended(selector).map(|index| format!("revocation_{index}"))
}

/// Refuses a body that names another thing than the path does.
pub(super) fn same(path: &str, body: Option<&str>) -> Result<(), Problem> {
    match body {
        Some(body) if body != path => {
            Err(INVALID_BODY.with(format!("the body names `{body}`, the path `{path}`")))
        }
        _ => Ok(()),
    }
}

fn show(state: &state::State, id: &OwnerId, owner: &state::Owner) -> Owner {
    Owner {
        owner: id.clone(),
        groups: owner.written.groups.clone(),
        disabled: owner.disabled,
        suspended_by: suspended_by(state, &Selector::Owner(id.clone())),
        delegates: delegates::of(owner),
        registered_at: moment::text(owner.registered),
    }
}

/// Register an owner.
#[utoipa::path(post, path = "/v1/owners", tag = "owners", request_body = NewOwner,
    responses((status = 201, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn create(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Told { body, about }: Told<NewOwner>,
) -> Result<Response, Problem> {
    let owner = OwnerId::new(&body.owner)?;
    let write = WriteOwner { owner, groups: groups(&body.groups)? };
    let outcome = desk.submit(&caller, about, Command::RegisterOwner(write)).await?;
    Ok(created(&outcome, "/v1/owners", body.owner))
}

/// List owners.
#[utoipa::path(get, path = "/v1/owners", tag = "owners", params(PageQuery),
    responses((status = 200, body = Page<Owner>), (status = "default", body = Details)))]
pub(crate) async fn list(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Asked(query): Asked<PageQuery>,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    let span: Span<OwnerId> = query.span(LIST)?;
    let page = desk.read(move |state| {
        let owners = page::entries(state.owners(), &span);
        page::take(LIST, span.limit, owners, |id, owner| Some(show(state, id, owner)))
    });
    Ok(json(StatusCode::OK, &page.await?))
}

/// Get one owner.
#[utoipa::path(get, path = "/v1/owners/{id}", tag = "owners", params(("id" = String, Path)),
    responses((status = 200, body = Owner), (status = "default", body = Details)))]
pub(crate) async fn get(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
) -> Result<Response, Problem> {
    caller.needs(READERS)?;
    let id = OwnerId::new(&name)?;
    let owner = desk.read(move |state| state.owners().get(&id).map(|o| show(state, &id, o)));
    let unknown = || NOT_FOUND.with(format!("owner `{name}` is not registered"));
    Ok(json(StatusCode::OK, &owner.await?.ok_or_else(unknown)?))
}

/// Replace an owner's record.
#[utoipa::path(put, path = "/v1/owners/{id}", tag = "owners", params(("id" = String, Path)),
    request_body = OwnerChange,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn update(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body, about }: Told<OwnerChange>,
) -> Result<Response, Problem> {
    same(&name, body.owner.as_deref())?;
    let write = WriteOwner { owner: OwnerId::new(&name)?, groups: groups(&body.groups)? };
    let outcome = desk.submit(&caller, about, Command::UpdateOwner(write)).await?;
    Ok(changed(&outcome, name))
}

/// End everything under an owner.
#[utoipa::path(post, path = "/v1/owners/{id}/disable", tag = "owners",
    params(("id" = String, Path)), request_body = Why,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn disable(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body, about }: Told<Why>,
) -> Result<Response, Problem> {
    let command = Command::DisableOwner { owner: OwnerId::new(&name)?, reason: body.text()? };
    let outcome = desk.submit(&caller, about, command).await?;
    Ok(changed(&outcome, name))
}

/// Let a disabled owner act again. Grants from before stay ended.
#[utoipa::path(post, path = "/v1/owners/{id}/enable", tag = "owners",
    params(("id" = String, Path)), request_body = Why,
    responses((status = 200, body = Recorded), (status = "default", body = Details)))]
pub(crate) async fn enable(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    Named(name): Named,
    Told { body, about }: Told<Why>,
) -> Result<Response, Problem> {
    body.text()?;
    let command = Command::EnableOwner { owner: OwnerId::new(&name)? };
    let outcome = desk.submit(&caller, about, command).await?;
    Ok(changed(&outcome, name))
}
