//! A client's and a server's ends of one gate, and an authority that follows a script.

use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bailiwick_client::Error;
use bailiwick_client::authority::{
    Ask, Authority, Awaited, Denial, NewTask, Permit, Ping, Pong, Receipt, Ruling, Signals,
};
use bailiwick_client::revocations::Signal;
use bailiwick_core::command::Finish;
use bailiwick_core::event::{Actor, DenialCode, Selector};
use bailiwick_core::feed::Item;
use bailiwick_core::id::{ApprovalId, CallId, GrantId, PointId, TaskId};
use bailiwick_core::record::hash::{Digest, Link};
use bailiwick_core::state::ApprovalStatus;
use bailiwick_core::time::Time;
use bailiwick_gateway::mapping::Mapping;
use bailiwick_gateway::pipeline::{self, Config, Ending};
use bailiwick_gateway::upstream::Upstream;
use bailiwick_gateway::upstream::stdio::Launch;
use bailiwick_gateway::{demo_server, frame};
use serde_json::Value;
use tokio::io::{AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// Room in the streams: more than the largest message that a test sends.
const ROOM: usize = 16 * 1_024 * 1_024;

/// How long a test waits for a line.
const PATIENCE: Duration = Duration::from_secs(20);

/// The gate's name as an enforcement point.
pub(crate) const POINT: &str = "gateway-support-5f0c99d1";

type Rules = Box<dyn Fn(&Ask) -> Result<Ruling, Error> + Send>;

/// An authority that says what a test wants and remembers what it was told.
pub(crate) struct Script {
    rules: Mutex<Rules>,
    silent: AtomicBool,
    asked: Mutex<Vec<Ask>>,
    finished: Mutex<Vec<Finish>>,
    tasks: Mutex<Vec<String>>,
    signals: mpsc::UnboundedSender<Signal>,
    heard: Mutex<Option<mpsc::UnboundedReceiver<Signal>>>,
    /// Where the feed stands, which is what pings are answered with.
    number: Arc<AtomicU64>,
    /// After how long pings are answered; none when they are not.
    answers_after: Mutex<Option<Duration>>,
    pinged: watch::Sender<Option<u64>>,
    pings: AtomicU64,
    left: Mutex<Vec<PointId>>,
    /// What people say.
    pub(crate) said: watch::Sender<ApprovalStatus>,
}

impl Script {
    fn new() -> Self {
        let (signals, heard) = mpsc::unbounded_channel();
        signals.send(Signal::Alive { number: 0 }).unwrap();
        Self {
            rules: Mutex::new(Box::new(|_| Ok(denied(DenialCode::NoGrant, None)))),
            silent: AtomicBool::new(false),
            asked: Mutex::default(),
            finished: Mutex::default(),
            tasks: Mutex::default(),
            signals,
            heard: Mutex::new(Some(heard)),
            number: Arc::default(),
            answers_after: Mutex::new(Some(Duration::ZERO)),
            pinged: watch::Sender::new(None),
            pings: AtomicU64::new(0),
            left: Mutex::default(),
            said: watch::Sender::new(ApprovalStatus::Pending),
        }
    }

    pub(crate) fn rules(&self, rules: impl Fn(&Ask) -> Result<Ruling, Error> + Send + 'static) {
        *self.rules.lock().unwrap() = Box::new(rules);
    }

    pub(crate) fn falls_silent(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }

    pub(crate) fn signals(&self, signal: Signal) {
        self.signals.send(signal).unwrap();
    }

    /// Takes something back, and tells the feed.
    pub(crate) fn revokes(&self, index: u64, selector: Selector, suspend: bool) {
        self.revoker()(index, selector, suspend);
    }

    /// [`Script::revokes`] for whoever outlives this.
    pub(crate) fn revoker(&self) -> impl Fn(u64, Selector, bool) + Send + use<> {
        let (signals, number) = (self.signals.clone(), Arc::clone(&self.number));
        move |index, selector, suspend| {
            let number = number.fetch_add(1, Ordering::SeqCst) + 1;
            let item = Box::new(item(number, index, selector, suspend));
            signals.send(Signal::Item(item)).unwrap();
        }
    }

    /// The feed moves on to this number, and nobody hears of it.
    pub(crate) fn moves_on_unheard(&self, number: u64) {
        self.number.store(number, Ordering::SeqCst);
    }

    /// Pings are answered after so long, or not at all.
    pub(crate) fn answers_pings(&self, after: Option<Duration>) {
        *self.answers_after.lock().unwrap() = after;
    }

    /// Returns when a ping says that this number is enforced.
    pub(crate) async fn acknowledged(&self, number: u64) {
        let mut pinged = self.pinged.subscribe();
        let said = pinged.wait_for(|applied| *applied == Some(number));
        tokio::time::timeout(PATIENCE, said).await.expect("it is acknowledged").unwrap();
    }

    pub(crate) fn pings(&self) -> u64 {
        self.pings.load(Ordering::SeqCst)
    }

    pub(crate) fn left(&self) -> Vec<PointId> {
        self.left.lock().unwrap().clone()
    }

    pub(crate) fn asked(&self) -> Vec<Ask> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn finished(&self) -> Vec<Finish> {
        self.finished.lock().unwrap().clone()
    }

    pub(crate) fn tasks(&self) -> Vec<String> {
        self.tasks.lock().unwrap().clone()
    }
}

impl Authority for Script {
    async fn authorize(&self, ask: Ask) -> Result<Ruling, Error> {
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let ruling = (self.rules.lock().unwrap())(&ask);
        self.asked.lock().unwrap().push(ask);
        ruling
    }

    async fn finish(&self, finish: Finish) -> Result<(), Error> {
        self.finished.lock().unwrap().push(finish);
        Ok(())
    }

    async fn open_task(&self, _: NewTask) -> Result<TaskId, Error> {
        self.tasks.lock().unwrap().push("opened".to_owned());
        Ok(TaskId(7))
    }

    fn close_task(&self, task: TaskId) -> impl Future<Output = Result<(), Error>> + Send {
        self.tasks.lock().unwrap().push(format!("closed {task}"));
        std::future::ready(Ok(()))
    }

    async fn approval(&self, id: ApprovalId, _: Duration) -> Result<ApprovalStatus, Error> {
        assert_eq!(id, ApprovalId(70));
        let mut said = self.said.subscribe();
        let said = said.wait_for(|said| *said != ApprovalStatus::Pending).await.unwrap();
        Ok(*said)
    }

    fn revocations(&self, _: Option<u64>) -> Signals {
        let heard = self.heard.lock().unwrap().take().unwrap();
        Box::pin(futures::stream::unfold(heard, |mut heard| async {
            heard.recv().await.map(|signal| (signal, heard))
        }))
    }

    async fn ping(&self, ping: Ping) -> Result<Pong, Error> {
        assert_eq!(ping.point, PointId::new(POINT).unwrap());
        self.pings.fetch_add(1, Ordering::SeqCst);
        self.pinged.send_replace(ping.applied);
        let after = *self.answers_after.lock().unwrap();
        let number = self.number.load(Ordering::SeqCst);
        match after {
            Some(after) => tokio::time::sleep(after).await,
            None => std::future::pending().await,
        }
        Ok(Pong { nonce: ping.nonce, number })
    }

    async fn leave(&self, point: PointId) -> Result<(), Error> {
        self.left.lock().unwrap().push(point);
        Ok(())
    }
}

pub(crate) fn allowed(index: u64) -> Ruling {
    Ruling::Allowed(Permit {
        call: CallId(index),
        grant: GrantId(index - 1),
        owner: None,
        expires_at: Time(0),
        uses_left: 1,
        rests_on: Vec::new(),
        receipt: Receipt { index, link: Link([0xab; 32]) },
        asked: tokio::time::Instant::now().into_std(),
    })
}

pub(crate) fn denied(code: DenialCode, index: Option<u64>) -> Ruling {
    let receipt = index.map(|index| Receipt { index, link: Link([0xab; 32]) });
    let message = "nothing covers it".to_owned();
    Ruling::Denied(Denial { code, message, receipt, approval: None })
}

/// Approval 70 is waited for.
pub(crate) fn waits() -> Ruling {
    let awaited = Awaited {
        id: ApprovalId(70),
        expires_at: "2026-11-23T14:00:00Z".to_owned(),
        shown: Digest([0xcd; 32]),
    };
    let receipt = Some(Receipt { index: 71, link: Link([0xab; 32]) });
    let (code, message) = (DenialCode::ApprovalRequired, "a human has to".to_owned());
    Ruling::Denied(Denial { code, message, receipt, approval: Some(awaited) })
}

pub(crate) fn item(number: u64, index: u64, selector: Selector, suspend: bool) -> Item {
    Item {
        number,
        index,
        link: Link([0; 32]),
        time: Time(0),
        kind: "revocation.issued".to_owned(),
        selector,
        suspend,
        reason_code: None,
        reason: None,
        by: Actor::System,
        cause: None,
    }
}

struct End {
    lines: frame::Lines<ReadHalf<DuplexStream>>,
    writer: WriteHalf<DuplexStream>,
}

impl End {
    fn new(stream: DuplexStream) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self { lines: frame::Lines::new(reader, ROOM), writer }
    }

    async fn send(&mut self, line: &[u8]) {
        self.writer.write_all(line).await.unwrap();
        self.writer.write_all(b"\n").await.unwrap();
    }

    async fn line(&mut self) -> String {
        match tokio::time::timeout(PATIENCE, self.lines.next()).await {
            Ok(Ok(Some(frame::Line::Whole(line)))) => String::from_utf8(line).unwrap(),
            other => panic!("no line: {other:?}"),
        }
    }
}

pub(crate) struct Desk {
    pub(crate) authority: Arc<Script>,
    client: Option<End>,
    server: Option<End>,
    gate: Option<JoinHandle<Ending>>,
    stop: Option<oneshot::Sender<()>>,
    pings: u64,
}

impl Desk {
    /// A gate whose server is played by the test.
    pub(crate) fn new() -> Self {
        let (near, far) = tokio::io::duplex(ROOM);
        let (reader, writer) = tokio::io::split(near);
        Self::before(Upstream::over(reader, writer), Some(End::new(far)))
    }

    /// A gate in front of the demo server.
    pub(crate) async fn before_demo_server() -> Self {
        let (near, far) = tokio::io::duplex(ROOM);
        let (reader, writer) = tokio::io::split(far);
        tokio::spawn(demo_server::serve(None, reader, writer));
        let (reader, writer) = tokio::io::split(near);
        Self::before(Upstream::over(reader, writer), None)
    }

    /// A gate in front of a shell script.
    pub(crate) fn before_script(script: &str) -> Self {
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        let launch = Launch { command, environment: Vec::new(), directory: None };
        Self::before(Upstream::spawn(&launch).unwrap(), None)
    }

    fn before(upstream: Upstream, server: Option<End>) -> Self {
        let mapping = Mapping::parse(demo_server::TOOLS, None, Path::new("/srv")).unwrap();
        let agent = "support".parse().unwrap();
        let point = PointId::new(POINT).unwrap();
        let wait_for_approval = PATIENCE;
        let config =
            Config { agent, on_behalf_of: None, task: None, mapping, wait_for_approval, point };
        let (near, far) = tokio::io::duplex(ROOM);
        let (reader, writer) = tokio::io::split(near);
        let authority = Arc::new(Script::new());
        let (stop, stopped) = oneshot::channel::<()>();
        let gate = tokio::spawn(pipeline::run(
            config,
            Arc::clone(&authority),
            upstream,
            reader,
            writer,
            async {
                if stopped.await.is_err() {
                    std::future::pending::<()>().await;
                }
            },
        ));
        Self {
            authority,
            client: Some(End::new(far)),
            server,
            gate: Some(gate),
            stop: Some(stop),
            pings: 0,
        }
    }

    fn client(&mut self) -> &mut End {
        self.client.as_mut().unwrap()
    }

    fn server(&mut self) -> &mut End {
        self.server.as_mut().unwrap()
    }

    pub(crate) async fn send(&mut self, line: &str) {
        self.client().send(line.as_bytes()).await;
    }

    pub(crate) async fn send_bytes(&mut self, line: &[u8]) {
        self.client().send(line).await;
    }

    /// The next line the client gets.
    pub(crate) async fn line(&mut self) -> String {
        self.client().line().await
    }

    /// The next message the client gets.
    pub(crate) async fn answer(&mut self) -> Value {
        serde_json::from_str(&self.line().await).unwrap()
    }

    /// The next line the server gets.
    pub(crate) async fn at_server(&mut self) -> String {
        self.server().line().await
    }

    /// The server says something.
    pub(crate) async fn server_says(&mut self, line: &str) {
        self.server().send(line.as_bytes()).await;
    }

    pub(crate) async fn handshake(&mut self) {
        self.send(r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"desk","version":"1"}}}"#).await;
        assert_eq!(self.answer().await["result"]["protocolVersion"], "2025-11-25");
        self.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    }

    /// The gate still works, and nothing came through or back that had not been looked at yet.
    pub(crate) async fn nothing_but_a_ping_reaches_the_server(&mut self) {
        self.pings += 1;
        let ping = format!(r#"{{"jsonrpc":"2.0","id":"desk-{}","method":"ping"}}"#, self.pings);
        self.send(&ping).await;
        assert_eq!(self.at_server().await, ping);
        let pong = format!(r#"{{"jsonrpc":"2.0","id":"desk-{}","result":{{}}}}"#, self.pings);
        self.server_says(&pong).await;
        assert_eq!(self.line().await, pong);
    }

    pub(crate) fn server_dies(&mut self) {
        self.server = None;
    }

    pub(crate) fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// The client closes its side.
    pub(crate) async fn leave(&mut self) -> Ending {
        self.client().writer.shutdown().await.unwrap();
        self.ending().await
    }

    pub(crate) async fn ending(&mut self) -> Ending {
        self.gate.take().unwrap().await.unwrap()
    }
}
