//! A load generator for HTTP/1.1 with keep-alive: one thread, many connections, prepared requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::latency::Latencies;

/// What one run found.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) latencies: Latencies,
    pub(super) seconds: f64,
}

impl Run {
    pub(super) fn per_second(&self) -> f64 {
        self.latencies.count() as f64 / self.seconds
    }
}

/// Requests to send, and what every answer has to hold for the run to count.
#[derive(Debug)]
pub(super) struct Requests {
    /// Whole requests, head and body; connections take them in turn.
    pub(super) bytes: Vec<Vec<u8>>,
    /// Bytes that every answer's body must hold.
    pub(super) expect: &'static [u8],
}

/// A POST with a JSON body.
pub(super) fn post(address: SocketAddr, path: &str, key: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Sends requests over `connections` for `length`, one at a time on each, from a thread of its own.
pub(super) fn run(
    address: SocketAddr,
    requests: Requests,
    connections: usize,
    length: Duration,
) -> anyhow::Result<Run> {
    let generator = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(drive(address, Arc::new(requests), connections, length))
    };
    match std::thread::spawn(generator).join() {
        Ok(run) => run,
        Err(_) => bail!("the load generator panicked"),
    }
}

async fn drive(
    address: SocketAddr,
    requests: Arc<Requests>,
    connections: usize,
    length: Duration,
) -> anyhow::Result<Run> {
    let mut open = Vec::new();
    for _ in 0..connections {
        let stream = TcpStream::connect(address).await.context("cannot connect to the server")?;
        stream.set_nodelay(true)?;
        open.push(stream);
    }
    let started = Instant::now();
    let until = started + length;
    let tasks: Vec<_> = open
        .into_iter()
        .enumerate()
        .map(|(n, stream)| {
            let requests = Arc::clone(&requests);
            tokio::spawn(async move { converse(stream, &requests, n, connections, until).await })
        })
        .collect();
    let mut latencies = Latencies::default();
    for task in tasks {
        latencies.merge(task.await??);
    }
    Ok(Run { latencies, seconds: started.elapsed().as_secs_f64() })
}

async fn converse(
    mut stream: TcpStream,
    requests: &Requests,
    first: usize,
    step: usize,
    until: Instant,
) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::default();
    let mut buffer = Vec::with_capacity(4_096);
    let mut next = first;
    while Instant::now() < until {
        let request = &requests.bytes[next % requests.bytes.len()];
        next += step;
        let sent = Instant::now();
        stream.write_all(request).await?;
        read_answer(&mut stream, &mut buffer, requests.expect).await?;
        latencies.add(sent.elapsed());
    }
    Ok(latencies)
}

/// Reads one answer and leaves the buffer empty.
async fn read_answer(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    expect: &[u8],
) -> anyhow::Result<()> {
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            bail!("the server closed the connection");
        }
        let Some(head) = find(buffer, b"\r\n\r\n") else { continue };
        let length = content_length(&buffer[..head]).context("an answer without a length")?;
        if buffer.len() < head + 4 + length {
            continue;
        }
        if find(&buffer[head + 4..], expect).is_none() {
            bail!("an answer other than expected: {}", String::from_utf8_lossy(buffer));
        }
        return Ok(());
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn content_length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    let line = head.lines().find(|line| {
        line.get(..15).is_some_and(|name| name.eq_ignore_ascii_case("content-length:"))
    })?;
    line[15..].trim().parse().ok()
}
