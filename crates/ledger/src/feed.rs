//! The revocation feed on NATS: publishes every durable item at its own number (`record.md` §6).
//!
//! The ledger is the truth, the feed the fast way to hear it: nothing waits for the publisher, and a
//! feed that is behind is continued where its stream stands, by whichever process is first. A stream
//! that says something else than the ledger is never appended to.

mod items;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bailiwick_core::feed::Item;
use tokio::runtime::Runtime;
use tokio::sync::watch;

pub(crate) use self::items::Kept;

use self::items::Items;
use crate::Error;
use crate::error::report;
use crate::log::jetstream::feed::{FeedStream, Last, MESSAGES_MAX, Message};
use crate::log::{BACKOFF, Reader};
use crate::tail::{Head, Tail};

/// How often the stream is looked at when there is nothing to publish, or nothing may be.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// For how long a stream may be away before that is worth telling.
const AWAY_MAX: Duration = Duration::from_secs(2);
/// How long closing waits for what is durable and not published yet; the next start goes on there.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// What a publisher reads.
pub(crate) struct Source {
    /// The ledger's name, as items say it.
    pub(crate) ledger: String,
    pub(crate) tail: Arc<Tail>,
    pub(crate) kept: Kept,
    /// The log itself, which may have more than this process has seen.
    pub(crate) reader: Arc<dyn Reader>,
}

/// A running publisher. Dropping it ends it.
pub(crate) struct Publisher {
    stopping: watch::Sender<bool>,
    fault: Arc<Mutex<Option<String>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Publisher {
    /// Starts to publish to `stream`.
    ///
    /// # Errors
    /// When the system starts no thread.
    pub(crate) fn start(stream: FeedStream, source: Source) -> std::io::Result<Self> {
        let (stopping, stop) = watch::channel(false);
        let fault = Arc::new(Mutex::new(None));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let work = Work {
            head: source.tail.watch(),
            items: Items::new(source.kept, Arc::clone(&source.tail), stop.clone()),
            tail: source.tail,
            reader: source.reader,
            ledger: source.ledger,
            stream,
            at: None,
            looked: Instant::now(),
            stop,
            fault: Arc::clone(&fault),
            away: None,
        };
        let thread = std::thread::Builder::new()
            .name("bailiwick-feed".to_owned())
            .spawn(move || work.run(&runtime))?;
        Ok(Self { stopping, fault, thread: Mutex::new(Some(thread)) })
    }

    /// What is wrong with the feed's stream, and what to do.
    pub(crate) fn fault(&self) -> Option<String> {
        guarded(&self.fault).clone()
    }

    /// Publishes what is durable, if that takes no longer than [`CLOSE_MAX`], and ends the thread.
    pub(crate) fn close(&self) {
        self.stopping.send_replace(true);
        if let Some(thread) = guarded(&self.thread).take() {
            // A panic of the publisher has been reported by the panic itself.
            let _ = thread.join();
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.close();
    }
}

fn guarded<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The publisher's own: nobody else touches it.
struct Work {
    ledger: String,
    head: watch::Receiver<Head>,
    tail: Arc<Tail>,
    items: Items,
    reader: Arc<dyn Reader>,
    stream: FeedStream,
    /// The last number in the stream, while that is known and all up to it is ours.
    at: Option<u64>,
    /// When the stream was last looked at.
    looked: Instant,
    stop: watch::Receiver<bool>,
    fault: Arc<Mutex<Option<String>>>,
    /// Since when the stream has not answered, and how often it was asked.
    away: Option<(Instant, usize)>,
}

/// What came of one step.
enum Step {
    /// Where the stream stands is known now.
    Looked,
    /// Items were published, and there may be more.
    Published,
    /// There is nothing to publish.
    Idle,
    /// Nothing may be published to such a stream.
    Wrong(String),
    /// It did not answer as it should.
    Away(String),
}

impl Work {
    fn run(mut self, runtime: &Runtime) {
        let mut closing = None;
        loop {
            // From here on, whatever more is durable ends the wait below.
            self.head.mark_unchanged();
            let step = self.step().unwrap_or_else(|error| Step::Away(report(&error)));
            self.tell(&step);
            if *self.stop.borrow() {
                let since = *closing.get_or_insert_with(Instant::now);
                let goes_on = matches!(step, Step::Looked | Step::Published);
                if !goes_on || since.elapsed() > CLOSE_MAX {
                    return;
                }
            }
            match step {
                Step::Looked | Step::Published => {}
                Step::Idle => runtime.block_on(self.wait(LOOK_EVERY, true)),
                Step::Wrong(_) => runtime.block_on(self.wait(LOOK_EVERY, false)),
                Step::Away(_) => {
                    let attempts = self.away.map_or(0, |(_, attempts)| attempts);
                    let pause = BACKOFF[attempts.min(BACKOFF.len() - 1)];
                    runtime.block_on(self.wait(pause, false));
                }
            }
        }
    }

    async fn wait(&mut self, limit: Duration, for_more: bool) {
        let more = async {
            if !for_more || self.head.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = more => {}
            _ = self.stop.wait_for(|stop| *stop) => {}
            () = tokio::time::sleep(limit) => {}
        }
    }

    /// Publishes what there is, or looks where the stream stands.
    fn step(&mut self) -> Result<Step, Error> {
        let Some(at) = self.at else { return self.look() };
        let items = self.items.after(at, MESSAGES_MAX)?;
        if items.is_empty() {
            return if self.looked.elapsed() >= LOOK_EVERY { self.look() } else { Ok(Step::Idle) };
        }
        let message = |item| self.message(item);
        let published = self.stream.publish(at, items.iter().map(message).collect());
        let Some(why) = published.doubt else {
            self.at = Some(at + published.stored as u64);
            return Ok(Step::Published);
        };
        // Another publisher may have been quicker, or the answer was lost: the stream itself says.
        self.at = None;
        tracing::debug!(after = at, stored = published.stored, why, "the feed is in doubt");
        Ok(if published.stored > 0 { Step::Published } else { Step::Away(why) })
    }

    /// Reads where the stream stands, and whether it says what the ledger says.
    fn look(&mut self) -> Result<Step, Error> {
        let known = self.at.take();
        let Some(Last { number, message }) = self.stream.last()? else {
            tracing::warn!(stream = self.stream.name(), "the feed's stream is gone, made again");
            self.stream.make_or_check()?;
            return Ok(Step::Looked);
        };
        self.looked = Instant::now();
        if number == 0 {
            return Ok(self.stands_at(0, known));
        }
        let seen = self.tail.head().entry;
        let Some(item) = self.items.at(number)? else { return self.ahead(number, seen) };
        if message.as_ref() == Some(&self.message(&item)) {
            return Ok(self.stands_at(number, known));
        }
        let (stream, subject) = (self.stream.name(), message.map(|message| message.subject));
        let subject = subject.map_or_else(String::new, |subject| format!(" (on `{subject}`)"));
        Ok(Step::Wrong(format!(
            "message {number} of the feed's stream `{stream}`{subject} is not the ledger's item \
             {number}: nothing is published there; something else has written to it, or it belongs \
             to another ledger. Delete the stream, and it is made again from the ledger"
        )))
    }

    fn stands_at(&mut self, number: u64, known: Option<u64>) -> Step {
        self.at = Some(number);
        // What was known already and is still so leaves nothing to do.
        if known == Some(number) { Step::Idle } else { Step::Looked }
    }

    /// The stream ends at a number that this process has not seen, the ledger being read up to
    /// entry `seen`.
    fn ahead(&self, number: u64, seen: u64) -> Result<Step, Error> {
        if self.reader.head()? > seen {
            // Another process has published what it has seen and this one has not.
            return Ok(Step::Idle);
        }
        let stream = self.stream.name();
        Ok(Step::Wrong(format!(
            "the feed's stream `{stream}` ends at {number}, which the ledger has not reached: nothing \
             is published there; something else has written to it, or the ledger has lost its end. \
             Once that is cleared up, delete the stream, and it is made again from the ledger"
        )))
    }

    fn message(&self, item: &Item) -> Message {
        self.stream.message(&item.subject(), item.to_json(&self.ledger))
    }

    /// Says once what has changed, in the log and in the ledger's health.
    fn tell(&mut self, step: &Step) {
        let fault = match step {
            // That it can be read does not say that it takes items.
            Step::Looked => return,
            Step::Published | Step::Idle => {
                self.away = None;
                None
            }
            Step::Wrong(what) => {
                self.away = None;
                Some(what.clone())
            }
            Step::Away(why) => {
                let (since, attempts) = self.away.map_or((Instant::now(), 0), |(s, a)| (s, a + 1));
                self.away = Some((since, attempts));
                if since.elapsed() < AWAY_MAX {
                    return;
                }
                let stream = self.stream.name();
                Some(format!("the feed's stream `{stream}` does not take items: {why}"))
            }
        };
        let mut told = guarded(&self.fault);
        if *told == fault {
            return;
        }
        match &fault {
            Some(what) => tracing::error!(what, "the revocation feed stands still"),
            None => tracing::info!("the revocation feed goes on"),
        }
        *told = fault;
    }
}
