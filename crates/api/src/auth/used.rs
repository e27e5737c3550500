//! When each key was used last, to the minute and since this server's start: for people who look for
//! keys that nobody uses. It is no event, decides nothing, and ends with the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bailiwick_core::id::CredentialId;
use bailiwick_core::time::Time;

const MINUTE_NS: u64 = 60_000_000_000;

/// What is known of the use of keys. Each thread writes to its own part, so that none waits for
/// another.
#[derive(Debug, Clone)]
pub(crate) struct Used {
    parts: Arc<[Part]>,
    own: usize,
}

type Part = Mutex<BTreeMap<CredentialId, Time>>;

impl Used {
    pub(crate) fn new(threads: usize) -> Self {
        Self { parts: (0..threads).map(|_| Part::default()).collect(), own: 0 }
    }

    /// The same, as thread `number` is to have it.
    pub(crate) fn of_thread(&self, number: usize) -> Self {
        Self { parts: Arc::clone(&self.parts), own: number }
    }

    /// Takes note that a key was used at `now`.
    pub(crate) fn note(&self, key: &CredentialId, now: Time) {
        let Some(part) = self.parts.get(self.own) else { return };
        let minute = Time(now.0 - now.0 % MINUTE_NS);
        let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
        match part.get_mut(key) {
            Some(last) => *last = minute,
            None => drop(part.insert(key.clone(), minute)),
        }
    }

    /// When each key was used last, by any thread.
    pub(crate) fn last(&self) -> BTreeMap<CredentialId, Time> {
        let mut latest = BTreeMap::new();
        for part in &*self.parts {
            let part = part.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, at) in &*part {
                let last = latest.entry(key.clone()).or_insert(*at);
                *last = (*last).max(*at);
            }
        }
        latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_minute_of_all_threads_counts() {
        let used = Used::new(2);
        let key = CredentialId::new("k").unwrap();
        used.of_thread(0).note(&key, Time(5 * MINUTE_NS + 7));
        used.of_thread(1).note(&key, Time(3 * MINUTE_NS + 1));
        assert_eq!(used.last().get(&key), Some(&Time(5 * MINUTE_NS)));
        assert_eq!(used.last().len(), 1);
    }
}
