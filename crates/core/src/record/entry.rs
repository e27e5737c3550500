//! One group commit: frames under one signature, and how a writer makes it.
//!
//! An entry is 44 bytes (magic, ledger, number, epoch, count, size), the frames back to back, the
//! id of the key and the signature. In a copy whose bodies are withheld each frame is cut to its
//! 92-byte header and everything else stays: the 44 bytes are signed, so the size field still
//! says how many bytes the whole frames had. Such a copy does not mark itself; its reader is told.

use ed25519_dalek::{Signer, SigningKey};

use crate::record::fault::FaultKind;
use crate::record::frame::{self, FrameError, FrameRef, HEADER_BYTES};
use crate::record::hash::{self, EntryHasher, KeyId, LedgerId, Link, PublicKey};
use crate::record::verify::Position;
use crate::time::Time;

/// The most bytes of an entry.
pub const ENTRY_BYTES_MAX: usize = 1_000_000;
/// The most frames of an entry.
pub const FRAMES_MAX: usize = 4_096;
/// [`FRAMES_MAX`] as the count field holds it.
pub(crate) const COUNT_MAX: u32 = 4_096;
/// Bytes before the frames.
pub const PREFIX_BYTES: usize = 44;
/// Bytes after the frames: key id and signature.
pub const SUFFIX_BYTES: usize = 68;
/// The fewest bytes of an entry: one frame without a body.
pub const ENTRY_BYTES_MIN: usize = PREFIX_BYTES + HEADER_BYTES + SUFFIX_BYTES;

const MAGIC: [u8; 4] = *b"BWK1";

/// Why a frame was not added to an entry. The entry is left as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The entry has no room for it: seal this one and begin the next.
    #[error("the entry has no room for another event of {body_bytes} bytes")]
    Full {
        /// Bytes of the body.
        body_bytes: usize,
    },
    /// The time is not later than that of the event before.
    #[error("the event's time {} is not later than {}, the event before", time.0, before.0)]
    Time {
        /// The time of the event before, Unix nanoseconds.
        before: Time,
        /// The time given, Unix nanoseconds.
        time: Time,
    },
    /// The frame itself cannot be made.
    #[error("the event cannot be stored")]
    Frame(#[source] FrameError),
}

/// An entry in the making, continuing the ledger from one position.
#[derive(Debug, Clone)]
pub struct EntryBuilder {
    ledger: LedgerId,
    number: u64,
    epoch: u64,
    first_index: u64,
    count: u32,
    last_time: Time,
    last_link: Link,
    /// The 44 bytes, with room for count and size, and the frames so far.
    bytes: Vec<u8>,
}

impl EntryBuilder {
    /// Begins the entry after `at`, by the writer of `epoch`.
    #[must_use]
    pub fn new(ledger: LedgerId, at: &Position, epoch: u64) -> Self {
        debug_assert!(epoch >= at.epoch, "a writer's epoch never falls");
        let number = at.entry_number + 1;
        let mut bytes = Vec::with_capacity(16 * 1_024);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&ledger.0);
        bytes.extend_from_slice(&number.to_be_bytes());
        bytes.extend_from_slice(&epoch.to_be_bytes());
        bytes.resize(PREFIX_BYTES, 0);
        Self {
            ledger,
            number,
            epoch,
            first_index: at.next_index,
            count: 0,
            last_time: at.last_time,
            last_link: at.last_link,
            bytes,
        }
    }

    /// Whether `frames` more frames with bodies of `body_bytes` together still fit. What one
    /// command leads to must stand in one entry, so ask for all of it before adding the first.
    #[must_use]
    pub const fn fits(&self, frames: usize, body_bytes: usize) -> bool {
        let added = frames.saturating_mul(HEADER_BYTES).saturating_add(body_bytes);
        self.count as usize + frames <= FRAMES_MAX
            && self.bytes.len().saturating_add(added) <= ENTRY_BYTES_MAX - SUFFIX_BYTES
    }

    /// Adds an event. `body` is the salt and the encoded event. Gives the event's link; its index
    /// was [`Self::next_index`].
    ///
    /// # Errors
    /// [`PushError`] when there is no room, the time does not advance, or the body's length or
    /// the schema number is not allowed.
    pub fn push(
        &mut self,
        kind: u16,
        schema: u8,
        time: Time,
        body: &[u8],
    ) -> Result<Link, PushError> {
        let index = self.next_index();
        if index > 0 && time <= self.last_time {
            return Err(PushError::Time { before: self.last_time, time });
        }
        if frame::body_length_allowed(body.len()) && !self.fits(1, body.len()) {
            return Err(PushError::Full { body_bytes: body.len() });
        }
        let prev = self.last_link;
        let link = frame::append_frame(&mut self.bytes, kind, schema, index, time, prev, body)
            .map_err(PushError::Frame)?;
        self.count += 1;
        self.last_time = time;
        self.last_link = link;
        Ok(link)
    }

    /// The number that this entry will have.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The index that the next event will have.
    #[must_use]
    pub const fn next_index(&self) -> u64 {
        self.first_index + self.count as u64
    }

    /// The time of the last event on the ledger, this entry included.
    #[must_use]
    pub const fn last_time(&self) -> Time {
        self.last_time
    }

    /// The link of the last event on the ledger, this entry included.
    #[must_use]
    pub const fn last_link(&self) -> Link {
        self.last_link
    }

    /// How many events have been added.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Signs the entry. None when no event was added: an empty entry does not exist.
    #[must_use]
    pub fn seal(self, key: &SigningKey) -> Option<Sealed> {
        if self.count == 0 {
            return None;
        }
        let Self { ledger, number, epoch, first_index, count, last_time, last_link, mut bytes } =
            self;
        let size = u32::try_from(bytes.len() - PREFIX_BYTES).ok()?;
        bytes[36..40].copy_from_slice(&count.to_be_bytes());
        bytes[40..44].copy_from_slice(&size.to_be_bytes());
        let mut signed = EntryHasher::new(&bytes[..PREFIX_BYTES]);
        let mut rest = &bytes[PREFIX_BYTES..];
        while let Some(header) = rest.first_chunk::<HEADER_BYTES>() {
            signed.add(header);
            let body_len = u32::from_be_bytes(frame::part(header, 88)) as usize;
            rest = &rest[HEADER_BYTES + body_len..];
        }
        let signature = key.sign(&signed.finish());
        let public = PublicKey(key.verifying_key().to_bytes());
        bytes.extend_from_slice(&hash::key_id(&public).0);
        bytes.extend_from_slice(&signature.to_bytes());
        debug_assert!(EntryRef::parse(&bytes).is_ok_and(|entry| entry.ledger() == ledger));
        Some(Sealed { bytes, number, epoch, first_index, count, last_time, last_link })
    }
}

/// A signed entry, ready to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// What is stored, byte for byte.
    pub bytes: Vec<u8>,
    /// The entry's number, from 1.
    pub number: u64,
    /// The epoch of the writer.
    pub epoch: u64,
    /// The index of its first event.
    pub first_index: u64,
    /// How many events it holds.
    pub count: u32,
    /// The time of its last event.
    pub last_time: Time,
    /// The link of its last event.
    pub last_link: Link,
}

impl Sealed {
    /// Where a reader stands after this entry.
    #[must_use]
    pub const fn position(&self) -> Position {
        Position {
            entry_number: self.number,
            next_index: self.first_index + self.count as u64,
            last_time: self.last_time,
            last_link: self.last_link,
            epoch: self.epoch,
        }
    }
}

/// Whether a copy holds the bodies of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bodies {
    /// Every frame is whole: the record as it is stored.
    Present,
    /// Every frame is cut to its header; nothing but the 92 bytes is left of it.
    Withheld,
}

/// An entry where it lies, with its lengths checked and nothing proven: for bytes that have been
/// verified already, or to look at some that will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryRef<'a> {
    pub(crate) prefix: &'a [u8; PREFIX_BYTES],
    pub(crate) frames: &'a [u8],
    pub(crate) suffix: &'a [u8; SUFFIX_BYTES],
    pub(crate) bodies: Bodies,
}

impl<'a> EntryRef<'a> {
    /// Reads an entry whose frames are whole.
    ///
    /// # Errors
    /// [`FaultKind`] when the magic, the count, a length or the fixed part of a frame is wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FaultKind> {
        Self::parse_as(bytes, Bodies::Present)
    }

    /// Reads an entry of a copy that is whole or has its bodies withheld.
    ///
    /// # Errors
    /// [`FaultKind`] as for [`Self::parse`].
    pub fn parse_as(bytes: &'a [u8], bodies: Bodies) -> Result<Self, FaultKind> {
        let entry = Self::split(bytes, bodies)?;
        entry.check_magic()?;
        entry.check_lengths()?;
        let mut frames = entry.walk();
        while frames.next()?.is_some() {}
        Ok(entry)
    }

    /// Cuts `bytes` into prefix, frames and suffix, with nothing checked but that they are there.
    pub(crate) fn split(bytes: &'a [u8], bodies: Bodies) -> Result<Self, FaultKind> {
        let too_short = || FaultKind::EntryLength(bytes.len() as u64);
        let (prefix, rest) = bytes.split_first_chunk().ok_or_else(too_short)?;
        let (frames, suffix) = rest.split_last_chunk().ok_or_else(too_short)?;
        Ok(Self { prefix, frames, suffix, bodies })
    }

    pub(crate) fn check_magic(&self) -> Result<(), FaultKind> {
        if self.prefix[..4] == MAGIC { Ok(()) } else { Err(FaultKind::Magic) }
    }

    /// Checks count and size against each other, the bytes that are there, and the limits.
    pub(crate) fn check_lengths(&self) -> Result<(), FaultKind> {
        let count = self.count();
        if count == 0 || count > COUNT_MAX {
            return Err(FaultKind::Count(count));
        }
        let whole = (PREFIX_BYTES + SUFFIX_BYTES) as u64 + u64::from(self.size());
        if whole > ENTRY_BYTES_MAX as u64 {
            return Err(FaultKind::EntryLength(whole));
        }
        let expected = match self.bodies {
            Bodies::Present => u64::from(self.size()),
            Bodies::Withheld => u64::from(count) * HEADER_BYTES as u64,
        };
        if self.frames.len() as u64 == expected {
            return Ok(());
        }
        let outside = (PREFIX_BYTES + SUFFIX_BYTES) as u64;
        Err(FaultKind::Size {
            expected: expected + outside,
            found: self.frames.len() as u64 + outside,
        })
    }

    /// The ledger that the entry names.
    #[must_use]
    pub fn ledger(&self) -> LedgerId {
        LedgerId(frame::part(self.prefix, 4))
    }

    /// The entry's number, from 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        u64::from_be_bytes(frame::part(self.prefix, 20))
    }

    /// The epoch of the writer.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        u64::from_be_bytes(frame::part(self.prefix, 28))
    }

    /// How many events the entry holds.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::from_be_bytes(frame::part(self.prefix, 36))
    }

    /// Bytes of the whole frames, also where their bodies are withheld.
    #[must_use]
    pub fn size(&self) -> u32 {
        u32::from_be_bytes(frame::part(self.prefix, 40))
    }

    /// The key that the entry says it is signed by.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        KeyId(frame::part(self.suffix, 0))
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> [u8; 64] {
        frame::part(self.suffix, 4)
    }

    /// The frames in order.
    pub fn frames(&self) -> impl Iterator<Item = FrameRef<'a>> + use<'a> {
        // Reading stops at the first fault; a parsed entry has none.
        let mut walk = self.walk();
        std::iter::from_fn(move || walk.next().ok().flatten())
    }

    /// The entry with every frame cut to its header. It still verifies, as
    /// [`crate::record::verify::verify_headers`].
    #[must_use]
    pub fn without_bodies(&self) -> Vec<u8> {
        let headers = self.count() as usize * HEADER_BYTES;
        let mut out = Vec::with_capacity(PREFIX_BYTES + headers + SUFFIX_BYTES);
        out.extend_from_slice(self.prefix);
        self.frames().for_each(|frame| out.extend_from_slice(frame.header_bytes));
        out.extend_from_slice(self.suffix);
        out
    }

    pub(crate) fn walk(&self) -> Walk<'a> {
        Walk {
            rest: self.frames,
            left: self.count(),
            whole: self.size().into(),
            bodies: self.bodies,
        }
    }
}

/// A walk over the frames of an entry, which must end exactly where the entry says.
pub(crate) struct Walk<'a> {
    rest: &'a [u8],
    left: u32,
    /// Bytes of whole frames that are still to come.
    whole: u64,
    bodies: Bodies,
}

impl<'a> Walk<'a> {
    /// The next frame; none when all have been seen and nothing is left over.
    pub(crate) fn next(&mut self) -> Result<Option<FrameRef<'a>>, FaultKind> {
        if self.left == 0 {
            let done = self.rest.is_empty() && self.whole == 0;
            return if done { Ok(None) } else { Err(FaultKind::Frames) };
        }
        if self.rest.is_empty() {
            return Err(FaultKind::Frames);
        }
        let withheld = self.bodies == Bodies::Withheld;
        let (frame, rest) = FrameRef::split(self.rest, withheld).map_err(FaultKind::Frame)?;
        let bytes = HEADER_BYTES as u64 + u64::from(frame.header.body_len);
        let too_long = FaultKind::Frame(FrameError::Truncated);
        self.whole = self.whole.checked_sub(bytes).ok_or(too_long)?;
        self.rest = rest;
        self.left -= 1;
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_holds_as_many_events_as_allowed_and_no_more() {
        let mut entry = begin();
        for n in 0..4_096 {
            assert!(entry.fits(1, 16));
            entry.push(1, 1, Time(n + 1), &[0; 16]).unwrap();
        }
        assert!(!entry.fits(1, 16));
        assert!(entry.fits(0, 0));
        let refused = entry.push(1, 1, Time(9_999), &[0; 16]);
        assert_eq!(refused, Err(PushError::Full { body_bytes: 16 }));
        let sealed = entry.seal(&key()).unwrap();
        assert_eq!(EntryRef::parse(&sealed.bytes).unwrap().frames().count(), 4_096);
    }

    #[test]
    fn an_entry_grows_to_its_limit_and_no_further() {
        let mut entry = begin();
        let mut time = 0;
        while entry.fits(1, 65_535) {
            time += 1;
            entry.push(1, 1, Time(time), &[0; 65_535]).unwrap();
        }
        let room = ENTRY_BYTES_MAX - SUFFIX_BYTES - HEADER_BYTES - entry.bytes.len();
        let refused = entry.push(1, 1, Time(time + 1), &vec![0; room + 1]);
        assert_eq!(refused, Err(PushError::Full { body_bytes: room + 1 }));
        entry.push(1, 1, Time(time + 1), &vec![0; room]).unwrap();
        let sealed = entry.seal(&key()).unwrap();
        assert_eq!(sealed.bytes.len(), ENTRY_BYTES_MAX);
        assert!(EntryRef::parse(&sealed.bytes).is_ok());
    }

    #[test]
    fn a_refused_event_leaves_no_trace() {
        let mut entry = begin();
        entry.push(1, 1, Time(5), &[0; 16]).unwrap();
        let before = (entry.bytes.clone(), entry.next_index(), entry.last_link());
        let refused = entry.push(1, 1, Time(5), &[0; 16]);
        assert_eq!(refused, Err(PushError::Time { before: Time(5), time: Time(5) }));
        let refused = entry.push(1, 1, Time(6), &[0; 15]);
        assert_eq!(refused, Err(PushError::Frame(FrameError::BodyLength(15))));
        let refused = entry.push(1, 1, Time(6), &[0; 65_536]);
        assert_eq!(refused, Err(PushError::Frame(FrameError::BodyLength(65_536))));
        let refused = entry.push(1, 0, Time(6), &[0; 16]);
        assert_eq!(refused, Err(PushError::Frame(FrameError::Schema)));
        assert_eq!((entry.bytes.clone(), entry.next_index(), entry.last_link()), before);
    }

    #[test]
    fn an_empty_entry_is_not_sealed() {
        assert_eq!(begin().seal(&key()), None);
    }

    #[test]
    fn an_entry_of_any_other_length_does_not_parse() {
        let mut entry = begin();
        entry.push(1, 1, Time(1), &[0; 20]).unwrap();
        let bytes = entry.seal(&key()).unwrap().bytes;
        for end in 0..bytes.len() {
            assert!(EntryRef::parse(&bytes[..end]).is_err(), "{end}");
        }
        assert!(EntryRef::parse(&[&bytes[..], &[0]].concat()).is_err());
        assert!(EntryRef::parse_as(&bytes, Bodies::Withheld).is_err());
    }

    #[test]
    fn limits_in_the_count_field_are_the_limit_of_frames() {
        assert_eq!(COUNT_MAX as usize, FRAMES_MAX);
    }

    fn begin() -> EntryBuilder {
        let ledger = LedgerId([1; 16]);
        EntryBuilder::new(ledger, &Position::genesis(ledger), 1)
    }

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[3; 32])
    }
}
