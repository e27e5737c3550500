//! `[[issuers]]` of the configuration file: whose access tokens are taken beside API keys.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use bailiwick_api::token::{self, Algorithm, Issuer};
use bailiwick_core::event::Role;
use bailiwick_core::time::Span;
use serde::Deserialize;

use super::parsed;

const SKEW: Duration = Duration::from_secs(30);

/// One issuer, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    issuer: String,
    audience: Option<String>,
    jwks_uri: Option<String>,
    algorithms: Option<Vec<String>>,
    #[serde(default)]
    plain_jwt: bool,
    skew: Option<String>,
    subject_claim: Option<String>,
    roles_claim: Option<String>,
    roles: Option<BTreeMap<String, Role>>,
    #[serde(default)]
    admin: bool,
}

impl Written {
    /// The issuer with what was left out. What makes no sense together is refused by the server.
    pub(super) fn issuer(&self) -> Result<Issuer> {
        let algorithms = match &self.algorithms {
            Some(names) => {
                let parsed = |name: &String| parsed("the algorithm", name);
                names.iter().map(parsed).collect::<Result<_>>()?
            }
            None => Algorithm::ALL.to_vec(),
        };
        let skew = match &self.skew {
            Some(text) => Duration::from_millis(parsed::<Span>("the skew", text)?.0),
            None => SKEW,
        };
        Ok(Issuer {
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            jwks_uri: self.jwks_uri.clone(),
            algorithms,
            plain_type: self.plain_jwt,
            skew,
            subject_claim: self.subject_claim.clone().unwrap_or_else(|| token::SUBJECT.to_owned()),
            roles_claim: self.roles_claim.clone().unwrap_or_else(|| token::SCOPE.to_owned()),
            roles: self.roles.clone().unwrap_or_else(token::roles),
            admin: self.admin,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<Issuer> {
        toml::from_str::<Written>(toml)?.issuer()
    }

    #[test]
    fn what_is_left_out_is_what_is_usual() {
        let issuer = read("issuer = \"https://id.example.com\"").unwrap();
        assert_eq!(issuer.algorithms, Algorithm::ALL);
        assert_eq!((issuer.skew, issuer.roles_claim.as_str()), (SKEW, "scope"));
        assert_eq!(issuer.subject_claim, "sub");
        assert_eq!(issuer.roles.get("bailiwick:approver"), Some(&Role::Approver));
        assert!(!issuer.plain_type && !issuer.admin);
        assert!(!issuer.roles.values().any(|role| matches!(role, Role::Admin | Role::Agent)));
    }

    #[test]
    fn everything_can_be_said() {
        let issuer = read(
            "issuer = \"https://id.example.com\"\naudience = \"b\"\nalgorithms = [\"ES256\"]\n\
             jwks_uri = \"https://id.example.com/keys\"\nplain_jwt = true\nskew = \"10s\"\n\
             subject_claim = \"email\"\nroles_claim = \"groups\"\nroles = { ops = \"operator\" }\nadmin = true",
        )
        .unwrap();
        assert_eq!(issuer.audience.as_deref(), Some("b"));
        assert_eq!(
            (issuer.subject_claim.as_str(), issuer.roles_claim.as_str()),
            ("email", "groups")
        );
        assert_eq!((issuer.algorithms, issuer.skew.as_secs()), (vec![Algorithm::Es256], 10));
        assert_eq!(issuer.roles, BTreeMap::from([("ops".to_owned(), Role::Operator)]));
        assert!(issuer.plain_type && issuer.admin);
    }

    #[test]
    fn what_the_help_shows_is_read() {
        #[derive(Deserialize)]
        struct File {
            issuers: Vec<Written>,
        }
        let shown = crate::args::ISSUERS;
        let file: File = toml::from_str(&shown[shown.find("[[").unwrap()..]).unwrap();
        let issuer = file.issuers[0].issuer().unwrap();
        assert_eq!(issuer.roles.get("bailiwick:auditor"), Some(&Role::Auditor));
    }

    #[test]
    fn an_algorithm_with_a_shared_secret_or_none_is_refused() {
        for name in ["HS256", "HS512", "none"] {
            let toml = format!("issuer = \"https://a\"\nalgorithms = [\"ES256\", \"{name}\"]");
            let error = read(&toml).unwrap_err();
            assert_eq!(crate::exit::exit_code(&error), 2, "{error}");
            assert!(error.to_string().contains(name), "{error}");
        }
        for bad in ["", "issuer = \"https://a\"\nroles = { x = \"king\" }", "issuer = 1\nx = 1"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
