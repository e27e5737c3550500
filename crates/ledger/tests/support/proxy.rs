//! A TCP proxy that loses what it is told to lose: real connections, really cut.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A proxy on a port of its own in front of another; it ends with the test's process.
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    to: AtomicU16,
    /// No connection is let through, none is kept.
    closed: AtomicBool,
    /// Connections are kept and nothing goes through them.
    stalled: AtomicBool,
    /// The next answer that holds `text` is not passed on; its connection is cut instead.
    cut_answer: Mutex<Option<Vec<u8>>>,
    connections: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Starts one that passes everything on to `port`.
    pub(crate) fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let shared = Arc::new(Shared {
            to: AtomicU16::new(port),
            closed: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            cut_answer: Mutex::new(None),
            connections: Mutex::new(Vec::new()),
        });
        let port = listener.local_addr().expect("address").port();
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                pass_on(&accepting, client);
            }
        });
        Self { port, shared }
    }

    /// Where clients connect.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Cuts every connection and lets none through until [`Proxy::open`].
    pub(crate) fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.cut();
    }

    /// Passes everything on again.
    pub(crate) fn open(&self) {
        self.shared.closed.store(false, Ordering::SeqCst);
        self.shared.stalled.store(false, Ordering::SeqCst);
        *self.shared.cut_answer.lock().unwrap() = None;
    }

    /// Keeps every connection, and passes nothing on until [`Proxy::open`].
    pub(crate) fn stall(&self) {
        self.shared.stalled.store(true, Ordering::SeqCst);
    }

    /// Cuts every connection; new ones are let through.
    pub(crate) fn cut(&self) {
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            // One that the peer has closed already is as good as cut.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Passes the next request on, but cuts the connection instead of passing on the answer that
    /// holds `text`.
    pub(crate) fn cut_answer(&self, text: &[u8]) {
        *self.shared.cut_answer.lock().unwrap() = Some(text.to_vec());
    }
}

fn pass_on(shared: &Arc<Shared>, client: TcpStream) {
    let to = shared.to.load(Ordering::SeqCst);
    if shared.closed.load(Ordering::SeqCst) {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { return };
    let streams = [&client, &client, &server, &server].map(TcpStream::try_clone);
    let [Ok(kept), Ok(from_client), Ok(kept_too), Ok(from_server)] = streams else { return };
    shared.connections.lock().unwrap().extend([kept, kept_too]);
    if shared.closed.load(Ordering::SeqCst) {
        let _ = client.shutdown(Shutdown::Both);
        return;
    }
    let requests = Arc::clone(shared);
    std::thread::spawn(move || copy(&requests, from_client, server, false));
    let answers = Arc::clone(shared);
    std::thread::spawn(move || copy(&answers, from_server, client, true));
}

fn copy(shared: &Shared, mut from: TcpStream, mut to: TcpStream, answers: bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(size @ 1..) = from.read(&mut buffer) {
        while shared.stalled.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        if answers && cut_now(shared, &buffer[..size]) || to.write_all(&buffer[..size]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn cut_now(shared: &Shared, answer: &[u8]) -> bool {
    let mut cut = shared.cut_answer.lock().unwrap();
    let found = cut.as_ref().is_some_and(|text| answer.windows(text.len()).any(|w| w == text));
    if found {
        *cut = None;
    }
    found
}
