//! Lines out of a stream of bytes, each no longer than a limit.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// How many bytes are asked for at once.
const READ_BYTES: usize = 64 * 1_024;
/// A buffer that grew beyond this is given back when it is empty.
const KEPT_BYTES: usize = 1_024 * 1_024;

/// A line without its newline, or what is known of one that was too long.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// The whole line.
    Whole(Vec<u8>),
    /// It was longer than the limit and has been skipped.
    TooLong,
}

/// Reads lines. A `next` that is dropped half way loses nothing.
#[derive(Debug)]
pub struct Lines<R> {
    from: R,
    max: usize,
    buffer: Vec<u8>,
    /// INVARIANT: no newline stands before this position.
    scanned: usize,
    skipping: bool,
    ended: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Reads `from`, lines of at most `max` bytes.
    pub const fn new(from: R, max: usize) -> Self {
        Self { from, max, buffer: Vec::new(), scanned: 0, skipping: false, ended: false }
    }

    /// The next line; none at the end. The last line needs no newline.
    ///
    /// # Errors
    /// When reading fails.
    pub async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            if let Some(line) = self.take() {
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(self.take_rest());
            }
            self.buffer.reserve(READ_BYTES);
            if self.from.read_buf(&mut self.buffer).await? == 0 {
                self.ended = true;
            }
        }
    }

    fn take(&mut self) -> Option<Line> {
        let newline = self.buffer[self.scanned..].iter().position(|b| *b == b'\n');
        let Some(newline) = newline.map(|at| self.scanned + at) else {
            self.scanned = self.buffer.len();
            if self.scanned > self.max {
                self.skipping = true;
                self.buffer = Vec::new();
                self.scanned = 0;
            }
            return None;
        };
        let line = self.buffer[..newline].to_vec();
        self.buffer.drain(..=newline);
        self.scanned = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BYTES {
            self.buffer = Vec::new();
        }
        let too_long = std::mem::take(&mut self.skipping) || line.len() > self.max;
        Some(if too_long { Line::TooLong } else { Line::Whole(line) })
    }

    fn take_rest(&mut self) -> Option<Line> {
        let rest = std::mem::take(&mut self.buffer);
        self.scanned = 0;
        match (std::mem::take(&mut self.skipping), rest.is_empty()) {
            (true, _) => Some(Line::TooLong),
            (false, true) => None,
            (false, false) => Some(Line::Whole(rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8], max: usize) -> Vec<Line> {
        let mut lines = Lines::new(bytes, max);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push(line);
        }
        all
    }

    fn whole(text: &str) -> Line {
        Line::Whole(text.as_bytes().to_vec())
    }

    #[tokio::test]
    async fn lines_come_out_as_they_went_in() {
        assert_eq!(
            read(b"a\n\nbc\r\nd", 10).await,
            [whole("a"), whole(""), whole("bc\r"), whole("d")]
        );
        assert_eq!(read(b"", 10).await, []);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_skipped_and_the_next_one_is_not() {
        assert_eq!(
            read(b"12345\n123456\n1\n", 5).await,
            [whole("12345"), Line::TooLong, whole("1")]
        );
        let mut long = vec![b'x'; 3 * READ_BYTES];
        long.extend_from_slice(b"\nnext\n");
        assert_eq!(read(&long, 5).await, [Line::TooLong, whole("next")]);
        assert_eq!(read(&vec![b'x'; 3 * READ_BYTES], 5).await, [Line::TooLong]);
    }
}
