//! The door of the `PostgreSQL` wire: the same credentials and the same roles as over HTTP.

use bailiwick_audit::pg::{Asked, Doorkeeper, Refused, Verifier};
use bailiwick_core::event::{Actor, QueryDoor, QueryOutcome, QueryRun};
use bailiwick_core::id::{CredentialId, Text};
use bailiwick_core::record::Digest;
use bailiwick_ledger::Ledger;

use super::READERS;
use super::used::Used;
use crate::asked::Questions;
use crate::problem::NOT_PERMITTED;
use crate::refused::Refusals;

/// Lets in who may read over HTTP, by the verifier of their key.
#[derive(Debug, Clone)]
pub struct Readers {
    ledger: Ledger,
    refused: Refusals,
    used: Used,
    questions: Questions,
}

impl Readers {
    pub(crate) const fn new(
        ledger: Ledger,
        refused: Refusals,
        used: Used,
        questions: Questions,
    ) -> Self {
        Self { ledger, refused, used, questions }
    }
}

impl Doorkeeper for Readers {
    fn verifier(&self, user: &str) -> Result<Verifier, Refused> {
        let id = CredentialId::new(user).map_err(|_| Refused::Unknown)?;
        let now = self.ledger.now();
        let known = self.ledger.read(|state| {
            let credential = state.credentials().get(&id).filter(|known| known.is_live(now))?;
            Some(credential.scram.clone())
        });
        let sealed = known.ok_or(Refused::Unknown)?.ok_or(Refused::NoVerifier)?;
        // Sealed elsewhere, under another secret, it opens nothing here.
        let keys = self.ledger.open_verifier(&id, &sealed).ok_or(Refused::NoVerifier)?;
        Ok(Verifier {
            salt: sealed.salt.to_vec(),
            iterations: sealed.iterations,
            stored_key: keys.stored_key,
            server_key: keys.server_key,
        })
    }

    fn may_read(&self, user: &str) -> Result<(), Refused> {
        let now = self.ledger.now();
        let view = self.ledger.view();
        let known = view.credential_named(user);
        let live = known.filter(|known| known.expires_at.is_none_or(|end| now < end));
        let credential = live.ok_or(Refused::Unknown)?;
        if READERS.contains(&credential.role) {
            self.used.note(&credential.id, now);
            return Ok(());
        }
        Err(Refused::NotPermitted { role: credential.role.to_string() })
    }

    fn head(&self) -> Option<u64> {
        self.ledger.committed().borrow().next_index.checked_sub(1)
    }

    fn turned_away(&self, user: &str, code: &'static str) {
        let view = self.ledger.view();
        // Only of whoever proved its key is it said who it is.
        let proven = (code == NOT_PERMITTED.code).then(|| view.credential_named(user)).flatten();
        let actor = proven.map(|c| Actor::Credential { id: c.id.clone(), role: c.role });
        self.refused.add((actor, code, "the PostgreSQL wire".to_owned()), 1);
    }

    fn asked(&self, user: &str, asked: &Asked) {
        // The state keeps revoked ones too: whose key was taken back meanwhile asked all the same.
        let by = CredentialId::new(user).ok().and_then(|id| {
            let role = self.ledger.read(|state| Some(state.credentials().get(&id)?.role))?;
            Some(Actor::Credential { id, role })
        });
        let outcome = match asked.failed {
            None => QueryOutcome::Answered,
            Some("pg_abandoned" | "pg_cancelled") => QueryOutcome::Abandoned,
            Some(_) => QueryOutcome::Refused,
        };
        let query = QueryRun {
            door: QueryDoor::Postgres,
            name: None,
            text: Digest(asked.sql_digest),
            parameters: None,
            as_of: asked.as_of_seq,
            rows: asked.rows,
            bytes: asked.bytes,
            milliseconds: u32::try_from(asked.milliseconds).unwrap_or(u32::MAX),
            outcome,
            code: asked.failed.and_then(|code| Text::new(code).ok()),
            unrecorded: 0,
        };
        self.questions.record_query(by.unwrap_or(Actor::System), None, query);
    }
}
