//! What a client is told when something is wrong: an SQLSTATE that drivers know, and our own stable
//! code in the detail. Questions have the codes that they have over HTTP (`sql_…`, `audit_…`,
//! `archive_…`); these are the wire's own:
//!
//! | code | SQLSTATE | meaning |
//! | --- | --- | --- |
//! | `credential_invalid` | 28P01, 28000 | no such credential, or not its key, or it works no more |
//! | `pg_credential_without_verifier` | 28000 | made before keys could be used here: rotate it |
//! | `not_permitted` | 42501 | its role does not read |
//! | `pg_tls_required` | 28000 | there is a certificate, and the client did not use it |
//! | `pg_protocol` | 08P01, 0A000 | a message that is none, or comes out of turn |
//! | `pg_setting_refused` | 42501, 42704, 22023 | a setting that is not offered, or not with this value |
//! | `pg_cancelled` | 57014 | cancelled by its client |
//! | `pg_transaction_failed` | 25P02 | the transaction has failed and waits for its end |
//! | `pg_statement_unknown`, `pg_statement_exists` | 26000, 42P05 | a prepared statement's name |
//! | `pg_portal_unknown`, `pg_portal_exists` | 34000, 42P03 | a portal's name |
//! | `pg_too_many_statements`, `pg_too_many_portals` | 53400 | what one session may hold |
//! | `pg_too_many_sessions` | 53300 | what the server may hold |
//! | `pg_idle`, `pg_stopping` | 57P05, 57P01 | why a session ends |
//! | `pg_abandoned` | | told to nobody but whoever serves: the client went |

use pgwire::messages::PgWireBackendMessage as Backend;
use pgwire::messages::response::ErrorResponse;

use crate::error::{Code, Error};

/// A refusal or failure, as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Five characters of the standard's list and `PostgreSQL`'s.
    pub(super) state: &'static str,
    /// Our own code.
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(state: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        Self { state, code, message: message.into() }
    }

    /// A message that does not fit what came before.
    pub(super) fn protocol(message: impl Into<String>) -> Self {
        Self::new("08P01", "pg_protocol", message)
    }

    pub(super) fn cancelled() -> Self {
        Self::new("57014", "pg_cancelled", "the question was cancelled by its client")
    }

    pub(super) fn parameter(message: impl Into<String>) -> Self {
        Self::new("22P02", "sql_parameter", message)
    }

    pub(super) fn error(&self) -> Backend {
        self.told("ERROR")
    }

    /// The last word before a connection ends.
    pub(super) fn fatal(&self) -> Backend {
        self.told("FATAL")
    }

    fn told(&self, severity: &str) -> Backend {
        let field = |kind: u8, text: &str| (kind, text.replace('\0', ""));
        Backend::ErrorResponse(ErrorResponse::new(vec![
            field(b'S', severity),
            field(b'V', severity),
            field(b'C', self.state),
            field(b'M', &self.message),
            field(b'D', &format!("code: {}", self.code)),
        ]))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let state = match &error {
            Error::Refused { code, message } => state(*code, message),
            Error::Behind { .. } => "57P03",
            // Data corrupted.
            Error::Archive { .. } => "XX001",
            Error::Gap { .. } | Error::Broken | Error::Threads { .. } | Error::Wire { .. } => {
                "XX000"
            }
        };
        Self::new(state, error.code(), error.to_string())
    }
}

const fn state_of(code: Code) -> &'static str {
    match code {
        Code::TooLong | Code::TooManyRows | Code::TooLarge | Code::LimitTooLarge => "54000",
        Code::TooDeep => "54001",
        Code::Syntax | Code::ManyStatements => "42601",
        Code::NotARead | Code::ClauseRefused | Code::FunctionRefused => "42501",
        Code::TableUnknown => "42P01",
        Code::Parameter | Code::ParameterType => "22P02",
        Code::ParameterUnknown => "42P02",
        Code::Invalid => "42000",
        Code::Busy => "53300",
        Code::Timeout => "57014",
        Code::Memory => "53200",
        Code::Disk => "53100",
        Code::Failed => "22000",
    }
}

fn state(code: Code, message: &str) -> &'static str {
    if code == Code::Invalid && message.contains("No field named") {
        return "42703";
    }
    if code == Code::Failed && message.contains("Divide by zero") {
        return "22012";
    }
    state_of(code)
}
