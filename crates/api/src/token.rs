//! Access tokens of OAuth issuers beside API keys: JWTs (RFC 9068), checked as RFC 8725 asks for,
//! with the issuer's own keys.
//!
//! An issuer is trusted because it is configured, and for what it is configured: [`Issuer`] says for
//! which audience, under which algorithms, and what its scopes are worth here. A token is believed
//! when it is signed with a key of exactly the issuer that it names, is for this server, and is
//! within its time. Then `sub`, or the claim that is configured, is in whose name it comes, the
//! outermost `act` which agent acts.
//!
//! Whether that agent is registered, alive and under that owner is not decided here but by the
//! ledger, at each call, where it is recorded. Nothing here is recorded, and no token enters a log
//! line or an error.

use std::sync::Arc;

use bailiwick_core::id::{AgentId, OwnerId};
use bailiwick_core::time::Time;
use serde_json::Value;

use crate::Error;

mod claims;
mod compact;
mod fetch;
mod identity;
mod key_set;
mod keys;
pub(crate) mod resource;
mod settings;

pub use settings::{Algorithm, AlgorithmError, Issuer, SCOPE, SKEW_MAX, SUBJECT, roles};

pub(crate) use compact::TOKEN_BYTES_MAX;
pub(crate) use identity::Identity;

use keys::Keys;
use settings::Trusted;

/// The most issuers of one server.
const ISSUERS_MAX: usize = 16;

/// Why a token is not taken, in words that say nothing of what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is not valid.
    Invalid(&'static str),
    /// It is valid and worth nothing here.
    NotPermitted(&'static str),
    /// It cannot be checked now.
    Unavailable(&'static str),
}

/// The issuers that are trusted.
#[derive(Debug)]
pub(crate) struct Issuers {
    issuers: Vec<(Arc<Trusted>, Arc<Keys>)>,
}

impl Issuers {
    /// Checks what was configured; `public_url` is what this server is called from outside. Nothing
    /// is fetched yet.
    pub(crate) fn new(given: &[Issuer], public_url: &str) -> Result<Self, Error> {
        let refused = |issuer: &str, why: String| Error::Issuer { issuer: issuer.to_owned(), why };
        if given.len() > ISSUERS_MAX {
            let why = format!("it is one of {}, at most {ISSUERS_MAX} are allowed", given.len());
            return Err(refused(&given[ISSUERS_MAX].issuer, why));
        }
        let mut issuers: Vec<(Arc<Trusted>, Arc<Keys>)> = Vec::new();
        for issuer in given {
            let trusted = Trusted::new(issuer, public_url)?;
            if issuers.iter().any(|(known, _)| known.issuer == trusted.issuer) {
                return Err(refused(&issuer.issuer, "it is configured twice".to_owned()));
            }
            let keys = Keys::new(&trusted)?;
            issuers.push((Arc::new(trusted), Arc::new(keys)));
        }
        Ok(Self { issuers })
    }

    /// Their identifiers.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.issuers.iter().map(|(trusted, _)| trusted.issuer.as_str())
    }

    /// The values that give a role, of all issuers that read them from [`SCOPE`].
    pub(crate) fn scopes(&self) -> Vec<&str> {
        let of_scope = self.issuers.iter().filter(|(trusted, _)| trusted.roles_claim == SCOPE);
        let scopes = of_scope.flat_map(|(trusted, _)| trusted.roles.keys().map(String::as_str));
        let mut scopes: Vec<_> = scopes.collect();
        scopes.sort_unstable();
        scopes.dedup();
        scopes
    }

    /// Whom `text` stands for at `now`. `owner_of` knows the registered agents.
    pub(crate) async fn identify(
        &self,
        text: &str,
        now: Time,
        owner_of: impl Fn(&AgentId) -> Option<OwnerId>,
    ) -> Result<Identity, Refused> {
        let token = compact::read(text)?;
        let named = token.claims.get("iss").and_then(Value::as_str);
        let known = self.issuers.iter().find(|(known, _)| Some(known.issuer.as_str()) == named);
        let Some((trusted, keys)) = known else {
            return Err(Refused::Invalid("the token's issuer is not known"));
        };
        if !trusted.algorithms.contains(&token.algorithm) {
            return Err(Refused::Invalid("the token's algorithm is not allowed"));
        }
        if token.is_plain && !trusted.plain_type {
            return Err(Refused::Invalid("the token is not an access token"));
        }
        let key = keys.find(trusted, token.key_id.as_deref(), token.algorithm).await?;
        if !key_set::verifies(&key, token.algorithm, token.message, token.signature) {
            return Err(Refused::Invalid("the token's signature is not its issuer's"));
        }
        identity::of(claims::check(&token.claims, trusted, now)?, trusted, owner_of)
    }
}

#[cfg(test)]
mod tests;
