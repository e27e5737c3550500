//! At the door: keys and tokens that are none, and agents that reach for what is not theirs.

use super::*;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Somebody who may not come in at all.
async fn outside(stage: &mut Stage, name: &'static str, key: &str) {
    let ask = super::question("a1", "crm/read_case", "crm://case/9").to_string();
    let refused = (401, "credential_invalid");
    stage.turned_away(name, key, (Method::POST, EVALUATION), &ask, refused, EVALUATION).await;
}

pub(super) async fn forged_tokens_and_keys(stage: &mut Stage) {
    outside(stage, "no key at all", "").await;
    outside(stage, "a key of the right form", &format!("bwk_{}", "0".repeat(64))).await;
    let mut key = stage.agents["a1"].clone();
    let last = key.pop().unwrap();
    key.push(if last == 'A' { 'B' } else { 'A' });
    outside(stage, "a key with its last character changed", &key).await;
    let body = json!({"credential": "lost", "role": "admin"});
    let lost = stage.house.post("/v1/credentials", body).await.done();
    stage.house.post("/v1/credentials/lost/revoke", json!({})).await.done();
    outside(stage, "a key that was revoked", lost["key"].as_str().unwrap()).await;

    let claims = |issuer: &Issuer| merged(issuer.claims(), json!({"act": {"sub": "a1"}}));
    let none = merged(stage.issuer.header(), json!({"alg": "none"}));
    let none = unsigned(&none, &claims(&stage.issuer).to_string());
    outside(stage, "a token that says it needs no signature", &format!("{none}.")).await;
    let header = merged(stage.issuer.header(), json!({"alg": "HS256"}));
    let message = unsigned(&header, &claims(&stage.issuer).to_string());
    let secret = stage.issuer.key.jwk("k1").to_string();
    let secret = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = aws_lc_rs::hmac::sign(&secret, message.as_bytes());
    let forged = format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag));
    outside(stage, "a token signed with the public key as a secret", &forged).await;
    let good = stage.issuer.agent();
    let (_, signature) = good.rsplit_once('.').unwrap();
    let mutated = merged(claims(&stage.issuer), json!({"sub": "bob"})).to_string();
    let mutated = unsigned(&stage.issuer.header(), &mutated);
    outside(stage, "a token with another human in it", &format!("{mutated}.{signature}")).await;
    for (name, others) in [
        ("a token that has expired", json!({"exp": now() - 60})),
        ("a token that is not valid yet", json!({"nbf": now() + 60})),
        ("a token for another server", json!({"aud": "https://other.example.com"})),
        ("a token of another issuer", json!({"iss": "https://other.example.com"})),
    ] {
        let token = merged(claims(&stage.issuer), others).to_string();
        let token = stage.issuer.signed(&stage.issuer.header(), &token);
        outside(stage, name, &token).await;
    }
    let ghost = stage.issuer.token(json!({"act": {"sub": "ghost"}}));
    let name = "a token of an agent that nobody registered";
    let ask = super::question("a1", "crm/read_case", "crm://case/9").to_string();
    let refused = (403, "not_permitted");
    stage.turned_away(name, &ghost, (Method::POST, EVALUATION), &ask, refused, EVALUATION).await;
    let twice = claims(&stage.issuer).to_string().replacen('{', "{\"sub\":\"bob\",", 1);
    let twice = stage.issuer.signed(&stage.issuer.header(), &twice);
    outside(stage, "a token that names two humans", &twice).await;
}

/// What an agent sends with its own key, a line each: what that is, the method, the path, the body,
/// and the door as the record names it. `GRANT` is another agent's.
const UPGRADES: &str = r#"
writes a policy | PUT | /v1/policies/mine | {"text": "permit (principal, action, resource);"} | /v1/policies/{id}
takes a policy away | DELETE | /v1/policies/pay |  | /v1/policies/{id}
activates policies | POST | /v1/policies/activate | {} | /v1/policies/activate
types arguments anew | PUT | /v1/schemas/crm%2Frefund | {"schema": {}} | /v1/schemas/{action}
makes itself an admin | POST | /v1/credentials | {"credential": "mine", "role": "admin"} | /v1/credentials
takes a guard's key's place | POST | /v1/credentials/enforcer-key/rotate | {"credential": "mine"} | /v1/credentials/{id}/rotate
revokes a guard's key | POST | /v1/credentials/enforcer-key/revoke | {} | /v1/credentials/{id}/revoke
widens its allowlist | PUT | /v1/agents/a1 | {"owner": "alice", "purpose": "x", "allowlist": [{"pattern": "**"}]} | /v1/agents/{id}
registers a helper | POST | /v1/agents | {"agent": "a9", "owner": "alice", "purpose": "x", "allowlist": [{"pattern": "**"}]} | /v1/agents
reinstates itself | POST | /v1/agents/a1/reinstate | {} | /v1/agents/{id}/reinstate
makes itself trusted | POST | /v1/agents/a1/risk | {"risk": 0} | /v1/agents/{id}/risk
finds another owner | POST | /v1/agents/a1/reassign | {"to": "bob"} | /v1/agents/{id}/reassign
enables its owner | POST | /v1/owners/alice/enable | {} | /v1/owners/{id}/enable
finds a delegate | PUT | /v1/owners/alice/delegates/bob | {} | /v1/owners/{id}/delegates/{delegate}
issues itself a grant | POST | /v1/grants | {"agent": "a1", "action": "crm/write", "scope": "crm://**"} | /v1/grants
hands back another's grant | POST | /v1/grants/GRANT/return | {} | /v1/grants/{id}/return
gives on another's grant | POST | /v1/grants/GRANT/delegate | {"to": "a1"} | /v1/grants/{id}/delegate
keeps what is reviewed | POST | /v1/grants/GRANT/review | {"review": "keep"} | /v1/grants/{id}/review
lifts a suspension | POST | /v1/revocations/lift | {"selector": "all"} | /v1/revocations/lift
revokes others | POST | /v1/revocations | {"selector": {"agent": "a2"}} | /v1/revocations
pins a tool | PUT | /v1/tools/crm%2Fwrite | {"hash": "0000000000000000000000000000000000000000000000000000000000000000"} | /v1/tools/{id}
changes settings | PUT | /v1/config | {"pinning": "first_use", "approval_ttl": "30d"} | /v1/config
says what is known of it | PUT | /v1/entities/agent/a1 | {"properties": {"vetted": "yes"}} | /v1/entities/{kind}/{id}
reads the record | GET | /v1/events |  | /v1/events
asks in SQL | POST | /v1/sql | {"sql": "select * from grants"} | /v1/sql
"#;

pub(super) async fn agents_that_upgrade_themselves(stage: &mut Stage) {
    let key = stage.agents["a1"].clone();
    let grant = stage.grant("a2", "crm://case/2", json!({})).await;
    for line in UPGRADES.trim().lines() {
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        let [name, method, path, body, door] = fields[..] else { panic!("{line}") };
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let path = path.replace("GRANT", &grant);
        let refused = (403, "not_permitted");
        stage.turned_away(name, &key, (method, &path), body, refused, door).await;
    }
}
