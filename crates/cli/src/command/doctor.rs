//! `bailiwick doctor`: looks at everything that is known to go wrong, and says what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bailiwick_client::discover::{ENDPOINT_FILE, Sources, discover};
use bailiwick_ledger::home;
use bailiwick_ledger::log::jetstream::SERVER_VERSION_MIN;
use serde_json::{Value, json};

use crate::args;
use crate::config::{Surroundings, variable};
use crate::moment;
use crate::show::{self, table::table};

/// Free space below which an operator should hear of it, and below which it is a fault, in bytes.
const FREE_LOW: u64 = 2 << 30;
const FREE_MIN: u64 = 256 << 20;
/// How far the clocks of client and server may be apart; a `Date` counts whole seconds.
const CLOCK_APART_MAX: u64 = 2;
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug)]
struct Finding {
    verdict: Verdict,
    check: &'static str,
    detail: String,
}

#[derive(Debug, Default)]
struct Report(Vec<Finding>);

impl Report {
    fn add(&mut self, verdict: Verdict, check: &'static str, detail: impl Into<String>) {
        self.0.push(Finding { verdict, check, detail: detail.into() });
    }
}

pub(super) fn run(args: &args::Doctor) -> Result<ExitCode> {
    let around = Surroundings::read(args.access.config.as_deref(), &variable)?;
    let sources = around.sources(&args.access);
    let mut report = Report::default();
    look_at_directory(&mut report, &sources.data);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        look_at_server(&mut report, &sources).await;
        if let Some(url) = &args.nats_monitor {
            look_at_nats(&mut report, url.trim_end_matches('/')).await;
        }
    });
    tell(&report, args.access.json)?;
    let has_failed = report.0.iter().any(|finding| finding.verdict == Verdict::Fail);
    Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn look_at_directory(report: &mut Report, data: &Path) {
    const CHECK: &str = "data directory";
    if !data.exists() {
        let why = format!("`{}` does not exist; `bailiwick serve` makes it", data.display());
        return report.add(Verdict::Warn, CHECK, why);
    }
    report.add(Verdict::Ok, CHECK, data.display().to_string());
    for path in [home::admin_key_path(data), data.join("signing.key"), data.join("ledger.secret")] {
        let name = path.display();
        match fs::metadata(&path) {
            Ok(found) if found.permissions().mode() & 0o077 != 0 => {
                let why = format!("others may read `{name}`: `chmod 600 {name}`");
                report.add(Verdict::Fail, "secrets", why);
            }
            Ok(_) => report.add(Verdict::Ok, "secrets", format!("`{name}` is its owner's alone")),
            Err(error) => report.add(Verdict::Warn, "secrets", format!("`{name}`: {error}")),
        }
    }
    match rustix::fs::statvfs(data) {
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let verdict = match free {
                FREE_LOW.. => Verdict::Ok,
                FREE_MIN.. => Verdict::Warn,
                _ => Verdict::Fail,
            };
            let (free, unit) = (free >> 20, "MiB are free");
            report.add(verdict, "disk", format!("{free} {unit}; a full disk denies every call"));
        }
        Err(error) => report.add(Verdict::Warn, "disk", error.to_string()),
    }
}

async fn look_at_server(report: &mut Report, sources: &Sources) {
    let local = fs::read_to_string(sources.data.join(ENDPOINT_FILE)).ok();
    let Some(url) = sources.url.clone().or(local) else {
        let why = "no server runs on the data directory, and no URL is given";
        return report.add(Verdict::Warn, "server", why);
    };
    let url = url.trim().trim_end_matches('/').to_owned();
    let (date, ready) = match get(&format!("{url}/readyz")).await {
        Ok(found) => found,
        Err(error) => {
            let why = format!("{url} does not answer: {error:#}; is `bailiwick serve` running?");
            return report.add(Verdict::Fail, "server", why);
        }
    };
    report.add(Verdict::Ok, "server", format!("{url} answers"));
    look_at_readiness(report, &ready);
    match date {
        Some(theirs) => {
            let ours = moment::now().0 / 1_000_000_000;
            let apart = ours.abs_diff(theirs);
            let verdict = if apart > CLOCK_APART_MAX { Verdict::Warn } else { Verdict::Ok };
            report.add(verdict, "clock", format!("{apart} s apart from the server's"));
        }
        None => report.add(Verdict::Warn, "clock", "the server does not tell its time"),
    }
    look_at_key(report, sources).await;
}

fn look_at_readiness(report: &mut Report, ready: &Value) {
    let count = |name: &str| ready.get(name).and_then(Value::as_u64).unwrap_or_default();
    if ready.get("ready").and_then(Value::as_bool) == Some(true) {
        let (entry, events) = (count("entry"), count("next_index"));
        report.add(
            Verdict::Ok,
            "ready",
            format!("calls are decided; entry {entry}, {events} events"),
        );
    } else {
        let why = ready.get("why").and_then(Value::as_str).unwrap_or("it does not say why");
        report.add(Verdict::Fail, "ready", format!("calls are denied: {why}"));
    }
    if let Some(fault) = ready.get("anchor").and_then(Value::as_str) {
        report.add(Verdict::Fail, "anchor", format!("it falls behind: {fault}"));
    }
}

async fn look_at_key(report: &mut Report, sources: &Sources) {
    let http = match discover(sources) {
        Ok(http) => http,
        Err(error) => return report.add(Verdict::Fail, "key", error.to_string()),
    };
    match http.get("/v1/owners", &[("limit", "1")]).await {
        Ok(_) => report.add(Verdict::Ok, "key", "it works"),
        Err(bailiwick_client::Error::Refused { status: 403, .. }) => {
            report.add(Verdict::Ok, "key", "it works, with a role that may not list owners");
        }
        Err(error) => report.add(Verdict::Fail, "key", error.to_string()),
    }
}

async fn look_at_nats(report: &mut Report, url: &str) {
    let server = match get(&format!("{url}/varz")).await {
        Ok((_, server)) => server,
        Err(error) => {
            let why = format!("{url} does not answer: {error:#}");
            return report.add(Verdict::Fail, "nats", why);
        }
    };
    let version = server.get("version").and_then(Value::as_str).unwrap_or_default();
    if numbers(version) >= numbers(SERVER_VERSION_MIN) {
        report.add(Verdict::Ok, "nats version", version);
    } else {
        let why = format!("{version} is too old, {SERVER_VERSION_MIN} or newer is needed");
        report.add(Verdict::Fail, "nats version", why);
    }
    let jetstream = match get(&format!("{url}/jsz")).await {
        Ok((_, jetstream)) => jetstream,
        Err(error) => return report.add(Verdict::Fail, "nats sync", format!("{error:#}")),
    };
    match jetstream.pointer("/config/sync_always").and_then(Value::as_bool) {
        Some(true) => report.add(Verdict::Ok, "nats sync", "each message before its answer"),
        Some(false) | None if jetstream.get("config").is_none() => {
            report.add(Verdict::Fail, "nats sync", "JetStream is off on this server");
        }
        Some(false) | None => report.add(
            Verdict::Fail,
            "nats sync",
            "answers come before the disk: a power cut loses up to two minutes of acknowledged \
             events; set `jetstream { sync_interval: always }`",
        ),
    }
}

/// A version as numbers, so that 2.9 comes before 2.12.
fn numbers(version: &str) -> Vec<u64> {
    let plain = version.split('-').next().unwrap_or_default();
    plain.split('.').map(|part| part.parse().unwrap_or_default()).collect()
}

/// What a URL answers, with the server's time. A problem is an answer too.
async fn get(url: &str) -> Result<(Option<u64>, Value)> {
    let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
    let response = client.get(url).send().await?;
    let date = response.headers().get("date").and_then(|date| date.to_str().ok());
    let date = date.and_then(moment::http_date);
    let body = response.bytes().await?;
    let body = serde_json::from_slice(&body).context("the answer is not JSON")?;
    Ok((date, body))
}

fn tell(report: &Report, json: bool) -> Result<()> {
    let verdict = |finding: &Finding| match finding.verdict {
        Verdict::Ok => "ok",
        Verdict::Warn => "warn",
        Verdict::Fail => "fail",
    };
    if json {
        let checks: Vec<Value> = report
            .0
            .iter()
            .map(|f| json!({"check": f.check, "verdict": verdict(f), "detail": f.detail}))
            .collect();
        let is_well = report.0.iter().all(|finding| finding.verdict != Verdict::Fail);
        return Ok(show::line(&json!({"well": is_well, "checks": checks}).to_string())?);
    }
    let rows = report.0.iter().map(|finding| {
        let detail = show::harmless(&finding.detail);
        vec![verdict(finding).to_owned(), finding.check.to_owned(), detail]
    });
    Ok(show::line(&table(&["", "check", "found"], rows.collect()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(numbers("2.14.0") > numbers(SERVER_VERSION_MIN));
        assert!(
            numbers("2.9.25") < numbers("2.12.3") && numbers("2.12.3-RC.1") == numbers("2.12.3")
        );
        assert!(numbers("") < numbers("2"));
    }
}
