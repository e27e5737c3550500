//! Cancelling: a client asks on another connection, with the number and the secret of its session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::watch;

/// The sessions that can be cancelled.
#[derive(Debug, Default)]
pub(super) struct Cancels {
    sessions: Mutex<HashMap<i32, (i32, watch::Sender<()>)>>,
}

/// A session's ear. Dropping it ends the session's entry.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) number: i32,
    pub(super) secret: i32,
    heard: watch::Receiver<()>,
    of: Arc<Cancels>,
}

impl Cancels {
    /// Lists a session under a number and a secret of its own.
    pub(super) fn enter(self: &Arc<Self>) -> Listening {
        let (tell, heard) = watch::channel(());
        let secret = chance();
        let mut sessions = self.sessions();
        let mut number = chance() & i32::MAX;
        while sessions.contains_key(&number) {
            number = number.wrapping_add(1) & i32::MAX;
        }
        sessions.insert(number, (secret, tell));
        Listening { number, secret, heard, of: Arc::clone(self) }
    }

    /// Tells a session that its client wants no answer any more; false if there is none such.
    pub(super) fn tell(&self, number: i32, secret: i32) -> bool {
        match self.sessions().get(&number) {
            Some((known, tell)) if *known == secret => tell.send(()).is_ok(),
            Some(_) | None => false,
        }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<i32, (i32, watch::Sender<()>)>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listening {
    /// Forgets what was said before: it was about an earlier question.
    pub(super) fn begin(&mut self) {
        self.heard.mark_unchanged();
    }

    /// Waits until the question at hand is cancelled.
    pub(super) async fn cancelled(&mut self) {
        if self.heard.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.of.sessions().remove(&self.number);
    }
}

/// Bytes of the system's source; without any, a secret that nobody is told.
fn chance() -> i32 {
    let mut bytes = [0; 4];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        tracing::error!("the system gives no chance: questions of a session cannot be cancelled");
    }
    i32::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_session_is_cancelled_by_its_number_and_secret_alone() {
        let cancels = Arc::new(Cancels::default());
        let (mut one, other) = (cancels.enter(), cancels.enter());
        assert!(!cancels.tell(one.number, other.secret.wrapping_add(1).max(one.secret ^ 1)));
        assert!(cancels.tell(one.number, one.secret));
        one.cancelled().await;
        assert!(cancels.tell(one.number, one.secret));
        one.begin();
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(20), one.cancelled());
        assert!(waiting.await.is_err(), "an earlier word counts for a later question");
        let (number, secret) = (other.number, other.secret);
        drop(other);
        assert!(!cancels.tell(number, secret));
    }
}
