//! A session's settings: the ones that clients read and set, each with what it may be set to. None
//! of them changes what a question may do; `statement_timeout` only shortens it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::fault::Fault;

/// The version of `PostgreSQL` whose manners are kept.
pub(super) const SERVER_VERSION: &str = "15.0";
/// The longest value that is kept, in bytes.
const VALUE_BYTES_MAX: usize = 256;

/// What a setting may be set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum May {
    /// Nothing else: it says how things are.
    Not,
    /// Anything; it is shown again and has no effect.
    Any,
    /// One of these, in any case.
    Only(&'static [&'static str]),
    /// A time limit.
    Limit,
}

/// Name, first value, and what it may be set to.
const SETTINGS: &[(&str, &str, May)] = &[
    ("application_name", "", May::Any),
    ("bytea_output", "hex", May::Only(&["hex"])),
    ("client_encoding", "UTF8", May::Only(&["utf8", "utf-8", "unicode"])),
    ("client_min_messages", "notice", May::Any),
    ("cursor_tuple_fraction", "0.1", May::Any),
    ("datestyle", "ISO, MDY", May::Only(&["iso", "iso, mdy", "iso, dmy", "iso, ymd"])),
    ("default_table_access_method", "heap", May::Not),
    ("default_transaction_isolation", "read committed", May::Any),
    ("default_transaction_read_only", "on", May::Any),
    ("extra_float_digits", "1", May::Any),
    ("idle_in_transaction_session_timeout", "0", May::Any),
    ("in_hot_standby", "off", May::Not),
    ("integer_datetimes", "on", May::Not),
    ("intervalstyle", "postgres", May::Only(&["postgres"])),
    ("is_superuser", "off", May::Not),
    ("jit", "off", May::Any),
    ("lc_collate", "C.UTF-8", May::Not),
    ("lc_ctype", "C.UTF-8", May::Not),
    ("lc_messages", "C", May::Any),
    ("lc_monetary", "C", May::Any),
    ("lock_timeout", "0", May::Any),
    ("max_identifier_length", "63", May::Not),
    ("max_index_keys", "32", May::Not),
    ("row_security", "off", May::Any),
    ("search_path", "\"$user\", public", May::Any),
    ("server_encoding", "UTF8", May::Not),
    ("server_version", SERVER_VERSION, May::Not),
    ("server_version_num", "150000", May::Not),
    ("session_authorization", "", May::Not),
    ("standard_conforming_strings", "on", May::Only(&["on", "true", "1"])),
    ("statement_timeout", "0", May::Limit),
    ("synchronize_seqscans", "on", May::Any),
    // Moments are written in UTC with their offset, whatever a client would like: the zone is shown.
    ("timezone", "UTC", May::Any),
    ("transaction_isolation", "read committed", May::Any),
    ("transaction_read_only", "on", May::Any),
];

/// The settings that a client hears of as its session begins, as it spells them.
const REPORTED: &[(&str, &str)] = &[
    ("server_version", "server_version"),
    ("server_encoding", "server_encoding"),
    ("client_encoding", "client_encoding"),
    ("application_name", "application_name"),
    ("DateStyle", "datestyle"),
    ("IntervalStyle", "intervalstyle"),
    ("TimeZone", "timezone"),
    ("integer_datetimes", "integer_datetimes"),
    ("standard_conforming_strings", "standard_conforming_strings"),
    ("default_transaction_read_only", "default_transaction_read_only"),
    ("in_hot_standby", "in_hot_standby"),
    ("is_superuser", "is_superuser"),
    ("session_authorization", "session_authorization"),
];

/// One session's settings.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    user: String,
    set: BTreeMap<String, String>,
    limit: Option<Duration>,
}

impl Settings {
    pub(super) fn new(user: &str) -> Self {
        Self { user: user.to_owned(), set: BTreeMap::new(), limit: None }
    }

    /// A setting's value.
    ///
    /// # Errors
    /// [`Fault`] when there is no such setting.
    pub(super) fn get(&self, name: &str) -> Result<String, Fault> {
        let (_, first, _) = known(name)?;
        if name == "session_authorization" {
            return Ok(self.user.clone());
        }
        Ok(self.set.get(name).cloned().unwrap_or_else(|| (*first).to_owned()))
    }

    /// Sets a setting, and says what of it a client is to hear, if anything.
    ///
    /// # Errors
    /// [`Fault`] when there is no such setting, or it may not be set to this.
    pub(super) fn set(
        &mut self,
        name: &str,
        value: &str,
    ) -> Result<Option<(&'static str, String)>, Fault> {
        let (name, first, may) = known(name)?;
        let value: String = value.trim().trim_matches('\'').to_owned();
        if value.len() > VALUE_BYTES_MAX {
            return Err(refused(format!("the value of `{name}` is too long")));
        }
        if value.eq_ignore_ascii_case("default") {
            return Ok(self.reset(Some(name)).pop());
        }
        let fits = match may {
            May::Not => value.eq_ignore_ascii_case(first),
            May::Any => true,
            May::Only(values) => values.contains(&value.to_ascii_lowercase().as_str()),
            May::Limit => {
                let limit = milliseconds(&value).ok_or_else(|| {
                    Fault::new("22023", "pg_setting_refused", format!("`{value}` is no time limit"))
                })?;
                self.limit = (limit > 0).then(|| Duration::from_millis(limit));
                true
            }
        };
        if !fits {
            return Err(refused(format!("`{name}` cannot be set to `{value}` here")));
        }
        // Those that have one meaning keep their one spelling.
        if matches!(may, May::Any | May::Limit) && *name != "timezone" {
            self.set.insert((*name).to_owned(), value);
        }
        Ok(self.told(name))
    }

    /// Puts one setting, or all, back to what it was first, and says what a client is to hear.
    pub(super) fn reset(&mut self, name: Option<&str>) -> Vec<(&'static str, String)> {
        match name {
            Some(name) => {
                self.set.remove(name);
            }
            None => self.set.clear(),
        }
        if name.is_none_or(|name| name == "statement_timeout") {
            self.limit = None;
        }
        match name {
            Some(name) => self.told(name).into_iter().collect(),
            None => self.reported(),
        }
    }

    /// What the client asked for as the longest time of an answer.
    pub(super) const fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// What a client hears as its session begins.
    pub(super) fn reported(&self) -> Vec<(&'static str, String)> {
        REPORTED.iter().filter_map(|(_, name)| self.told(name)).collect()
    }

    /// Every setting and its value.
    pub(super) fn all(&self) -> Vec<(&'static str, String)> {
        let value = |name: &'static str| Some((name, self.get(name).ok()?));
        SETTINGS.iter().filter_map(|(name, ..)| value(name)).collect()
    }

    fn told(&self, name: &str) -> Option<(&'static str, String)> {
        let (spelled, name) = REPORTED.iter().find(|(_, known)| *known == name)?;
        Some((*spelled, self.get(name).ok()?))
    }
}

fn known(name: &str) -> Result<&'static (&'static str, &'static str, May), Fault> {
    SETTINGS.iter().find(|(known, ..)| *known == name).ok_or_else(|| {
        let name: String = name.chars().take(60).collect();
        let message = format!("`{name}` is no setting that is offered here");
        Fault::new("42704", "pg_setting_refused", message)
    })
}

fn refused(message: String) -> Fault {
    Fault::new("42501", "pg_setting_refused", message)
}

/// `250`, `250ms`, `5s`, `1min`.
fn milliseconds(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let factor = match text[digits..].trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_shown_as_they_were_set() {
        let mut settings = Settings::new("ci");
        let told = settings.set("application_name", "psql").unwrap();
        assert_eq!(told, Some(("application_name", "psql".to_owned())));
        assert_eq!(settings.get("application_name").unwrap(), "psql");
        assert_eq!(settings.get("session_authorization").unwrap(), "ci");
        settings.set("timezone", "Europe/Berlin").unwrap();
        assert_eq!(settings.get("timezone").unwrap(), "UTC");
        settings.reset(None);
        assert_eq!(settings.get("application_name").unwrap(), "");
    }

    #[test]
    fn a_time_limit_is_read_with_its_unit() {
        let mut settings = Settings::new("ci");
        for (text, limit) in [
            ("250", Some(250)),
            ("250ms", Some(250)),
            ("5s", Some(5_000)),
            ("1min", Some(60_000)),
            ("0", None),
        ] {
            settings.set("statement_timeout", text).unwrap();
            assert_eq!(settings.limit(), limit.map(Duration::from_millis), "{text}");
        }
        for text in ["soon", "-1", "5 years", "99999999999999999999"] {
            let fault = settings.set("statement_timeout", text).unwrap_err();
            assert_eq!(fault.state, "22023", "{text}");
        }
    }

    #[test]
    fn what_would_change_answers_is_refused() {
        let mut settings = Settings::new("ci");
        for (name, value, state) in [
            ("client_encoding", "LATIN1", "42501"),
            ("standard_conforming_strings", "off", "42501"),
            ("datestyle", "German", "42501"),
            ("bytea_output", "escape", "42501"),
            ("server_version", "9", "42501"),
            ("session_authorization", "admin", "42501"),
            ("session_preload_libraries", "x", "42704"),
            ("dynamic_library_path", "/tmp", "42704"),
            ("datafusion.execution.batch_size", "1", "42704"),
            ("application_name", &"x".repeat(257), "42501"),
        ] {
            let fault = settings.set(name, value).unwrap_err();
            assert_eq!((fault.state, fault.code), (state, "pg_setting_refused"), "{name}");
        }
    }
}
