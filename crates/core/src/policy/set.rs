//! A compiled set of policies, and the answer it gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::annotation::Restrictions;
use super::evaluate::{self, Condition, Outcome};
use super::inputs::Inputs;
use super::schema::{self, Checked, InputSchemas, Validators};
use super::slice::Slice;
use super::{
    Decision, Fault, POLICIES_MAX, PolicyErrors, PolicyIndex, Question, Shadow, Verdict, nesting,
    resource,
};
use crate::arguments::Arguments;
use crate::id::{Action, PolicyId};

/// Checks one policy text as [`PolicySet::compile`] would: it parses, holds exactly one static
/// policy, validates against the schema, and its annotations are known and well formed.
///
/// # Errors
/// [`PolicyErrors`] with line and column of each fault.
pub fn check_one(id: &PolicyId, text: &str) -> Result<(), PolicyErrors> {
    check_one_with(&InputSchemas::new(), id, text)
}

/// The same for a policy that may read the arguments of actions with these input schemas.
///
/// # Errors
/// As [`check_one`].
pub fn check_one_with(
    schemas: &InputSchemas,
    id: &PolicyId,
    text: &str,
) -> Result<(), PolicyErrors> {
    match nesting::with_stack(|| schema::check(id, text, &mut Validators::new(schemas))) {
        Ok(_) => Ok(()),
        Err(faults) => {
            let faults = faults.into_iter().map(|fault| fault.of_policy(id, text)).collect();
            PolicyErrors::of(faults).map_or(Ok(()), Err)
        }
    }
}

/// Policies that are in force together, compiled. Immutable; meant to be shared in an `Arc`.
#[derive(Debug)]
pub struct PolicySet {
    /// INVARIANT: ascending by id, without duplicates; a [`PolicyIndex`] is a place in here.
    policies: Vec<Arc<Compiled>>,
    slice: Slice,
    /// Policies that are looked at and decide nothing.
    shadows: Slice,
    any_shadow: bool,
    /// The input schemas, each with what it comes to.
    inputs: BTreeMap<Action, Arc<Typed>>,
    hash: [u8; 32],
}

#[derive(Debug)]
struct Typed {
    schema: Box<str>,
    /// None when this build does not understand the schema any more: then no arguments fit.
    inputs: Option<Inputs>,
}

#[derive(Debug)]
struct Compiled {
    id: PolicyId,
    text: Box<str>,
    checked: Checked,
}

impl PolicySet {
    /// The set without policies, which denies everything.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            policies: Vec::new(),
            slice: Slice::default(),
            shadows: Slice::default(),
            any_shadow: false,
            inputs: BTreeMap::new(),
            hash: hash_of(&[], &InputSchemas::new()),
        }
    }

    /// Parses, validates and compiles policies, given in any order. Policies annotated
    /// `@shadow("true")` are looked at beside the others, and decide nothing.
    ///
    /// # Errors
    /// [`PolicyErrors`] with line and column of each fault: a text that does not parse or validate,
    /// more than [`POLICIES_MAX`] policies, an id given twice.
    pub fn compile<'a>(
        policies: impl IntoIterator<Item = (&'a PolicyId, &'a str)>,
    ) -> Result<Self, PolicyErrors> {
        Self::empty().recompile(policies)
    }

    /// The same with the input schemas that this set has, at the cost of what changed.
    ///
    /// # Errors
    /// As [`PolicySet::compile`].
    pub fn recompile<'a>(
        &self,
        policies: impl IntoIterator<Item = (&'a PolicyId, &'a str)>,
    ) -> Result<Self, PolicyErrors> {
        let schemas =
            self.inputs.iter().map(|(action, of)| (action.clone(), of.schema.to_string()));
        self.recompile_with(&schemas.collect(), policies)
    }

    /// The same as [`PolicySet::compile`] for policies that may read the arguments of actions with
    /// these input schemas, at the cost of what changed: a policy that this set holds with the same
    /// text is taken over, unless the schema of arguments that it reads is another one.
    ///
    /// # Errors
    /// As [`PolicySet::compile`].
    pub fn recompile_with<'a>(
        &self,
        schemas: &InputSchemas,
        policies: impl IntoIterator<Item = (&'a PolicyId, &'a str)>,
    ) -> Result<Self, PolicyErrors> {
        let mut texts: Vec<(&PolicyId, &str)> =
            policies.into_iter().take(POLICIES_MAX + 1).collect();
        texts.sort_by_key(|(id, _)| *id);
        if let Some(fault) = fault_of_whole(&texts) {
            return Err(PolicyErrors::one(fault));
        }
        let inputs =
            schemas.iter().map(|(action, schema)| (action.clone(), self.typed(action, schema)));
        let inputs = inputs.collect();
        let mut set = Self { hash: hash_of(&texts, schemas), inputs, ..Self::empty() };
        let mut validators = Validators::new(schemas);
        let mut faults = Vec::new();
        for (id, text) in texts {
            if let Some(known) = self.known(id, text, &set) {
                set.add(Arc::clone(known));
                continue;
            }
            match nesting::with_stack(|| schema::check(id, text, &mut validators)) {
                Ok(checked) => {
                    set.add(Arc::new(Compiled { id: id.clone(), text: text.into(), checked }));
                }
                Err(found) => {
                    faults.extend(found.into_iter().map(|fault| fault.of_policy(id, text)));
                }
            }
            if faults.len() >= super::FAULTS_MAX {
                break;
            }
        }
        PolicyErrors::of(faults).map_or(Ok(set), Err)
    }

    fn typed(&self, action: &Action, schema: &str) -> Arc<Typed> {
        let known = self.inputs.get(action).filter(|known| *known.schema == *schema);
        known.map_or_else(
            || {
                let inputs = Inputs::of_json_schema(schema).ok();
                Arc::new(Typed { schema: schema.into(), inputs })
            },
            Arc::clone,
        )
    }

    /// The policy as this set holds it, if it means the same in `other`.
    fn known(&self, id: &PolicyId, text: &str, other: &Self) -> Option<&Arc<Compiled>> {
        let at = self.policies.binary_search_by(|known| known.id.cmp(id)).ok()?;
        let schema = |set: &'_ Self, action| set.inputs.get(action).map(|of| of.schema.clone());
        self.policies.get(at).filter(|known| {
            let mut typed_by = known.checked.typed_by.iter();
            *known.text == *text
                && typed_by.all(|action| schema(self, action) == schema(other, action))
        })
    }

    /// Adds a policy whose id comes after all that are there.
    fn add(&mut self, policy: Arc<Compiled>) {
        let index = u32::try_from(self.policies.len()).unwrap_or(u32::MAX);
        if policy.checked.terms.shadow {
            self.shadows.add(index, &policy.checked.scope);
            self.any_shadow = true;
        } else {
            self.slice.add(index, &policy.checked.scope);
        }
        self.policies.push(policy);
    }

    /// What the set is: BLAKE3 in derive-key mode, context `bailiwick v1 policy set`, over each policy
    /// ascending by id: `u32 length ‖ id ‖ u32 length ‖ text`, lengths in bytes, big-endian. Input
    /// schemas, if there are any, follow after `u32::MAX` in the same form, ascending by action.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The ids of all policies, ascending: the place of each is its [`PolicyIndex`].
    pub fn ids(&self) -> impl ExactSizeIterator<Item = &PolicyId> {
        self.policies.iter().map(|policy| &policy.id)
    }

    /// Every action that a policy in force names, ascending. A policy that names none is about all.
    pub fn actions(&self) -> impl Iterator<Item = &str> {
        self.slice.actions()
    }

    /// Whether arguments have the types that policies about the action were validated with. Where an
    /// action has no schema, every policy was validated to read none.
    #[must_use]
    pub fn accept(&self, action: &Action, arguments: &Arguments) -> bool {
        self.inputs.get(action).is_none_or(|typed| {
            typed.inputs.as_ref().is_some_and(|inputs| inputs.accept(arguments))
        })
    }

    /// The id of a policy of this set, or nothing for an index that is not of this set.
    #[must_use]
    pub fn id(&self, index: PolicyIndex) -> Option<&PolicyId> {
        self.policies.get(index.0 as usize).map(|policy| &policy.id)
    }

    /// What the policies say to a question. Pure and total; its cost follows the policies whose scope
    /// fits the question, not all there are.
    #[must_use]
    pub fn evaluate(&self, question: &Question<'_>) -> Verdict {
        if !resource::is_judgeable(question.resource.as_str()) || !evaluate::is_coherent(question) {
            return Verdict::refused();
        }
        let candidates = self.candidates(&self.slice, question);
        let conditions = conditions_of(&candidates);
        let volatile = conditions.iter().any(|condition| condition.is_volatile());
        let needs_state = conditions.iter().any(|condition| condition.needs_state());
        if needs_state && question.context.live.is_none() {
            return Verdict { volatile, ..Verdict::refused() };
        }
        let (outcomes, read) =
            evaluate::outcomes(question, &conditions, self.inputs_of(question.action));
        let excused = question.context.justification.is_some();
        let mut verdict = tally(each(&candidates, outcomes), excused);
        verdict.read = read;
        verdict.volatile = volatile;
        if self.any_shadow {
            self.look_at_shadows(question, &mut verdict);
        }
        verdict
    }

    fn candidates(&self, slice: &Slice, question: &Question<'_>) -> Vec<(PolicyIndex, &Checked)> {
        let Question { principal, action, resource, .. } = question;
        let found = slice.candidates(principal.heads(), action, resource).into_iter();
        let found = found.filter_map(|index| {
            Some((PolicyIndex(index), &self.policies.get(index as usize)?.checked))
        });
        let kind = principal.kind();
        found.filter(|(_, policy)| policy.scope.only.is_none_or(|only| only == kind)).collect()
    }

    fn inputs_of(&self, action: &Action) -> Option<&Inputs> {
        if self.inputs.is_empty() {
            return None;
        }
        self.inputs.get(action)?.inputs.as_ref()
    }

    /// Looks at the shadow policies by themselves: whatever they read or fail at, the verdict stays.
    fn look_at_shadows(&self, question: &Question<'_>, verdict: &mut Verdict) {
        let mut candidates = self.candidates(&self.shadows, question);
        let of = |policy: &Checked, is: fn(&Condition) -> bool| {
            policy.condition.as_ref().is_some_and(is)
        };
        verdict.volatile |= candidates.iter().any(|(_, policy)| of(policy, Condition::is_volatile));
        if question.context.live.is_none() {
            candidates.retain(|(_, policy)| !of(policy, Condition::needs_state));
        }
        let conditions = conditions_of(&candidates);
        let (outcomes, _) =
            evaluate::outcomes(question, &conditions, self.inputs_of(question.action));
        let excused = question.context.justification.is_some();
        for (index, policy, outcome) in each(&candidates, outcomes) {
            let glass = policy.terms.restrictions.breakglass;
            match outcome {
                Outcome::Holds if policy.forbids => verdict.shadow.forbids.push(index),
                Outcome::Holds if excused || !glass => verdict.shadow.permits.push(index),
                Outcome::Holds | Outcome::HoldsNot | Outcome::Fails => {}
            }
        }
    }
}

fn conditions_of<'a>(candidates: &[(PolicyIndex, &'a Checked)]) -> Vec<&'a Condition> {
    candidates.iter().filter_map(|(_, policy)| policy.condition.as_ref()).collect()
}

/// Each candidate with what it comes to; those without a condition always hold.
fn each<'a>(
    candidates: &[(PolicyIndex, &'a Checked)],
    outcomes: Vec<Outcome>,
) -> impl Iterator<Item = (PolicyIndex, &'a Checked, Outcome)> {
    let mut outcomes = outcomes.into_iter();
    candidates.iter().map(move |&(index, policy)| {
        let outcome = match &policy.condition {
            None => Outcome::Holds,
            Some(_) => outcomes.next().unwrap_or(Outcome::Fails),
        };
        (index, policy, outcome)
    })
}

impl Verdict {
    /// For a question that policies cannot judge.
    fn refused() -> Self {
        Self {
            decision: Decision::Forbid,
            determining: Vec::new(),
            restrictions: Restrictions::default(),
            errors: true,
            volatile: false,
            read: Vec::new(),
            shadow: Shadow::default(),
        }
    }
}

/// Puts what each candidate says together: forbids and failures win, then permits, and those that
/// break the glass only where no other permits and the caller says why (`excused`).
fn tally<'a>(
    candidates: impl Iterator<Item = (PolicyIndex, &'a Checked, Outcome)>,
    excused: bool,
) -> Verdict {
    let mut permits: Vec<(PolicyIndex, &Checked)> = Vec::new();
    let mut glass: Vec<(PolicyIndex, &Checked)> = Vec::new();
    let mut denies: Vec<(PolicyIndex, &Checked)> = Vec::new();
    let mut errors = false;
    for (index, policy, outcome) in candidates {
        match (outcome, policy.forbids) {
            (Outcome::Holds, false) if policy.terms.restrictions.breakglass => {
                glass.push((index, policy));
            }
            (Outcome::Holds, false) => permits.push((index, policy)),
            (Outcome::Holds, true) => denies.push((index, policy)),
            (Outcome::Fails, _) => {
                errors = true;
                denies.push((index, policy));
            }
            (Outcome::HoldsNot, _) => {}
        }
    }
    if permits.is_empty() && excused {
        permits = glass;
    }
    let mut restrictions = Restrictions::default();
    let (decision, determining) = if !denies.is_empty() {
        restrictions.reason =
            denies.iter().find_map(|(_, policy)| policy.terms.restrictions.reason.clone());
        (Decision::Forbid, denies)
    } else if permits.is_empty() {
        (Decision::Silent, permits)
    } else {
        permits.iter().for_each(|(_, policy)| restrictions.narrow(&policy.terms.restrictions));
        (Decision::Permit, permits)
    };
    let determining = determining.into_iter().map(|(index, _)| index).collect();
    let (read, shadow) = (Vec::new(), Shadow::default());
    Verdict { decision, determining, restrictions, errors, volatile: false, read, shadow }
}

/// Why these texts, ascending by id, are no set, whatever each of them says.
fn fault_of_whole(texts: &[(&PolicyId, &str)]) -> Option<super::PolicyError> {
    if let Some((id, text)) = texts.get(POLICIES_MAX) {
        let message = format!("more than {POLICIES_MAX} policies in one set");
        return Some(Fault::new(0, message).of_policy(id, text));
    }
    let twice = texts.windows(2).find(|pair| pair[0].0 == pair[1].0)?;
    Some(Fault::new(0, "the id is given to two policies").of_policy(twice[1].0, twice[1].1))
}

fn hash_of(texts: &[(&PolicyId, &str)], schemas: &InputSchemas) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("bailiwick v1 policy set");
    for (id, text) in texts {
        add(&mut hasher, id.as_str());
        add(&mut hasher, text);
    }
    if !schemas.is_empty() {
        // No id is that long.
        hasher.update(&u32::MAX.to_be_bytes());
        for (action, schema) in schemas {
            add(&mut hasher, action.as_str());
            add(&mut hasher, schema);
        }
    }
    *hasher.finalize().as_bytes()
}

fn add(hasher: &mut blake3::Hasher, part: &str) {
    let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
    hasher.update(&length.to_be_bytes()).update(part.as_bytes());
}
