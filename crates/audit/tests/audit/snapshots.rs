//! Many rows, several parts, and questions asked while events arrive.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bailiwick_core::event::{DenialCode, Outcome, Selector};
use bailiwick_core::time::Span;

use crate::story::{READ_CASE, Story, Terms, ask, audit, call, lines};

/// Calls one after another, each finished: 4 events a round, over several parts.
fn busy(rounds: usize) -> Story {
    busier(Story::begin(), rounds)
}

fn busier(mut story: Story, rounds: usize) -> Story {
    for _ in 0..rounds {
        let grant = story.grant(&Terms { ttl: Span::days(1), ..READ_CASE });
        let allowed = story.allow(grant, call("crm/read_case", "crm://case/1234"), 9);
        story.deny(call("crm/delete_case", "crm://case/1234"), DenialCode::Forbidden, Some(grant));
        story.finish(allowed, Outcome::Ok);
    }
    story
}

#[test]
fn rows_of_all_parts_are_found_by_range_and_in_order() {
    let story = busy(5_000);
    let audit = story.audit();
    let count = story.events.len();
    assert!(count > 2 * 8_192);
    let seqs: Vec<String> = (8_190..8_195).map(|n| format!("[{n}]")).collect();
    assert_eq!(
        lines(&audit, "select seq from events where seq >= 8190 and seq < 8195 order by seq"),
        seqs
    );
    assert_eq!(
        lines(&audit, "select seq from events where seq between 8190 and 8194 order by seq"),
        seqs
    );
    assert_eq!(
        lines(&audit, "select count(*), min(seq), max(seq) from events"),
        [format!("[{count},0,{}]", count - 1)]
    );
    assert_eq!(
        lines(&audit, "select seq from events order by seq desc limit 2"),
        [format!("[{}]", count - 1), format!("[{}]", count - 2)]
    );
    assert_eq!(
        lines(&audit, "select seq from events order by seq limit 1 offset 16384"),
        ["[16384]"]
    );
    assert_eq!(
        lines(&audit, "select count(*) from events where ts < '2026-01-01T00:00:10Z'"),
        ["[10]"]
    );
    assert_eq!(
        lines(&audit, "select count(*) from events where ts >= timestamp '2026-01-01T00:00:10Z'"),
        [format!("[{}]", count - 10)]
    );
    assert_eq!(lines(&audit, "select count(*) from calls where outcome = 'ok'"), ["[5000]"]);
    assert_eq!(lines(&audit, "select sum(uses), sum(denied) from grants"), ["[5000,5000]"]);
    assert_eq!(
        lines(
            &audit,
            "select count(*) from calls c join grants g on g.grant_id = c.grant_id and c.seq > g.seq"
        ),
        ["[10000]"]
    );
}

#[test]
fn late_news_changes_a_row_of_a_full_part() {
    let mut story = Story::begin();
    let first = story.grant(&Terms { ttl: Span::days(1), ..READ_CASE });
    let running = story.allow(first, call("crm/read_case", "crm://case/1234"), 9);
    let mut story = busier(story, 4_999);
    let before = story.audit();
    assert_eq!(lines(&before, "select count(*) from grants where ended_by = 'revoked'"), ["[0]"]);
    story.revoke(Selector::Grant(first), false);
    story.finish(running, Outcome::NotDelivered);
    story.revoke(Selector::All, true);
    let seen = story.events.len() - 3;
    before.ingest(1, &story.events[seen..]).unwrap();
    assert_eq!(
        lines(&before, "select ended_by, count(*), min(ended_seq) from grants group by 1"),
        [format!(r#"["revoked",5000,{seen}]"#)]
    );
    let outcome = format!("select outcome from calls where seq = {}", running.0);
    assert_eq!(lines(&before, &outcome), [r#"["not_delivered"]"#]);
}

#[test]
fn an_answer_given_while_events_arrive_is_of_one_moment() {
    let story = Arc::new(busy(3_000));
    let tables = Arc::new(audit());
    let done = Arc::new(AtomicBool::new(false));
    let feeder = std::thread::spawn({
        let (story, tables, done) = (Arc::clone(&story), Arc::clone(&tables), Arc::clone(&done));
        move || {
            for (entry, events) in story.events.chunks(7).enumerate() {
                tables.ingest(entry as u64, events).unwrap();
            }
            done.store(true, Ordering::SeqCst);
        }
    });
    let sql = "select (select count(*) from events) a, (select max(seq) from events) b,
        (select count(*) from grants) c, (select count(*) from calls) d,
        (select count(*) from calls where outcome is not null) e,
        (select sum(uses) from grants) f, (select sum(denied) from grants) g";
    let mut moments = 0;
    loop {
        let last = done.load(Ordering::SeqCst);
        let answer = ask(&tables, sql).unwrap();
        let Some(as_of) = answer.as_of_seq else { continue };
        let told: Vec<u64> =
            answer.rows[0].iter().map(|value| value.as_u64().unwrap_or_default()).collect();
        // After three events of the beginning, rounds of grant, call, denial, finish.
        let within = (as_of + 1).saturating_sub(3);
        let (rounds, left) = (within / 4, within % 4);
        let grants = rounds + u64::from(left > 0);
        let allowed = rounds + u64::from(left > 1);
        let denied = rounds + u64::from(left > 2);
        let expected = [as_of + 1, as_of, grants, allowed + denied, rounds, allowed, denied];
        assert_eq!(told, expected, "as of {as_of}");
        moments += 1;
        if last {
            break;
        }
    }
    feeder.join().unwrap();
    assert!(moments > 0);
    assert_eq!(tables.ingested(), Some(story.events.len() as u64 - 1));
}
