//! What `approvals` says, and what grants say of them.

use bailiwick_audit::named::Named;
use bailiwick_audit::{Limits, Parameters};
use bailiwick_core::event::{
    ApprovalDenied, ApprovalExpired, ApprovalGranted, ApprovalRequested, ApprovalRule,
    ApprovalWithdrawn, Fact, Issuance,
};
use bailiwick_core::id::{ApprovalId, GroupId, OwnerId, PolicyId};
use bailiwick_core::time::Span;

use crate::archived::{both, open};
use crate::story::{READ_CASE, Story, ask, call, digest, lines, text, wait};
use crate::year::year;

fn owner(name: &str) -> OwnerId {
    OwnerId::new(name).unwrap()
}

fn request(story: &mut Story, good_for: Span) -> ApprovalId {
    let group = GroupId::new("security").unwrap();
    ApprovalId(story.tell(Fact::ApprovalRequested(ApprovalRequested {
        call: call("crm/read_case", "crm://case/1234"),
        owner: owner("alice@example.com"),
        scope: "crm://case/**".parse().unwrap(),
        constraints: Vec::new(),
        request: None,
        needs: vec![ApprovalRule::Owner, ApprovalRule::Group { group, count: 2 }],
        ttl: Span::minutes(30),
        max_uses: 6,
        expires_at: story.now.after(good_for),
        policies: vec![PolicyId::new("people").unwrap()],
        policy_hash: digest(7),
        shown: digest(6),
    })))
}

fn yes(story: &mut Story, approval: ApprovalId, by: &str, complete: bool) {
    story.tell(Fact::ApprovalGranted(ApprovalGranted {
        approval,
        by: owner(by),
        shown: digest(6),
        complete,
        reason: None,
    }));
}

/// The grant that an approval led to.
fn grant(story: &mut Story, approval: ApprovalId) {
    let mut blank = Story { events: Vec::new(), now: story.now };
    blank.grant(&READ_CASE);
    let Fact::GrantIssued(mut grant) = blank.events.pop().unwrap().event.fact else { panic!() };
    (grant.issuance, grant.approval) = (Issuance::Approved, Some(approval));
    story.tell(Fact::GrantIssued(grant));
}

#[test]
fn an_approval_tells_who_had_to_say_yes_who_did_and_what_came_of_it() {
    let mut story = Story::begin();
    let day = Span::days(1);
    let granted = request(&mut story, day);
    yes(&mut story, granted, "alice@example.com", false);
    yes(&mut story, granted, "bob@example.com", true);
    grant(&mut story, granted);
    let denied = request(&mut story, day);
    yes(&mut story, denied, "alice@example.com", false);
    let no = ApprovalDenied {
        approval: denied,
        by: owner("carol@example.com"),
        reason: Some(text("=not today")),
    };
    story.tell(Fact::ApprovalDenied(no));
    let expired = request(&mut story, day);
    story.tell(Fact::ApprovalExpired(ApprovalExpired { approval: expired }));
    let withdrawn = request(&mut story, day);
    let back = ApprovalWithdrawn { approval: withdrawn, reason: Some(text("done by hand")) };
    story.tell(Fact::ApprovalWithdrawn(back));
    request(&mut story, Span::seconds(1));
    request(&mut story, Span::days(100_000));
    let audit = story.audit();
    let sql = "select status, approved_by, denied_by, waited_ms, grant_id, reason from approvals order by seq";
    assert_eq!(
        lines(&audit, sql),
        [
            r#"["granted","alice@example.com bob@example.com",null,2000,"grant_6",null]"#,
            r#"["denied","alice@example.com","carol@example.com",2000,null,"=not today"]"#,
            r#"["expired",null,null,1000,null,null]"#,
            r#"["withdrawn",null,null,1000,null,"done by hand"]"#,
            r#"["expired",null,null,null,null,null]"#,
            r#"["waiting",null,null,null,null,null]"#,
        ]
    );
    let sql = "select approval_id, required, resource, rule_ids, requested_at = ts, agent_id, decided_at is null from approvals order by seq limit 1";
    assert_eq!(
        lines(&audit, sql),
        [
            r#"["approval_3","owner, 2 of group:security","crm://case/**","people",true,"triage-bot",false]"#
        ]
    );
    let sql = "select grant_id, approver_id, approval_id from grants order by seq";
    assert_eq!(
        lines(&audit, sql),
        [r#"["grant_6","alice@example.com bob@example.com","approval_3"]"#]
    );
}

#[test]
fn an_answer_to_an_unknown_approval_changes_nothing() {
    let mut story = Story::begin();
    yes(&mut story, ApprovalId(1), "alice@example.com", true);
    yes(&mut story, ApprovalId(9_999), "alice@example.com", true);
    grant(&mut story, ApprovalId(1));
    let audit = story.audit();
    assert!(ask(&audit, "select * from approvals").unwrap().rows.is_empty());
    assert_eq!(lines(&audit, "select approver_id from grants"), ["[null]"]);
}

#[test]
fn the_table_and_the_log_tell_the_same_of_approvals() {
    let mut seen = 0;
    for seed in 0..3 {
        let audit = year(seed, 400).audit();
        let named = Named::find("approvals").unwrap();
        let none = Parameters::new();
        let log = wait(audit.run_named(named, &none, &Limits::INTERACTIVE)).unwrap();
        let at = |name: &str| log.columns.iter().position(|c| c.name == name).unwrap();
        // One yes was enough for each of them, so that each has one row in both.
        let from_log: Vec<_> = log
            .rows
            .iter()
            .map(|row| {
                [
                    row[at("approval_id")].clone(),
                    row[at("answer")].clone(),
                    row[at("grant_id")].clone(),
                    row[at("approver_id")].clone(),
                ]
            })
            .collect();
        let sql = "select approval_id, status, grant_id, coalesce(approved_by, denied_by) from approvals order by seq";
        let from_table = ask(&audit, sql).unwrap().rows;
        assert_eq!(from_table.len(), from_log.len());
        for (table, log) in from_table.iter().zip(&from_log) {
            assert_eq!(table.as_slice(), log, "seed {seed}");
        }
        seen += from_log.len();
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn approvals_outlive_a_start_over_an_archive() {
    let story = year(7, 200);
    let (plain, sealed, dir) = both(&story, 150);
    drop(sealed);
    let again = open(dir.path());
    for (number, events) in (1..).zip(story.events.chunks(150)) {
        again.ingest(number, events).unwrap();
    }
    let sql = "select * from approvals order by seq";
    let approvals = ask(&plain, sql).unwrap().rows;
    assert!(approvals.len() > 5);
    let derived = std::fs::read_dir(dir.path().join("derived")).unwrap();
    let names = derived.map(|file| file.unwrap().file_name().into_string().unwrap());
    assert!(names.filter(|name| name.starts_with("approvals-")).count() > 1, "they are archived");
    assert_eq!(ask(&again, sql).unwrap().rows, approvals);
}
