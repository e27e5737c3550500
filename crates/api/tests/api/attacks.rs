//! Attacks by hand, each of which ends in a denial that is recorded, and after each of which nothing
//! is allowed that was not before.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bailiwick_api::Config;
use reqwest::Method;
use serde_json::{Value, json};

use super::house::{self, Answer, EVALUATION, House, JSON};
use super::identity::issuer::{AUDIENCE, Issuer, Key, merged, now, unsigned};

mod calls;
mod doors;
mod people;

/// How long a request that was turned away may take to be recorded.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who is attacked, and what came of it so far.
pub(super) struct Stage {
    pub(super) house: House,
    pub(super) issuer: Issuer,
    /// Of agents: `a1` and `a2` of alice, `b1` of bob.
    pub(super) agents: BTreeMap<&'static str, String>,
    /// Of an enforcement point, and of alice and bob as approvers.
    pub(super) gate: String,
    pub(super) alice: String,
    pub(super) bob: String,
    /// Attacks so far.
    names: Vec<&'static str>,
    /// How often each code at each door is to be counted.
    turned_away: BTreeMap<(String, String), u64>,
}

impl Stage {
    async fn set() -> Self {
        let issuer = Issuer::open(Key::rsa()).await;
        let config = Config {
            issuers: vec![issuer.trusted()],
            public_url: Some(AUDIENCE.to_owned()),
            count_refused: Duration::from_millis(20),
            ..house::config()
        };
        let house = House::with(config);
        house.furnish().await;
        house.post("/v1/owners", json!({"owner": "bob"})).await.done();
        for (agent, owner) in [("a2", "alice"), ("b1", "bob")] {
            let allowlist = json!([{"pattern": "crm/*"}]);
            let agent = json!({"agent": agent, "owner": owner, "purpose": "support",
                "allowlist": allowlist});
            house.post("/v1/agents", agent).await.done();
        }
        let schema = json!({"type": "object", "properties": {"amount": {"type": "integer"}}});
        house.put("/v1/schemas/crm%2Frefund", json!({"schema": schema})).await.done();
        for (name, text) in [
            ("write", r#"permit (principal, action == Action::"crm/write", resource);"#),
            (
                "pay",
                r#"@jit("true") @approval("owner")
                   permit (principal, action == Action::"crm/pay", resource);"#,
            ),
            (
                "refund",
                r#"@jit("true") permit (principal, action == Action::"crm/refund", resource)
                   when { context.args has amount && context.args.amount <= 100 };"#,
            ),
            (
                "test-only",
                r#"@jit("true") permit (principal, action == Action::"crm/wipe", resource)
                   when { context has environment && context.environment == "test" };"#,
            ),
        ] {
            house.put(&format!("/v1/policies/{name}"), json!({"text": text})).await.done();
        }
        house.post("/v1/policies/activate", json!({})).await.done();
        let mut agents = BTreeMap::new();
        for agent in ["a1", "a2", "b1"] {
            agents.insert(agent, house.key("agent", Some(agent)).await);
        }
        let gate = house.key("enforcer", None).await;
        let [alice, bob] = [person(&house, "alice").await, person(&house, "bob").await];
        let (names, turned_away) = (Vec::new(), BTreeMap::new());
        Self { house, issuer, agents, gate, alice, bob, names, turned_away }
    }

    /// A grant by an operator.
    pub(super) async fn grant(&self, agent: &str, scope: &str, more: Value) -> String {
        let terms = json!({"agent": agent, "action": "crm/write", "scope": scope, "ttl": "1h",
            "max_uses": 1});
        let made = self.house.post("/v1/grants", merged(terms, more)).await.done();
        made["id"].as_str().unwrap().to_owned()
    }

    /// Puts a call to the enforcement point, which is denied with this code, and that is recorded.
    pub(super) async fn denied(&mut self, name: &'static str, code: &str, question: Value) {
        let key = self.gate.clone();
        self.denied_as(&key, name, code, question).await;
    }

    pub(super) async fn denied_as(
        &mut self,
        key: &str,
        name: &'static str,
        code: &str,
        question: Value,
    ) {
        self.begin(name);
        let before = self.house.events();
        let answer = self.house.ask(key, &question).await.done();
        assert_eq!(answer["decision"], false, "{name}: {answer}");
        assert_eq!(answer["context"]["code"], code, "{name}: {answer}");
        self.is_recorded(name, "call.denied", code, before).await;
        // Three different tools denied tear an agent down, which would answer all that follows.
        let agent = question["subject"]["id"].clone();
        self.house.post("/v1/revocations/lift", json!({"selector": {"agent": agent}})).await;
    }

    /// Whether an event of this kind and code came since.
    pub(super) async fn is_recorded(&self, name: &str, kind: &str, code: &str, since: u64) {
        let path = format!("/v1/events?limit=1000&kind={kind}&after={}", since - 1);
        let page = self.house.get(&path).await.done();
        let codes: Vec<&Value> =
            page["items"].as_array().unwrap().iter().map(|event| &event["data"]["code"]).collect();
        assert!(codes.contains(&&json!(code)), "{name}: {code} is not among {codes:?}");
    }

    /// Sends what is turned away with this status and code; that it is recorded is looked at in the
    /// end, for it is counted together.
    pub(super) async fn turned_away(
        &mut self,
        name: &'static str,
        key: &str,
        (method, path): (Method, &str),
        body: &str,
        (status, code): (u16, &str),
        door: &str,
    ) {
        self.begin(name);
        let headers = if body.is_empty() { &[][..] } else { &[JSON][..] };
        let answer = self.house.send(method.clone(), path, key, headers, body.to_owned()).await;
        self.is_turned_away(name, &answer, (status, code), &format!("{method} {door}"));
    }

    pub(super) fn is_turned_away(
        &mut self,
        name: &str,
        answer: &Answer,
        (status, code): (u16, &str),
        door: &str,
    ) {
        assert_eq!(answer.status, status, "{name}: {}", answer.text);
        assert!(answer.text.contains(code), "{name}: {}", answer.text);
        *self.turned_away.entry((code.to_owned(), door.to_owned())).or_default() += 1;
    }

    /// Names the attack that comes now.
    pub(super) fn begin(&mut self, name: &'static str) {
        assert!(!self.names.contains(&name), "`{name}` comes twice");
        self.names.push(name);
    }

    /// What the agents may do, as an operator sees it.
    async fn allowed(&self) -> Vec<(String, String, Vec<String>)> {
        let mut allowed = Vec::new();
        for agent in ["a1", "a2", "b1"] {
            for resource in ["crm://case/9", "crm://vault/1", "pay://bank"] {
                let question = json!({
                    "subject": {"type": "agent", "id": agent},
                    "resource": {"type": "crm", "id": resource},
                });
                let found = self.house.post("/access/v1/search/action", question).await.done();
                let actions = found["results"].as_array().unwrap().iter();
                let actions = actions.map(|action| action["name"].as_str().unwrap().to_owned());
                allowed.push((agent.to_owned(), resource.to_owned(), actions.collect()));
            }
        }
        allowed
    }

    /// Waits until everything that was turned away is recorded, as often as it came at least.
    async fn all_is_recorded(&self) {
        let started = Instant::now();
        loop {
            let recorded = self.recorded().await;
            let missing = self
                .turned_away
                .iter()
                .find(|(alike, count)| recorded.get(*alike).copied().unwrap_or_default() < **count);
            let Some(missing) = missing else { return };
            assert!(started.elapsed() < PATIENCE, "{missing:?} is not in {recorded:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn recorded(&self) -> BTreeMap<(String, String), u64> {
        let page = self.house.get("/v1/events?limit=1000&kind=denials.aggregated").await.done();
        let events = page["items"].as_array().unwrap().iter();
        let mut counts = BTreeMap::new();
        for denial in events.flat_map(|event| event["data"]["denials"].as_array().unwrap()) {
            let text = |name: &str| denial[name].as_str().unwrap().to_owned();
            *counts.entry((text("code"), text("what"))).or_default() +=
                denial["count"].as_u64().unwrap();
        }
        counts
    }
}

async fn person(house: &House, owner: &str) -> String {
    let name = format!("of-{owner}");
    let body = json!({"credential": name, "role": "approver", "owner": owner});
    let made = house.post("/v1/credentials", body).await.done();
    made["key"].as_str().unwrap().to_owned()
}

/// A call of one of the agents.
pub(super) fn question(agent: &str, action: &str, resource: &str) -> Value {
    json!({
        "subject": {"type": "agent", "id": agent},
        "action": {"name": action},
        "resource": {"type": "crm", "id": resource},
        "context": {"effect": "write"},
    })
}

#[tokio::test]
async fn every_attack_ends_in_a_recorded_denial_and_widens_nothing() {
    let mut stage = Stage::set().await;
    let before = stage.allowed().await;
    doors::forged_tokens_and_keys(&mut stage).await;
    doors::agents_that_upgrade_themselves(&mut stage).await;
    assert_eq!(stage.allowed().await, before);
    calls::confused_deputies(&mut stage).await;
    calls::smuggled_arguments(&mut stage).await;
    calls::grants_stretched(&mut stage).await;
    calls::tools_exchanged(&mut stage).await;
    assert_eq!(stage.allowed().await, before);
    people::approvals_bent(&mut stage).await;
    people::parts_that_are_more_than_the_whole(&mut stage).await;
    assert_eq!(stage.allowed().await, before);
    stage.all_is_recorded().await;
    assert!(stage.names.len() >= 50, "{} attacks", stage.names.len());
}
