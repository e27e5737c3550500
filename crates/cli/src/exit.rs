//! What a failure costs: 1 error, 2 usage, 3 denied, 4 verification failed; and how it is told.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use bailiwick_client::Error as ClientError;
use bailiwick_ledger::Error as LedgerError;
use serde_json::json;

use crate::show;

const ERROR: u8 = 1;
const USAGE: u8 = 2;
const DENIED: u8 = 3;
const UNVERIFIED: u8 = 4;

/// A failure that the command itself found, with the exit code that it costs.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Failure {
    code: u8,
    what: String,
    /// What to do next, where the message does not say so itself.
    advice: Option<&'static str>,
}

/// The command line, or what it points to, does not make sense.
pub(crate) fn usage(what: impl Into<String>) -> anyhow::Error {
    Failure { code: USAGE, what: what.into(), advice: None }.into()
}

/// The ledger said no.
pub(crate) fn denied(what: impl Into<String>) -> anyhow::Error {
    Failure { code: DENIED, what: what.into(), advice: None }.into()
}

/// It did not come to its end, and this is what to do about it.
pub(crate) fn unfinished(what: impl Into<String>, advice: &'static str) -> anyhow::Error {
    Failure { code: ERROR, what: what.into(), advice: Some(advice) }.into()
}

/// A record is not what it should be.
pub(crate) fn unverified(what: impl Into<String>) -> anyhow::Error {
    Failure { code: UNVERIFIED, what: what.into(), advice: None }.into()
}

/// Tells what went wrong, on standard error, and gives the exit code.
pub(crate) fn report(error: &anyhow::Error, json: bool) -> ExitCode {
    if is_broken_pipe(error) {
        // Whoever read our output has seen enough.
        return ExitCode::SUCCESS;
    }
    let code = exit_code(error);
    let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
    let advice = advice(error);
    if json {
        let told = json!({"error": {
            "exit_code": code, "code": stable_code(error), "message": chain.join(": "), "advice": advice,
        }});
        show::note(&told.to_string());
        return ExitCode::from(code);
    }
    let mut lines = chain.iter();
    show::note(&format!("error: {}", lines.next().map_or("", String::as_str)));
    for cause in lines {
        show::note(&format!("  because: {cause}"));
    }
    if let Some(advice) = advice {
        show::note(&format!("  try: {advice}"));
    }
    ExitCode::from(code)
}

pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.code;
        }
        if let Some(ClientError::Refused { status: 401 | 403, .. }) = cause.downcast_ref() {
            return DENIED;
        }
        if let Some(LedgerError::Chain(_) | LedgerError::Anchor(_) | LedgerError::Damaged { .. }) =
            cause.downcast_ref()
        {
            return UNVERIFIED;
        }
    }
    ERROR
}

/// The code that programs go by: the server's own where it gave one.
fn stable_code(error: &anyhow::Error) -> &str {
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<ClientError>() {
            return error.code();
        }
        if let Some(error) = cause.downcast_ref::<bailiwick_audit::Error>() {
            return error.code();
        }
    }
    match exit_code(error) {
        USAGE => "usage",
        DENIED => "denied",
        UNVERIFIED => "not_verified",
        _ => "error",
    }
}

/// What to do next, where the message does not say so itself.
fn advice(error: &anyhow::Error) -> Option<&'static str> {
    let own = error.chain().find_map(|cause| cause.downcast_ref::<Failure>()?.advice);
    if own.is_some() {
        return own;
    }
    let client = error.chain().find_map(|cause| cause.downcast_ref::<ClientError>())?;
    match client.code() {
        "unavailable" => {
            Some("`bailiwick doctor`, which looks at the server and says what is wrong")
        }
        "credential_invalid" => Some(
            "set BAILIWICK_KEY to a key that is alive, or name the server's directory with `--data`",
        ),
        "not_permitted" => Some("use a key with a role that may, see `bailiwick key list`"),
        "no_server" => {
            Some("if the server keeps its data elsewhere, name its directory with `--data`")
        }
        "policy_invalid" => Some("`bailiwick policy check FILE`, which shows every fault"),
        "audit_behind" => Some("again in a moment: the tables are still being filled"),
        _ => None,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind =
        |cause: &(dyn Error + 'static)| cause.downcast_ref::<io::Error>().map(io::Error::kind);
    error.chain().any(|cause| kind(cause) == Some(io::ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    fn refused(status: u16) -> anyhow::Error {
        let (code, detail) = ("c".to_owned(), "d".to_owned());
        anyhow::Error::from(ClientError::Refused { status, code, detail }).context("asked")
    }

    #[test]
    fn each_failure_has_its_code_however_deep_it_lies() {
        assert_eq!(exit_code(&anyhow::anyhow!("x")), ERROR);
        assert_eq!(exit_code(&usage("x").context("y")), USAGE);
        assert_eq!(exit_code(&denied("x").context("y").context("z")), DENIED);
        assert_eq!(exit_code(&unverified("x")), UNVERIFIED);
        assert_eq!((exit_code(&refused(403)), exit_code(&refused(401))), (DENIED, DENIED));
        assert_eq!((exit_code(&refused(404)), exit_code(&refused(503))), (ERROR, ERROR));
    }

    #[test]
    fn a_reader_who_leaves_is_no_error() {
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&Err::<(), _>(closed).context("write").unwrap_err()));
        assert!(!is_broken_pipe(&anyhow::anyhow!("broken pipe")));
    }
}
