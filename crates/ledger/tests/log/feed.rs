//! The revocation feed's stream: what a ledger publishes, read by plain NATS clients, with the
//! server killed and others writing to the stream.

use std::path::Path;
use std::time::{Duration, Instant};

use async_nats::jetstream::{Context, stream};
use bailiwick_core::command::{
    Answer, Command, Done, IssueGrant, OpenTask, RequestGrant, Revoke, Submission, WriteAgent,
    WriteOwner,
};
use bailiwick_core::event::{Actor, AgentSettings, Selector};
use bailiwick_core::feed::Item;
use bailiwick_core::id::{Action, AgentId, OwnerId, Resource, TaskId, Text};
use bailiwick_ledger::{Config, Error, Ledger, Store};
use futures::StreamExt;
use futures::future::join_all;

use crate::jetstream::{administer, config};
use crate::nats::Server;

const STREAM: &str = "BAILIWICK_test_REVOCATIONS";
const PATIENCE: Duration = Duration::from_secs(60);

fn open(dir: &Path, url: &str) -> Ledger {
    try_open(dir, url).unwrap()
}

fn try_open(dir: &Path, url: &str) -> Result<Ledger, Error> {
    let config = Config {
        home: dir.to_owned(),
        store: Store::JetStream(config(url)),
        name: "test".parse().unwrap(),
        trust_head: true,
        trust_clock: false,
        linger: Duration::ZERO,
    };
    Ledger::open(&config, |_| {})
}

async fn done(ledger: &Ledger, command: Command) -> Option<Done> {
    let submission = Submission { actor: Actor::System, request: None, trace: None, command };
    match ledger.submit(submission).await.answer {
        Answer::Done(done) => Some(done),
        Answer::Refused(_) | Answer::Decided(_) => None,
    }
}

fn owner() -> OwnerId {
    OwnerId::new("alice@example.com").unwrap()
}

fn agent(name: &str) -> AgentId {
    AgentId::new(name).unwrap()
}

async fn register(ledger: &Ledger, agents: &[&str]) {
    let register = Command::RegisterOwner(WriteOwner { owner: owner(), groups: [].into() });
    done(ledger, register).await.unwrap();
    for name in agents {
        done(ledger, Command::RegisterAgent(written(name))).await.unwrap();
    }
}

fn written(name: &str) -> WriteAgent {
    let settings = AgentSettings {
        purpose: Text::new("support").unwrap(),
        groups: [].into(),
        allowlist: Vec::new(),
        expires_at: None,
    };
    WriteAgent { agent: agent(name), owner: owner(), settings }
}

fn revoke(selector: Selector) -> Command {
    Command::Revoke(Revoke { selector, grants_only: false, reason_code: None, reason: None })
}

fn case(number: usize) -> Selector {
    Selector::Resource(Resource::new(&format!("crm://case/{number}")).unwrap())
}

/// Subject and body of every message in the stream, in order, by sequence.
async fn stored(context: &Context) -> Vec<(String, String)> {
    let mut stream = context.get_stream(STREAM).await.unwrap();
    let state = stream.info().await.unwrap().state.clone();
    let mut found = Vec::new();
    for sequence in 1..=state.last_sequence {
        let message = stream.get_raw_message(sequence).await.unwrap();
        let body = String::from_utf8(message.payload.to_vec()).unwrap();
        found.push((message.subject.to_string(), body));
    }
    found
}

/// What has to be there: every item of the ledger at its number, on its subject.
fn published(ledger: &Ledger) -> Vec<(String, String)> {
    ledger.read(|state| {
        let items = state.feed().after(0).unwrap();
        let message = |item: &Item| {
            (format!("bailiwick.test.revocation.{}", item.subject()), item.to_json("test"))
        };
        items.map(message).collect()
    })
}

async fn comes_about(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < until, "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the stream has as many items as the ledger, and compares them all.
async fn is_published(ledger: &Ledger, context: &Context) {
    let last = ledger.read(|state| state.feed().last());
    comes_about("everything being published", async || {
        let mut stream = context.get_stream(STREAM).await.unwrap();
        let known = stream.info().await;
        known.is_ok_and(|info| info.state.last_sequence >= last)
    })
    .await;
    let found = stored(context).await;
    assert_eq!(found, published(ledger));
    for (number, (_, body)) in (1_u64..).zip(&found) {
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["number"], number, "the number is the sequence");
    }
}

async fn context(server: &Server) -> Context {
    async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap())
}

fn started() -> Option<(Server, tempfile::TempDir, tempfile::TempDir)> {
    let (store, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Some((Server::start(store.path())?, store, home))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_narrowing_event_is_published_at_its_number_and_on_its_subject() {
    let Some((server, _store, home)) = started() else { return };
    let ledger = open(home.path(), &server.url());
    let client = async_nats::connect(server.url()).await.unwrap();
    let mut every = client.subscribe("bailiwick.test.revocation.>").await.unwrap();
    let mut agents = client.subscribe("bailiwick.test.revocation.agent.>").await.unwrap();
    client.flush().await.unwrap();

    register(&ledger, &["bot", "b.2", "old"]).await;
    let grant = Command::IssueGrant(grant_to("bot"));
    let grant = done(&ledger, grant).await.unwrap().grant.unwrap();
    let task = OpenTask { agent: agent("bot"), sort: None, statement: None, targets: Vec::new() };
    let task = TaskId(done(&ledger, Command::OpenTask(task)).await.unwrap().index);
    let reason = || Some(Text::new("a \"word\"\nand more").unwrap());
    for command in [
        Command::ReturnGrant { grant },
        Command::CloseTask { task, reason: reason() },
        Command::UpdateAgent(written("bot")),
        Command::UpdateOwner(WriteOwner { owner: owner(), groups: [].into() }),
        Command::ActivatePolicies,
        Command::SuspendAgent { agent: agent("b.2"), reason: reason() },
        Command::RetireAgent { agent: agent("old"), reason: None },
        revoke(Selector::Agent(agent("bot"))),
        revoke(case(1)),
        Command::Lift { selector: case(1), reason: None },
        revoke(Selector::All),
        Command::DisableOwner { owner: owner(), reason: None },
    ] {
        let text = format!("{command:?}");
        assert!(done(&ledger, command).await.is_some(), "{text}");
    }
    is_published(&ledger, &context(&server).await).await;
    let subjects: Vec<_> = published(&ledger).into_iter().map(|(subject, _)| subject).collect();
    let scopes = subjects.iter().map(|subject| subject.split('.').nth(3).unwrap());
    assert_eq!(
        scopes.collect::<Vec<_>>(),
        [
            "grant", "task", "agent", "owner", "all", "agent", "agent", "agent", "resource", "all",
            "owner"
        ],
        "everything that narrows, and nothing else"
    );
    assert!(subjects.contains(&"bailiwick.test.revocation.agent.bot".to_owned()));
    let mut heard = Vec::new();
    while heard.len() < subjects.len() {
        let message = tokio::time::timeout(PATIENCE, every.next()).await.unwrap().unwrap();
        heard.push((
            message.subject.to_string(),
            String::from_utf8(message.payload.into()).unwrap(),
        ));
    }
    assert_eq!(heard, published(&ledger));
    let of_agents = subjects.iter().filter(|subject| subject.contains(".agent."));
    for subject in of_agents {
        let message = tokio::time::timeout(PATIENCE, agents.next()).await.unwrap().unwrap();
        assert_eq!(message.subject.as_str(), subject);
    }
    // The last item was an owner's: had it been for this subscriber too, it would be here by now.
    client.flush().await.unwrap();
    assert!(futures::poll!(agents.next()).is_pending(), "an agent's subscriber heard of others");
    assert_eq!(ledger.health().feed, None);
}

fn grant_to(name: &str) -> IssueGrant {
    let terms = RequestGrant {
        agent: agent(name),
        task: None,
        action: Action::new("crm/read_case").unwrap(),
        scope: "crm://case/1".parse().unwrap(),
        ttl: None,
        max_uses: None,
        justification: None,
        constraints: Vec::new(),
    };
    IssueGrant { terms, not_before: None, request: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_no_item_and_gets_none_twice() {
    let Some((mut server, _store, home)) = started() else { return };
    let ledger = open(home.path(), &server.url());
    let mut number = 0;
    for _ in 0..4 {
        let mut committed = ledger.committed();
        let before = committed.borrow_and_update().entry;
        // Many at once, so that the server dies with some of them in doubt.
        let burst: Vec<_> = (number..number + 300)
            .map(|number| {
                let ledger = ledger.clone();
                tokio::spawn(async move { done(&ledger, revoke(case(number))).await })
            })
            .collect();
        number += 300;
        let some = committed.wait_for(|head| head.entry > before);
        drop(tokio::time::timeout(PATIENCE, some).await.unwrap().unwrap());
        server.kill();
        server.restart();
        for answer in join_all(burst).await {
            assert!(answer.unwrap().is_some(), "a revocation is taken whatever happens");
        }
    }
    comes_about("every revocation being durable", async || {
        ledger.read(|state| state.feed().last()) == number as u64
    })
    .await;
    is_published(&ledger, &context(&server).await).await;
    comes_about("the feed being well", async || ledger.health().feed.is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_published_before_a_restart_is_published_after_it() {
    let Some((server, _store, home)) = started() else { return };
    let ledger = open(home.path(), &server.url());
    let context = context(&server).await;
    for number in 0..5 {
        done(&ledger, revoke(case(number))).await.unwrap();
    }
    is_published(&ledger, &context).await;
    let limit = async |max_bytes| {
        let mut config = context.get_stream(STREAM).await.unwrap().cached_info().config.clone();
        config.max_bytes = max_bytes;
        context.update_stream(config).await.unwrap();
    };
    limit(1_000).await;
    for number in 5..900 {
        done(&ledger, revoke(case(number))).await.unwrap();
    }
    comes_about("the feed saying that it stands still", async || {
        ledger.health().feed.is_some_and(|why| why.contains("does not take items"))
    })
    .await;
    assert!(ledger.health().ready, "calls are decided all the same");
    let closing = Instant::now();
    ledger.close();
    assert!(closing.elapsed() < Duration::from_secs(10), "{:?}", closing.elapsed());
    drop(ledger);
    limit(-1).await;
    let ledger = open(home.path(), &server.url());
    is_published(&ledger, &context).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_message_stops_the_feed_and_is_told() {
    let Some((server, _store, home)) = started() else { return };
    let ledger = open(home.path(), &server.url());
    let context = context(&server).await;
    for number in 0..3 {
        done(&ledger, revoke(case(number))).await.unwrap();
    }
    is_published(&ledger, &context).await;
    let foreign = "bailiwick.test.revocation.agent.bot";
    context.publish(foreign, "{}".into()).await.unwrap().await.unwrap();
    comes_about("the feed being ahead", async || {
        ledger.health().feed.is_some_and(|why| why.contains("ends at 4"))
    })
    .await;
    for number in 3..9 {
        assert!(done(&ledger, revoke(case(number))).await.is_some());
    }
    comes_about("the foreign message being found", async || {
        ledger.health().feed.is_some_and(|why| why.contains("message 4") && why.contains(foreign))
    })
    .await;
    let health = ledger.health();
    assert!(health.ready, "{health:?}");
    let found = stored(&context).await;
    assert_eq!(found.len(), 4, "nothing is published behind it: {found:?}");
    assert_eq!(found[..3], published(&ledger)[..3]);

    // A restart is no way around it.
    ledger.close();
    drop(ledger);
    let ledger = open(home.path(), &server.url());
    comes_about("the foreign message being found again", async || {
        ledger.health().feed.is_some_and(|why| why.contains("message 4"))
    })
    .await;
    assert_eq!(stored(&context).await.len(), 4);
    // The way that the message names.
    context.delete_stream(STREAM).await.unwrap();
    comes_about("the feed being well", async || ledger.health().feed.is_none()).await;
    is_published(&ledger, &context).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_publish_every_item_once() {
    let Some((server, _store, home)) = started() else { return };
    let first = open(home.path(), &server.url());
    let standby = tempfile::tempdir().unwrap();
    for file in ["signing.key", "ledger.secret", "admin.key"] {
        std::fs::copy(home.path().join(file), standby.path().join(file)).unwrap();
    }
    done(&first, revoke(case(0))).await.unwrap();
    let second = open(standby.path(), &server.url());
    let context = context(&server).await;
    for round in 0..5 {
        let burst = (0..100).map(|number| done(&second, revoke(case(round * 100 + number))));
        join_all(burst).await;
        is_published(&second, &context).await;
        let ahead = first.health().feed;
        assert_eq!(ahead, None, "who has not read so far yet takes nobody for foreign");
    }
}

#[test]
fn a_feed_that_could_lose_items_is_refused() {
    let Some((server, _store, home)) = started() else { return };
    administer(&server, |context| async move {
        let config = stream::Config {
            name: STREAM.to_owned(),
            subjects: vec!["bailiwick.test.revocation.>".to_owned()],
            max_messages: 100,
            ..stream::Config::default()
        };
        context.create_stream(config).await.unwrap();
    });
    let refused = try_open(home.path(), &server.url()).unwrap_err().to_string();
    for named in [STREAM, "max_msgs", "deny_delete", "deny_purge", "discard", "allow_direct"] {
        assert!(refused.contains(named), "{refused}");
    }
}
