//! Moving rows from memory to the archive while events come in and questions are answered.

use std::sync::Arc;
use std::time::Duration;

use bailiwick_core::event::SegmentSealed;
use bailiwick_core::record::hash::{LedgerId, PublicKey};
use bailiwick_core::time::{Span, Time};
use ed25519_dalek::SigningKey;
use tokio::time::timeout;

use crate::archive::manifest::{Manifest, Segment};
use crate::archive::state::State;
use crate::archive::{Archive, Fault, Place};
use crate::error::Error;
use crate::store::{Archived, Store};
use crate::{Audit, Settings, now};

/// Events that may wait to be sealed even where segments are small: few enough for any machine's
/// memory, and more than come while one small segment is written.
const FULL_MIN: u64 = 1 << 17;

/// How an archive is kept.
#[derive(Debug, Clone)]
pub struct Archiving {
    /// Where it is.
    pub place: Place,
    /// Whose events.
    pub ledger: LedgerId,
    /// What the manifest is signed with.
    pub key: SigningKey,
    /// Whose signatures on the manifest are believed: every key that the ledger ever had.
    pub trusted: Vec<PublicKey>,
    /// Events that make a segment full.
    pub events: u64,
    /// How long the first event of a segment may have been here before it is sealed, full or not …
    pub after: Span,
    /// … if it has this many events. Fewer wait for [`Archiving::at_latest`]: thousands of tiny
    /// files would make every question slow.
    pub at_least: u64,
    /// When even a nearly empty segment is sealed.
    pub at_latest: Span,
    /// How long segments are kept; without it, for ever. The ledger keeps everything.
    pub keep: Option<Span>,
}

impl Archiving {
    /// An archive with the sizes that are right for most: a segment has 2^20 events, or 15 minutes if
    /// those have at least 2^14, or else a day.
    #[must_use]
    pub const fn new(
        place: Place,
        ledger: LedgerId,
        key: SigningKey,
        trusted: Vec<PublicKey>,
    ) -> Self {
        Self {
            place,
            ledger,
            key,
            trusted,
            events: 1 << 20,
            after: Span::minutes(15),
            at_least: 1 << 14,
            at_latest: Span::days(1),
            keep: None,
        }
    }

    fn is_due(&self, (count, waited): (u64, Duration)) -> bool {
        let has_waited = |span: Span| Time(0).after(span).0 <= nanoseconds(waited);
        // A single event may be what the ledger recorded about the segment before.
        count > 1
            && (count >= self.events
                || (count >= self.at_least && has_waited(self.after))
                || has_waited(self.at_latest))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What a ledger records about the newest segment of a manifest.
fn newest(manifest: &Manifest) -> Option<SegmentSealed> {
    let (segment, row) = (manifest.newest()?, manifest.newest_row()?);
    Some(SegmentSealed {
        first: segment.first,
        last: segment.last,
        rows: segment.events.rows,
        bytes: segment.events.bytes,
        file: segment.events.sha256,
        before: segment.link_before,
        after: segment.link_after,
        root: segment.root,
        manifest: row,
    })
}

/// How an archive stands.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// Where it is.
    pub place: String,
    /// The newest version of its manifest.
    pub version: u64,
    /// Segments that are kept.
    pub segments: usize,
    /// Segments that are not kept any more.
    pub dropped: usize,
    /// Index of the first event that is kept.
    pub first: Option<u64>,
    /// Index of the last event that is sealed.
    pub last: Option<u64>,
    /// Bytes of all files that are kept.
    pub bytes: u64,
    /// Events that are in memory only.
    pub recent: u64,
}

impl Audit {
    /// Tables over an archive, which is made if it is not there. They hold what is sealed, and go on
    /// with the events after [`Audit::resume_after`].
    ///
    /// # Errors
    /// [`Error::Archive`] when the manifest is not as it was signed or is of another ledger, or the
    /// place cannot be used; [`Error::Threads`].
    pub fn with_archive(settings: Settings, archiving: Archiving) -> Result<Self, Error> {
        let reading = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let reading = reading.map_err(|e| Error::Threads { why: e.to_string() })?;
        let store = reading.block_on(read(&archiving))?;
        Self::over(settings, store, Some(archiving))
    }

    /// Removes an archive with all that is in it, so that it is made anew.
    ///
    /// # Errors
    /// [`Error::Archive`] when the place cannot be used.
    pub async fn clear_archive(archiving: &Archiving) -> Result<(), Error> {
        let Archiving { place, ledger, key, .. } = archiving;
        Ok(Archive::at(place.clone(), *ledger, key.clone())?.clear().await?)
    }

    /// The entry after which a follower of the ledger begins. The last sealed entry comes once more,
    /// so that it is seen to be the same.
    #[must_use]
    pub fn resume_after(&self) -> u64 {
        self.store().map_or(0, |store| store.entry().saturating_sub(1))
    }

    /// How the archive stands; nothing without one.
    ///
    /// # Errors
    /// [`Error::Broken`].
    pub fn archive(&self) -> Result<Option<Status>, Error> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let store = self.store()?;
        let (Some(archived), Some(archiving)) = (store.archived(), &self.archiving) else {
            return Ok(None);
        };
        let manifest = &archived.manifest;
        let kept = manifest.kept();
        Ok(Some(Status {
            place: archiving.place.to_string(),
            version: manifest.version,
            segments: kept.len(),
            dropped: manifest.dropped,
            first: kept.first().map(|segment| segment.first),
            last: kept.last().map(|segment| segment.last),
            bytes: kept.iter().flat_map(Segment::files).map(|file| file.bytes).sum(),
            recent: store.recent().0,
        }))
    }

    /// Seals what is in memory, if it is time to or if it `must` be. Blocks while rows are written.
    ///
    /// # Errors
    /// [`Error::Archive`]; what was to be sealed stays in memory, and the next call tries again.
    pub async fn seal(&self, must: bool) -> Result<Option<SegmentSealed>, Error> {
        let Some(archiving) = &self.archiving else { return Ok(None) };
        let _alone = self.sealing.lock().await;
        let (cut, archived) = {
            let mut store = self.store()?;
            if !store.is_sealing() && !must && !archiving.is_due(store.recent()) {
                return Ok(None);
            }
            let cut = store.cut()?;
            let (Some(cut), Some(archived)) = (cut, store.archived().cloned()) else {
                return Ok(None);
            };
            (cut, archived)
        };
        let Archived { archive, manifest } = archived;
        let next = archive.seal(&cut, &manifest, archiving.keep, now()).await?;
        let sealed = newest(&next);
        self.store()?.sealed(next.clone());
        drop(cut);
        // What is left over is found again the next time.
        if let Err(error) = archive.tidy(&next, &manifest).await {
            tracing::warn!(%error, "files that nothing names are left in the archive");
        }
        Ok(sealed)
    }

    /// Whether so much waits to be sealed that no more should be taken for now: the archive cannot be
    /// written as fast as events come, or at all.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let Some(archiving) = &self.archiving else { return false };
        let most = archiving.events.saturating_mul(2).max(FULL_MIN);
        self.store().is_ok_and(|store| store.is_sealing() && store.recent().0 > most)
    }

    /// Waits until something has to be sealed; for ever where there is no archive.
    pub async fn sealing_due(&self) {
        const LOOK_AGAIN: Duration = Duration::from_secs(1);
        let mut ingested = self.ingested.subscribe();
        loop {
            let due = match (&self.archiving, self.store()) {
                (Some(archiving), Ok(store)) => {
                    store.is_sealing() || archiving.is_due(store.recent())
                }
                (None, _) | (Some(_), Err(_)) => false,
            };
            if due {
                return;
            }
            // Age is looked at now and then, and size whenever more has come.
            let _ = timeout(LOOK_AGAIN, ingested.changed()).await;
        }
    }
}

async fn read(archiving: &Archiving) -> Result<Store, Error> {
    let Archiving { place, ledger, key, .. } = archiving;
    let archive = Archive::at(place.clone(), *ledger, key.clone())?;
    let manifest = archive.newest(&archiving.trusted).await?;
    // A state that cannot be used costs time and nothing else: the ledger has everything.
    let state = match manifest.newest() {
        Some(segment) => match archive.whole(&segment.state).await {
            Ok(bytes) => State::decode(&bytes).ok(),
            Err(Fault::Altered { .. } | Fault::Missing { .. }) => None,
            Err(fault) => return Err(fault.into()),
        },
        None => None,
    };
    if state.is_none() && manifest.newest().is_some() {
        tracing::warn!("the archive's state cannot be used; the tables are folded anew");
    }
    let (archive, manifest): (_, Arc<Manifest>) = (Arc::new(archive), Arc::new(manifest));
    Ok(Store::over(Archived { archive, manifest }, state))
}
