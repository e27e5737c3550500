//! One subscriber: a connection, and what came over it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use bailiwick_core::feed::Item;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::clock;
use super::super::stage::Stage;

/// The number of a listener that has not begun.
const NOT_BEGUN: u64 = u64::MAX;
const REASON: &str = "event ";

/// The words by which an event is known again.
pub(super) fn reason(event: usize) -> String {
    format!("{REASON}{event}")
}

/// A subscriber that listens.
#[derive(Debug)]
pub(super) struct Listener {
    stands_at: Arc<AtomicU64>,
    heard: JoinHandle<Result<Heard>>,
}

/// What a subscriber heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Where the feed stood at the first sign of life.
    first: Option<u64>,
    /// Numbers in the order in which they came, and when.
    pub(super) items: Vec<(u64, u64)>,
    /// Which number is which event, for a subscriber that reads what items say.
    pub(super) events: BTreeMap<u64, usize>,
    pub(super) heartbeats: u64,
    /// How the stream ended, if it ended by itself.
    ended: Option<String>,
}

impl Listener {
    /// Subscribes to everything from now on. With `reads` it looks at what items say.
    pub(super) fn start(
        client: &reqwest::Client,
        stage: &Stage,
        reads: bool,
        mut stops: watch::Receiver<bool>,
    ) -> Self {
        let url = format!("{}/v1/revocations/stream", stage.http.url());
        let asked = client.get(url).bearer_auth(&stage.enforcer);
        let stands_at = Arc::new(AtomicU64::new(NOT_BEGUN));
        let shown = Arc::clone(&stands_at);
        let heard = tokio::spawn(async move {
            let mut heard = Heard::default();
            let listening = listen(asked, reads, &shown, &mut heard);
            let ended = tokio::select! {
                ended = listening => Some(ended),
                _ = stops.wait_for(|stops| *stops) => None,
            };
            if let Some(ended) = ended {
                heard.ended = Some(ended?);
            }
            Ok(heard)
        });
        Self { stands_at, heard }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.stands_at.load(Ordering::Relaxed) != NOT_BEGUN
    }

    /// The last number that it heard of.
    pub(super) fn stands_at(&self) -> u64 {
        self.stands_at.load(Ordering::Relaxed)
    }

    pub(super) async fn end(self) -> Result<Heard> {
        self.heard.await.context("a subscriber")?.context("a subscriber")
    }
}

/// Listens until the stream ends, and gives its last words.
async fn listen(
    asked: reqwest::RequestBuilder,
    reads: bool,
    stands_at: &AtomicU64,
    heard: &mut Heard,
) -> Result<String> {
    let mut response = asked.send().await?.error_for_status()?;
    let mut text = Vec::new();
    let mut last_words = String::new();
    while let Some(chunk) = response.chunk().await? {
        let at = clock::now();
        text.extend_from_slice(&chunk);
        let mut begin = 0;
        while let Some(length) = text[begin..].windows(2).position(|two| two == b"\n\n") {
            let block = std::str::from_utf8(&text[begin..begin + length])?;
            last_words = heard.take(block, at, reads)?.unwrap_or(last_words);
            begin += length + 2;
        }
        text.drain(..begin);
        let item = heard.items.last().map(|(number, _)| *number);
        if let Some(number) = item.or(heard.first) {
            stands_at.store(number, Ordering::Relaxed);
        }
    }
    Ok(last_words)
}

impl Heard {
    /// Takes one event of the stream in. Gives its name when it is none that is known.
    fn take(&mut self, block: &str, at: u64, reads: bool) -> Result<Option<String>> {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        let number = || {
            field("id: ").context("an event without a number")?.parse::<u64>().context("a number")
        };
        match field("event: ") {
            Some("heartbeat") => {
                self.heartbeats += 1;
                let number = number()?;
                self.first.get_or_insert(number);
                Ok(None)
            }
            Some("revocation") => {
                let number = number()?;
                self.items.push((number, at));
                if reads {
                    let item: Item = serde_json::from_str(field("data: ").unwrap_or_default())?;
                    let words =
                        item.reason.as_ref().and_then(|why| why.as_str().strip_prefix(REASON));
                    self.events.extend(words.and_then(|event| Some((number, event.parse().ok()?))));
                }
                Ok(None)
            }
            other => Ok(Some(other.unwrap_or_default().to_owned())),
        }
    }

    /// What is wrong with what was heard, which must be every number behind `first` up to `last`.
    pub(super) fn faults(&self, first: u64, last: u64) -> impl Iterator<Item = String> {
        let ended = self.ended.as_ref().map(|words| format!("the stream ended: `{words}`"));
        let began = self.first.filter(|began| *began != first);
        let began = began.map(|began| format!("began at {began} instead of {first}"));
        let numbers = self.items.iter().map(|(number, _)| *number);
        let expected = (first + 1)..=last;
        let wrong = if numbers.clone().eq(expected.clone()) {
            None
        } else {
            let hole = expected.zip(numbers.clone()).find(|(expected, number)| expected != number);
            let came = numbers.count();
            Some(match hole {
                Some((expected, number)) => format!("{number} came in the place of {expected}"),
                None => format!("{came} of {} came", last - first),
            })
        };
        [ended, began, wrong].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(blocks: &[&str]) -> Heard {
        let mut heard = Heard::default();
        for block in blocks {
            heard.take(block, 7, false).unwrap();
        }
        heard
    }

    #[test]
    fn only_everything_in_order_is_without_a_fault() {
        let beat = "id: 4\nevent: heartbeat\ndata: {}";
        let (five, six, seven) =
            ("id: 5\nevent: revocation", "id: 6\nevent: revocation", "id: 7\nevent: revocation");
        let whole = heard(&[beat, five, six]);
        assert_eq!((whole.heartbeats, whole.faults(4, 6).count()), (1, 0));
        for blocks in [
            &[beat, five][..],
            &[beat, six, five],
            &[beat, five, seven],
            &[beat, five, five, six],
            &[beat, five, six, seven],
            &["id: 5\nevent: heartbeat", five, six],
        ] {
            assert_eq!(heard(blocks).faults(4, 6).count(), 1, "{blocks:?}");
        }
        let ended = Heard { ended: Some("lagged".to_owned()), ..whole };
        assert_eq!(ended.faults(4, 6).count(), 1);
    }
}
