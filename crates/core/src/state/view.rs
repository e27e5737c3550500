//! What policy evaluation and authentication read: immutable, versioned, shared with other threads,
//! so that Cedar is asked before a command enters the loop.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::registry::{Agent, Credential, Owner};
use crate::command::{Authorize, Subject};
use crate::event::{Effect, Entity, Role};
use crate::id::{AgentId, CredentialId, OwnerId, PolicyId, Resource, ToolId};
use crate::policy::{
    Context, Decision, InputSchemas, Live, PolicyIndex, PolicySet, Principal, Question, Verdict,
};
use crate::properties::Properties;
use crate::record::hash::Digest;
use crate::time::Time;

/// A credential as authentication needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialView {
    /// Its public name.
    pub id: CredentialId,
    /// What its holder may do.
    pub role: Role,
    /// The agent it speaks for.
    pub agent: Option<AgentId>,
    /// The human who holds it.
    pub owner: Option<OwnerId>,
    /// When it stops working.
    pub expires_at: Option<Time>,
}

/// What the policies say of one call, for the agent and for its owner, on one version of the view.
#[derive(Debug, Clone)]
pub struct Verdicts {
    /// Version of the view that was asked.
    pub version: u64,
    /// For the agent; none when an owner acts in person.
    pub agent: Option<Verdict>,
    /// For the owner.
    pub owner: Verdict,
}

impl Verdicts {
    /// Whether the answer could be another one a moment later.
    #[must_use]
    pub fn is_volatile(&self) -> bool {
        self.owner.volatile || self.agent.as_ref().is_some_and(|verdict| verdict.volatile)
    }

    fn each(&self) -> impl Iterator<Item = &Verdict> {
        self.agent.iter().chain(std::iter::once(&self.owner))
    }

    /// The shadow policies that would have made another answer of this one, were all of them in
    /// force: those that forbid what is permitted, or permit what no policy speaks of.
    #[must_use]
    pub fn shadow(&self) -> Vec<PolicyIndex> {
        let permits = |verdict: &Verdict| verdict.decision == Decision::Permit;
        let would_permit = |verdict: &Verdict| {
            let silent = verdict.decision == Decision::Silent;
            let permits = permits(verdict) || silent && !verdict.shadow.permits.is_empty();
            permits && verdict.shadow.forbids.is_empty()
        };
        let mut changing: Vec<PolicyIndex> =
            match (self.each().all(permits), self.each().all(would_permit)) {
                (true, false) => {
                    self.each().flat_map(|verdict| verdict.shadow.forbids.iter().copied()).collect()
                }
                (false, true) => self
                    .each()
                    .filter(|verdict| !permits(verdict))
                    .flat_map(|verdict| verdict.shadow.permits.iter().copied())
                    .collect(),
                (true, true) | (false, false) => Vec::new(),
            };
        changing.sort_unstable();
        changing.dedup();
        changing
    }

    /// The numbers of the ledger's that the policies read, by name.
    pub fn read(&self) -> impl Iterator<Item = (&'static str, i64)> {
        self.each().flat_map(|verdict| verdict.read.iter().copied())
    }
}

/// Policies in force and the principals they are about.
#[derive(Debug, Clone)]
pub struct View {
    version: u64,
    policies: Arc<PolicySet>,
    owners: Arc<BTreeMap<OwnerId, Arc<Principal>>>,
    disabled: Arc<BTreeSet<OwnerId>>,
    agents: Arc<BTreeMap<AgentId, (OwnerId, Arc<Principal>)>>,
    resources: Resources,
    tools: Arc<BTreeMap<ToolId, Effect>>,
    credentials: Arc<BTreeMap<Digest, CredentialView>>,
}

impl View {
    /// How many events the ledger had when anything here last changed. It differs between any two
    /// views of one ledger that could give different answers, a rebuilt one included.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Hash of the policy set.
    #[must_use]
    pub fn policy_hash(&self) -> Digest {
        Digest(self.policies.hash())
    }

    /// The policy set.
    #[must_use]
    pub fn policies(&self) -> &PolicySet {
        &self.policies
    }

    /// The credential whose key has this keyed hash, if it is not revoked.
    #[must_use]
    pub fn credential(&self, key_hash: &Digest) -> Option<&CredentialView> {
        self.credentials.get(key_hash)
    }

    /// The credential of this public name, if it is not revoked. Every one is looked at: this is for
    /// sessions, which ask now and then, and there are few credentials.
    #[must_use]
    pub fn credential_named(&self, name: &str) -> Option<&CredentialView> {
        self.credentials.values().find(|known| known.id.as_str() == name)
    }

    /// On whose authority an agent acts, if it is registered.
    #[must_use]
    pub fn owner_of(&self, agent: &AgentId) -> Option<&OwnerId> {
        self.agents.get(agent).map(|(owner, _)| owner)
    }

    /// Whether an owner is registered and not disabled.
    #[must_use]
    pub fn is_active(&self, owner: &OwnerId) -> bool {
        self.owners.contains_key(owner) && !self.disabled.contains(owner)
    }

    /// What a call does to the world: the stricter of what the enforcement point says and what the
    /// tool is pinned as.
    #[must_use]
    pub fn effect_of(&self, call: &Authorize) -> Effect {
        let pinned = call.tool.as_ref().and_then(|tool| self.tools.get(tool));
        pinned.map_or(call.effect, |pinned| call.effect.max(*pinned))
    }

    /// Names of the policies at `indexes`.
    #[must_use]
    pub fn policy_ids(&self, indexes: &[PolicyIndex]) -> Vec<PolicyId> {
        indexes.iter().filter_map(|index| self.policies.id(*index)).cloned().collect()
    }

    /// Asks the policies about a call: for its agent, and for the owner. None when agent or owner
    /// is not registered. What only the ledger's state has is not at hand here: where a policy reads
    /// it, the answer is volatile and no permit.
    #[must_use]
    pub fn verdicts(&self, call: &Authorize, now: Time) -> Option<Verdicts> {
        self.verdicts_with(call, now, None)
    }

    /// The same, with what the ledger's state knows at this moment.
    #[must_use]
    pub fn verdicts_with(
        &self,
        call: &Authorize,
        now: Time,
        live: Option<Live<'_>>,
    ) -> Option<Verdicts> {
        let (owner_id, agent) = match &call.subject {
            Subject::Agent(agent) => {
                let (owner, principal) = self.agents.get(agent)?;
                (owner, Some(principal))
            }
            Subject::Person(owner) => (owner, None),
        };
        let owner = self.owners.get(owner_id)?;
        let told = call.told.as_deref();
        let of_subject = told.map(|told| &told.subject).filter(|told| !told.is_empty());
        let is_person = agent.is_none();
        let agent = agent.map(|agent| as_told(agent, of_subject));
        let owner = &*as_told(owner, of_subject.filter(|_| is_person));
        let stored = self.resources.get(&call.resource);
        let merged: Properties;
        let of_resource = match (stored, told.map(|told| &told.resource)) {
            (Some(stored), Some(told)) => {
                merged = stored.overlaid(told);
                Some(&merged)
            }
            (stored, told) => told.or(stored),
        };
        let context = Context {
            task: call.task,
            session: call.session.as_ref(),
            justification: call.justification.as_ref(),
            agent: agent.as_deref(),
            owner,
            of_resource,
            of_action: told.map(|told| &told.action),
            tool: call.tool.as_ref(),
            effect: self.effect_of(call).as_str(),
            time: now,
            args: call.args.as_deref(),
            environment: call.environment.as_ref(),
            live,
        };
        let ask = |principal: &Principal| {
            self.policies.evaluate(&Question {
                principal,
                action: &call.action,
                resource: &call.resource,
                context: &context,
            })
        };
        Some(Verdicts {
            version: self.version,
            agent: agent.as_deref().map(ask),
            owner: ask(owner),
        })
    }
}

/// Properties of resources. Others hold older views: a change copies one shard and the list of them,
/// not a million resources.
#[derive(Debug, Clone, Default)]
struct Resources(Arc<BTreeMap<u16, Arc<Shard>>>);

type Shard = BTreeMap<Resource, Arc<Properties>>;

/// How many shards there are at most.
const SHARDS: u16 = 1_024;

impl Resources {
    fn shard(id: &Resource) -> u16 {
        let hash = blake3::hash(id.as_str().as_bytes());
        let [first, second, ..] = hash.as_bytes();
        u16::from_be_bytes([*first, *second]) % SHARDS
    }

    fn get(&self, id: &Resource) -> Option<&Properties> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&Self::shard(id))?.get(id).map(AsRef::as_ref)
    }

    fn set(&mut self, id: &Resource, known: Option<&Properties>) {
        let shards = Arc::make_mut(&mut self.0);
        let shard = Arc::make_mut(shards.entry(Self::shard(id)).or_default());
        match known {
            Some(known) => shard.insert(id.clone(), Arc::new(known.clone())),
            None => shard.remove(id),
        };
    }
}

/// A principal with what the enforcement point says of it.
fn as_told<'a>(principal: &'a Principal, told: Option<&Properties>) -> Cow<'a, Principal> {
    told.map_or(Cow::Borrowed(principal), |told| Cow::Owned(principal.with(told)))
}

/// The view as part of the state: not stored, but rebuilt from what is.
#[derive(Debug, Clone)]
pub(super) struct Derived(Arc<View>);

impl Default for Derived {
    fn default() -> Self {
        Self(Arc::new(View {
            version: 0,
            policies: Arc::new(PolicySet::empty()),
            owners: Arc::default(),
            disabled: Arc::default(),
            agents: Arc::default(),
            resources: Resources::default(),
            tools: Arc::default(),
            credentials: Arc::default(),
        }))
    }
}

impl Derived {
    pub(super) fn shared(&self) -> Arc<View> {
        Arc::clone(&self.0)
    }

    pub(super) fn get(&self) -> &View {
        &self.0
    }

    fn change(&mut self, version: u64) -> &mut View {
        let view = Arc::make_mut(&mut self.0);
        view.version = version;
        view
    }

    /// Puts a set in force. It was compiled when it was activated; should this build not compile
    /// it any more, nothing is permitted.
    pub(super) fn set_policies(
        &mut self,
        version: u64,
        schemas: &InputSchemas,
        active: &BTreeMap<PolicyId, String>,
    ) {
        let texts = active.iter().map(|(id, text)| (id, text.as_str()));
        let set =
            self.0.policies.recompile_with(schemas, texts).unwrap_or_else(|_| PolicySet::empty());
        self.change(version).policies = Arc::new(set);
    }

    pub(super) fn set_owner(&mut self, version: u64, owner: &Owner, known: Option<&Properties>) {
        let id = &owner.written.owner;
        if owner.disabled != self.0.disabled.contains(id) {
            let disabled = Arc::make_mut(&mut self.change(version).disabled);
            if owner.disabled {
                disabled.insert(id.clone())
            } else {
                disabled.remove(id)
            };
        }
        let principal = Principal::owner(id, &owner.written.groups);
        let principal = Arc::new(known.map_or(principal.clone(), |known| principal.with(known)));
        Arc::make_mut(&mut self.change(version).owners).insert(id.clone(), principal);
    }

    pub(super) fn set_agent(
        &mut self,
        version: u64,
        id: &AgentId,
        agent: &Agent,
        known: Option<&Properties>,
    ) {
        let settings = &agent.settings;
        let principal =
            Principal::agent(id, &agent.owner, settings.purpose.as_str(), &settings.groups);
        let principal = known.map_or(principal.clone(), |known| principal.with(known));
        Arc::make_mut(&mut self.change(version).agents)
            .insert(id.clone(), (agent.owner.clone(), Arc::new(principal)));
    }

    pub(super) fn set_resource(&mut self, version: u64, id: &Resource, known: Option<&Properties>) {
        self.change(version).resources.set(id, known);
    }

    pub(super) fn set_tool(&mut self, version: u64, id: &ToolId, effect: Option<Effect>) {
        if self.0.tools.get(id).copied() == effect {
            return;
        }
        let tools = Arc::make_mut(&mut self.change(version).tools);
        match effect {
            Some(effect) => tools.insert(id.clone(), effect),
            None => tools.remove(id),
        };
    }

    pub(super) fn set_credential(
        &mut self,
        version: u64,
        id: &CredentialId,
        credential: &Credential,
    ) {
        let credentials = Arc::make_mut(&mut self.change(version).credentials);
        if credential.revoked {
            credentials.remove(&credential.key_hash);
            return;
        }
        let view = CredentialView {
            id: id.clone(),
            role: credential.role,
            agent: credential.agent.clone(),
            owner: credential.owner.clone(),
            expires_at: credential.expires_at,
        };
        credentials.insert(credential.key_hash, view);
    }

    pub(super) fn rebuild(
        &mut self,
        version: u64,
        (schemas, active): (&InputSchemas, &BTreeMap<PolicyId, String>),
        owners: &BTreeMap<OwnerId, Owner>,
        agents: &BTreeMap<AgentId, Agent>,
        entities: &BTreeMap<Entity, Properties>,
        credentials: &BTreeMap<CredentialId, Credential>,
    ) {
        *self = Self::default();
        self.set_policies(version, schemas, active);
        for owner in owners.values() {
            let known = entities.get(&Entity::Owner(owner.written.owner.clone()));
            self.set_owner(version, owner, known);
        }
        for (id, agent) in agents {
            self.set_agent(version, id, agent, entities.get(&Entity::Agent(id.clone())));
        }
        for (entity, known) in entities {
            if let Entity::Resource(id) = entity {
                self.set_resource(version, id, Some(known));
            }
        }
        credentials.iter().for_each(|(id, key)| self.set_credential(version, id, key));
    }
}

impl bincode::Encode for Derived {
    fn encode<E: bincode::enc::Encoder>(
        &self,
        _: &mut E,
    ) -> Result<(), bincode::error::EncodeError> {
        Ok(())
    }
}

impl<C> bincode::Decode<C> for Derived {
    fn decode<D: bincode::de::Decoder<Context = C>>(
        _: &mut D,
    ) -> Result<Self, bincode::error::DecodeError> {
        Ok(Self::default())
    }
}

bincode::impl_borrow_decode!(Derived);
