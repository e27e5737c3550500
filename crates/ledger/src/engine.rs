//! The engine: one thread that decides, seals and appends; the handle through which everyone else
//! submits and reads.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bailiwick_core::command::{
    Answer, Command, Decision, Denied, Refusal, RefusalCode, Submission,
};
use bailiwick_core::event::{DenialCode, Recorded, ScramVerifier};
use bailiwick_core::id::{CallId, CredentialId};
use bailiwick_core::json::{self, JsonError};
use bailiwick_core::record::note::Checkpoint;
use bailiwick_core::record::{Digest, KeyRing, LedgerId, Link, PublicKey, Root};
use bailiwick_core::state::{State, View};
use bailiwick_core::time::Time;
use tokio::sync::{oneshot, watch};

use crate::Error;
use crate::anchor;
use crate::clock;
use crate::feed::Publisher;
use ed25519_dalek::SigningKey;

use crate::home::Home;
use crate::lock::Lock;
use crate::log::{Reader, jetstream};
use crate::projector::Projector;
use crate::scram;
use crate::tail::{Follower, Head, Tail};

mod batch;
mod checkpoint;
mod counters;
mod deliver;
mod open;
mod overlay;
mod overtaken;
mod queue;
mod run;
mod standing;

pub use counters::{APPEND_BUCKETS_SECONDS, Counters};
pub use queue::QUEUE_MAX;

use counters::Counts;
use queue::{Queue, Rejected, Waiting};
use standing::Standing;

/// How long a caller waits before a command that cannot be recorded is refused `unavailable`.
pub const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Where entries are stored.
#[derive(Debug, Clone)]
pub enum Store {
    /// In the node's own directory.
    Embedded,
    /// On a JetStream stream.
    JetStream(jetstream::Config),
}

/// How to open a ledger.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node's own directory: keys, anchor, snapshot and the embedded log.
    pub home: PathBuf,
    /// Where entries are stored.
    pub store: Store,
    /// The ledger's name.
    pub name: jetstream::Name,
    /// Accept a ledger that this node has no anchor for.
    pub trust_head: bool,
    /// Accept the system's clock although it does not fit the ledger.
    pub trust_clock: bool,
    /// How long the loop waits under load for more commands to share an entry.
    pub linger: Duration,
}

/// A command's public receipt: where its event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Receipt {
    /// Index of the event.
    pub index: u64,
    /// Hash of its header.
    pub link: Link,
}

/// What came of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The answer.
    pub answer: Answer,
    /// Where the answering event stands; none when nothing was recorded.
    pub receipt: Option<Receipt>,
    /// Whether it is on the ledger. A revocation taken while the log is away is in force before
    /// it is durable; everything else is answered only when it is.
    pub durable: bool,
}

/// What a ledger is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Info {
    /// Its random id.
    pub ledger: LedgerId,
    /// Its name.
    pub name: String,
    /// Its origin line in checkpoints.
    pub origin: String,
    /// Ed25519 public key of its first writer.
    pub genesis_key: PublicKey,
    /// The current writer's epoch.
    pub epoch: u64,
    /// Number of the last entry.
    pub entries: u64,
    /// How many events it has.
    pub events: u64,
    /// Link of the last event.
    pub link: Option<Link>,
    /// RFC 6962 root over all events.
    pub root: Root,
}

/// Whether commands are taken, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Health {
    /// Whether calls can be decided now.
    pub ready: bool,
    /// Why not, and what to do.
    pub why: Option<String>,
    /// How far the ledger is durable.
    pub entry: u64,
    /// Index after the last durable event.
    pub next_index: u64,
    /// Commands that wait.
    pub queue: usize,
    /// The anchor's last failure to be written, if it falls behind.
    pub anchor: Option<String>,
    /// Why the revocation feed on NATS stands still, and what to do. Calls are decided all the same.
    pub feed: Option<String>,
}

/// What the loop and the handles share.
struct Shared {
    queue: Queue,
    view: ArcSwap<View>,
    tail: Arc<Tail>,
    projector: Projector,
    counts: Counts,
    standing: Standing,
    /// Why no command is taken.
    trouble: Mutex<Option<String>>,
    clock_confirmed: std::sync::atomic::AtomicBool,
    keeper: anchor::Keeper,
    home: Home,
    can_be_overtaken: bool,
    /// What this node signed last; held while a checkpoint is signed and recorded.
    signing: tokio::sync::Mutex<Option<Checkpoint>>,
}

/// A ledger that is open for writing. Cheap to clone; closed when [`Ledger::close`] is called or
/// the last handle is gone.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    engine: Mutex<Option<JoinHandle<()>>>,
    /// Publishes the revocation feed where the store is NATS.
    publisher: Mutex<Option<Publisher>>,
    /// INVARIANT: dropped last, when no thread of this ledger writes to its directory any more.
    _lock: Lock,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("health", &self.health()).finish_non_exhaustive()
    }
}

impl Ledger {
    /// Opens a ledger, creating it if there is none: checks the anchor, restores the snapshot,
    /// replays the rest, and takes it up as its writer. `progress` hears entry numbers replayed.
    ///
    /// # Errors
    /// [`Error`], each with what to do: in use elsewhere, unreachable, rolled back, broken chain.
    pub fn open(config: &Config, progress: impl FnMut(u64)) -> Result<Self, Error> {
        open::open(config, progress)
    }

    /// Submits a command and waits until it is durable, refused, or [`ANSWER_MAX`] has passed.
    pub async fn submit(&self, mut submission: Submission) -> Reply {
        if let Command::Authorize(call) = &mut submission.command {
            call.verdicts = self.view().verdicts(call, clock::wall());
        }
        let is_call = matches!(submission.command, Command::Authorize(_));
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting::new(submission, reply);
        if let Err(rejected) = self.inner.shared.queue.push(waiting) {
            return self.reject(rejected, is_call);
        }
        // The loop answers in time by itself; this is for a thread that is stuck in the store.
        match tokio::time::timeout(ANSWER_MAX + ANSWER_MAX / 4, answer).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) | Err(_) => unavailable(is_call, "the ledger did not answer in time"),
        }
    }

    fn reject(&self, rejected: Rejected, is_call: bool) -> Reply {
        match rejected {
            Rejected::Full => {
                self.inner.shared.counts.overloaded.fetch_add(1, Ordering::Relaxed);
                overloaded(is_call)
            }
            Rejected::Closed => unavailable(is_call, "the ledger is closed"),
        }
    }

    /// What policy and authentication read; committed.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.inner.shared.view.load_full()
    }

    /// Reads the committed state, at least as new as any answer given before this call.
    pub fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        let shared = &self.inner.shared;
        shared.projector.read(shared.tail.head().entry, |projection| read(&projection.state))
    }

    /// Every public key that entries may be signed with, or might have been.
    #[must_use]
    pub fn keys(&self) -> Vec<PublicKey> {
        let shared = &self.inner.shared;
        shared.projector.read(shared.tail.head().entry, |projection| {
            projection.keys.keys().map(|(key, _)| key).collect()
        })
    }

    /// The keys that entries are verified under, each from its first entry on.
    #[must_use]
    pub fn key_ring(&self) -> KeyRing {
        let shared = &self.inner.shared;
        shared.projector.read(shared.tail.head().entry, |projection| projection.keys.clone())
    }

    /// Reads the entries as they are stored, on any thread that may block.
    #[must_use]
    pub fn reader(&self) -> Arc<dyn Reader> {
        self.inner.shared.tail.reader()
    }

    /// The key that this node signs with, for what else is signed in the ledger's name.
    #[must_use]
    pub fn signing_key(&self) -> SigningKey {
        self.inner.shared.home.signing().clone()
    }

    /// Follows the chain from after `entry`; 0 is the start.
    #[must_use]
    pub fn follow(&self, entry: u64) -> Follower {
        Follower::new(Arc::clone(&self.inner.shared.tail), entry)
    }

    /// Wakes whenever more is durable.
    #[must_use]
    pub fn committed(&self) -> watch::Receiver<Head> {
        self.inner.shared.tail.watch()
    }

    /// Durable events from an index on, in order, at most `limit`. Blocks while it reads.
    ///
    /// # Errors
    /// [`Error`] when the log cannot be read.
    pub fn events(&self, from: u64, limit: usize) -> Result<Vec<Recorded>, Error> {
        let shared = &self.inner.shared;
        if from >= shared.tail.head().next_index {
            return Ok(Vec::new());
        }
        let mut follower = self.follow(shared.projector.entry_before(from));
        let mut events = Vec::new();
        while events.len() < limit
            && let Some(entry) = follower.try_next()?
        {
            let room = limit - events.len();
            let wanted = entry.events.iter().filter(|r| r.place.index >= from);
            events.extend(wanted.take(room).cloned());
        }
        Ok(events)
    }

    /// The keyed hash under which an API key is recorded.
    #[must_use]
    pub fn key_hash(&self, key: &str) -> Digest {
        self.inner.shared.home.key_hash(key)
    }

    /// By what the holder of an API key is known to a server that never sees the key.
    ///
    /// # Errors
    /// [`Error::Chance`] when the system gives no salt.
    pub fn verifier(&self, credential: &CredentialId, key: &str) -> Result<ScramVerifier, Error> {
        self.inner.shared.home.verifier(credential, key)
    }

    /// The keys of a credential's verifier; none if they were sealed for another credential or under
    /// another secret.
    #[must_use]
    pub fn open_verifier(
        &self,
        credential: &CredentialId,
        verifier: &ScramVerifier,
    ) -> Option<scram::Keys> {
        self.inner.shared.home.open_verifier(credential, verifier)
    }

    /// A keyed hash by which a text is known again that was given away, such as a page's token.
    #[must_use]
    pub fn seal(&self, text: &str) -> Digest {
        self.inner.shared.home.seal(text)
    }

    /// The commitment to a call's arguments.
    ///
    /// # Errors
    /// [`JsonError`] when they have no canonical form.
    pub fn commitment(&self, arguments: &serde_json::Value) -> Result<Digest, JsonError> {
        json::commitment(self.inner.shared.home.secret(), arguments)
    }

    /// The system's time, to show what is live. Decisions use the loop's own reading.
    #[must_use]
    pub fn now(&self) -> Time {
        clock::wall()
    }

    /// An operator says that the system's clock is right.
    pub fn confirm_clock(&self) {
        self.inner.shared.clock_confirmed.store(true, Ordering::Release);
    }

    /// Whether commands are taken.
    #[must_use]
    pub fn health(&self) -> Health {
        let shared = &self.inner.shared;
        let why = shared.trouble().clone();
        let head = shared.tail.head();
        Health {
            ready: why.is_none(),
            why,
            entry: head.entry,
            next_index: head.next_index,
            queue: shared.queue.len(),
            anchor: shared.keeper.fault(),
            feed: self.inner.publisher().as_ref().and_then(Publisher::fault),
        }
    }

    /// When this process last became the ledger's writer; none while it is not, because another
    /// writer took up the ledger or this one is stopped.
    #[must_use]
    pub fn writer_since(&self) -> Option<Instant> {
        self.inner.shared.standing.since()
    }

    /// When the last round trip to the log began that showed that this process is the writer; none
    /// while it is not. While the log answers, the next one begins within 200 milliseconds.
    #[must_use]
    pub fn last_round_trip(&self) -> Option<Instant> {
        self.inner.shared.standing.last_round_trip()
    }

    /// The last round trip, as [`Ledger::last_round_trip`], and a number of the feed that is no older
    /// than it, whatever readers of the committed state have come to.
    #[must_use]
    pub fn vouched(&self) -> Option<(Instant, u64)> {
        self.inner.shared.standing.vouched()
    }

    /// Whether another process can take up the ledger while this one has it open.
    #[must_use]
    pub fn can_be_overtaken(&self) -> bool {
        self.inner.shared.can_be_overtaken
    }

    /// Counts since the start, for metrics.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let shared = &self.inner.shared;
        shared.counts.read(shared.queue.len(), self.read(|state| state.feed().last()))
    }

    /// What this ledger is, and how far.
    #[must_use]
    pub fn info(&self) -> Info {
        let shared = &self.inner.shared;
        shared.projector.read(shared.tail.head().entry, |projection| {
            let created = projection.state.ledger();
            Info {
                ledger: projection.ledger,
                name: created.map_or_else(String::new, |c| c.name.to_string()),
                origin: created.map_or_else(String::new, |c| c.origin.to_string()),
                genesis_key: created.map_or_else(|| shared.home.public(), |c| c.genesis_key),
                epoch: projection.state.epoch(),
                entries: projection.position.entry_number,
                events: projection.position.next_index,
                link: projection.state.last_link(),
                root: projection.tree.root(),
            }
        })
    }

    /// Stops taking commands, finishes those taken, writes snapshot and anchor, ends the wait of
    /// everyone who follows, lets go of the log. Blocks until done.
    pub fn close(&self) {
        self.inner.close();
    }
}

impl Inner {
    fn publisher(&self) -> std::sync::MutexGuard<'_, Option<Publisher>> {
        self.publisher.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.shared.queue.close();
        let engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(engine) = engine {
            // A panic of the engine has been reported by the panic itself.
            let _ = engine.join();
            let publisher = self.publisher().take();
            drop(publisher);
            self.shared.projector.close(self.shared.tail.head().entry);
            self.shared.keeper.flush();
            self.shared.tail.close();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn trouble(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unavailable(is_call: bool, why: &str) -> Reply {
    unrecorded(is_call, DenialCode::Unavailable, RefusalCode::Unavailable, why)
}

fn overloaded(is_call: bool) -> Reply {
    let why = "too many commands wait; try again in a moment";
    unrecorded(is_call, DenialCode::Overloaded, RefusalCode::Overloaded, why)
}

/// An answer to a command that was not recorded: a call is denied, anything else refused.
fn unrecorded(is_call: bool, denial: DenialCode, refusal: RefusalCode, why: &str) -> Reply {
    let answer = if is_call {
        let result = Err(Denied { code: denial, message: why.to_owned(), approval: None });
        Answer::Decided(Decision { call: CallId(0), result, repeats: None })
    } else {
        Answer::Refused(Refusal::new(refusal, why))
    };
    Reply { answer, receipt: None, durable: false }
}
