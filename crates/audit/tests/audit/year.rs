//! A ledger with every family of events, made from a number: what laws and golden answers read.
//!
//! It is a good ledger: nothing is allowed that was taken back. Time moves unevenly, so that
//! there are busy and idle hours.

use std::collections::BTreeSet;

use bailiwick_core::event::{
    AccessReviewed, ApprovalDenied, ApprovalExpired, ApprovalGranted, ApprovalRequested,
    ApprovalRule, BreakglassUsed, Call, DenialCode, Detector, Fact, FindingRaised, GrantEnded,
    GrantIssued, GrantReturned, Issuance, Outcome, PoliciesActivated, PolicyPut, Review,
    RevocationEnforced, RiskChanged, Selector, TaskClosed, TaskOpened, ToolChanged, ToolPinned,
    Verdict,
};
use bailiwick_core::id::{AgentId, ApprovalId, GrantId, OwnerId, PolicyId, TaskId, ToolId};
use bailiwick_core::time::Span;

use crate::story::{Story, Terms, call, digest, text};

/// Agents, each with its owner.
const AGENTS: [(&str, &str); 4] = [
    ("triage-bot", "alice@example.com"),
    ("report-bot", "bob@example.com"),
    ("deploy-bot", "bob@example.com"),
    ("mail-bot", "carol@example.com"),
];
const TOOLS: [&str; 4] = ["crm/read_case", "crm/update_case", "mail/send", "deploy/roll_out"];
const DENIALS: [DenialCode; 3] =
    [DenialCode::Forbidden, DenialCode::ToolNotAllowed, DenialCode::Suspended];

/// Numbers that look like chance and come again from the same seed (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % bound as u64).unwrap()
    }
}

/// A grant that may still be used.
#[derive(Clone)]
struct Held {
    id: GrantId,
    agent: usize,
    tool: usize,
    resource: String,
    task: Option<TaskId>,
    left: u32,
}

struct Year {
    story: Story,
    numbers: Numbers,
    held: Vec<Held>,
    tasks: [Option<TaskId>; AGENTS.len()],
}

/// So many rounds of what agents and people do.
pub(crate) fn year(seed: u64, rounds: usize) -> Story {
    let mut story = Story::begin();
    story.register("bob@example.com", "report-bot");
    story.register("carol@example.com", "mail-bot");
    for tool in TOOLS {
        story.tell(Fact::ToolPinned(ToolPinned {
            tool: tool_id(tool),
            hash: digest(8),
            effect: None,
            targets: Vec::new(),
            labels: BTreeSet::new(),
            first_use: tool != "mail/send",
        }));
    }
    let mut year = Year { story, numbers: Numbers(seed), held: Vec::new(), tasks: [None; 4] };
    for _ in 0..rounds {
        let pause = year.numbers.below(900) as u64;
        year.story.now = year.story.now.after(Span::seconds(pause));
        match year.numbers.below(24) {
            0..=3 => year.issue(),
            4..=12 => year.call(),
            13 => year.refuse(1),
            14 => year.approve(),
            15 => year.delegate(),
            16 => year.revoke(),
            17 => year.break_glass(),
            18 => year.change_policy(),
            19 => year.task(),
            20 => year.give_back(),
            21 => year.find(),
            22 => year.review(),
            _ => year.refuse(24),
        }
    }
    year.story
}

impl Year {
    fn terms<'a>(&self, agent: usize, tool: usize, scope: &'a str) -> Terms<'a> {
        let (agent_id, owner) = AGENTS[agent];
        Terms {
            agent: agent_id,
            owner,
            task: self.tasks[agent],
            tool: Some(TOOLS[tool]),
            action: TOOLS[tool],
            scope,
            ttl: Span::hours(6),
            max_uses: 6,
        }
    }

    fn pick(&mut self) -> (usize, usize, String) {
        let (agent, tool) = (self.numbers.below(AGENTS.len()), self.numbers.below(TOOLS.len()));
        let server = TOOLS[tool].split('/').next().unwrap();
        (agent, tool, format!("{server}://case/{}", self.numbers.below(9)))
    }

    fn issue(&mut self) {
        let (agent, tool, resource) = self.pick();
        let id = self.story.grant(&self.terms(agent, tool, &resource));
        self.hold(id, agent, tool, resource);
    }

    fn hold(&mut self, id: GrantId, agent: usize, tool: usize, resource: String) {
        let task = self.tasks[agent];
        self.held.push(Held { id, agent, tool, resource, task, left: 6 });
        if self.held.len() > 40 {
            self.held.remove(0);
        }
    }

    fn question(&self, agent: usize, tool: usize, resource: &str) -> Call {
        let mut question = call(TOOLS[tool], resource);
        question.agent = Some(AgentId::new(AGENTS[agent].0).unwrap());
        question.owner = Some(OwnerId::new(AGENTS[agent].1).unwrap());
        question.task = self.tasks[agent];
        question
    }

    fn call(&mut self) {
        if self.held.is_empty() {
            return self.issue();
        }
        let at = self.numbers.below(self.held.len());
        self.held[at].left -= 1;
        let held = self.held[at].clone();
        let mut question = self.question(held.agent, held.tool, &held.resource);
        question.task = held.task;
        let id = self.story.allow(held.id, question, held.left);
        if held.left == 0 {
            self.story.tell(Fact::GrantExhausted(GrantEnded { grant: held.id }));
            self.held.remove(at);
        }
        match self.numbers.below(10) {
            0 => {}
            1 => drop(self.story.finish(id, Outcome::Error)),
            _ => drop(self.story.finish(id, Outcome::Ok)),
        }
    }

    fn refuse(&mut self, times: usize) {
        let (agent, tool, resource) = self.pick();
        let question = self.question(agent, tool, &resource);
        let start = self.story.now;
        for time in 0..times {
            let code = DENIALS[self.numbers.below(DENIALS.len())];
            self.story.deny(question.clone(), code, None);
            self.story.now = start.after(Span::seconds(2 * (time as u64 + 1)));
        }
    }

    fn approve(&mut self) {
        let (agent, tool, resource) = self.pick();
        let owner = OwnerId::new(AGENTS[agent].1).unwrap();
        let approval = ApprovalId(self.story.tell(Fact::ApprovalRequested(ApprovalRequested {
            call: self.question(agent, tool, &resource),
            owner: owner.clone(),
            scope: resource.parse().unwrap(),
            constraints: Vec::new(),
            request: None,
            needs: vec![ApprovalRule::Owner],
            ttl: Span::minutes(30),
            max_uses: 6,
            expires_at: self.story.now.after(Span::hours(1)),
            policies: vec![PolicyId::new("people").unwrap()],
            policy_hash: digest(7),
            shown: digest(6),
        })));
        let waits = Span::seconds(self.numbers.below(1_200) as u64);
        self.story.now = self.story.now.after(waits);
        match self.numbers.below(4) {
            0 => drop(self.story.tell(Fact::ApprovalDenied(ApprovalDenied {
                approval,
                by: owner,
                reason: Some(text("not today")),
            }))),
            1 => drop(self.story.tell(Fact::ApprovalExpired(ApprovalExpired { approval }))),
            _ => {
                let said = ApprovalGranted {
                    approval,
                    by: owner,
                    shown: digest(6),
                    complete: true,
                    reason: None,
                };
                self.story.tell(Fact::ApprovalGranted(said));
                let mut grant = self.issued(agent, tool, &resource);
                (grant.issuance, grant.approval) = (Issuance::Approved, Some(approval));
                let id = GrantId(self.story.tell(Fact::GrantIssued(grant)));
                self.hold(id, agent, tool, resource);
            }
        }
    }

    /// The grant that `issue` would issue, without issuing it.
    fn issued(&self, agent: usize, tool: usize, resource: &str) -> GrantIssued {
        let mut blank = Story { events: Vec::new(), now: self.story.now };
        blank.grant(&self.terms(agent, tool, resource));
        match blank.events.pop().unwrap().event.fact {
            Fact::GrantIssued(grant) => grant,
            other => panic!("{other:?} is no grant"),
        }
    }

    fn delegate(&mut self) {
        let Some(held) = self.held.last().cloned() else { return };
        let to = (held.agent + 1) % AGENTS.len();
        let agent = AgentId::new(AGENTS[to].0).unwrap();
        self.story.delegate(held.id, agent, self.tasks[to]);
    }

    fn revoke(&mut self) {
        let (agent, tool, _) = self.pick();
        let selector = match (self.numbers.below(4), self.held.first()) {
            (0, Some(held)) => Selector::Grant(held.id),
            (1, _) => Selector::Owner(OwnerId::new(AGENTS[agent].1).unwrap()),
            (2, _) => Selector::Tool(tool_id(TOOLS[tool])),
            _ => Selector::Agent(AgentId::new(AGENTS[agent].0).unwrap()),
        };
        // What is left of a family whose head goes is not used either.
        self.held.clear();
        let suspends = !matches!(selector, Selector::Grant(_)) && self.numbers.below(2) == 0;
        let cause = self.story.revoke(selector.clone(), suspends);
        if self.numbers.below(4) > 0 {
            let enforced = RevocationEnforced {
                number: cause,
                acknowledged: 3,
                expired: 0,
                points: Vec::new(),
                milliseconds: 5 + u32::try_from(self.numbers.below(60)).unwrap(),
            };
            self.story.tell_because(Fact::RevocationEnforced(enforced), cause);
        }
        if suspends {
            self.story.now = self.story.now.after(Span::minutes(3));
            self.story.lift(selector);
        }
    }

    fn break_glass(&mut self) {
        let (agent, tool, resource) = self.pick();
        let mut issued = self.issued(agent, tool, &resource);
        issued.issuance = Issuance::BreakGlass;
        let grant = GrantId(self.story.tell(Fact::GrantIssued(issued)));
        let question = self.question(agent, tool, &resource);
        self.story.tell(Fact::BreakglassUsed(BreakglassUsed {
            agent: question.agent,
            owner: question.owner.unwrap(),
            grant,
            action: question.action,
            resource: question.resource,
            policies: vec![PolicyId::new("incident").unwrap()],
            justification: text("incident 7: the queue is stuck"),
        }));
        self.hold(grant, agent, tool, resource);
    }

    fn change_policy(&mut self) {
        let tool = tool_id(TOOLS[self.numbers.below(TOOLS.len())]);
        match self.numbers.below(3) {
            0 => drop(self.story.tell(Fact::ToolChanged(ToolChanged {
                tool,
                pinned: digest(8),
                seen: digest(9),
            }))),
            1 => drop(
                self.story
                    .tell(Fact::PoliciesActivated(PoliciesActivated { count: 3, hash: digest(7) })),
            ),
            _ => drop(self.story.tell(Fact::PolicyPut(PolicyPut {
                policy: PolicyId::new("read-cases").unwrap(),
                text: "permit (principal, action, resource);".to_owned(),
                reason: Some(text("=cases are read")),
            }))),
        }
    }

    fn task(&mut self) {
        let agent = self.numbers.below(AGENTS.len());
        let task = match self.tasks[agent].take() {
            Some(task) => {
                self.held.retain(|held| held.task != Some(task));
                self.story.tell(Fact::TaskClosed(TaskClosed { task, reason: None }));
                None
            }
            None => Some(TaskId(self.story.tell(Fact::TaskOpened(TaskOpened {
                agent: AgentId::new(AGENTS[agent].0).unwrap(),
                owner: OwnerId::new(AGENTS[agent].1).unwrap(),
                sort: Some(text("case")),
                statement: Some(digest(4)),
                targets: vec![text("crm://case/1")],
            })))),
        };
        self.tasks[agent] = task;
    }

    fn give_back(&mut self) {
        let Some(held) = self.held.pop() else { return };
        self.story.tell(Fact::GrantReturned(GrantReturned { grant: held.id }));
    }

    fn find(&mut self) {
        let agent = AgentId::new(AGENTS[self.numbers.below(AGENTS.len())].0).unwrap();
        let last = self.story.events.len() as u64 - 1;
        self.story.tell(Fact::FindingRaised(FindingRaised {
            detector: Detector::Probing,
            verdict: Verdict::Note,
            agent: agent.clone(),
            task: None,
            score: 1_250_000,
            evidence: vec![last],
            summary: text("several tools, none of them its own"),
        }));
        self.story.tell(Fact::RiskChanged(RiskChanged { agent, from: 0, to: 40, reason: None }));
    }

    fn review(&mut self) {
        let Some(held) = self.held.first().cloned() else { return };
        let owner = OwnerId::new(AGENTS[held.agent].1).unwrap();
        self.story.tell(Fact::AccessReviewed(AccessReviewed {
            owner,
            grant: held.id,
            review: Review::Keep,
            reason: Some(text("still needed")),
        }));
    }
}

fn tool_id(tool: &str) -> ToolId {
    ToolId::new(tool).unwrap()
}
