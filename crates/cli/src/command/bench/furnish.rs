//! A ledger with something in it: owners, agents, policies, warm grants.

use std::collections::BTreeMap;

use anyhow::bail;
use bailiwick_core::command::{
    Answer, Authorize, Command, IssueGrant, RequestGrant, Subject, Submission, WriteAgent,
    WriteOwner,
};
use bailiwick_core::event::{Actor, AgentSettings, Allow, Effect, Scope};
use bailiwick_core::id::{Action, ActionPattern, AgentId, OwnerId, PolicyId, Resource, Text};
use bailiwick_core::time::Span;
use bailiwick_ledger::{Ledger, Reply};

/// How much there is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) agents: usize,
    pub(super) policies: usize,
}

pub(super) fn agent_name(n: usize) -> String {
    format!("agent-{n}")
}

pub(super) fn resource_name(n: usize) -> String {
    format!("crm://case/{n}")
}

/// The action that every warm grant is for.
pub(super) const ACTION: &str = "crm/read_case";

pub(super) async fn submit(ledger: &Ledger, command: Command) -> Reply {
    let submission = Submission { actor: Actor::System, request: None, trace: None, command };
    ledger.submit(submission).await
}

async fn done(ledger: &Ledger, command: Command) -> anyhow::Result<()> {
    match submit(ledger, command).await.answer {
        Answer::Done(_) => Ok(()),
        Answer::Refused(refusal) => bail!("{}: {}", refusal.code, refusal.message),
        Answer::Decided(_) => bail!("a call was decided where none was made"),
    }
}

/// Registers owners and agents, activates policies, and issues each agent one warm grant.
pub(super) async fn furnish(ledger: &Ledger, load: Load) -> anyhow::Result<()> {
    let owner = OwnerId::new("alice@example.com")?;
    done(ledger, Command::RegisterOwner(WriteOwner { owner: owner.clone(), groups: [].into() }))
        .await?;
    for n in 0..load.policies {
        let policy = PolicyId::new(&format!("policy-{n:05}"))?;
        done(ledger, Command::PutPolicy { policy, text: policy_text(n), reason: None }).await?;
    }
    done(ledger, Command::ActivatePolicies).await?;
    let agents = (0..load.agents).map(|n| furnish_agent(ledger, &owner, n));
    for result in futures::future::join_all(agents).await {
        result?;
    }
    Ok(())
}

/// Policies of three sorts, as a house has them: what the support desk may read, what somebody may
/// do with other tools, and what nobody may.
fn policy_text(n: usize) -> String {
    match n {
        0 => format!(
            r#"@jit("true") @ttl("5m")
permit (principal, action == Action::"{ACTION}", resource in Resource::"crm://case")
when {{ context.effect == "read" }};"#
        ),
        1 => format!(
            r#"forbid (principal, action == Action::"{ACTION}", resource)
when {{ resource.uri like "*/sealed/*" }};"#
        ),
        _ => format!(
            r#"permit (principal, action == Action::"tool-{n}/use", resource)
when {{ context.effect == "read" && resource.uri like "tool-{n}://*" }};"#
        ),
    }
}

async fn furnish_agent(ledger: &Ledger, owner: &OwnerId, n: usize) -> anyhow::Result<()> {
    let agent = AgentId::new(&agent_name(n))?;
    let allow = Allow { pattern: ActionPattern::new("crm/*")?, expires_at: None };
    let settings = AgentSettings {
        purpose: Text::new("support")?,
        groups: [].into(),
        allowlist: vec![allow],
        expires_at: None,
    };
    let write = WriteAgent { agent: agent.clone(), owner: owner.clone(), settings };
    done(ledger, Command::RegisterAgent(write)).await?;
    let terms = RequestGrant {
        agent,
        task: None,
        action: Action::new(ACTION)?,
        scope: Scope::Exact(Resource::new(&resource_name(n))?),
        ttl: Some(Span::days(1)),
        max_uses: Some(1_000_000),
        justification: None,
        constraints: Vec::new(),
    };
    done(ledger, Command::IssueGrant(IssueGrant { terms, not_before: None, request: None })).await
}

/// The call that agent `n`'s warm grant covers.
pub(super) fn warm_call(n: usize) -> anyhow::Result<Command> {
    Ok(Command::Authorize(Box::new(Authorize {
        subject: Subject::Agent(AgentId::new(&agent_name(n))?),
        on_behalf_of: None,
        task: None,
        session: None,
        tool: None,
        tool_hash: None,
        action: Action::new(ACTION)?,
        resource: Resource::new(&resource_name(n))?,
        effect: Effect::Read,
        arguments: None,
        disclosed: BTreeMap::new(),
        justification: Some(Text::new("customer asked for the state of the case")?),
        args: None,
        environment: None,
        correlation: None,
        actors: Vec::new(),
        told: None,
        finishes: false,
        verdicts: None,
    })))
}
