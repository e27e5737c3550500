//! What can be wrong with an archive.

use bailiwick_core::record::hash::LedgerId;

/// Why an archive cannot be written or is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// A file's bytes are not those that the manifest names, or the manifest itself is not as signed.
    #[error(
        "the archive's file `{file}` was altered: {what}; `bailiwick archive rebuild` makes it anew"
    )]
    Altered { file: String, what: String },
    /// A file that the manifest names is not there.
    #[error("the archive's file `{file}` is missing; `bailiwick archive rebuild` makes it anew")]
    Missing { file: String },
    /// A file is read before it was compared with the manifest: a fault of our own.
    #[error("the archive's file `{file}` was not verified")]
    Unverified { file: String },
    /// The archive is of another ledger.
    #[error("the archive is of the ledger {ledger}, not of this one")]
    OtherLedger { ledger: LedgerId },
    /// The archive ends with another event than the ledger has there.
    #[error(
        "the archive and the ledger differ at event {seq}; `bailiwick archive rebuild` makes it anew"
    )]
    Differs { seq: u64 },
    /// Somebody else wrote the next version of the manifest.
    #[error("another process seals into this archive")]
    Overtaken,
    /// The place cannot be used.
    #[error("the archive's place cannot be used: {why}")]
    Place { why: String },
    /// The store failed.
    #[error("the archive's store failed: {why}")]
    Store { why: String },
    /// Bytes that cannot be written or read as what they are.
    #[error("the archive's format: {what}")]
    Format { what: String },
}

impl Fault {
    /// What the store said about a file that is to be there, and to be the same.
    pub(super) fn of(error: object_store::Error, file: &str) -> Self {
        let file = file.to_owned();
        #[expect(clippy::wildcard_enum_match_arm, reason = "the store's errors, not ours")]
        match error {
            object_store::Error::NotFound { .. } => Self::Missing { file },
            object_store::Error::Precondition { .. } => {
                let what = "it is another file than before".to_owned();
                Self::Altered { file, what }
            }
            other => other.into(),
        }
    }

    /// The fault that led to `error`, if one did.
    pub(crate) fn behind<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(fault) = error.downcast_ref::<Self>() {
                return Some(fault);
            }
            next = error.source();
        }
        None
    }
}

impl From<object_store::Error> for Fault {
    fn from(error: object_store::Error) -> Self {
        Self::Store { why: error.to_string() }
    }
}

impl From<arrow::error::ArrowError> for Fault {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Format { what: error.to_string() }
    }
}

impl From<parquet::errors::ParquetError> for Fault {
    fn from(error: parquet::errors::ParquetError) -> Self {
        Self::Format { what: error.to_string() }
    }
}
