//! Frames: what comes in is bounded and checked before it is read, what goes out is gathered and
//! sent in large pieces.
//!
//! Messages that clients send are taken apart here and not by `pgwire`, which trusts the counts in
//! them and ends in a panic where they lie; those that go out are its own.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use pgwire::messages::PgWireBackendMessage as Backend;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Bytes of a message before a client is known: SCRAM's are below 1 KiB.
pub(super) const EARLY_BYTES_MAX: usize = 10_000;
/// Bytes of a message of a known client: the longest question, and its parameters.
pub(super) const MESSAGE_BYTES_MAX: usize = 1_024 * 1_024;
/// Parameters of a statement.
pub(super) const PARAMETERS_MAX: usize = 1_000;
/// Bytes that are read at once, if there are so many.
const READ_BYTES: usize = 8 * 1_024;
/// Bytes that are read ahead while an answer goes out.
const AHEAD_BYTES_MAX: usize = 64 * 1_024;
/// Bytes of an answer that are gathered before they are sent.
pub(super) const GATHERED_BYTES: usize = 64 * 1_024;
/// How long a client may leave what it is sent unread.
const UNREAD_MAX: Duration = Duration::from_secs(60);

/// Why a connection ends without a word.
#[derive(Debug)]
pub(super) enum Broken {
    /// The other side is gone, or leaves what it is sent unread.
    Gone,
    /// What it sends is no message.
    Protocol(&'static str),
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// What a connection runs over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A statement or a portal, by its name; the empty name is the unnamed one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    Statement(String),
    Portal(String),
}

/// What a known client asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    Query(String),
    Parse {
        name: String,
        sql: String,
        types: Vec<u32>,
    },
    Bind(Bind),
    Describe(Target),
    Execute {
        portal: String,
        rows_max: usize,
    },
    Close(Target),
    Flush,
    Sync,
    Terminate,
    /// A message of COPY or of a function call, which are not offered.
    NotOffered(u8),
}

/// Values for a statement's parameters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bind {
    pub(super) portal: String,
    pub(super) statement: String,
    pub(super) formats: Vec<i16>,
    pub(super) values: Vec<Option<Bytes>>,
    pub(super) results: Vec<i16>,
}

/// One client's connection.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    input: BytesMut,
    output: BytesMut,
}

impl Connection {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream, input: BytesMut::new(), output: BytesMut::new() }
    }

    /// The first packet, which has no type.
    pub(super) async fn first(&mut self) -> Result<Bytes, Broken> {
        self.fill(4).await?;
        let length = self.length(0, EARLY_BYTES_MAX)?;
        self.fill(length).await?;
        self.input.advance(4);
        Ok(self.input.split_to(length - 4).freeze())
    }

    /// A message's type and body.
    pub(super) async fn frame(&mut self, bytes_max: usize) -> Result<(u8, Bytes), Broken> {
        self.fill(5).await?;
        let kind = self.input[0];
        let length = self.length(1, bytes_max)?;
        self.fill(1 + length).await?;
        self.input.advance(5);
        Ok((kind, self.input.split_to(length - 4).freeze()))
    }

    /// A known client's next message.
    pub(super) async fn message(&mut self) -> Result<Message, Broken> {
        let (kind, body) = self.frame(MESSAGE_BYTES_MAX).await?;
        message(kind, body).ok_or(Broken::Protocol("a message does not hold what it says"))
    }

    fn length(&self, at: usize, bytes_max: usize) -> Result<usize, Broken> {
        let length = (&self.input[at..at + 4]).get_i32();
        let length = usize::try_from(length).ok().filter(|length| *length >= 4);
        let length = length.ok_or(Broken::Protocol("a message of a negative length"))?;
        if length > bytes_max {
            return Err(Broken::Protocol("a message is longer than it may be"));
        }
        Ok(length)
    }

    /// Reads until there are `bytes` of input. What was read stays when this is given up.
    async fn fill(&mut self, bytes: usize) -> Result<(), Broken> {
        while self.input.len() < bytes {
            self.input.reserve((bytes - self.input.len()).max(READ_BYTES));
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(Broken::Gone);
            }
        }
        Ok(())
    }

    /// Waits until the client is gone, and keeps what it sends meanwhile.
    pub(super) async fn gone(&mut self) {
        while self.input.len() < AHEAD_BYTES_MAX {
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        std::future::pending().await
    }

    /// Adds a message to those that go out next.
    pub(super) fn put(&mut self, message: Backend) {
        // Only a message of more than 2 GiB does not encode.
        if let Err(error) = message.encode(&mut self.output) {
            tracing::error!(%error, "a message was not sent");
        }
    }

    /// What goes out next, to add rows to.
    pub(super) fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    pub(super) fn gathered(&self) -> usize {
        self.output.len()
    }

    /// Sends what was gathered.
    pub(super) async fn flush(&mut self) -> Result<(), Broken> {
        // Given up in between, it goes on where it was: what is sent leaves the buffer as it is sent.
        let send = async {
            while !self.output.is_empty() {
                if self.stream.write_buf(&mut self.output).await? == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
            }
            self.stream.flush().await
        };
        timeout(UNREAD_MAX, send).await.map_err(|_| Broken::Gone)?.map_err(Broken::from)
    }

    /// The bytes that were read and not used, and the stream, to go on under TLS.
    pub(super) fn into_parts(self) -> (Box<dyn Stream>, BytesMut) {
        (self.stream, self.input)
    }
}

/// Takes a message apart; none if it does not hold what it says.
fn message(kind: u8, body: Bytes) -> Option<Message> {
    let mut read = Reader(body);
    let message = match kind {
        b'Q' => Message::Query(read.text()?),
        b'P' => {
            let (name, sql) = (read.text()?, read.text()?);
            Message::Parse { name, sql, types: read.many(PARAMETERS_MAX, Reader::u32)? }
        }
        b'B' => Message::Bind(Bind {
            portal: read.text()?,
            statement: read.text()?,
            formats: read.many(PARAMETERS_MAX, Reader::i16)?,
            values: read.many(PARAMETERS_MAX, Reader::value)?,
            results: read.many(usize::from(u16::MAX), Reader::i16)?,
        }),
        b'D' => Message::Describe(read.target()?),
        b'C' => Message::Close(read.target()?),
        b'E' => {
            let (portal, rows) = (read.text()?, read.i32()?);
            Message::Execute { portal, rows_max: usize::try_from(rows).unwrap_or(0) }
        }
        b'H' => Message::Flush,
        b'S' => Message::Sync,
        b'X' => Message::Terminate,
        b'F' | b'd' | b'c' | b'f' => return Some(Message::NotOffered(kind)),
        _ => return None,
    };
    read.0.is_empty().then_some(message)
}

/// Reads a body, and never past its end.
pub(super) struct Reader(pub(super) Bytes);

impl Reader {
    /// A text up to its zero byte.
    pub(super) fn text(&mut self) -> Option<String> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = self.0.split_to(end);
        self.0.advance(1);
        String::from_utf8(text.to_vec()).ok()
    }

    pub(super) fn i16(&mut self) -> Option<i16> {
        self.0.try_get_i16().ok()
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.0.try_get_i32().ok()
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.0.try_get_u32().ok()
    }

    /// Bytes behind their length; none within where the length is -1.
    pub(super) fn value(&mut self) -> Option<Option<Bytes>> {
        match self.i32()? {
            -1 => Some(None),
            length => {
                let length = usize::try_from(length).ok()?;
                (length <= self.0.len()).then(|| Some(self.0.split_to(length)))
            }
        }
    }

    fn many<T>(&mut self, most: usize, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = usize::from(self.0.try_get_u16().ok()?);
        if count > most {
            return None;
        }
        (0..count).map(|_| read(self)).collect()
    }

    fn target(&mut self) -> Option<Target> {
        match self.0.try_get_u8().ok()? {
            b'S' => self.text().map(Target::Statement),
            b'P' => self.text().map(Target::Portal),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(parts: &[&[u8]]) -> Bytes {
        Bytes::from(parts.concat())
    }

    #[test]
    fn messages_are_taken_apart() {
        assert_eq!(message(b'Q', body(&[b"select 1\0"])), Some(Message::Query("select 1".into())));
        let parse = message(b'P', body(&[b"s\0select $1\0", &[0, 1], &[0, 0, 0, 20]]));
        let (name, sql) = ("s".to_owned(), "select $1".to_owned());
        assert_eq!(parse, Some(Message::Parse { name, sql, types: vec![20] }));
        let bind = body(&[
            b"\0s\0",
            &[0, 1, 0, 1],
            &[0, 2, 0, 0, 0, 2, 7, 8, 255, 255, 255, 255],
            &[0, 1, 0, 1],
        ]);
        let Some(Message::Bind(bind)) = message(b'B', bind) else { panic!("no bind") };
        assert_eq!(bind.values, [Some(Bytes::from_static(&[7, 8])), None]);
        assert_eq!((bind.statement.as_str(), bind.formats, bind.results), ("s", vec![1], vec![1]));
    }

    /// Cut short, or with a byte more, no message is one; and none of them is read past its end.
    #[test]
    fn messages_that_lie_about_their_length_are_none() {
        let whole: [(u8, Bytes); 6] = [
            (b'Q', body(&[b"select 1\0"])),
            (b'P', body(&[b"s\0select $1\0", &[0, 1], &[0, 0, 0, 20]])),
            (b'B', body(&[b"\0s\0", &[0, 0, 0, 1, 0, 0, 0, 2, 7, 8, 0, 0]])),
            (b'D', body(&[b"Ss\0"])),
            (b'E', body(&[b"p\0", &[0, 0, 0, 5]])),
            (b'C', body(&[b"Pp\0"])),
        ];
        for (kind, body) in whole {
            assert!(message(kind, body.clone()).is_some(), "{}", char::from(kind));
            for end in 0..body.len() {
                assert_eq!(message(kind, body.slice(..end)), None, "{} {end}", char::from(kind));
            }
            let more = Bytes::from([&body[..], &[0]].concat());
            assert_eq!(message(kind, more), None, "{}", char::from(kind));
        }
        assert_eq!(message(b'P', body(&[b"\0\0", &[255, 255]])), None);
        assert_eq!(message(b'B', body(&[b"\0\0", &[0, 0, 0, 1, 127, 255, 255, 255]])), None);
        assert_eq!(message(b'B', body(&[b"\0\0", &[0, 0, 0, 1, 255, 255, 255, 254]])), None);
        assert_eq!(message(b'?', Bytes::new()), None);
        assert_eq!(message(b'Q', body(&[&[255, 0]])), None);
    }

    #[tokio::test]
    async fn lengths_are_bounded_before_anything_is_read() {
        for (bytes, bytes_max) in [
            (&[b'Q', 127, 255, 255, 255][..], MESSAGE_BYTES_MAX),
            (&[b'Q', 255, 255, 255, 255], MESSAGE_BYTES_MAX),
            (&[b'Q', 0, 0, 0, 3], MESSAGE_BYTES_MAX),
            (&[b'p', 0, 0, 64, 0], EARLY_BYTES_MAX),
        ] {
            let mut connection = Connection::new(Box::new(Given(bytes)));
            let read = connection.frame(bytes_max).await;
            assert!(matches!(read, Err(Broken::Protocol(_))), "{bytes:?} {read:?}");
        }
        let mut cut = Connection::new(Box::new(Given(&[b'Q', 0, 0, 0, 9, b's'])));
        assert!(matches!(cut.frame(MESSAGE_BYTES_MAX).await, Err(Broken::Gone)));
    }

    /// A stream that gives these bytes and then ends.
    struct Given(&'static [u8]);

    impl AsyncRead for Given {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            to: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            let now = self.0.len().min(to.remaining());
            to.put_slice(&self.0[..now]);
            self.0 = &self.0[now..];
            std::task::Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Given {
        fn poll_write(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            bytes: &[u8],
        ) -> std::task::Poll<io::Result<usize>> {
            std::task::Poll::Ready(Ok(bytes.len()))
        }
        fn poll_flush(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }
        fn poll_shutdown(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }
    }
}
