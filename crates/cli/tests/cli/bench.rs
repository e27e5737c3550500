//! Short runs of the benchmarks that measure between processes: what must never happen does not,
//! and nothing is left behind.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::bailiwick::{bailiwick, command};
use crate::nats;

fn run(args: &[&str]) -> Value {
    let ended = bailiwick(&[&["bench", "--json"], args].concat());
    let told = ended.json();
    assert_eq!(told["violations"], json!([]), "{ended:?}");
    ended.ends_with(0);
    told
}

#[test]
fn nothing_is_used_after_enforced_paused_gateways_or_not() {
    let load = ["--gateways", "3", "--rate", "60", "--seconds", "4", "--pause", "1", "--seed", "7"];
    let told = run(&[&["revoke-latency"], &load[..]].concat());
    assert!(told["count"].as_u64() > Some(5), "{told}");
    assert_eq!(told["uses_after_enforced"], 0);
    assert_eq!(told["seed"], 7);
    let measured = ["p50_us", "p99_us", "max_us"].map(|name| told[name].as_f64().unwrap());
    assert!(measured.is_sorted(), "{told}");
    assert!(told["last_acknowledgement"]["count"] == told["count"], "{told}");
    assert!(told["calls"]["allowed"].as_u64() > Some(20), "{told}");
    // Whoever is revoked goes on calling, in vain.
    assert!(told["calls"]["denied"].as_u64() > Some(0), "{told}");
    let paused = &told["paused"];
    assert_eq!((&paused["gateways"], &paused["named_expired"]), (&1.into(), &1.into()), "{told}");
    assert_eq!(paused["uses_after_enforced"], 0);
    let enforced = paused["enforced_ms"].as_f64().unwrap();
    assert!((500.0..5_000.0).contains(&enforced), "{told}");
}

#[test]
fn nothing_is_used_while_the_server_is_cut_off_from_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let Some(nats) = nats::Server::start(dir.path()) else { return };
    let load = ["--gateways", "2", "--rate", "40", "--seconds", "2", "--cut-log", "--nats"];
    let told = run(&[&["revoke-latency"], &load[..], &[nats.url().as_str()]].concat());
    for variant in ["log_silent", "log_closed"] {
        let cut = &told[variant];
        assert_eq!((&cut["revocations"], &cut["named_expired"]), (&2.into(), &2.into()), "{told}");
        assert_eq!(cut["uses_after_enforced"], 0);
        assert!(cut["enforced_ms"].as_f64() < Some(5_000.0), "{told}");
    }
}

#[test]
fn every_subscriber_hears_of_everything() {
    let told = run(&["subscribers", "--count", "40", "--seconds", "3"]);
    assert!(told["events"].as_u64() >= Some(20), "{told}");
    assert_eq!((&told["missing"], &told["received"]), (&0.into(), &told["expected"]));
    assert!(told["heartbeats"].as_u64() > Some(40) && told["max_us"].as_f64() > Some(0.0));
    assert!(told["server"]["peak_kb"].as_u64() > Some(1_000), "{told}");
}

#[test]
fn the_rules_alone_are_measured_and_every_call_is_allowed() {
    let load = ["--policies", "12", "--grants", "40000", "--agents", "20", "--seconds", "1"];
    let told = bailiwick(&[&["bench", "decide", "--core", "--json"], &load[..]].concat());
    let told = told.ends_with(0).json();
    assert_eq!((&told["name"], &told["policies"]), (&"decide --core".into(), &12.into()));
    let measured = ["p50_us", "p99_us", "max_us"].map(|name| told[name].as_f64().unwrap());
    assert!(measured.is_sorted() && measured[0] > 0.0, "{told}");
    assert!(told["events"].as_u64() > Some(100), "{told}");
    assert!(told["per_second"].as_f64() < told["floor_per_second"].as_f64(), "{told}");
    // The system tells memory in steps of up to two megabytes.
    let bytes = told["bytes_a_live_grant"].as_f64().unwrap();
    assert!((150.0..500.0).contains(&bytes), "{told}");
    for wrong in [&["--policies", "4"][..], &["--agents", "0"], &["--grants", "0"]] {
        bailiwick(&[&["bench", "decide", "--core"], wrong].concat()).ends_with(2);
    }
    bailiwick(&["bench", "decide", "--grants", "10"]).ends_with(2);
    bailiwick(&["bench", "decide", "--core", "--connections", "10"]).ends_with(2);
}

/// The processes that any thread of `pid` started and that are there.
fn children(pid: Pid) -> Vec<Pid> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
    let texts = tasks
        .into_iter()
        .flatten()
        .flatten()
        .map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    let texts: Vec<String> = texts.collect();
    let numbers = texts.iter().flat_map(|text| text.split_whitespace());
    numbers.filter_map(|number| Pid::from_raw(number.parse().ok()?)).collect()
}

fn is_gone(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

fn within_a_minute(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < until, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn a_run_that_is_interrupted_leaves_no_process() {
    let load = ["bench", "revoke-latency", "--gateways", "2", "--seconds", "60", "--rate", "20"];
    let mut bench = command(&load).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let pid = Pid::from_child(&bench);
    let mut lines = BufReader::new(bench.stderr.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("starting a server and 2 gateways"));
    within_a_minute("a server and two gateways run", || children(pid).len() == 3);
    let mut all = children(pid);
    within_a_minute("each gateway has a server", || {
        all = children(pid)
            .into_iter()
            .flat_map(|child| [children(child), vec![child]].concat())
            .collect();
        all.len() == 5
    });
    kill_process(pid, Signal::INT).unwrap();
    assert_eq!(bench.wait().unwrap().code(), Some(1));
    within_a_minute("all of them are gone", || all.iter().copied().all(is_gone));
}
