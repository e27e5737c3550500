//! Where an archive is: a directory, or a bucket of anything that speaks S3.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;

use super::Fault;

/// Where an archive is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a directory of this machine, made if it is not there.
    Directory(PathBuf),
    /// In a bucket, under a prefix: `s3://bucket/prefix`. Region, endpoint and credentials come from
    /// the environment: `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID` …, and `AWS_ALLOW_HTTP`
    /// for an endpoint without TLS.
    Bucket(String),
}

impl Place {
    /// Reads a place as people write it: an `s3://` address, or else a path.
    #[must_use]
    pub fn read(text: &str) -> Self {
        if text.starts_with("s3://") {
            Self::Bucket(text.to_owned())
        } else {
            Self::Directory(text.into())
        }
    }

    pub(super) fn open(&self) -> Result<Arc<dyn ObjectStore>, Fault> {
        let unusable = |e: &dyn std::fmt::Display| Fault::Place { why: e.to_string() };
        match self {
            Self::Directory(path) => {
                std::fs::create_dir_all(path).map_err(|e| unusable(&e))?;
                let store = LocalFileSystem::new_with_prefix(path).map_err(|e| unusable(&e))?;
                Ok(Arc::new(store))
            }
            Self::Bucket(url) => {
                let rest = url.trim_start_matches("s3://");
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                let store = AmazonS3Builder::from_env().with_bucket_name(bucket).build();
                let store = store.map_err(|e| unusable(&e))?;
                Ok(Arc::new(PrefixStore::new(store, prefix.trim_matches('/'))))
            }
        }
    }
}

impl Place {
    /// Makes what was written under `name` outlast the machine's power. A bucket does by itself.
    pub(super) fn sync(&self, name: &str) -> Result<(), Fault> {
        let Self::Directory(dir) = self else { return Ok(()) };
        let path = dir.join(name);
        let synced = File::open(&path)
            .and_then(|file| file.sync_all())
            .and_then(|()| path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all()));
        synced.map_err(|e| Fault::Place { why: format!("cannot sync `{}`: {e}", path.display()) })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::Bucket(url) => f.write_str(url),
        }
    }
}
