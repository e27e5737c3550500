//! `bailiwick ledger`.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use bailiwick_core::record::EntryRef;
use bailiwick_core::record::dump::length_prefix;
use bailiwick_ledger::anchor::repair;
use bailiwick_ledger::home;
use bailiwick_ledger::log::Log;
use bailiwick_ledger::log::embedded::Embedded;
use bailiwick_ledger::log::jetstream::{self, JetStream};
use serde_json::json;

use super::{offline, online, verify};
use crate::args::{self, LedgerVerb};
use crate::config::{Surroundings, variable};
use crate::exit::usage;
use crate::show;
use crate::show::progress::{Progress, Unit};

/// Entries and bytes read from a log at a time.
const READ_ENTRIES: usize = 1_024;
const READ_BYTES: usize = 8 << 20;

pub(super) fn run(args: args::Ledger) -> Result<()> {
    let access = &args.access;
    match args.verb {
        LedgerVerb::Info(which) => info(access, &which),
        LedgerVerb::Dump(dump) => self::dump(access, &dump),
        LedgerVerb::Checkpoint => checkpoint(access),
        LedgerVerb::Repair(which) => put_back(access, &which),
    }
}

/// The data directory, and the stream where the ledger is on NATS.
fn place(
    access: &args::Access,
    which: &args::Which,
) -> Result<(PathBuf, Option<jetstream::Config>)> {
    let around = Surroundings::read(access.config.as_deref(), &variable)?;
    let stream = around.offline_stream(which.nats.as_ref(), which.name.as_ref())?;
    Ok((around.data(access.data.as_ref()), stream))
}

fn info(access: &args::Access, which: &args::Which) -> Result<()> {
    let (dir, stream) = place(access, which)?;
    let stopped = offline::open(&dir, stream.as_ref())?;
    let mut progress = Progress::new("verifying", Unit::Entries, Some(stopped.head));
    let verified = verify::ledger(&stopped, &[], |entry| progress.at(entry))?;
    drop(progress);
    let created = &stopped.created;
    if access.json {
        let mut told = verified.json();
        told["name"] = json!(created.name);
        told["origin"] = json!(created.origin);
        told["genesis_key"] = json!(created.genesis_key);
        return Ok(show::line(&told.to_string())?);
    }
    show::line(&format!("name       {}", created.name))?;
    show::line(&format!("origin     {}", created.origin))?;
    Ok(show::line(&verified.lines().join("\n"))?)
}

fn dump(access: &args::Access, args: &args::Dump) -> Result<()> {
    let (dir, stream) = place(access, &args.which)?;
    let stopped = offline::open(&dir, stream.as_ref())?;
    let out = &args.out;
    let file = match File::create_new(out) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(usage(format!("`{}` exists; name a new file", out.display())));
        }
        Err(e) => return Err(e).with_context(|| format!("cannot make `{}`", out.display())),
    };
    let written = write_all(&stopped, file, args.headers);
    let bytes = match written {
        Ok(bytes) => bytes,
        Err(error) => {
            // Half a dump would verify as a shorter ledger.
            let _ = fs::remove_file(out);
            return Err(error.context(format!("cannot write `{}`", out.display())));
        }
    };
    let (entries, key) = (stopped.head, stopped.created.genesis_key);
    let headers = if args.headers { " --headers" } else { "" };
    let check = format!("bailiwick verify {} --key {key}{headers}", quoted(out));
    if access.json {
        let told = json!({
            "file": out, "bytes": bytes, "entries": entries, "genesis_key": key,
            "headers_only": args.headers, "verify": check,
        });
        return Ok(show::line(&told.to_string())?);
    }
    show::line(&format!("{entries} entries, {bytes} bytes in {}", out.display()))?;
    Ok(show::line(&format!("check it: {check}"))?)
}

fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+@%".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// Writes every entry behind its length, makes it durable, and gives the number of bytes.
fn write_all(stopped: &offline::Stopped, file: File, headers: bool) -> Result<u64> {
    let mut progress = Progress::new("writing", Unit::Entries, Some(stopped.head));
    let mut out = BufWriter::new(file);
    let (mut next, mut bytes) = (1, 0);
    while next <= stopped.head {
        let entries = stopped.reader.read(next, READ_ENTRIES, READ_BYTES)?;
        anyhow::ensure!(!entries.is_empty(), "entry {next} of {} is missing", stopped.head);
        for entry in entries {
            let entry = if headers {
                EntryRef::parse(&entry)
                    .with_context(|| format!("entry {next} is damaged"))?
                    .without_bodies()
            } else {
                entry.into()
            };
            let prefix =
                length_prefix(&entry).with_context(|| format!("entry {next} is damaged"))?;
            out.write_all(&prefix)?;
            out.write_all(&entry)?;
            bytes += (prefix.len() + entry.len()) as u64;
            next += 1;
        }
        progress.at(next - 1);
    }
    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    Ok(bytes)
}

/// The note as others verify it, with the key that does so on standard error.
fn checkpoint(access: &args::Access) -> Result<()> {
    online(access, |desk| async move {
        let signed = desk.http.post("/v1/checkpoints", &json!({})).await?;
        if desk.json {
            return show::json::one(true, &signed);
        }
        let text = |field: &str| signed[field].as_str().unwrap_or_default().to_owned();
        show::line(text("note").trim_end())?;
        show::note(&format!("verifies with {}", text("verifier_key")));
        Ok(())
    })
}

fn put_back(access: &args::Access, which: &args::Which) -> Result<()> {
    let (dir, stream) = place(access, which)?;
    let mut log: Box<dyn Log> = match &stream {
        Some(stream) => Box::new(JetStream::connect(stream)?),
        None => Box::new(Embedded::open(&home::log_dir(&dir))?),
    };
    let repaired = repair(log.as_mut(), &home::anchor_dir(&dir))?;
    let (before, now) = (repaired.head_before, repaired.head);
    if access.json {
        return Ok(show::line(&json!({"head_before": before, "head": now}).to_string())?);
    }
    let what = match now.saturating_sub(before) {
        0 => format!("nothing was missing: the ledger ends at entry {now}, as it should"),
        put_back => format!("{put_back} entries were put back: the ledger ends at entry {now}"),
    };
    Ok(show::line(&what)?)
}
