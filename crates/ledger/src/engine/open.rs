//! Opening a ledger: anchor, snapshot, replay, then the first commands of a new writer.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arc_swap::ArcSwap;
use bailiwick_core::command::{Answer, Command, CreateLedger, IssueCredential};
use bailiwick_core::event::{Event, Fact, Role};
use bailiwick_core::id::{CredentialId, Text};
use bailiwick_core::record::note::Checkpoint;
use bailiwick_core::record::{EntryRef, LedgerId, PublicKey};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::batch::{Batch, Step};
use super::counters::Counts;
use super::overlay::Overlay;
use super::overtaken;
use super::queue::{Queue, Waiting};
use super::run::Engine;
use super::standing::Standing;
use super::{Config, Inner, Ledger, Shared, Store};
use crate::Error;
use crate::anchor::{self, Anchor};
use crate::clock::Clock;
use crate::feed;
use crate::home::{self, Home};
use crate::lock::Lock;
use crate::log::embedded::Embedded;
use crate::log::jetstream::JetStream;
use crate::log::jetstream::feed::FeedStream;
use crate::log::{Append, Log, Reader};
use crate::projector::Projector;
use crate::replay::{self, Projection};
use crate::snapshot;
use crate::tail::{Committed, Head, Tail};

pub(super) fn open(config: &Config, progress: impl FnMut(u64)) -> Result<Ledger, Error> {
    let home = Home::open(&config.home)?;
    let lock = Lock::exclusive(home.dir())?;
    let mut feed = None;
    let mut log: Box<dyn Log> = match &config.store {
        Store::Embedded => Box::new(Embedded::open(&home.log_dir())?),
        Store::JetStream(jetstream) => {
            let log = JetStream::connect(jetstream)?;
            feed = Some(log.feed(jetstream)?);
            Box::new(log)
        }
    };
    let reader = log.reader();
    let anchored = Anchor::load(&home.anchor_dir())?;
    // The embedded log lies in the same directory as the anchor: whoever has one has the other.
    let trust_head = config.trust_head || matches!(config.store, Store::Embedded);
    anchor::check(anchored.as_ref(), reader.as_ref(), trust_head)?;
    let anchored = anchored.map_or(0, |anchor| anchor.number);
    let mut projection = restore(&home, reader.as_ref(), anchored, progress)?;
    check_writer(&home, &projection)?;
    let keeper = anchor::Keeper::start(&home.anchor_dir())?;
    let began = Instant::now();
    take_up(config, &home, log.as_mut(), &mut projection, &keeper)?;
    let number = projection.state.feed().last();
    let ledger =
        start(config, home, lock, log, projection, keeper, Standing::writer(began, number))?;
    if let Some(stream) = feed {
        publish(&ledger, stream, reader)?;
    }
    Ok(ledger)
}

/// Starts to publish the revocation feed.
fn publish(ledger: &Ledger, stream: FeedStream, reader: Arc<dyn Reader>) -> Result<(), Error> {
    let shared = Arc::clone(&ledger.inner.shared);
    let source = feed::Source {
        ledger: ledger.info().name,
        tail: Arc::clone(&shared.tail),
        kept: Box::new(move |after, most| {
            shared.projector.read(shared.tail.head().entry, |committed| {
                Ok(committed.state.feed().after(after)?.take(most).cloned().collect())
            })
        }),
        reader,
    };
    let dir = ledger.inner.shared.home.dir();
    let publisher =
        feed::Publisher::start(stream, source).map_err(Error::file("start a thread for", dir))?;
    *ledger.inner.publisher() = Some(publisher);
    Ok(())
}

/// The state up to the head of the log: snapshot where there is one, replay for the rest.
fn restore(
    home: &Home,
    reader: &dyn Reader,
    anchored: u64,
    progress: impl FnMut(u64),
) -> Result<Projection, Error> {
    let Some(created) = creation(reader)? else {
        return Projection::genesis(LedgerId(home::draw()?), &home.public());
    };
    let (ledger, genesis_key) = created;
    let stored = snapshot::load(&home.snapshot_path(), ledger, home.signing(), reader);
    let stored = stored.unwrap_or_else(|error| {
        tracing::warn!(%error, "the snapshot is passed over");
        None
    });
    let mut projection = match stored {
        Some(projection) => projection,
        None => Projection::genesis(ledger, &genesis_key)?,
    };
    replay::catch_up(&mut projection, reader, anchored, progress)?;
    Ok(projection)
}

/// The ledger's id and genesis key from its first event. The key counts because this node's anchor
/// or its operator vouches for the ledger.
pub(crate) fn creation(reader: &dyn Reader) -> Result<Option<(LedgerId, PublicKey)>, Error> {
    let first = reader.read(1, 1, 1)?;
    let Some(bytes) = first.first() else { return Ok(None) };
    let damaged = |what: String| Error::NotAnEntry { number: 1, what };
    let entry = EntryRef::parse(bytes).map_err(|e| damaged(e.to_string()))?;
    let frame = entry.frames().next().ok_or_else(|| damaged("it is empty".to_owned()))?;
    let event = Event::decode_body(frame.header.kind, frame.header.schema, frame.body)
        .map_err(|source| Error::Event { index: 0, source })?;
    if let Fact::LedgerCreated(created) = event.fact {
        Ok(Some((created.ledger, created.genesis_key)))
    } else {
        Err(damaged("it does not begin with `ledger.created`".to_owned()))
    }
}

/// Whether this node's key may sign.
fn check_writer(home: &Home, projection: &Projection) -> Result<(), Error> {
    let own = home.public();
    if projection.keys.keys().any(|(key, _)| key == own) {
        return Ok(());
    }
    Err(Error::NotAWriter { key: own, dir: home.dir().to_owned() })
}

/// Appends the first entry of this writer: the ledger if it is new, the writer's epoch, and the
/// admin key if none was made here.
fn take_up(
    config: &Config,
    home: &Home,
    log: &mut dyn Log,
    projection: &mut Projection,
    keeper: &anchor::Keeper,
) -> Result<(), Error> {
    let epoch = projection.state.epoch() + 1;
    let mut commands = Vec::new();
    if projection.state.next_index() == 0 {
        commands.push(Command::CreateLedger(CreateLedger {
            ledger: projection.ledger,
            name: name_text(config)?,
            origin: origin(config, projection.ledger)?,
            genesis_key: home.public(),
        }));
    }
    commands.push(Command::StartWriter { epoch });
    commands.extend(admin_key(home, projection)?);
    let mut clock = Clock::start(projection.state.last_time());
    let now = clock.read();
    let mut chance = StdRng::from_seed(home::draw()?);
    let mut batch = Batch::begin(projection.ledger, &projection.position, epoch);
    let mut state = projection.state.clone();
    for command in commands {
        let waiting = Waiting::by_system(command);
        if let Step::Full(_) = batch.take(&mut state, waiting, now, &mut chance) {
            unreachable!("three small events fit an entry");
        }
    }
    let (entry, events, decided) = batch.into_parts();
    let refused = decided.iter().find_map(|one| match &one.answer {
        Answer::Refused(refusal) => Some(refusal.message.clone()),
        Answer::Done(_) | Answer::Decided(_) => None,
    });
    if let Some(what) = refused {
        return Err(Error::NotTakenUp { what });
    }
    let Some(sealed) = entry.seal(home.signing()) else { return Ok(()) };
    append_first(log, projection.position.entry_number, &sealed)?;
    let position = sealed.position();
    let bytes = bytes::Bytes::from(sealed.bytes);
    keeper.advance(bytes.clone());
    projection.apply(&Committed { number: position.entry_number, bytes, events }, position);
    Ok(())
}

/// Appends the writer's first entry; a few attempts, since the outcome of one may be unknown.
fn append_first(
    log: &mut dyn Log,
    before: u64,
    sealed: &bailiwick_core::record::Sealed,
) -> Result<(), Error> {
    let mut last = String::new();
    for _ in 0..10 {
        match log.append(before, &sealed.bytes, Some(&sealed.last_link)) {
            Append::Committed => return Ok(()),
            Append::LostRace => {
                let what = "another writer took it up at the same moment".to_owned();
                return Err(Error::NotTakenUp { what });
            }
            Append::Fatal(error) => return Err(error),
            Append::Unknown(reason) => last = reason.to_string(),
        }
    }
    Err(Error::Unavailable { what: last })
}

fn name_text(config: &Config) -> Result<Text, Error> {
    Text::new(config.name.as_str()).map_err(|e| Error::NotTakenUp { what: e.to_string() })
}

fn origin(config: &Config, ledger: LedgerId) -> Result<Text, Error> {
    let text = format!("{}.bailiwick.local/{ledger}", config.name.as_str());
    Text::new(&text).map_err(|e| Error::NotTakenUp { what: e.to_string() })
}

/// Makes the first admin key, in a file before it is on the ledger: the other way round a crash
/// could leave a key that nobody has.
fn admin_key(home: &Home, projection: &Projection) -> Result<Option<Command>, Error> {
    let path = home.admin_key_path();
    let key = match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().to_owned(),
        Err(_) if !path.exists() => {
            let key = format!("bwk_{}", hex::encode(home::draw::<32>()?));
            home::write_secret(&path, &key)?;
            key
        }
        Err(e) => return Err(Error::file("read", &path)(e)),
    };
    let hash = home.key_hash(&key);
    let known = projection.state.credentials().values().any(|c| c.key_hash == hash);
    if known {
        return Ok(None);
    }
    let name = format!("admin-{}", &hash.to_string()[..8]);
    let credential =
        CredentialId::new(&name).map_err(|e| Error::NotTakenUp { what: e.to_string() })?;
    let scram = Some(home.verifier(&credential, &key)?);
    Ok(Some(Command::IssueCredential(IssueCredential {
        credential,
        role: Role::Admin,
        agent: None,
        key_hash: hash,
        expires_at: None,
        owner: None,
        rotates: None,
        scram,
    })))
}

fn start(
    config: &Config,
    home: Home,
    lock: Lock,
    log: Box<dyn Log>,
    projection: Projection,
    keeper: anchor::Keeper,
    standing: Standing,
) -> Result<Ledger, Error> {
    let position = projection.position;
    let head = Head { entry: position.entry_number, next_index: position.next_index };
    let tail = Arc::new(Tail::new(log.reader(), head));
    let state = projection.state.clone();
    let ledger = projection.ledger;
    let mut clock = Clock::start(state.last_time());
    if config.trust_clock {
        clock.confirm();
    }
    let trouble = clock.unsure().map(|why| format!("clock_unsure: {why}"));
    let projector = Projector::start(
        projection,
        Arc::clone(&tail),
        home.snapshot_path(),
        home.signing().clone(),
    )?;
    let noted = keeper.noted().and_then(|note| Checkpoint::read(note).ok());
    let shared = Arc::new(Shared {
        queue: Queue::default(),
        view: ArcSwap::new(state.view()),
        tail,
        projector,
        counts: Counts::default(),
        standing,
        trouble: Mutex::new(trouble),
        clock_confirmed: AtomicBool::new(false),
        keeper,
        home,
        can_be_overtaken: matches!(config.store, Store::JetStream(_)),
        signing: tokio::sync::Mutex::new(noted),
    });
    let engine = Engine {
        shared: Arc::clone(&shared),
        log,
        ledger,
        epoch: state.epoch(),
        state,
        position,
        clock,
        chance: StdRng::from_seed(home::draw()?),
        linger: config.linger,
        role: overtaken::Role::Writer,
        overlay: Overlay::default(),
        looked: Instant::now(),
        last_tick: Instant::now(),
    };
    let dir = shared.home.dir().to_owned();
    let thread = std::thread::Builder::new()
        .name("bailiwick-engine".to_owned())
        .spawn(move || engine.run())
        .map_err(Error::file("start a thread for", &dir))?;
    let engine = Mutex::new(Some(thread));
    let publisher = Mutex::default();
    Ok(Ledger { inner: Arc::new(Inner { shared, engine, publisher, _lock: lock }) })
}
