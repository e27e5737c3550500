//! How often a question reads its tables, once every query that a `with` clause names stands where it
//! is read: that is how the planner sees it, so that thirty names that each read the one before
//! twice are a plan of a thousand million steps.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ObjectName, ObjectNamePart, Query, Statement as Ast, Visit, Visitor,
};

use super::{TABLES_MAX, folded, too_deep};
use crate::error::Error;

/// More than any question may read, and few enough to be added up.
const MANY: i64 = 1_000_000;

/// Lets a statement pass that reads at most [`TABLES_MAX`] tables. Its `with` clauses nest no deeper
/// than they may: each level is counted twice.
///
/// # Errors
/// [`Error::Refused`] with how many it reads.
pub(super) fn check(ast: &Ast) -> Result<(), Error> {
    let mut reads = Reads::default();
    let ControlFlow::Continue(()) = ast.visit(&mut reads);
    if reads.count <= TABLES_MAX as i64 {
        return Ok(());
    }
    let message = format!(
        "the statement reads more than {TABLES_MAX} tables, a query that is named by `with` counted \
         as often as it is read"
    );
    Err(too_deep(message))
}

#[derive(Default)]
struct Reads {
    count: i64,
    /// What the queries read that have a name; the most where several have the same.
    named: BTreeMap<String, i64>,
}

impl Visitor for Reads {
    type Break = Infallible;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Infallible> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let mut inner = Self { count: 0, named: std::mem::take(&mut self.named) };
            let ControlFlow::Continue(()) = cte.query.visit(&mut inner);
            self.named = inner.named;
            let reads = self.named.entry(folded(&cte.alias.name)).or_default();
            *reads = inner.count.clamp(*reads, MANY);
            // It is walked through once more, as a part of this query, where nobody reads it.
            self.count -= inner.count.min(MANY);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Infallible> {
        let name = match relation.0.as_slice() {
            [ObjectNamePart::Identifier(name)] => self.named.get(&folded(name)),
            _ => None,
        };
        self.count = (self.count + name.map_or(1, |reads| (*reads).max(1))).min(2 * MANY);
        ControlFlow::Continue(())
    }
}
