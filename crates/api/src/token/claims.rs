//! What a token says, checked (RFC 9068, section 4). Its signature was checked before.

use bailiwick_core::id::Text;
use bailiwick_core::time::Time;
use serde_json::{Map, Value};

use super::Refused;
use super::settings::{SCOPE, Trusted};

/// The most actors of a token: the one that acts and those before it.
const ACTORS_MAX: usize = 8;
const NS_EACH_SECOND: u64 = 1_000_000_000;

/// What is known from a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claims {
    /// Whom it is about: a human, or an agent or a service itself.
    pub(super) subject: String,
    /// In which human's name, as the issuer is configured to say.
    pub(super) human: Option<String>,
    /// Through which client.
    pub(super) client: String,
    /// Who acts, then who acted before, the latest first; none if the subject itself does.
    pub(super) actors: Vec<Text>,
    /// What the issuer lets it do, in the issuer's words.
    pub(super) roles: Vec<String>,
    /// Until when it is taken.
    pub(super) until: Time,
}

/// Checks the claims of a token whose signature is `trusted`'s.
pub(super) fn check(
    claims: &Map<String, Value>,
    trusted: &Trusted,
    now: Time,
) -> Result<Claims, Refused> {
    if text(claims, "iss") != Some(trusted.issuer.as_str()) {
        return Err(Refused::Invalid("the token is another issuer's"));
    }
    if !audiences(claims).any(|audience| audience == trusted.audience) {
        return Err(Refused::Invalid("the token is for another audience"));
    }
    let expires = moment(claims, "exp")?;
    let expires = expires.ok_or(Refused::Invalid("the token has no `exp`"))?;
    let until = expires.after(trusted.skew);
    if now >= until {
        return Err(Refused::Invalid("the token has expired"));
    }
    let latest = now.after(trusted.skew);
    let issued = moment(claims, "iat")?.ok_or(Refused::Invalid("the token has no `iat`"))?;
    if issued > latest {
        return Err(Refused::Invalid("the token was issued in the future"));
    }
    if moment(claims, "nbf")?.is_some_and(|begin| begin > latest) {
        return Err(Refused::Invalid("the token is not valid yet"));
    }
    // Who presents a bound token has to prove that it holds a key, which is not asked for here.
    if claims.contains_key("cnf") {
        return Err(Refused::Invalid("the token is bound to a key and came as a bearer token"));
    }
    let subject = text(claims, "sub").ok_or(Refused::Invalid("the token has no `sub`"))?;
    let client = text(claims, "client_id");
    let client = client.ok_or(Refused::Invalid("the token has no `client_id`"))?;
    text(claims, "jti").ok_or(Refused::Invalid("the token has no `jti`"))?;
    Ok(Claims {
        subject: subject.to_owned(),
        human: text(claims, &trusted.subject_claim).map(str::to_owned),
        client: client.to_owned(),
        actors: actors(claims, trusted)?,
        roles: roles(claims, &trusted.roles_claim),
        until,
    })
}

/// A claim that is a text with something in it.
fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn audiences(claims: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let audience = claims.get("aud");
    let one = audience.and_then(Value::as_str);
    let many = audience.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    one.into_iter().chain(many)
}

/// A claim that is a number of seconds since 1970, whole or not.
fn moment(claims: &Map<String, Value>, name: &'static str) -> Result<Option<Time>, Refused> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let whole = value.as_u64().map(|seconds| seconds.saturating_mul(NS_EACH_SECOND));
    let nanoseconds = whole.or_else(|| {
        let seconds = value.as_f64().filter(|seconds| *seconds >= 0.0)?;
        // What is beyond the end of time is at its end.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        Some((seconds * 1e9) as u64)
    });
    match nanoseconds {
        Some(nanoseconds) => Ok(Some(Time(nanoseconds))),
        None => Err(Refused::Invalid("the token holds a time that is none")),
    }
}

/// Who acts, and who did before (RFC 8693, section 4.1).
fn actors(claims: &Map<String, Value>, trusted: &Trusted) -> Result<Vec<Text>, Refused> {
    let malformed = Refused::Invalid("the token's `act` is malformed");
    let mut actors = Vec::new();
    let mut next = claims.get("act");
    while let Some(value) = next {
        let act = value.as_object().ok_or(malformed)?;
        if actors.len() >= ACTORS_MAX {
            return Err(Refused::Invalid("the token has too many actors"));
        }
        // A name of another issuer's may be somebody else's here.
        if act.get("iss").is_some_and(|issuer| issuer != trusted.issuer.as_str()) {
            return Err(Refused::Invalid("the token's actor is another issuer's"));
        }
        let name = text(act, "sub").and_then(|name| Text::new(name).ok());
        actors.push(name.ok_or(malformed)?);
        next = act.get("act");
    }
    Ok(actors)
}

/// What the issuer lets the token do. A `scope` is split at spaces; the rest is taken as it is.
fn roles(claims: &Map<String, Value>, name: &str) -> Vec<String> {
    match claims.get(name) {
        Some(Value::String(text)) if name == SCOPE => text.split(' ').map(str::to_owned).collect(),
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(texts)) => {
            texts.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {
            Vec::new()
        }
    }
}
