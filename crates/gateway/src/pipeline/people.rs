//! Waiting for people: a call that they have to approve is asked about again once they have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bailiwick_client::Error;
use bailiwick_client::authority::{AUTHORIZE_TIMEOUT, Ask, Authority, Denial, Ruling};
use bailiwick_core::event::DenialCode;
use bailiwick_core::id::TaskId;
use bailiwick_core::state::ApprovalStatus;
use tokio::time::Instant;

/// How long one question about an approval waits: then it is seen whether the client still does.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The pause after a question that could not be answered.
const PAUSE: Duration = Duration::from_secs(1);

/// How long to wait for people, and for whom.
pub(super) struct People {
    /// Not at all when it is zero.
    pub(super) wait: Duration,
    /// Set once the client does not want the call any more: it is not asked about again then.
    pub(super) gone: Arc<AtomicBool>,
}

impl People {
    /// What was decided, or what is decided once people have answered.
    pub(super) async fn answered<A: Authority>(
        &self,
        authority: &A,
        mut ask: Ask,
        decided: Result<(Ruling, TaskId), Error>,
    ) -> Result<(Ruling, TaskId), Error> {
        let (denial, task) = match decided {
            Ok((Ruling::Denied(denial), task)) if !self.wait.is_zero() => (denial, task),
            decided => return decided,
        };
        let Some(awaited) =
            denial.approval.as_ref().filter(|_| denial.code == DenialCode::ApprovalRequired)
        else {
            return Ok((Ruling::Denied(denial), task));
        };
        let until = Instant::now() + self.wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.gone.load(Ordering::Relaxed) {
                return Ok((Ruling::Denied(denial), task));
            }
            let status = authority.approval(awaited.id, left.min(LOOK_EVERY));
            match tokio::time::timeout(left.min(LOOK_EVERY) + AUTHORIZE_TIMEOUT, status).await {
                // A yes is used, and a no is said by the ledger with the words of who said it.
                Ok(Ok(ApprovalStatus::Granted | ApprovalStatus::Denied)) => break,
                Ok(Ok(ApprovalStatus::Expired | ApprovalStatus::Withdrawn)) => {
                    let (code, message) = (DenialCode::ApprovalExpired, "nobody approved it");
                    let denial = Denial { code, message: message.to_owned(), ..denial };
                    return Ok((Ruling::Denied(denial), task));
                }
                Ok(Ok(ApprovalStatus::Pending)) => {}
                Ok(Err(error)) => {
                    tracing::debug!(%error, approval = %awaited.id, "not known yet");
                    tokio::time::sleep(PAUSE.min(left)).await;
                }
                Err(_) => {}
            }
        }
        if self.gone.load(Ordering::Relaxed) {
            return Ok((Ruling::Denied(denial), task));
        }
        ask.task = Some(task);
        match tokio::time::timeout(AUTHORIZE_TIMEOUT, authority.authorize(ask)).await {
            Ok(ruling) => Ok((ruling?, task)),
            Err(_) => Err(Error::unavailable("authorize")),
        }
    }
}
