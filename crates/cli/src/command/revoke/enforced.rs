//! Who enforces a revocation already, whose lease ran out, and who is awaited still.

use anyhow::{Context as _, Result};
use bailiwick_core::time::Span;
use serde::Deserialize;
use serde_json::Value;

use crate::exit::unfinished;
use crate::show;
use crate::show::table::table;

/// How a server tells what became of `wait=enforced`.
#[derive(Debug, Deserialize)]
struct Enforced {
    done: bool,
    milliseconds: u64,
    points: Vec<Point>,
    waiting: Vec<String>,
}

/// One enforcement point that cannot act against the revocation any more.
#[derive(Debug, Deserialize)]
struct Point {
    point: String,
    acknowledged: bool,
    milliseconds: u64,
}

/// Tells what the wait came to. With `json` the whole answer has been shown already.
///
/// # Errors
/// When somebody is awaited still.
pub(super) fn tell(json: bool, answer: &Value, timeout: Span) -> Result<()> {
    let told = answer.get("enforced").context("the server says nothing of who enforces it")?;
    let told = Enforced::deserialize(told).context("who enforces it is not understood")?;
    if !json {
        show::line(&show::harmless(&told.words()))?;
        let rows: Vec<Vec<String>> = told.rows();
        if !rows.is_empty() {
            show::line(&table(&["point", "", "after"], rows))?;
        }
    }
    if told.done {
        return Ok(());
    }
    let is_durable = answer.get("durable").and_then(Value::as_bool) == Some(true);
    let whom = match told.waiting.as_slice() {
        [] if !is_durable => {
            "another server that has taken up the ledger knows nothing of it yet, if \
                              there is one: nobody whom this server answered may still act"
                .to_owned()
        }
        [] => "this server began a moment ago and cannot know yet who may still act".to_owned(),
        [one] => format!("{one} may still act on what it was told before"),
        [first, ..] => {
            format!("{} may still act on what they were told before, {first} among them", {
                told.waiting.len()
            })
        }
    };
    Err(unfinished(
        show::harmless(&format!("the revocation is in force, but after {timeout} {whom}")),
        "`bailiwick points`, which shows who may act; and again with a longer `--wait`, since what \
         is revoked twice is revoked once",
    ))
}

impl Enforced {
    /// In a line.
    fn words(&self) -> String {
        let acknowledged = self.points.iter().filter(|point| point.acknowledged).count();
        let expired = self.points.len() - acknowledged;
        let mut parts = Vec::new();
        for (count, words) in [
            (acknowledged, "acknowledged"),
            (expired, "had a lease that ran out"),
            (self.waiting.len(), "awaited"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {words}"));
            }
        }
        if parts.is_empty() {
            parts.push("no enforcement point is connected".to_owned());
        }
        let parts = parts.join(", ");
        if self.done {
            format!("enforced everywhere after {} ms: {parts}", self.milliseconds)
        } else {
            format!("not enforced everywhere after {} ms: {parts}", self.milliseconds)
        }
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let known = self.points.iter().map(|point| {
            let what = if point.acknowledged { "acknowledged" } else { "its lease ran out" };
            vec![
                show::harmless(&point.point),
                what.to_owned(),
                format!("{} ms", point.milliseconds),
            ]
        });
        let awaited = self
            .waiting
            .iter()
            .map(|point| vec![show::harmless(point), "is awaited".to_owned(), String::new()]);
        known.chain(awaited).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(done: bool, waiting: &[&str]) -> Value {
        json!({"durable": true, "enforced": {
            "done": done, "number": 18, "milliseconds": 1_062, "receipt": null,
            "points": [
                {"point": "desk-1", "acknowledged": true, "milliseconds": 3},
                {"point": "desk-2", "acknowledged": false, "milliseconds": 1_060},
            ],
            "waiting": waiting,
        }})
    }

    #[test]
    fn who_acknowledged_and_whose_lease_ran_out_is_said() {
        let told = Enforced::deserialize(&answer(true, &[])["enforced"]).unwrap();
        assert_eq!(
            told.words(),
            "enforced everywhere after 1062 ms: 1 acknowledged, 1 had a lease that ran out"
        );
        assert_eq!(told.rows()[1], ["desk-2", "its lease ran out", "1060 ms"]);
        tell(true, &answer(true, &[]), Span::seconds(5)).unwrap();
    }

    #[test]
    fn who_is_awaited_costs_an_error_that_says_what_to_do() {
        let error = tell(true, &answer(false, &["desk-3"]), Span::seconds(5)).unwrap_err();
        assert_eq!(crate::exit::exit_code(&error), 1);
        assert!(error.to_string().contains("after 5s desk-3 may still act"), "{error}");
        let error = tell(true, &answer(false, &[]), Span::seconds(5)).unwrap_err();
        assert!(error.to_string().contains("began a moment ago"), "{error}");
        let mut unrecorded = answer(false, &[]);
        unrecorded["durable"] = json!(false);
        let error = tell(true, &unrecorded, Span::seconds(5)).unwrap_err();
        assert!(error.to_string().contains("another server"), "{error}");
    }

    #[test]
    fn an_answer_without_it_is_not_taken_for_a_yes() {
        tell(true, &json!({"durable": true}), Span::seconds(5)).unwrap_err();
    }
}
