//! Revocations in force before they are durable. They outlive a state that is rebuilt, no call that
//! they cover is answered with an allow, and they are submitted until they are on the ledger.

use bailiwick_core::command::{
    Allowed, Answer, Authorize, Command, RefusalCode, Subject, Submission,
};
use bailiwick_core::event::{Actor, Selector};
use bailiwick_core::state::{Covered, State};

use super::queue::Waiting;

/// Names one revocation in force. Two may have the same selector and still differ in what they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InForce(u64);

#[derive(Debug)]
struct Kept {
    id: InForce,
    selector: Selector,
    submission: Submission,
}

/// All of them, in the order in which they were taken.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    kept: Vec<Kept>,
    taken: u64,
}

impl Overlay {
    /// Takes a revocation in force. None when it is something else.
    pub(super) fn keep(&mut self, submission: &Submission) -> Option<InForce> {
        let Command::Revoke(revoke) = &submission.command else { return None };
        self.taken += 1;
        let (id, selector) = (InForce(self.taken), revoke.selector.clone());
        self.kept.push(Kept { id, selector, submission: submission.clone() });
        Some(id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// What is in force, to be shown.
    pub(super) fn selectors(&self) -> impl Iterator<Item = &Selector> {
        self.kept.iter().map(|kept| &kept.selector)
    }

    /// The commands that record them.
    pub(super) fn commands(&self) -> impl Iterator<Item = Waiting> {
        self.kept.iter().map(|kept| Waiting {
            submission: kept.submission.clone(),
            reply: None,
            in_force: Some(kept.id),
        })
    }

    /// One of them was answered: it is on the ledger, or it cannot get there as it is.
    pub(super) fn settle(&mut self, id: InForce, answer: &Answer) {
        let Some(at) = self.kept.iter().position(|kept| kept.id == id) else { return };
        let kept = &mut self.kept[at];
        match answer {
            Answer::Done(_) => {}
            // Whoever revoked could do so at the time, and was told that it is in force. What came
            // in between, the end of the credential say, does not undo it.
            Answer::Refused(refusal)
                if refusal.code != RefusalCode::NotFound
                    && kept.submission.actor != Actor::System =>
            {
                let (selector, actor) = (&kept.selector, &kept.submission.actor);
                tracing::warn!(%selector, ?actor, %refusal.message, "recorded by the system instead");
                kept.submission.actor = Actor::System;
                kept.submission.request = None;
                return;
            }
            Answer::Refused(_) | Answer::Decided(_) => {
                let selector = &kept.selector;
                tracing::error!(%selector, ?answer, "a revocation in force cannot be recorded");
            }
        }
        self.kept.remove(at);
    }

    /// Whether a call that is about to be allowed must not be.
    pub(super) fn covers(&self, state: &State, call: &Authorize, allowed: &Allowed) -> bool {
        if self.kept.is_empty() {
            return false;
        }
        let agent = match &call.subject {
            Subject::Agent(agent) => Some(agent),
            Subject::Person(_) => None,
        };
        let asked = Covered {
            grant: Some(allowed.grant),
            agent,
            owner: &allowed.owner,
            task: call.task,
            tool: call.tool.as_ref(),
            resource: &call.resource,
        };
        let grants = state.grants();
        grants.get(allowed.grant).is_none()
            || self
                .selectors()
                .any(|named| asked.is_named_by(named) || grants.is_named_by(allowed.grant, named))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bailiwick_core::command::{
        Done, IssueGrant, Refusal, RequestGrant, Revoke, WriteAgent, WriteOwner,
    };
    use bailiwick_core::decide::decide;
    use bailiwick_core::event::{AgentSettings, Allow, Effect, Place, Role, Scope};
    use bailiwick_core::id::{
        Action, ActionPattern, AgentId, CredentialId, GrantId, OwnerId, Resource, Text,
    };
    use bailiwick_core::record::Link;
    use bailiwick_core::time::Time;

    use super::*;

    fn act(state: &mut State, command: Command) -> Done {
        let submission = by(Actor::System, command);
        let now = Time(state.last_time().map_or(1, |last| last.0 + 1));
        let decided = decide(state, &submission, now);
        let places = (state.next_index()..).zip(now.0..);
        for ((index, time), event) in places.zip(&decided.events) {
            state.apply(Place { index, time: Time(time), link: Link([0; 32]) }, event);
        }
        match decided.answer {
            Answer::Done(done) => done,
            Answer::Decided(_) | Answer::Refused(_) => panic!("{:?}", decided.answer),
        }
    }

    const fn by(actor: Actor, command: Command) -> Submission {
        Submission { actor, request: None, trace: None, command }
    }

    fn bot() -> AgentId {
        AgentId::new("bot").unwrap()
    }

    fn case(id: u8) -> Resource {
        Resource::new(&format!("crm://case/{id}")).unwrap()
    }

    /// One agent that holds one grant on everything below `crm://case`.
    fn world() -> (State, Allowed) {
        let mut state = State::new();
        let owner = OwnerId::new("alice@example.com").unwrap();
        let write = WriteOwner { owner: owner.clone(), groups: [].into() };
        act(&mut state, Command::RegisterOwner(write));
        let of = owner.clone();
        let pattern = ActionPattern::new("crm/*").unwrap();
        let settings = AgentSettings {
            purpose: Text::new("support").unwrap(),
            groups: [].into(),
            allowlist: vec![Allow { pattern, expires_at: None }],
            expires_at: None,
        };
        act(&mut state, Command::RegisterAgent(WriteAgent { agent: bot(), owner, settings }));
        let terms = RequestGrant {
            agent: bot(),
            task: None,
            action: Action::new("crm/read_case").unwrap(),
            scope: Scope::Within(Resource::new("crm://case").unwrap()),
            ttl: None,
            max_uses: None,
            justification: None,
            constraints: Vec::new(),
        };
        let issue = IssueGrant { terms, not_before: None, request: None };
        let grant = GrantId(act(&mut state, Command::IssueGrant(issue)).index);
        assert!(state.grants().get(grant).is_some());
        let (expires_at, rests_on) = (Time(u64::MAX), Vec::new());
        (state, Allowed { grant, owner: of, expires_at, uses_left: 1, rests_on })
    }

    fn call() -> Authorize {
        Authorize {
            subject: Subject::Agent(bot()),
            on_behalf_of: None,
            task: None,
            session: None,
            tool: None,
            tool_hash: None,
            action: Action::new("crm/read_case").unwrap(),
            resource: case(1),
            effect: Effect::Read,
            arguments: None,
            disclosed: BTreeMap::new(),
            justification: None,
            args: None,
            environment: None,
            correlation: None,
            actors: Vec::new(),
            told: None,
            finishes: true,
            verdicts: None,
        }
    }

    const fn revoke(actor: Actor, selector: Selector) -> Submission {
        let revoke = Revoke { selector, grants_only: false, reason_code: None, reason: None };
        by(actor, Command::Revoke(revoke))
    }

    #[test]
    fn a_call_is_covered_by_what_names_it_or_the_grant_that_it_uses() {
        let (state, allowed) = world();
        let other = GrantId(allowed.grant.0 + 1);
        let covering = [
            Selector::Grant(allowed.grant),
            Selector::Agent(bot()),
            Selector::Owner(OwnerId::new("alice@example.com").unwrap()),
            Selector::Resource(case(1)),
            Selector::Resource(Resource::new("crm://case").unwrap()),
            Selector::All,
        ];
        let passing = [
            Selector::Grant(other),
            Selector::Agent(AgentId::new("other").unwrap()),
            Selector::Resource(case(2)),
        ];
        let covers = |state: &State, selector: &Selector, allowed: &Allowed| {
            let mut overlay = Overlay::default();
            assert!(!overlay.covers(state, &call(), allowed), "nothing is in force");
            assert!(overlay.keep(&revoke(Actor::System, selector.clone())).is_some());
            overlay.covers(state, &call(), allowed)
        };
        for selector in &covering {
            assert!(covers(&state, selector, &allowed), "{selector}");
        }
        for selector in &passing {
            assert!(!covers(&state, selector, &allowed), "{selector}");
        }
        // A grant that is gone, or an agent that nobody knows: if unsure, deny.
        let gone = Allowed { grant: other, ..allowed.clone() };
        assert!(covers(&state, &passing[2], &gone));
        assert!(covers(&State::new(), &passing[2], &allowed));
    }

    #[test]
    fn each_leaves_by_itself_when_it_is_recorded() {
        let mut overlay = Overlay::default();
        let first = overlay.keep(&revoke(Actor::System, Selector::All)).unwrap();
        let second = overlay.keep(&revoke(Actor::System, Selector::All)).unwrap();
        assert!(overlay.keep(&by(Actor::System, Command::Expire)).is_none());
        let done = Answer::Done(Done { kind: 1, index: 1, grant: None, repeats: None });
        overlay.settle(first, &done);
        let left: Vec<_> = overlay.commands().map(|waiting| waiting.in_force).collect();
        assert_eq!(left, [Some(second)]);
        overlay.settle(second, &done);
        assert!(overlay.is_empty());
    }

    #[test]
    fn one_whose_credential_has_ended_meanwhile_is_recorded_by_the_system() {
        let mut overlay = Overlay::default();
        let id = CredentialId::new("ops").unwrap();
        let actor = Actor::Credential { id, role: Role::Operator };
        let id = overlay.keep(&revoke(actor, Selector::All)).unwrap();
        let refused = |code| Answer::Refused(Refusal::new(code, "no"));
        overlay.settle(id, &refused(RefusalCode::CredentialInvalid));
        let again: Vec<_> = overlay.commands().map(|one| one.submission.actor).collect();
        assert_eq!(again, [Actor::System]);
        overlay.settle(id, &refused(RefusalCode::OutOfRange));
        assert!(overlay.is_empty(), "nobody could record it");
    }
}
