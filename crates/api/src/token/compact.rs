//! A token taken apart (RFC 7515, compact serialization), believing nothing of it yet.

use bailiwick_core::json::{Limits, parse_strict};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::{Algorithm, Refused};

/// The most bytes of a token.
pub(crate) const TOKEN_BYTES_MAX: usize = 8 * 1_024;
/// Levels of arrays and objects in a token; a chain of actors takes one each.
const LIMITS: Limits = Limits { bytes: TOKEN_BYTES_MAX, depth: 16 };

/// A token, read and not yet believed.
#[derive(Debug)]
pub(super) struct Token<'a> {
    pub(super) algorithm: Algorithm,
    /// Whether its type is plain `JWT`, or none, and not an access token's.
    pub(super) is_plain: bool,
    pub(super) key_id: Option<String>,
    pub(super) claims: Map<String, Value>,
    /// What is signed.
    pub(super) message: &'a str,
    pub(super) signature: &'a str,
}

/// Takes a token apart. Of its header only type, algorithm and the key's name are heard: a key, or
/// the place of one, that a token brings along says nothing about it.
pub(super) fn read(text: &str) -> Result<Token<'_>, Refused> {
    if text.len() > TOKEN_BYTES_MAX {
        return Err(Refused::Invalid("the token is too long"));
    }
    let parts = || {
        let (message, signature) = text.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        (!claims.contains('.')).then_some((header, claims, message, signature))
    };
    let not_compact = Refused::Invalid("the token does not have three parts");
    let (header, claims, message, signature) = parts().ok_or(not_compact)?;
    let header = object(header).ok_or(Refused::Invalid("the token's header is malformed"))?;
    let claims = object(claims).ok_or(Refused::Invalid("the token's claims are malformed"))?;
    if header.contains_key("crit") {
        return Err(Refused::Invalid("the token has a critical header that is not understood"));
    }
    let algorithm = header.get("alg").and_then(Value::as_str).and_then(|name| name.parse().ok());
    let algorithm = algorithm.ok_or(Refused::Invalid("the token's algorithm is not allowed"))?;
    let key_id = match header.get("kid") {
        None => None,
        Some(Value::String(id)) => Some(id.clone()),
        Some(_) => return Err(Refused::Invalid("the token's key id is not a string")),
    };
    let is_plain = is_plain(header.get("typ"))?;
    Ok(Token { algorithm, is_plain, key_id, claims, message, signature })
}

/// Whether a token has no type of its own. One of another type, such as a logout token or a
/// statement of a workload, is no access token whoever signed it.
fn is_plain(kind: Option<&Value>) -> Result<bool, Refused> {
    let other = Err(Refused::Invalid("the token is not an access token"));
    let Some(kind) = kind else { return Ok(true) };
    let Some(kind) = kind.as_str() else { return other };
    match kind.to_ascii_lowercase().as_str() {
        "at+jwt" | "application/at+jwt" => Ok(false),
        "jwt" => Ok(true),
        _ => other,
    }
}

/// One part: base64url of a JSON object that everyone reads alike.
fn object(part: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    match parse_strict(&bytes, LIMITS).ok()? {
        Value::Object(members) => Some(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, claims: &str) -> String {
        format!("{}.{}.AA", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn type_algorithm_and_key_are_read() {
        let text = token(r#"{"alg":"ES256","typ":"at+JWT","kid":"k"}"#, r#"{"iss":"i"}"#);
        let read = read(&text).unwrap();
        assert_eq!((read.algorithm, read.is_plain), (Algorithm::Es256, false));
        assert_eq!((read.key_id.as_deref(), read.signature), (Some("k"), "AA"));
        assert_eq!(read.claims["iss"], "i");
        for (kind, is_plain) in [(r#","typ":"JWT""#, true), ("", true)] {
            let text = token(&format!(r#"{{"alg":"ES256"{kind}}}"#), "{}");
            assert_eq!(super::read(&text).unwrap().is_plain, is_plain);
        }
    }

    #[test]
    fn what_two_readers_could_understand_differently_is_refused() {
        for (header, claims) in [
            (r#"{"alg":"ES256","alg":"none"}"#, "{}"),
            (r#"{"alg":"ES256"}"#, r#"{"sub":"a","sub":"b"}"#),
            (r#"{"alg":"ES256"}"#, r#"{"act":{"sub":"a","sub":"b"}}"#),
            (r#"{"alg":"ES256"}"#, "[]"),
            (r#"{"alg":"ES256"}"#, "{} {}"),
            (r#"{"alg":"none"}"#, "{}"),
            (r#"{"alg":"HS256"}"#, "{}"),
            (r#"{"alg":["ES256"]}"#, "{}"),
            ("{}", "{}"),
            (r#"{"alg":"ES256","crit":["b64"],"b64":false}"#, "{}"),
            (r#"{"alg":"ES256","crit":[]}"#, "{}"),
            (r#"{"alg":"ES256","kid":1}"#, "{}"),
            (r#"{"alg":"ES256","typ":"logout+jwt"}"#, "{}"),
            (r#"{"alg":"ES256","typ":1}"#, "{}"),
        ] {
            assert!(read(&token(header, claims)).is_err(), "{header} {claims}");
        }
        let good = token(r#"{"alg":"ES256"}"#, "{}");
        assert!(read(&good).is_ok());
        for bad in [
            String::new(),
            "..".to_owned(),
            format!("{good}.AA"),
            good.replacen('.', "=.", 1),
            format!(" {good}"),
            token(r#"{"alg":"ES256"}"#, &format!("{{\"x\":\"{}\"}}", "x".repeat(TOKEN_BYTES_MAX))),
        ] {
            assert!(read(&bad).is_err(), "{bad:.80}");
        }
    }
}
