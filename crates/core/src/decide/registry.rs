//! The ledger itself, owners, agents and credentials.

use super::{Draft, refuse};
use crate::command::{
    Answer, CreateLedger, Done, IssueCredential, RefusalCode, RotateCredential, WriteAgent,
    WriteOwner,
};
use crate::event::{
    AgentReinstated, AgentRetired, AgentSuspended, AgentWritten, CredentialIssued,
    CredentialLimited, CredentialRevoked, Fact, LedgerCreated, OwnerDisabled, OwnerEnabled,
    OwnerWritten, RiskChanged, Role, Selector, SuspensionLifted, WriterStarted,
};
use crate::id::{AgentId, CredentialId, OwnerId, Text};
use crate::record::hash::Digest;
use crate::state::{Agent, AgentStatus};
use crate::time::Span;

/// The most entries of an agent's allowlist.
pub(super) const ALLOWLIST_MAX: usize = 256;
/// How long a key may still work at most once another has taken its place.
pub const ROTATION_OVERLAP_MAX: Span = Span::days(30);
/// The most groups of an owner or agent.
pub(super) const GROUPS_MAX: usize = 64;

pub(super) fn create_ledger(draft: &mut Draft<'_>, create: &CreateLedger) -> Answer {
    if draft.state.next_index() != 0 {
        return refuse(RefusalCode::AlreadyExists, "the ledger exists already");
    }
    draft.done(Fact::LedgerCreated(LedgerCreated {
        ledger: create.ledger,
        name: create.name.clone(),
        origin: create.origin.clone(),
        genesis_key: create.genesis_key,
        continues: None,
    }))
}

pub(super) fn start_writer(draft: &mut Draft<'_>, epoch: u64) -> Answer {
    if epoch <= draft.state.epoch() {
        return refuse(RefusalCode::WrongState, format!("epoch {epoch} has passed"));
    }
    draft.done(Fact::WriterStarted(WriterStarted { epoch }))
}

fn owner_written(owner: &WriteOwner) -> Result<OwnerWritten, Answer> {
    if owner.groups.len() > GROUPS_MAX {
        return Err(refuse(RefusalCode::OutOfRange, format!("at most {GROUPS_MAX} groups")));
    }
    Ok(OwnerWritten { owner: owner.owner.clone(), groups: owner.groups.clone() })
}

pub(super) fn register_owner(draft: &mut Draft<'_>, owner: &WriteOwner) -> Answer {
    if draft.state.owners().contains_key(&owner.owner) {
        let message = format!("owner `{}` is registered already", owner.owner);
        return refuse(RefusalCode::AlreadyExists, message);
    }
    match owner_written(owner) {
        Ok(written) => draft.done(Fact::OwnerRegistered(written)),
        Err(answer) => answer,
    }
}

pub(super) fn update_owner(draft: &mut Draft<'_>, owner: &WriteOwner) -> Answer {
    if !draft.state.owners().contains_key(&owner.owner) {
        return no_owner(&owner.owner);
    }
    match owner_written(owner) {
        Ok(written) => draft.done(Fact::OwnerUpdated(written)),
        Err(answer) => answer,
    }
}

fn no_owner(owner: &OwnerId) -> Answer {
    refuse(RefusalCode::NotFound, format!("owner `{owner}` is not registered"))
}

fn no_agent(agent: &AgentId) -> Answer {
    refuse(RefusalCode::NotFound, format!("agent `{agent}` is not registered"))
}

pub(super) fn disable_owner(
    draft: &mut Draft<'_>,
    owner: &OwnerId,
    reason: &Option<Text>,
) -> Answer {
    match draft.state.owners().get(owner) {
        None => no_owner(owner),
        Some(known) if known.disabled => {
            refuse(RefusalCode::WrongState, format!("owner `{owner}` is disabled already"))
        }
        Some(_) => {
            let (owner, reason) = (owner.clone(), reason.clone());
            draft.done(Fact::OwnerDisabled(OwnerDisabled { owner, reason }))
        }
    }
}

pub(super) fn enable_owner(draft: &mut Draft<'_>, owner: &OwnerId) -> Answer {
    match draft.state.owners().get(owner) {
        None => no_owner(owner),
        Some(known) if !known.disabled => {
            refuse(RefusalCode::WrongState, format!("owner `{owner}` is not disabled"))
        }
        Some(_) => draft.done(Fact::OwnerEnabled(OwnerEnabled { owner: owner.clone() })),
    }
}

fn agent_written(draft: &Draft<'_>, agent: &WriteAgent) -> Result<AgentWritten, Answer> {
    let settings = &agent.settings;
    if settings.allowlist.len() > ALLOWLIST_MAX {
        let message = format!("at most {ALLOWLIST_MAX} allowlist entries");
        return Err(refuse(RefusalCode::OutOfRange, message));
    }
    if settings.groups.len() > GROUPS_MAX {
        return Err(refuse(RefusalCode::OutOfRange, format!("at most {GROUPS_MAX} groups")));
    }
    if settings.expires_at.is_some_and(|end| end <= draft.now) {
        return Err(refuse(RefusalCode::OutOfRange, "expires_at has passed already"));
    }
    Ok(AgentWritten {
        agent: agent.agent.clone(),
        owner: agent.owner.clone(),
        settings: settings.clone(),
    })
}

pub(super) fn register_agent(draft: &mut Draft<'_>, agent: &WriteAgent) -> Answer {
    if draft.state.agents().contains_key(&agent.agent) {
        let message = format!("agent `{}` is or was registered already", agent.agent);
        return refuse(RefusalCode::AlreadyExists, message);
    }
    if !draft.state.owners().contains_key(&agent.owner) {
        return no_owner(&agent.owner);
    }
    match agent_written(draft, agent) {
        Ok(written) => draft.done(Fact::AgentRegistered(written)),
        Err(answer) => answer,
    }
}

pub(super) fn update_agent(draft: &mut Draft<'_>, agent: &WriteAgent) -> Answer {
    let Some(known) = draft.state.agents().get(&agent.agent) else {
        return no_agent(&agent.agent);
    };
    if known.status == AgentStatus::Retired {
        return refuse(RefusalCode::WrongState, format!("agent `{}` is retired", agent.agent));
    }
    if known.owner != agent.owner {
        let message = "an update does not change the owner";
        return refuse(RefusalCode::WrongState, message);
    }
    match agent_written(draft, agent) {
        Ok(written) => draft.done(Fact::AgentUpdated(written)),
        Err(answer) => answer,
    }
}

/// The agent, if it may go from where it stands to where the command wants it.
fn agent_in<'a>(
    draft: &Draft<'a>,
    agent: &AgentId,
    from: &[AgentStatus],
) -> Result<&'a Agent, Answer> {
    let Some(known) = draft.state.agents().get(agent) else { return Err(no_agent(agent)) };
    if from.contains(&known.status) {
        return Ok(known);
    }
    let stands = match known.status {
        AgentStatus::Active => "active",
        AgentStatus::Suspended => "suspended",
        AgentStatus::Retired => "retired",
    };
    Err(refuse(RefusalCode::WrongState, format!("agent `{agent}` is {stands}")))
}

pub(super) fn suspend_agent(
    draft: &mut Draft<'_>,
    agent: &AgentId,
    reason: &Option<Text>,
) -> Answer {
    if let Err(answer) = agent_in(draft, agent, &[AgentStatus::Active]) {
        return answer;
    }
    let (agent, reason) = (agent.clone(), reason.clone());
    draft.done(Fact::AgentSuspended(AgentSuspended { agent, reason }))
}

/// Brings an agent back: its own suspension and the one that a revocation of the agent left. Never
/// its grants.
pub(super) fn reinstate_agent(
    draft: &mut Draft<'_>,
    agent: &AgentId,
    reason: &Option<Text>,
) -> Answer {
    let known = match agent_in(draft, agent, &[AgentStatus::Active, AgentStatus::Suspended]) {
        Ok(known) => known,
        Err(answer) => return answer,
    };
    let selector = Selector::Agent(agent.clone());
    let cause = draft.state.marks().is_suspended(&selector);
    if known.status == AgentStatus::Active && cause.is_none() {
        let message = format!("agent `{agent}` is not suspended");
        return refuse(RefusalCode::WrongState, message);
    }
    let answer = draft.done(Fact::AgentReinstated(AgentReinstated { agent: agent.clone() }));
    if let Some(cause) = cause {
        let reason = reason.clone();
        draft.record_because(cause, Fact::SuspensionLifted(SuspensionLifted { selector, reason }));
    }
    answer
}

pub(super) fn retire_agent(
    draft: &mut Draft<'_>,
    agent: &AgentId,
    reason: &Option<Text>,
) -> Answer {
    if let Err(answer) = agent_in(draft, agent, &[AgentStatus::Active, AgentStatus::Suspended]) {
        return answer;
    }
    let (agent, reason) = (agent.clone(), reason.clone());
    draft.done(Fact::AgentRetired(AgentRetired { agent, reason }))
}

pub(super) fn issue_credential(draft: &mut Draft<'_>, issue: &IssueCredential) -> Answer {
    if let Some(refused) = is_taken(draft, &issue.credential, &issue.key_hash) {
        return refused;
    }
    match (&issue.agent, issue.role) {
        (Some(agent), Role::Agent) if !draft.state.agents().contains_key(agent) => {
            return no_agent(agent);
        }
        (Some(_), Role::Agent) => {}
        (None, Role::Agent) => {
            return refuse(RefusalCode::OutOfRange, "role `agent` needs the agent it speaks for");
        }
        (Some(_), role) => {
            let message = format!("role `{role}` speaks for no single agent");
            return refuse(RefusalCode::OutOfRange, message);
        }
        (None, _) => {}
    }
    if let Some(owner) = issue.owner.as_ref().filter(|o| !draft.state.owners().contains_key(*o)) {
        return no_owner(owner);
    }
    if issue.expires_at.is_some_and(|end| end <= draft.now) {
        return refuse(RefusalCode::OutOfRange, "expires_at has passed already");
    }
    draft.done(Fact::CredentialIssued(CredentialIssued {
        credential: issue.credential.clone(),
        role: issue.role,
        agent: issue.agent.clone(),
        key_hash: issue.key_hash,
        expires_at: issue.expires_at,
        owner: issue.owner.clone(),
        rotates: issue.rotates.clone(),
        scram: issue.scram.clone(),
    }))
}

/// A refusal where a credential's name or key is not new.
fn is_taken(draft: &Draft<'_>, credential: &CredentialId, key_hash: &Digest) -> Option<Answer> {
    if draft.state.credentials().contains_key(credential) {
        let message = format!("credential `{credential}` exists already");
        return Some(refuse(RefusalCode::AlreadyExists, message));
    }
    // Also of revoked ones: a key speaks for one credential, now and in every replay.
    let is_known = draft.state.credentials().values().any(|known| known.key_hash == *key_hash);
    is_known.then(|| refuse(RefusalCode::AlreadyExists, "another credential has this key"))
}

pub(super) fn rotate_credential(draft: &mut Draft<'_>, rotate: &RotateCredential) -> Answer {
    if let Some(refused) = is_taken(draft, &rotate.credential, &rotate.key_hash) {
        return refused;
    }
    if rotate.overlap > ROTATION_OVERLAP_MAX {
        let message = format!("an overlap of more than {ROTATION_OVERLAP_MAX}");
        return refuse(RefusalCode::OutOfRange, message);
    }
    let Some(old) = draft.state.credentials().get(&rotate.rotates) else {
        let message = format!("credential `{}` is not known", rotate.rotates);
        return refuse(RefusalCode::NotFound, message);
    };
    if !old.is_live(draft.now) {
        let message = format!("credential `{}` works no more", rotate.rotates);
        return refuse(RefusalCode::WrongState, message);
    }
    let lasts = old.expires_at.map(|end| end.since(old.issued));
    let limit = draft.now.after(rotate.overlap);
    let limit = old.expires_at.map_or(limit, |end| end.min(limit));
    let issue = Fact::CredentialIssued(CredentialIssued {
        credential: rotate.credential.clone(),
        role: old.role,
        agent: old.agent.clone(),
        key_hash: rotate.key_hash,
        expires_at: lasts.map(|span| draft.now.after(span)),
        owner: old.owner.clone(),
        rotates: Some(rotate.rotates.clone()),
        scram: rotate.scram.clone(),
    });
    let kind = issue.kind();
    let issued = draft.record(issue);
    let credential = rotate.rotates.clone();
    let limited = CredentialLimited { credential, expires_at: limit };
    draft.record_because(issued, Fact::CredentialLimited(limited));
    Answer::Done(Done { kind, index: issued, grant: None, repeats: None })
}

pub(super) fn revoke_credential(
    draft: &mut Draft<'_>,
    credential: &CredentialId,
    reason: &Option<Text>,
) -> Answer {
    match draft.state.credentials().get(credential) {
        Some(known) if !known.revoked => {
            let (credential, reason) = (credential.clone(), reason.clone());
            draft.done(Fact::CredentialRevoked(CredentialRevoked { credential, reason }))
        }
        _ => {
            let message = format!("credential `{credential}` is unknown or revoked already");
            refuse(RefusalCode::NotFound, message)
        }
    }
}

/// The most that an agent may be distrusted.
pub const RISK_MAX: u8 = 100;

pub(super) fn change_risk(
    draft: &mut Draft<'_>,
    agent: &AgentId,
    to: u8,
    reason: &Option<Text>,
) -> Answer {
    if !draft.state.agents().contains_key(agent) {
        return refuse(RefusalCode::NotFound, format!("agent `{agent}` is not registered"));
    }
    if to > RISK_MAX {
        return refuse(RefusalCode::OutOfRange, format!("risk is from 0 to {RISK_MAX}"));
    }
    let from = draft.state.risk(agent);
    if from == to {
        return refuse(RefusalCode::WrongState, format!("the risk of agent `{agent}` is {to}"));
    }
    let (agent, reason) = (agent.clone(), reason.clone());
    draft.done(Fact::RiskChanged(RiskChanged { agent, from, to, reason }))
}
