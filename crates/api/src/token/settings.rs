//! Which issuers are trusted, and with what. What makes no sense is refused before anything is
//! served.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use bailiwick_core::event::Role;
use bailiwick_core::id::Text;
use bailiwick_core::time::Span;
use reqwest::Url;

use crate::Error;

/// The most that an issuer's clock may differ from ours.
pub const SKEW_MAX: Duration = Duration::from_secs(60);
/// The claim that holds scopes (RFC 9068, section 2.2.3), split at spaces.
pub const SCOPE: &str = "scope";
/// The claim that says in whose name a token comes (RFC 7519, section 4.1.2).
pub const SUBJECT: &str = "sub";

/// An authorization server whose access tokens are taken. Every value is the caller's choice.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// Its identifier, compared byte by byte with `iss`: an HTTPS URL, or an HTTP URL on loopback.
    pub issuer: String,
    /// What its tokens call this server in `aud`; the public URL if none.
    pub audience: Option<String>,
    /// Where its keys are; found through its metadata if none.
    pub jwks_uri: Option<String>,
    /// What its tokens may be signed with.
    pub algorithms: Vec<Algorithm>,
    /// Whether tokens of type `JWT` are taken beside `at+jwt`: for issuers that do not follow
    /// RFC 9068, whose ID tokens then are told from access tokens by their audience alone.
    pub plain_type: bool,
    /// How much its clock may differ from ours, at most [`SKEW_MAX`].
    pub skew: Duration,
    /// The claim that holds the human's name as it stands in the registry: [`SUBJECT`], or one that
    /// nobody can write for themselves at the issuer, such as a verified `email`.
    pub subject_claim: String,
    /// The claim that says what a person or service may do: [`SCOPE`], or one that holds a text or
    /// a list of texts, such as `roles`.
    pub roles_claim: String,
    /// Values of that claim and the roles that they give; see [`roles`] for the usual ones.
    pub roles: BTreeMap<String, Role>,
    /// Whether `roles` may give [`Role::Admin`].
    pub admin: bool,
}

/// The usual values and roles: `bailiwick:` and the role's name. Nothing of it gives
/// [`Role::Admin`], and [`Role::Agent`] is not given by name: `act` says who an agent is.
#[must_use]
pub fn roles() -> BTreeMap<String, Role> {
    [Role::Operator, Role::Enforcer, Role::Approver, Role::Auditor, Role::Subscriber]
        .map(|role| (format!("bailiwick:{role}"), role))
        .into()
}

/// What a token may be signed with. There is neither `none` nor HMAC, whose secret would be a
/// public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// RSA PKCS#1 v1.5 with SHA-256, 2,048 bits or more.
    Rs256,
    /// RSA-PSS with SHA-256, 2,048 bits or more.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

/// A text that names no algorithm that is taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is none of `RS256`, `PS256`, `ES256`, `EdDSA`")]
pub struct AlgorithmError {
    given: String,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Rs256, Self::Ps256, Self::Es256, Self::EdDsa];

    /// Its name in a token's header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = AlgorithmError;

    fn from_str(text: &str) -> Result<Self, AlgorithmError> {
        let known = Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text);
        known.ok_or_else(|| AlgorithmError { given: text.chars().take(80).collect() })
    }
}

/// An issuer's settings, checked.
#[derive(Debug)]
pub(super) struct Trusted {
    pub(super) issuer: Text,
    pub(super) url: Url,
    pub(super) jwks_uri: Option<Url>,
    pub(super) audience: String,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) plain_type: bool,
    pub(super) skew: Span,
    pub(super) subject_claim: String,
    pub(super) roles_claim: String,
    pub(super) roles: BTreeMap<String, Role>,
}

impl Trusted {
    /// Checks what was configured; `public_url` is what this server is called unless told otherwise.
    pub(super) fn new(given: &Issuer, public_url: &str) -> Result<Self, Error> {
        let refused = |why: String| Error::Issuer { issuer: given.issuer.clone(), why };
        let issuer = Text::new(&given.issuer).map_err(|e| refused(e.to_string()))?;
        let url = place(&given.issuer).map_err(refused)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refused("an issuer has neither query nor fragment".to_owned()));
        }
        let jwks_uri = given.jwks_uri.as_deref().map(place).transpose();
        let jwks_uri = jwks_uri.map_err(|why| refused(format!("the place of its keys: {why}")))?;
        let audience = given.audience.as_deref().unwrap_or(public_url);
        if audience.is_empty() {
            return Err(refused("the audience is empty".to_owned()));
        }
        if given.algorithms.is_empty() {
            return Err(refused("no algorithm is allowed".to_owned()));
        }
        if given.skew > SKEW_MAX {
            let (skew, most) = (given.skew.as_secs(), SKEW_MAX.as_secs());
            return Err(refused(format!("a skew of {skew} s: at most {most} s are allowed")));
        }
        given_roles(given).map_err(refused)?;
        Ok(Self {
            issuer,
            url,
            jwks_uri,
            audience: audience.to_owned(),
            algorithms: given.algorithms.clone(),
            plain_type: given.plain_type,
            skew: Span(u64::try_from(given.skew.as_millis()).unwrap_or(u64::MAX)),
            subject_claim: given.subject_claim.clone(),
            roles_claim: given.roles_claim.clone(),
            roles: given.roles.clone(),
        })
    }
}

fn given_roles(given: &Issuer) -> Result<(), String> {
    for (value, role) in &given.roles {
        match role {
            Role::Admin if !given.admin => {
                return Err(format!("`{value}` gives role `admin`, which is not allowed to it"));
            }
            Role::Agent => {
                return Err(format!("`{value}` gives role `agent`, which only `act` does"));
            }
            Role::Admin
            | Role::Operator
            | Role::Approver
            | Role::Enforcer
            | Role::Auditor
            | Role::Subscriber => {}
        }
    }
    if given.roles_claim.is_empty() || given.subject_claim.is_empty() {
        return Err("the claim that gives roles, or the human, has no name".to_owned());
    }
    Ok(())
}

/// A URL that keys may be fetched from: others could put their own in place of what travels in the
/// clear.
pub(super) fn place(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| e.to_string())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a user name or a password stands in it".to_owned());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err("it is not HTTPS, and not on loopback either".to_owned()),
    }
}

/// Whether a URL stays on this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer() -> Issuer {
        Issuer {
            issuer: "https://id.example.com/tenant".to_owned(),
            audience: None,
            jwks_uri: None,
            algorithms: vec![Algorithm::Es256],
            plain_type: false,
            skew: Duration::from_secs(30),
            subject_claim: SUBJECT.to_owned(),
            roles_claim: SCOPE.to_owned(),
            roles: roles(),
            admin: false,
        }
    }

    fn why(change: impl FnOnce(&mut Issuer)) -> Option<String> {
        let mut given = issuer();
        change(&mut given);
        Trusted::new(&given, "https://b.example.com").err().map(|error| error.to_string())
    }

    #[test]
    fn the_audience_is_the_public_url_unless_told() {
        let trusted = Trusted::new(&issuer(), "https://b.example.com").unwrap();
        assert_eq!(trusted.audience, "https://b.example.com");
    }

    #[test]
    fn keys_come_over_https_or_loopback() {
        for good in
            ["https://a.example", "http://127.0.0.1:1", "http://[::1]:1", "http://localhost"]
        {
            assert_eq!(why(|i| i.issuer = good.to_owned()), None, "{good}");
        }
        for bad in [
            "",
            "id.example.com",
            "http://id.example.com",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
            "ftp://127.0.0.1",
            "https://user@id.example.com",
            "https://id.example.com?a",
            "https://id.example.com#a",
        ] {
            assert!(why(|i| i.issuer = bad.to_owned()).is_some(), "{bad}");
        }
        assert!(why(|i| i.jwks_uri = Some("http://id.example.com/k".to_owned())).is_some());
    }

    #[test]
    fn what_would_give_too_much_is_refused() {
        let gives = |role| move |i: &mut Issuer| i.roles.extend([("x".to_owned(), role)]);
        assert!(why(gives(Role::Admin)).unwrap().contains("admin"));
        assert!(why(gives(Role::Agent)).unwrap().contains("act"));
        let allowed = |i: &mut Issuer| {
            i.admin = true;
            gives(Role::Admin)(i);
        };
        assert_eq!(why(allowed), None);
        assert!(why(|i| i.skew = Duration::from_secs(61)).is_some());
        assert!(why(|i| i.algorithms.clear()).is_some());
        assert!(why(|i| i.roles_claim.clear()).is_some());
        assert!(why(|i| i.subject_claim.clear()).is_some());
        assert!(why(|i| i.audience = Some(String::new())).is_some());
    }

    #[test]
    fn there_is_neither_none_nor_hmac() {
        for bad in ["none", "None", "HS256", "HS384", "HS512", "RS1", "ES256K", "es256", ""] {
            assert!(bad.parse::<Algorithm>().is_err(), "{bad}");
        }
        for good in Algorithm::ALL {
            assert_eq!(good.as_str().parse(), Ok(good));
        }
    }
}
