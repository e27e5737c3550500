//! What was recorded, in plain lists, and what they say when they are read from the start.

use std::collections::BTreeMap;
use std::sync::Arc;

use bailiwick_core::event::{
    Actor, AgentWritten, Entity, Fact, OwnerWritten, Pinning, Recorded, Role, Selector, ToolPinned,
};
use bailiwick_core::id::{AgentId, OwnerId, PolicyId, TaskId, ToolId};
use bailiwick_core::time::Time;

use super::policies::{Before, FAMILY, Rule, Tags, tags};

/// The events so far, by what they are about, each list in the order of the ledger.
#[derive(Clone, Default)]
pub(super) struct Facts {
    /// Settings, owners, agents, entities, tools, credentials, tasks.
    registry: Vec<Arc<Recorded>>,
    policies: Vec<Arc<Recorded>>,
    /// Issued, returned, expired, exhausted.
    pub(super) grants: Vec<Arc<Recorded>>,
    pub(super) allowed: Vec<Arc<Recorded>>,
    /// Approvals: requested, granted, denied, expired, withdrawn.
    pub(super) approvals: Vec<Arc<Recorded>>,
    /// Denials and findings.
    pub(super) denied: Vec<Arc<Recorded>>,
    pub(super) finished: Vec<Arc<Recorded>>,
    /// Everything that takes back, liftings, and tasks' ends.
    pub(super) taken_back: Vec<Arc<Recorded>>,
    /// Whatever carries a caller's own id.
    pub(super) keyed: Vec<Arc<Recorded>>,
    /// When each event was recorded.
    pub(super) times: Vec<u64>,
    pub(super) next_index: u64,
    pub(super) last_time: u64,
}

/// Where an agent stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Active,
    Suspended,
    Retired,
}

impl Facts {
    pub(super) fn take(&mut self, recorded: &Recorded) {
        let shared = Arc::new(recorded.clone());
        let kind = recorded.event.fact.kind();
        let lists = [
            (matches!(kind, 5 | 20..=44 | 60..=71 | 132), &mut self.registry),
            (matches!(kind, 50..=53), &mut self.policies),
            (matches!(kind, 81 | 83..=85), &mut self.grants),
            (kind == 110, &mut self.allowed),
            (matches!(kind, 100..=104), &mut self.approvals),
            (matches!(kind, 111 | 130), &mut self.denied),
            (kind == 112, &mut self.finished),
            (matches!(kind, 22 | 32 | 34 | 35 | 71 | 120 | 121), &mut self.taken_back),
            (recorded.event.about.request.is_some(), &mut self.keyed),
        ];
        for (belongs, list) in lists {
            if belongs {
                list.push(Arc::clone(&shared));
            }
        }
        self.times.push(recorded.place.time.0);
        self.next_index = recorded.place.index + 1;
        self.last_time = recorded.place.time.0;
    }

    pub(super) fn agent(&self, id: &AgentId) -> Option<(&AgentWritten, Standing)> {
        let mut written = None;
        let mut standing = Standing::Active;
        for recorded in &self.registry {
            match &recorded.event.fact {
                Fact::AgentRegistered(f) | Fact::AgentUpdated(f) if f.agent == *id => {
                    written = Some(f);
                }
                Fact::AgentSuspended(f) if f.agent == *id => standing = Standing::Suspended,
                Fact::AgentReinstated(f) if f.agent == *id => standing = Standing::Active,
                Fact::AgentRetired(f) if f.agent == *id => standing = Standing::Retired,
                _ => {}
            }
        }
        written.map(|written| (written, standing))
    }

    /// For whom an agent acts, whoever it was registered under.
    pub(super) fn owner_of(&self, id: &AgentId) -> Option<&OwnerId> {
        self.registry.iter().rev().find_map(|recorded| match &recorded.event.fact {
            Fact::AgentRegistered(f) | Fact::AgentUpdated(f) if f.agent == *id => Some(&f.owner),
            Fact::AgentReassigned(f) if f.agent == *id => Some(&f.to),
            _ => None,
        })
    }

    /// Until when a human may act for an owner, at the latest the end of time.
    pub(super) fn delegated(&self, owner: &OwnerId, human: &OwnerId) -> Option<u64> {
        let last = self.registry.iter().rev().find_map(|recorded| match &recorded.event.fact {
            Fact::DelegateAdded(f) if f.owner == *owner && f.delegate == *human => {
                Some(Some(f.expires_at.map_or(u64::MAX, |end| end.0)))
            }
            Fact::DelegateRemoved(f) if f.owner == *owner && f.delegate == *human => Some(None),
            _ => None,
        });
        last.flatten()
    }

    /// What a tool is held to.
    pub(super) fn pin(&self, tool: &ToolId) -> Option<&ToolPinned> {
        let last = self.registry.iter().rev().find_map(|recorded| match &recorded.event.fact {
            Fact::ToolPinned(f) if f.tool == *tool => Some(Some(f)),
            Fact::ToolUnpinned(f) if f.tool == *tool => Some(None),
            _ => None,
        });
        last.flatten()
    }

    pub(super) fn pinned(&self) -> Vec<&ToolId> {
        let mut pinned = Vec::new();
        for recorded in &self.registry {
            match &recorded.event.fact {
                Fact::ToolPinned(f) if !pinned.contains(&&f.tool) => pinned.push(&f.tool),
                Fact::ToolUnpinned(f) => pinned.retain(|tool| **tool != f.tool),
                _ => {}
            }
        }
        pinned
    }

    /// Whether tools wait for an operator's pin.
    pub(super) fn operators_pin(&self) -> bool {
        let last = self.registry.iter().rev().find_map(|recorded| match &recorded.event.fact {
            Fact::ConfigChanged(f) => Some(f.pinning == Pinning::Operator),
            _ => None,
        });
        last.unwrap_or(false)
    }

    /// An owner, and whether it is disabled.
    pub(super) fn owner(&self, id: &OwnerId) -> Option<(&OwnerWritten, bool)> {
        let mut written = None;
        let mut disabled = false;
        for recorded in &self.registry {
            match &recorded.event.fact {
                Fact::OwnerRegistered(f) | Fact::OwnerUpdated(f) if f.owner == *id => {
                    written = Some(f);
                }
                Fact::OwnerDisabled(f) if f.owner == *id => disabled = true,
                Fact::OwnerEnabled(f) if f.owner == *id => disabled = false,
                _ => {}
            }
        }
        written.map(|written| (written, disabled))
    }

    /// What came before a call of an agent, with this tool or, where it names none, this action.
    pub(super) fn before(&self, agent: &AgentId, tool: &str, now: Time) -> Before {
        let second = |time: Time| time.0 / 1_000_000_000;
        let minute = |time: Time| time.0 / 60_000_000_000;
        let last_minute = self.allowed.iter().rev();
        let last_minute =
            last_minute.take_while(|recorded| second(recorded.place.time) + 60 >= second(now));
        let allowed = last_minute.filter(|recorded| match &recorded.event.fact {
            Fact::CallAuthorized(f) => {
                let with = f.call.tool.as_ref().map_or(f.call.action.as_str(), |t| t.as_str());
                f.call.agent.as_ref() == Some(agent) && with == tool
            }
            _ => false,
        });
        let last_hour = self.denied.iter().rev();
        let last_hour =
            last_hour.take_while(|recorded| minute(recorded.place.time) + 60 >= minute(now));
        // What came before it was registered was nobody's.
        let registered = self.registry.iter().find_map(|recorded| match &recorded.event.fact {
            Fact::AgentRegistered(f) if f.agent == *agent => Some(recorded.place.index),
            _ => None,
        });
        let denied = last_hour.filter(|recorded| match &recorded.event.fact {
            Fact::CallDenied(f) => {
                f.call.agent.as_ref() == Some(agent) && Some(recorded.place.index) > registered
            }
            _ => false,
        });
        let risk = self.registry.iter().rev().find_map(|recorded| match &recorded.event.fact {
            Fact::RiskChanged(f) if f.agent == *agent => Some(f.to),
            _ => None,
        });
        Before {
            allowed_with_tool: allowed.count(),
            denied: denied.count(),
            risk: risk.unwrap_or(0),
        }
    }

    /// Whose open task this is.
    pub(super) fn open_task(&self, id: TaskId) -> Option<&AgentId> {
        let mut agent = None;
        for recorded in &self.registry {
            match &recorded.event.fact {
                Fact::TaskOpened(f) if recorded.place.index == id.0 => agent = Some(&f.agent),
                Fact::TaskClosed(f) if f.task == id => agent = None,
                Fact::AgentReassigned(f) if agent == Some(&f.agent) => agent = None,
                _ => {}
            }
        }
        agent
    }

    pub(super) fn open_tasks(&self) -> Vec<(TaskId, AgentId)> {
        let mut open = Vec::new();
        for recorded in &self.registry {
            match &recorded.event.fact {
                Fact::TaskOpened(f) => open.push((TaskId(recorded.place.index), f.agent.clone())),
                Fact::TaskClosed(f) => open.retain(|(task, _)| *task != f.task),
                Fact::AgentReassigned(f) => open.retain(|(_, agent)| *agent != f.agent),
                _ => {}
            }
        }
        open
    }

    /// What is known of an entity.
    pub(super) fn tags(&self, entity: &Entity) -> Tags {
        let mut known = Tags::new();
        for recorded in &self.registry {
            match &recorded.event.fact {
                Fact::EntityPut(f) if f.entity == *entity => known = tags(&f.properties),
                Fact::EntityRemoved(f) if f.entity == *entity => known.clear(),
                _ => {}
            }
        }
        known
    }

    /// Role and agent of an actor whom the ledger knows: by a key that works in the role that the
    /// actor comes in, or by a token of a registered human. A token speaks for an agent, or not, as
    /// its role does.
    pub(super) fn caller(&self, actor: &Actor, now: Time) -> Option<(Role, Option<AgentId>)> {
        let (id, role) = match actor {
            Actor::System => return None,
            Actor::Credential { id, role } => (id, role),
            Actor::Token { owner, agent, role, .. } => {
                let fits = agent.is_some() == (*role == Role::Agent);
                // A disabled human's agent is denied at its call, anybody else is nobody.
                let known = self.owner(owner);
                let stands = known.is_some_and(|(_, disabled)| agent.is_some() || !disabled);
                return (fits && stands).then(|| (*role, agent.clone()));
            }
        };
        let (mut known, mut limit) = (None, None);
        for recorded in &self.registry {
            match &recorded.event.fact {
                Fact::CredentialIssued(f) if f.credential == *id => known = Some(f),
                Fact::CredentialRevoked(f) if f.credential == *id => known = None,
                Fact::CredentialLimited(f) if f.credential == *id => limit = Some(f.expires_at),
                _ => {}
            }
        }
        let works = |end: Option<Time>| end.is_none_or(|end| now.0 < end.0);
        known
            .filter(|f| f.role == *role && works(f.expires_at) && works(limit))
            .map(|f| (f.role, f.agent.clone()))
    }

    /// What is suspended now.
    pub(super) fn suspended(&self) -> Vec<&Selector> {
        let mut suspended = Vec::new();
        for recorded in &self.taken_back {
            match &recorded.event.fact {
                Fact::RevocationIssued(f) if f.suspend && !suspended.contains(&&f.selector) => {
                    suspended.push(&f.selector);
                }
                Fact::SuspensionLifted(f) => suspended.retain(|selector| **selector != f.selector),
                // For good: nobody can ask for it any more.
                Fact::TaskClosed(f) => suspended.retain(|s| **s != Selector::Task(f.task)),
                _ => {}
            }
        }
        suspended
    }

    /// What was suspended once and is not any more.
    pub(super) fn lifted(&self) -> impl Iterator<Item = &Selector> {
        self.taken_back.iter().filter_map(|recorded| match &recorded.event.fact {
            Fact::SuspensionLifted(f) => Some(&f.selector),
            _ => None,
        })
    }

    /// Policies in force: the stage as it stood when it was activated last.
    pub(super) fn in_force(&self) -> BTreeMap<&PolicyId, &'static Rule> {
        self.in_force_before(u64::MAX)
    }

    /// The names of those that were in force when this event was recorded.
    pub(super) fn in_force_at(&self, index: u64) -> BTreeMap<&PolicyId, &'static str> {
        self.in_force_before(index).into_iter().map(|(id, rule)| (id, rule.name)).collect()
    }

    fn in_force_before(&self, index: u64) -> BTreeMap<&PolicyId, &'static Rule> {
        let activated = |r: &Arc<Recorded>| {
            r.place.index < index && matches!(r.event.fact, Fact::PoliciesActivated(_))
        };
        let Some(last) = self.policies.iter().rposition(activated) else { return BTreeMap::new() };
        let mut stage = BTreeMap::new();
        for recorded in &self.policies[..last] {
            match &recorded.event.fact {
                Fact::PolicyPut(f) => {
                    let rule = FAMILY.iter().find(|rule| rule.text == f.text);
                    stage.insert(&f.policy, rule.expect("only the family is put"));
                }
                Fact::PolicyRemoved(f) => {
                    stage.remove(&f.policy);
                }
                _ => {}
            }
        }
        stage
    }
}
