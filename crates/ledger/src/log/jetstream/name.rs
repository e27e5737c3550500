//! A ledger's name on NATS: part of stream names and subjects, so nothing that means more there.

use std::fmt;
use std::str::FromStr;

use crate::Error;

const BYTES_MAX: usize = 64;
/// What the name of a feed's stream ends in, so that no ledger's own stream may.
const FEED: &str = "_REVOCATIONS";

/// A ledger's name: 1 to 64 of `A-Z a-z 0-9 _ -`, not ending in `_REVOCATIONS`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name(String);

impl Name {
    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the stream that holds the ledger.
    #[must_use]
    pub fn stream(&self) -> String {
        format!("BAILIWICK_{}", self.0)
    }

    /// The subject on which entries are published.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("bailiwick.{}.entry", self.0)
    }

    /// The name of the stream that holds the ledger's revocation feed.
    #[must_use]
    pub fn feed_stream(&self) -> String {
        format!("BAILIWICK_{}{FEED}", self.0)
    }

    /// The subject on which items are published whose own part of it is `item`, or that a
    /// subscriber filters by.
    #[must_use]
    pub fn feed_subject(&self, item: &str) -> String {
        format!("bailiwick.{}.revocation.{item}", self.0)
    }
}

impl FromStr for Name {
    type Err = Error;

    /// # Errors
    /// [`Error::Name`] for any other form.
    fn from_str(text: &str) -> Result<Self, Error> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let fits = (1..=BYTES_MAX).contains(&text.len()) && !text.ends_with(FEED);
        if fits && text.bytes().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::Name { given: text.chars().take(80).collect() })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_are_taken() {
        for good in ["default", "A-1_b", &"x".repeat(64)] {
            let name: Name = good.parse().unwrap();
            assert_eq!(name.stream(), format!("BAILIWICK_{good}"));
            assert_eq!(name.subject(), format!("bailiwick.{good}.entry"));
            assert_eq!(name.feed_stream(), format!("BAILIWICK_{good}_REVOCATIONS"));
            assert_eq!(name.feed_subject(">"), format!("bailiwick.{good}.revocation.>"));
        }
    }

    #[test]
    fn dots_wildcards_spaces_and_lengths_are_refused() {
        for bad in ["", "a.b", "a*", ">", "a b", "a\n", "é", "a/b", "..", &"x".repeat(65)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn no_ledgers_stream_is_another_ones_feed() {
        assert!("default_REVOCATIONS".parse::<Name>().is_err());
        assert!("REVOCATIONS".parse::<Name>().is_ok());
    }
}
