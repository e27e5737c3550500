//! A real issuer on loopback: metadata, keys made here, and tokens that are whatever a test wants.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use bailiwick_api::token::{self, Algorithm};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// What an issuer signs with.
pub(crate) enum Key {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(&'static RsaKeyPair),
}

/// An RSA key takes a second to make: one is enough for all tests.
static RSA: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

impl Key {
    pub(crate) fn ec() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(crate) fn ed() -> Self {
        Self::Ed(Ed25519KeyPair::generate().unwrap())
    }

    pub(crate) fn rsa() -> Self {
        Self::Rsa(&RSA)
    }

    /// The public half, as it is published.
    pub(crate) fn jwk(&self, id: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "kid": id, "x": text(x), "y": text(y)})
            }
            Self::Ed(pair) => {
                let x = text(pair.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": x, "use": "sig"})
            }
            Self::Rsa(pair) => {
                let key = pair.public_key();
                let n = text(key.modulus().big_endian_without_leading_zero());
                let e = text(key.exponent().big_endian_without_leading_zero());
                json!({"kty": "RSA", "kid": id, "n": n, "e": e})
            }
        }
    }

    pub(crate) fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Rsa(pair) => {
                let padding =
                    if algorithm == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Self::Ec(_) => "ES256",
            Self::Ed(_) => "EdDSA",
            Self::Rsa(_) => "RS256",
        }
    }
}

/// What an issuer publishes.
pub(crate) struct Published {
    url: String,
    /// Its keys; none while it answers everything with an error.
    pub(crate) keys: Mutex<Option<Vec<Value>>>,
    /// How often its keys were asked for.
    fetched: AtomicUsize,
}

/// An issuer that runs.
pub(crate) struct Issuer {
    pub(crate) url: String,
    pub(crate) key: Key,
    pub(crate) published: Arc<Published>,
    serving: tokio::task::JoinHandle<()>,
}

impl Issuer {
    /// An issuer with one key, which is called `k1`.
    pub(crate) async fn open(key: Key) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let published = Arc::new(Published {
            url: url.clone(),
            keys: Mutex::new(Some(vec![key.jwk("k1")])),
            fetched: AtomicUsize::new(0),
        });
        let router = Router::new().fallback(publish).with_state(Arc::clone(&published));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, key, published, serving }
    }

    /// How it is trusted by a server that it calls [`AUDIENCE`].
    pub(crate) fn trusted(&self) -> token::Issuer {
        token::Issuer {
            issuer: self.url.clone(),
            audience: None,
            jwks_uri: None,
            algorithms: Algorithm::ALL.to_vec(),
            plain_type: false,
            skew: Duration::from_secs(5),
            subject_claim: token::SUBJECT.to_owned(),
            roles_claim: token::SCOPE.to_owned(),
            roles: token::roles(),
            admin: false,
        }
    }

    /// A token with these members in place of the usual ones, or without them where they are null.
    pub(crate) fn token(&self, others: Value) -> String {
        self.signed(&self.header(), &merged(self.claims(), others).to_string())
    }

    /// A token of the agent `a1` that acts for alice.
    pub(crate) fn agent(&self) -> String {
        self.token(json!({"act": {"sub": "a1"}}))
    }

    pub(crate) fn header(&self) -> Value {
        json!({"alg": self.key.algorithm(), "typ": "at+jwt", "kid": "k1"})
    }

    /// Alice's claims, without a scope.
    pub(crate) fn claims(&self) -> Value {
        let now = now();
        json!({
            "iss": self.url, "aud": AUDIENCE, "sub": "alice", "client_id": "portal", "jti": "t1",
            "iat": now, "exp": now + 300,
        })
    }

    /// A token of exactly these parts, signed.
    pub(crate) fn signed(&self, header: &Value, claims: &str) -> String {
        let message = unsigned(header, claims);
        let algorithm = header["alg"].as_str().unwrap_or_default();
        let signature = self.key.sign(algorithm, message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// How often its keys were asked for.
    pub(crate) fn fetched(&self) -> usize {
        self.published.fetched.load(Ordering::SeqCst)
    }

    pub(crate) fn publish(&self, keys: Option<Vec<Value>>) {
        *self.published.keys.lock().unwrap() = keys;
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// What the server under test is called from outside.
pub(crate) const AUDIENCE: &str = "https://bailiwick.example.com/desk";

pub(crate) fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// Header and claims as they are signed.
pub(crate) fn unsigned(header: &Value, claims: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims))
}

/// `members` with `others` in their place, or without them where they are null.
pub(crate) fn merged(mut members: Value, others: Value) -> Value {
    let (Some(all), Value::Object(others)) = (members.as_object_mut(), others) else { panic!() };
    for (name, value) in others {
        if value.is_null() {
            all.remove(&name);
        } else {
            all.insert(name, value);
        }
    }
    members
}

async fn publish(State(published): State<Arc<Published>>, uri: Uri) -> Response {
    let Some(keys) = published.keys.lock().unwrap().clone() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    match uri.path() {
        "/.well-known/openid-configuration" => {
            let url = &published.url;
            Json(json!({"issuer": url, "jwks_uri": format!("{url}/keys")})).into_response()
        }
        "/keys" => {
            published.fetched.fetch_add(1, Ordering::SeqCst);
            Json(json!({"keys": keys})).into_response()
        }
        "/elsewhere" => axum::response::Redirect::temporary("/keys").into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
