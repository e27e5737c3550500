//! What people are shown before they approve, the digest that binds their answer to it, and the
//! digest that the grant which comes of it is held to. Pure functions of what was recorded.
//!
//! Digests are BLAKE3 over the bincode of the fields in a fixed order, each under a context of its
//! own: they can be computed again from the event alone.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use bincode::Encode;

use crate::event::{ApprovalRequested, ApprovalRule, Call, Must, Plain};
use crate::id::Text;
use crate::record::hash::Digest;

/// The most different rules that one request may have to meet; with more nobody can be asked.
pub const RULES_MAX: usize = 64;

static SHOWN: LazyLock<blake3::Hasher> =
    LazyLock::new(|| blake3::Hasher::new_derive_key("bailiwick v1 approval"));
static QUESTION: LazyLock<blake3::Hasher> =
    LazyLock::new(|| blake3::Hasher::new_derive_key("bailiwick v1 approval question"));
static CALL: LazyLock<blake3::Hasher> =
    LazyLock::new(|| blake3::Hasher::new_derive_key("bailiwick v1 approval call"));

/// Digest of everything that people are shown of a request: an answer names it, so that nobody
/// says yes to something else than they saw. The field `shown` of the request is not read.
#[must_use]
pub fn shown_digest(asked: &ApprovalRequested) -> Digest {
    let rest = (&asked.expires_at, &asked.call.justification, &asked.request);
    digest(&SHOWN, &(question(asked), rest))
}

/// Digest of the question without its moment, its request's number and the caller's own words: the
/// same question is not put to people twice at once, however it is worded.
#[must_use]
pub fn question_digest(asked: &ApprovalRequested) -> Digest {
    digest(&QUESTION, &question(asked))
}

/// Digest of what a call is: a grant that people approved covers that and nothing else, and what
/// they denied is that. When it comes, why, and in which session is no part of it.
#[must_use]
pub fn call_digest(call: &Call) -> Digest {
    digest(&CALL, &whole(call))
}

/// Digest of what is denied when people deny a request: the call, or the grant that was asked for.
#[must_use]
pub fn denied_digest(asked: &ApprovalRequested) -> Digest {
    if asked.request.is_some() { question_digest(asked) } else { call_digest(&asked.call) }
}

fn question(asked: &ApprovalRequested) -> impl Encode + '_ {
    let terms = (&asked.needs, &asked.ttl, &asked.max_uses, &asked.policy_hash);
    (
        whole(&asked.call),
        &asked.owner,
        &asked.scope,
        &asked.constraints,
        asked.request.is_some(),
        terms,
    )
}

fn whole(call: &Call) -> impl Encode + '_ {
    let who = (&call.agent, &call.owner, &call.task, &call.actors);
    let how = (&call.tool, &call.tool_hash, &call.environment);
    let what = (&call.action, &call.resource, &call.effect, &call.arguments, &call.disclosed);
    (who, how, what)
}

fn digest(context: &blake3::Hasher, parts: &impl Encode) -> Digest {
    let bytes = bincode::encode_to_vec(parts, bincode::config::standard())
        .expect("encoding into memory has nothing to fail on");
    Digest(*context.clone().update(&bytes).finalize().as_bytes())
}

/// What people are shown of a request, in this order. Every line is built from what was recorded
/// of the call; only [`Shown::words`] are the caller's own, and they come last.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Shown {
    /// Name and value of each line. Characters that would not be seen are escaped.
    pub lines: Vec<Line>,
    /// Why, as the caller put it: nobody has checked it.
    pub words: Option<String>,
}

/// One line of what people are shown.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Line {
    /// What it is about, such as `action` or `argument amount`.
    pub name: String,
    /// What it says.
    pub value: String,
}

/// The name under which a caller's own words are shown.
pub const OWN_WORDS: &str = "in the caller's own words";

/// What people are shown of a request. The digest over it is [`shown_digest`].
#[must_use]
pub fn what_is_shown(asked: &ApprovalRequested) -> Shown {
    let call = &asked.call;
    let mut lines = Lines(Vec::new());
    match &call.agent {
        Some(agent) => lines.add("agent", agent),
        None => lines.add("person", &asked.owner),
    }
    lines.add("on behalf of", &asked.owner);
    lines.some("passed on by", (!call.actors.is_empty()).then(|| listed(&call.actors)));
    lines.some("task", call.task);
    lines.add("action", &call.action);
    lines.add("on", &asked.scope);
    lines.add("effect", call.effect.as_str());
    lines.some("tool", call.tool.as_ref());
    lines.some("tool definition", call.tool_hash);
    lines.some("environment", call.environment.as_ref());
    lines.fields(&call.disclosed);
    lines.some("arguments commitment", call.arguments);
    for constraint in &asked.constraints {
        lines.add(&format!("argument {} must be", constraint.at), must(&constraint.must));
    }
    lines.add("grant lives", asked.ttl);
    lines.add("grant may be used", times(asked.max_uses));
    lines.add("needs", listed(&asked.needs));
    lines.add("policies in force", asked.policy_hash);
    lines.add("to be answered until", format!("{}Z", asked.expires_at.utc()));
    Shown { lines: lines.0, words: call.justification.as_ref().map(|words| plain(words.as_str())) }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Line { name, value } in &self.lines {
            writeln!(f, "{name}: {value}")?;
        }
        match &self.words {
            Some(words) => writeln!(f, "{OWN_WORDS}: {words}"),
            None => Ok(()),
        }
    }
}

struct Lines(Vec<Line>);

impl Lines {
    fn add(&mut self, name: &str, value: impl ToString) {
        self.0.push(Line { name: plain(name), value: plain(&value.to_string()) });
    }

    fn some(&mut self, name: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    fn fields(&mut self, disclosed: &BTreeMap<Text, Text>) {
        for (name, value) in disclosed {
            self.add(&format!("argument {name}"), value);
        }
    }
}

fn listed<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn times(uses: u32) -> String {
    if uses == 1 { "once".to_owned() } else { format!("{uses} times") }
}

fn must(must: &Must) -> String {
    let value = |plain: &Plain| match plain {
        Plain::Bool(truth) => truth.to_string(),
        Plain::Integer(number) => number.to_string(),
        Plain::Text(text) => format!("\"{text}\""),
    };
    match must {
        Must::Equal(one) => value(one),
        Must::OneOf(several) => {
            format!("one of {}", several.iter().map(value).collect::<Vec<_>>().join(", "))
        }
        Must::Prefix(prefix) => format!("a text that begins with \"{prefix}\""),
        Must::Max(most) => format!("at most {most}"),
    }
}

/// The text with every character escaped that a person would not see, or that would move what they
/// see: line breaks, controls, and what turns the direction of writing.
fn plain(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut seen, c| {
        match c {
            '"' | '\'' => seen.push(c),
            _ => seen.extend(c.escape_debug()),
        }
        seen
    })
}

/// Whether somebody who has been shown to meet `had` need not be asked for `rule` again: the same
/// rule, or one of the same group that asked for at least as many people.
#[must_use]
pub fn is_met_by(rule: &ApprovalRule, had: &[ApprovalRule]) -> bool {
    had.iter().any(|had| match (rule, had) {
        (ApprovalRule::Owner, ApprovalRule::Owner) => true,
        (
            ApprovalRule::Group { group, count },
            ApprovalRule::Group { group: of, count: people },
        ) => group == of && count <= people,
        (ApprovalRule::Owner, ApprovalRule::Group { .. })
        | (ApprovalRule::Group { .. }, ApprovalRule::Owner) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_not_be_seen_is_escaped() {
        assert_eq!(plain("it's \"so\" \u{202e}desrever\n"), "it's \"so\" \\u{202e}desrever\\n");
        assert_eq!(plain("zero\u{200b}width\ttab"), "zero\\u{200b}width\\ttab");
        assert_eq!(plain("größer 日本"), "größer 日本");
    }

    #[test]
    fn as_many_people_of_the_same_group_meet_a_rule() {
        let rule = |text: &str| text.parse::<ApprovalRule>().unwrap();
        let had = [rule("owner"), rule("2 of group:sec")];
        for met in ["owner", "group:sec", "2 of group:sec"] {
            assert!(is_met_by(&rule(met), &had), "{met}");
        }
        for open in ["3 of group:sec", "group:ops"] {
            assert!(!is_met_by(&rule(open), &had), "{open}");
        }
        assert!(!is_met_by(&rule("owner"), &[rule("5 of group:sec")]));
    }
}
