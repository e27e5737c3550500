//! A story as one HTML file that needs nothing else: a picture, and every step in a table.

use std::fmt::Write as _;

use super::Step;
use crate::moment::of_utc;
use crate::show::harmless;

const WIDTH: u64 = 960;
/// Height of the row of calls, and of each grant's.
const ROW: u64 = 14;
/// The most grants that the picture has room for; the table has all.
const GRANTS_MAX: usize = 60;

const STYLE: &str = "body{font:14px system-ui,sans-serif;margin:2em auto;max-width:70em}\
    table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;\
    padding:.2em .6em;border-bottom:1px solid #ddd}tr.denied{color:#b00020}\
    tr.revoked{background:#fff3cd}svg{width:100%;background:#fafafa;border:1px solid #ddd}";

/// The page.
pub(super) fn page(agent: &str, steps: &[Step<'_>], as_of: Option<u64>) -> String {
    let title = format!("The story of {}", plain(agent));
    let as_of = as_of.map(|seq| format!(", as of event {seq}")).unwrap_or_default();
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><h1>{title}</h1><p>{} steps{as_of}. Bars are grants, \
         ticks are calls, red ones were denied, lines are revocations and other ends.</p>",
        steps.len()
    );
    page.push_str(&picture(steps));
    page.push_str(
        "<table><thead><tr><th>event</th><th>when</th><th>kind</th><th>what</th><th>why</th></tr>\
         </thead><tbody>",
    );
    for step in steps {
        let class = match () {
            () if step.is("call.denied") => " class=\"denied\"",
            () if ends(step) => " class=\"revoked\"",
            () => "",
        };
        let [seq, ts, kind] = ["seq", "ts", "kind"].map(|cell| plain(&step.cell(cell)));
        let (what, why) = (plain(&step.what), plain(&step.because()));
        // Writing to a text cannot fail.
        let _ = write!(
            page,
            "<tr{class}><td>{seq}</td><td>{ts}</td><td>{kind}</td><td>{what}</td><td>{why}</td></tr>"
        );
    }
    page.push_str("</tbody></table></body></html>\n");
    page
}

fn ends(step: &Step<'_>) -> bool {
    const ENDS: [&str; 5] = [
        "revocation.issued",
        "agent.suspended",
        "agent.retired",
        "agent.reassigned",
        "owner.disabled",
    ];
    ENDS.contains(&step.cell("kind").as_str())
}

fn picture(steps: &[Step<'_>]) -> String {
    let times = steps.iter().map(|step| step.cell("ts"));
    let moments: Vec<u64> = times.filter_map(|time| seconds(&time)).collect();
    let (Some(first), Some(last)) = (moments.iter().min(), moments.iter().max()) else {
        return String::new();
    };
    let span = (last - first).max(1);
    let place = |moment: u64| (moment.clamp(*first, *last) - first) * (WIDTH - 20) / span + 10;
    let at = |step: &Step<'_>, cell: &str| seconds(&step.cell(cell)).map(place);
    let grants: Vec<&Step<'_>> =
        steps.iter().filter(|step| step.is("grant.issued")).take(GRANTS_MAX).collect();
    let height = ROW * (grants.len() as u64 + 2);
    let mut marks = String::new();
    for (row, grant) in (2u64..).zip(&grants) {
        let (Some(from), Some(to)) = (at(grant, "valid_from"), at(grant, "valid_to")) else {
            continue;
        };
        let (y, width) = (row * ROW - 4, (to.saturating_sub(from)).max(2));
        let title = plain(&grant.what);
        let _ = write!(
            marks,
            "<rect x=\"{from}\" y=\"{y}\" width=\"{width}\" height=\"9\" rx=\"2\" \
             fill=\"#4c78a8\"><title>{title}</title></rect>"
        );
    }
    for step in steps {
        let (colour, bottom, width) = match step.cell("kind").as_str() {
            "call.authorized" => ("#2e7d32", ROW, 1),
            "call.denied" => ("#b00020", ROW, 2),
            _ if ends(step) => ("#e08e00", height, 2),
            _ => continue,
        };
        let Some(x) = at(step, "ts") else { continue };
        let title = plain(&format!("{} {}", step.what, step.because()));
        let _ = write!(
            marks,
            "<line x1=\"{x}\" x2=\"{x}\" y1=\"2\" y2=\"{bottom}\" stroke=\"{colour}\" \
             stroke-width=\"{width}\"><title>{title}</title></line>"
        );
    }
    format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">{marks}</svg>")
}

/// Whole seconds of a moment as answers have it: RFC 3339 in UTC.
fn seconds(moment: &str) -> Option<u64> {
    let number = |from: usize, to: usize| moment.get(from..to)?.parse::<u64>().ok();
    let date = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let clock = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    Some(of_utc(date, clock)?.0 / 1_000_000_000)
}

/// A text as HTML shows it and nothing more.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in harmless(text).chars() {
        match c {
            '&' => plain.push_str("&amp;"),
            '<' => plain.push_str("&lt;"),
            '>' => plain.push_str("&gt;"),
            '"' => plain.push_str("&quot;"),
            '\'' => plain.push_str("&#39;"),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use bailiwick_audit::{Column, Table};
    use serde_json::{Value, json};

    use super::*;
    use crate::command::story::steps;

    fn story(rows: Vec<[Value; 6]>) -> Table {
        let names = ["seq", "ts", "kind", "reason", "valid_from", "valid_to"];
        let column = |name: &str| Column { name: name.to_owned(), kind: "text".to_owned() };
        let rows = rows.into_iter().map(Vec::from).collect();
        Table { columns: names.into_iter().map(column).collect(), rows, as_of_seq: Some(9) }
    }

    #[test]
    fn grants_are_bars_calls_are_ticks_and_revocations_are_lines() {
        let moment = |second: u64| json!(format!("2026-01-01T00:00:{second:02}.000000Z"));
        let table = story(vec![
            [json!(1), moment(0), json!("grant.issued"), json!(null), moment(0), moment(30)],
            [json!(2), moment(10), json!("call.authorized"), json!(null), json!(null), json!(null)],
            [
                json!(3),
                moment(20),
                json!("call.denied"),
                json!("forbidden"),
                json!(null),
                json!(null),
            ],
            [
                json!(4),
                moment(30),
                json!("revocation.issued"),
                json!("operator"),
                json!(null),
                json!(null),
            ],
        ]);
        let page = page("bot", &steps(&table), table.as_of_seq);
        assert!(page.contains("<rect x=\"10\" y=\"24\" width=\"940\""), "{page}");
        assert!(page.contains("<line x1=\"323\"") && page.contains("#2e7d32"), "{page}");
        assert!(page.contains("<line x1=\"636\"") && page.contains("#b00020"), "{page}");
        assert!(page.contains("y2=\"42\" stroke=\"#e08e00\""), "{page}");
        assert!(page.contains("4 steps, as of event 9"), "{page}");
    }

    #[test]
    fn nothing_that_an_agent_says_becomes_markup() {
        let said = json!("<script>alert('&\"')</script>\u{202e}");
        let null = json!(null);
        let row = [json!(1), null.clone(), json!("call.denied"), said, null.clone(), null];
        let table = story(vec![row]);
        let page = page("<b>", &steps(&table), None);
        assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(&#39;&amp;&quot;&#39;)"), "{page}");
        assert!(!page.contains("http"), "a page that stands alone loads nothing");
    }

    #[test]
    fn a_story_of_nothing_is_a_page_too() {
        let page = page("bot", &steps(&story(Vec::new())), Some(1));
        assert!(page.contains("0 steps") && !page.contains("<svg"), "{page}");
    }
}
