//! What the tables say about a small ledger.

use bailiwick_audit::Parameters;
use bailiwick_core::event::{
    DenialCode, Fact, GrantReturned, Outcome, QueryDoor, QueryOutcome, QueryRun, SegmentSealed,
    Selector,
};
use bailiwick_core::id::{AgentId, GrantId, Resource};
use bailiwick_core::time::Span;

use bailiwick_core::record::hash::{Link, Root};

use crate::story::{READ_CASE, Story, Terms, ask, ask_with, call, digest, lines, text};

#[test]
fn calls_tell_who_what_why_and_what_came_of_it() {
    let mut story = Story::begin();
    let grant = story.grant(&READ_CASE);
    let first = story.allow(grant, call("crm/read_case", "crm://case/1234"), 9);
    story.finish(first, Outcome::Ok);
    story.deny(call("crm/delete_case", "crm://case/1234"), DenialCode::Forbidden, None);
    let audit = story.audit();
    let sql = "select agent_id, action, resource, decision, reason, justification from calls order by seq";
    assert_eq!(
        lines(&audit, sql),
        [
            r#"["triage-bot","crm/read_case","crm://case/1234","allow",null,"customer asked for =status"]"#,
            r#"["triage-bot","crm/delete_case","crm://case/1234","deny","forbidden","customer asked for =status"]"#,
        ]
    );
    assert_eq!(
        lines(
            &audit,
            "select call_id, grant_id, rule_ids, outcome, latency_us, bytes_out, finished_at, disclosed from calls order by seq"
        ),
        [
            r#"["call_4","grant_3","read-cases owners","ok",1500,4096,"2026-01-01T00:00:05.000000Z","{\"case_id\":\"1234\"}"]"#,
            r#"["call_6",null,null,null,null,null,null,"{\"case_id\":\"1234\"}"]"#,
        ]
    );
    assert_eq!(
        lines(&audit, "select uses, denied, last_used, status from grants"),
        [r#"[1,0,"2026-01-01T00:00:04.000000Z","expired"]"#]
    );
}

#[test]
fn a_finished_call_names_its_agent_in_events_too() {
    let mut story = Story::begin();
    let grant = story.grant(&READ_CASE);
    let first = story.allow(grant, call("crm/read_case", "crm://case/1234"), 9);
    story.finish(first, Outcome::Error);
    let audit = story.audit();
    let sql = "select kind, agent_id, owner_id, cause_seq, outcome, ledger, entry from events where seq = 5";
    assert_eq!(
        lines(&audit, sql),
        [r#"["call.finished","triage-bot","alice@example.com",4,"error","default",0]"#]
    );
}

#[test]
fn every_event_is_a_row_with_its_link_and_canonical_detail() {
    let mut story = Story::begin();
    story.revoke(Selector::All, true);
    let table = ask(&story.audit(), "select * from events order by seq").unwrap();
    assert_eq!(table.rows.len(), story.events.len());
    assert_eq!(table.as_of_seq, Some(3));
    let at = |name: &str| table.columns.iter().position(|column| column.name == name).unwrap();
    for (row, recorded) in table.rows.iter().zip(&story.events) {
        assert_eq!(row[at("seq")], recorded.place.index);
        assert_eq!(row[at("link")], recorded.place.link.to_string());
        assert_eq!(row[at("kind")], recorded.event.fact.name());
        let detail: serde_json::Value =
            serde_json::from_str(row[at("detail")].as_str().unwrap()).unwrap();
        assert_eq!(detail, serde_json::to_value(&recorded.event.fact).unwrap()["data"]);
    }
    assert_eq!(
        table.rows[3][at("detail")],
        r#"{"reason":"incident 7","reason_code":"operator","selector":"all","suspend":true}"#
    );
    let named = |name: &str| table.columns.iter().find(|c| c.name == name).unwrap().kind.clone();
    assert_eq!(
        [named("seq"), named("ts"), named("kind"), named("link"), named("risk")],
        ["bigint", "timestamptz", "text", "bytea", "double precision"]
    );
}

#[test]
fn events_have_the_columns_that_are_documented() {
    let table = ask(&Story::begin().audit(), "select * from events limit 1").unwrap();
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(
        names.join(" "),
        "seq ts kind schema_ver ledger entry actor_id actor_kind agent_id owner_id on_behalf_of \
         approver_id task_id session_id request_id trace_id pep_id grant_id parent_grant_id \
         root_grant_id depth approval_id revocation_id cause_seq server tool action resource \
         decision reason policy_hash rule_ids purpose ticket justification valid_from valid_to \
         max_uses risk score outcome latency_us bytes_in bytes_out args_commitment result_digest \
         detail link"
    );
}

#[test]
fn a_grant_ends_by_whatever_came_first() {
    let mut story = Story::begin();
    let ended = |story: &Story| {
        lines(
            &story.audit(),
            "select status, ended_by, revocation_id, ended_seq, valid_to = revoked_at, valid_to = expires_at from grants order by seq",
        )
    };
    let agent = Selector::Agent(AgentId::new("triage-bot").unwrap());
    story.grant(&READ_CASE);
    story.revoke(agent.clone(), true);
    story.revoke(Selector::All, true);
    assert_eq!(ended(&story), [r#"["revoked","revoked","revocation_4",4,true,false]"#]);

    let mut story = Story::begin();
    let grant = story.grant(&READ_CASE);
    story.tell(Fact::GrantReturned(GrantReturned { grant }));
    story.revoke(agent.clone(), true);
    assert_eq!(ended(&story), [r#"["returned","returned",null,4,null,false]"#]);

    let mut story = Story::begin();
    let grant = story.grant(&READ_CASE);
    story.allow(grant, call("crm/read_case", "crm://case/1234"), 0);
    assert_eq!(ended(&story), [r#"["exhausted","exhausted",null,4,null,false]"#]);

    let mut story = Story::begin();
    story.grant(&READ_CASE);
    story.now = story.now.after(Span::minutes(5));
    story.revoke(agent, true);
    assert_eq!(ended(&story), [r#"["expired","expired",null,null,null,true]"#]);

    let mut story = Story::begin();
    story.grant(&Terms { ttl: Span::days(100_000), ..READ_CASE });
    assert_eq!(ended(&story), [r#"["live",null,null,null,null,true]"#]);
}

#[test]
fn a_revocation_below_a_grants_prefix_leaves_the_grant() {
    let mut story = Story::begin();
    story.grant(&Terms { scope: "crm://case/**", ..READ_CASE });
    story.grant(&Terms { scope: "crm://case/1", ..READ_CASE });
    story.grant(&Terms { scope: "crm://case/12", ..READ_CASE });
    story.revoke(Selector::Resource(Resource::new("crm://case/1").unwrap()), true);
    let sql = "select resource, ended_by from grants order by seq";
    assert_eq!(
        lines(&story.audit(), sql),
        [
            r#"["crm://case/**","expired"]"#,
            r#"["crm://case/1","revoked"]"#,
            r#"["crm://case/12","expired"]"#
        ]
    );
}

#[test]
fn lifting_shows_in_revocations_and_revives_no_grant() {
    let mut story = Story::begin();
    let agent = Selector::Agent(AgentId::new("triage-bot").unwrap());
    story.grant(&READ_CASE);
    story.revoke(agent.clone(), true);
    story.revoke(Selector::Grant(GrantId(3)), true);
    story.lift(agent);
    let audit = story.audit();
    assert_eq!(
        lines(
            &audit,
            "select selector, selector_id, suspend, status, lifted_seq, lifted_by, reason from revocations order by seq"
        ),
        [
            r#"["agent","triage-bot",true,"lifted",6,"ops","incident 7"]"#,
            r#"["grant","grant_3",false,"done",null,null,"incident 7"]"#
        ]
    );
    assert_eq!(lines(&audit, "select ended_by, ended_seq from grants"), [r#"["revoked",4]"#]);
}

#[test]
fn agents_and_owners_are_listed_as_they_stand() {
    let mut story = Story::begin();
    story.register("bob@example.com", "report-bot");
    let agent = AgentId::new("report-bot").unwrap();
    story.tell(Fact::AgentSuspended(bailiwick_core::event::AgentSuspended {
        agent: agent.clone(),
        reason: Some(text("looked odd")),
    }));
    let sql = "select agent_id, owner_id, purpose, status, status_reason from agents order by seq";
    assert_eq!(
        lines(&story.audit(), sql),
        [
            r#"["triage-bot","alice@example.com","answers support cases","active",null]"#,
            r#"["report-bot","bob@example.com","answers support cases","suspended","looked odd"]"#
        ]
    );
    story.tell(Fact::AgentReinstated(bailiwick_core::event::AgentReinstated { agent }));
    assert_eq!(
        lines(&story.audit(), "select count(*) from agents where status = 'active'"),
        ["[2]"]
    );
    assert_eq!(
        lines(&story.audit(), "select owner_id from events where kind = 'agent.suspended'"),
        [r#"["bob@example.com"]"#]
    );
}

#[test]
fn tables_describe_themselves() {
    let audit = Story::begin().audit();
    let shown = lines(&audit, "show tables").join("\n");
    for table in ["events", "grants", "calls", "revocations", "agents", "owners", "findings"] {
        assert!(shown.contains(&format!(r#""public","{table}""#)), "{table} in {shown}");
    }
    assert!(lines(&audit, "describe grants").iter().any(|line| line.contains("ended_by")));
    assert!(
        lines(&audit, "show columns from calls").iter().any(|line| line.contains("justification"))
    );
    assert!(!lines(&audit, "explain select * from calls").is_empty());
    assert!(!lines(&audit, "explain analyze select count(*) from calls").is_empty());
}

#[test]
fn parameters_are_values_and_never_sql() {
    let audit = Story::begin().audit();
    let ask = |sql: &str, parameters: &[(&str, serde_json::Value)]| {
        let parameters: Parameters =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        ask_with(&audit, sql, &parameters).map(|table| table.rows).map_err(|e| e.code())
    };
    let named = "select agent_id from agents where agent_id = $agent";
    assert_eq!(ask(named, &[("agent", "triage-bot".into())]).unwrap().len(), 1);
    assert_eq!(ask(named, &[("agent", "' or 1 = 1 --".into())]).unwrap().len(), 0);
    assert_eq!(
        ask("select seq from events where seq > $1 limit $2", &[("1", 0.into()), ("2", 1.into())])
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        ask("select 1 from events where ts > $t", &[("t", "2026-01-01T00:00:01Z".into())])
            .unwrap()
            .len(),
        1
    );
    assert_eq!(ask(named, &[]), Err("sql_parameter"));
    assert_eq!(ask(named, &[("agent", serde_json::json!([1]))]), Err("sql_parameter"));
}

#[test]
fn an_empty_ledger_answers_without_rows() {
    let audit = crate::story::audit();
    for table in [
        "events",
        "grants",
        "calls",
        "revocations",
        "agents",
        "owners",
        "tasks",
        "policies",
        "findings",
    ] {
        let answer = ask(&audit, &format!("select * from {table}")).unwrap();
        assert_eq!((answer.rows.len(), answer.as_of_seq), (0, None), "{table}");
        assert!(!answer.columns.is_empty());
    }
    assert_eq!(lines(&audit, "select count(*), max(seq) from events"), ["[0,null]"]);
}

#[test]
fn questions_and_sealed_segments_are_events_too() {
    let mut story = Story::begin();
    story.tell(Fact::QueryRun(QueryRun {
        door: QueryDoor::Http,
        name: Some(text("who-touched")),
        text: digest(1),
        parameters: None,
        as_of: Some(2),
        rows: 7,
        bytes: 900,
        milliseconds: 12,
        outcome: QueryOutcome::Refused,
        code: Some(text("sql_timeout")),
        unrecorded: 0,
    }));
    story.tell(Fact::SegmentSealed(SegmentSealed {
        first: 0,
        last: 3,
        rows: 4,
        bytes: 4_000,
        file: digest(2),
        before: None,
        after: Link([3; 32]),
        root: Root([4; 32]),
        manifest: digest(5),
    }));
    let sql = "select kind, actor_id, outcome, reason, latency_us, bytes_out, result_digest from events where seq > 2 order by seq";
    let file = "02".repeat(32);
    assert_eq!(
        lines(&story.audit(), sql),
        [
            r#"["query.run","ops","refused","sql_timeout",12000,900,null]"#.to_owned(),
            format!(r#"["segment.sealed","ops",null,null,null,4000,"{file}"]"#),
        ]
    );
}

#[test]
fn the_time_is_one_moment_throughout_a_question() {
    let audit = Story::begin().audit();
    let sql = "select now() > ts, current_date > ts::date, now() = now() from events where ts < now() and seq = 0";
    assert_eq!(lines(&audit, sql), ["[true,true,true]"]);
}
