//! Claims and whom they stand for. Signatures and keys are tested from outside, with a real issuer.

use std::time::Duration;

use bailiwick_core::event::Role;
use serde_json::{Map, json};

use super::*;

const NOW_S: u64 = 1_800_000_000;
const NOW: Time = Time(NOW_S * 1_000_000_000);

fn trusted(change: impl FnOnce(&mut Issuer)) -> Trusted {
    let mut issuer = Issuer {
        issuer: "https://id.example".to_owned(),
        audience: Some("https://b.example".to_owned()),
        jwks_uri: None,
        algorithms: Algorithm::ALL.to_vec(),
        plain_type: false,
        skew: Duration::from_secs(30),
        subject_claim: SUBJECT.to_owned(),
        roles_claim: SCOPE.to_owned(),
        roles: roles(),
        admin: true,
    };
    issuer.roles.insert("root".to_owned(), Role::Admin);
    change(&mut issuer);
    Trusted::new(&issuer, "").unwrap()
}

/// Claims of alice with some members others, or none where they are null.
fn claims(others: Value) -> Map<String, Value> {
    let claims = json!({
        "iss": "https://id.example", "aud": ["x", "https://b.example"], "sub": "alice",
        "client_id": "app", "jti": "1", "iat": NOW_S - 60, "exp": NOW_S + 60,
        "scope": "openid bailiwick:auditor",
    });
    let (Value::Object(mut claims), Value::Object(others)) = (claims, others) else { panic!() };
    for (name, value) in others {
        if value.is_null() {
            claims.remove(&name);
        } else {
            claims.insert(name, value);
        }
    }
    claims
}

/// Whom the claims stand for where `bot` is an agent of carol's.
fn identity(others: Value) -> Result<Identity, Refused> {
    let trusted = trusted(|_| {});
    let checked = claims::check(&claims(others), &trusted, NOW)?;
    let carol = OwnerId::new("carol").unwrap();
    identity::of(checked, &trusted, |agent| (agent.as_str() == "bot").then(|| carol.clone()))
}

/// Owner, agent and role.
fn who(others: Value) -> Result<(String, Option<String>, Role), Refused> {
    let identity = identity(others)?;
    let owner = identity.owner.to_string();
    Ok((owner, identity.agent.map(|agent| agent.to_string()), identity.role))
}

#[test]
fn a_token_is_taken_within_its_time_and_a_little_skew() {
    for (good, others) in [
        (true, json!({})),
        (true, json!({"exp": NOW_S - 29})),
        (false, json!({"exp": NOW_S - 30})),
        (true, json!({"exp": u64::pow(2, 52)})),
        (true, json!({"exp": 1e300})),
        (true, json!({"exp": 1_800_000_000.5})),
        (false, json!({"exp": -1})),
        (false, json!({"exp": "1900000000"})),
        (false, json!({"exp": null})),
        (true, json!({"iat": NOW_S + 30})),
        (false, json!({"iat": NOW_S + 31})),
        (false, json!({"iat": null})),
        (true, json!({"nbf": NOW_S + 30})),
        (false, json!({"nbf": NOW_S + 31})),
        (false, json!({"nbf": true})),
    ] {
        let taken = identity(others.clone());
        assert_eq!(taken.is_ok(), good, "{others}");
        assert!(good || matches!(taken, Err(Refused::Invalid(_))), "{others}");
    }
    assert_eq!(identity(json!({})).unwrap().until, Time((NOW_S + 90) * 1_000_000_000));
}

#[test]
fn a_token_that_says_less_or_something_else_is_not_valid() {
    for others in [
        json!({"iss": null}),
        json!({"iss": "https://id.example/"}),
        json!({"aud": null}),
        json!({"aud": "https://b.example/"}),
        json!({"aud": []}),
        json!({"aud": {"https://b.example": true}}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": 7}),
        json!({"client_id": null}),
        json!({"jti": null}),
        json!({"cnf": {"jkt": "x"}}),
        json!({"act": "bot"}),
        json!({"act": {}}),
        json!({"act": {"sub": ""}}),
        json!({"act": {"sub": "bot", "iss": "https://other.example"}}),
        json!({"act": {"sub": "bot", "act": {"iss": "https://id.example"}}}),
    ] {
        assert!(matches!(identity(others.clone()), Err(Refused::Invalid(_))), "{others}");
    }
    let long = (0..9).fold(json!({"sub": "bot"}), |act, _| json!({"sub": "bot", "act": act}));
    assert!(matches!(identity(json!({"act": long})), Err(Refused::Invalid(_))));
}

#[test]
fn with_an_actor_a_token_is_that_agents_whatever_its_scopes() {
    let act = json!({"sub": "bot", "iss": "https://id.example", "sub_profile": "ai_agent",
        "act": {"sub": "planner", "act": {"sub": "portal"}}});
    let scope = "root bailiwick:operator";
    let taken = identity(json!({"act": act, "scope": scope})).unwrap();
    assert_eq!(taken.role, Role::Agent);
    assert_eq!((taken.owner.as_str(), taken.agent.unwrap().as_str()), ("alice", "bot"));
    let before: Vec<_> = taken.before.iter().map(|name| name.as_str()).collect();
    assert_eq!(before, ["planner", "portal"]);
    // An agent that nobody knows is told so by the ledger, which records it.
    let unknown = who(json!({"act": {"sub": "nobody"}, "scope": scope}));
    assert_eq!(unknown, Ok(("alice".into(), Some("nobody".into()), Role::Agent)));
    for others in [json!({"act": {"sub": "a *"}}), json!({"act": {"sub": "bot"}, "sub": "a *"})] {
        assert!(matches!(identity(others.clone()), Err(Refused::NotPermitted(_))), "{others}");
    }
}

#[test]
fn an_agent_that_comes_in_its_own_name_is_an_agent() {
    let own = Ok(("carol".to_owned(), Some("bot".to_owned()), Role::Agent));
    assert_eq!(who(json!({"sub": "bot", "client_id": "bot", "scope": "root"})), own);
    assert_eq!(who(json!({"sub": "bot", "act": {"sub": "bot"}})), own);
    let nobody = who(json!({"sub": "nobody", "act": {"sub": "nobody"}}));
    assert!(matches!(nobody, Err(Refused::NotPermitted(_))));
    // A human of that name would otherwise be the agent, or the agent a human.
    assert!(matches!(identity(json!({"sub": "bot"})), Err(Refused::NotPermitted(_))));
}

#[test]
fn the_human_may_stand_in_another_claim() {
    let trusted = trusted(|issuer| issuer.subject_claim = "email".to_owned());
    let owner_of = |agent: &AgentId| (agent.as_str() == "bot").then(|| "carol".parse().unwrap());
    let who = |others: Value| {
        let checked = claims::check(&claims(others), &trusted, NOW)?;
        identity::of(checked, &trusted, owner_of).map(|identity| identity.owner.to_string())
    };
    for act in [Value::Null, json!({"sub": "bot"})] {
        let with = |email: Value| who(json!({"sub": "00u1", "email": email, "act": act}));
        assert_eq!(with(json!("alice@example.com")), Ok("alice@example.com".to_owned()), "{act}");
        // What `sub` says is not taken in its place.
        for none in [Value::Null, json!(""), json!(7), json!(["alice@example.com"])] {
            assert!(matches!(with(none.clone()), Err(Refused::Invalid(_))), "{act} {none}");
        }
        assert!(matches!(with(json!("a *")), Err(Refused::NotPermitted(_))), "{act}");
    }
    let agents = who(json!({"sub": "00u1", "email": "bot"}));
    assert!(matches!(agents, Err(Refused::NotPermitted(_))));
    // An agent that comes in its own name has no human to name.
    assert_eq!(who(json!({"sub": "bot", "client_id": "bot"})), Ok("carol".to_owned()));
}

#[test]
fn without_an_actor_scopes_say_what_a_person_may_do() {
    let role = |others: Value| {
        who(others).map(|(owner, agent, role)| {
            assert_eq!((owner.as_str(), agent), ("alice", None));
            role
        })
    };
    assert_eq!(role(json!({})), Ok(Role::Auditor));
    assert_eq!(role(json!({"scope": "bailiwick:auditor bailiwick:approver"})), Ok(Role::Approver));
    assert_eq!(role(json!({"scope": "root bailiwick:approver"})), Ok(Role::Admin));
    for none in [
        json!({"scope": "openid"}),
        json!({"scope": null}),
        json!({"scope": "admin"}),
        json!({"scope": "bailiwick:agent"}),
        json!({"scope": {"bailiwick:auditor": 1}}),
        json!({"roles": ["bailiwick:auditor"], "scope": ""}),
        json!({"sub": "a *"}),
    ] {
        assert!(matches!(role(none.clone()), Err(Refused::NotPermitted(_))), "{none}");
    }
    let trusted = trusted(|issuer| issuer.roles_claim = "roles".to_owned());
    let told = claims(json!({"roles": ["x", "bailiwick:subscriber"]}));
    let checked = claims::check(&told, &trusted, NOW).unwrap();
    assert_eq!(identity::of(checked, &trusted, |_| None).unwrap().role, Role::Subscriber);
}
