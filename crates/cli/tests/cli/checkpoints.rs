//! A checkpoint on a ledger is held against the ledger's own tree.

use bailiwick_cli::verify::{self, Bodies, Error, KeyRing, Walk};
use bailiwick_core::decide::CHECKPOINT_AGE_MAX;
use bailiwick_core::event::{
    About, Actor, CheckpointSigned, Event, Fact, LedgerCreated, WriterStarted,
};
use bailiwick_core::id::Text;
use bailiwick_core::record::dump::length_prefix;
use bailiwick_core::record::fault::FaultKind;
use bailiwick_core::record::note::Checkpoint;
use bailiwick_core::record::tree::CompactRange;
use bailiwick_core::record::{EntryBuilder, LedgerId, Position, PublicKey, Root};
use bailiwick_core::time::Time;
use ed25519_dalek::SigningKey;

use crate::bailiwick::{bailiwick, demo, text};
use crate::server::Server;

const ORIGIN: &str = "ledger.example.com/acme";
const LEDGER: LedgerId = LedgerId([3; 16]);

/// A ledger as it is written: one event an entry.
struct Written {
    key: SigningKey,
    at: Position,
    tree: CompactRange,
    dump: Vec<u8>,
}

impl Written {
    fn begin() -> Self {
        let key = SigningKey::from_bytes(&[7; 32]);
        let (at, tree) = (Position::genesis(LEDGER), CompactRange::new());
        let mut written = Self { key, at, tree, dump: Vec::new() };
        let genesis_key = written.public();
        let [name, origin] = ["acme", ORIGIN].map(|t| Text::new(t).unwrap());
        written.add(Fact::LedgerCreated(LedgerCreated {
            ledger: LEDGER,
            name,
            origin,
            genesis_key,
            continues: None,
        }));
        written
    }

    fn public(&self) -> PublicKey {
        PublicKey(self.key.verifying_key().to_bytes())
    }

    fn add(&mut self, fact: Fact) {
        self.add_all(vec![fact]);
    }

    fn add_all(&mut self, facts: Vec<Fact>) {
        let mut builder = EntryBuilder::new(LEDGER, &self.at, 1);
        for (at, fact) in (0..).zip(facts) {
            let (kind, schema, time) =
                (fact.kind(), fact.schema(), Time(self.at.last_time.0 + 1 + at));
            let about = About {
                actor: Actor::System,
                on_behalf_of: None,
                cause: None,
                request: None,
                trace: None,
            };
            let mut body = Vec::new();
            Event { about, fact }.encode_body([1; 16], &mut body).unwrap();
            builder.push(kind, schema, time, &body).unwrap();
        }
        let sealed = builder.seal(&self.key).unwrap();
        let entry = bailiwick_core::record::EntryRef::parse(&sealed.bytes).unwrap();
        entry.frames().for_each(|frame| self.tree.push(frame.leaf()));
        self.at = sealed.position();
        self.dump.extend(length_prefix(&sealed.bytes).unwrap());
        self.dump.extend(sealed.bytes);
    }

    fn signed(&self, size: u64, root: Root, origin: &str, key: &SigningKey) -> Fact {
        let note = Checkpoint { origin: origin.to_owned(), size, root }.sign(key).unwrap();
        Fact::CheckpointSigned(CheckpointSigned { size, root, note: Text::new(&note).unwrap() })
    }

    fn verified(&self, threads: usize) -> Result<u64, FaultKind> {
        let walk = Walk::new(KeyRing::new(&self.public()).unwrap(), Bodies::Present, threads);
        match verify::dump(self.dump.as_slice(), walk, |_| ()) {
            Ok(summary) => {
                assert_eq!(summary.root, self.tree.root());
                Ok(summary.events)
            }
            Err(Error::Fault(fault)) => {
                assert_eq!(fault.index + 1, self.at.next_index, "the last event is the wrong one");
                Err(fault.what)
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_checkpoint_of_the_ledgers_own_tree_verifies() {
    let mut ledger = Written::begin();
    let mut earlier = Vec::new();
    for epoch in 1..50 {
        earlier.push((ledger.tree.size(), ledger.tree.root()));
        ledger.add(Fact::WriterStarted(WriterStarted { epoch }));
        // Some are of the tree right before their event, some of one a while before.
        if epoch % 5 == 0 {
            let (size, root) = earlier[earlier.len() - 1 - usize::from(epoch % 10 == 0)];
            ledger.add(ledger.signed(size, root, ORIGIN, &ledger.key));
        }
    }
    for threads in [1, 3] {
        assert_eq!(ledger.verified(threads), Ok(1 + 49 + 9));
    }
}

#[test]
fn a_checkpoint_of_anything_else_is_a_fault() {
    let refused = |fact: &dyn Fn(&Written) -> Fact| {
        let mut ledger = Written::begin();
        for epoch in 1..9 {
            ledger.add(Fact::WriterStarted(WriterStarted { epoch }));
        }
        ledger.add(fact(&ledger));
        let one = ledger.verified(1).unwrap_err();
        assert_eq!(ledger.verified(4), Err(one.clone()));
        one
    };
    let root = |size| FaultKind::CheckpointRoot { size };
    let other = SigningKey::from_bytes(&[8; 32]);
    let own = |ledger: &Written| (ledger.tree.size(), ledger.tree.root());
    assert_eq!(refused(&|l| l.signed(9, Root([1; 32]), ORIGIN, &l.key)), root(9));
    assert_eq!(refused(&|l| l.signed(8, own(l).1, ORIGIN, &l.key)), root(8));
    assert_eq!(refused(&|l| l.signed(10, own(l).1, ORIGIN, &l.key)), root(10));
    assert_eq!(refused(&|l| l.signed(u64::MAX, own(l).1, ORIGIN, &l.key)), root(u64::MAX));
    assert_eq!(refused(&|l| l.signed(9, own(l).1, "ledger.example.com/b", &l.key)), root(9));
    let unsigned = FaultKind::CheckpointSignature { size: 9 };
    assert_eq!(refused(&|l| l.signed(9, own(l).1, ORIGIN, &other)), unsigned);
    let noted = |l: &Written, size, root, note: &str| {
        let note = Text::new(note).unwrap();
        let Fact::CheckpointSigned(own) = l.signed(size, root, ORIGIN, &l.key) else {
            unreachable!("that is what it signs")
        };
        let note = if note.as_str() == "own" { own.note } else { note };
        Fact::CheckpointSigned(CheckpointSigned { note, size: 9, root: l.tree.root() })
    };
    assert_eq!(refused(&|l| noted(l, 9, own(l).1, "no note")), unsigned);
    // The event says one thing and its note another.
    assert_eq!(refused(&|l| noted(l, 8, own(l).1, "own")), root(9));
}

#[test]
fn a_checkpoint_that_cannot_be_read_is_a_fault() {
    let mut ledger = Written::begin();
    let mut builder = EntryBuilder::new(LEDGER, &ledger.at, 1);
    builder.push(4, 1, Time(ledger.at.last_time.0 + 1), &[0xff; 40]).unwrap();
    let sealed = builder.seal(&ledger.key).unwrap();
    ledger.at = sealed.position();
    ledger.dump.extend(length_prefix(&sealed.bytes).unwrap());
    ledger.dump.extend(sealed.bytes);
    assert_eq!(ledger.verified(1), Err(FaultKind::Unreadable));
}

#[test]
fn the_first_fault_is_told_whatever_it_is_of() {
    let mut ledger = Written::begin();
    ledger.add(ledger.signed(1, Root([1; 32]), ORIGIN, &ledger.key));
    let bad = ledger.dump.len();
    for epoch in 1..60 {
        ledger.add(Fact::WriterStarted(WriterStarted { epoch }));
    }
    ledger.dump[bad + 200] ^= 1;
    for threads in [1, 2, 4] {
        let walk = Walk::new(KeyRing::new(&ledger.public()).unwrap(), Bodies::Present, threads);
        let told = verify::dump(ledger.dump.as_slice(), walk, |_| ()).unwrap_err();
        let Error::Fault(fault) = told else { panic!("{told}") };
        assert_eq!((fault.index, fault.what), (1, FaultKind::CheckpointRoot { size: 1 }));
    }
}

#[test]
fn a_checkpoint_may_be_so_old_and_no_older() {
    let aged = |age: u64| {
        let mut ledger = Written::begin();
        let (size, root) = (ledger.tree.size(), ledger.tree.root());
        let mut left = age;
        while left > 0 {
            let more = left.min(4_096);
            let facts = (0..more).map(|epoch| Fact::WriterStarted(WriterStarted { epoch }));
            ledger.add_all(facts.collect());
            left -= more;
        }
        ledger.add(ledger.signed(size, root, ORIGIN, &ledger.key));
        ledger.verified(2)
    };
    assert_eq!(aged(CHECKPOINT_AGE_MAX), Ok(CHECKPOINT_AGE_MAX + 2));
    assert_eq!(aged(CHECKPOINT_AGE_MAX + 1), Err(FaultKind::CheckpointRoot { size: 1 }));
}

#[test]
fn a_server_signs_when_asked_and_every_so_often_and_the_ledger_verifies() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bailiwick.toml"), "checkpoint_every = \"200ms\"\n").unwrap();
    let server = Server::start_in(dir.path(), dir.path().join("data"));
    let signed = server.json(&["ledger", "checkpoint"]);
    let note = signed["note"].as_str().unwrap();
    let read = Checkpoint::read(note).unwrap();
    assert_eq!(signed["size"], read.size);
    assert_eq!(signed["root"], read.root.to_string());
    let said = server.run(&["ledger", "checkpoint"]).ends_with(0);
    Checkpoint::read(&said.out).unwrap();
    assert!(said.err.contains(&format!("verifies with {}+", read.origin)), "{said:?}");
    server.run(&["owner", "add", "alice@example.com"]).ends_with(0);
    let url = server.told["url"].as_str().unwrap();
    let key = std::fs::read_to_string(server.data.join("admin.key")).unwrap();
    let asked = |sql: &str| {
        let args = ["sql", sql, "--json", "--url", url, "--key", key.trim()];
        bailiwick(&args).ends_with(0).json()
    };
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let sql = "select count(*) from checkpoints c join events e on e.seq = c.seq \
                   where e.kind = 'checkpoint.signed' and c.size <= c.seq";
        let count = asked(sql)["rows"][0][0].as_u64().unwrap();
        // Questions are events too, so there is always news.
        if count >= 3 {
            break;
        }
        assert!(std::time::Instant::now() < until, "{count}");
    }
    let data = server.stop();
    let info = bailiwick(&["ledger", "info", "--json", "--data", text(&data)]).ends_with(0).json();
    assert_eq!(info["origin"], read.origin);
    // A stopped ledger's rows are held against it too.
    let last = info["events"].as_u64().unwrap() - 1;
    let sql = format!("select holds, rows, fault from verify_chain(0, {last})");
    let told = bailiwick(&["sql", &sql, "--json", "--data", text(&data)]).ends_with(0).json();
    assert_eq!(told["rows"], serde_json::json!([[true, last + 1, null]]));
}

#[test]
fn the_time_between_checkpoints_is_checked() {
    for (given, said) in [("soon", "not a length of time"), ("0s", "`never` is none at all")] {
        let args = ["serve", "--checkpoint-every", given, "--data", text(&demo().dir)];
        let refused = bailiwick(&args).ends_with(2);
        assert!(refused.err.contains(said), "{refused:?}");
    }
}
