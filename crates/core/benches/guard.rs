//! What an enforcement point pays for looking at a receipt: the gate does it for every call that
//! starts and, after every item, for every call that runs.
#![expect(clippy::unwrap_used, reason = "a bench may stop at what cannot happen")]

use std::hint::black_box;
use std::str::FromStr;

use bailiwick_core::enforce::{Guard, Held, LEASE, Monotonic, Nonce, Subject};
use bailiwick_core::event::{Actor, Selector};
use bailiwick_core::feed::Item;
use bailiwick_core::id::{GrantId, TaskId};
use bailiwick_core::record::hash::Link;
use bailiwick_core::time::{Span, Time};
use criterion::{Criterion, criterion_group, criterion_main};

/// Selectors that the guard has heard of.
const NARROWED: u64 = 10_000;
/// Segments of the resource; each may be named with its last slash or without it.
const SEGMENTS: usize = 16;

criterion_group!(benches, look);
criterion_main!(benches);

fn look(c: &mut Criterion) {
    let mut group = c.benchmark_group("guard, 10,000 narrowed selectors, 16 segments");
    let now = Monotonic(0).after(Span(500));
    let guard = guard();
    // From before all of the items: each name of the call is looked up.
    let early = held(0);
    assert_eq!(guard.may_start(&early, now), Ok(()));
    group.bench_function("may_start", |b| {
        b.iter(|| black_box(&guard).may_start(black_box(&early), black_box(now)));
    });
    group.bench_function("may_go_on", |b| {
        b.iter(|| black_box(&guard).may_go_on(black_box(&early), black_box(now)));
    });
    let late = held(NARROWED + 1);
    assert_eq!(guard.may_start(&late, now), Ok(()));
    group.bench_function("may_start, nothing heard since", |b| {
        b.iter(|| black_box(&guard).may_start(black_box(&late), black_box(now)));
    });
    group.bench_function("make a receipt ready", |b| b.iter(|| held(black_box(0))));
    group.finish();
}

/// A guard that has heard of 10,000 selectors, half of them resources beside the one asked about.
fn guard() -> Guard {
    let mut guard = Guard::new(LEASE);
    guard.stands_at(0, Monotonic(0));
    for number in 1..=NARROWED {
        let selector = match number % 8 {
            0 => Selector::Grant(GrantId(1_000_000 + number)),
            1 => Selector::Agent(id(&format!("agent-{number:0>6}"))),
            2 => Selector::Task(TaskId(1_000_000 + number)),
            3 => Selector::Tool(id(&format!("crm/tool-{number:0>6}"))),
            _ => Selector::Resource(id(&format!("{}{number:0>6}", resource(SEGMENTS - 1)))),
        };
        guard.hear(&item(number, selector), Monotonic(0));
    }
    guard.pinged(Nonce(1), Monotonic(0));
    assert!(guard.ponged(Nonce(1), NARROWED));
    guard
}

fn held(index: u64) -> Held {
    let subject = Subject {
        grant: GrantId(7),
        agent: Some(&id("agent-x")),
        owner: Some(&id("alice")),
        task: Some(TaskId(8)),
        tool: Some(&id("crm/read_case")),
        action: &id("crm/read_case"),
        resource: &id(&resource(SEGMENTS)),
    };
    Held::new(index, Monotonic(0), &subject)
}

fn resource(segments: usize) -> String {
    let segments: String = (1..segments).map(|n| format!("folder-{n}/")).collect();
    format!("crm://{segments}x")
}

fn item(number: u64, selector: Selector) -> Item {
    Item {
        number,
        index: number,
        link: Link([0; 32]),
        time: Time(number),
        kind: "revocation.issued".to_owned(),
        selector,
        suspend: true,
        reason_code: None,
        reason: None,
        by: Actor::System,
        cause: None,
    }
}

fn id<T: FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}
