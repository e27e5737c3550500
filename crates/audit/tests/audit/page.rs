//! `queries/README.md`: what each named question asks and takes, with a sample of its answer over the
//! same ledger as the golden answers. `UPDATE_EXPECT=1 cargo test -p bailiwick-audit` writes it anew.

use std::fmt::Write as _;
use std::path::Path;

use bailiwick_audit::Table;
use bailiwick_audit::named::{Named, Preset};
use serde_json::Value;

use crate::questions::{given, named};
use crate::year::year;

/// Rows of a sample.
const ROWS: usize = 4;
/// Characters of a cell.
const CELL: usize = 60;

const HEAD: &str = "\
# Named questions

What auditors ask again and again, by name. Each is one `.sql` file, built into the binary, with a header that says what it asks, what it takes and which controls its answer is evidence for: evidence, not a claim of compliance.

```sh
bailiwick query list
bailiwick query run who-touched --param resource=crm://case/1234
bailiwick query run standing-grants --param at=2026-01-01T12:00:00Z --format csv
```

Over HTTP: `GET /v1/queries`, `POST /v1/queries/{name}` with `{\"params\": {…}}`, answered as JSON, CSV or an Arrow stream as `Accept` says. Values are bound with their types and never become text of the question. Every question is itself an event, `query.run`.

In SQL of one's own, these stand for questions too:

| function | what it is |
|---|---|
| `grants_at(moment)` | the grants that were good at that moment, as a table |
| `access_at(resource, moment)` | those of them that covered the resource |
| `agent_story(agent, from, to)` | what happened to an agent, and why |
| `delegation_tree(grant)` | all grants of the tree that a grant is in |
| `verify_chain(from, to)` | one row: whether the ledger's entries verify, and the rows of `events` have their links, kinds and times |
| `why(seq)` | why an event came about, in one text |
| `grant_active_at(grant, moment)` | whether a grant was good at that moment |

The samples are of a small made-up ledger of four agents; columns without a value in a sample's rows are left out of it. This page is generated from the files and checked by a test.
";

fn page() -> String {
    let audit = year(7, 260).audit();
    let mut page = HEAD.to_owned();
    page.push('\n');
    for question in Named::all() {
        let name = question.name;
        let _ = writeln!(page, "- [`{name}`](#{name}): {}", question.question);
    }
    for question in Named::all() {
        let given = given(question);
        let answer = named(&audit, question.name, &given)
            .unwrap_or_else(|e| panic!("{}: {e}", question.name));
        page.push_str(&section(question, &given, &answer));
    }
    page
}

fn section(question: &Named, given: &[(&str, Value)], answer: &Table) -> String {
    let name = question.name;
    let mut text = format!("\n## {name}\n\n{} [{name}.sql]({name}.sql)\n", question.question);
    if !question.parameters.is_empty() {
        text.push_str("\n| parameter | type | without it | what it is |\n|---|---|---|---|\n");
    }
    for taken in &question.parameters {
        let default = match &taken.default {
            None => "has to be given".to_owned(),
            Some(Preset::Value(Value::Null)) => "left out".to_owned(),
            Some(Preset::Now) => "now".to_owned(),
            Some(preset) => format!("`{}`", preset.text()),
        };
        let kind = taken.kind.as_str();
        let _ =
            writeln!(text, "| `{}` | {kind} | {default} | {} |", taken.name, cell(&taken.about));
    }
    let _ = writeln!(text, "\nEvidence for: {}.", question.controls.join("; "));
    let params: Vec<String> = given
        .iter()
        .map(|(name, value)| format!(" --param {name}={}", value.as_str().unwrap_or_default()))
        .collect();
    let _ = writeln!(text, "\n```sh\nbailiwick query run {name}{}\n```\n", params.concat());
    text.push_str(&sample(answer));
    text
}

/// The first rows, in the columns in which one of them has a value.
fn sample(answer: &Table) -> String {
    let rows = &answer.rows[..answer.rows.len().min(ROWS)];
    if rows.is_empty() {
        return "No rows, as it should be.\n".to_owned();
    }
    let shown: Vec<usize> =
        (0..answer.columns.len()).filter(|at| rows.iter().any(|row| !row[*at].is_null())).collect();
    let line = |cells: &mut dyn Iterator<Item = String>| {
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let mut text = line(&mut shown.iter().map(|at| answer.columns[*at].name.clone()));
    text.push_str(&line(&mut shown.iter().map(|_| "---".to_owned())));
    for row in rows {
        text.push_str(&line(&mut shown.iter().map(|at| match &row[*at] {
            Value::Null => String::new(),
            Value::String(value) => cell(value),
            other => cell(&other.to_string()),
        })));
    }
    let more = answer.rows.len() - rows.len();
    if more > 0 {
        let _ = writeln!(text, "\n… and {more} more.");
    }
    text
}

/// A text as it can stand in a table.
fn cell(text: &str) -> String {
    let mut short: String = text.chars().take(CELL).collect();
    if text.chars().nth(CELL).is_some() {
        short.push('…');
    }
    short.replace('\\', "\\\\").replace('|', "\\|").replace(['\n', '\r'], " ")
}

#[test]
fn the_page_of_named_questions_is_the_committed_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../queries/README.md");
    let page = page();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let held = std::fs::read_to_string(&path).unwrap_or_default();
    let line = held.lines().zip(page.lines()).position(|(held, page)| held != page);
    assert!(
        held == page,
        "queries/README.md differs from line {:?} on: `UPDATE_EXPECT=1 cargo test -p bailiwick-audit` \
         writes it anew",
        line.map(|line| line + 1)
    );
    for question in Named::all() {
        assert!(page.contains(&format!("\n## {}\n", question.name)));
    }
}
