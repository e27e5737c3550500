//! For those who run servers: does it live, is it ready, how is it doing. None of it needs a key,
//! and none of it names anybody.

use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bailiwick_ledger::{APPEND_BUCKETS_SECONDS, Counters, Health};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use serde::Serialize;
use utoipa::ToSchema;

use crate::body;
use crate::command::json;
use crate::desk::Desk;
use crate::problem::{INTERNAL, Problem};

/// Whether calls can be decided now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// Whether calls can be decided now.
    ready: bool,
    /// Why not, and what to do.
    why: Option<String>,
    /// Number of the last durable entry.
    entry: u64,
    /// Index after the last durable event.
    next_index: u64,
    /// Commands that wait.
    queue: usize,
    /// The anchor's last failure to be written.
    anchor: Option<String>,
    /// Why the revocation feed on NATS stands still; calls are decided all the same.
    feed: Option<String>,
}

/// The process lives.
#[utoipa::path(get, path = "/healthz", tag = "operate", security(()),
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(crate) async fn health() -> &'static str {
    "ok"
}

/// Whether calls can be decided now, and if not, why.
#[utoipa::path(get, path = "/readyz", tag = "operate", security(()),
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
pub(crate) async fn ready(State(desk): State<Arc<Desk>>) -> Response {
    let Health { ready, why, entry, next_index, queue, anchor, feed } = desk.ledger.health();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &Readiness { ready, why, entry, next_index, queue, anchor, feed })
}

/// Counts since the start, in the OpenMetrics text format.
#[utoipa::path(get, path = "/metrics", tag = "operate", security(()),
    responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
pub(crate) async fn metrics(State(desk): State<Arc<Desk>>) -> Result<Response, Problem> {
    let ledger = desk.ledger.clone();
    let (counters, health) =
        crate::desk::blocking(move || (ledger.counters(), ledger.health())).await?;
    let (ingested, points) = (desk.audit.ingested(), desk.points.live());
    let (running, unrecorded) = (desk.audit.running(), desk.questions.unrecorded());
    let mut registry = Registry::with_prefix("bailiwick");
    registry.register_collector(Box::new(Scrape {
        counters,
        health,
        ingested,
        points,
        running,
        unrecorded,
    }));
    let help = "Time from a revocation to no enforcement point acting against it, where asked for";
    registry.register_with_unit("enforced", help, Unit::Seconds, desk.points.took());
    let mut written = String::new();
    text::encode(&mut written, &registry)
        .map_err(|_| INTERNAL.with("the metrics cannot be written"))?;
    let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(CONTENT_TYPE, HeaderValue::from_static(media))], written).into_response())
}

/// The answer that decisions are measured against: it reads its body and says hello.
pub(crate) async fn hello(body: Body) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Hello {
        hello: &'static str,
    }
    body::read(body).await?;
    Ok(json(StatusCode::OK, &Hello { hello: "world" }))
}

/// What is known at one scrape.
#[derive(Debug)]
struct Scrape {
    counters: Counters,
    health: Health,
    ingested: Option<u64>,
    /// Live enforcement points.
    points: usize,
    /// Questions that run.
    running: usize,
    /// Questions that were answered and are not recorded.
    unrecorded: u32,
}

impl Scrape {
    fn counters(&self) -> [(&'static str, &'static str, u64); 8] {
        let c = &self.counters;
        [
            ("commands", "Commands decided", c.commands),
            ("calls_allowed", "Calls allowed", c.allowed),
            ("calls_denied", "Calls denied", c.denied),
            ("commands_refused", "Commands refused", c.refused),
            ("commands_overloaded", "Commands turned away because too many waited", c.overloaded),
            ("entries", "Entries committed", c.entries),
            ("events", "Events committed", c.events),
            ("appends_unknown", "Appends whose first outcome was unknown", c.unknown_outcomes),
        ]
    }

    fn gauges(&self) -> [(&'static str, &'static str, u64); 9] {
        let (c, health) = (&self.counters, &self.health);
        [
            ("ready", "Whether calls can be decided", u64::from(health.ready)),
            ("queue_commands", "Commands that wait", c.queue as u64),
            ("feed_number", "Number of the last item of the revocation feed", c.feed_number),
            ("ledger_entries", "Entries on the ledger", health.entry),
            ("ledger_events", "Events on the ledger", health.next_index),
            ("enforcement_points", "Enforcement points that can hold a lease", self.points as u64),
            ("questions_running", "Audit questions that run now", self.running as u64),
            (
                "questions_unrecorded",
                "Questions answered that found no room to be recorded, and are not told of yet",
                self.unrecorded.into(),
            ),
            (
                "audit_events",
                "Events in the audit tables",
                self.ingested.map_or(0, |last| last + 1),
            ),
        ]
    }
}

impl Collector for Scrape {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, count) in self.counters() {
            let counter = ConstCounter::new(count);
            let metric = to.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        for (name, help, value) in self.gauges() {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let metric = to.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        let c = &self.counters;
        let bytes = ConstCounter::new(c.bytes);
        let metric = to.encode_descriptor(
            "entries",
            "Bytes committed",
            Some(&Unit::Bytes),
            bytes.metric_type(),
        )?;
        bytes.encode(metric)?;
        let decided = ConstCounter::new(c.decide_seconds);
        let help = "Time spent deciding";
        let metric =
            to.encode_descriptor("decide", help, Some(&Unit::Seconds), decided.metric_type())?;
        decided.encode(metric)?;
        let bounds = APPEND_BUCKETS_SECONDS.into_iter().chain([f64::MAX]);
        let buckets: Vec<_> = bounds.zip(c.append_buckets).collect();
        let count = c.append_buckets.iter().sum();
        let help = "Time from an entry being sealed to its being durable";
        let unit = Some(&Unit::Seconds);
        let mut metric = to.encode_descriptor("append", help, unit, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(c.append_seconds, count, &buckets, None)
    }
}
