//! Moments as people and protocols write them, in UTC.

use bailiwick_core::time::Time;

const DAY_SECONDS: u64 = 86_400;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The system's time.
pub(crate) fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Time(since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)))
}

/// RFC 3339 to the millisecond.
pub(crate) fn rfc3339(time: Time) -> String {
    let millis = time.0 / 1_000_000 % 1_000;
    format!("{}.{millis:03}Z", time.utc())
}

/// Unix seconds of an HTTP `Date`: `Mon, 23 Nov 2026 03:34:21 GMT`.
pub(crate) fn http_date(text: &str) -> Option<u64> {
    let rest = text.get(5..)?.strip_suffix(" GMT")?;
    let [day, month, year, clock] = rest.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let [hour, minute, second] = clock.split(':').collect::<Vec<_>>().try_into().ok()?;
    let number = |text: &str| text.parse::<u64>().ok();
    let month = 1 + MONTHS.iter().position(|name| *name == month)? as u64;
    let clock = number(hour)? * 3_600 + number(minute)? * 60 + number(second)?;
    let (year, day) = (number(year)?, number(day)?);
    if !(1970..=9999).contains(&year) || !(1..=31).contains(&day) {
        return None;
    }
    Some(days(year, month, day) * DAY_SECONDS + clock)
}

/// A moment from its date (year, month, day) and clock (hour, minute, second) in UTC, from 1970 on.
pub(crate) fn of_utc(date: (u64, u64, u64), clock: (u64, u64, u64)) -> Option<Time> {
    let ((year, month, day), (hour, minute, second)) = (date, clock);
    if !(1970..=2500).contains(&year) || !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    let seconds = days(year, month, day) * DAY_SECONDS + hour * 3_600 + minute * 60 + second;
    Some(Time(seconds * 1_000_000_000))
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn year_days(year: u64) -> u64 {
    365 * year + year / 4 - year / 100 + year / 400
}

fn month_days(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from the epoch to a date since 1970.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let before_year = year_days(year - 1) - year_days(1969);
    before_year + (1..month).map(|month| month_days(year, month)).sum::<u64>() + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_utc() {
        for (nanos, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_868_799_000_000_001, "2000-02-29T23:59:59.000Z"),
            (1_795_402_042_125_000_000, "2026-11-23T02:47:22.125Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(Time(nanos)), text);
        }
    }

    #[test]
    fn a_moment_from_its_parts_is_written_as_them() {
        for (date, clock, text) in [
            ((2000, 2, 29), (23, 59, 59), "2000-02-29T23:59:59.000Z"),
            ((1970, 1, 1), (0, 0, 0), "1970-01-01T00:00:00.000Z"),
            ((2500, 12, 31), (0, 0, 1), "2500-12-31T00:00:01.000Z"),
        ] {
            assert_eq!(rfc3339(of_utc(date, clock).unwrap()), text);
        }
        for date in [(1969, 12, 31), (2501, 1, 1), (2026, 0, 1), (2026, 13, 1), (2026, 1, 0)] {
            assert_eq!(of_utc(date, (0, 0, 0)), None, "{date:?}");
        }
    }

    #[test]
    fn every_day_has_one_date() {
        for day in 0..60_000 {
            let utc = Time(day * DAY_SECONDS * 1_000_000_000).utc();
            assert_eq!(days(utc.year, utc.month, utc.day), day);
        }
    }

    #[test]
    fn a_servers_date_is_read_and_nonsense_is_not() {
        assert_eq!(http_date("Mon, 23 Nov 2026 02:47:22 GMT"), Some(1_795_402_042));
        for bad in ["", "Mon", "Mon, 23 Nov 2026 02:47 GMT", "Mon, 23 Foo 2026 02:47:22 GMT", "é"]
        {
            assert_eq!(http_date(bad), None, "{bad}");
        }
    }
}
