//! The revocation stream: server-sent events, each with its number, resumed behind any number that
//! is still kept, and a sign of life every 250 ms.
//!
//! One thread reads new items from the committed state, once, and lays them out as frames; streams
//! take frames from there. A stream holds no buffer of its own: whoever reads slowly is behind in
//! the feed, and is told so and cut off when the feed no longer keeps what comes next, or when
//! nothing at all was taken for a while.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use bailiwick_core::event::Role;
use bailiwick_core::feed::ResumeError;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use utoipa::IntoParams;

use crate::auth::Caller;
use crate::body::Asked;
use crate::desk::Desk;
use crate::moment;
use crate::problem::{
    Details, FEED_FUTURE, FEED_TRUNCATED, INVALID_QUERY, Problem, STREAMS_EXHAUSTED,
};

mod feed;

pub(crate) use feed::Position;
use feed::{Next, frame};

/// How often a stream shows that it lives.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(250);
/// How long a reader may take nothing before it is cut off.
const SLOW_MAX: Duration = Duration::from_secs(5);
/// The most streams that are open at once.
const STREAMS_MAX: usize = 4_096;
/// The most items that are sent in one piece.
const PIECE_MAX: usize = 256;

const HEARERS: &[Role] =
    &[Role::Admin, Role::Operator, Role::Enforcer, Role::Subscriber, Role::Auditor, Role::Agent];

/// Where to begin.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StreamQuery {
    /// Send what comes behind this number; from now on if not given. The header `Last-Event-ID`
    /// says the same and comes first.
    after: Option<u64>,
}

/// Everything that narrows what may be done, as it becomes durable: `event: revocation` with the
/// feed item as data and its number as id, and `event: heartbeat` every 250 ms.
#[utoipa::path(get, path = "/v1/revocations/stream", tag = "revocations", params(StreamQuery),
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 410, body = Details, description = "what comes behind the number is not kept"),
        (status = "default", body = Details)))]
pub(crate) async fn open(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    headers: HeaderMap,
    Asked(query): Asked<StreamQuery>,
) -> Result<Response, Problem> {
    caller.needs(HEARERS)?;
    let after = last_event_id(&headers)?.or(query.after);
    let last = desk.read(move |state| {
        let feed = state.feed();
        let after = after.unwrap_or(feed.last());
        feed.after(after).map(|_| after)
    });
    let last = last.await?.map_err(|error| match error {
        ResumeError::TooOld { .. } => FEED_TRUNCATED.with(error.to_string()),
        ResumeError::Future { .. } => FEED_FUTURE.with(error.to_string()),
    })?;
    let Ok(place) = Arc::clone(&desk.feed.places).try_acquire_owned() else {
        return Err(STREAMS_EXHAUSTED.with(format!("{STREAMS_MAX} streams are open")));
    };
    let tail = Tail::new(desk, caller, last, place);
    let pieces = futures::stream::unfold(tail, |mut tail| async move {
        let piece = tail.next().await?;
        Some((Ok::<_, Infallible>(piece), tail))
    });
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // Proxies of a common kind hold answers back otherwise.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| INVALID_QUERY.with("`Last-Event-ID` is not a number"))
}

/// One subscriber's end of the feed.
struct Tail {
    desk: Arc<Desk>,
    caller: Caller,
    /// The number of the last item that was sent.
    last: u64,
    numbers: watch::Receiver<u64>,
    beat: Interval,
    closing: watch::Receiver<bool>,
    /// When the last piece was handed over.
    gave: Instant,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

impl Tail {
    fn new(desk: Arc<Desk>, caller: Caller, last: u64, place: OwnedSemaphorePermit) -> Self {
        // The first tick comes at once: a subscriber that is up to date hears so.
        let mut beat = tokio::time::interval(HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (numbers, closing) = (desk.feed.number.subscribe(), desk.closing.clone());
        let gave = Instant::now();
        Self { desk, caller, last, numbers, beat, closing, gave, ended: false, _place: place }
    }

    /// The next piece to send; none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let piece = if self.gave.elapsed() > SLOW_MAX {
            Some(self.end("lagged"))
        } else {
            self.piece().await
        };
        self.gave = Instant::now();
        piece
    }

    async fn piece(&mut self) -> Option<Bytes> {
        loop {
            match self.desk.feed.after(self.last) {
                Next::Piece(piece, last) => {
                    self.last = last;
                    return Some(piece.into());
                }
                Next::Older => return Some(self.older().await),
                Next::End => return None,
                Next::Nothing => {}
            }
            let closes = async {
                // An error means that the server is gone, which is a shutdown too.
                let _ = self.closing.wait_for(|closing| *closing).await;
            };
            tokio::select! {
                biased;
                () = closes => return None,
                moved = self.numbers.changed() => moved.ok()?,
                _ = self.beat.tick() => return Some(self.heartbeat()),
            }
        }
    }

    /// A sign of life; the last one when the key no longer works.
    fn heartbeat(&mut self) -> Bytes {
        if !self.caller.is_live(&self.desk) {
            return self.end("credential_invalid");
        }
        let (last, time) = (self.last, moment::text(self.desk.ledger.now()));
        let data = format!("{{\"number\":{last},\"time\":\"{time}\"}}");
        format!("id: {last}\nevent: heartbeat\ndata: {data}\n\n").into()
    }

    /// Items from the committed state.
    async fn older(&mut self) -> Bytes {
        let (after, ledger) = (self.last, Arc::clone(&self.desk.feed.ledger));
        let read = self.desk.read(move |state| -> Result<(Vec<u8>, u64), ResumeError> {
            let (mut piece, mut last) = (Vec::new(), after);
            for item in state.feed().after(after)?.take(PIECE_MAX) {
                piece.extend_from_slice(&frame(&ledger, item));
                last = item.number;
            }
            Ok((piece, last))
        });
        match read.await {
            Ok(Ok((piece, last))) => {
                self.last = last;
                piece.into()
            }
            // What comes next is no longer kept, or cannot be read: nothing is skipped in silence.
            Ok(Err(_)) | Err(_) => self.end("lagged"),
        }
    }

    /// The last event of the stream, which says why it ends.
    fn end(&mut self, event: &str) -> Bytes {
        self.ended = true;
        format!("event: {event}\ndata: {{\"number\":{}}}\n\n", self.last).into()
    }
}

#[cfg(test)]
mod tests;
