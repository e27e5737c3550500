//! `bailiwick verify`.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use bailiwick_core::record::dump::{LENGTH_BYTES, Summary, split_one};
use bailiwick_core::record::entry::ENTRY_BYTES_MAX;
use bailiwick_core::record::fault::FaultKind;
use bailiwick_ledger::anchor::{self, Anchor};
use bailiwick_ledger::home::{anchor_dir, log_dir};
use bailiwick_ledger::log::jetstream;
use serde_json::{Value, json};

use super::offline::{self, Stopped, TrustedKey};
use crate::args;
use crate::config::{Surroundings, variable};
use crate::exit::{unverified, usage};
use crate::service::cores;
use crate::show::progress::{Progress, Unit};
use crate::verify::{self, Bodies, Error, Fault, KeyRing, PublicKey, Walk};
use crate::{moment, show};

/// What was verified, and against what.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) summary: Summary,
    key: TrustedKey,
    /// The entry up to which this node had verified the ledger before.
    anchored: Option<u64>,
}

pub(super) fn run(args: &args::Verify) -> Result<()> {
    let found = if args.path.is_dir() {
        if args.headers {
            return Err(usage("`--headers` is for dumps: a data directory has the bodies"));
        }
        let around = Surroundings::read(None, &variable)?;
        // A directory with a log of its own is meant as it stands.
        let stream = if args.nats.is_none() && log_dir(&args.path).exists() {
            None
        } else {
            around.offline_stream(args.nats.as_ref(), args.name.as_ref())?
        };
        offline::open(&args.path, stream.as_ref()).and_then(|stopped| {
            let mut progress = Progress::new("verifying", Unit::Entries, Some(stopped.head));
            ledger(&stopped, &args.keys, |entry| progress.at(entry))
        })
    } else {
        dump(args)
    };
    let verified = match found {
        Ok(verified) => verified,
        Err(error) => {
            if args.json {
                tell_fault(&error)?;
            }
            return Err(told(error));
        }
    };
    expect(args, &verified.summary)?;
    tell(args.json, &verified)
}

/// Verifies a stopped ledger, and that it is the one which its directory knows.
pub(crate) fn ledger(
    stopped: &Stopped,
    keys: &[PublicKey],
    mut progress: impl FnMut(u64),
) -> Result<Verified> {
    let key = stopped.key(keys.first().copied())?;
    let walk = Walk::new(ring(&key.key, keys)?, Bodies::Present, cores().get());
    let mut seen = 0;
    let summary = verify::log(stopped.reader.as_ref(), walk, |entries| {
        seen += entries.len() as u64;
        progress(seen);
        Ok(())
    })?;
    let anchor = Anchor::load(&anchor_dir(&stopped.dir))?;
    anchor::check(anchor.as_ref(), stopped.reader.as_ref(), true)?;
    Ok(Verified { summary, key, anchored: anchor.map(|anchor| anchor.number) })
}

/// Opens and verifies the ledger of a data directory.
pub(crate) fn directory(dir: &Path, stream: Option<&jetstream::Config>) -> Result<Verified> {
    ledger(&offline::open(dir, stream)?, &[], |_| ()).map_err(told)
}

fn dump(args: &args::Verify) -> Result<Verified> {
    let path = &args.path;
    let cannot = || format!("cannot read `{}`", path.display());
    let bodies = if args.headers { Bodies::Withheld } else { Bodies::Present };
    let key = match args.keys.first() {
        Some(key) => TrustedKey { key: *key, why: "it was given" },
        None if args.headers => {
            return Err(usage("`--headers` needs `--key`: a copy without bodies names no key"));
        }
        None => TrustedKey {
            key: named_key(&mut File::open(path).with_context(cannot)?).with_context(cannot)??,
            why: "the dump names it itself: it is whole, but only `--key` proves whose it is",
        },
    };
    let file = File::open(path).with_context(cannot)?;
    let bytes = file.metadata().with_context(cannot)?.len();
    let mut progress = Progress::new("verifying", Unit::Bytes, Some(bytes));
    let walk = Walk::new(ring(&key.key, &args.keys)?, bodies, cores().get());
    let summary = verify::dump(file, walk, |done| progress.at(done))?;
    Ok(Verified { summary, key, anchored: None })
}

/// The key that a dump names in its first event.
fn named_key(file: &mut File) -> std::io::Result<Result<PublicKey, Error>> {
    let mut start = Vec::new();
    file.take((LENGTH_BYTES + ENTRY_BYTES_MAX) as u64).read_to_end(&mut start)?;
    let fault = |what| Err(Error::Fault(Fault { entry: 1, index: 0, what }));
    Ok(match split_one(&start) {
        Ok(Some(first)) => match verify::creation(first.entry) {
            Some(created) => Ok(created.genesis_key),
            None => fault(FaultKind::Frames),
        },
        Ok(None) if start.is_empty() => fault(FaultKind::Empty),
        Ok(None) => fault(FaultKind::Truncated),
        Err(what) => fault(what),
    })
}

/// All keys that are trusted from the start; with bodies the record itself adds the later ones.
fn ring(first: &PublicKey, given: &[PublicKey]) -> Result<KeyRing> {
    let invalid = |_| Error::Fault(Fault { entry: 1, index: 0, what: FaultKind::KeyInvalid });
    let mut ring = KeyRing::new(first).map_err(|e| {
        if given.is_empty() { anyhow::Error::from(invalid(e)) } else { usage(e.to_string()) }
    })?;
    for key in given.iter().skip(1) {
        ring.trust(key, 1).map_err(|e| usage(e.to_string()))?;
    }
    Ok(ring)
}

/// As [`told`], for those who verify on the way to something else.
pub(super) fn told_of(error: Error) -> anyhow::Error {
    told(error.into())
}

/// A fault as this command's failure; everything else as it came.
fn told(error: anyhow::Error) -> anyhow::Error {
    if let Some(fault @ (Error::Fault(_) | Error::Damaged { .. })) = error.downcast_ref() {
        return unverified(format!("verification failed: {fault}"));
    }
    // The log finds some damage by itself, before the first entry is looked at.
    if let Some(damage @ bailiwick_ledger::Error::Damaged { .. }) = error.downcast_ref() {
        return unverified(format!("verification failed: {damage}"));
    }
    error
}

fn tell_fault(error: &anyhow::Error) -> Result<()> {
    let (entry, event, what) = match error.downcast_ref::<Error>() {
        Some(Error::Fault(fault)) => (fault.entry, fault.index, fault.what.to_string()),
        Some(Error::Damaged { entry, index, source }) => (*entry, *index, source.to_string()),
        Some(_) | None => return Ok(()),
    };
    let told = json!({"verified": false, "entry": entry, "event": event, "what": what});
    Ok(show::line(&told.to_string())?)
}

fn expect(args: &args::Verify, summary: &Summary) -> Result<()> {
    if let Some(expected) = args.expect_events.filter(|expected| *expected != summary.events) {
        let found = summary.events;
        return Err(unverified(format!(
            "what is there verifies, but it has {found} events, not {expected}: it is another state \
             of the ledger"
        )));
    }
    if let Some(expected) = args.expect_link.filter(|expected| *expected != summary.last_link) {
        let found = summary.last_link;
        return Err(unverified(format!(
            "what is there verifies, but its last link is {found}, not {expected}: it is another \
             state of the ledger"
        )));
    }
    Ok(())
}

impl Verified {
    /// What was found, in the order in which people ask.
    pub(crate) fn json(&self) -> Value {
        let Summary { ledger, entries, events, first_time, last_time, last_link, root } =
            &self.summary;
        json!({
            "verified": true,
            "ledger": ledger,
            "entries": entries,
            "events": events,
            "first_time": moment::rfc3339(*first_time),
            "last_time": moment::rfc3339(*last_time),
            "last_link": last_link,
            "root": root,
            "key": self.key.key,
            "key_trusted_because": self.key.why,
            "anchored_entry": self.anchored,
        })
    }

    /// The same in lines for people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let s = &self.summary;
        let span = format!("{} to {}", moment::rfc3339(s.first_time), moment::rfc3339(s.last_time));
        let mut lines = vec![
            format!("verified   {} events in {} entries", s.events, s.entries),
            format!("time       {span}"),
            format!("ledger     {}", s.ledger),
            format!("last link  {}", s.last_link),
            format!("root       {}", s.root),
            format!("key        {}", self.key.key),
            format!("           trusted because {}", self.key.why),
        ];
        if let Some(entry) = self.anchored {
            let anchor = format!("entry {entry} is as this directory remembers it");
            lines.push(format!("anchor     {anchor}"));
        }
        lines
    }
}

fn tell(json: bool, verified: &Verified) -> Result<()> {
    if json {
        return Ok(show::line(&verified.json().to_string())?);
    }
    Ok(show::line(&verified.lines().join("\n"))?)
}
