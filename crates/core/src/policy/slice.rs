//! Which policies can say anything about a question: an index by the heads of their scopes.
//!
//! A policy's scope (`principal`, `action`, `resource` in its parentheses) is decided here, without
//! Cedar, by looking it up; only `when` and `unless` are left to evaluate.

use std::collections::BTreeMap;

use cedar_policy::{ActionConstraint, EntityTypeName, EntityUid, Policy};
use cedar_policy::{PrincipalConstraint, ResourceConstraint};
use smol_str::SmolStr;

use super::{Fault, resource};
use crate::id::{Action, Resource};

/// The types of what a principal is or belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Owner,
    Agent,
    Group,
}

/// What the index knows of a principal, and what a policy's scope names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Head {
    /// Every principal.
    Any,
    /// Every principal of a type.
    Is(Kind),
    /// This one, or a member of this group.
    Named(Kind, SmolStr),
}

/// The scope of one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    head: Head,
    /// The `Agent` of `principal is Agent in Group::"g"`.
    pub(super) only: Option<Kind>,
    /// The actions, or nothing for all of them.
    actions: Option<Vec<SmolStr>>,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Anywhere,
    Exactly(SmolStr),
    Under(SmolStr),
}

impl Scope {
    /// Reads the scope of a validated policy. A scope that validation lets through and this index
    /// does not understand is refused.
    pub(super) fn of(policy: &Policy) -> Result<Self, Fault> {
        let (head, only) = match policy.principal_constraint() {
            PrincipalConstraint::Any => (Head::Any, None),
            PrincipalConstraint::Eq(id) => match principal(&id)? {
                Head::Named(Kind::Group, _) => return Err(never("a principal")),
                head @ (Head::Named(..) | Head::Any | Head::Is(_)) => (head, None),
            },
            PrincipalConstraint::In(id) => (principal(&id)?, None),
            PrincipalConstraint::Is(name) => (Head::Is(principal_kind(&name)?), None),
            PrincipalConstraint::IsIn(name, id) => (principal(&id)?, Some(principal_kind(&name)?)),
        };
        let actions = match policy.action_constraint() {
            ActionConstraint::Any => None,
            ActionConstraint::Eq(id) => Some(vec![action(&id)?]),
            ActionConstraint::In(ids) => {
                let mut actions = ids.iter().map(action).collect::<Result<Vec<_>, _>>()?;
                actions.sort();
                actions.dedup();
                Some(actions)
            }
        };
        let place = match policy.resource_constraint() {
            ResourceConstraint::Any => Place::Anywhere,
            ResourceConstraint::Eq(id) => Place::Exactly(place(&id)?),
            ResourceConstraint::In(id) => Place::Under(place(&id)?),
            ResourceConstraint::Is(name) => {
                resource_kind(&name)?;
                Place::Anywhere
            }
            ResourceConstraint::IsIn(name, id) => {
                resource_kind(&name)?;
                Place::Under(place(&id)?)
            }
        };
        Ok(Self { head, only, actions, place })
    }
}

fn never(what: &str) -> Fault {
    Fault::new(0, format!("the scope names something that is never {what}"))
}

fn principal(id: &EntityUid) -> Result<Head, Fault> {
    Ok(Head::Named(kind(id.type_name()).ok_or_else(|| never("a principal"))?, name(id)))
}

fn principal_kind(type_name: &EntityTypeName) -> Result<Kind, Fault> {
    match kind(type_name) {
        Some(kind @ (Kind::Owner | Kind::Agent)) => Ok(kind),
        Some(Kind::Group) | None => Err(never("a principal")),
    }
}

fn action(id: &EntityUid) -> Result<SmolStr, Fault> {
    if is_type(id.type_name(), "Action") { Ok(name(id)) } else { Err(never("an action")) }
}

fn place(id: &EntityUid) -> Result<SmolStr, Fault> {
    resource_kind(id.type_name())?;
    Ok(name(id))
}

fn resource_kind(type_name: &EntityTypeName) -> Result<(), Fault> {
    if is_type(type_name, "Resource") { Ok(()) } else { Err(never("a resource")) }
}

fn kind(type_name: &EntityTypeName) -> Option<Kind> {
    let kinds = [("Owner", Kind::Owner), ("Agent", Kind::Agent), ("Group", Kind::Group)];
    kinds.into_iter().find(|(name, _)| is_type(type_name, name)).map(|(_, kind)| kind)
}

fn is_type(type_name: &EntityTypeName, name: &str) -> bool {
    type_name.namespace_components().next().is_none() && type_name.basename() == name
}

fn name(id: &EntityUid) -> SmolStr {
    SmolStr::new(id.id().unescaped())
}

/// Policies by action, principal and place.
#[derive(Debug, Default)]
pub(super) struct Slice {
    by_action: BTreeMap<SmolStr, Heads>,
    any_action: Heads,
}

type Heads = BTreeMap<Head, Places>;

#[derive(Debug, Default)]
struct Places {
    anywhere: Vec<u32>,
    exactly: BTreeMap<SmolStr, Vec<u32>>,
    under: BTreeMap<SmolStr, Vec<u32>>,
}

impl Slice {
    /// Files the policy with this index under its scope.
    pub(super) fn add(&mut self, index: u32, scope: &Scope) {
        match &scope.actions {
            None => file(&mut self.any_action, index, scope),
            Some(actions) => {
                for action in actions {
                    file(self.by_action.entry(action.clone()).or_default(), index, scope);
                }
            }
        }
    }

    /// The actions that policies are filed under, ascending.
    pub(super) fn actions(&self) -> impl Iterator<Item = &str> {
        self.by_action.keys().map(SmolStr::as_str)
    }

    /// The policies whose scope fits, ascending, but for a type that [`Scope::only`] may add. `heads`
    /// are all that the principal is and belongs to, sorted.
    pub(super) fn candidates(
        &self,
        heads: &[Head],
        action: &Action,
        resource: &Resource,
    ) -> Vec<u32> {
        let mut found = Vec::new();
        let of_action = self.by_action.get(action.as_str());
        for filed in of_action.into_iter().chain([&self.any_action]) {
            // Whichever is fewer is walked: the policies' heads, or the principal's groups.
            if filed.len() <= heads.len() {
                let fitting = filed.iter().filter(|(head, _)| heads.binary_search(head).is_ok());
                fitting.for_each(|(_, places)| places.collect(resource.as_str(), &mut found));
            } else {
                let fitting = heads.iter().filter_map(|head| filed.get(head));
                fitting.for_each(|places| places.collect(resource.as_str(), &mut found));
            }
        }
        found.sort_unstable();
        found
    }
}

fn file(heads: &mut Heads, index: u32, scope: &Scope) {
    let places = heads.entry(scope.head.clone()).or_default();
    match &scope.place {
        Place::Anywhere => places.anywhere.push(index),
        Place::Exactly(uri) => places.exactly.entry(uri.clone()).or_default().push(index),
        Place::Under(uri) => places.under.entry(uri.clone()).or_default().push(index),
    }
}

impl Places {
    fn collect(&self, uri: &str, found: &mut Vec<u32>) {
        found.extend(&self.anywhere);
        found.extend(self.exactly.get(uri).into_iter().flatten());
        if self.under.is_empty() {
            return;
        }
        for prefix in resource::prefixes(uri) {
            found.extend(self.under.get(prefix).into_iter().flatten());
        }
    }
}
