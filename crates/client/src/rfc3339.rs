//! Moments as the wire writes them, RFC 3339 in UTC: `2026-11-23T04:05:06.123456789Z`.

use bailiwick_core::time::Time;

const DAY_SECONDS: u64 = 86_400;

/// Reads a moment in UTC from 1970 on; `None` for anything else.
pub(crate) fn parse(text: &str) -> Option<Time> {
    let text = text.strip_suffix(['Z', 'z']).or_else(|| text.strip_suffix("+00:00"))?;
    let (date, clock) = text.split_once(['T', 't', ' '])?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    if !(1970..=9999).contains(&year)
        || !(1..=12).contains(&month)
        || !(1..=days_in(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let seconds = days_before(year, month, day) * DAY_SECONDS + hour * 3_600 + minute * 60 + second;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos(fraction)?).map(Time)
}

/// Three numbers of exactly so many digits with `between` between them.
fn numbers(text: &str, between: char, digits: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(between);
    let mut found = [0; 3];
    for (number, digits) in found.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

fn nanos(fraction: &str) -> Option<u64> {
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    format!("{fraction:0<9}").parse().ok()
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to this date.
fn days_before(year: u64, month: u64, day: u64) -> u64 {
    let leaps = |before: u64| (before - 1) / 4 - (before - 1) / 100 + (before - 1) / 400;
    let years = (year - 1970) * 365 + leaps(year) - leaps(1970);
    years + (1..month).map(|month| days_in(year, month)).sum::<u64>() + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_to_the_nanosecond() {
        let cases = [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-03-01T00:00:00.5Z", 59 * 86_400_000_000_000 + 500_000_000),
            ("2000-02-29T23:59:59.000000001Z", 951_868_799_000_000_001),
            ("2026-11-23T02:47:22+00:00", 1_795_402_042_000_000_000),
            ("2100-03-01T00:00:00Z", 4_107_542_400_000_000_000),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse(text), Some(Time(nanos)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_moment_in_utc_is_refused() {
        let bad = [
            "",
            "2026-11-23",
            "2026-11-23T02:47:22",
            "2026-11-23T02:47:22+01:00",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T02:47:22.1234567890Z",
            "1969-12-31T23:59:59Z",
            "2026-11-2 T02:47:22Z",
            "9999-12-31T23:59:59Z",
        ];
        for text in bad {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
