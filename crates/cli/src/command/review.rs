//! `bailiwick review`.

use std::io::{BufRead, IsTerminal as _};

use anyhow::Result;
use bailiwick_client::http::path;
use bailiwick_core::id::Text;
use serde_json::{Value, json};

use super::online::Desk;
use crate::args::Review;
use crate::exit::usage;
use crate::show::json::{Column, list, recorded, text};
use crate::show::note;

const GRANTS: [Column; 10] = [
    ("grant", "/grant"),
    ("agent", "/agent"),
    ("action", "/action"),
    ("on", "/scope"),
    ("came by", "/issuance"),
    ("used", "/uses"),
    ("left", "/uses_left"),
    ("last used", "/last_used"),
    ("until", "/expires_at"),
    ("why", "/justification"),
];

pub(super) async fn run(args: Review, desk: Desk) -> Result<()> {
    let owner = args.owner.as_str();
    let mut items = Vec::new();
    desk.pages(&path(["v1", "owners", owner, "review"]), &[], |page| {
        items.extend(page);
        Ok(true)
    })
    .await?;
    if !args.keep.is_empty() || !args.revoke.is_empty() {
        return answer_all(&args, &desk, &items).await;
    }
    let is_asked = !desk.json && !items.is_empty() && std::io::stdin().is_terminal();
    if is_asked {
        return ask_all(&args, &desk, &items).await;
    }
    list(desk.json, &items, &GRANTS)?;
    let broken = items.iter().filter(|item| is_broken(item)).count();
    if broken > 0 && !desk.json {
        note(&format!("{broken} of them came of breaking the glass: they stand first"));
    }
    if !items.is_empty() && !desk.json {
        note("nobody can be asked here: say `--keep GRANT` and `--revoke GRANT`");
    }
    Ok(())
}

/// What was said on the command line, once all of it is about grants that stand for review.
async fn answer_all(args: &Review, desk: &Desk, items: &[Value]) -> Result<()> {
    for id in args.keep.iter().chain(&args.revoke) {
        if !items.iter().any(|item| item["grant"] == id.to_string()) {
            return Err(usage(format!("`{id}` is no live grant of owner {}", args.owner)));
        }
        if args.keep.contains(id) && args.revoke.contains(id) {
            return Err(usage(format!("`{id}` is to be kept and revoked")));
        }
    }
    let keep = args.keep.iter().map(|id| (id, "keep"));
    for (id, review) in keep.chain(args.revoke.iter().map(|id| (id, "revoke"))) {
        answer(desk, &id.to_string(), review, args.reason.as_ref()).await?;
    }
    Ok(())
}

async fn answer(desk: &Desk, id: &str, review: &str, reason: Option<&Text>) -> Result<()> {
    let body = json!({"review": review, "reason": reason.map(Text::as_str)});
    let answer = desk.http.post(&path(["v1", "grants", id, "review"]), &body).await?;
    let what = if review == "keep" { "is kept" } else { "is revoked" };
    recorded(desk.json, &format!("{id} {what}"), &answer)
}

/// Asks for each grant; what is passed over stays as it is.
async fn ask_all(args: &Review, desk: &Desk, items: &[Value]) -> Result<()> {
    for (n, item) in items.iter().enumerate() {
        note(&format!("{} of {}: {}", n + 1, items.len(), words(item)));
        let id = item["grant"].as_str().unwrap_or_default();
        match ask(&mut std::io::stdin().lock())? {
            Said::Keep => answer(desk, id, "keep", args.reason.as_ref()).await?,
            Said::Revoke => answer(desk, id, "revoke", args.reason.as_ref()).await?,
            Said::Later => {}
            Said::Enough => return Ok(()),
        }
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Keep,
    Revoke,
    Later,
    Enough,
}

/// Asks until it is answered; an end of the input is enough.
fn ask(answers: &mut impl BufRead) -> Result<Said> {
    loop {
        note("keep, revoke, later, quit?");
        let mut typed = String::new();
        if answers.read_line(&mut typed)? == 0 {
            return Ok(Said::Enough);
        }
        match typed.trim() {
            "keep" | "k" => return Ok(Said::Keep),
            "revoke" | "r" => return Ok(Said::Revoke),
            "later" | "l" => return Ok(Said::Later),
            "quit" | "q" => return Ok(Said::Enough),
            _ => {}
        }
    }
}

fn is_broken(item: &Value) -> bool {
    item["break_glass"] == true
}

/// One grant, as people say it.
fn words(item: &Value) -> String {
    let of = |name: &str| text(&item[name]);
    let holder = if item["agent"].is_null() { of("owner") } else { of("agent") };
    let broken = if is_broken(item) { "BREAK-GLASS " } else { "" };
    let mut words = format!(
        "{broken}{}: {holder} may do {} on {} until {}; used {} of {} times",
        of("grant"),
        of("action"),
        of("scope"),
        of("expires_at"),
        of("uses"),
        of("max_uses"),
    );
    for (name, before) in [("last_used", ", last at "), ("parent", ", delegated from ")] {
        if !item[name].is_null() {
            words.push_str(before);
            words.push_str(&of(name));
        }
    }
    match item["justification"].as_str() {
        Some(_) => words.push_str(&format!(". Why: {}", of("justification"))),
        None => words.push_str(". Nobody said why"),
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_word_or_its_first_letter_and_anything_else_is_asked_again() {
        for (typed, said) in [
            ("keep\n", Said::Keep),
            ("k\n", Said::Keep),
            (" revoke \n", Said::Revoke),
            ("what?\n\nr\n", Said::Revoke),
            ("l\n", Said::Later),
            ("q\n", Said::Enough),
            ("", Said::Enough),
            ("yes\n", Said::Enough),
        ] {
            assert_eq!(ask(&mut typed.as_bytes()).unwrap(), said, "{typed:?}");
        }
    }

    #[test]
    fn a_grant_reads_as_one_sentence_and_commands_no_terminal() {
        let mut item = json!({
            "grant": "grant_9", "agent": "bot", "owner": "alice", "action": "crm/read",
            "scope": "crm://case/1", "expires_at": "2026-11-23T08:00:00Z", "uses": 1, "max_uses": 3,
            "last_used": null, "parent": null, "justification": null, "break_glass": false,
        });
        let plain = "grant_9: bot may do crm/read on crm://case/1 until 2026-11-23T08:00:00Z; used \
                     1 of 3 times. Nobody said why";
        assert_eq!(words(&item), plain);
        item["break_glass"] = json!(true);
        item["parent"] = json!("grant_7");
        item["justification"] = json!("on\u{1b}[2J call");
        let broken = words(&item);
        assert!(broken.starts_with("BREAK-GLASS grant_9") && broken.contains("from grant_7"));
        assert!(broken.ends_with("Why: on\\u{1b}[2J call"), "{broken}");
    }
}
