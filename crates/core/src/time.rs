//! Time as the ledger counts it: nanoseconds since the Unix epoch, given from outside.

use std::fmt;
use std::str::FromStr;

/// A moment: Unix nanoseconds. Event times strictly increase.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    bincode::Encode,
    bincode::Decode,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    /// The moment `span` later; stops at the end of time rather than wrap.
    #[must_use]
    pub const fn after(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0.saturating_mul(1_000_000)))
    }

    /// How much later than `earlier` this moment is; zero when it is not later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0) / 1_000_000)
    }

    /// Whole microseconds since the Unix epoch.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0 / 1_000
    }

    /// What calendar and clock say of it in UTC.
    #[must_use]
    pub const fn utc(self) -> Utc {
        let seconds = self.0 / 1_000_000_000;
        let (days, clock) = (seconds / DAY_SECONDS, seconds % DAY_SECONDS);
        // A year begins in March here, so that the leap day is the last of its year.
        let (era, day) = ((days + EPOCH_DAYS) / ERA_DAYS, (days + EPOCH_DAYS) % ERA_DAYS);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let first = (153 * month + 2) / 5;
        let (of_year, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        Utc {
            year: era * 400 + year + next,
            month: of_year,
            day: day - first + 1,
            hour: clock / 3_600,
            minute: clock / 60 % 60,
            second: clock % 60,
        }
    }
}

const DAY_SECONDS: u64 = 86_400;
/// The days of 400 years, after which the calendar repeats.
const ERA_DAYS: u64 = 146_097;
/// Days from 0000-03-01, where an era begins, to 1970-01-01.
const EPOCH_DAYS: u64 = 719_468;

/// The second that a moment lies in, by calendar and clock. As text it is RFC 3339 without fraction
/// and zone: `2026-11-23T13:37:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Utc {
    /// From 1970 on.
    pub year: u64,
    /// From 1.
    pub month: u64,
    /// From 1.
    pub day: u64,
    /// From 0.
    pub hour: u64,
    /// From 0.
    pub minute: u64,
    /// From 0.
    pub second: u64,
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

/// A length of time in milliseconds, written `5m`, `30s`, `1h30m`, `250ms` or `2d`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode,
)]
pub struct Span(pub u64);

impl Span {
    /// So many seconds.
    #[must_use]
    pub const fn seconds(n: u64) -> Self {
        Self(n.saturating_mul(1_000))
    }

    /// So many minutes.
    #[must_use]
    pub const fn minutes(n: u64) -> Self {
        Self::seconds(n.saturating_mul(60))
    }

    /// So many hours.
    #[must_use]
    pub const fn hours(n: u64) -> Self {
        Self::minutes(n.saturating_mul(60))
    }

    /// So many days.
    #[must_use]
    pub const fn days(n: u64) -> Self {
        Self::hours(n.saturating_mul(24))
    }
}

/// Units from long to short, with their milliseconds.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut left = self.0;
        for (unit, ms) in UNITS {
            if left >= ms {
                write!(f, "{}{unit}", left / ms)?;
                left %= ms;
            }
        }
        Ok(())
    }
}

/// A text that is not a length of time. Its code is `invalid_span`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a length of time such as `5m`, `30s` or `1h30m`")]
pub struct SpanError(String);

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let refused = || SpanError(text.chars().take(80).collect());
        let mut rest = text;
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, tail) = rest.split_at(digits);
            let letters =
                tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
            let (unit, tail) = tail.split_at(letters);
            let number: u64 = number.parse().map_err(|_| refused())?;
            let (_, ms) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refused)?;
            total =
                number.checked_mul(*ms).and_then(|n| total.checked_add(n)).ok_or_else(refused)?;
            rest = tail;
        }
        if text.is_empty() { Err(refused()) } else { Ok(Self(total)) }
    }
}

impl serde::Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^([0-9]+(d|h|m|s|ms))+$", "examples": ["5m"]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_its_second_in_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_400, "2000-02-29T00:00:00"),
            (1_795_441_020, "2026-11-23T13:37:00"),
            (4_107_542_399, "2100-02-28T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
        ] {
            assert_eq!(Time(seconds * 1_000_000_000 + 999_999_999).utc().to_string(), text);
        }
    }

    #[test]
    fn spans_read_and_print_alike() {
        for text in ["5m", "1h30m", "250ms", "2d", "1s1ms", "0s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("90m".parse::<Span>().unwrap(), Span::minutes(90));
    }

    #[test]
    fn spans_refuse_what_has_no_unit_or_no_end() {
        for bad in
            ["", "5", "m", "-5m", "5 m", "5y", "1.5h", "99999999999999999999d", "9999999999999999d"]
        {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_moment_never_wraps() {
        assert_eq!(Time(u64::MAX - 1).after(Span::days(1)), Time(u64::MAX));
        assert_eq!(Time(5).since(Time(9)), Span(0));
    }
}
