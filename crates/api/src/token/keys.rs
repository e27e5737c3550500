//! An issuer's keys as they are kept: fetched when they are first needed, again when they are no
//! longer fresh, and once when a token names a key that is not among them. What cannot be fetched
//! leaves what is kept in use for a while; an attacker who invents key names cannot make this server
//! ask an issuer more often than it may.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::DecodingKey;
use reqwest::Client;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinHandle;

use super::key_set::{Found, KeySet};
use super::settings::Trusted;
use super::{Algorithm, Refused, fetch};
use crate::Error;

/// How long keys serve at most after they were fetched, while the issuer cannot be reached: a day
/// after they were to be asked for again at the latest.
const SERVE_MAX: Duration = Duration::from_secs(48 * 60 * 60);
/// How often an issuer is asked in a row.
const ATTEMPTS_MAX: u32 = 4;
/// After how long it may be asked once more.
const ATTEMPT_EVERY: Duration = Duration::from_secs(15);

/// The keys of one issuer.
#[derive(Debug)]
pub(super) struct Keys {
    client: Client,
    kept: RwLock<Option<Arc<Kept>>>,
    /// Held while keys are fetched, so that an issuer is asked once at a time.
    attempts: Arc<Mutex<Attempts>>,
}

/// Keys, and since when.
#[derive(Debug)]
struct Kept {
    set: KeySet,
    fetched: Instant,
    stale: Instant,
}

impl Keys {
    pub(super) fn new(trusted: &Trusted) -> Result<Self, Error> {
        let attempts = Arc::new(Mutex::new(Attempts::new(Instant::now())));
        Ok(Self { client: fetch::client(trusted)?, kept: RwLock::new(None), attempts })
    }

    /// The key that a token of `trusted` names.
    pub(super) async fn find(
        self: &Arc<Self>,
        trusted: &Arc<Trusted>,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<DecodingKey, Refused> {
        let begun = Instant::now();
        if let Some(kept) = self.kept(begun) {
            match kept.set.find(id, algorithm) {
                Found::Key(key) => {
                    if kept.stale <= begun {
                        self.refresh_behind(trusted, begun);
                    }
                    return Ok(key.clone());
                }
                Found::Unfit => return Err(UNFIT),
                Found::Unknown => {}
            }
        }
        self.refresh(trusted, begun).await;
        let Some(kept) = self.kept(begun) else {
            return Err(Refused::Unavailable("the issuer's keys cannot be read now"));
        };
        match kept.set.find(id, algorithm) {
            Found::Key(key) => Ok(key.clone()),
            Found::Unfit => Err(UNFIT),
            Found::Unknown => Err(Refused::Invalid("the issuer has no such key")),
        }
    }

    fn kept(&self, now: Instant) -> Option<Arc<Kept>> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.as_ref().filter(|kept| now < kept.fetched + SERVE_MAX);
        kept.map(Arc::clone)
    }

    /// Fetches the keys, unless somebody else did since `begun` or it was done too often of late.
    /// Whoever waits for them may go away: an attempt that was taken is carried out all the same.
    async fn refresh(self: &Arc<Self>, trusted: &Arc<Trusted>, begun: Instant) {
        let mut attempts = Arc::clone(&self.attempts).lock_owned().await;
        if attempts.ended.is_some_and(|ended| begun < ended) || !attempts.take(Instant::now()) {
            return;
        }
        if self.fetch_behind(trusted, attempts).await.is_err() {
            tracing::warn!(issuer = %trusted.issuer, "fetching an issuer's keys was broken off");
        }
    }

    /// Fetches the keys while those that are kept go on serving.
    fn refresh_behind(self: &Arc<Self>, trusted: &Arc<Trusted>, now: Instant) {
        let Ok(mut attempts) = Arc::clone(&self.attempts).try_lock_owned() else { return };
        if !attempts.take(now) {
            return;
        }
        drop(self.fetch_behind(trusted, attempts));
    }

    fn fetch_behind(
        self: &Arc<Self>,
        trusted: &Arc<Trusted>,
        mut attempts: OwnedMutexGuard<Attempts>,
    ) -> JoinHandle<()> {
        let (keys, trusted) = (Arc::clone(self), Arc::clone(trusted));
        tokio::spawn(async move {
            keys.fetch(&trusted).await;
            attempts.ended = Some(Instant::now());
        })
    }

    async fn fetch(&self, trusted: &Trusted) {
        match fetch::keys(&self.client, trusted).await {
            Ok((set, fresh)) => {
                let fetched = Instant::now();
                let kept = Kept { set, fetched, stale: fetched + fresh };
                let mut place = self.kept.write().unwrap_or_else(PoisonError::into_inner);
                *place = Some(Arc::new(kept));
            }
            Err(why) => {
                tracing::warn!(issuer = %trusted.issuer, why, "an issuer's keys cannot be read");
            }
        }
    }
}

const UNFIT: Refused = Refused::Invalid("the issuer's key is not for this algorithm");

/// How often an issuer may still be asked.
#[derive(Debug)]
struct Attempts {
    left: u32,
    /// When the last one was given back.
    counted: Instant,
    /// When the last answer, or none, came in.
    ended: Option<Instant>,
}

impl Attempts {
    const fn new(now: Instant) -> Self {
        Self { left: ATTEMPTS_MAX, counted: now, ended: None }
    }

    /// Whether one more is allowed at `now`; it is then counted.
    fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.counted);
        let back = u32::try_from(passed.as_nanos() / ATTEMPT_EVERY.as_nanos()).unwrap_or(u32::MAX);
        self.counted += ATTEMPT_EVERY * back.min(ATTEMPTS_MAX);
        if back >= ATTEMPTS_MAX {
            self.counted = now;
        }
        self.left = self.left.saturating_add(back).min(ATTEMPTS_MAX);
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_asked_a_few_times_in_a_row_and_then_once_in_a_while() {
        let begin = Instant::now();
        let mut attempts = Attempts::new(begin);
        let mut taken = |after: Duration| {
            let mut taken = 0;
            while attempts.take(begin + after) {
                taken += 1;
            }
            taken
        };
        assert_eq!(taken(Duration::ZERO), ATTEMPTS_MAX);
        assert_eq!(taken(ATTEMPT_EVERY / 2), 0);
        assert_eq!(taken(ATTEMPT_EVERY), 1);
        assert_eq!(taken(ATTEMPT_EVERY * 3), 2);
        assert_eq!(taken(ATTEMPT_EVERY * 1_000), ATTEMPTS_MAX);
        assert_eq!(taken(ATTEMPT_EVERY * 1_000), 0);
    }
}
