//! The law of every table: whatever columns, condition, order and limit a question has, its
//! answer is what a walk over all rows of the table gives.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use bailiwick_audit::{Audit, Limits, Table};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

use tempfile::TempDir;

use crate::archived::{both, whole};
use crate::story::{Story, wait};
use crate::year::year;

const TABLES: [&str; 10] = [
    "approvals",
    "events",
    "grants",
    "calls",
    "revocations",
    "agents",
    "owners",
    "tasks",
    "policies",
    "findings",
];

/// A walk has all rows, so an answer may have them too.
const EVERYTHING: Limits = Limits { bytes: usize::MAX, ..Limits::INTERACTIVE };

/// Tables, and each of them whole.
struct Ledger {
    audit: Audit,
    _archive: Option<TempDir>,
    tables: BTreeMap<&'static str, Table>,
}

/// Ledgers by size: plans differ with the number of parts, and `events` of the last has several.
/// The last two are mostly in an archive, in several segments, and are walked in memory.
static LEDGERS: LazyLock<[Ledger; 5]> = LazyLock::new(|| {
    [
        ledger(Story::empty()),
        ledger(year(2, 300)),
        ledger(year(1, 12_000)),
        archived(&year(2, 300), 97),
        archived(&year(1, 12_000), 7_000),
    ]
});

fn ledger(story: Story) -> Ledger {
    let audit = story.audit();
    let tables = TABLES.into_iter().map(|name| (name, whole(&audit, name))).collect();
    Ledger { audit, _archive: None, tables }
}

fn archived(story: &Story, each: usize) -> Ledger {
    let (plain, audit, archive) = both(story, each);
    let tables = TABLES.into_iter().map(|name| (name, whole(&plain, name))).collect();
    Ledger { audit, _archive: Some(archive), tables }
}

/// A comparison of a column with nothing or with a value that stands in it.
#[derive(Debug, Clone)]
enum Test {
    IsNull,
    IsNotNull,
    Compared(&'static str, Index),
    Between(Index, Index),
    In(Vec<Index>),
}

/// What rows are ordered by; `true` is downwards.
#[derive(Debug, Clone)]
enum Order {
    Seq(bool),
    Column(Index, bool),
}

/// A question, told by places in a table that is chosen later.
#[derive(Debug, Clone)]
struct Shape {
    columns: Vec<Index>,
    /// Whether the columns get names of their own.
    renamed: bool,
    /// Each on any column, or on one that is selected, and turned round or not.
    conditions: Vec<(Index, bool, Test, bool)>,
    any: bool,
    order: Option<Order>,
    limit: Option<(usize, usize)>,
}

fn test() -> impl Strategy<Value = Test> {
    let op = proptest::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]);
    prop_oneof![
        1 => Just(Test::IsNull),
        2 => Just(Test::IsNotNull),
        4 => (op, any::<Index>()).prop_map(|(op, at)| Test::Compared(op, at)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(low, high)| Test::Between(low, high)),
        1 => proptest::collection::vec(any::<Index>(), 1..4).prop_map(Test::In),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    let order = prop_oneof![
        any::<bool>().prop_map(Order::Seq),
        (any::<Index>(), any::<bool>()).prop_map(|(at, down)| Order::Column(at, down)),
    ];
    let condition =
        (any::<Index>(), proptest::bool::weighted(0.7), test(), proptest::bool::weighted(0.15));
    (
        proptest::collection::vec(any::<Index>(), 0..6),
        proptest::bool::weighted(0.3),
        proptest::collection::vec(condition, 0..4),
        any::<bool>(),
        proptest::option::weighted(0.8, order),
        proptest::option::weighted(0.4, (0usize..60, 0usize..20)),
    )
        .prop_map(|(columns, renamed, conditions, any, order, limit)| Shape {
            columns,
            renamed,
            conditions,
            any,
            order,
            limit,
        })
}

/// A value as SQL writes it; bytes have no comparison that a walk over text has too.
fn literal(kind: &str, value: &Value) -> Option<String> {
    match (kind, value) {
        ("bytea", _) | (_, Value::Null | Value::Array(_) | Value::Object(_)) => None,
        (_, Value::String(text)) => Some(format!("'{}'", text.replace('\'', "''"))),
        (_, Value::Bool(_) | Value::Number(_)) => Some(value.to_string()),
    }
}

fn compared(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            left.as_f64().partial_cmp(&right.as_f64()).unwrap()
        }
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::String(left), Value::String(right)) => left.cmp(right),
        _ => panic!("{left} and {right} are not of one type"),
    }
}

/// Whether a value meets a condition; none when that is unknown.
type Holds = Box<dyn Fn(&Value) -> Option<bool>>;

/// A condition as SQL, and as a walk applies it.
struct Condition {
    column: usize,
    sql: String,
    holds: Holds,
}

fn condition(
    table: &Table,
    selected: &[usize],
    (at, among, test, negated): &(Index, bool, Test, bool),
) -> Option<Condition> {
    let column =
        if *among { selected[at.index(selected.len())] } else { at.index(table.columns.len()) };
    let (name, kind) = (&table.columns[column].name, &table.columns[column].kind);
    let value = |at: &Index| {
        let value = table.rows.get(at.index(table.rows.len().max(1)))?[column].clone();
        Some((literal(kind, &value)?, value))
    };
    let known = |holds: Box<dyn Fn(&Value) -> bool>| -> Holds {
        Box::new(move |value| (!value.is_null()).then(|| holds(value)))
    };
    let (sql, holds): (String, Holds) = match test {
        Test::IsNull => (format!("{name} is null"), Box::new(|value| Some(value.is_null()))),
        Test::IsNotNull => {
            (format!("{name} is not null"), Box::new(|value| Some(!value.is_null())))
        }
        Test::Compared(op, at) => {
            let (text, right) = value(at)?;
            let op = *op;
            let holds = move |left: &Value| match (op, compared(left, &right)) {
                ("=", order) => order.is_eq(),
                ("<>", order) => order.is_ne(),
                ("<", order) => order.is_lt(),
                ("<=", order) => order.is_le(),
                (">", order) => order.is_gt(),
                (_, order) => order.is_ge(),
            };
            (format!("{name} {op} {text}"), known(Box::new(holds)))
        }
        Test::Between(low, high) => {
            let ((low_text, low), (high_text, high)) = (value(low)?, value(high)?);
            let holds = move |value: &Value| {
                compared(value, &low).is_ge() && compared(value, &high).is_le()
            };
            (format!("{name} between {low_text} and {high_text}"), known(Box::new(holds)))
        }
        Test::In(several) => {
            let several: Option<Vec<_>> = several.iter().map(value).collect();
            let (texts, values): (Vec<_>, Vec<_>) = several?.into_iter().unzip();
            let holds =
                move |value: &Value| values.iter().any(|other| compared(value, other).is_eq());
            (format!("{name} in ({})", texts.join(", ")), known(Box::new(holds)))
        }
    };
    if !negated {
        return Some(Condition { column, sql, holds });
    }
    let holds = Box::new(move |value: &Value| holds(value).map(|met| !met));
    Some(Condition { column, sql: format!("not ({sql})"), holds })
}

/// Places of the columns that a question selects.
fn selected(table: &Table, shape: &Shape) -> Vec<usize> {
    let count = table.columns.len();
    let mut places: Vec<usize> = shape.columns.iter().map(|at| at.index(count)).collect();
    if !shape.renamed {
        let mut seen = BTreeSet::new();
        places.retain(|place| seen.insert(*place));
    }
    if places.is_empty() { (0..count).collect() } else { places }
}

/// The question as SQL, and the rows that a walk finds: whole, in order, before the limit.
fn walked<'a>(name: &str, table: &'a Table, shape: &Shape) -> (String, Vec<&'a Vec<Value>>) {
    let places = selected(table, shape);
    let conditions: Vec<Condition> =
        shape.conditions.iter().filter_map(|told| condition(table, &places, told)).collect();
    let mut rows: Vec<&Vec<Value>> = table.rows.iter().collect();
    rows.retain(|row| {
        let mut met = conditions.iter().map(|c| (c.holds)(&row[c.column]) == Some(true));
        if shape.any { conditions.is_empty() || met.any(|met| met) } else { met.all(|met| met) }
    });
    let names = places.iter().map(|place| table.columns[*place].name.clone());
    let columns: Vec<String> = match (shape.columns.is_empty(), shape.renamed) {
        (true, _) => vec!["*".to_owned()],
        (false, false) => names.collect(),
        (false, true) => names.enumerate().map(|(n, name)| format!("{name} as c{n}")).collect(),
    };
    let mut sql = format!("select {} from {name}", columns.join(", "));
    if !conditions.is_empty() {
        let texts: Vec<&str> = conditions.iter().map(|c| c.sql.as_str()).collect();
        sql += " where ";
        sql += &texts.join(if shape.any { " or " } else { " and " });
    }
    if let Some(order) = &shape.order {
        let (column, down, rest) = match order {
            Order::Seq(down) => (0, *down, ""),
            Order::Column(at, down) => (at.index(table.columns.len()), *down, ", seq"),
        };
        let way = if down { "desc" } else { "asc" };
        sql += &format!(" order by {} {way} nulls last{rest}", table.columns[column].name);
        rows.sort_by(|a, b| match (&a[column], &b[column]) {
            (Value::Null, Value::Null) => Ordering::Equal,
            (Value::Null, _) => Ordering::Greater,
            (_, Value::Null) => Ordering::Less,
            (a, b) if down => compared(b, a),
            (a, b) => compared(a, b),
        });
    }
    if let Some((limit, offset)) = shape.limit {
        sql += &format!(" limit {limit} offset {offset}");
    }
    (sql, rows)
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

fn check(size: usize, name: &str, shape: &Shape) -> Result<(), TestCaseError> {
    let Ledger { audit, tables, .. } = &LEDGERS[size];
    let table = &tables[name];
    let (sql, rows) = walked(name, table, shape);
    let answer = wait(audit.run(&sql, &EVERYTHING))
        .map_err(|error| TestCaseError::fail(format!("{sql}: {} {error}", error.code())))?;
    let columns = selected(table, shape);
    let kinds = columns.iter().map(|at| &table.columns[*at].kind);
    prop_assert!(answer.columns.iter().map(|column| &column.kind).eq(kinds), "{}", sql);
    let told = |row: &Vec<Value>| serde_json::to_string(row).unwrap();
    let cells = |row: &&Vec<Value>| columns.iter().map(|at| row[*at].clone()).collect::<Vec<_>>();
    let found: Vec<String> = answer.rows.iter().map(told).collect();
    let all: Vec<String> = rows.iter().map(cells).map(|row| told(&row)).collect();
    let (limit, offset) = shape.limit.unwrap_or((usize::MAX, 0));
    let expected: Vec<String> = all.iter().skip(offset).take(limit).cloned().collect();
    if shape.order.is_some() {
        prop_assert!(found == expected, "{}: {} rows for {}", sql, found.len(), expected.len());
    } else if shape.limit.is_none() {
        prop_assert!(sorted(found) == sorted(expected), "{}", sql);
    } else {
        // Which rows come is free without an order; how many, and that they are rows, is not.
        prop_assert_eq!(found.len(), expected.len(), "{}", &sql);
        let mut left = BTreeMap::<&str, usize>::new();
        all.iter().for_each(|row| *left.entry(row.as_str()).or_default() += 1);
        for row in &found {
            let times = left.get_mut(row.as_str()).filter(|times| **times > 0);
            prop_assert!(times.is_some(), "{}: {} is no row, or comes too often", sql, row);
            times.into_iter().for_each(|times| *times -= 1);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_024, ..ProptestConfig::default() })]

    #[test]
    fn an_answer_is_what_a_walk_over_all_rows_gives(
        size in prop_oneof![1 => Just(0usize), 10 => Just(1), 1 => Just(2), 20 => Just(3), 2 => Just(4)],
        table in proptest::sample::select(TABLES.to_vec()),
        shape in shape(),
    ) {
        check(size, table, &shape)?;
    }
}

#[test]
fn a_question_may_order_by_what_it_does_not_show_and_show_what_it_asks_for() {
    let sql = "select kind, decision, reason, approval_id, approver_id from events
        where approval_id is not null order by seq";
    for (Ledger { audit, tables, .. }, fewest) in LEDGERS.iter().zip([0, 10, 1_000, 10, 1_000]) {
        let answer = wait(audit.run(sql, &EVERYTHING)).unwrap();
        let events = &tables["events"];
        let at = events.columns.iter().position(|c| c.name == "approval_id").unwrap();
        let expected = events.rows.iter().filter(|row| !row[at].is_null()).count();
        assert!(expected >= fewest);
        assert_eq!(answer.rows.len(), expected);
    }
    assert!(LEDGERS[2].tables["events"].rows.len() > 2 * 8_192);
}
