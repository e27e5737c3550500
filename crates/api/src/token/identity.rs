//! Whom a token stands for. `sub`, or the claim that is configured, says in whose name; the outermost
//! `act` is the agent, the others are the chain before it (RFC 8693). A token with `act` speaks for
//! that agent and nothing else, whatever else its issuer lets it do.

use bailiwick_core::event::Role;
use bailiwick_core::id::{AgentId, OwnerId, Text};
use bailiwick_core::time::Time;

use super::Refused;
use super::claims::Claims;
use super::settings::Trusted;

/// Roles from the one that may most. A token that gives several comes in the first.
const ROLES: [Role; 6] =
    [Role::Admin, Role::Operator, Role::Enforcer, Role::Approver, Role::Auditor, Role::Subscriber];

/// Whom a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Who says so.
    pub(crate) issuer: Text,
    /// In whose name: an agent's that comes in its own is its owner's.
    pub(crate) owner: OwnerId,
    /// Which agent acts; with role `agent`, and only then.
    pub(crate) agent: Option<AgentId>,
    /// What it may do.
    pub(crate) role: Role,
    /// Who acted before the agent, the latest first.
    pub(crate) before: Vec<Text>,
    /// Until when the token is taken.
    pub(crate) until: Time,
}

/// Whom `claims` stand for. `owner_of` knows the registered agents.
pub(super) fn of(
    claims: Claims,
    trusted: &Trusted,
    owner_of: impl Fn(&AgentId) -> Option<OwnerId>,
) -> Result<Identity, Refused> {
    let Claims { subject, human, client, mut actors, roles, until } = claims;
    let issuer = trusted.issuer.clone();
    if !actors.is_empty() {
        let before = actors.split_off(1);
        let agent = actors.pop().and_then(|name| AgentId::new(name.as_str()).ok());
        let agent = agent.ok_or(Refused::NotPermitted("the token's actor is no agent's name"))?;
        let names_owner = subject != agent.as_str();
        let owner = if names_owner { Some(owner(human.as_deref())?) } else { owner_of(&agent) };
        let owner = owner.ok_or(Refused::NotPermitted("the token's agent is not registered"))?;
        let (agent, role) = (Some(agent), Role::Agent);
        return Ok(Identity { issuer, owner, agent, role, before, until });
    }
    let before = Vec::new();
    if let Ok(agent) = AgentId::new(&subject)
        && let Some(owner) = owner_of(&agent)
    {
        // Without a human, the client itself is the subject (RFC 9068, section 2.2). Anybody else of
        // an agent's name is neither that agent nor to be taken for a person.
        if subject != client {
            return Err(Refused::NotPermitted("the token's subject is an agent's name"));
        }
        let (agent, role) = (Some(agent), Role::Agent);
        return Ok(Identity { issuer, owner, agent, role, before, until });
    }
    // Without `act` the client is who acts: an agent's own is no person, whoever has logged in to it.
    if AgentId::new(&client).is_ok_and(|name| owner_of(&name).is_some()) {
        return Err(Refused::NotPermitted("the token's client is an agent, and no `act` says so"));
    }
    let given: Vec<_> = roles.iter().filter_map(|value| trusted.roles.get(value)).collect();
    let role = ROLES.into_iter().find(|role| given.contains(&role));
    let role = role.ok_or(Refused::NotPermitted("the token gives no role here"))?;
    let owner = owner(human.as_deref())?;
    if AgentId::new(owner.as_str()).is_ok_and(|name| owner_of(&name).is_some()) {
        return Err(Refused::NotPermitted("the token's human has an agent's name"));
    }
    Ok(Identity { issuer, owner, agent: None, role, before, until })
}

fn owner(human: Option<&str>) -> Result<OwnerId, Refused> {
    let human = human.ok_or(Refused::Invalid("the token does not say who its human is"))?;
    let refused = |_| Refused::NotPermitted("the token's human is no owner's name");
    OwnerId::new(human).map_err(refused)
}
