//! Ten audit questions over an archive the size of a company's quarter, beside DuckDB on the same
//! files.
//!
//! One process makes a ledger's events, folds them into the tables and seals them as a server does;
//! another opens the archive as a server does after a restart, says what that takes in memory, and
//! asks. DuckDB reads the same Parquet files; the few rows that we keep in memory it gets as a file.
//! Answers are computed whole and counted, not shown: showing them is no engine's work.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use bailiwick_audit::named::Named;
use bailiwick_audit::{Archiving, Audit, Bounds, Limits, Parameters, Place, Settings, Spill};
use bailiwick_core::record::PublicKey;
use bailiwick_core::time::Span;
use ed25519_dalek::SigningKey;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::process::usage;
use crate::service::cores;
use crate::show::progress::{Progress, Unit};

mod duckdb;
mod ledger;

/// Events in an entry.
const ENTRY_EVENTS: usize = 256;
/// What a question may take, but for rows: some answers here are long.
const LIMITS: Limits = Limits {
    rows: usize::MAX,
    bytes: usize::MAX,
    time: Duration::from_secs(300),
    memory_bytes: 256 * 1_024 * 1_024,
};

/// Arguments of `bench sql`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Events to make.
    #[arg(long, default_value_t = 2_000_000)]
    events: u64,
    /// Where to put the archive; a directory that goes away by default.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Ask the archive that is in `--data` already.
    #[arg(long, requires = "data")]
    reuse: bool,
    /// How often each question is asked; the median counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Ask only this question, may be repeated.
    #[arg(long = "question", value_name = "NAME")]
    questions: Vec<String>,
    /// Ask this instead, and show what comes, such as `explain analyze select …`.
    #[arg(long, requires = "reuse")]
    sql: Option<String>,
    /// A Python that can import `duckdb`, to compare with.
    #[arg(long, env = "BAILIWICK_DUCKDB_PYTHON", default_value = "python3")]
    python: PathBuf,
    /// Do not compare with DuckDB.
    #[arg(long)]
    alone: bool,
}

pub(super) fn run(args: &Args) -> Result<Value> {
    if args.reuse {
        let dir = args.data.as_deref().context("`--reuse` needs `--data`")?;
        return ask(dir, args);
    }
    let temporary = tempfile::tempdir().context("cannot make a temporary directory")?;
    let dir = args.data.clone().unwrap_or_else(|| temporary.path().to_owned());
    let made = make(&dir, args.events)?;
    // Another process asks, so that what making took is not counted.
    let mut again = Command::new(std::env::current_exe()?);
    again.args(["bench", "--json", "sql", "--reuse", "--events"]).arg(args.events.to_string());
    again.arg("--data").arg(&dir).arg("--runs").arg(args.runs.to_string());
    again.arg("--python").arg(&args.python);
    again.args(args.alone.then_some("--alone"));
    again.args(args.questions.iter().flat_map(|name| ["--question", name]));
    let asked = again.stderr(Stdio::inherit()).output().context("cannot start another process")?;
    if !asked.status.success() {
        bail!("asking failed");
    }
    let mut found: Map<String, Value> = serde_json::from_slice(&asked.stdout)?;
    found.insert("made".to_owned(), made);
    Ok(Value::Object(found))
}

fn archiving(dir: &Path) -> Archiving {
    let key = SigningKey::from_bytes(&[0x5a; 32]);
    let trusted = vec![PublicKey(key.verifying_key().to_bytes())];
    Archiving::new(Place::Directory(dir.to_owned()), ledger::LEDGER, key, trusted)
}

/// Makes the archive.
fn make(dir: &Path, count: u64) -> Result<Value> {
    let archiving = archiving(dir);
    let settings = Settings { threads: cores().get(), at_once: 1 };
    let audit = Audit::with_archive(settings, archiving)?;
    if audit.ingested().is_some() {
        bail!("`{}` holds an archive already; ask it with `--reuse`", dir.display());
    }
    let mut progress = Progress::new("making", Unit::Things, Some(count));
    let started = Instant::now();
    let audit = Arc::new(audit);
    let (stopping, stopped) = watch::channel(false);
    let sealer = {
        let audit = Arc::clone(&audit);
        std::thread::spawn(move || seal(&audit, stopped))
    };
    let mut events = ledger::Events::new(7, count);
    let (mut entry, mut done) = (0, 0);
    while let Some(some) = events.next(ENTRY_EVENTS) {
        entry += 1;
        audit.ingest(entry, &some)?;
        done += some.len() as u64;
        progress.at(done);
        // As a server's follower waits.
        while audit.is_full() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    stopping.send_replace(true);
    let sealing = sealer.join().map_err(|_| anyhow!("the sealer ended badly"))??;
    let status = audit.archive()?.context("there is an archive")?;
    Ok(json!({
        "events": done,
        "seconds": started.elapsed().as_secs_f64(),
        "sealed_per_second": done as f64 / sealing.as_secs_f64(),
        "segments": status.segments,
        "bytes": status.bytes,
        "bytes_each": status.bytes as f64 / done as f64,
        "peak_mb": usage(rustix::process::getpid())?.peak_kb / 1_024,
    }))
}

/// Seals what is due until it is told to stop, then the rest; for how long it did.
fn seal(audit: &Audit, mut stopped: watch::Receiver<bool>) -> Result<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut took = Duration::ZERO;
    runtime.block_on(async {
        let mut last = false;
        while !last {
            tokio::select! {
                () = audit.sealing_due() => {}
                _ = stopped.wait_for(|stopped| *stopped) => last = true,
            }
            let before = Instant::now();
            // What was being cut counts as one, and what came meanwhile as another.
            while audit.seal(last).await?.is_some() {}
            took += before.elapsed();
        }
        Ok(took)
    })
}

/// The ten questions, each with what it is asked.
fn questions(at: impl Fn(u64) -> String) -> Vec<(&'static str, Parameters)> {
    let whole = || vec![("since", json!(at(0)))];
    let asked = |given: Vec<(&str, Value)>| -> Parameters {
        given.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    };
    vec![
        ("who-touched", asked([whole(), vec![("resource", json!("crm://case/17"))]].concat())),
        ("standing-grants-from-log", asked(vec![("at", json!(at(50)))])),
        ("standing-grants", asked(vec![("at", json!(at(50)))])),
        ("grants-never-used", asked(whole())),
        ("revocation-latency", asked(whole())),
        ("denial-bursts", asked(whole())),
        ("approvals", asked(whole())),
        ("delegation-tree", asked(vec![])),
        ("drift", asked(vec![("baseline", json!(at(0))), ("since", json!(at(50)))])),
        ("access-review", asked(vec![("at", json!(at(99)))])),
    ]
}

/// A moment so many hundredths into the time that all events are spread over.
fn moment(hundredths: u64) -> String {
    crate::moment::rfc3339(ledger::START.after(Span::seconds(ledger::DAYS * 864 * hundredths)))
}

fn ask(dir: &Path, args: &Args) -> Result<Value> {
    let threads = cores().get();
    let opening = Instant::now();
    let spill = Some(Spill { directory: dir.join("spill"), bytes: 1 << 30 });
    let bounds = Bounds { limits: LIMITS, memory_bytes: LIMITS.memory_bytes, spill };
    let audit = Audit::with_archive(Settings { threads, at_once: 1 }, archiving(dir))?;
    let audit = audit.bounded(&bounds)?;
    let opened = opening.elapsed().as_secs_f64();
    let idle = usage(rustix::process::getpid())?;
    let last = audit.ingested().context("the archive is empty")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let chosen = |name: &str| args.questions.is_empty() || args.questions.iter().any(|q| q == name);
    if let Some(sql) = &args.sql {
        return one(&audit, &runtime, sql, args.runs);
    }
    let mut asked = questions(moment);
    asked.retain(|(name, _)| chosen(name));
    let mut ours = BTreeMap::new();
    let mut progress = Progress::new("asking", Unit::Things, Some(asked.len() as u64));
    for (done, (name, given)) in (0..).zip(&asked) {
        progress.at(done);
        let named = Named::find(name).context("every question is in the book")?;
        let mut times = Vec::new();
        let mut rows = 0;
        // The first time also compares the files with the manifest.
        for _ in 0..=args.runs {
            let before = Instant::now();
            rows = runtime
                .block_on(audit.count_named(named, given, &LIMITS))
                .with_context(|| format!("`{name}`"))?;
            times.push(before.elapsed().as_secs_f64());
        }
        let first = times.remove(0);
        ours.insert(*name, (first, median(times), rows));
    }
    let pages = pages(&audit, &runtime, last)?;
    drop(progress);
    let after = usage(rustix::process::getpid())?;
    drop(audit);
    let theirs = if args.alone { None } else { duckdb::ask(dir, &asked, threads, args)? };
    let mut found = json!({
        "name": "sql",
        "events": last + 1,
        "seconds": ours.values().map(|(_, seconds, _)| seconds).sum::<f64>(),
        "max_seconds": ours.values().map(|(_, seconds, _)| *seconds).fold(0.0, f64::max),
        "threads": threads,
        "memory_mb_each": LIMITS.memory_bytes / (1_024 * 1_024),
        "opened_seconds": opened,
        "idle_mb": idle.resident_kb / 1_024,
        "idle_anonymous_mb": idle.anonymous_kb / 1_024,
        "peak_mb": after.peak_kb / 1_024,
        "pages": pages,
    });
    let mut each = Map::new();
    for (name, (first, seconds, rows)) in &ours {
        let mut told = format!("{seconds:.3} s, first {first:.3} s, {rows} rows");
        if let Some((theirs, counted)) = theirs.as_ref().and_then(|theirs| theirs.get(*name)) {
            told += &format!("; DuckDB {theirs:.3} s, ratio {:.2}", seconds / theirs);
            if counted != rows {
                bail!("`{name}` has {rows} rows here and {counted} in DuckDB");
            }
        }
        each.insert((*name).to_owned(), told.into());
    }
    found["questions"] = each.into();
    match theirs {
        Some(theirs) => {
            let floor: f64 = theirs.values().map(|(seconds, _)| seconds).sum();
            found["floor"] = "DuckDB on the same files".into();
            found["floor_seconds"] = floor.into();
            found["ratio"] = (found["seconds"].as_f64().unwrap_or_default() / floor).into();
        }
        None => found["floor"] = "none: no DuckDB was found".into(),
    }
    Ok(found)
}

/// One question of who runs this, with its answer.
fn one(audit: &Audit, runtime: &tokio::runtime::Runtime, sql: &str, runs: usize) -> Result<Value> {
    let mut times = Vec::new();
    let mut answer = None;
    for _ in 0..=runs {
        let before = Instant::now();
        answer = Some(runtime.block_on(audit.run(sql, &LIMITS))?);
        times.push(before.elapsed().as_secs_f64());
    }
    let answer = answer.context("it was asked at least once")?;
    let first = times.remove(0);
    let peak = usage(rustix::process::getpid())?.peak_kb / 1_024;
    if answer.rows.len() <= 200 {
        crate::show::line(&crate::command::rows(&answer, 0))?;
    }
    Ok(json!({
        "name": "sql", "first_seconds": first, "seconds": median(times), "rows": answer.rows.len(),
        "peak_mb": peak,
    }))
}

/// What a console shows all day: the newest events, an agent, a grant.
fn pages(audit: &Audit, runtime: &tokio::runtime::Runtime, last: u64) -> Result<Value> {
    const TIMES: u64 = 40;
    let newest = |_| "select * from events order by seq desc limit 100".to_owned();
    let agent = |n| {
        format!(
            "select * from calls where agent_id = 'agent-{:04}' order by seq desc limit 100",
            n * 97 % 5_000
        )
    };
    let grant = |n| {
        let from = last / (TIMES + 1) * (n + 1);
        format!(
            "select g.*, c.ts, c.decision, c.outcome from grants g left join calls c on c.grant_id = g.grant_id
             where g.seq between {from} and {} and c.seq between {from} and {}",
            from + 20, from + 5_000
        )
    };
    let story = |n| {
        format!(
            "select seq, ts, kind, action, resource, reason from events where agent_id = 'agent-{:04}' order by seq desc limit 100",
            n * 97 % 5_000
        )
    };
    let mut told = Map::new();
    let pages: [(&str, &dyn Fn(u64) -> String); 4] = [
        ("newest_100", &newest),
        ("agent_calls", &agent),
        ("agent_events", &story),
        ("grant", &grant),
    ];
    for (name, sql) in pages {
        let mut times = Vec::new();
        for n in 0..TIMES {
            let before = Instant::now();
            runtime.block_on(audit.run(&sql(n), &LIMITS)).with_context(|| sql(n))?;
            times.push(before.elapsed().as_secs_f64() * 1_000.0);
        }
        times.sort_by(f64::total_cmp);
        let at = |hundredths: usize| times[(times.len() - 1) * hundredths / 100];
        told.insert(name.to_owned(), format!("p50 {:.1} ms, p95 {:.1} ms", at(50), at(95)).into());
    }
    Ok(told.into())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}
