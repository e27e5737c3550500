//! A client's and a server's ends of one gate, and an authority that follows a script.

use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bailiwick_client::Error;
use bailiwick_client::authority::{
    Ask, Authority, Denial, LEASE, NewTask, Permit, Receipt, Ruling, Signals,
};
use bailiwick_client::revocations::Signal;
use bailiwick_core::command::Finish;
use bailiwick_core::event::{Actor, DenialCode, Selector};
use bailiwick_core::feed::Item;
use bailiwick_core::id::{CallId, GrantId, TaskId};
use bailiwick_core::record::hash::Link;
use bailiwick_core::time::Time;
use bailiwick_gateway::mapping::Mapping;
use bailiwick_gateway::pipeline::{self, Config, Ending};
use bailiwick_gateway::upstream::Upstream;
use bailiwick_gateway::upstream::stdio::Launch;
use bailiwick_gateway::{demo_server, frame};
use serde_json::Value;
use tokio::io::{AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Room in the streams: more than the largest message that a test sends.
const ROOM: usize = 16 * 1_024 * 1_024;

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
}

impl Script {
    fn new() -> Self {
        let (signals, heard) = mpsc::unbounded_channel();
        signals.send(Signal::Alive).unwrap();
        Self {
            rules: Mutex::new(Box::new(|_| Ok(denied(DenialCode::NoGrant, None)))),
            silent: AtomicBool::new(false),
            asked: Mutex::default(),
            finished: Mutex::default(),
            tasks: Mutex::default(),
            signals,
            heard: Mutex::new(Some(heard)),
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

    pub(crate) fn signal_sender(&self) -> impl Fn(Signal) + Send + 'static {
        let signals = self.signals.clone();
        move |signal| signals.send(signal).unwrap()
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

    fn revocations(&self, _: Option<u64>) -> Signals {
        let heard = self.heard.lock().unwrap().take().unwrap();
        Box::pin(futures::stream::unfold(heard, |mut heard| async {
            heard.recv().await.map(|signal| (signal, heard))
        }))
    }
}

pub(crate) fn allowed(index: u64) -> Ruling {
    Ruling::Allowed(Permit {
        call: CallId(index),
        grant: GrantId(index - 1),
        owner: None,
        expires_at: Time(0),
        uses_left: 1,
        receipt: Receipt { index, link: Link([0xab; 32]) },
        valid_until: (tokio::time::Instant::now() + LEASE).into_std(),
    })
}

pub(crate) fn denied(code: DenialCode, index: Option<u64>) -> Ruling {
    let receipt = index.map(|index| Receipt { index, link: Link([0xab; 32]) });
    Ruling::Denied(Denial { code, message: "nothing covers it".to_owned(), receipt })
}

pub(crate) fn item(index: u64, selector: Selector, suspend: bool) -> Item {
    Item {
        number: 1,
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
        match self.lines.next().await.unwrap() {
            Some(frame::Line::Whole(line)) => String::from_utf8(line).unwrap(),
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
        let config = Config { agent, on_behalf_of: None, task: None, mapping };
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
