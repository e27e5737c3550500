//! From a connection to a session: TLS where it is configured, who it is, and whether they may read.

use std::sync::Arc;

use bytes::Bytes;
use pgwire::messages::PgWireBackendMessage as Backend;
use pgwire::messages::response::{ReadyForQuery, SslResponse, TransactionStatus};
use pgwire::messages::startup::{
    Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey,
};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use super::cancel::{self, Cancels};
use super::fault::Fault;
use super::scram::{BOUND, Challenge, MECHANISM};
use super::settings::Settings;
use super::wire::{Broken, Connection, EARLY_BYTES_MAX, Reader};
use super::{Refused, Shared, Verifier};

const TLS: i32 = 80_877_103;
const GSS: i32 = 80_877_104;
const CANCEL: i32 = 80_877_102;
/// Version 3.0 of the protocol.
const VERSION: i32 = 196_608;
/// What a connection may ask before it says who it is: TLS, another encryption, and once more.
const ASKED_MAX: usize = 4;
/// The first byte of a TLS handshake.
const HANDSHAKE: u8 = 0x16;

/// A client that is known and may read.
pub(super) struct Known {
    pub(super) connection: Connection,
    pub(super) user: String,
    pub(super) settings: Settings,
    pub(super) cancelled: cancel::Listening,
    /// Its place among the sessions.
    pub(super) place: OwnedSemaphorePermit,
}

/// Why there is no session.
pub(super) enum Ended {
    /// It was never to be one, or the client is gone.
    Gone,
    /// The client is told why.
    Refused(Connection, Fault),
}

impl From<Broken> for Ended {
    fn from(_: Broken) -> Self {
        Self::Gone
    }
}

/// Lets a client in.
pub(super) async fn admit(stream: TcpStream, shared: &Arc<Shared>) -> Result<Known, Ended> {
    let (mut connection, secure, first) = greeted(stream, shared).await?;
    let parameters = match parameters(first) {
        Ok(parameters) => parameters,
        Err(fault) => return Err(Ended::Refused(connection, fault)),
    };
    if shared.tls.is_some() && !secure {
        let message = "this server takes connections under TLS only";
        return Err(Ended::Refused(connection, Fault::new("28000", "pg_tls_required", message)));
    }
    if !parameters.unknown.is_empty() || parameters.minor > 0 {
        let told = NegotiateProtocolVersion::new(VERSION, parameters.unknown);
        connection.put(Backend::NegotiateProtocolVersion(told));
    }
    let user = parameters.user;
    if let Err(refused) = prove(&mut connection, &user, shared).await? {
        shared.door.turned_away(&user, refused.code);
        return Err(Ended::Refused(connection, refused));
    }
    let Ok(place) = Arc::clone(&shared.sessions).try_acquire_owned() else {
        let fault = Fault::new("53300", "pg_too_many_sessions", "too many sessions are open");
        return Err(Ended::Refused(connection, fault));
    };
    let mut settings = Settings::new(&user);
    for (name, value) in &parameters.settings {
        if let Err(fault) = settings.set(&name.to_ascii_lowercase(), value) {
            return Err(Ended::Refused(connection, fault));
        }
    }
    let cancelled = shared.cancels.enter();
    connection.put(Backend::Authentication(Authentication::Ok));
    for (name, value) in settings.reported() {
        connection.put(status(name, value));
    }
    let key = SecretKey::I32(cancelled.secret);
    connection.put(Backend::BackendKeyData(BackendKeyData::new(cancelled.number, key)));
    connection.put(Backend::ReadyForQuery(ReadyForQuery::new(TransactionStatus::Idle)));
    connection.flush().await?;
    Ok(Known { connection, user, settings, cancelled, place })
}

pub(super) fn status(name: &str, value: String) -> Backend {
    Backend::ParameterStatus(ParameterStatus::new(name.to_owned(), value))
}

/// Up to a client's startup packet: the connection, whether it is under TLS, and the packet.
async fn greeted(
    stream: TcpStream,
    shared: &Arc<Shared>,
) -> Result<(Connection, bool, Bytes), Ended> {
    let mut byte = [0];
    let direct = stream.peek(&mut byte).await.map_err(Broken::from)? == 1 && byte[0] == HANDSHAKE;
    let mut connection = Connection::new(Box::new(stream));
    let mut secure = false;
    if direct {
        connection = encrypted(connection, shared).await?;
        secure = true;
    }
    for _ in 0..ASKED_MAX {
        let packet = connection.first().await?;
        let code = Reader(packet.clone()).i32().ok_or(Ended::Gone)?;
        match code {
            TLS if shared.tls.is_some() && !secure => {
                connection.put(Backend::SslResponse(SslResponse::Accept));
                connection.flush().await?;
                connection = encrypted(connection, shared).await?;
                secure = true;
            }
            TLS | GSS => {
                connection.put(Backend::SslResponse(SslResponse::Refuse));
                connection.flush().await?;
            }
            CANCEL => {
                let mut read = Reader(packet.slice(4..));
                if let (Some(number), Some(secret)) = (read.i32(), read.i32()) {
                    shared.cancels.cancel(number, secret);
                }
                return Err(Ended::Gone);
            }
            _ => return Ok((connection, secure, packet)),
        }
    }
    Err(Ended::Gone)
}

/// The same connection under TLS. What a client sent before its handshake is no part of it.
async fn encrypted(connection: Connection, shared: &Arc<Shared>) -> Result<Connection, Ended> {
    let (stream, sent) = connection.into_parts();
    let Some(tls) = shared.tls.as_ref().filter(|_| sent.is_empty()) else {
        return Err(Ended::Gone);
    };
    let stream = tls.acceptor.accept(stream).await.map_err(Broken::from)?;
    Ok(Connection::new(Box::new(stream)))
}

struct Parameters {
    minor: i32,
    user: String,
    settings: Vec<(String, String)>,
    /// Protocol options that are not known here.
    unknown: Vec<String>,
}

/// What a startup packet says.
fn parameters(packet: Bytes) -> Result<Parameters, Fault> {
    let malformed = || Fault::protocol("the startup packet does not hold what it says");
    let mut read = Reader(packet);
    let version = read.i32().ok_or_else(malformed)?;
    if version >> 16 != VERSION >> 16 {
        let message = format!("protocol {}.{} is not spoken here", version >> 16, version & 0xffff);
        return Err(Fault::new("0A000", "pg_protocol", message));
    }
    let mut parameters = Parameters {
        minor: version & 0xffff,
        user: String::new(),
        settings: Vec::new(),
        unknown: Vec::new(),
    };
    loop {
        let name = read.text().ok_or_else(malformed)?;
        if name.is_empty() {
            break;
        }
        let value = read.text().ok_or_else(malformed)?;
        match name.as_str() {
            "user" => parameters.user = value,
            // There is one database, whatever it is called.
            "database" => {}
            "options" => parameters.settings.extend(options(&value)?),
            "replication" => {
                let message = "replication is not offered";
                return Err(Fault::new("42501", "pg_setting_refused", message));
            }
            name if name.starts_with("_pq_.") => parameters.unknown.push(name.to_owned()),
            _ => parameters.settings.push((name, value)),
        }
    }
    if parameters.user.is_empty() {
        let message = "the user is the name of a credential, and none is given";
        return Err(Fault::new("28000", "credential_invalid", message));
    }
    Ok(parameters)
}

/// `-c name=value -c …`, as clients pass settings on.
fn options(text: &str) -> Result<Vec<(String, String)>, Fault> {
    let refused = || {
        Fault::new("42501", "pg_setting_refused", "of `options` only `-c name=value` is offered")
    };
    let mut settings = Vec::new();
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        let pair = match word.strip_prefix("-c") {
            Some("") => words.next().ok_or_else(refused)?,
            Some(pair) => pair,
            None => word.strip_prefix("--").ok_or_else(refused)?,
        };
        let (name, value) = pair.split_once('=').ok_or_else(refused)?;
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

/// Has a client prove that it holds the key of the credential that it names.
async fn prove(
    connection: &mut Connection,
    user: &str,
    shared: &Arc<Shared>,
) -> Result<Result<(), Fault>, Ended> {
    let wrong = || {
        let message = format!(
            "the key is not that of credential `{}`, or it is unknown, revoked or expired",
            short(user)
        );
        Fault::new("28P01", "credential_invalid", message)
    };
    // Who is not known is asked for a proof all the same, and fails at it like anyone else.
    let (verifier, known) = match tokio::task::block_in_place(|| shared.door.verifier(user)) {
        Ok(verifier) => (verifier, true),
        Err(Refused::Unknown) => (Verifier::decoy(&shared.decoy, user), false),
        Err(refused) => return Ok(Err(fault(refused, user))),
    };
    // Where there is a certificate, nobody comes so far without it.
    let end_point = shared.tls.as_ref().and_then(|tls| tls.end_point.as_deref());
    let bound = end_point.map(|_| BOUND.to_owned());
    let offered = bound.into_iter().chain([MECHANISM.to_owned()]).collect();
    connection.put(Backend::Authentication(Authentication::SASL(offered)));
    connection.flush().await?;
    let Some((mechanism, first)) = first_words(password(connection).await?) else {
        return Ok(Err(Fault::protocol("SCRAM-SHA-256 is the one way to prove a key here")));
    };
    let begun = Challenge::begin((&mechanism, &first), verifier, end_point);
    let Ok((challenge, asked)) = begun else {
        return Ok(Err(wrong()));
    };
    connection.put(Backend::Authentication(Authentication::SASLContinue(asked.into())));
    connection.flush().await?;
    let last = password(connection).await?;
    let Ok(proof) = challenge.end(&last) else { return Ok(Err(wrong())) };
    if !known {
        return Ok(Err(wrong()));
    }
    // Only now, so that only the holder of a key hears what it may not do.
    if let Err(refused) = shared.door.may_read(user) {
        return Ok(Err(fault(refused, user)));
    }
    connection.put(Backend::Authentication(Authentication::SASLFinal(proof.into())));
    Ok(Ok(()))
}

async fn password(connection: &mut Connection) -> Result<Bytes, Ended> {
    match connection.frame(EARLY_BYTES_MAX).await? {
        (b'p', body) => Ok(body),
        _ => Err(Ended::Gone),
    }
}

/// The mechanism that a client chose, and its first message.
fn first_words(body: Bytes) -> Option<(String, Bytes)> {
    let mut read = Reader(body);
    let mechanism = read.text().filter(|name| name == MECHANISM || name == BOUND)?;
    Some((mechanism, read.value()??))
}

fn short(name: &str) -> String {
    name.chars().take(64).collect()
}

/// A refusal as a client is told it.
pub(super) fn fault(refused: Refused, user: &str) -> Fault {
    match refused {
        Refused::Unknown => Fault::new(
            "28P01",
            "credential_invalid",
            format!("credential `{}` is unknown, revoked or expired", short(user)),
        ),
        Refused::NoVerifier => Fault::new(
            "28000",
            "pg_credential_without_verifier",
            format!(
                "credential `{}` was made before keys could be used here; rotate it, or issue a \
                 new one",
                short(user)
            ),
        ),
        Refused::NotPermitted { role } => Fault::new(
            "42501",
            "not_permitted",
            format!("role `{role}` of credential `{}` does not allow this", short(user)),
        ),
    }
}

impl Cancels {
    /// The word of a client's other connection.
    fn cancel(&self, number: i32, secret: i32) {
        if !self.tell(number, secret) {
            tracing::debug!(number, "a request to cancel named no session");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_settings() {
        let read = options("-c statement_timeout=5s -csearch_path=public --extra-float-digits=3");
        let pairs =
            [("statement_timeout", "5s"), ("search_path", "public"), ("extra_float_digits", "3")];
        assert_eq!(read.unwrap(), pairs.map(|(n, v)| (n.to_owned(), v.to_owned())));
        for bad in ["-d x", "-c", "-c x", "x=1"] {
            assert_eq!(options(bad).unwrap_err().code, "pg_setting_refused", "{bad}");
        }
    }

    #[test]
    fn startup_packets_are_read_to_their_end() {
        let packet =
            |version: i32, rest: &[u8]| Bytes::from([&version.to_be_bytes(), rest].concat());
        let read =
            parameters(packet(VERSION, b"user\0ci\0database\0x\0TimeZone\0UTC\0\0")).unwrap();
        assert_eq!((read.user.as_str(), read.settings.len()), ("ci", 1));
        for (packet, state) in [
            (packet(2 << 16, b"user\0ci\0\0"), "0A000"),
            (packet(VERSION, b"user\0ci\0"), "08P01"),
            (packet(VERSION, b"user\0ci"), "08P01"),
            (packet(VERSION, b""), "08P01"),
            (packet(VERSION, b"\0"), "28000"),
            (packet(VERSION, b"user\0ci\0replication\0true\0\0"), "42501"),
            (packet(VERSION, b"user\0\xff\0\0"), "08P01"),
        ] {
            assert_eq!(parameters(packet).map(|_| ()).unwrap_err().state, state);
        }
    }
}
