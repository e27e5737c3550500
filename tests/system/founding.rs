//! The founding story with its policies (`tests/policies/founding`), on both logs: read a case for five
//! minutes, write a ticket on this record only, once somebody else has said yes, download one single
//! object, and then everything is taken back.

use serde_json::{Value, json};

use crate::nats;
use crate::support::http::Client;
use crate::support::serve::{Launch, Serve, plain};
use crate::support::{root, said};

const CASE: &str = "crm://case/1234";
const TICKET: &str = "tickets://case/1234";
const OBJECT: &str = "objects://cases/1234.pdf";

#[test]
fn the_founding_story_holds_on_the_embedded_log() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    tell(Launch::embedded(&data));
    let verified = plain(&["verify", &data.display().to_string()]).output().unwrap();
    assert!(verified.status.success(), "{}", said(&verified));
}

#[test]
fn the_founding_story_holds_on_jetstream() {
    let dir = tempfile::tempdir().unwrap();
    let Some(nats) = nats::Server::start(dir.path()) else { return };
    let data = dir.path().join("data");
    tell(Launch::on_nats(&data, &nats.url()));
    let url = nats.url();
    let verify = ["verify", &data.display().to_string(), "--nats", &url, "--name", "default"];
    let verified = plain(&verify).output().unwrap();
    assert!(verified.status.success(), "{}", said(&verified));
}

/// A support agent at the door of an enforcement point.
struct Bot(Client);

impl Bot {
    fn answer(&self, action: &str, resource: &str, effect: &str) -> Value {
        let kind = resource.split_once(':').map_or("", |(kind, _)| kind);
        let question = json!({
            "subject": {"type": "agent", "id": "support-bot"},
            "action": {"name": action},
            "resource": {"type": kind, "id": resource},
            "context": {"effect": effect, "justification": "the customer asked for a refund"},
        });
        self.0.post("/access/v1/evaluation", &question).ok()
    }

    /// Uses left, when it is allowed.
    fn may(&self, action: &str, resource: &str, effect: &str) -> u64 {
        let answer = self.answer(action, resource, effect);
        assert_eq!(answer["decision"], true, "{action} {resource}: {answer}");
        answer["context"]["uses_left"].as_u64().expect("uses left")
    }

    fn may_not(&self, action: &str, resource: &str, effect: &str, code: &str) -> Value {
        let answer = self.answer(action, resource, effect);
        assert_eq!(answer["decision"], false, "{action} {resource}: {answer}");
        assert_eq!(answer["context"]["code"], code, "{action} {resource}: {answer}");
        answer
    }
}

fn tell(launch: Launch) {
    let serve = launch.start();
    found(&serve);
    let url = serve.client();
    let bot = Bot(url.with_key(&key(&serve, "gate", &["--role", "enforcer"])));
    let lee = key(&serve, "of-lee", &["--role", "approver", "--owner", "lee@example.com"]);
    let alice = key(&serve, "of-alice", &["--role", "approver", "--owner", "alice@example.com"]);

    // Nothing is allowed before somebody grants it.
    bot.may_not("crm/read_case", CASE, "read", "no_grant");
    grant(&serve, "crm/read_case", CASE, "5m", "10");
    assert_eq!(bot.may("crm/read_case", CASE, "read"), 9);
    bot.may_not("crm/read_case", "crm://case/1235", "read", "no_grant");

    // The ticket waits for somebody else than the agent's owner.
    let waits = bot.may_not("tickets/write_ticket", TICKET, "write", "approval_required");
    let approval = waits["context"]["approval"]["id"].as_str().expect("the approval").to_owned();
    let approve = ["approvals", "approve", &approval, "--yes"];
    let own = serve.command(&approve).env("BAILIWICK_KEY", &alice).output().unwrap();
    assert!(!own.status.success(), "{}", said(&own));
    bot.may_not("tickets/write_ticket", TICKET, "write", "approval_required");
    let yes = serve.command(&approve).env("BAILIWICK_KEY", &lee).output().unwrap();
    assert!(yes.status.success(), "{}", said(&yes));
    bot.may_not("tickets/write_ticket", "tickets://case/1235", "write", "forbidden");
    assert_eq!(bot.may("tickets/write_ticket", TICKET, "write"), 0);
    bot.may_not("tickets/write_ticket", TICKET, "write", "approval_required");
    // What Alice may not do, her agent may not do for her.
    bot.may_not("tickets/write_ticket", TICKET, "destructive", "forbidden");

    grant(&serve, "objects/download", OBJECT, "1m", "1");
    assert_eq!(bot.may("objects/download", OBJECT, "read"), 0);
    bot.may_not("objects/download", OBJECT, "read", "grant_exhausted");

    assert!(bot.may("crm/read_case", CASE, "read") > 0);
    serve.run(&["revoke", "--all", "--yes"]);
    for (action, resource) in
        [("crm/read_case", CASE), ("tickets/write_ticket", TICKET), ("objects/download", OBJECT)]
    {
        bot.may_not(action, resource, "read", "suspended");
    }
    proof(&serve, &approval);
    serve.stop();
}

/// Owners, the agent, what is known of the ticket's record, and the policies.
fn found(serve: &Serve) {
    let client = serve.client();
    client.post("/v1/owners", &json!({"owner": "alice@example.com"})).ok();
    let lee = json!({"owner": "lee@example.com", "groups": ["supervisors"]});
    client.post("/v1/owners", &lee).ok();
    let allowlist = ["crm/*", "tickets/*", "objects/download"];
    let allowlist: Vec<Value> = allowlist.iter().map(|one| json!({"pattern": one})).collect();
    let agent = json!({"agent": "support-bot", "owner": "alice@example.com", "purpose": "support",
        "groups": ["support"], "allowlist": allowlist});
    client.post("/v1/agents", &agent).ok();
    serve.run(&["properties", "put", "--resource", TICKET, "status=open"]);
    let directory = root().join("tests/policies/founding");
    let mut put = vec!["policy".to_owned(), "put".to_owned(), "--activate".to_owned()];
    for file in std::fs::read_dir(directory).unwrap() {
        put.push(file.unwrap().path().display().to_string());
    }
    serve.run(&put.iter().map(String::as_str).collect::<Vec<_>>());
}

fn key(serve: &Serve, name: &str, more: &[&str]) -> String {
    let issue = [&["key", "issue", name], more].concat();
    serve.run(&issue).trim().to_owned()
}

fn grant(serve: &Serve, action: &str, scope: &str, ttl: &str, uses: &str) {
    let terms = ["grant", "issue", "--agent", "support-bot", "--action", action, "--scope", scope];
    serve.run(&[&terms[..], &["--ttl", ttl, "--max-uses", uses]].concat());
}

/// The record tells all of it: who said yes, what for, and in which order.
fn proof(serve: &Serve, approval: &str) {
    let events = serve.client().events(0);
    let of = |kind: &str| -> Vec<&Value> {
        events.iter().filter(|event| event["kind"] == kind).collect()
    };
    let granted = of("approval.granted");
    assert_eq!(granted.len(), 1, "{granted:?}");
    assert_eq!(granted[0]["data"]["approval"], approval);
    assert_eq!(granted[0]["data"]["by"], "lee@example.com");
    let issued = of("grant.issued");
    let issuance: Vec<&Value> = issued.iter().map(|event| &event["data"]["issuance"]).collect();
    assert_eq!(issuance, ["operator", "approved", "operator"]);
    assert_eq!(of("call.authorized").len(), 4);
    let codes: Vec<&str> =
        of("call.denied").iter().filter_map(|event| event["data"]["code"].as_str()).collect();
    assert_eq!(codes.iter().filter(|code| **code == "suspended").count(), 3, "{codes:?}");
    let last = of("revocation.issued");
    assert_eq!(last[0]["data"]["selector"], "all");
}
