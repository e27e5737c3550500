//! Moments, dates and intervals as the wire writes them: ISO 8601 with a space, in UTC.

use std::fmt::{Result, Write};

use arrow::datatypes::IntervalMonthDayNano;

use crate::answer::civil;

/// The wire counts days and moments from 2000-01-01; this is how far that is from 1970-01-01.
pub(super) const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
pub(super) const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * DAY;

const DAY: i64 = 86_400_000_000;

/// `2026-11-23`, from days since 1970.
pub(super) fn date(to: &mut impl Write, days: i64) -> Result {
    let (year, month, day) = civil(days);
    if year > 0 {
        return write!(to, "{year:04}-{month:02}-{day:02}");
    }
    // There is no year 0: the year before 1 is 1 BC.
    write!(to, "{:04}-{month:02}-{day:02} BC", 1 - year)
}

/// `08:00:00.25`, from microseconds since midnight.
pub(super) fn time(to: &mut impl Write, micros: i64) -> Result {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    write!(to, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)?;
    if fraction == 0 {
        return Ok(());
    }
    let fraction = format!("{fraction:06}");
    write!(to, ".{}", fraction.trim_end_matches('0'))
}

/// `2026-11-23 08:00:00.25+00`, from microseconds since 1970.
pub(super) fn moment(to: &mut impl Write, micros: i64, zoned: bool) -> Result {
    let (days, within) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let shown = if year > 0 { year } else { 1 - year };
    write!(to, "{shown:04}-{month:02}-{day:02} ")?;
    time(to, within)?;
    if zoned {
        to.write_str("+00")?;
    }
    if year > 0 { Ok(()) } else { to.write_str(" BC") }
}

/// `1 year 2 mons 3 days 04:05:06.5`
pub(super) fn interval(to: &mut impl Write, interval: IntervalMonthDayNano) -> Result {
    let IntervalMonthDayNano { months, days, nanoseconds } = interval;
    let mut written = false;
    for (number, word) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if number != 0 {
            let space = if written { " " } else { "" };
            let plural = if number == 1 { "" } else { "s" };
            write!(to, "{space}{number} {word}{plural}")?;
            written = true;
        }
    }
    if nanoseconds == 0 && written {
        return Ok(());
    }
    let sign = if nanoseconds < 0 { "-" } else { "" };
    write!(to, "{}{sign}", if written { " " } else { "" })?;
    time(to, i64::try_from(nanoseconds.unsigned_abs() / 1_000).unwrap_or(i64::MAX))
}
