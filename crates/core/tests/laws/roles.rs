//! Which role may submit which command.

use bailiwick_core::command::{
    Answer, Command, CreateLedger, IssueCredential, ReassignAgent, RefusalCode, Submission,
};
use bailiwick_core::event::{Actor, ConfigChanged, Review, Role, Selector};
use bailiwick_core::id::{GrantId, GrantRequestId, TaskId};
use bailiwick_core::record::hash::{Digest, LedgerId, PublicKey};
use bailiwick_core::time::Span;

use super::harness::{
    ALL, JUST_IN_TIME, Ledger, ROLES, actor, agent_key, ask, credential, finish, id, issue, lift,
    open_task, pin_tool, put_policy, revoke, rotate, submission, terms, text, write_agent,
    write_owner,
};

use super::recorded::{asked, sealed, signed};

/// A ledger in which every command below has something to work on.
struct Scene {
    ledger: Ledger,
    own: Vec<(&'static str, Command)>,
    of_second: Vec<(&'static str, Command)>,
}

fn things_of(ledger: &mut Ledger, agent: &str) -> Vec<(&'static str, Command)> {
    let task = ledger.open_task(agent);
    let grant = ledger.grant(agent, "crm/read", "crm://case/7");
    let call = ledger.call(ask(agent, "crm/read", "crm://case/1")).call;
    let authorize = Command::Authorize(Box::new(ask(agent, "crm/read", "crm://case/2")));
    vec![
        ("authorize", authorize),
        ("finish", finish(call)),
        ("open_task", Command::OpenTask(open_task(agent))),
        ("close_task", Command::CloseTask { task, reason: None }),
        ("request_grant", Command::RequestGrant(terms(agent, "crm/read", "crm://case/3"))),
        ("return_grant", Command::ReturnGrant { grant }),
        ("delegate_grant", Command::DelegateGrant(super::delegation::part(grant, agent))),
    ]
}

fn scene() -> Scene {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let own = things_of(&mut ledger, "helper");
    let of_second = things_of(&mut ledger, "second");
    Scene { ledger, own, of_second }
}

fn systems() -> Vec<(&'static str, Command)> {
    let create = CreateLedger {
        ledger: LedgerId([1; 16]),
        name: text("x"),
        origin: text("x"),
        genesis_key: PublicKey([1; 32]),
    };
    vec![
        ("create_ledger", Command::CreateLedger(create)),
        ("start_writer", Command::StartWriter { epoch: 99 }),
        ("record_query", asked(actor(Role::Auditor))),
        ("record_segment", sealed(0, 0, 1)),
        ("record_checkpoint", signed(1, "example.com/test")),
        ("expire", Command::Expire),
    ]
}

fn rules() -> Vec<(&'static str, Command)> {
    let auditor = credential("another", Role::Auditor, None);
    vec![
        ("put_policy", put_policy("mine", ALL[0])),
        ("remove_policy", Command::RemovePolicy { policy: id("p0") }),
        ("put_schema", Command::PutSchema { action: id("crm/read"), schema: "{}".to_owned() }),
        ("activate_policies", Command::ActivatePolicies),
        ("configure", Command::Configure(ConfigChanged::default())),
        ("issue_credential", Command::IssueCredential(auditor)),
        ("rotate_credential", Command::RotateCredential(rotate("auditor", "auditor.2"))),
        (
            "revoke_credential",
            Command::RevokeCredential { credential: id("auditor"), reason: None },
        ),
    ]
}

fn running() -> Vec<(&'static str, Command)> {
    let agent = || id("helper");
    let (owner, delegate) = (|| id("alice"), || id("bob"));
    let to_bob = ReassignAgent { agent: agent(), to: delegate(), reason: None };
    let grant = GrantId(1_000_000);
    let review = Command::ReviewGrant { grant, review: Review::Keep, reason: None };
    vec![
        (
            "add_delegate",
            Command::AddDelegate { owner: owner(), delegate: delegate(), expires_at: None },
        ),
        (
            "remove_delegate",
            Command::RemoveDelegate { owner: owner(), delegate: delegate(), reason: None },
        ),
        ("reassign_agent", Command::ReassignAgent(to_bob)),
        ("pin_tool", Command::PinTool(pin_tool("crm/read", 1))),
        ("unpin_tool", Command::UnpinTool { tool: id("crm/read"), reason: None }),
        ("register_owner", Command::RegisterOwner(write_owner("carol"))),
        ("update_owner", Command::UpdateOwner(write_owner("alice"))),
        ("disable_owner", Command::DisableOwner { owner: id("alice"), reason: None }),
        ("enable_owner", Command::EnableOwner { owner: id("alice") }),
        ("register_agent", Command::RegisterAgent(write_agent("fourth", "alice", &["**"]))),
        ("update_agent", Command::UpdateAgent(write_agent("helper", "alice", &["**"]))),
        ("suspend_agent", Command::SuspendAgent { agent: agent(), reason: None }),
        ("reinstate_agent", Command::ReinstateAgent { agent: agent(), reason: None }),
        ("retire_agent", Command::RetireAgent { agent: agent(), reason: None }),
        ("change_risk", Command::ChangeRisk { agent: agent(), to: 100, reason: None }),
        ("issue_grant", issue(terms("helper", "crm/read", "crm://**"))),
        ("deny_grant", Command::DenyGrant { request: GrantRequestId(0), reason: None }),
        ("review_grant", review),
        ("revoke", revoke(Selector::All)),
        ("lift", lift(Selector::All)),
    ]
}

fn is_permitted(ledger: &Ledger, actor: Actor, command: &Command) -> bool {
    let decided = ledger.ask(&submission(actor, command.clone()));
    match decided.answer {
        Answer::Refused(refusal) => refusal.code != RefusalCode::NotPermitted,
        Answer::Done(_) | Answer::Decided(_) => true,
    }
}

#[test]
fn each_role_may_submit_what_its_row_says_and_nothing_else() {
    let scene = scene();
    // Columns: the system's own, rules, running, things of agent `helper`, things of another.
    let table = [
        (Role::Admin, [false, true, true, true, true]),
        (Role::Operator, [false, false, true, true, true]),
        (Role::Enforcer, [false, false, false, true, true]),
        (Role::Agent, [false, false, false, true, false]),
        (Role::Approver, [false; 5]),
        (Role::Auditor, [false; 5]),
        (Role::Subscriber, [false; 5]),
    ];
    assert_eq!(table.map(|(role, _)| role).len(), ROLES.len());
    let columns = [systems(), rules(), running(), scene.own, scene.of_second];
    for (role, row) in table {
        for (commands, expected) in columns.iter().zip(row) {
            for (name, command) in commands {
                let permitted = is_permitted(&scene.ledger, actor(role), command);
                assert_eq!(permitted, expected, "{role} {name}");
            }
        }
    }
    for (name, command) in columns.iter().flatten() {
        assert!(is_permitted(&scene.ledger, Actor::System, command), "system {name}");
    }
}

#[test]
fn agent_cannot_speak_for_a_person_nor_for_another_agents_things() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let person = super::harness::ask_as(
        bailiwick_core::command::Subject::Person(id("alice")),
        "crm/read",
        "crm://case/1",
    );
    let person = Command::Authorize(Box::new(person));
    assert_eq!(ledger.refused(agent_key("helper"), person), RefusalCode::NotPermitted);
    let unknown = Command::CloseTask { task: TaskId(999), reason: None };
    assert_eq!(ledger.refused(agent_key("helper"), unknown), RefusalCode::NotPermitted);
}

fn refused_as(ledger: &Ledger, submission: &Submission) -> Option<RefusalCode> {
    match ledger.ask(submission).answer {
        Answer::Refused(refusal) => Some(refusal.code),
        Answer::Done(_) | Answer::Decided(_) => None,
    }
}

#[test]
fn a_rotated_key_gives_way_to_one_that_may_as_much() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let call = || Command::Authorize(Box::new(ask("helper", "crm/read", "crm://case/1")));
    let by = |name: &str, role| submission(Actor::Credential { id: id(name), role }, call());
    let invalid = Some(RefusalCode::CredentialInvalid);
    let ends = ledger.now().after(Span::hours(2));
    let lasting = IssueCredential {
        expires_at: Some(ends),
        key_hash: Digest([3; 32]),
        ..credential("ci", Role::Enforcer, None)
    };
    ledger.given(Command::IssueCredential(lasting));
    let rotated = ledger.now();
    ledger.given(Command::RotateCredential(rotate("ci", "ci.2")));
    assert_eq!(refused_as(&ledger, &by("ci", Role::Enforcer)), None);
    assert_eq!(refused_as(&ledger, &by("ci.2", Role::Enforcer)), None);
    assert_eq!(refused_as(&ledger, &by("ci.2", Role::Admin)), invalid);
    // The new key lasts as long from now as the old one was made to last.
    let known = ledger.state.credentials().get("ci.2").unwrap();
    let span = known.expires_at.unwrap().since(known.issued);
    assert!(span <= Span::hours(2) && span > Span::hours(1), "{span}");
    ledger.clock = rotated.after(Span::hours(1)).after(Span::seconds(1));
    assert_eq!(refused_as(&ledger, &by("ci", Role::Enforcer)), invalid);
    assert_eq!(refused_as(&ledger, &by("ci.2", Role::Enforcer)), None);
    // A rotation makes no key last longer, and none of a key that ended.
    let again = Command::RotateCredential(rotate("ci", "ci.3"));
    let refused = refused_as(&ledger, &submission(Actor::System, again));
    assert_eq!(refused, Some(RefusalCode::WrongState));
}

#[test]
fn a_tokens_human_is_the_owner_of_its_agent() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let token = |owner: &str, agent: Option<&str>, role| Actor::Token {
        issuer: text("https://id.example"),
        owner: id(owner),
        agent: agent.map(id),
        role,
    };
    let refused = |ledger: &Ledger, actor: Actor, command: Command| {
        refused_as(ledger, &submission(actor, command))
    };
    let task = || Command::OpenTask(open_task("helper"));
    let agents = |owner: &str| token(owner, Some("helper"), Role::Agent);
    assert_eq!(refused(&ledger, agents("alice"), task()), None);
    let denied = Some(RefusalCode::NotPermitted);
    assert_eq!(refused(&ledger, agents("bob"), task()), denied);
    let nobodys = token("alice", Some("nobody"), Role::Agent);
    assert_eq!(refused(&ledger, nobodys, task()), denied);
    // A call of either is decided, so that its denial is on the record.
    let call = || Command::Authorize(Box::new(ask("helper", "crm/read", "crm://case/1")));
    assert_eq!(refused(&ledger, agents("bob"), call()), None);
    let invalid = Some(RefusalCode::CredentialInvalid);
    assert_eq!(refused(&ledger, agents("nobody"), call()), invalid);
    let operator = |owner: &str| token(owner, None, Role::Operator);
    let suspend = || Command::SuspendAgent { agent: id("helper"), reason: None };
    assert_eq!(refused(&ledger, operator("alice"), suspend()), None);
    assert_eq!(refused(&ledger, operator("nobody"), suspend()), invalid);
    ledger.given(Command::DisableOwner { owner: id("alice"), reason: None });
    assert_eq!(refused(&ledger, operator("alice"), suspend()), invalid);
    assert!(!ledger.state.view().is_active(&id("alice")));
    assert!(ledger.state.view().is_active(&id("bob")));
    ledger.given(Command::EnableOwner { owner: id("alice") });
    assert!(ledger.state.view().is_active(&id("alice")));
}

#[test]
fn credential_counts_only_while_it_is_live_and_in_its_own_role() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let call = || Command::Authorize(Box::new(ask("helper", "crm/read", "crm://case/1")));
    let by = |name: &str, role| submission(Actor::Credential { id: id(name), role }, call());
    let invalid = Some(RefusalCode::CredentialInvalid);
    assert_eq!(refused_as(&ledger, &by("enforcer", Role::Enforcer)), None);
    assert_eq!(refused_as(&ledger, &by("enforcer", Role::Admin)), invalid);
    assert_eq!(refused_as(&ledger, &by("nobody", Role::Enforcer)), invalid);
    let end = ledger.now().after(Span::seconds(1));
    let short = IssueCredential {
        expires_at: Some(end),
        key_hash: Digest([3; 32]),
        ..credential("short", Role::Enforcer, None)
    };
    ledger.given(Command::IssueCredential(short));
    assert_eq!(refused_as(&ledger, &by("short", Role::Enforcer)), None);
    ledger.clock = end;
    assert_eq!(refused_as(&ledger, &by("short", Role::Enforcer)), invalid);
    ledger.given(Command::RevokeCredential { credential: id("enforcer"), reason: None });
    assert_eq!(refused_as(&ledger, &by("enforcer", Role::Enforcer)), invalid);
}
