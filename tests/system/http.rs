//! A plain HTTP/1.1 client: one connection, one request at a time.

use std::io::{self, BufRead, BufReader, Error, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

const READ_MAX: Duration = Duration::from_secs(20);

/// Who asks, and where.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// `host:port`.
    address: String,
    key: String,
}

/// A connection that is kept between requests.
#[derive(Debug)]
pub(crate) struct Connection {
    client: Client,
    stream: BufReader<TcpStream>,
}

/// Status and JSON body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Client {
    pub(crate) fn new(url: &str, key: &str) -> Self {
        let address = url.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
        Self { address, key: key.trim().to_owned() }
    }

    /// The same server under another key.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { address: self.address.clone(), key: key.trim().to_owned() }
    }

    pub(crate) fn connect(&self) -> io::Result<Connection> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_MAX))?;
        Ok(Connection { client: self.clone(), stream: BufReader::new(stream) })
    }

    /// One request on a connection of its own.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> io::Result<Answer> {
        self.connect()?.send(method, path, body)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None).unwrap_or_else(|e| panic!("GET {path}: {e}"))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, Some(body)).unwrap_or_else(|e| panic!("POST {path}: {e}"))
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> Answer {
        self.send("PUT", path, Some(body)).unwrap_or_else(|e| panic!("PUT {path}: {e}"))
    }

    /// All events from index `from` on, in order.
    pub(crate) fn events(&self, from: u64) -> Vec<Value> {
        let mut events: Vec<Value> = Vec::new();
        let mut connection = self.connect().expect("connect");
        loop {
            let next = from + events.len() as u64;
            let after = if next == 0 { String::new() } else { format!("&after={}", next - 1) };
            let path = format!("/v1/events?limit=1000{after}");
            let answer = connection.send("GET", &path, None).expect("read events").ok();
            let page = answer["items"].as_array().expect("items").clone();
            if page.is_empty() {
                return events;
            }
            events.extend(page);
        }
    }
}

impl Answer {
    /// The body of an answer that went well.
    pub(crate) fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.body);
        self.body
    }
}

impl Connection {
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> io::Result<Answer> {
        let Client { address, key } = &self.client;
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n"
        );
        if let Some(body) = body {
            let body = body.to_string();
            let length = body.len();
            request += "content-type: application/json\r\n";
            request += &format!("content-length: {length}\r\n\r\n{body}");
        } else {
            request += "\r\n";
        }
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.receive()
    }

    fn receive(&mut self) -> io::Result<Answer> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| Error::other("not an HTTP answer"))?;
        let mut length = None;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(given) = line.strip_prefix("content-length:") {
                length = given.trim().parse().ok();
            }
        }
        let length: usize = length.ok_or_else(|| Error::other("an answer without a length"))?;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        let body = match serde_json::from_slice(&body) {
            Ok(body) => body,
            Err(_) => Value::String(super::text(&body)),
        };
        Ok(Answer { status, body })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}
