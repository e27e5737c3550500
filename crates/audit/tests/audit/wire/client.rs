//! A client of the wire that sends what it is told to, right or wrong.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bailiwick_audit::pg::{Server, Verifier};
use ring::{digest, hmac, pbkdf2};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto};

pub(crate) const KEY: &str = "bwk_of_a_test";
/// `a salt of tests.` in Base64.
pub(crate) const SALT: &str = "YSBzYWx0IG9mIHRlc3RzLg==";
const SALT_BYTES: &[u8] = b"a salt of tests.";
/// Few, so that a hundred sessions begin at once.
const ITERATIONS: NonZeroU32 = NonZeroU32::MIN;

/// An error as the client is told it.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) state: String,
    pub(crate) detail: String,
}

pub(crate) struct Client {
    stream: Box<dyn Stream>,
}

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

pub(crate) type Message = (u8, Vec<u8>);

pub(crate) fn digest(text: &str) -> [u8; 32] {
    digest::digest(&digest::SHA256, text.as_bytes()).as_ref().try_into().unwrap()
}

/// What a server keeps of [`KEY`].
pub(crate) fn verifier() -> Verifier {
    let (client_key, server_key) = keys(KEY, SALT_BYTES);
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    Verifier {
        salt: SALT_BYTES.to_vec(),
        iterations: ITERATIONS.get(),
        stored_key: stored_key.as_ref().try_into().unwrap(),
        server_key: server_key.as_ref().try_into().unwrap(),
    }
}

fn keys(key: &str, salt: &[u8]) -> (hmac::Tag, hmac::Tag) {
    let mut salted = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, salt, key.as_bytes(), &mut salted);
    let salted = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    (hmac::sign(&salted, b"Client Key"), hmac::sign(&salted, b"Server Key"))
}

/// Reads the fields of an error.
pub(crate) fn fault(body: &[u8]) -> Fault {
    let field = |kind: u8| {
        let fields = body.split(|byte| *byte == 0);
        let mut of_kind = fields.filter(|field| field.first() == Some(&kind));
        let text = of_kind.next().map_or(&[][..], |field| &field[1..]);
        String::from_utf8(text.to_vec()).unwrap()
    };
    Fault { state: field(b'C'), detail: field(b'D') }
}

fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

fn count(number: usize) -> [u8; 2] {
    u16::try_from(number).unwrap().to_be_bytes()
}

impl Client {
    pub(crate) fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(server.local_addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { stream: Box::new(stream) }
    }

    pub(crate) fn login(server: &Server, user: &str, key: &str) -> Result<Self, Fault> {
        Self::connect(server).prove(user, key)
    }

    /// Asks for TLS first, or begins with its handshake.
    pub(crate) fn login_under_tls(
        server: &Server,
        root: &Path,
        direct: bool,
        user: &str,
        key: &str,
    ) -> Result<Self, Fault> {
        let mut client = Self::connect(server);
        if !direct {
            client.raw(&[0, 0, 0, 8, 4, 210, 22, 47]);
            assert_eq!(client.byte(), Some(b'S'));
        }
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(root).unwrap()).unwrap();
        let provider = Arc::new(crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let stream = StreamOwned::new(connection, client.stream);
        Self { stream: Box::new(stream) }.prove(user, key)
    }

    /// The salt that a user is asked to hash its key with.
    pub(crate) fn salt(server: &Server, user: &str) -> String {
        let mut client = Self::connect(server);
        let asked = client.begin(user).unwrap();
        asked.split(",s=").nth(1).unwrap().split(',').next().unwrap().to_owned()
    }

    /// Up to the server's challenge.
    fn begin(&mut self, user: &str) -> Result<String, Fault> {
        let parameters =
            [&0x3_0000u32.to_be_bytes()[..], &text("user"), &text(user), &[0]].concat();
        let length = u32::try_from(4 + parameters.len()).unwrap();
        self.raw(&[&length.to_be_bytes()[..], &parameters].concat());
        let offered = self.told()?;
        assert_eq!(offered[..4], [0, 0, 0, 10]);
        assert!(offered.ends_with(b"SCRAM-SHA-256\0\0"), "{offered:?}");
        let first = b"n,,n=,r=nonce";
        let length = u32::try_from(first.len()).unwrap().to_be_bytes();
        self.send(b'p', &[&text("SCRAM-SHA-256")[..], &length, first].concat());
        let asked = self.told()?;
        Ok(String::from_utf8(asked[4..].to_vec()).unwrap())
    }

    fn prove(mut self, user: &str, key: &str) -> Result<Self, Fault> {
        let asked = self.begin(user)?;
        let nonce = asked.split(',').next().unwrap();
        assert!(nonce.starts_with("r=nonce") && nonce.len() > 20, "{asked}");
        let unproven = format!("c=biws,{nonce}");
        let message = format!("n=,r=nonce,{asked},{unproven}");
        let (client_key, server_key) = keys(key, SALT_BYTES);
        let stored = digest::digest(&digest::SHA256, client_key.as_ref());
        let stored = hmac::Key::new(hmac::HMAC_SHA256, stored.as_ref());
        let signature = hmac::sign(&stored, message.as_bytes());
        let proof: Vec<u8> =
            client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        self.send(b'p', format!("{unproven},p={}", base64(&proof)).as_bytes());
        let server = self.told()?;
        let server_key = hmac::Key::new(hmac::HMAC_SHA256, server_key.as_ref());
        let expected = base64(hmac::sign(&server_key, message.as_bytes()).as_ref());
        assert_eq!(server[4..], format!("v={expected}").into_bytes(), "the server's own proof");
        let ready = self.until_ready();
        match ready.iter().find(|(kind, _)| *kind == b'E') {
            Some((_, body)) => Err(fault(body)),
            None => Ok(self),
        }
    }

    /// The body of a message about authentication.
    fn told(&mut self) -> Result<Vec<u8>, Fault> {
        match self.receive() {
            Some((b'R', body)) => Ok(body),
            Some((b'E', body)) => Err(fault(&body)),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    pub(crate) fn send(&mut self, kind: u8, body: &[u8]) {
        let length = u32::try_from(4 + body.len()).unwrap();
        self.raw(&[&[kind], &length.to_be_bytes()[..], body].concat());
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte).ok().map(|()| byte[0])
    }

    /// The next message; none when the server has hung up.
    pub(crate) fn receive(&mut self) -> Option<Message> {
        let kind = self.byte()?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
        self.stream.read_exact(&mut body).ok()?;
        Some((kind, body))
    }

    /// Everything up to the server's word that it waits.
    fn until_ready(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.receive() {
            messages.push(message);
            if messages.last().is_some_and(|(kind, _)| *kind == b'Z') {
                break;
            }
        }
        messages
    }

    pub(crate) fn query(&mut self, sql: &str) -> Vec<Message> {
        self.send(b'Q', &text(sql));
        self.until_ready()
    }

    /// The rows of an answer as texts.
    #[track_caller]
    pub(crate) fn texts(&mut self, sql: &str) -> Vec<Vec<String>> {
        let said = self.query(sql);
        assert!(!said.iter().any(|(kind, _)| *kind == b'E'), "{sql}: {said:?}");
        let row = |(_, body): &Message| {
            let (mut rest, mut values) = (&body[2..], Vec::new());
            while let Some((length, after)) = rest.split_at_checked(4) {
                let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
                values.push(String::from_utf8(after[..length].to_vec()).unwrap());
                rest = &after[length..];
            }
            values
        };
        said.iter().filter(|(kind, _)| *kind == b'D').map(row).collect()
    }

    #[track_caller]
    pub(crate) fn refused(&mut self, sql: &str) -> Fault {
        let said = self.query(sql);
        match said.iter().find(|(kind, _)| *kind == b'E') {
            Some((_, body)) => fault(body),
            None => panic!("{sql} was answered: {said:?}"),
        }
    }

    pub(crate) fn parse(&mut self, name: &str, sql: &str, types: &[u32]) {
        let types: Vec<u8> = types.iter().flat_map(|oid| oid.to_be_bytes()).collect();
        let number = count(types.len() / 4);
        self.send(b'P', &[&text(name)[..], &text(sql), &number, &types].concat());
    }

    pub(crate) fn bind(&mut self, portal: &str, statement: &str, values: &[Option<&str>]) {
        self.bind_as(portal, statement, values, &[]);
    }

    pub(crate) fn bind_as(
        &mut self,
        portal: &str,
        statement: &str,
        values: &[Option<&str>],
        formats: &[i16],
    ) {
        let mut body = [text(portal), text(statement), vec![0, 0]].concat();
        body.extend(count(values.len()));
        for value in values {
            match value {
                Some(value) => {
                    body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
                    body.extend(value.as_bytes());
                }
                None => body.extend([255; 4]),
            }
        }
        body.extend(count(formats.len()));
        body.extend(formats.iter().flat_map(|format| format.to_be_bytes()));
        self.send(b'B', &body);
    }

    pub(crate) fn describe(&mut self, kind: u8, name: &str) {
        self.send(b'D', &[&[kind], &text(name)[..]].concat());
    }

    pub(crate) fn execute(&mut self, portal: &str, rows_max: u32) {
        self.send(b'E', &[&text(portal)[..], &rows_max.to_be_bytes()].concat());
    }

    pub(crate) fn sync(&mut self) -> Vec<Message> {
        self.send(b'S', &[]);
        self.until_ready()
    }

    pub(crate) fn end(mut self) {
        self.send(b'X', &[]);
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0u32, |w, at| w << 8 | u32::from(*chunk.get(at).unwrap_or(&0)));
        for place in 0..=chunk.len() {
            let index = (word >> (18 - 6 * place)) & 63;
            out.push(char::from(ALPHABET[index as usize]));
        }
        out.push_str(&"=".repeat(3 - chunk.len()));
    }
    out
}
