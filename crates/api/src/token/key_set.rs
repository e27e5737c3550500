//! An issuer's public keys (RFC 7517). What is no key for a signature that is taken is passed over:
//! issuers publish keys for other uses beside them.

use bailiwick_core::json::{Limits, parse_strict};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{self as jwt, DecodingKey};
use serde_json::Value;

use super::Algorithm;

/// The most bytes of a set of keys.
pub(super) const BYTES_MAX: usize = 64 * 1_024;
const LIMITS: Limits = Limits { bytes: BYTES_MAX, depth: 8 };
/// Bytes of a coordinate on P-256 and of a key on Ed25519.
const COORDINATE_BYTES: usize = 32;

/// Keys that signatures are checked with.
#[derive(Debug)]
pub(super) struct KeySet {
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    family: Family,
    /// The one algorithm that it is for, if it says.
    algorithm: Option<String>,
    decoding: DecodingKey,
}

/// What a key can be used for at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Rsa,
    P256,
    Ed25519,
}

/// What a set has for a token.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// The key to check it with.
    Key(&'a DecodingKey),
    /// A key of that name, which is for something else.
    Unfit,
    /// No key of that name.
    Unknown,
}

impl KeySet {
    /// Reads a set, which may be empty: who publishes no key has taken back all of them. An error
    /// says what is wrong in words for operators.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        let set = parse_strict(text, LIMITS).map_err(|e| e.to_string())?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or("it has no member `keys`")?;
        Ok(Self { keys: keys.iter().filter_map(key).collect() })
    }

    /// The key for a token: the one that it names, or, if it names none, the only one there is.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Found<'_> {
        let mut named = self.keys.iter().filter(|key| id.is_none() || key.id.as_deref() == id);
        let mut fit = named.clone().filter(|key| key.is_for(algorithm));
        match (fit.next(), fit.next()) {
            (Some(key), None) => Found::Key(&key.decoding),
            // Among several nothing says which: guessing would be to try them all.
            (Some(_), Some(_)) => Found::Unfit,
            (None, _) if named.next().is_some() => Found::Unfit,
            (None, _) => Found::Unknown,
        }
    }
}

impl Key {
    fn is_for(&self, algorithm: Algorithm) -> bool {
        let family = match algorithm {
            Algorithm::Rs256 | Algorithm::Ps256 => Family::Rsa,
            Algorithm::Es256 => Family::P256,
            Algorithm::EdDsa => Family::Ed25519,
        };
        let told = self.algorithm.as_deref();
        self.family == family && told.is_none_or(|told| is_named(algorithm, told))
    }
}

/// Whether a key's `alg` is this algorithm. Ed25519 has a name of its own since RFC 9864.
fn is_named(algorithm: Algorithm, told: &str) -> bool {
    told == algorithm.as_str() || (algorithm == Algorithm::EdDsa && told == "Ed25519")
}

/// A key of the set, if it is one to check signatures with.
fn key(jwk: &Value) -> Option<Key> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let absent_or = |name: &str, wanted: &str| jwk.get(name).is_none_or(|value| value == wanted);
    let operations = jwk.get("key_ops");
    let verifies = operations.is_none_or(|ops| {
        ops.as_array().is_some_and(|ops| ops.iter().any(|operation| operation == "verify"))
    });
    // A private key that is published is nobody's alone any more.
    if !absent_or("use", "sig") || !verifies || jwk.get("d").is_some() {
        return None;
    }
    let (family, decoding) = match (text("kty")?, text("crv")) {
        ("RSA", _) => (Family::Rsa, DecodingKey::from_rsa_components(text("n")?, text("e")?)),
        ("EC", Some("P-256")) => {
            let (x, y) = (coordinate(text("x")?)?, coordinate(text("y")?)?);
            (Family::P256, DecodingKey::from_ec_components(x, y))
        }
        ("OKP", Some("Ed25519")) => {
            (Family::Ed25519, DecodingKey::from_ed_components(coordinate(text("x")?)?))
        }
        _ => return None,
    };
    Some(Key {
        id: text("kid").map(str::to_owned),
        family,
        algorithm: text("alg").map(str::to_owned),
        decoding: decoding.ok()?,
    })
}

fn coordinate(text: &str) -> Option<&str> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    (bytes.len() == COORDINATE_BYTES).then_some(text)
}

/// Whether `signature` over `message` is this key's.
pub(super) fn verifies(
    key: &DecodingKey,
    algorithm: Algorithm,
    message: &str,
    signature: &str,
) -> bool {
    let algorithm = match algorithm {
        Algorithm::Rs256 => jwt::Algorithm::RS256,
        Algorithm::Ps256 => jwt::Algorithm::PS256,
        Algorithm::Es256 => jwt::Algorithm::ES256,
        Algorithm::EdDsa => jwt::Algorithm::EdDSA,
    };
    jwt::crypto::verify(signature, message.as_bytes(), key, algorithm).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn found(keys: &Value, id: Option<&str>, algorithm: Algorithm) -> &'static str {
        let set = KeySet::read(json!({"keys": keys}).to_string().as_bytes());
        set.map_or("nothing", |set| match set.find(id, algorithm) {
            Found::Key(_) => "key",
            Found::Unfit => "unfit",
            Found::Unknown => "unknown",
        })
    }

    #[test]
    fn a_key_is_found_by_its_name_and_what_it_is_for() {
        use Algorithm::{EdDsa, Es256, Ps256, Rs256};
        let keys = json!([
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": X, "use": "sig"},
            {"kty": "RSA", "kid": "ps", "n": X, "e": "AQAB", "alg": "PS256"},
            {"kty": "RSA", "kid": "any", "n": X, "e": "AQAB", "key_ops": ["verify"]},
            {"kty": "oct", "kid": "hmac", "k": X},
            {"kty": "RSA", "kid": "enc", "n": X, "e": "AQAB", "use": "enc"},
            {"kty": "RSA", "kid": "sign", "n": X, "e": "AQAB", "key_ops": ["sign"]},
            {"kty": "EC", "crv": "P-256", "kid": "short", "x": "AA", "y": X},
            {"kty": "EC", "crv": "P-384", "kid": "p384", "x": X, "y": X},
            {"kty": "OKP", "crv": "Ed25519", "kid": "private", "x": X, "d": X},
            {"kty": "new", "kid": "new"},
            7,
        ]);
        for (id, algorithm, what) in [
            ("ed", EdDsa, "key"),
            ("ed", Es256, "unfit"),
            ("ps", Ps256, "key"),
            ("ps", Rs256, "unfit"),
            ("any", Rs256, "key"),
            ("any", Ps256, "key"),
            ("hmac", Rs256, "unknown"),
            ("enc", Rs256, "unknown"),
            ("sign", Rs256, "unknown"),
            ("short", Es256, "unknown"),
            ("p384", Es256, "unknown"),
            ("private", EdDsa, "unknown"),
        ] {
            assert_eq!(found(&keys, Some(id), algorithm), what, "{id} {algorithm}");
        }
        // Without a name the only key for the algorithm is meant; of two, none is.
        assert_eq!(found(&keys, None, EdDsa), "key");
        assert_eq!(found(&keys, None, Ps256), "unfit");
    }

    /// RFC 8037, appendix A.4, and RFC 7515, appendix A.3.
    #[test]
    fn published_examples_verify_and_their_neighbours_do_not() {
        let ed = json!({"kty": "OKP", "crv": "Ed25519", "x": X});
        let ec = json!({
            "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        });
        let of_ed = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvp\
            Ar_MuM0KAg";
        let of_ec = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqP\
            P3-Kg6NU1Q";
        let ed_text = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let ec_text = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0\
            dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        for (jwk, algorithm, message, signature) in
            [(ed, Algorithm::EdDsa, ed_text, of_ed), (ec, Algorithm::Es256, ec_text, of_ec)]
        {
            let key = key(&jwk).unwrap().decoding;
            assert!(verifies(&key, algorithm, message, signature), "{algorithm}");
            assert!(!verifies(&key, algorithm, &message[1..], signature), "{algorithm}");
            assert!(!verifies(&key, algorithm, message, &signature[4..]), "{algorithm}");
            assert!(!verifies(&key, algorithm, message, ""), "{algorithm}");
            for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
                assert!(!verifies(&key, other, message, signature), "{algorithm} as {other}");
            }
        }
    }

    #[test]
    fn a_set_may_be_empty_and_must_be_one() {
        for empty in [json!([]), json!([{"kty": "oct", "k": X}])] {
            assert_eq!(found(&empty, None, Algorithm::EdDsa), "unknown", "{empty}");
        }
        for bad in [json!({}), json!(null)] {
            assert_eq!(found(&bad, None, Algorithm::EdDsa), "nothing", "{bad}");
        }
        let twice = br#"{"keys": [], "keys": [{"kty": "OKP"}]}"#;
        assert!(KeySet::read(twice).is_err());
        assert!(KeySet::read(&vec![b' '; BYTES_MAX + 1]).is_err());
    }
}
