//! Tells the story, and checks it: people read lines, programs one JSON object at the end.

use std::time::Instant;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::session::Called;
use super::stage::{AGENT, OWNER, Stage, TRIAGE};
use crate::show;

/// Columns in front of every line of an act.
const INDENT: u16 = 3;
/// Where told text goes to the next line, in characters.
const WIDTH: usize = 92;
/// Lines that are told of what a tool answered; a denial is told in full.
const ANSWER_LINES_MAX: usize = 2;

pub(super) struct Teller {
    json: bool,
    since: Instant,
    act: usize,
    steps: Vec<Value>,
    figures: Value,
    /// Whether each call was allowed, in order.
    pub(super) calls: Vec<bool>,
}

impl Teller {
    pub(super) fn new(json: bool) -> Self {
        let since = Instant::now();
        Self { json, since, act: 0, steps: Vec::new(), figures: json!({}), calls: Vec::new() }
    }

    pub(super) fn begins(&self, stage: &Stage) {
        self.line("Bailiwick: one ledger, two agents, real parts.");
        self.line("");
        self.line(&format!("  the ledger    {}", stage.place()));
        self.line(&format!("  its server    {}", stage.url()));
        self.line("  the gateway   bailiwick gateway --stdio, a process of its own for each agent");
        self.line(
            "  the tools     bailiwick demo-server, a small MCP server: cases, tickets, objects",
        );
        self.line("");
        self.line(&format!("  {OWNER} owns {AGENT} and {TRIAGE}. Both may ask for little,"));
        self.line(
            "  five policies say what may be granted at all, and at the start nothing is granted.",
        );
    }

    /// The next act begins.
    pub(super) fn act(&mut self, title: &str) {
        self.act += 1;
        self.line("");
        self.line(&format!("{}. {title}", self.act));
        self.line("");
    }

    /// A line of the story.
    pub(super) fn says(&self, text: &str) {
        self.line(format!("   {text}").trim_end());
    }

    /// What an operator would type, since the demo does the same over HTTP.
    pub(super) fn operator(&self, command: &str) {
        self.line(&format!("   operator  $ bailiwick {command}"));
    }

    /// A call and what came of it.
    pub(super) fn call(&mut self, who: &str, call: &Called) {
        self.calls.push(call.is_allowed());
        self.line(&format!("   {who}  {} {}", call.tool, call.arguments));
        let verdict = if call.is_allowed() { "allowed" } else { "denied" };
        let text = format!("{verdict} in {:.1} ms: {}", call.ms, show::harmless(&call.text));
        let mut lines = wrapped(&text);
        if call.is_allowed() && lines.len() > ANSWER_LINES_MAX {
            lines.truncate(ANSWER_LINES_MAX);
            lines.push("…".to_owned());
        }
        for line in lines {
            self.line(&format!("     {line}"));
        }
    }

    /// A table, indented.
    pub(super) fn table(&self, answer: &bailiwick_audit::Table) {
        for line in crate::command::rows(answer, INDENT).lines() {
            self.says(line);
        }
    }

    /// A figure for programs.
    pub(super) fn figure(&mut self, name: &str, value: impl Into<Value>) {
        self.figures[name] = value.into();
    }

    /// Goes on only if it is so.
    pub(super) fn expect(&mut self, holds: bool, what: &str) -> Result<()> {
        self.steps.push(json!({"act": self.act, "expected": what, "ok": holds}));
        if holds {
            return Ok(());
        }
        if self.json {
            self.finish(false, &Value::Null)?;
        }
        bail!("the demo went wrong in act {}: it must be that {what}", self.act);
    }

    pub(super) fn ends(&self, verified: &Value) -> Result<()> {
        if self.json {
            return self.finish(true, verified);
        }
        let (steps, seconds) = (self.steps.len(), self.since.elapsed().as_secs_f64());
        self.line("");
        self.line(&format!("All {steps} expectations held, in {seconds:.1} s."));
        Ok(())
    }

    fn finish(&self, ok: bool, verified: &Value) -> Result<()> {
        let mut told = json!({
            "name": "demo", "ok": ok, "seconds": self.since.elapsed().as_secs_f64(),
            "events": verified["events"], "steps": self.steps, "figures": self.figures,
            "calls": self.calls.len(), "proof": verified,
        });
        if let Some(told) = told.as_object_mut() {
            told.retain(|_, value| !value.is_null());
        }
        super::tell(&told.to_string())
    }

    fn line(&self, text: &str) {
        if !self.json {
            // Where nobody reads on, the steps are still run and checked.
            let _ = super::tell(text);
        }
    }
}

/// A text in lines of at most [`WIDTH`], cut between words.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_between_words() {
        let text = "word ".repeat(100);
        let lines = wrapped(&text);
        assert!(lines.iter().all(|line| line.len() <= WIDTH && line.ends_with("word")));
        assert_eq!(lines.join(" "), text.trim());
        assert!(wrapped("").is_empty());
    }
}
