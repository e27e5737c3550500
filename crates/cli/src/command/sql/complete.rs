//! What Tab completes in a question: keywords, tables, columns, functions and named questions; and
//! when Enter ends it.

use std::collections::BTreeMap;

use bailiwick_audit::named::Named;
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper, Result};

const KEYWORDS: &str = "select from where group by order having limit offset join left right inner \
    outer full cross on using with as distinct union all except intersect and or not in is null \
    like ilike between exists case when then else end asc desc nulls first last explain describe \
    show tables columns interval timestamp true false filter over partition rows";
const FUNCTIONS: &str = "count sum avg min max coalesce date_trunc date_bin date_part now lower \
    upper split_part starts_with array_agg string_agg row_number rank lag lead first_value \
    last_value to_timestamp why grant_active_at";
/// Functions that stand where a table does.
const TABLE_FUNCTIONS: [&str; 5] =
    ["access_at", "agent_story", "delegation_tree", "grants_at", "verify_chain"];
const COMMANDS: [&str; 8] = ["\\?", "\\d", "\\dq", "\\dt", "\\format", "\\q", "\\run", "\\timing"];
pub(super) const FORMATS: [&str; 3] = ["csv", "json", "table"];

/// What there is to complete.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// Columns by their table's name.
    tables: BTreeMap<String, Vec<String>>,
}

impl Words {
    /// Words of these columns, each with its table.
    pub(super) fn new(columns: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut tables = BTreeMap::<String, Vec<String>>::new();
        for (table, column) in columns {
            tables.entry(table).or_default().push(column);
        }
        Self { tables }
    }

    /// Where the word at `at` begins, and what it may become.
    fn candidates(&self, line: &str, at: usize) -> (usize, Vec<String>) {
        let before = line.get(..at).unwrap_or(line);
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '\\' | '-' | '?');
        let start = before
            .rfind(|c| !is_part(c))
            .map_or(0, |last| last + before[last..].chars().next().map_or(1, char::len_utf8));
        let (lead, word) = before.split_at(start);
        let lower = word.to_ascii_lowercase();
        let mut found: Vec<String> = self
            .possible(lead, word)
            .into_iter()
            .filter(|known| known.starts_with(&lower))
            .map(|known| in_case_of(word, known))
            .collect();
        found.sort_unstable();
        found.dedup();
        (start, found)
    }

    /// Whatever may stand behind `lead`.
    fn possible(&self, lead: &str, word: &str) -> Vec<&str> {
        let tables = || self.tables.keys().map(String::as_str);
        let columns = || self.tables.values().flatten().map(String::as_str);
        if let Some(qualifier) = lead.strip_suffix('.') {
            let name = qualifier.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next();
            return match name.and_then(|name| self.tables.get(name)) {
                Some(columns) => columns.iter().map(String::as_str).collect(),
                // A table goes by another name in this question.
                None => columns().collect(),
            };
        }
        let last = lead.split_whitespace().next_back().unwrap_or_default().to_ascii_lowercase();
        match last.as_str() {
            "" if word.starts_with('\\') => COMMANDS.to_vec(),
            "from" | "join" => tables().chain(TABLE_FUNCTIONS).collect(),
            "describe" | "\\d" => tables().collect(),
            "\\format" => FORMATS.to_vec(),
            "\\run" => Named::all().iter().map(|named| named.name).collect(),
            _ if lead.trim_start().starts_with('\\') => Vec::new(),
            _ => {
                let words = KEYWORDS.split_whitespace().chain(FUNCTIONS.split_whitespace());
                words.chain(tables()).chain(columns()).collect()
            }
        }
    }
}

/// A keyword in capitals for who writes in capitals.
fn in_case_of(word: &str, known: &str) -> String {
    let capitals = word.chars().any(char::is_uppercase) && !word.chars().any(char::is_lowercase);
    let is_keyword = || KEYWORDS.split_whitespace().any(|keyword| keyword == known);
    if capitals && is_keyword() { known.to_ascii_uppercase() } else { known.to_owned() }
}

impl Helper for Words {}

impl Highlighter for Words {}

impl Hinter for Words {
    type Hint = String;
}

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> Result<(usize, Vec<String>)> {
        Ok(self.candidates(line, at))
    }
}

impl Validator for Words {
    fn validate(&self, context: &mut ValidationContext<'_>) -> Result<ValidationResult> {
        if is_whole(context.input()) {
            Ok(ValidationResult::Valid(None))
        } else {
            Ok(ValidationResult::Incomplete)
        }
    }
}

/// Whether Enter ends what was typed: a command at the end of its line, a question at its `;`.
pub(super) fn is_whole(typed: &str) -> bool {
    let trimmed = typed.trim();
    if trimmed.is_empty() || trimmed.starts_with('\\') {
        return true;
    }
    let (mut quote, mut ended) = (None, false);
    let mut rest = typed.chars().peekable();
    while let Some(c) = rest.next() {
        match quote {
            Some(open) => {
                if c == open {
                    quote = None;
                }
            }
            None if c == '-' && rest.peek() == Some(&'-') => {
                // A comment ends with its line.
                while rest.next_if(|c| *c != '\n').is_some() {}
            }
            None if c == '\'' || c == '"' => (quote, ended) = (Some(c), false),
            None if c == ';' => ended = true,
            None if c.is_whitespace() => {}
            None => ended = false,
        }
    }
    ended && quote.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        let columns = [("calls", "agent_id"), ("calls", "action"), ("owners", "owner_id")];
        Words::new(columns.map(|(table, column)| (table.to_owned(), column.to_owned())))
    }

    fn completes(line: &str) -> String {
        let (start, found) = words().candidates(line, line.len());
        format!("{}[{}]", &line[..start], found.join(" "))
    }

    #[test]
    fn words_are_completed_where_they_may_stand() {
        for (line, expected) in [
            ("sel", "[select]"),
            ("SEL", "[SELECT]"),
            ("select ag", "select [agent_id]"),
            ("select AG", "select [agent_id]"),
            (
                "select * from ",
                "select * from [access_at agent_story calls delegation_tree grants_at owners verify_chain]",
            ),
            ("select * from c", "select * from [calls]"),
            ("select * FROM calls c join ow", "select * FROM calls c join [owners]"),
            ("select calls.", "select calls.[action agent_id]"),
            ("select owners.o", "select owners.[owner_id]"),
            ("select c.a", "select c.[action agent_id]"),
            ("select count(a", "select count([action agent_id all and array_agg as asc avg]"),
            ("\\", "[\\? \\d \\dq \\dt \\format \\q \\run \\timing]"),
            ("\\d o", "\\d [owners]"),
            ("\\format j", "\\format [json]"),
            ("\\run who-t", "\\run [who-touched]"),
            ("\\timing x", "\\timing []"),
            ("select 'é", "select '[]"),
        ] {
            assert_eq!(completes(line), expected, "{line}");
        }
    }

    #[test]
    fn enter_ends_a_command_and_a_question_at_its_semicolon() {
        for whole in
            ["", "  ", "\\q", "\\d calls", "select 1;", "select 1 ; -- done", "select\n1;\n"]
        {
            assert!(is_whole(whole), "{whole}");
        }
        for part in [
            "select 1",
            "select ';",
            "select ';'",
            "select 1 -- ;",
            "select \";\" from",
            "select 1; select 2",
            "select 'it''s;",
        ] {
            assert!(!is_whole(part), "{part}");
        }
    }
}
