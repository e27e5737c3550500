//! What questions may take.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::Result;
use bailiwick_audit::{Bounds, Limits, Spill};
use bailiwick_core::time::Span;
use serde::Deserialize;

use super::{Surroundings, parsed};
use crate::args;
use crate::exit::usage;

/// The directory in the data directory where sorts go.
const SPILL: &str = "sql-spill";
const SPILL_BYTES: u64 = 1 << 30;
/// Questions at once, for each thread that answers them.
const AT_ONCE_EACH: usize = 2;
/// Nothing is made of less memory than this.
const MEMORY_MIN: u64 = 1 << 20;
/// A client waits a little longer.
const TIME_MAX: Span = Span::seconds(60);

/// `[sql]` of `bailiwick.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    /// The most rows of an answer.
    rows: Option<usize>,
    /// The most bytes of an answer, such as `64MiB`.
    bytes: Option<Size>,
    /// How long an answer may take, at most 60s.
    time: Option<String>,
    /// Working memory of one question.
    memory: Option<Size>,
    /// Working memory of all questions together.
    memory_all: Option<Size>,
    /// Questions at once; others wait within their time.
    at_once: Option<usize>,
    /// Room on disk for sorts of all questions together; 0 for none.
    spill: Option<Size>,
}

/// What questions may take, and how many run at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sql {
    pub(crate) bounds: Bounds,
    at_once: Option<usize>,
}

impl Sql {
    /// What a server with this data directory lets questions take.
    pub(crate) fn within(data: &Path) -> Self {
        let spill = Some(Spill { directory: data.join(SPILL), bytes: SPILL_BYTES });
        Self { bounds: Bounds { spill, ..Bounds::INTERACTIVE }, at_once: None }
    }

    /// Questions that run at once on so many threads.
    pub(crate) fn at_once(&self, threads: usize) -> usize {
        self.at_once.unwrap_or(AT_ONCE_EACH * threads)
    }
}

/// Bytes as people write them: `1000`, `64KiB`, `256MiB`, `1GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size(u64);

/// A text that is no size.
#[derive(Debug, thiserror::Error)]
#[error("is no number of bytes, such as `1000`, `64KiB`, `256MiB` or `1GiB`")]
struct SizeError;

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
        let unit = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)));
        let (number, shift) = unit.unwrap_or((text, 0));
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse::<u64>().ok().filter(|_| digits);
        number.and_then(|n| n.checked_mul(1 << shift)).map(Self).ok_or(SizeError)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Written;
        impl serde::de::Visitor<'_> for Written {
            type Value = Size;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, or a text such as `256MiB`")
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Size, E> {
                u64::try_from(number).map(Size).map_err(E::custom)
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }
        }
        from.deserialize_any(Written)
    }
}

impl Surroundings<'_> {
    /// What questions may take.
    pub(super) fn sql(&self, data: Option<&PathBuf>, args: &args::Asking) -> Result<Sql> {
        let file = &self.file.sql;
        let Sql { bounds: Bounds { limits, memory_bytes, spill }, .. } =
            Sql::within(&self.data(data));
        let (mut limits, mut memory_bytes, mut spill) = (limits, memory_bytes, spill);
        limits.rows = self.count("ROWS", &args.sql_rows, file.rows)?.unwrap_or(limits.rows);
        if let Some(Size(bytes)) = self.size("BYTES", &args.sql_bytes, file.bytes)? {
            limits.bytes = in_memory("an answer", bytes, 1)?;
        }
        let memory = self.size("MEMORY", &args.sql_memory, file.memory)?;
        if let Some(Size(bytes)) = memory {
            limits.memory_bytes = in_memory("a question", bytes, MEMORY_MIN)?;
            memory_bytes = limits.memory_bytes.saturating_mul(4);
        }
        let all = self.size("MEMORY_ALL", &args.sql_memory_all, file.memory_all)?;
        if let Some(Size(bytes)) = all {
            memory_bytes = in_memory("all questions", bytes, MEMORY_MIN)?;
        }
        let variable = "BAILIWICK_SQL_TIME";
        if let Some(text) = self.text(args.sql_time.as_ref(), variable, file.time.as_ref()) {
            let time: Span = parsed("the time of a question", &text)?;
            if time == Span(0) || time > TIME_MAX {
                return Err(usage(format!("a question has from 1ms to {TIME_MAX}, not {time}")));
            }
            limits.time = Duration::from_millis(time.0);
        }
        match self.size("SPILL", &args.sql_spill, file.spill)? {
            Some(Size(0)) => spill = None,
            Some(Size(bytes)) => {
                if let Some(spill) = &mut spill {
                    spill.bytes = bytes;
                }
            }
            None => {}
        }
        let at_once = self.count("AT_ONCE", &args.sql_at_once, file.at_once)?;
        Ok(Sql { bounds: Bounds { limits, memory_bytes, spill }, at_once })
    }

    /// A number of things, of which there has to be one.
    fn count(
        &self,
        name: &str,
        flag: &Option<String>,
        file: Option<usize>,
    ) -> Result<Option<usize>> {
        let text = self.text(flag.as_ref(), &format!("BAILIWICK_SQL_{name}"), None);
        let count = text.map(|text| parsed("the number", &text)).transpose()?.or(file);
        if count == Some(0) {
            return Err(usage(format!("`{}` of questions is at least 1", name.to_lowercase())));
        }
        Ok(count)
    }

    fn size(&self, name: &str, flag: &Option<String>, file: Option<Size>) -> Result<Option<Size>> {
        let text = self.text(flag.as_ref(), &format!("BAILIWICK_SQL_{name}"), None);
        Ok(text.map(|text| parsed("the size", &text)).transpose()?.or(file))
    }
}

fn in_memory(what: &str, bytes: u64, least: u64) -> Result<usize> {
    let fits = usize::try_from(bytes).ok().filter(|_| bytes >= least);
    fits.ok_or_else(|| usage(format!("{what} cannot be given {bytes} bytes of memory")))
}

impl Default for Sql {
    /// Nothing on disk.
    fn default() -> Self {
        Self {
            bounds: Bounds { limits: Limits::INTERACTIVE, ..Bounds::INTERACTIVE },
            at_once: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(toml: &str, args: &args::Asking) -> Result<Sql> {
        let env = |name: &str| (name == "BAILIWICK_SQL_ROWS").then(|| "7".to_owned());
        let file: super::super::File = toml::from_str(toml)?;
        let around = Surroundings { env: &env, file };
        around.sql(Some(&PathBuf::from("d")), args)
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in
            [("0", 0), ("1000", 1_000), ("64KiB", 65_536), ("256MiB", 1 << 28), ("1GiB", 1 << 30)]
        {
            assert_eq!(text.parse::<Size>().unwrap(), Size(bytes));
        }
        for text in ["", "MiB", "1 MiB", "1MB", "-1", "+1", "1.5GiB", "99999999999GiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_questions_may_take_comes_from_flags_surroundings_and_file() {
        let toml = "[sql]\nrows = 5\nbytes = \"1MiB\"\ntime = \"3s\"\nmemory = 33554432\n\
            at_once = 3\nspill = \"2GiB\"";
        let flags = args::Asking { sql_at_once: Some("9".to_owned()), ..args::Asking::default() };
        let sql = sql(toml, &flags).unwrap();
        let limits = sql.bounds.limits;
        assert_eq!((limits.rows, limits.bytes, limits.memory_bytes), (7, 1 << 20, 1 << 25));
        assert_eq!(limits.time, Duration::from_secs(3));
        assert_eq!((sql.bounds.memory_bytes, sql.at_once(4)), (1 << 27, 9));
        let spill = sql.bounds.spill.unwrap();
        assert_eq!((spill.directory, spill.bytes), (PathBuf::from("d/sql-spill"), 1 << 31));
    }

    #[test]
    fn without_a_word_it_is_as_documented() {
        let found = sql("", &args::Asking::default()).unwrap();
        assert_eq!(found.bounds.limits, Limits { rows: 7, ..Limits::INTERACTIVE });
        assert_eq!(found.bounds.memory_bytes, 1 << 30);
        assert_eq!(found.bounds.spill.unwrap().bytes, 1 << 30);
        assert_eq!(found.at_once, None);
        assert_eq!(sql("[sql]\nspill = 0", &args::Asking::default()).unwrap().bounds.spill, None);
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for toml in [
            "[sql]\nrows = 0",
            "[sql]\nrows = -1",
            "[sql]\nbytes = \"many\"",
            "[sql]\nbytes = 0",
            "[sql]\ntime = \"0s\"",
            "[sql]\ntime = \"2m\"",
            "[sql]\nmemory = \"1KiB\"",
            "[sql]\nat_once = 0",
            "[sql]\nspill = -1",
            "[sql]\nunknown = 1",
        ] {
            let args = args::Asking {
                sql_rows: toml.contains("rows").then(|| "0".into()),
                ..args::Asking::default()
            };
            assert!(sql(toml, &args).is_err(), "{toml}");
        }
    }
}
