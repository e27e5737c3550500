//! Power that goes out at each step of sealing: nothing is missing or there twice, and nothing counts
//! that was not named.

use std::fmt;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bailiwick_core::event::{About, Actor, Event, Fact, OwnerWritten, Place as At, Recorded};
use bailiwick_core::id::OwnerId;
use bailiwick_core::record::hash::{LedgerId, Link, PublicKey};
use bailiwick_core::time::Time;
use ed25519_dalek::SigningKey;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::manifest::Manifest;
use super::state::State;
use super::{Archive, Fault, Place};
use crate::store::{Archived, Store};

const LEDGER: LedgerId = LedgerId([1; 16]);

/// A store whose writes fail from one step on; that step's own is done, or not, and fails too.
#[derive(Debug)]
struct Fused {
    inner: Arc<dyn ObjectStore>,
    left: AtomicUsize,
    /// Whether the last write reaches the store and only its answer is lost.
    arrives: bool,
}

impl Fused {
    /// Whether a write is done, and whether that is told.
    fn step(&self) -> (bool, bool) {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        (left > 1 || (left == 1 && self.arrives), left > 1)
    }
}

fn out() -> object_store::Error {
    object_store::Error::Generic { store: "fused", source: "the power went out".into() }
}

impl fmt::Display for Fused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fused")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Fused {
    async fn put_opts(&self, at: &Path, bytes: PutPayload, how: PutOptions) -> Result<PutResult> {
        let (done, told) = self.step();
        let put = if done { self.inner.put_opts(at, bytes, how).await } else { Err(out()) };
        if told { put } else { Err(out()) }
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, how).await
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(at, how).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let (_, told) = self.step();
        if told {
            return self.inner.delete_stream(locations);
        }
        Box::pin(futures::stream::once(async { Err(out()) }))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, how).await
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

fn archive(dir: &FilePath, steps: usize, arrives: bool) -> Archive {
    let place = Place::Directory(dir.to_owned());
    let inner = place.open().unwrap();
    let store = Fused { inner, left: AtomicUsize::new(steps), arrives };
    Archive::over(place, Arc::new(store), LEDGER, key())
}

/// So many owners, ten an entry.
fn events(count: u64) -> Vec<Vec<Recorded>> {
    let event = |index: u64| {
        let owner = OwnerId::new(&format!("owner-{index}@example.com")).unwrap();
        let fact = Fact::OwnerRegistered(OwnerWritten { owner, groups: Default::default() });
        let about = About {
            actor: Actor::System,
            on_behalf_of: None,
            cause: None,
            request: None,
            trace: None,
        };
        let link = Link([u8::try_from(index % 251).unwrap(); 32]);
        let place = At { index, time: Time(1_000_000 * (index + 1)), link };
        Recorded { place, event: Event { about, fact } }
    };
    let all: Vec<Recorded> = (0..count).map(event).collect();
    all.chunks(10).map(<[_]>::to_vec).collect()
}

/// The tables over an archive, as a start makes them.
async fn open(archive: Archive) -> (Arc<Archive>, Store) {
    let trusted = [PublicKey(key().verifying_key().to_bytes())];
    let manifest = archive.newest(&trusted).await.unwrap();
    let state = match manifest.newest() {
        Some(segment) => {
            Some(State::decode(&archive.whole(&segment.state).await.unwrap()).unwrap())
        }
        None => None,
    };
    let (archive, manifest) = (Arc::new(archive), Arc::new(manifest));
    let archived = Archived { archive: Arc::clone(&archive), manifest };
    (archive, Store::over(archived, state))
}

/// Takes what the tables have not, and seals after each entry until the power goes out.
async fn work(
    archive: &Archive,
    store: &mut Store,
    entries: &[Vec<Recorded>],
) -> std::result::Result<(), Fault> {
    let after = usize::try_from(store.entry()).unwrap();
    for (number, events) in (1..).zip(entries).skip(after) {
        store.ingest(number, events).unwrap();
        let cut = store.cut().unwrap().unwrap();
        let manifest = store.archived().unwrap().manifest.clone();
        let next = archive.seal(&cut, &manifest, None, Time(1)).await?;
        store.sealed(next.clone());
        archive.tidy(&next, &manifest).await?;
    }
    Ok(())
}

/// The segments of a manifest follow one another from the first event to the last.
fn check(manifest: &Manifest, count: u64) {
    let mut next = 0;
    for segment in &manifest.segments {
        assert_eq!((segment.first, segment.events.rows), (next, segment.last + 1 - segment.first));
        next = segment.last + 1;
    }
    assert_eq!(next, count);
}

#[tokio::test]
async fn power_that_goes_out_at_any_step_leaves_every_event_once() {
    let entries = events(40);
    let mut outages = 0;
    for steps in 1..40 {
        for arrives in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let (first, mut store) = open(archive(dir.path(), steps, arrives)).await;
            outages += usize::from(work(&first, &mut store, &entries).await.is_err());
            // Another start, over whatever is there.
            let (again, mut store) = open(archive(dir.path(), usize::MAX, false)).await;
            work(&again, &mut store, &entries).await.unwrap();
            let manifest = Arc::clone(&store.archived().unwrap().manifest);
            check(&manifest, 40);
            for file in manifest.segments.iter().flat_map(|segment| segment.files()) {
                again.whole(file).await.unwrap();
            }
            again.tidy(&manifest, &manifest).await.unwrap();
            let left = std::fs::read_dir(dir.path().join("segments")).unwrap().count();
            assert_eq!(left, manifest.segments.len(), "files that nothing names");
        }
    }
    assert!(outages > 30, "the power went out only {outages} times");
}

#[tokio::test]
async fn of_two_that_seal_something_else_one_is_overtaken() {
    let dir = tempfile::tempdir().unwrap();
    let entries = events(20);
    let (one, mut first) = open(archive(dir.path(), usize::MAX, false)).await;
    let (other, mut second) = open(archive(dir.path(), usize::MAX, false)).await;
    work(&one, &mut first, &entries[..1]).await.unwrap();
    let both: Vec<Vec<Recorded>> = vec![entries.concat()];
    assert_eq!(work(&other, &mut second, &both).await, Err(Fault::Overtaken));
    let (_, store) = open(archive(dir.path(), usize::MAX, false)).await;
    check(&store.archived().unwrap().manifest, 10);
}

#[tokio::test]
async fn a_version_that_was_written_and_not_answered_is_found_by_the_next_try() {
    let dir = tempfile::tempdir().unwrap();
    let entries = events(20);
    // Whichever step it is whose answer is lost, trying the same once more goes on.
    for steps in 1..8 {
        let dir = dir.path().join(steps.to_string());
        let (first, mut store) = open(archive(&dir, steps, true)).await;
        store.ingest(1, &entries[0]).unwrap();
        let cut = store.cut().unwrap().unwrap();
        let manifest = Arc::clone(&store.archived().unwrap().manifest);
        let _ = first.seal(&cut, &manifest, None, Time(1)).await;
        let again = archive(&dir, usize::MAX, false);
        let next = again.seal(&cut, &manifest, None, Time(2)).await.unwrap();
        check(&next, 10);
    }
}

#[tokio::test]
async fn who_makes_an_archive_anew_overtakes_who_still_seals() {
    let dir = tempfile::tempdir().unwrap();
    let entries = events(30);
    let (live, mut store) = open(archive(dir.path(), usize::MAX, false)).await;
    work(&live, &mut store, &entries[..2]).await.unwrap();
    let anew = archive(dir.path(), usize::MAX, false);
    anew.clear().await.unwrap();
    let (anew, mut rebuilt) = open(anew).await;
    work(&anew, &mut rebuilt, &entries[..2]).await.unwrap();
    assert_eq!(work(&live, &mut store, &entries).await, Err(Fault::Overtaken));
    check(&rebuilt.archived().unwrap().manifest, 20);
    for file in rebuilt.archived().unwrap().manifest.segments.iter().flat_map(|s| s.files()) {
        anew.whole(file).await.unwrap();
    }
}
