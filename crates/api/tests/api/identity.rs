//! Who calls with an issuer's token: a real issuer on loopback, and everything that is none of its.

use bailiwick_api::{Config, token};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};

use super::house::{self, Answer, EVALUATION, House, JSON, question};

pub(crate) mod issuer;

use issuer::{AUDIENCE, Issuer, Key, merged, now, unsigned};

const METADATA: &str = "https://bailiwick.example.com/.well-known/oauth-protected-resource/desk";

/// A furnished house that trusts these issuers.
async fn house(issuers: Vec<token::Issuer>) -> House {
    let public_url = Some(AUDIENCE.to_owned());
    let house = House::with(Config { issuers, public_url, ..house::config() });
    house.furnish().await;
    house
}

/// Asks for what the furnished house answers with yes.
async fn ask(house: &House, token: &str) -> Answer {
    house.ask(token, &question()).await
}

#[track_caller]
fn allowed(answer: &Answer) {
    assert_eq!(answer.done()["decision"], true, "{}", answer.text);
}

/// A refusal that says so as RFC 6750 wants it, where a token is got, and why by a stable code.
#[track_caller]
fn refused(answer: &Answer, status: u16, error: &str) {
    assert_eq!(answer.status, status, "{}", answer.text);
    let challenge = answer.header("www-authenticate");
    assert!(challenge.ends_with(&format!("resource_metadata=\"{METADATA}\"")), "{challenge}");
    let code = if status == 401 { "credential_invalid" } else { "not_permitted" };
    match answer.header("content-type") {
        "application/problem+json" => assert_eq!(answer.problem(), (status, code.to_owned())),
        _ => assert!(answer.text.starts_with(&format!("{code}: ")), "{}", answer.text),
    }
    let starts = format!("Bearer realm=\"bailiwick\", error=\"{error}\", error_description=\"");
    assert!(challenge.starts_with(&starts), "{challenge}");
}

/// A token that is not valid: refused alike at every door, and nothing is recorded.
async fn invalid(house: &House, token: &str, what: &str) {
    let before = house.events();
    for answer in [ask(house, token).await, house.get_as(token, "/v1/agents/a1").await] {
        refused(&answer, 401, "invalid_token");
        assert!(!answer.text.contains(token), "{what}");
    }
    assert_eq!(house.events(), before, "{what}");
}

/// The event of a call that is allowed.
async fn allowed_event(house: &House, token: &str) -> Value {
    let answer = ask(house, token).await;
    allowed(&answer);
    let index = &answer.json()["context"]["receipt"]["index"];
    let event = house.get(&format!("/v1/events/{index}")).await.done();
    assert_eq!(event["kind"], "call.authorized", "{event}");
    event
}

/// The last event.
async fn last(house: &House) -> Value {
    let path = format!("/v1/events/{}", house.events() - 1);
    house.get(&path).await.done()
}

#[tokio::test]
async fn every_algorithm_that_is_taken_is_taken() {
    for (key, algorithm) in
        [(Key::ec(), "ES256"), (Key::ed(), "EdDSA"), (Key::rsa(), "RS256"), (Key::rsa(), "PS256")]
    {
        let issuer = Issuer::open(key).await;
        let house = house(vec![issuer.trusted()]).await;
        let header = merged(issuer.header(), json!({"alg": algorithm}));
        let claims = merged(issuer.claims(), json!({"act": {"sub": "a1"}})).to_string();
        allowed(&ask(&house, &issuer.signed(&header, &claims)).await);
        let only = token::Issuer { algorithms: vec![], ..issuer.trusted() };
        let others = token::Algorithm::ALL.into_iter().filter(|a| a.as_str() != algorithm);
        let only = token::Issuer { algorithms: others.collect(), ..only };
        let strict = self::house(vec![only]).await;
        invalid(&strict, &issuer.signed(&header, &claims), algorithm).await;
    }
}

#[tokio::test]
async fn an_agents_token_is_recorded_with_its_human() {
    let issuer = Issuer::open(Key::ec()).await;
    let house = house(vec![issuer.trusted()]).await;
    let event = allowed_event(&house, &issuer.agent()).await;
    let about = &event["about"];
    let actor = &about["actor"]["token"];
    assert_eq!(actor["issuer"], issuer.url, "{event}");
    assert_eq!((&actor["owner"], &actor["agent"]), (&json!("alice"), &json!("a1")));
    assert_eq!((&actor["role"], &about["on_behalf_of"]), (&json!("agent"), &json!("alice")));
    assert_eq!(issuer.fetched(), 1, "keys are kept");
}

#[tokio::test]
async fn an_audience_is_exact_and_may_be_one_of_several() {
    let issuer = Issuer::open(Key::ec()).await;
    let urn = token::Issuer { audience: Some("urn:desk".to_owned()), ..issuer.trusted() };
    for (trusted, audience) in [(issuer.trusted(), AUDIENCE), (urn, "urn:desk")] {
        let house = house(vec![trusted]).await;
        let with = |aud: Value| issuer.token(json!({"act": {"sub": "a1"}, "aud": aud}));
        for good in [json!(audience), json!([audience]), json!(["urn:other", audience])] {
            allowed(&ask(&house, &with(good)).await);
        }
        let slash = format!("{audience}/");
        let short = &audience[..audience.len() - 1];
        for bad in [json!("urn:other"), json!([]), json!(slash), json!([short]), json!(7)] {
            invalid(&house, &with(bad.clone()), &bad.to_string()).await;
        }
    }
}

#[tokio::test]
async fn the_human_stands_in_the_claim_that_is_configured() {
    let issuer = Issuer::open(Key::ec()).await;
    let email = token::Issuer { subject_claim: "email".to_owned(), ..issuer.trusted() };
    let house = house(vec![email]).await;
    let token =
        |email: Value| issuer.token(json!({"sub": "00u1", "email": email, "act": {"sub": "a1"}}));
    let event = allowed_event(&house, &token(json!("alice"))).await;
    assert_eq!(event["about"]["actor"]["token"]["owner"], "alice");
    invalid(&house, &token(Value::Null), "no claim").await;
    // What `sub` says then counts for nothing.
    invalid(&house, &issuer.agent(), "alice as the subject alone").await;
    refused(&ask(&house, &token(json!("mallory"))).await, 401, "invalid_token");
}

#[tokio::test]
async fn a_token_outside_its_time_is_not_valid() {
    let issuer = Issuer::open(Key::ec()).await;
    let house = house(vec![issuer.trusted()]).await;
    for others in [
        json!({"exp": now() - 60}),
        json!({"nbf": now() + 60}),
        json!({"iat": now() + 60}),
        json!({"exp": null}),
    ] {
        let what = others.to_string();
        let claims = merged(merged(issuer.claims(), json!({"act": {"sub": "a1"}})), others);
        let token = issuer.signed(&issuer.header(), &claims.to_string());
        invalid(&house, &token, &what).await;
    }
}

#[tokio::test]
async fn a_token_for_or_of_somebody_else_is_not_valid() {
    let (issuer, other) = (Issuer::open(Key::ec()).await, Issuer::open(Key::ec()).await);
    let stranger = Issuer::open(Key::ec()).await;
    let house = house(vec![issuer.trusted(), other.trusted()]).await;
    allowed(&ask(&house, &issuer.agent()).await);
    allowed(&ask(&house, &other.agent()).await);
    invalid(&house, &stranger.agent(), "an issuer that is not trusted").await;
    let act = json!({"sub": "a1"});
    for others in [
        json!({"act": act, "aud": "https://other.example.com"}),
        json!({"act": act, "aud": null}),
        json!({"act": act, "iss": stranger.url}),
        json!({"act": act, "iss": null}),
        // The same name of a key, and another issuer's key under it.
        json!({"act": act, "iss": other.url}),
        json!({"act": {"sub": "a1", "iss": other.url}}),
    ] {
        invalid(&house, &issuer.token(others.clone()), &others.to_string()).await;
    }
    // What a token says of where its key is counts for nothing.
    let header = merged(
        stranger.header(),
        json!({
            "kid": "k9", "jwk": stranger.key.jwk("k9"), "jku": format!("{}/keys", stranger.url),
            "x5u": format!("{}/keys", stranger.url),
        }),
    );
    let claims = merged(issuer.claims(), json!({"act": act})).to_string();
    invalid(&house, &stranger.signed(&header, &claims), "a key that it brings along").await;
    let header = merged(header, json!({"kid": "k1"}));
    invalid(&house, &stranger.signed(&header, &claims), "a key in place of the named").await;
    assert_eq!(stranger.fetched(), 0);
}

#[tokio::test]
async fn a_token_without_a_signature_of_its_issuer_is_not_valid() {
    let issuer = Issuer::open(Key::rsa()).await;
    let house = house(vec![issuer.trusted()]).await;
    let good = issuer.agent();
    allowed(&ask(&house, &good).await);
    let claims = merged(issuer.claims(), json!({"act": {"sub": "a1"}}));
    for none in ["none", "None", "NONE", ""] {
        let message = unsigned(&merged(issuer.header(), json!({"alg": none})), &claims.to_string());
        invalid(&house, &format!("{message}."), none).await;
        invalid(&house, &format!("{message}.AA"), none).await;
    }
    // The public key as the secret of an HMAC.
    let header = merged(issuer.header(), json!({"alg": "HS256"}));
    let message = unsigned(&header, &claims.to_string());
    let secret = issuer.key.jwk("k1").to_string();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = aws_lc_rs::hmac::sign(&key, message.as_bytes());
    invalid(&house, &format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag)), "HMAC").await;

    let (message, signature) = good.rsplit_once('.').unwrap();
    let other = merged(claims, json!({"sub": "mallory"})).to_string();
    let mutated = unsigned(&issuer.header(), &other);
    invalid(&house, &format!("{mutated}.{signature}"), "other claims").await;
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    for place in [0, 100, 255] {
        bytes[place] ^= 1;
        let flipped = URL_SAFE_NO_PAD.encode(&bytes);
        invalid(&house, &format!("{message}.{flipped}"), "a flipped bit").await;
        bytes[place] ^= 1;
    }
    for bad in [
        format!("{message}."),
        message.to_owned(),
        format!("{good}="),
        format!("{good}.x"),
        good[1..].to_owned(),
    ] {
        invalid(&house, &bad, &bad).await;
    }
}

#[tokio::test]
async fn a_token_of_another_form_is_not_valid() {
    let issuer = Issuer::open(Key::ed()).await;
    let strict = house(vec![issuer.trusted()]).await;
    let claims = merged(issuer.claims(), json!({"act": {"sub": "a1"}})).to_string();
    for others in [
        json!({"typ": "JWT"}),
        json!({"typ": null}),
        json!({"typ": "logout+jwt"}),
        json!({"crit": ["exp"], "exp": 1}),
        json!({"alg": "Ed25519"}),
        json!({"alg": "ES256"}),
        json!({"kid": 7}),
    ] {
        let header = merged(issuer.header(), others.clone());
        invalid(&strict, &issuer.signed(&header, &claims), &others.to_string()).await;
    }
    let lax = house(vec![token::Issuer { plain_type: true, ..issuer.trusted() }]).await;
    let plain = merged(issuer.header(), json!({"typ": "JWT"}));
    allowed(&ask(&lax, &issuer.signed(&plain, &claims)).await);

    // One reader sees a1 under alice, another sees somebody else.
    let twice = claims.replacen('{', "{\"sub\":\"mallory\",", 1);
    invalid(&strict, &issuer.signed(&issuer.header(), &twice), "a member twice").await;
    let bound = json!({"act": {"sub": "a1"}, "cnf": {"jkt": "x"}});
    invalid(&strict, &issuer.token(bound), "a token that is bound to a key").await;
    let long = json!({"act": {"sub": "a1"}, "x": "x".repeat(8_192)});
    invalid(&strict, &issuer.token(long), "a long token").await;
}

#[tokio::test]
async fn a_token_comes_once_and_in_its_header() {
    let issuer = Issuer::open(Key::ec()).await;
    let house = house(vec![issuer.trusted()]).await;
    let (token, before) = (issuer.agent(), house.events());
    let missing = format!("Bearer realm=\"bailiwick\", resource_metadata=\"{METADATA}\"");
    let in_query = format!("/v1/agents/a1?access_token={token}");
    for answer in [
        house.get_as("", "/v1/agents/a1").await,
        house.get_as("", &in_query).await,
        house.ask("", &question()).await,
    ] {
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, missing.as_str()));
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let body = format!("access_token={token}");
    let answer = house.send(Method::POST, EVALUATION, "", &form, body).await;
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, missing.as_str()));
    let again = format!("Bearer {token}");
    let headers = [JSON, ("authorization", again.as_str())];
    let body = question().to_string();
    let answer = house.send(Method::POST, EVALUATION, &token, &headers, body).await;
    refused(&answer, 401, "invalid_token");
    assert_eq!(house.events(), before);
}

#[tokio::test]
async fn an_agents_own_client_is_not_taken_for_the_human_who_logged_in() {
    let issuer = Issuer::open(Key::ec()).await;
    let house = house(vec![issuer.trusted()]).await;
    let scope = json!("bailiwick:approver");
    let person = issuer.token(json!({"scope": scope}));
    house.get_as(&person, "/v1/approvals").await.done();
    let agents = issuer.token(json!({"scope": scope, "client_id": "a1"}));
    refused(&house.get_as(&agents, "/v1/approvals").await, 403, "insufficient_scope");
}

#[tokio::test]
async fn a_disabled_humans_token_is_good_for_no_call_of_anybody() {
    let issuer = Issuer::open(Key::ec()).await;
    let house = house(vec![issuer.trusted()]).await;
    house.post("/v1/owners", json!({"owner": "carol"})).await.done();
    let gate = issuer.token(json!({"sub": "carol", "scope": "bailiwick:enforcer"}));
    allowed(&ask(&house, &gate).await);
    house.post("/v1/owners/carol/disable", json!({})).await.done();
    refused(&ask(&house, &gate).await, 401, "invalid_token");
}

#[tokio::test]
async fn an_issuer_may_change_its_keys_and_be_away() {
    let mut issuer = Issuer::open(Key::ec()).await;
    let house = house(vec![issuer.trusted()]).await;
    let old = issuer.agent();
    allowed(&ask(&house, &old).await);
    // Away: what is kept serves, and what is not cannot be told from what does not exist.
    issuer.publish(None);
    allowed(&ask(&house, &old).await);
    let key = Key::ed();
    let jwk = key.jwk("k2");
    issuer.key = key;
    let header = merged(issuer.header(), json!({"kid": "k2"}));
    let claims = merged(issuer.claims(), json!({"act": {"sub": "a1"}})).to_string();
    let new = issuer.signed(&header, &claims);
    invalid(&house, &new, "a key that is not published").await;
    // Back, with another key: it is found when a token names it, and the old one is gone.
    issuer.publish(Some(vec![jwk]));
    allowed(&ask(&house, &new).await);
    invalid(&house, &old, "a key that was taken back").await;
}

#[tokio::test]
async fn invented_keys_do_not_make_an_issuer_be_asked_without_end() {
    let issuer = Issuer::open(Key::ec()).await;
    let house = house(vec![issuer.trusted()]).await;
    allowed(&ask(&house, &issuer.agent()).await);
    let claims = merged(issuer.claims(), json!({"act": {"sub": "a1"}})).to_string();
    for number in 0..20 {
        let header = merged(issuer.header(), json!({"kid": format!("x{number}")}));
        invalid(&house, &issuer.signed(&header, &claims), "a key that does not exist").await;
    }
    assert!((2..=6).contains(&issuer.fetched()), "{}", issuer.fetched());
    allowed(&ask(&house, &issuer.agent()).await);
}

#[tokio::test]
async fn while_no_key_was_ever_read_a_token_cannot_be_checked() {
    let issuer = Issuer::open(Key::ec()).await;
    issuer.publish(None);
    let elsewhere = Some(format!("{}/elsewhere", issuer.url));
    let redirected = token::Issuer { jwks_uri: elsewhere, ..issuer.trusted() };
    for trusted in [issuer.trusted(), redirected] {
        let house = house(vec![trusted]).await;
        let before = house.events();
        let answer = ask(&house, &issuer.agent()).await;
        assert_eq!((answer.status, house.events()), (503, before), "{}", answer.text);
        assert_eq!(house.get_as(&issuer.agent(), "/v1/agents/a1").await.status, 503);
        // No redirect is followed, although its end is there.
        issuer.publish(Some(vec![issuer.key.jwk("k1")]));
    }
    assert_eq!(issuer.fetched(), 0);
}

#[tokio::test]
async fn scopes_give_roles_and_nothing_gives_admin_unasked() {
    let issuer = Issuer::open(Key::ec()).await;
    let house = house(vec![issuer.trusted()]).await;
    let auditor = issuer.token(json!({"scope": "openid bailiwick:auditor"}));
    assert_eq!(house.get_as(&auditor, "/v1/owners").await.status, 200);
    let before = house.events();
    refused(&ask(&house, &auditor).await, 403, "insufficient_scope");
    let suspend = house.post_as(&auditor, "/v1/agents/a1/suspend", json!({})).await;
    refused(&suspend, 403, "insufficient_scope");
    for scope in ["", "openid", "admin", "bailiwick:admin", "bailiwick:agent"] {
        let token = issuer.token(json!({"scope": scope}));
        refused(&house.get_as(&token, "/v1/owners").await, 403, "insufficient_scope");
        refused(&ask(&house, &token).await, 403, "insufficient_scope");
    }
    assert_eq!(house.events(), before);
    let operator = issuer.token(json!({"scope": "bailiwick:operator"}));
    house.post_as(&operator, "/v1/agents/a1/suspend", json!({})).await.done();
    assert_eq!(last(&house).await["about"]["actor"]["token"]["role"], "operator");
    let put = house.post_as(&operator, "/v1/policies/activate", json!({})).await;
    refused(&put, 403, "insufficient_scope");
}

#[tokio::test]
async fn an_agents_token_opens_nothing_but_the_agents_own_door() {
    let issuer = Issuer::open(Key::ec()).await;
    let house = house(vec![issuer.trusted()]).await;
    // Whatever scopes come with it.
    let token = issuer.token(json!({"act": {"sub": "a1"}, "scope": "bailiwick:operator"}));
    let before = house.events();
    for (path, body) in [
        ("/v1/agents/a1/suspend", json!({})),
        ("/v1/revocations", json!({"selector": "all"})),
        ("/v1/owners", json!({"owner": "bob"})),
        ("/v1/policies/activate", json!({})),
        ("/v1/credentials", json!({"credential": "x", "role": "admin"})),
        ("/v1/sql", json!({"sql": "select 1"})),
    ] {
        let answer = house.post_as(&token, path, body).await;
        refused(&answer, 403, "insufficient_scope");
    }
    let mut other = question();
    other["subject"]["id"] = json!("a2");
    refused(&house.ask(&token, &other).await, 403, "insufficient_scope");
    // Nor may it say that it asks for another human than its token's.
    let mut other = question();
    other["context"]["on_behalf_of"] = json!("mallory");
    assert_eq!(house.events(), before);
    denied(&house, &token, &other, "not_owner").await;
    assert_eq!(house.get_as(&token, "/v1/agents/a1").await.status, 200);
}

/// A decision that says no, for `code`, and is recorded.
async fn denied(house: &House, token: &str, body: &Value, code: &str) {
    let before = house.events();
    let answer = house.ask(token, body).await.done();
    assert_eq!((&answer["decision"], &answer["context"]["code"]), (&json!(false), &json!(code)));
    assert_eq!(house.events(), before + 1);
    let event = last(house).await;
    assert_eq!(event["kind"], "call.denied", "{event}");
    assert_eq!(event["about"]["actor"]["token"]["role"], "agent", "{event}");
}

#[tokio::test]
async fn a_valid_token_of_the_wrong_human_or_of_no_agent_is_denied_on_the_record() {
    let issuer = Issuer::open(Key::ec()).await;
    let house = house(vec![issuer.trusted()]).await;
    house.post("/v1/owners", json!({"owner": "bob"})).await.done();
    let bobs = issuer.token(json!({"sub": "bob", "act": {"sub": "a1"}}));
    denied(&house, &bobs, &question(), "not_owner").await;
    house.post("/v1/owners/bob/disable", json!({})).await.done();
    denied(&house, &bobs, &question(), "not_owner").await;
    house.post("/v1/owners/bob/enable", json!({})).await.done();
    let nobodys = issuer.token(json!({"act": {"sub": "a9"}}));
    let mut body = question();
    body["subject"]["id"] = json!("a9");
    denied(&house, &nobodys, &body, "agent_unknown").await;
    // What is not a call is refused and changes nothing, and shows nothing.
    let before = house.events();
    let request = json!({"agent": "a1", "action": "crm/read_case", "scope": "crm://case/1"});
    for (path, body) in [("/v1/tasks", json!({"agent": "a1"})), ("/v1/grants/requests", request)] {
        let answer = house.post_as(&bobs, path, body).await;
        refused(&answer, 403, "insufficient_scope");
    }
    for path in ["/v1/agents/a1", "/v1/grants", "/v1/tasks"] {
        refused(&house.get_as(&bobs, path).await, 403, "insufficient_scope");
    }
    assert_eq!(house.events(), before);
    allowed(&ask(&house, &issuer.agent()).await);
}

#[tokio::test]
async fn a_delegate_acts_through_the_agent_until_that_is_taken_back() {
    let issuer = Issuer::open(Key::ec()).await;
    let house = house(vec![issuer.trusted()]).await;
    house.post("/v1/owners", json!({"owner": "bob"})).await.done();
    let bobs = issuer.token(json!({"sub": "bob", "act": {"sub": "a1"}}));
    refused(&house.get_as(&bobs, "/v1/agents/a1").await, 403, "insufficient_scope");
    denied(&house, &bobs, &question(), "not_owner").await;
    house.put("/v1/owners/alice/delegates/bob", json!({})).await.done();
    let event = allowed_event(&house, &bobs).await;
    assert_eq!(event["about"]["on_behalf_of"], "bob");
    assert_eq!(house.get_as(&bobs, "/v1/agents/a1").await.status, 200);
    house.post_as(&bobs, "/v1/tasks", json!({"agent": "a1"})).await.done();
    // That is through the agent alone: alice's own role is not bob's.
    let person = issuer.token(json!({"sub": "bob", "scope": ""}));
    refused(&house.get_as(&person, "/v1/agents/a1").await, 403, "insufficient_scope");
    house.post("/v1/owners/bob/disable", json!({})).await.done();
    refused(&house.get_as(&bobs, "/v1/agents/a1").await, 401, "invalid_token");
    denied(&house, &bobs, &question(), "not_owner").await;
    house.post("/v1/owners/bob/enable", json!({})).await.done();
    house.post("/v1/owners/alice/delegates/bob/remove", json!({})).await.done();
    denied(&house, &bobs, &question(), "not_owner").await;
    refused(&house.get_as(&bobs, "/v1/agents/a1").await, 403, "insufficient_scope");
}

#[tokio::test]
async fn a_human_who_is_not_registered_or_is_disabled_is_nobody() {
    let issuer = Issuer::open(Key::ec()).await;
    let house = house(vec![issuer.trusted()]).await;
    let scope = "bailiwick:auditor bailiwick:operator";
    let mallory = issuer.token(json!({"sub": "mallory", "scope": scope}));
    let mallorys = issuer.token(json!({"sub": "mallory", "act": {"sub": "a1"}}));
    let before = house.events();
    refused(&ask(&house, &mallorys).await, 401, "invalid_token");
    for token in [&mallory, &mallorys] {
        refused(&house.get_as(token, "/v1/agents/a1").await, 401, "invalid_token");
        let answer = house.post_as(token, "/v1/tasks", json!({"agent": "a1"})).await;
        refused(&answer, 401, "invalid_token");
    }
    assert_eq!(house.events(), before);
    let alice = issuer.token(json!({"scope": scope}));
    assert_eq!(house.get_as(&alice, "/v1/agents/a1").await.status, 200);
    house.post("/v1/owners/alice/disable", json!({})).await.done();
    refused(&house.get_as(&alice, "/v1/agents/a1").await, 401, "invalid_token");
    let suspend = house.post_as(&alice, "/v1/agents/a1/suspend", json!({})).await;
    refused(&suspend, 401, "invalid_token");
    refused(&house.get_as(&issuer.agent(), "/v1/agents/a1").await, 401, "invalid_token");
    denied(&house, &issuer.agent(), &question(), "owner_disabled").await;
    house.post("/v1/owners/alice/enable", json!({})).await.done();
    assert_eq!(house.get_as(&alice, "/v1/agents/a1").await.status, 200);
}

#[tokio::test]
async fn who_acted_before_is_recorded() {
    let issuer = Issuer::open(Key::ec()).await;
    let house = house(vec![issuer.trusted()]).await;
    let act = json!({"sub": "a1", "act": {"sub": "planner", "act": {"sub": "portal"}}});
    let event = allowed_event(&house, &issuer.token(json!({"act": act}))).await;
    assert!(event.to_string().contains(r#""actors":["planner","portal"]"#), "{event}");
    // Only the one that acts now has a say: the agent before it has no token of its own here.
    let act = json!({"sub": "planner", "act": {"sub": "a1"}});
    let chained = issuer.token(json!({"act": act}));
    refused(&ask(&house, &chained).await, 403, "insufficient_scope");
}

#[tokio::test]
async fn an_agent_that_comes_in_its_own_name_acts_for_its_owner() {
    let issuer = Issuer::open(Key::ec()).await;
    let house = house(vec![issuer.trusted()]).await;
    let own = issuer.token(json!({"sub": "a1", "client_id": "a1"}));
    let event = allowed_event(&house, &own).await;
    let about = &event["about"];
    assert_eq!(about["actor"]["token"]["owner"], "alice");
    let human = issuer.token(json!({"sub": "a1", "scope": "bailiwick:operator"}));
    refused(&ask(&house, &human).await, 403, "insufficient_scope");
}

#[tokio::test]
async fn how_to_get_a_token_is_told_to_everyone() {
    let issuer = Issuer::open(Key::ec()).await;
    let house = house(vec![issuer.trusted()]).await;
    let told = json!({
        "resource": AUDIENCE,
        "authorization_servers": [issuer.url],
        "scopes_supported": [
            "bailiwick:approver", "bailiwick:auditor", "bailiwick:enforcer", "bailiwick:operator",
            "bailiwick:subscriber",
        ],
        "bearer_methods_supported": ["header"],
    });
    for path in ["", "/desk"] {
        let path = format!("/.well-known/oauth-protected-resource{path}");
        assert_eq!(house.get_as("", &path).await.done(), told);
    }
    // Empty members are left out.
    let bare = House::open();
    let told = bare.get_as("", "/.well-known/oauth-protected-resource").await.done();
    let url = bare.url("");
    assert_eq!(told, json!({"resource": url, "bearer_methods_supported": ["header"]}));
}

#[tokio::test]
async fn what_cannot_be_trusted_is_not_served() {
    let issuer = Issuer::open(Key::ec()).await;
    let twice = vec![issuer.trusted(), issuer.trusted()];
    let clear = token::Issuer { issuer: "http://id.example.com".to_owned(), ..issuer.trusted() };
    for issuers in [twice, vec![clear]] {
        let dir = tempfile::tempdir().unwrap();
        let settings = bailiwick_audit::Settings { threads: 1, at_once: 1 };
        let audit = std::sync::Arc::new(bailiwick_audit::Audit::new(settings).unwrap());
        let config = Config { issuers, ..house::config() };
        let refused = bailiwick_api::serve(config, house::open_ledger(dir.path()), audit);
        assert!(matches!(refused, Err(bailiwick_api::Error::Issuer { .. })), "{refused:?}");
    }
}
