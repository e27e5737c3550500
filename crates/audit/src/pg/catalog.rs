//! What clients ask about tables, columns and types: small tables under `pg_catalog` and
//! `information_schema`, made of our own tables' columns, in a session that has nothing else.
//!
//! Such questions are the clients' own, long and full of what only `PostgreSQL` knows. `rewrite`
//! makes of them what the engine plans, `functions` has what they call, `tables` what they read, and
//! `known` the few that are answered in other words. What is not on these lists is refused as any
//! other question's would be.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider, SchemaProvider,
};
use datafusion::common::Result;
use datafusion::execution::session_state::SessionState;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, ObjectName, ObjectNamePart, Statement as Ast, Visit, Visitor,
};

use super::fault::Fault;
use crate::budget::Memory;
use crate::guard;
use crate::session;

mod functions;
mod known;
mod rewrite;
mod tables;
mod types;

pub(super) use known::recognised;

/// The schema of `PostgreSQL`'s own tables and functions.
const SYSTEM: &str = "pg_catalog";
/// The standard's.
const STANDARD: &str = "information_schema";

/// Who asks, for questions such as `current_user`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Asker {
    pub(super) user: String,
    /// The session's number.
    pub(super) number: i32,
    pub(super) settings: Vec<(&'static str, String)>,
}

/// A session over the small tables.
pub(super) fn open(asker: &Arc<Asker>, memory: &Memory) -> Result<SessionState> {
    let catalog = MemoryCatalogProvider::new();
    for schema in [SYSTEM, STANDARD] {
        let provider = MemorySchemaProvider::new();
        for (name, table) in tables::of(schema, asker)? {
            provider.register_table(name.to_owned(), table)?;
        }
        catalog.register_schema(schema, Arc::new(provider))?;
    }
    let catalogs = MemoryCatalogProviderList::new();
    catalogs.register_catalog(session::CATALOG.to_owned(), Arc::new(catalog));
    session::about_schema(Arc::new(catalogs), SYSTEM, functions::of(asker), memory)
}

/// Whether a statement asks about the schema: it reads a table of the system's, or none at all and
/// calls a function of the system's.
pub(super) fn is_meant(statement: &Statement) -> bool {
    let Statement::Statement(ast) = statement else { return false };
    if !matches!(ast.as_ref(), Ast::Query(_)) {
        return false;
    }
    let mut reads = Reads::default();
    let ControlFlow::Continue(()) = ast.visit(&mut reads);
    reads.system || (!reads.other && reads.calls)
}

#[derive(Default)]
struct Reads {
    system: bool,
    other: bool,
    calls: bool,
}

impl Visitor for Reads {
    type Break = std::convert::Infallible;

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Self::Break> {
        match parts(relation).iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [.., SYSTEM | STANDARD, _] => self.system = true,
            [name] if name.starts_with("pg_") => self.system = true,
            _ => self.other = true,
        }
        ControlFlow::Continue(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum: others call nothing")]
    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        // Casts to what names a table or type, and a schema that is asked for without brackets.
        self.calls |= match expr {
            Expr::Cast { data_type, .. } => rewrite::names_a_thing(data_type),
            Expr::Identifier(name) => rewrite::is_current_schema(name),
            _ => false,
        };
        if let Expr::Function(function) = expr {
            match parts(&function.name).iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                [SYSTEM, _] => self.calls = true,
                [name] => self.calls |= functions::is_ours(name),
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }
}

/// A name's parts as SQL reads them.
fn parts(name: &ObjectName) -> Vec<String> {
    let part = |part: &ObjectNamePart| match part {
        ObjectNamePart::Identifier(name) => guard::folded(name),
        ObjectNamePart::Function(_) => String::new(),
    };
    name.0.iter().map(part).collect()
}

/// Makes of a question about the schema what the engine plans, if it only reads what is here.
///
/// # Errors
/// [`Fault`] with what is not here.
pub(super) fn admit(statement: Statement) -> std::result::Result<Statement, Fault> {
    let Statement::Statement(mut ast) = statement else {
        return Err(guard::not_a_read("this statement").into());
    };
    rewrite::rewrite(&mut ast);
    let lists = guard::Lists { table: tables::is_known, function: functions::is_offered };
    guard::check_query(&ast, &lists)?;
    Ok(Statement::Statement(ast))
}
