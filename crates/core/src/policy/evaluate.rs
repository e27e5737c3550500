//! The only room that knows Cedar's insides: syntax trees and the evaluator of `cedar-policy-core`,
//! which is pinned exactly. Tests hold every answer against Cedar's public `Authorizer`.
//!
//! What makes it fast: a policy's scope is decided by [`super::slice`]; its condition is kept as a
//! tree without source locations, whose cloning dominates otherwise; and of context and entities
//! only those parts are built that the conditions at hand read.

mod reads;
mod situation;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use cedar_policy_core::ast::{
    BinaryOp, Context, Eid, Entity, EntityType, EntityUID, EntityUIDEntry, Expr, ExprKind,
    Literal as Constant, Name, PartialValue, Request, Value, ValueKind, Var,
};
use cedar_policy_core::entities::{Entities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::parser::Loc;
use smol_str::SmolStr;

use super::annotation::Annotation;
use super::inputs::Inputs;
use super::slice::{Head, Kind};
use super::{DEPTH_MAX, Fault, Question};
use crate::id::{AgentId, GroupId, OwnerId};
use crate::properties::Properties;
use reads::Reads;
use situation::{context, entities};

/// What policies may know of an owner or an agent, as a Cedar entity. Built when the registry
/// changes, not for every call.
#[derive(Debug, Clone)]
pub struct Principal {
    kind: Kind,
    /// INVARIANT: sorted, for the index searches in it.
    heads: Vec<Head>,
    uid: Arc<EntityUID>,
    entity: Arc<Entity>,
    /// An agent's owner.
    owner: Option<Arc<EntityUID>>,
}

impl Principal {
    /// An owner with the groups it is a member of.
    #[must_use]
    pub fn owner(id: &OwnerId, groups: &BTreeSet<GroupId>) -> Self {
        let attributes = [(ID, Value::from(id.as_str()))];
        Self::new(Kind::Owner, id.as_str(), attributes, None, groups)
    }

    /// An agent with its owner, its purpose and the groups it is a member of itself.
    #[must_use]
    pub fn agent(id: &AgentId, owner: &OwnerId, purpose: &str, groups: &BTreeSet<GroupId>) -> Self {
        let owner = Arc::new(uid(&TYPES.owner, owner.as_str()));
        let attributes = [
            (ID, Value::from(id.as_str())),
            (OWNER, Value::from(Arc::clone(&owner))),
            (PURPOSE, Value::from(purpose)),
        ];
        Self::new(Kind::Agent, id.as_str(), attributes, Some(owner), groups)
    }

    fn new(
        kind: Kind,
        id: &str,
        attributes: impl IntoIterator<Item = (SmolStr, Value)>,
        owner: Option<Arc<EntityUID>>,
        groups: &BTreeSet<GroupId>,
    ) -> Self {
        let mut heads = vec![Head::Any, Head::Is(kind), Head::Named(kind, SmolStr::new(id))];
        heads.extend(
            groups.iter().map(|group| Head::Named(Kind::Group, SmolStr::new(group.as_str()))),
        );
        heads.sort();
        let uid_of = match kind {
            Kind::Owner => &TYPES.owner,
            Kind::Agent => &TYPES.agent,
            Kind::Group => &TYPES.group,
        };
        let uid_of = uid(uid_of, id);
        let parents = groups.iter().map(|group| uid(&TYPES.group, group.as_str()));
        let entity = entity(uid_of.clone(), attributes, parents, []);
        Self { kind, heads, uid: Arc::new(uid_of), entity: Arc::new(entity), owner }
    }

    /// The same, with properties that win over those it had, name by name.
    #[must_use]
    pub fn with(&self, properties: &Properties) -> Self {
        let (uid, attributes, indirect, parents, had) = self.entity.as_ref().clone().into_inner();
        let tags = had.into_iter().chain(tags(properties)).collect::<BTreeMap<_, _>>();
        let entity = Entity::new_with_attr_partial_value(uid, attributes, indirect, parents, tags);
        Self { entity: Arc::new(entity), ..self.clone() }
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn heads(&self) -> &[Head] {
        &self.heads
    }
}

/// Whether agents and owner of a question belong together. Otherwise what a policy asks about an
/// agent's owner could not be answered.
pub(super) fn is_coherent(question: &Question<'_>) -> bool {
    let owner = &question.context.owner.uid;
    let mut agents = question.context.agent.into_iter().chain([question.principal]);
    agents.all(|agent| agent.owner.as_ref().is_none_or(|of_agent| of_agent == owner))
}

const ID: SmolStr = SmolStr::new_static("id");
const OWNER: SmolStr = SmolStr::new_static("owner");
const PURPOSE: SmolStr = SmolStr::new_static("purpose");
const URI: SmolStr = SmolStr::new_static("uri");
const SCHEME: SmolStr = SmolStr::new_static("scheme");
const PATH: SmolStr = SmolStr::new_static("path");

struct Types {
    owner: EntityType,
    agent: EntityType,
    group: EntityType,
    action: EntityType,
    resource: EntityType,
    properties: EntityType,
}

static TYPES: LazyLock<Types> = LazyLock::new(|| {
    let named = |name: &str| {
        let name = Name::parse_unqualified_name(name).expect("our own type names are identifiers");
        EntityType::EntityType(name)
    };
    Types {
        owner: named("Owner"),
        agent: named("Agent"),
        group: named("Group"),
        action: named("Action"),
        resource: named("Resource"),
        properties: named("Properties"),
    }
});

fn uid(of: &EntityType, id: &str) -> EntityUID {
    EntityUID::from_components(of.clone(), Eid::new(id), None)
}

fn entity(
    uid: EntityUID,
    attributes: impl IntoIterator<Item = (SmolStr, Value)>,
    parents: impl Iterator<Item = EntityUID>,
    tags: impl IntoIterator<Item = (SmolStr, PartialValue)>,
) -> Entity {
    let attributes = attributes.into_iter().map(|(name, value)| (name, PartialValue::Value(value)));
    Entity::new_with_attr_partial_value(
        uid,
        attributes,
        Default::default(),
        parents.collect(),
        tags,
    )
}

/// Properties as Cedar tags: each a set of texts.
fn tags(properties: &Properties) -> impl Iterator<Item = (SmolStr, PartialValue)> {
    properties.iter().map(|(name, values)| {
        let values = values.iter().map(|value| Value::from(value.as_str()));
        (SmolStr::new(name.as_str()), PartialValue::Value(Value::set(values, None)))
    })
}

/// The annotations of a policy as they stand in its text.
pub(super) fn annotations(policy: &cedar_policy::Policy) -> impl Iterator<Item = Annotation<'_>> {
    policy.as_ref().annotations().map(|(name, annotation)| Annotation {
        name: name.as_ref(),
        value: annotation.val.as_str(),
        offset: start(annotation.loc.as_ref()),
    })
}

/// An entity that a policy names, such as `Agent::"helper"`.
pub(super) struct Literal {
    pub(super) kind: String,
    pub(super) id: SmolStr,
    pub(super) offset: usize,
}

/// Every entity that a policy names, in its scope and in its conditions.
pub(super) fn literals(policy: &cedar_policy::Policy) -> Vec<Literal> {
    let condition = policy.as_ref().condition();
    let named = condition.subexpressions().filter_map(|part| {
        if let ExprKind::Lit(Constant::EntityUID(uid)) = part.expr_kind() {
            Some((uid, part))
        } else {
            None
        }
    });
    named
        .map(|(uid, part)| Literal {
            kind: uid.entity_type().to_string(),
            id: SmolStr::new(AsRef::<str>::as_ref(uid.eid())),
            offset: start(uid.loc().or(part.source_loc())),
        })
        .collect()
}

fn start(place: Option<&Loc>) -> usize {
    place.map_or(0, Loc::start)
}

/// How deep the conditions of a policy are, or a fault when they are deeper than [`DEPTH_MAX`].
pub(super) fn depth(policy: &cedar_policy::Policy) -> Result<usize, Fault> {
    let mut open: Vec<(&Expr, usize)> =
        condition_of(policy).map(|expr| (expr, 1)).into_iter().collect();
    let mut deepest = 0;
    while let Some((expr, depth)) = open.pop() {
        if depth > DEPTH_MAX {
            let message = format!(
                "operators are nested or chained deeper than {DEPTH_MAX}: use a set or split the policy"
            );
            return Err(Fault::new(start(expr.source_loc()), message));
        }
        deepest = deepest.max(depth);
        open.extend(parts(expr).into_iter().map(|part| (part, depth + 1)));
    }
    Ok(deepest)
}

fn condition_of(policy: &cedar_policy::Policy) -> Option<&Expr> {
    policy.as_ref().non_scope_constraints()
}

/// The direct parts of an expression.
fn parts(expr: &Expr) -> Vec<&Expr> {
    match expr.expr_kind() {
        ExprKind::Lit(_) | ExprKind::Var(_) | ExprKind::Slot(_) | ExprKind::Unknown(_) => {
            Vec::new()
        }
        ExprKind::If { test_expr, then_expr, else_expr } => vec![test_expr, then_expr, else_expr],
        ExprKind::And { left, right } | ExprKind::Or { left, right } => vec![left, right],
        ExprKind::BinaryApp { arg1, arg2, .. } => vec![arg1, arg2],
        ExprKind::UnaryApp { arg, .. } => vec![arg],
        ExprKind::GetAttr { expr, .. }
        | ExprKind::HasAttr { expr, .. }
        | ExprKind::ExtHasAttr { expr, .. }
        | ExprKind::Like { expr, .. }
        | ExprKind::Is { expr, .. } => vec![expr],
        ExprKind::ExtensionFunctionApp { args: items, .. } | ExprKind::Set(items) => {
            items.iter().collect()
        }
        ExprKind::Record(fields) => fields.values().collect(),
    }
}

/// The `when` and `unless` clauses of one policy, ready to evaluate.
#[derive(Debug)]
pub(super) struct Condition {
    expr: Expr,
    depth: usize,
    reads: Reads,
    /// The resources it names: of a resource's ancestors, only these can matter.
    resources: Vec<EntityUID>,
}

impl Condition {
    /// The condition of a validated policy, or nothing if it has none.
    pub(super) fn compile(
        policy: &cedar_policy::Policy,
        depth: usize,
    ) -> Result<Option<Self>, Vec<Fault>> {
        let Some(expr) = condition_of(policy) else { return Ok(None) };
        let mut condition =
            Self { expr: bare(expr), depth, reads: Reads::default(), resources: Vec::new() };
        let mut faults = Vec::new();
        let mut open = vec![expr];
        while let Some(expr) = open.pop() {
            match condition.note(expr) {
                Ok(Walk::Parts) => open.extend(parts(expr)),
                Ok(Walk::Done) => {}
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(Some(condition)) } else { Err(faults) }
    }

    /// Whether it reads what changes from moment to moment.
    pub(super) fn is_volatile(&self) -> bool {
        self.reads.has(Reads::VOLATILE)
    }

    /// Whether it reads what only the state of the ledger has.
    pub(super) fn needs_state(&self) -> bool {
        self.reads.has(Reads::LIVE)
    }

    /// Notes what one part of the condition reads.
    fn note(&mut self, expr: &Expr) -> Result<Walk, Fault> {
        not_whether_it_is_there(expr)?;
        let reads = match expr.expr_kind() {
            ExprKind::GetAttr { expr: of, attr } | ExprKind::HasAttr { expr: of, attr } => {
                if is_context(of) {
                    self.reads = self.reads.and(Reads::of_context(attr));
                    return Ok(Walk::Done);
                }
                if let Some(path) = path_into_history(expr) {
                    self.reads = self.reads.and(Reads::of_history(&path));
                    return Ok(Walk::Done);
                }
                looked_into(of)?
            }
            ExprKind::ExtHasAttr { expr: of, attrs } => {
                let last = attrs.len() - 1;
                let through = attrs.iter().take(last).map(|attr| Reads::of_entity(attr));
                let through = through.fold(Reads::default(), Reads::and);
                if is_context(of) {
                    self.reads = self.reads.and(through).and(Reads::of_context(attrs.first()));
                    return Ok(Walk::Done);
                }
                looked_into(of)?.and(through)
            }
            ExprKind::BinaryApp {
                op: BinaryOp::In | BinaryOp::GetTag | BinaryOp::HasTag,
                arg1,
                ..
            } => looked_into(arg1)?,
            ExprKind::Var(Var::Context) => Reads::CONTEXT,
            ExprKind::Lit(Constant::EntityUID(uid)) if *uid.entity_type() == TYPES.resource => {
                self.resources.push(uid.as_ref().clone());
                Reads::default()
            }
            ExprKind::Slot(_) | ExprKind::Unknown(_) => {
                return Err(Fault::new(
                    start(expr.source_loc()),
                    "a policy has no slots and no unknowns",
                ));
            }
            ExprKind::Lit(_)
            | ExprKind::Var(Var::Principal | Var::Action | Var::Resource)
            | ExprKind::If { .. }
            | ExprKind::And { .. }
            | ExprKind::Or { .. }
            | ExprKind::UnaryApp { .. }
            | ExprKind::BinaryApp { .. }
            | ExprKind::ExtensionFunctionApp { .. }
            | ExprKind::Like { .. }
            | ExprKind::Is { .. }
            | ExprKind::Set(_)
            | ExprKind::Record(_) => Reads::default(),
        };
        self.reads = self.reads.and(reads);
        Ok(Walk::Parts)
    }
}

enum Walk {
    /// The parts of the expression read something of their own.
    Parts,
    /// The expression is noted as a whole.
    Done,
}

fn is_context(expr: &Expr) -> bool {
    matches!(expr.expr_kind(), ExprKind::Var(Var::Context))
}

/// The path such as `history.agent.calls` that an expression takes from the context into the history.
fn path_into_history(expr: &Expr) -> Option<String> {
    let steps = steps_from_context(expr)?;
    (steps.first()? == "history").then(|| steps.join("."))
}

/// The attributes that an expression follows from the context on, one after another.
fn steps_from_context(expr: &Expr) -> Option<Vec<SmolStr>> {
    let mut steps = Vec::new();
    let mut at = expr;
    while let ExprKind::GetAttr { expr: of, attr } = at.expr_kind() {
        steps.push(attr.clone());
        at = of;
    }
    steps.reverse();
    is_context(at).then_some(steps)
}

/// Refuses to ask whether the arguments as a whole or a count is there. A call without it fails every
/// policy that reads it, which denies; a `forbid` that asked first would be missed.
fn not_whether_it_is_there(expr: &Expr) -> Result<(), Fault> {
    let kind = expr.expr_kind();
    let (of, attr) = if let ExprKind::HasAttr { expr, attr } = kind {
        (expr, attr)
    } else if let ExprKind::ExtHasAttr { expr, attrs } = kind
        && attrs.first() == "history"
    {
        (expr, attrs.first())
    } else {
        return Ok(());
    };
    let steps = steps_from_context(of);
    let is_asked = match steps.as_deref() {
        Some([first, ..]) => first == "history",
        Some([]) | None => attr == "args" || attr == "history",
    };
    if is_asked {
        let message = "without it every policy that reads it denies: do not ask whether it is there, \
                       only whether an argument is";
        return Err(Fault::new(start(expr.source_loc()), message));
    }
    Ok(())
}

/// A place where a policy reads the arguments, or asks whether there is one.
pub(super) struct ArgumentRead {
    pub(super) offset: usize,
    /// The names from the outside in; none for the arguments as a whole.
    pub(super) path: Vec<SmolStr>,
}

/// Every place where a policy reads the arguments, in the order of its text: `args` of anything, since
/// `context` may come out of an `if`.
pub(super) fn argument_reads(policy: &cedar_policy::Policy) -> Vec<ArgumentRead> {
    let mut open: Vec<&Expr> = condition_of(policy).into_iter().collect();
    let mut reads = Vec::new();
    while let Some(expr) = open.pop() {
        open.extend(parts(expr));
        let kind = expr.expr_kind();
        let (of, attrs) =
            if let ExprKind::GetAttr { expr, attr } | ExprKind::HasAttr { expr, attr } = kind {
                (expr, vec![attr.clone()])
            } else if let ExprKind::ExtHasAttr { expr, attrs } = kind {
                (expr, attrs.iter().cloned().collect())
            } else {
                continue;
            };
        let offset = start(expr.source_loc());
        let steps = steps_from_context(of).map(|steps| [steps, attrs.clone()].concat());
        match steps.as_deref() {
            Some([first, path @ ..]) if first == "args" => {
                reads.push(ArgumentRead { offset, path: path.to_vec() });
            }
            Some(_) | None if attrs.iter().any(|attr| attr == "args") => {
                reads.push(ArgumentRead { offset, path: Vec::new() });
            }
            Some(_) | None => {}
        }
    }
    reads.sort_by_key(|read| (read.offset, read.path.len()));
    reads
}

/// Which entity an expression leads to when its attributes or ancestors are asked for. Only those of
/// the question are known at a decision: `Owner::"bob" in Group::"staff"` would be false whatever
/// groups bob is in, so it is refused.
fn looked_into(expr: &Expr) -> Result<Reads, Fault> {
    match expr.expr_kind() {
        ExprKind::Var(Var::Principal) => Ok(Reads::OF_PRINCIPAL),
        ExprKind::Var(Var::Resource) => Ok(Reads::OF_RESOURCE),
        // An action has neither attributes nor ancestors; the context is no entity.
        ExprKind::Var(Var::Action | Var::Context) => Ok(Reads::default()),
        ExprKind::GetAttr { attr, .. } => Ok(Reads::of_entity(attr)),
        ExprKind::If { then_expr, else_expr, .. } => {
            Ok(looked_into(then_expr)?.and(looked_into(else_expr)?))
        }
        ExprKind::Lit(_)
        | ExprKind::Slot(_)
        | ExprKind::Unknown(_)
        | ExprKind::And { .. }
        | ExprKind::Or { .. }
        | ExprKind::UnaryApp { .. }
        | ExprKind::BinaryApp { .. }
        | ExprKind::ExtensionFunctionApp { .. }
        | ExprKind::HasAttr { .. }
        | ExprKind::ExtHasAttr { .. }
        | ExprKind::Like { .. }
        | ExprKind::Is { .. }
        | ExprKind::Set(_)
        | ExprKind::Record(_) => {
            let message = "a policy can look into `principal`, `resource`, `context` and what these hold, nothing else";
            Err(Fault::new(start(expr.source_loc()), message))
        }
    }
}

/// The same expression without source locations. Recursive: [`depth`] came before.
fn bare(expr: &Expr) -> Expr {
    match expr.expr_kind() {
        ExprKind::Lit(constant) => Expr::val(constant.clone()),
        ExprKind::Var(var) => Expr::var(*var),
        ExprKind::Slot(slot) => Expr::slot(*slot),
        ExprKind::Unknown(unknown) => Expr::unknown(unknown.clone()),
        ExprKind::If { test_expr, then_expr, else_expr } => {
            Expr::ite(bare(test_expr), bare(then_expr), bare(else_expr))
        }
        ExprKind::And { left, right } => Expr::and(bare(left), bare(right)),
        ExprKind::Or { left, right } => Expr::or(bare(left), bare(right)),
        ExprKind::UnaryApp { op, arg } => Expr::unary_app(*op, bare(arg)),
        ExprKind::BinaryApp { op, arg1, arg2 } => Expr::binary_app(*op, bare(arg1), bare(arg2)),
        ExprKind::ExtensionFunctionApp { fn_name, args } => {
            Expr::call_extension_fn(fn_name.clone(), args.iter().map(bare).collect())
        }
        ExprKind::GetAttr { expr, attr } => Expr::get_attr(bare(expr), attr.clone()),
        ExprKind::HasAttr { expr, attr } => Expr::has_attr(bare(expr), attr.clone()),
        ExprKind::ExtHasAttr { expr, attrs } => Expr::extended_has_attr(bare(expr), attrs.clone()),
        ExprKind::Like { expr, pattern } => Expr::like(bare(expr), pattern.clone()),
        ExprKind::Is { expr, entity_type } => Expr::is_entity_type(bare(expr), entity_type.clone()),
        ExprKind::Set(items) => Expr::set(items.iter().map(bare)),
        ExprKind::Record(fields) => {
            let fields = fields.iter().map(|(name, field)| (name.clone(), bare(field))).collect();
            Expr::record_arc(Arc::new(fields))
        }
    }
}

/// What a condition comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is true.
    Holds,
    /// It is false.
    HoldsNot,
    /// It has no value: an overflow, a malformed address.
    Fails,
}

/// What each condition comes to for a question, in the order given, and the numbers of the ledger's
/// that they read, by name.
pub(super) fn outcomes(
    question: &Question<'_>,
    conditions: &[&Condition],
    inputs: Option<&Inputs>,
) -> (Vec<Outcome>, Vec<(&'static str, i64)>) {
    if conditions.is_empty() {
        return Default::default();
    }
    let reads =
        conditions.iter().fold(Reads::default(), |reads, condition| reads.and(condition.reads));
    (outcomes_reading(question, conditions, inputs, reads), numbers(question, reads))
}

fn numbers(question: &Question<'_>, reads: Reads) -> Vec<(&'static str, i64)> {
    let mut numbers = Vec::new();
    let Some(live) = question.context.live.filter(|_| reads.has(Reads::LIVE)) else {
        return numbers;
    };
    if reads.has(Reads::HISTORY) {
        let known = (live.history)().numbers().into_iter().enumerate();
        let read = known.filter(|(at, _)| reads.has_number(*at));
        numbers.extend(read.filter_map(|(_, (name, number))| Some((name, i64::from(number?)))));
    }
    if reads.has(Reads::RISK) {
        numbers.push(("risk", i64::from(live.risk)));
    }
    numbers
}

fn outcomes_reading(
    question: &Question<'_>,
    conditions: &[&Condition],
    inputs: Option<&Inputs>,
    reads: Reads,
) -> Vec<Outcome> {
    let extensions = Extensions::all_available();
    let entities = Entities::new().add_entities(
        entities(question, reads, conditions),
        None::<&NoEntitiesSchema>,
        TCComputation::AssumeAlreadyComputed,
        extensions,
    );
    let Ok(entities) = entities else {
        // Two entities of one name that differ.
        return vec![Outcome::Fails; conditions.len()];
    };
    let request = Request::new_unchecked(
        EntityUIDEntry::Known { euid: Arc::clone(&question.principal.uid), loc: None },
        EntityUIDEntry::known(uid(&TYPES.action, question.action.as_str()), None),
        EntityUIDEntry::known(uid(&TYPES.resource, question.resource.as_str()), None),
        Some(Context::Value(Arc::new(context(question, reads, inputs)))),
    );
    let evaluator = Evaluator::new(request, &entities, extensions);
    let slots = Default::default();
    let deepest = conditions.iter().map(|condition| condition.depth).max().unwrap_or_default();
    let outcome = |condition: &&Condition| match evaluator.interpret(&condition.expr, &slots) {
        Ok(Value { value: ValueKind::Lit(Constant::Bool(true)), .. }) => Outcome::Holds,
        Ok(Value { value: ValueKind::Lit(Constant::Bool(false)), .. }) => Outcome::HoldsNot,
        Ok(_) | Err(_) => Outcome::Fails,
    };
    let stack_bytes = STACK_BYTES + deepest * STACK_BYTES_A_LEVEL;
    stacker::maybe_grow(stack_bytes, stack_bytes, || conditions.iter().map(outcome).collect())
}

/// Stack that the evaluator wants to see in reserve before it takes a step, and some more. Below it,
/// it fails: so a verdict would depend on how deep the caller is, were there not always enough.
const STACK_BYTES: usize = 128 << 10;
/// Stack for each level of a condition, in bytes; unoptimized code takes most of it.
const STACK_BYTES_A_LEVEL: usize = 64 << 10;
