//! The manifest: which segments there are, each row signed, each version whole.
//!
//! A version is one object, `manifest/<version>.jsonl`: a line for each segment in the order of the
//! chain, then a line for the version itself. Every line is `{"signed": …, "key": …, "signature": …}`
//! with an Ed25519 signature over the exact bytes of `signed` behind [`CONTEXT`]. A row names the
//! digest of the row before it, and a version the digest of its last row, so nothing can be left
//! out in between. A version is created and never overwritten: of two that write the same, one fails.

use bailiwick_core::record::hash::{Digest, LedgerId, Link, PublicKey, Root};
use bailiwick_core::time::Time;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::Fault;

/// What stands before the signed bytes, so that a signature is good for nothing else.
const CONTEXT: &[u8] = b"bailiwick archive v1\n";

/// A file of the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct File {
    /// Its name under the archive's place.
    pub(crate) name: String,
    /// Rows in it.
    pub(crate) rows: u64,
    /// Its length.
    pub(crate) bytes: u64,
    /// SHA-256 of its bytes.
    pub(crate) sha256: Digest,
    /// First and last index of an event that a row in it is of.
    pub(crate) seq: (i64, i64),
    /// First and last moment of those events, in microseconds since the Unix epoch.
    pub(crate) ts: (i64, i64),
}

/// What is in the archive about a run of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Segment {
    /// Whose events.
    pub(crate) ledger: LedgerId,
    /// Index of the first event.
    pub(crate) first: u64,
    /// Index of the last event, which is the last of its entry.
    pub(crate) last: u64,
    /// The entry that ends with the last event.
    pub(crate) entry: u64,
    /// Link of the event before the first; none before the ledger's own first.
    pub(crate) link_before: Option<Link>,
    /// Link of the last event.
    pub(crate) link_after: Link,
    /// Root of the Merkle tree (RFC 6962) whose leaves are the events' links.
    pub(crate) root: Root,
    /// The events in the order of the chain: the evidence.
    pub(crate) events: File,
    /// The events of agents by agent, derived from it.
    pub(crate) by_agent: Option<File>,
    /// Calls that were settled by the end of this segment.
    pub(crate) calls: Option<File>,
    /// Grants that were settled by the end of this segment.
    pub(crate) grants: Option<File>,
    /// Tasks that were closed by the end of this segment.
    pub(crate) tasks: Option<File>,
    /// Approvals that were settled by the end of this segment. A row without the word is of a version
    /// that kept them in its state, and says nothing known to this one.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) approvals: Option<File>,
    /// The tables as they stood after the last event, without what is archived. Only that of the
    /// last segment is kept.
    pub(crate) state: File,
    /// When it was written.
    pub(crate) sealed_at: Time,
    /// SHA-256 of what the row before this one signs; none for the first.
    pub(crate) previous: Option<Digest>,
}

impl Segment {
    /// All its files but the state.
    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        let derived = [&self.by_agent, &self.calls, &self.grants, &self.tasks, &self.approvals];
        std::iter::once(&self.events).chain(derived.into_iter().flatten())
    }
}

/// What a version says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Version {
    version: u64,
    rows: usize,
    /// How many segments, from the oldest on, are not kept any more.
    dropped: usize,
    /// SHA-256 of what the last row signs.
    last: Option<Digest>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    signed: Box<RawValue>,
    key: PublicKey,
    signature: String,
}

/// One version of the manifest.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manifest {
    /// Its number; 0 before there is any.
    pub(crate) version: u64,
    /// Every segment that was ever sealed.
    pub(crate) segments: Vec<Segment>,
    /// How many of them, from the oldest on, are not kept any more.
    pub(crate) dropped: usize,
    /// The rows as they are written.
    lines: Vec<String>,
    /// SHA-256 of what the last row signs.
    last: Option<Digest>,
}

impl Manifest {
    /// A version without any segment.
    pub(crate) fn empty(version: u64) -> Self {
        Self { version, ..Self::default() }
    }

    /// The segments that are still kept.
    pub(crate) fn kept(&self) -> &[Segment] {
        &self.segments[self.dropped..]
    }

    /// The last segment.
    pub(crate) fn newest(&self) -> Option<&Segment> {
        self.segments.last()
    }

    /// SHA-256 of what the last row signs.
    pub(crate) const fn newest_row(&self) -> Option<Digest> {
        self.last
    }

    /// The next version: with `segment`, which becomes the last row, and without the segments that
    /// ended before `keep_from`.
    pub(crate) fn with(
        &self,
        mut segment: Segment,
        keep_from: Option<i64>,
        key: &SigningKey,
    ) -> Result<Self, Fault> {
        segment.previous = self.last;
        let (line, digest) = signed(&segment, key)?;
        let mut next = self.clone();
        next.version += 1;
        next.last = Some(digest);
        next.lines.push(line);
        next.segments.push(segment);
        let old = |segment: &&Segment| keep_from.is_some_and(|from| segment.events.ts.1 < from);
        // The newest is kept whatever its age: the tables go on from it.
        let others = &next.segments[..next.segments.len() - 1];
        next.dropped = next.dropped.max(others.iter().take_while(old).count());
        Ok(next)
    }

    /// The version as it is written.
    pub(crate) fn text(&self, key: &SigningKey) -> Result<String, Fault> {
        let about = Version {
            version: self.version,
            rows: self.lines.len(),
            dropped: self.dropped,
            last: self.last,
        };
        let (head, _) = signed(&about, key)?;
        let mut text = self.lines.join("\n");
        if !self.lines.is_empty() {
            text.push('\n');
        }
        text.push_str(&head);
        text.push('\n');
        Ok(text)
    }

    /// Reads a version that was signed by one of `trusted`, and believes nothing else.
    pub(crate) fn read(
        name: &str,
        text: &str,
        ledger: LedgerId,
        trusted: &[PublicKey],
    ) -> Result<Self, Fault> {
        let altered = |what: &str| Fault::Altered { file: name.to_owned(), what: what.to_owned() };
        let mut lines: Vec<&str> = text.lines().collect();
        let head = lines.pop().ok_or_else(|| altered("it is empty"))?;
        let (about, _) = verified::<Version>(head, trusted).map_err(altered)?;
        let mut read = Self { version: about.version, dropped: about.dropped, ..Self::default() };
        for line in lines {
            let (segment, digest) = verified::<Segment>(line, trusted).map_err(altered)?;
            if segment.ledger != ledger {
                return Err(Fault::OtherLedger { ledger: segment.ledger });
            }
            let follows = match read.segments.last() {
                Some(before) => {
                    segment.first == before.last + 1
                        && segment.link_before == Some(before.link_after)
                }
                None => segment.first == 0 && segment.link_before.is_none(),
            };
            if !follows || segment.previous != read.last || segment.last < segment.first {
                return Err(altered("a row does not follow the one before it"));
            }
            read.last = Some(digest);
            read.lines.push(line.to_owned());
            read.segments.push(segment);
        }
        let whole = about.rows == read.segments.len() && about.last == read.last;
        if !whole || about.dropped > about.rows {
            return Err(altered("rows are missing"));
        }
        Ok(read)
    }
}

/// A line that signs `what`, with the digest of what it signs.
fn signed(what: &impl Serialize, key: &SigningKey) -> Result<(String, Digest), Fault> {
    let written = |e: serde_json::Error| Fault::Format { what: e.to_string() };
    let text = serde_json::value::to_raw_value(what).map_err(written)?;
    let line = Line {
        key: PublicKey(key.verifying_key().to_bytes()),
        signature: hex::encode(key.sign(&message(text.get())).to_bytes()),
        signed: text,
    };
    let digest = digest(line.signed.get());
    Ok((serde_json::to_string(&line).map_err(written)?, digest))
}

fn message(text: &str) -> Vec<u8> {
    [CONTEXT, text.as_bytes()].concat()
}

fn digest(text: &str) -> Digest {
    Digest(Sha256::digest(text).into())
}

/// What a line says, if one of `trusted` signed it.
fn verified<T: for<'de> Deserialize<'de>>(
    line: &str,
    trusted: &[PublicKey],
) -> Result<(T, Digest), &'static str> {
    let line: Line = serde_json::from_str(line).map_err(|_| "a line is not as one is written")?;
    if !trusted.contains(&line.key) {
        return Err("a line is signed by a key that is not the ledger's");
    }
    let key = VerifyingKey::from_bytes(&line.key.0).map_err(|_| "a key is unusable")?;
    let mut signature = [0; 64];
    hex::decode_to_slice(&line.signature, &mut signature).map_err(|_| "a signature is cut")?;
    key.verify_strict(&message(line.signed.get()), &Signature::from_bytes(&signature))
        .map_err(|_| "a signature does not fit its line")?;
    let said = serde_json::from_str(line.signed.get()).map_err(|_| "a line says nothing known")?;
    Ok((said, digest(line.signed.get())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEDGER: LedgerId = LedgerId([7; 16]);

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[3; 32])
    }

    fn trusted() -> Vec<PublicKey> {
        vec![PublicKey(key().verifying_key().to_bytes())]
    }

    fn file(first: u64, last: u64) -> File {
        let seq = (i64::try_from(first).unwrap(), i64::try_from(last).unwrap());
        File {
            name: format!("seg-{first}-{last}.parquet"),
            rows: last - first + 1,
            bytes: 10,
            sha256: Digest([1; 32]),
            seq,
            ts: (seq.0 * 1_000, seq.1 * 1_000),
        }
    }

    fn segment(first: u64, last: u64) -> Segment {
        Segment {
            ledger: LEDGER,
            first,
            last,
            entry: last + 1,
            link_before: first.checked_sub(1).map(link),
            link_after: link(last),
            root: Root([2; 32]),
            events: file(first, last),
            by_agent: None,
            calls: None,
            grants: None,
            tasks: None,
            approvals: None,
            state: file(first, last),
            sealed_at: Time(9),
            previous: None,
        }
    }

    fn link(at: u64) -> Link {
        Link([u8::try_from(at % 256).unwrap(); 32])
    }

    fn three() -> Manifest {
        [(0, 9), (10, 19), (20, 24)].into_iter().fold(Manifest::default(), |manifest, (a, b)| {
            manifest.with(segment(a, b), None, &key()).unwrap()
        })
    }

    fn read(text: &str) -> Result<Manifest, Fault> {
        Manifest::read("manifest/3.jsonl", text, LEDGER, &trusted())
    }

    #[test]
    fn a_row_that_knows_nothing_of_approvals_is_not_read() {
        let written = serde_json::to_value(segment(0, 9)).unwrap();
        assert!(serde_json::from_value::<Segment>(written.clone()).is_ok());
        let mut older = written;
        older.as_object_mut().unwrap().remove("approvals").unwrap();
        assert!(serde_json::from_value::<Segment>(older).is_err());
    }

    #[test]
    fn a_version_reads_as_it_was_written() {
        let text = three().text(&key()).unwrap();
        let read = read(&text).unwrap();
        assert_eq!((read.version, read.segments), (3, three().segments));
    }

    #[test]
    fn every_byte_of_a_version_is_believed_only_as_it_was_signed() {
        let text = three().text(&key()).unwrap();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(altered) = String::from_utf8(bytes) else { continue };
            assert!(read(&altered).is_err(), "byte {at} of {}", text.len());
        }
    }

    #[test]
    fn a_row_that_is_left_out_or_moved_is_missed() {
        let text = three().text(&key()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for chosen in [vec![0, 1, 3], vec![1, 2, 3], vec![0, 2, 3], vec![1, 0, 2, 3], vec![0, 1, 2]]
        {
            let text: Vec<&str> = chosen.iter().map(|at| lines[*at]).collect();
            assert!(read(&text.join("\n")).is_err(), "{chosen:?}");
        }
    }

    #[test]
    fn another_key_and_another_ledger_are_refused() {
        let text = three().text(&key()).unwrap();
        let other = SigningKey::from_bytes(&[4; 32]);
        let others = [PublicKey(other.verifying_key().to_bytes())];
        assert!(Manifest::read("m", &text, LEDGER, &others).is_err());
        let elsewhere = Manifest::read("m", &text, LedgerId([8; 16]), &trusted());
        assert!(matches!(elsewhere, Err(Fault::OtherLedger { .. })));
    }

    #[test]
    fn old_segments_are_dropped_and_the_newest_never() {
        let kept = three().with(segment(25, 30), Some(20_000), &key()).unwrap();
        assert_eq!((kept.dropped, kept.kept().len()), (2, 2));
        let all = three().with(segment(25, 30), Some(i64::MAX), &key()).unwrap();
        assert_eq!(all.kept().len(), 1);
        assert_eq!(read(&all.text(&key()).unwrap()).unwrap().dropped, 3);
    }
}
