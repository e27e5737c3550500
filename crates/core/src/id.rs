//! Identities. Every one is its own type; text is checked once, at the door.
//!
//! Two families: *names*, chosen outside (owners, agents, policies, actions, resources …), and
//! *numbers*, which are the index of the event that created the thing (`grant_42` was created by
//! event 42), so the ledger issues them without any source of chance.

use std::fmt;
use std::str::FromStr;

use bincode::de::{BorrowDecoder, Decoder};
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use smol_str::SmolStr;

/// The most bytes a name may have.
pub const NAME_BYTES_MAX: usize = 256;
/// The most bytes a resource, which is a URI, may have.
pub const RESOURCE_BYTES_MAX: usize = 2_048;
/// The most bytes of a free text such as a purpose or a justification.
pub const TEXT_BYTES_MAX: usize = 2_048;

/// Why a text is not the identity it was given for. Its code is `invalid_id`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing was given.
    #[error("{what} is empty")]
    Empty {
        /// The kind of identity.
        what: &'static str,
    },
    /// More bytes than the kind allows.
    #[error("{what} has {bytes} bytes, at most {max} are allowed")]
    TooLong {
        /// The kind of identity.
        what: &'static str,
        /// Bytes given.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A character that this kind of identity may not hold.
    #[error("{what} holds `{found}`, which is not allowed there")]
    Character {
        /// The kind of identity.
        what: &'static str,
        /// The offending character, escaped.
        found: String,
    },
    /// The text does not have the form of this kind of identity.
    #[error("`{given}` is not {what}, which looks like `{example}`")]
    Form {
        /// The kind of identity.
        what: &'static str,
        /// What was given, cut to 80 characters.
        given: String,
        /// An example of the right form.
        example: &'static str,
    },
}

/// What a name may be made of: visible ASCII without quotes, escapes, angle brackets and the
/// wildcard `*`, so that a name can stand in a NATS filter, a Cedar literal, SQL and a shell alike.
fn name_character(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\' | '`' | '<' | '>' | '*')
}

fn check(
    what: &'static str,
    text: &str,
    max: usize,
    allowed: fn(char) -> bool,
) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { what });
    }
    if text.len() > max {
        return Err(IdError::TooLong { what, bytes: text.len(), max });
    }
    match text.chars().find(|c| !allowed(*c)) {
        Some(c) => Err(IdError::Character { what, found: c.escape_default().to_string() }),
        None => Ok(()),
    }
}

macro_rules! text {
    ($($(#[$doc:meta])* $name:ident = $what:literal, $max:expr, $allowed:expr $(, $form:ident)?;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(SmolStr);

        impl $name {
            /// Checks `text` and takes it.
            ///
            /// # Errors
            /// [`IdError`] when the text is empty, too long or holds a character that is not allowed.
            pub fn new(text: &str) -> Result<Self, IdError> {
                check($what, text, $max, $allowed)?;
                $($form(text)?;)?
                Ok(Self(SmolStr::new(text)))
            }

            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }

        impl bincode::Encode for $name {
            fn encode<E: Encoder>(&self, to: &mut E) -> Result<(), EncodeError> {
                self.as_str().encode(to)
            }
        }

        impl<C> bincode::Decode<C> for $name {
            fn decode<D: Decoder<Context = C>>(from: &mut D) -> Result<Self, DecodeError> {
                let text = String::decode(from)?;
                Self::new(&text).map_err(|e| DecodeError::OtherString(e.to_string()))
            }
        }

        impl<'de, C> bincode::BorrowDecode<'de, C> for $name {
            fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(
                from: &mut D,
            ) -> Result<Self, DecodeError> {
                let text = <&str>::borrow_decode(from)?;
                Self::new(text).map_err(|e| DecodeError::OtherString(e.to_string()))
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "minLength": 1, "maxLength": $max})
            }
        }
    )+};
}

text! {
    /// A human on whose behalf agents act.
    OwnerId = "owner id", NAME_BYTES_MAX, name_character;
    /// A registered non-human identity; a SPIFFE id fits.
    AgentId = "agent id", NAME_BYTES_MAX, name_character;
    /// An API key's public name.
    CredentialId = "credential id", NAME_BYTES_MAX, name_character;
    /// A policy.
    PolicyId = "policy id", NAME_BYTES_MAX, name_character;
    /// A group of owners or agents.
    GroupId = "group id", NAME_BYTES_MAX, name_character;
    /// A session of an enforcement point.
    SessionId = "session id", NAME_BYTES_MAX, name_character;
    /// An enforcement point: one process's life, so a restarted one has another.
    PointId = "enforcement point id", NAME_BYTES_MAX, name_character;
    /// A caller's own id for a command, its key for retries.
    RequestId = "request id", NAME_BYTES_MAX, name_character;
    /// What is done: `crm/read_case` (server/tool) or `s3:GetObject`.
    Action = "action", NAME_BYTES_MAX, name_character;
    /// A tool as `server/tool`, for instance `crm/read_case`.
    ToolId = "tool id", NAME_BYTES_MAX, name_character, tool_form;
    /// Tools by glob: `*` is any run of characters within a segment, `**` any run at all.
    ActionPattern = "action pattern", NAME_BYTES_MAX, |c| name_character(c) || c == '*', pattern_form;
    /// What an action is done to: a URI such as `crm://case/1234`. It has no `.` or `..` segments,
    /// plain or percent-encoded, so that a prefix means what it says.
    Resource = "resource", RESOURCE_BYTES_MAX, |c| !c.is_control() && c != '*', resource_form;
    /// A free text for people: a purpose, a justification, a reason.
    Text = "text", TEXT_BYTES_MAX, |c| !c.is_control() || c == '\n' || c == '\t';
}

fn tool_form(text: &str) -> Result<(), IdError> {
    match text.split_once('/') {
        Some((server, tool)) if !server.is_empty() && !tool.is_empty() => Ok(()),
        _ => Err(IdError::Form {
            what: "a tool id",
            given: text.chars().take(80).collect(),
            example: "crm/read_case",
        }),
    }
}

fn resource_form(text: &str) -> Result<(), IdError> {
    let dots = |segment: &str| {
        let plain = segment.replace("%2e", ".").replace("%2E", ".");
        plain == "." || plain == ".."
    };
    if text.split(['/', '\\']).any(dots) {
        return Err(IdError::Form {
            what: "a resource without `.` and `..` segments",
            given: text.chars().take(80).collect(),
            example: "crm://case/1234",
        });
    }
    Ok(())
}

impl ToolId {
    /// The server's part, before the first slash.
    #[must_use]
    pub fn server(&self) -> &str {
        self.0.split_once('/').map_or("", |(server, _)| server)
    }

    /// The tool's own name, after the first slash.
    #[must_use]
    pub fn tool(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, tool)| tool)
    }
}

impl Resource {
    /// Whether `self` is `prefix` itself or lies below it by whole segments.
    #[must_use]
    pub fn is_within(&self, prefix: &Self) -> bool {
        match self.0.strip_prefix(prefix.as_str()) {
            Some(rest) => rest.is_empty() || rest.starts_with('/') || prefix.0.ends_with('/'),
            None => false,
        }
    }

    /// Every prefix of this resource by whole segments, itself first, the shortest last.
    pub fn prefixes(&self) -> impl Iterator<Item = Self> + '_ {
        let text = self.as_str();
        let shorter =
            text.char_indices().rev().filter(|(_, c)| *c == '/').flat_map(move |(at, _)| {
                // A prefix may be written with its last slash or without it: both cover this resource.
                [at + 1, at].into_iter().filter(move |end| *end < text.len() && *end > 0)
            });
        std::iter::once(text.len()).chain(shorter).map(|end| Self(SmolStr::new(&self.0[..end])))
    }
}

impl ActionPattern {
    /// Whether this glob names `action`.
    #[must_use]
    pub fn matches(&self, action: &Action) -> bool {
        glob(self.0.as_bytes(), action.as_str().as_bytes())
    }
}

/// Matches by backtracking over the pattern's stars only: at worst the product of both lengths.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let Some(star) = pattern.iter().position(|b| *b == b'*') else { return pattern == text };
    let (head, tail) = pattern.split_at(star);
    let Some(text) = text.strip_prefix(head) else { return false };
    let deep = tail.starts_with(b"**");
    let rest = tail.strip_prefix(if deep { b"**".as_slice() } else { b"*" }).unwrap_or(tail);
    if rest.is_empty() {
        return deep || !text.contains(&b'/');
    }
    let reach =
        if deep { text.len() } else { text.iter().position(|b| *b == b'/').unwrap_or(text.len()) };
    (0..=reach).any(|skip| glob(rest, &text[skip..]))
}

/// The most stars an allowlist glob may have; each one multiplies the work of a match.
pub const PATTERN_STARS_MAX: usize = 4;

fn pattern_form(text: &str) -> Result<(), IdError> {
    if text.replace("**", "*").matches('*').count() > PATTERN_STARS_MAX || text.contains("***") {
        return Err(IdError::Form {
            what: "an action pattern with at most 4 wildcards",
            given: text.chars().take(80).collect(),
            example: "crm/*",
        });
    }
    Ok(())
}

macro_rules! number {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let digits = text.strip_prefix(concat!($prefix, "_"));
                match digits.and_then(canonical_number) {
                    Some(number) => Ok(Self(number)),
                    None => Err(IdError::Form {
                        what: concat!("a ", $prefix, " id"),
                        given: text.chars().take(80).collect(),
                        example: concat!($prefix, "_42"),
                    }),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "pattern": concat!("^", $prefix, "_[0-9]+$")})
            }
        }
    )+};
}

number! {
    /// A grant: the index of its `grant.issued`.
    GrantId = "grant";
    /// A request for a grant: the index of its `grant.requested`.
    GrantRequestId = "request";
    /// A task: the index of its `task.opened`.
    TaskId = "task";
    /// One attempt to use a grant: the index of its `call.authorized` or `call.denied`.
    CallId = "call";
    /// A revocation: the index of its `revocation.issued`.
    RevocationId = "revocation";
    /// An approval: the index of its `approval.requested`.
    ApprovalId = "approval";
    /// A finding: the index of its `finding.raised`.
    FindingId = "finding";
}

/// Digits without a sign or leading zeros, so that every number has exactly one spelling.
pub(crate) fn canonical_number<T: FromStr + ToString>(digits: &str) -> Option<T> {
    let number: T = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_what_people_and_workloads_are_called() {
        for good in ["alice@example.com", "spiffe://acme.org/agents/7", "CiRmZDA2MTRkMw==", "a"] {
            assert_eq!(AgentId::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn names_refuse_spaces_wildcards_quotes_and_controls() {
        for bad in
            ["", "a b", "a*", "a>", "a\"b", "a\\", "a\n", "a\u{202e}b", "é", &"x".repeat(257)]
        {
            assert!(AgentId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_resource_lies_within_a_prefix_by_whole_segments_only() {
        let within =
            |a: &str, b: &str| Resource::new(a).unwrap().is_within(&Resource::new(b).unwrap());
        assert!(within("crm://case/1234", "crm://case"));
        assert!(within("crm://case/1234", "crm://case/"));
        assert!(within("crm://case", "crm://case"));
        assert!(!within("crm://case2", "crm://case"));
        assert!(!within("crm://cas", "crm://case"));
        for prefix in Resource::new("crm://case/1/2").unwrap().prefixes() {
            assert!(within("crm://case/1/2", prefix.as_str()), "{prefix}");
        }
        let all: Vec<_> =
            Resource::new("a://b/c").unwrap().prefixes().map(|p| p.to_string()).collect();
        assert_eq!(all, ["a://b/c", "a://b/", "a://b", "a://", "a:/", "a:/", "a:"]);
    }

    #[test]
    fn a_resource_cannot_climb() {
        for bad in [
            "file:///srv/../etc",
            "file:///srv/./x",
            "a://b/%2e%2E/c",
            "a://b/..",
            "a*",
            "a\\..\\b",
        ] {
            assert!(Resource::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_glob_stays_within_its_segment_unless_doubled() {
        let names =
            |p: &str, a: &str| ActionPattern::new(p).unwrap().matches(&Action::new(a).unwrap());
        assert!(names("crm/*", "crm/read_case"));
        assert!(names("*/read_*", "crm/read_case"));
        assert!(names("s3:Get*", "s3:GetObject"));
        assert!(names("**", "a/b/c"));
        assert!(!names("*", "crm/read_case"));
        assert!(!names("crm/*", "crm/a/b"));
        assert!(!names("crm/read", "crm/read_case"));
        assert!(ActionPattern::new("*a*b*c*d*").is_err());
    }

    #[test]
    fn numbers_have_one_spelling() {
        assert_eq!("grant_42".parse(), Ok(GrantId(42)));
        for bad in [
            "42",
            "grant_",
            "grant_042",
            "grant_+1",
            "grant_-1",
            "task_42",
            "grant_99999999999999999999",
        ] {
            assert!(bad.parse::<GrantId>().is_err(), "{bad}");
        }
    }
}
