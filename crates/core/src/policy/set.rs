//! A compiled set of policies, and the answer it gives.

use std::sync::Arc;

use super::annotation::Restrictions;
use super::evaluate::{self, Condition, Outcome};
use super::schema::{self, Checked, Validators};
use super::slice::Slice;
use super::{
    Decision, Fault, POLICIES_MAX, PolicyErrors, PolicyIndex, Question, Verdict, nesting, resource,
};
use crate::id::PolicyId;

/// Checks one policy text as [`PolicySet::compile`] would: it parses, holds exactly one static
/// policy, validates against the schema, and its annotations are known and well formed.
///
/// # Errors
/// [`PolicyErrors`] with line and column of each fault.
pub fn check_one(id: &PolicyId, text: &str) -> Result<(), PolicyErrors> {
    match nesting::with_stack(|| schema::check(id, text, &mut Validators::default())) {
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
    hash: [u8; 32],
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
        Self { policies: Vec::new(), slice: Slice::default(), hash: hash_of(&[]) }
    }

    /// Parses, validates and compiles policies, given in any order. Policies annotated
    /// `@shadow("true")` are checked and listed like the others, and never looked at.
    ///
    /// # Errors
    /// [`PolicyErrors`] with line and column of each fault: a text that does not parse or validate,
    /// more than [`POLICIES_MAX`] policies, an id given twice.
    pub fn compile<'a>(
        policies: impl IntoIterator<Item = (&'a PolicyId, &'a str)>,
    ) -> Result<Self, PolicyErrors> {
        Self::empty().recompile(policies)
    }

    /// The same as [`PolicySet::compile`], at the cost of what changed: a policy that this set holds
    /// with the same text is taken over.
    ///
    /// # Errors
    /// As [`PolicySet::compile`].
    pub fn recompile<'a>(
        &self,
        policies: impl IntoIterator<Item = (&'a PolicyId, &'a str)>,
    ) -> Result<Self, PolicyErrors> {
        let mut texts: Vec<(&PolicyId, &str)> =
            policies.into_iter().take(POLICIES_MAX + 1).collect();
        texts.sort_by_key(|(id, _)| *id);
        if let Some(fault) = fault_of_whole(&texts) {
            return Err(PolicyErrors::one(fault));
        }
        let mut set = Self { hash: hash_of(&texts), ..Self::empty() };
        let mut validators = Validators::default();
        let mut faults = Vec::new();
        for (id, text) in texts {
            if let Some(known) = self.known(id, text) {
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

    fn known(&self, id: &PolicyId, text: &str) -> Option<&Arc<Compiled>> {
        let at = self.policies.binary_search_by(|known| known.id.cmp(id)).ok()?;
        self.policies.get(at).filter(|known| *known.text == *text)
    }

    /// Adds a policy whose id comes after all that are there.
    fn add(&mut self, policy: Arc<Compiled>) {
        let index = u32::try_from(self.policies.len()).unwrap_or(u32::MAX);
        if !policy.checked.terms.shadow {
            self.slice.add(index, &policy.checked.scope);
        }
        self.policies.push(policy);
    }

    /// What the set is: BLAKE3 in derive-key mode, context `bailiwick v1 policy set`, over each policy
    /// ascending by id: `u32 length ‖ id ‖ u32 length ‖ text`, lengths in bytes, big-endian.
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
        let kind = question.principal.kind();
        let candidates =
            self.slice.candidates(question.principal.heads(), question.action, question.resource);
        let candidates: Vec<(PolicyIndex, &Checked)> = candidates
            .into_iter()
            .filter_map(|index| {
                Some((PolicyIndex(index), &self.policies.get(index as usize)?.checked))
            })
            .filter(|(_, policy)| policy.scope.only.is_none_or(|only| only == kind))
            .collect();
        let conditions: Vec<&Condition> =
            candidates.iter().filter_map(|(_, policy)| policy.condition.as_ref()).collect();
        let volatile = conditions.iter().any(|condition| condition.is_volatile());
        let mut outcomes = evaluate::outcomes(question, &conditions).into_iter();
        let outcome_of = |policy: &Checked| match &policy.condition {
            None => Outcome::Holds,
            Some(_) => outcomes.next().unwrap_or(Outcome::Fails),
        };
        tally(&candidates, outcome_of, volatile)
    }
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
        }
    }
}

/// Puts what each candidate says together: forbids and failures win, then permits.
fn tally(
    candidates: &[(PolicyIndex, &Checked)],
    mut outcome_of: impl FnMut(&Checked) -> Outcome,
    volatile: bool,
) -> Verdict {
    let mut permits: Vec<(PolicyIndex, &Checked)> = Vec::new();
    let mut denies: Vec<(PolicyIndex, &Checked)> = Vec::new();
    let mut errors = false;
    for &(index, policy) in candidates {
        match (outcome_of(policy), policy.forbids) {
            (Outcome::Holds, false) => permits.push((index, policy)),
            (Outcome::Holds, true) => denies.push((index, policy)),
            (Outcome::Fails, _) => {
                errors = true;
                denies.push((index, policy));
            }
            (Outcome::HoldsNot, _) => {}
        }
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
    Verdict { decision, determining, restrictions, errors, volatile }
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

fn hash_of(texts: &[(&PolicyId, &str)]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("bailiwick v1 policy set");
    for (id, text) in texts {
        for part in [id.as_str(), text] {
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            hasher.update(&length.to_be_bytes()).update(part.as_bytes());
        }
    }
    *hasher.finalize().as_bytes()
}
