//! `kill -9` under load: what was acknowledged is on the chain, and no grant is used too often.
//!
//! Clients ask for decisions as fast as they can; the server, or its NATS server, is killed in the
//! midst of it and started again. `BAILIWICK_TEST_KILLS` makes the runs as long as one likes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::nats;
use crate::support::http::{Client, Connection};
use crate::support::serve::{Launch, Serve, plain};
use crate::support::{PATIENCE, number, said, text, until, world};

const AGENTS: [&str; 2] = ["support-1", "support-2"];
const CLIENTS: usize = 8;
/// Fewer than the clients could use up between two kills, so that the limit is put to the test.
const GRANTS_EACH: usize = 6;
const USES_MAX: usize = 40;

/// What a client was told, and may rely on.
#[derive(Debug)]
struct Acknowledged {
    call: String,
    index: u64,
    link: String,
    grant: String,
}

/// Everything that was told to clients and everything that is on the chain.
#[derive(Debug, Default)]
struct Books {
    told: Vec<Acknowledged>,
    /// Links in the order of the chain.
    links: Vec<String>,
    /// The event that allowed a call, by the client's id of it.
    calls: BTreeMap<String, u64>,
    uses: BTreeMap<String, usize>,
}

/// One round: grants to use, and what came of using them.
#[derive(Debug, Default)]
struct Round {
    number: usize,
    /// (agent, resource) of each grant.
    targets: Vec<(&'static str, String)>,
    told: Mutex<Vec<Acknowledged>>,
    /// Questions to which no answer came.
    in_doubt: Mutex<Vec<Value>>,
    allowed: AtomicUsize,
    unavailable: AtomicUsize,
    enough: AtomicBool,
}

impl Round {
    /// Issues fresh grants.
    fn begin(number: usize, client: &Client) -> Self {
        let mut round = Self { number, ..Self::default() };
        for agent in AGENTS {
            for case in 0..GRANTS_EACH {
                let resource = format!("crm://case/{number}-{case}-{agent}");
                world::grant(client, agent, &resource, USES_MAX);
                round.targets.push((agent, resource));
            }
        }
        round
    }

    /// How many calls are to be allowed before the kill: from a few to nearly all that can be.
    fn calls_before_kill(&self) -> usize {
        let all = AGENTS.len() * GRANTS_EACH * USES_MAX;
        20 + self.number * 97 % (all - 40)
    }

    /// Asks until the connection breaks or it is enough.
    fn hammer(&self, client: usize, to: &Client) {
        let Ok(mut connection) = to.connect() else { return };
        let mut turn = client;
        while !self.enough.load(Ordering::Relaxed) {
            let (agent, resource) = &self.targets[turn % self.targets.len()];
            let call = format!("{}-{client}-{turn}", self.number);
            let question = world::question(agent, resource, &call);
            if !self.ask(&mut connection, question) {
                return;
            }
            turn += 1;
        }
    }

    /// Asks once and writes down what was said; false when nothing was.
    fn ask(&self, connection: &mut Connection, question: Value) -> bool {
        let Ok(answer) = world::ask(connection, &question) else {
            self.in_doubt.lock().expect("a client has panicked").push(question);
            return false;
        };
        let context = &answer["context"];
        match world::code(&answer) {
            None => {
                let text = |value: &Value| value.as_str().expect("a text").to_owned();
                let told = Acknowledged {
                    call: text(&question["context"]["call_id"]),
                    index: context["receipt"]["index"].as_u64().expect("an index"),
                    link: text(&context["receipt"]["link"]),
                    grant: text(&context["grant_id"]),
                };
                self.told.lock().expect("a client has panicked").push(told);
                self.allowed.fetch_add(1, Ordering::Relaxed);
            }
            Some("unavailable") => {
                self.unavailable.fetch_add(1, Ordering::Relaxed);
            }
            Some("grant_exhausted" | "overloaded") => {}
            Some(other) => panic!("denied `{other}`: {answer}"),
        }
        true
    }

    fn await_allowed(&self, calls: usize) {
        let what = format!("{calls} calls were allowed");
        until(&what, PATIENCE, || (self.allowed.load(Ordering::Relaxed) >= calls).then_some(()));
    }

    /// Asks again what was not answered: with the same id, so that nothing is done twice.
    fn ask_again(&self, client: &Client) {
        let in_doubt = std::mem::take(&mut *self.in_doubt.lock().expect("a client has panicked"));
        let mut connection = client.connect().expect("connect");
        for question in in_doubt {
            assert!(self.ask(&mut connection, question), "no answer from a server that is ready");
        }
    }
}

impl Books {
    /// Takes in what the round's clients were told and what is new on the chain, and compares.
    fn check(&mut self, round: Round, client: &Client) {
        self.told.extend(round.told.into_inner().expect("a client has panicked"));
        for event in client.events(self.links.len() as u64) {
            let index = self.links.len() as u64;
            assert_eq!(event["index"], index, "events follow one another");
            self.links.push(event["link"].as_str().expect("a link").to_owned());
            if event["kind"] != "call.authorized" {
                continue;
            }
            let grant = event["data"]["grant"].as_str().expect("a grant").to_owned();
            *self.uses.entry(grant).or_default() += 1;
            let call = event["about"]["request"]["id"].as_str().expect("the caller's id");
            let twice = self.calls.insert(call.to_owned(), index);
            assert_eq!(twice, None, "call `{call}` was allowed twice");
        }
        for told in &self.told {
            let at = usize::try_from(told.index).expect("an index");
            assert_eq!(self.links.get(at), Some(&told.link), "{told:?} is not on the chain");
            assert_eq!(self.calls.get(&told.call), Some(&told.index), "{told:?}");
            assert!(self.uses.contains_key(&told.grant), "{told:?}");
        }
        self.check_tables(client);
        let over = self.uses.iter().find(|(_, uses)| **uses > USES_MAX);
        assert_eq!(over, None, "a grant of {USES_MAX} uses was used more often");
    }

    /// The tables have each event once, wherever a kill left it, and each call and grant once.
    fn check_tables(&self, client: &Client) {
        let ask = |sql: &str| {
            let answer = client.post("/v1/sql", &json!({ "sql": sql })).ok();
            answer["rows"].as_array().expect("rows").clone()
        };
        let rows = ask("select seq, link from events order by seq");
        for (index, (row, link)) in rows.iter().zip(&self.links).enumerate() {
            assert_eq!(*row, json!([index, link]), "event {index} is not what is on the chain");
        }
        assert!(rows.len() >= self.links.len(), "{} of {}", rows.len(), self.links.len());
        let counts = "select (select count(*) from calls) - (select count(*) from events
                where kind in ('call.authorized', 'call.denied')) as calls,
            (select count(*) - count(distinct seq) from calls) as twice,
            (select count(*) from grants) - (select count(*) from events
                where kind = 'grant.issued') as grants";
        assert_eq!(ask(counts), [json!([0, 0, 0])]);
    }

    /// What was on the chain at any time is on it now, and a verifier accepts all of it.
    fn close(&self, serve: Serve) {
        let links: BTreeSet<&str> = self.links.iter().map(String::as_str).collect();
        assert_eq!(links.len(), self.links.len(), "links repeat");
        let events = serve.client().events(0);
        let again = events.iter().map(|event| event["link"].as_str().expect("a link"));
        assert!(again.take(self.links.len()).eq(self.links.iter()), "the chain has changed");
        let dump = serve.data().with_extension("dump");
        let launch = serve.stop();
        verify(&launch, &dump);
        let files = fs::read_dir(launch.data.join("archive/segments")).expect("segments").count();
        assert!(files > 0, "the sealer had nothing to do");
    }
}

/// The directory verifies, and so does a dump under the ledger's own key.
fn verify(launch: &Launch, dump: &Path) {
    let (data, file) = (launch.data.display().to_string(), dump.display().to_string());
    let nats: Vec<&str> = launch.nats.iter().flat_map(|url| ["--nats", url]).collect();
    let run = |arguments: &[&str]| {
        let output = plain(arguments).output().expect("run `bailiwick`");
        assert!(output.status.success(), "`bailiwick {arguments:?}`: {}", said(&output));
        text(&output.stdout)
    };
    let with_nats = |arguments: &[&str]| run(&[arguments, nats.as_slice()].concat());
    let info = with_nats(&["ledger", "info", "--json", "--data", &data]);
    let info: Value = serde_json::from_str(&info).expect("JSON");
    let key = info["genesis_key"].as_str().expect("the ledger's key");
    assert!(with_nats(&["verify", &data]).contains("verified"));
    let archive = with_nats(&["archive", "verify", "--json", "--data", &data]);
    let archive: Value = serde_json::from_str(&archive).expect("JSON");
    assert!(archive["rows"].as_u64().is_some_and(|rows| rows > 0), "{archive}");
    with_nats(&["ledger", "dump", "--data", &data, "--out", &file]);
    let verified: Value =
        serde_json::from_str(&run(&["verify", &file, "--key", key, "--json"])).expect("JSON");
    assert_eq!(verified["verified"], true);
    assert_eq!(verified["last_link"], info["last_link"]);
    assert_eq!(verified["events"], info["events"]);
}

/// Kills `serve` in every round, with clients at work.
fn kill_serve(launch: Launch, rounds: usize) {
    let mut launch = launch;
    // So few that the sealer is at work nearly always, and is killed there.
    launch.more.extend(["--archive-events", "100"]);
    let mut serve = launch.start();
    world::found(&serve.client(), &AGENTS);
    let mut books = Books::default();
    for number in 0..rounds {
        let client = serve.client();
        let round = Round::begin(number, &client);
        let launch = thread::scope(|scope| {
            for number in 0..CLIENTS {
                let (round, client) = (&round, &client);
                scope.spawn(move || round.hammer(number, client));
            }
            round.await_allowed(round.calls_before_kill());
            // Segments are written all the time: the kill comes anywhere in the midst of one.
            thread::sleep(Duration::from_millis(number as u64 * 211 % 1_500));
            serve.kill()
        });
        serve = launch.start();
        round.ask_again(&serve.client());
        books.check(round, &serve.client());
    }
    assert!(books.told.len() >= rounds * 20, "{} calls were allowed", books.told.len());
    books.close(serve);
}

#[test]
fn killing_serve_on_the_embedded_log_loses_no_acknowledged_decision() {
    let dir = tempfile::tempdir().unwrap();
    kill_serve(Launch::embedded(&dir.path().join("data")), number("BAILIWICK_TEST_KILLS", 10));
}

#[test]
fn killing_serve_on_jetstream_loses_no_acknowledged_decision() {
    let dir = tempfile::tempdir().unwrap();
    let Some(nats) = nats::Server::start(dir.path()) else { return };
    let launch = Launch::on_nats(&dir.path().join("data"), &nats.url());
    kill_serve(launch, number("BAILIWICK_TEST_KILLS", 5));
}

#[test]
fn killing_the_nats_server_loses_no_acknowledged_decision() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut nats) = nats::Server::start(dir.path()) else { return };
    let mut launch = Launch::on_nats(&dir.path().join("data"), &nats.url());
    launch.more.extend(["--archive-events", "100"]);
    let serve = launch.start();
    let client = serve.client();
    world::found(&client, &AGENTS);
    let mut books = Books::default();
    for number in 0..number("BAILIWICK_TEST_NATS_KILLS", 3) {
        let round = Round::begin(number, &client);
        thread::scope(|scope| {
            for number in 0..CLIENTS {
                let (round, client) = (&round, &client);
                scope.spawn(move || round.hammer(number, client));
            }
            round.await_allowed(round.calls_before_kill() / 2);
            nats.kill();
            until("calls were denied `unavailable`", PATIENCE, || {
                (round.unavailable.load(Ordering::Relaxed) > 0).then_some(())
            });
            let before = round.allowed.load(Ordering::Relaxed);
            nats.restart();
            round.await_allowed(before + 10);
            round.enough.store(true, Ordering::Relaxed);
        });
        books.check(round, &client);
    }
    books.close(serve);
}
