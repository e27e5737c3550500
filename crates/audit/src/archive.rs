//! The archive: sealed events, and what was derived from them, as Parquet files in an object store.
//!
//! ```text
//! segments/seg-<first>-<last>-<digest>.parquet    events in the order of the chain: the evidence
//! derived/agents-<first>-<last>-<digest>.parquet  the same events by agent, but for their links
//! derived/calls-…, grants-…, tasks-…, approvals-… rows of those tables that no later event changes
//! state/<last>-<digest>.bin                       the tables without all that: a start goes on there
//! manifest/<version>.jsonl                        which of all these count, signed
//! ```
//!
//! A file counts once a version of the manifest names it with its SHA-256, and is read only if its
//! bytes still have that digest: the whole file is hashed before this process first reads from it, and
//! from then on each read is refused if the store says that the file is another one.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bailiwick_core::record::hash::{Digest, LedgerId, PublicKey};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
};
use parquet::file::metadata::ParquetMetaData;
use sha2::{Digest as _, Sha256};

pub(crate) mod compare;
pub(crate) mod cut;
mod fault;
pub(crate) mod manifest;
mod place;
pub(crate) mod scan;
pub(crate) mod segment;
pub(crate) mod state;

#[cfg(test)]
mod tests;

pub(crate) use fault::Fault;
pub use place::Place;

use manifest::{File, Manifest};

/// Files that are hashed at once before they are first read.
const HASHED_AT_ONCE: usize = 4;
/// Versions of the manifest that are left behind the newest.
const VERSIONS_KEPT: usize = 2;
/// Bytes of file metadata that are kept between questions.
const METADATA_BYTES_MAX: usize = 64 * 1_024 * 1_024;

/// An archive, and what this process knows about its files.
#[derive(Debug)]
pub(crate) struct Archive {
    place: Place,
    store: Arc<dyn ObjectStore>,
    ledger: LedgerId,
    key: SigningKey,
    known: Mutex<Known>,
}

/// What is known of files by their names.
#[derive(Debug, Default)]
struct Known {
    /// Files whose bytes were found to be what the manifest says, as the store then named them.
    verified: HashMap<String, Option<String>>,
    metadata: HashMap<String, Arc<ParquetMetaData>>,
    metadata_bytes: usize,
}

impl Archive {
    /// The archive of a ledger at a place.
    pub(crate) fn at(place: Place, ledger: LedgerId, key: SigningKey) -> Result<Self, Fault> {
        let store = place.open()?;
        Ok(Self::over(place, store, ledger, key))
    }

    fn over(place: Place, store: Arc<dyn ObjectStore>, ledger: LedgerId, key: SigningKey) -> Self {
        Self { place, store, ledger, key, known: Mutex::default() }
    }

    pub(crate) const fn ledger(&self) -> LedgerId {
        self.ledger
    }

    pub(crate) const fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The newest version of the manifest, if it was signed by one of `trusted`.
    pub(crate) async fn newest(&self, trusted: &[PublicKey]) -> Result<Manifest, Fault> {
        let mut versions = self.versions().await?;
        versions.sort_unstable();
        let Some((version, path)) = versions.pop() else { return Ok(Manifest::default()) };
        let bytes = self.store.get(&path).await?.bytes().await?;
        let altered =
            || Fault::Altered { file: path.to_string(), what: "it is no text".to_owned() };
        let text = std::str::from_utf8(&bytes).map_err(|_| altered())?;
        let read = Manifest::read(path.as_ref(), text, self.ledger, trusted)?;
        if read.version == version {
            return Ok(read);
        }
        Err(Fault::Altered { file: path.to_string(), what: "it is another version".to_owned() })
    }

    async fn versions(&self) -> Result<Vec<(u64, Path)>, Fault> {
        let listed = self.store.list(Some(&Path::from("manifest")));
        let all: Vec<_> = listed.map_ok(|object| object.location).try_collect().await?;
        let numbered = |path: Path| {
            let version = path.filename()?.strip_suffix(".jsonl")?.parse().ok()?;
            Some((version, path))
        };
        Ok(all.into_iter().filter_map(numbered).collect())
    }

    /// Writes a file, which counts for nothing until a version of the manifest names it. Its name
    /// ends with the begin of its digest: who writes something else under the same range, in a try
    /// that broke off or in another process, writes another file.
    pub(crate) async fn put(
        &self,
        (stem, extension): (String, &str),
        bytes: Vec<u8>,
        about: (u64, (i64, i64), (i64, i64)),
    ) -> Result<File, Fault> {
        let (rows, seq, ts) = about;
        let sha256 = Digest(Sha256::digest(&bytes).into());
        let name = format!("{stem}-{}.{extension}", hex::encode(&sha256.0[..4]));
        let file = File { name, rows, bytes: bytes.len() as u64, sha256, seq, ts };
        self.store.put(&Path::from(file.name.as_str()), PutPayload::from(bytes)).await?;
        self.place.sync(&file.name)?;
        Ok(file)
    }

    /// Makes `next` the newest version.
    pub(crate) async fn commit(&self, next: &Manifest) -> Result<(), Fault> {
        let name = format!("manifest/{:020}.jsonl", next.version);
        let text = next.text(&self.key)?;
        let options = PutOptions::from(PutMode::Create);
        let put = self.store.put_opts(&Path::from(name.as_str()), text.into(), options).await;
        match put {
            Ok(_) => self.place.sync(&name),
            Err(object_store::Error::AlreadyExists { .. }) => Err(Fault::Overtaken),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes what neither the newest version names nor the one before it, which questions may still
    /// read: files of tries that broke off, of segments that are dropped, earlier states and versions.
    pub(crate) async fn tidy(&self, newest: &Manifest, before: &Manifest) -> Result<(), Fault> {
        let mut versions = self.versions().await?;
        versions.sort_unstable();
        if versions.last().is_some_and(|(version, _)| *version > newest.version) {
            // Another process goes on here: what it names is not known.
            return Err(Fault::Overtaken);
        }
        versions.truncate(versions.len().saturating_sub(1 + VERSIONS_KEPT));
        let named = newest.kept().iter().chain(before.kept()).flat_map(|segment| segment.files());
        let mut needed: Vec<&str> = named.map(|file| file.name.as_str()).collect();
        needed.extend(newest.newest().map(|segment| segment.state.name.as_str()));
        needed.sort_unstable();
        let mut gone: Vec<Path> = versions.into_iter().map(|(_, path)| path).collect();
        for under in ["segments", "derived", "state"] {
            let listed = self.store.list(Some(&Path::from(under)));
            let all: Vec<_> = listed.map_ok(|object| object.location).try_collect().await?;
            gone.extend(all.into_iter().filter(|p| needed.binary_search(&p.as_ref()).is_err()));
        }
        for path in gone {
            match self.store.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Removes all files, so that everything is sealed anew. The numbers of versions go on: another
    /// process that still seals here is overtaken and not mixed up with.
    pub(crate) async fn clear(&self) -> Result<(), Fault> {
        let last = self.versions().await?.into_iter().map(|(version, _)| version).max();
        let empty = Manifest::empty(last.map_or(0, |last| last + 1));
        if last.is_some() {
            self.commit(&empty).await?;
        }
        self.tidy(&empty, &empty).await
    }

    /// A whole file, if it is what the manifest says.
    pub(crate) async fn whole(&self, file: &File) -> Result<Bytes, Fault> {
        let got = self.store.get(&Path::from(file.name.as_str())).await;
        let bytes = got.map_err(|e| Fault::of(e, &file.name))?.bytes().await?;
        let sha256 = Digest(Sha256::digest(&bytes).into());
        if bytes.len() as u64 == file.bytes && sha256 == file.sha256 {
            Ok(bytes)
        } else {
            Err(other(file))
        }
    }

    /// Makes sure that files are what the manifest says. Each is hashed once.
    pub(crate) async fn ensure(&self, files: &[&File]) -> Result<(), Fault> {
        let new: Vec<&File> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            files.iter().copied().filter(|f| !known.verified.contains_key(&f.name)).collect()
        };
        let hashed: Vec<_> = new.into_iter().map(|file| self.hash(file)).collect();
        futures::stream::iter(hashed).buffer_unordered(HASHED_AT_ONCE).try_collect().await
    }

    async fn hash(&self, file: &File) -> Result<(), Fault> {
        let got = self.store.get(&Path::from(file.name.as_str())).await;
        let got = got.map_err(|e| Fault::of(e, &file.name))?;
        let (etag, length) = (got.meta.e_tag.clone(), got.meta.size);
        let mut sha256 = Sha256::new();
        let mut bytes = got.into_stream();
        while let Some(chunk) = bytes.try_next().await? {
            sha256.update(&chunk);
        }
        if length != file.bytes || Digest(sha256.finalize().into()) != file.sha256 {
            return Err(other(file));
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.verified.insert(file.name.clone(), etag);
        Ok(())
    }

    /// Bytes of a file that [`Archive::ensure`] found right.
    async fn bytes(&self, name: &str, range: Range<u64>) -> Result<Bytes, Fault> {
        let etag = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.verified.get(name).cloned()
        };
        let Some(etag) = etag else { return Err(Fault::Unverified { file: name.to_owned() }) };
        let options =
            GetOptions::new().with_if_match(etag).with_range(Some(GetRange::Bounded(range)));
        match self.store.get_opts(&Path::from(name), options).await {
            Ok(got) => Ok(got.bytes().await?),
            Err(error) => {
                self.forget(name);
                Err(Fault::of(error, name))
            }
        }
    }

    fn forget(&self, name: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.verified.remove(name);
        if let Some(gone) = known.metadata.remove(name) {
            known.metadata_bytes = known.metadata_bytes.saturating_sub(gone.memory_size());
        }
    }

    fn metadata(&self, name: &str) -> Option<Arc<ParquetMetaData>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.metadata.get(name).cloned()
    }

    /// Keeps a file's metadata for the next question, unless too much is kept already; then all is
    /// let go, since questions that read everything would turn out one file for the other.
    fn keep_metadata(&self, name: &str, metadata: &Arc<ParquetMetaData>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = metadata.memory_size();
        if known.metadata_bytes + bytes > METADATA_BYTES_MAX {
            known.metadata.clear();
            known.metadata_bytes = 0;
        }
        if known.metadata.insert(name.to_owned(), Arc::clone(metadata)).is_none() {
            known.metadata_bytes += bytes;
        }
    }
}

fn other(file: &File) -> Fault {
    Fault::Altered { file: file.name.clone(), what: "it is not what was sealed".to_owned() }
}
