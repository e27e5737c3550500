//! Where older rows are kept, and for how long.

use std::path::{Path, PathBuf};

use anyhow::Result;
use bailiwick_audit::{Archiving, Place};
use bailiwick_core::record::{LedgerId, PublicKey};
use bailiwick_core::time::Span;
use ed25519_dalek::SigningKey;
use serde::Deserialize;

use super::{Surroundings, parsed};
use crate::args;
use crate::exit::usage;

/// The archive's directory in the data directory.
const DIR: &str = "archive";
/// What is said for no archive.
const NONE: &str = "none";

/// `[archive]` of `bailiwick.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    /// A directory, `s3://bucket/prefix`, or `none`.
    place: Option<String>,
    /// Events that make a segment full.
    events: Option<u64>,
    /// How old rows may become before they are sealed.
    after: Option<String>,
    /// How long segments are kept.
    keep: Option<String>,
}

/// An archive as it is configured.
#[derive(Debug, Clone)]
pub(crate) struct Archive {
    pub(crate) place: Place,
    events: Option<u64>,
    after: Option<Span>,
    keep: Option<Span>,
}

impl Archive {
    /// The archive that a data directory has by default.
    pub(crate) fn within(data: &Path) -> Self {
        let place = Place::Directory(data.join(DIR));
        Self { place, events: None, after: None, keep: None }
    }

    /// The archive of a ledger.
    pub(crate) fn of(
        &self,
        ledger: LedgerId,
        key: SigningKey,
        trusted: Vec<PublicKey>,
    ) -> Archiving {
        let mut archiving = Archiving::new(self.place.clone(), ledger, key, trusted);
        if let Some(events) = self.events {
            archiving.events = events;
            archiving.at_least = archiving.at_least.min(events);
        }
        if let Some(after) = self.after {
            archiving.after = after;
            archiving.at_least = 1;
        }
        archiving.keep = self.keep;
        archiving
    }
}

impl Surroundings<'_> {
    /// The archive, or none if that was said.
    pub(crate) fn archive(
        &self,
        data: Option<&PathBuf>,
        args: &args::Archiving,
    ) -> Result<Option<Archive>> {
        let file = &self.file.archive;
        let place = self.text(args.archive.as_ref(), "BAILIWICK_ARCHIVE", file.place.as_ref());
        let place = match place.as_deref() {
            Some(NONE) => return Ok(None),
            Some(place) => Place::read(place),
            None => Archive::within(&self.data(data)).place,
        };
        let text = |flag: &Option<String>, variable, file: &Option<String>| {
            self.text(flag.as_ref(), variable, file.as_ref())
        };
        let span = |what: &str, text: Option<String>| -> Result<Option<Span>> {
            text.map(|text| parsed(what, &text)).transpose()
        };
        let events = text(&args.archive_events, "BAILIWICK_ARCHIVE_EVENTS", &None);
        let events = events.map(|text| parsed("the number of events of a segment", &text));
        let events = events.transpose()?.or(file.events);
        if events == Some(0) {
            return Err(usage("a segment has at least one event"));
        }
        let after = text(&args.archive_after, "BAILIWICK_ARCHIVE_AFTER", &file.after);
        let keep = text(&args.archive_keep, "BAILIWICK_ARCHIVE_KEEP", &file.keep);
        let (after, keep) = (span("the age of a segment", after)?, span("how long", keep)?);
        Ok(Some(Archive { place, events, after, keep }))
    }
}
