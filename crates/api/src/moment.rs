//! Moments as the wire writes them, RFC 3339 in UTC: `2026-11-23T04:05:06.123456789Z`.

use std::fmt::Write as _;

use bailiwick_core::time::Time;

use crate::problem::{INVALID_TIME, Problem};

const DAY_SECONDS: u64 = 86_400;
/// The days of 400 years, after which the calendar repeats.
const ERA_DAYS: u64 = 146_097;
/// Days from 0000-03-01, where an era begins, to 1970-01-01.
const EPOCH_DAYS: u64 = 719_468;

/// Writes a moment to the nanosecond, without a fraction where there is none.
pub(crate) fn text(time: Time) -> String {
    let nanos = time.0 % 1_000_000_000;
    let mut text = String::with_capacity(30);
    // Writing to a string cannot fail.
    let _ = write!(text, "{}", time.utc());
    if nanos > 0 {
        let _ = write!(text, ".{nanos:09}");
    }
    text.push('Z');
    text
}

/// Reads a moment with any offset.
pub(crate) fn parse(text: &str) -> Result<Time, Problem> {
    read(text).ok_or_else(|| {
        let given: String = text.chars().take(80).collect();
        INVALID_TIME.with(format!("`{given}` is not a moment such as `2026-11-23T04:05:06Z`"))
    })
}

fn read(text: &str) -> Option<Time> {
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let (nanos, zone) = fraction(rest)?;
    let days = days(year, month, day)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days * DAY_SECONDS + hour * 3_600 + minute * 60 + second;
    let seconds = seconds.checked_add_signed(offset(zone)?)?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos).map(Time)
}

/// Three numbers of exactly so many digits with `between` between them.
fn numbers(text: &str, between: char, digits: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(between);
    let mut found = [0; 3];
    for (number, digits) in found.iter_mut().zip(digits) {
        *number = parts.next().filter(|part| part.len() == digits).and_then(number_of)?;
    }
    parts.next().is_none().then_some(found)
}

fn number_of(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Nanoseconds, and what follows them.
fn fraction(text: &str) -> Option<(u64, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = &rest[..rest.len() - zone.len()];
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    Some((number_of(&format!("{digits:0<9}"))?, zone))
}

/// What to add to get to UTC, in seconds.
fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let east = zone.strip_prefix('+');
    let (hours, minutes) = east.or_else(|| zone.strip_prefix('-'))?.split_once(':')?;
    let both = [hours, minutes].map(|part| number_of(part).filter(|_| part.len() == 2));
    let [Some(hours @ 0..24), Some(minutes @ 0..60)] = both else { return None };
    let seconds = i64::try_from(hours * 3_600 + minutes * 60).ok()?;
    Some(if east.is_some() { -seconds } else { seconds })
}

/// Days from the epoch to a date that exists.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    let (marches, month_of) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (marches / 400, marches % 400);
    let before = 365 * of_era + of_era / 4 - of_era / 100 + (153 * month_of + 2) / 5;
    let days = era * ERA_DAYS + before + day - 1 - EPOCH_DAYS;
    // A day that its month does not have comes back as one of the next month.
    let utc = Time(days.checked_mul(DAY_SECONDS * 1_000_000_000)?).utc();
    ((utc.year, utc.month, utc.day) == (year, month, day)).then_some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_and_print_alike() {
        for (text, nanos) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-03-01T00:00:00.500000000Z", 59 * 86_400_000_000_000 + 500_000_000),
            ("2000-02-29T23:59:59.000000001Z", 951_868_799_000_000_001),
            ("2026-11-23T02:47:22Z", 1_795_402_042_000_000_000),
            ("2100-03-01T00:00:00Z", 4_107_542_400_000_000_000),
        ] {
            assert_eq!(super::text(Time(nanos)), text);
            assert_eq!(read(text), Some(Time(nanos)), "{text}");
        }
        for day in (0..60_000).step_by(7) {
            let utc = Time(day * DAY_SECONDS * 1_000_000_000).utc();
            assert_eq!(days(utc.year, utc.month, utc.day), Some(day));
        }
    }

    #[test]
    fn offsets_count() {
        let utc = read("2026-11-23T02:47:22Z");
        assert_eq!(read("2026-11-23T03:47:22+01:00"), utc);
        assert_eq!(read("2026-11-22T21:17:22.0-05:30"), utc);
    }

    #[test]
    fn what_is_not_a_moment_is_refused() {
        for bad in [
            "",
            "2026-11-23",
            "2026-11-23T02:47:22",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-00T00:00:00Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T02:47:22.Z",
            "2026-11-23T02:47:22.1234567890Z",
            "2026-11-23T02:47:22+1:00",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "2026-11-2 T02:47:22Z",
            "9999-12-31T23:59:59Z",
            "2026-11-é3T02:47:22Z",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
