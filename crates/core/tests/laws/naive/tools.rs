//! Humans who speak for owners, and tools that are held to their definitions.

use std::borrow::Cow;

use bailiwick_core::command::{Authorize, Submission};
use bailiwick_core::event::{Actor, DenialCode, Effect, Role, Selector};
use bailiwick_core::id::OwnerId;
use bailiwick_core::time::Time;

use super::evaluator::{Denial, Naive, names_call};

/// The human whom an agent's token names.
fn token_of(by: &Submission) -> Option<&OwnerId> {
    match &by.actor {
        Actor::Token { owner, agent: Some(_), .. } => Some(owner),
        Actor::Token { .. } | Actor::Credential { .. } | Actor::System => None,
    }
}

/// The question, said to come from the human of its token where it does not say from whom.
pub(super) fn with_human<'a>(by: &Submission, ask: &'a Authorize) -> Cow<'a, Authorize> {
    let mut ask = Cow::Borrowed(ask);
    if let (Some(human), None) = (token_of(by), &ask.on_behalf_of) {
        ask.to_mut().on_behalf_of = Some(human.clone());
    }
    ask
}

/// A token of one human and a question from another contradict each other.
pub(super) fn contradicts(by: &Submission, ask: &Authorize) -> bool {
    token_of(by).is_some_and(|human| ask.on_behalf_of.as_ref() != Some(human))
}

/// Whose word on a tool's definition counts.
fn is_believed(by: &Submission) -> bool {
    match &by.actor {
        Actor::System => true,
        Actor::Credential { role, .. } | Actor::Token { role, .. } => {
            [Role::Admin, Role::Enforcer].contains(role)
        }
    }
}

impl Naive {
    /// A human who is no owner of the agent acts by delegation, while it lasts and while nothing
    /// stops that human.
    pub(super) fn is_delegate(&self, human: &OwnerId, owner: &OwnerId, now: Time) -> bool {
        let lasts = self.facts.delegated(owner, human).is_some_and(|end| now.0 < end);
        let enabled = self.facts.owner(human).is_some_and(|(_, disabled)| !disabled);
        let stopped = self.facts.suspended().contains(&&Selector::Owner(human.clone()));
        let is_delegate = lasts && enabled && !stopped;
        self.meet("delegate", if is_delegate { "acts" } else { "does not act" });
        is_delegate
    }

    /// Suspensions and the tool's definition. Another definition than the pinned one comes after
    /// everything that is suspended but the tool itself.
    pub(super) fn free_and_as_pinned(
        &self,
        ask: &Authorize,
        owner: &OwnerId,
    ) -> Result<(), Denial> {
        let naming: Vec<&Selector> =
            self.facts.suspended().into_iter().filter(|s| names_call(s, ask, owner)).collect();
        let of_tool = |selector: &&Selector| matches!(selector, Selector::Tool(_));
        let pin = ask.tool.as_ref().and_then(|tool| self.facts.pin(tool));
        let is_other = pin.is_some_and(|pin| Some(pin.hash) != ask.tool_hash);
        if naming.iter().any(|selector| !of_tool(selector)) {
            Err(DenialCode::Suspended.into())
        } else if is_other {
            Err(DenialCode::ToolChanged.into())
        } else if !naming.is_empty() {
            Err(DenialCode::Suspended.into())
        } else if ask.tool.is_some() && pin.is_none() && self.facts.operators_pin() {
            Err(DenialCode::ToolUnpinned.into())
        } else {
            Ok(())
        }
    }

    /// Whether an allowed call leaves a pin.
    pub(super) fn pins(&self, by: &Submission, ask: &Authorize) -> bool {
        let Some(tool) = &ask.tool else { return false };
        ask.tool_hash.is_some() && self.facts.pin(tool).is_none() && is_believed(by)
    }

    /// Whether a denied call takes the tool from everybody.
    pub(super) fn changes(
        &self,
        code: Option<DenialCode>,
        by: &Submission,
        ask: &Authorize,
    ) -> bool {
        let Some(tool) = &ask.tool else { return false };
        let suspended = self.facts.suspended().contains(&&Selector::Tool(tool.clone()));
        code == Some(DenialCode::ToolChanged)
            && ask.tool_hash.is_some()
            && !suspended
            && is_believed(by)
    }

    /// What the call does to the world: what is worse of what it claims and what its tool is.
    pub(super) fn effect(&self, ask: &Authorize) -> Effect {
        let worst = [Effect::Destructive, Effect::External, Effect::Write, Effect::Open];
        let pinned = ask.tool.as_ref().and_then(|tool| self.facts.pin(tool)?.effect);
        if pinned.is_some_and(|pinned| pinned != ask.effect) {
            self.meet("effect", "pinned as another");
        }
        let is = |effect: &Effect| *effect == ask.effect || Some(*effect) == pinned;
        worst.into_iter().find(is).unwrap_or(Effect::Read)
    }
}
