//! Makes of a question about the schema one that the engine plans and that means the same here.
//!
//! What reads a table that never has a row has no rows, whatever else it computes: it is replaced by
//! an empty select, and what a subquery of that kind comes to is known. That takes care of nearly
//! everything that only `PostgreSQL` plans, since it asks about indexes, constraints and the like.
//! The rest are spellings: functions and operators with their schema, collations, and casts to the
//! types that name a table or a type.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::mem;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Array, ArrayElemTypeDef, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentList, FunctionArguments, GroupByExpr, Ident, JoinOperator,
    ObjectName, ObjectNamePart, Query, Select, SelectItem, SelectItemQualifiedWildcardKind,
    SetExpr, Statement, TableFactor, TableWithJoins, Value, VisitMut, VisitorMut,
};

use super::{STANDARD, SYSTEM, parts, tables};
use crate::pg::parameter::list_items;

/// Rewrites a statement in place.
pub(super) fn rewrite(ast: &mut Statement) {
    let ControlFlow::Continue(()) = ast.visit(&mut Rewrite);
    if let Statement::Query(query) = ast {
        name_columns(&mut query.body);
    }
}

struct Rewrite;

type Next = ControlFlow<Infallible>;

impl VisitorMut for Rewrite {
    type Break = Infallible;

    fn post_visit_select(&mut self, select: &mut Select) -> Next {
        write_out(select);
        if is_emptied(select) || !select.from.iter().any(is_empty_source) || sums_up(select) {
            return ControlFlow::Continue(());
        }
        if let Some(names) = names(&select.projection) {
            let item = |name| SelectItem::ExprWithAlias { expr: null(), alias: name };
            select.projection = names.into_iter().map(item).collect();
            select.from = Vec::new();
            select.selection = Some(flag(false));
            select.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
            select.having = None;
            select.distinct = None;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> Next {
        if is_empty(query) {
            query.order_by = None;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> Next {
        rewrite_expr(expr);
        ControlFlow::Continue(())
    }
}

/// Writes out `c.*` where `c` is a table that is known, beside other columns of the same name.
fn write_out(select: &mut Select) {
    if select.projection.len() == 1 {
        return;
    }
    let mut items = Vec::with_capacity(select.projection.len());
    for item in mem::take(&mut select.projection) {
        match columns_of(&item, &select.from) {
            Some(columns) => items.extend(columns.map(SelectItem::UnnamedExpr)),
            None => items.push(item),
        }
    }
    select.projection = items;
}

/// The columns that `c.*` stands for.
fn columns_of(
    item: &SelectItem,
    from: &[TableWithJoins],
) -> Option<impl Iterator<Item = Expr> + use<>> {
    let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(of), _) = item
    else {
        return None;
    };
    let [ObjectNamePart::Identifier(of)] = of.0.as_slice() else { return None };
    let of = of.clone();
    let relations = from.iter().flat_map(|source| {
        source.joins.iter().map(|join| &join.relation).chain([&source.relation])
    });
    let columns = relations.filter_map(|table| {
        let TableFactor::Table { name, alias, .. } = table else { return None };
        let parts = parts(name);
        let known = alias.as_ref().map(|alias| crate::guard::folded(&alias.name));
        let known = known.or_else(|| parts.last().cloned())?;
        (known == crate::guard::folded(&of)).then(|| tables::columns_of(&parts)).flatten()
    });
    let columns: Vec<&'static str> = columns.flatten().collect();
    (!columns.is_empty()).then(|| {
        columns
            .into_iter()
            .map(move |column| Expr::CompoundIdentifier(vec![of.clone(), Ident::new(column)]))
    })
}

fn null() -> Expr {
    Expr::Value(Value::Null.into())
}

fn flag(value: bool) -> Expr {
    Expr::Value(Value::Boolean(value).into())
}

/// Whether a select is one that was found to have no rows.
fn is_emptied(select: &Select) -> bool {
    let no = matches!(&select.selection, Some(Expr::Value(v)) if v.value == Value::Boolean(false));
    no && select.from.is_empty()
}

fn is_empty(query: &Query) -> bool {
    is_empty_body(&query.body)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum: others may have rows")]
fn is_empty_body(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => is_emptied(select),
        SetExpr::Query(query) => is_empty(query),
        SetExpr::SetOperation { left, right, .. } => is_empty_body(left) && is_empty_body(right),
        _ => false,
    }
}

/// Whether a table with what is joined to it has no rows.
fn is_empty_source(source: &TableWithJoins) -> bool {
    let mut empty = is_empty_table(&source.relation);
    for join in &source.joins {
        let right = is_empty_table(&join.relation);
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the parser's enum: rows may come of others"
        )]
        {
            empty = match join.join_operator {
                JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_) => {
                    empty || right
                }
                JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => empty,
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) => right,
                JoinOperator::FullOuter(_) => empty && right,
                _ => false,
            };
        }
    }
    empty
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum: others may have rows")]
fn is_empty_table(table: &TableFactor) -> bool {
    match table {
        TableFactor::Table { name, args: None, .. } => tables::is_empty(&parts(name)),
        TableFactor::Derived { subquery, .. } => is_empty(subquery),
        TableFactor::NestedJoin { table_with_joins, .. } => is_empty_source(table_with_joins),
        _ => false,
    }
}

/// Whether a select has a row even of nothing: it counts or sums up without groups.
fn sums_up(select: &Select) -> bool {
    const AGGREGATES: [&str; 9] =
        ["count", "sum", "min", "max", "avg", "array_agg", "string_agg", "bool_and", "bool_or"];
    let ungrouped = matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    let is_aggregate = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(Expr::Function(f))
        | SelectItem::ExprWithAlias { expr: Expr::Function(f), .. } => {
            f.over.is_none()
                && parts(&f.name).last().is_some_and(|name| AGGREGATES.contains(&name.as_str()))
        }
        SelectItem::UnnamedExpr(_)
        | SelectItem::ExprWithAlias { .. }
        | SelectItem::ExprWithAliases { .. }
        | SelectItem::QualifiedWildcard(..)
        | SelectItem::Wildcard(_) => false,
    };
    ungrouped && select.projection.iter().any(is_aggregate)
}

/// The names of a select's columns, each once; none where they are not written out.
fn names(projection: &[SelectItem]) -> Option<Vec<Ident>> {
    let mut taken = BTreeSet::new();
    let mut names = Vec::with_capacity(projection.len());
    for item in projection {
        let name = match item {
            SelectItem::UnnamedExpr(expr) => Ident::with_quote('"', name_of(expr)),
            SelectItem::ExprWithAlias { alias, .. } => alias.clone(),
            SelectItem::ExprWithAliases { .. }
            | SelectItem::QualifiedWildcard(..)
            | SelectItem::Wildcard(_) => return None,
        };
        names.push(once(name, &mut taken));
    }
    Some(names)
}

/// A name that none of those before has.
fn once(name: Ident, taken: &mut BTreeSet<String>) -> Ident {
    let plain = crate::guard::folded(&name);
    let mut number = 1;
    let mut tried = plain.clone();
    while !taken.insert(tried.clone()) {
        number += 1;
        tried = format!("{plain}_{number}");
    }
    if tried == plain { name } else { Ident::with_quote('"', tried) }
}

/// The name that `PostgreSQL` gives a column that was given none.
#[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum: others have no name")]
fn name_of(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(name) => crate::guard::folded(name),
        Expr::CompoundIdentifier(names) => {
            names.last().map(crate::guard::folded).unwrap_or_default()
        }
        Expr::Function(function) => parts(&function.name).pop().unwrap_or_default(),
        Expr::Cast { expr, data_type, .. } => match name_of(expr) {
            name if name == "?column?" => data_type.to_string().to_ascii_lowercase(),
            name => name,
        },
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => name_of(inner),
        Expr::Case { .. } => "case".to_owned(),
        Expr::Exists { .. } => "exists".to_owned(),
        _ => "?column?".to_owned(),
    }
}

/// Names the columns of the answer, which the engine would name after how they are computed.
#[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum: others name nothing")]
fn name_columns(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            let Some(names) = names(&select.projection) else { return };
            for (item, name) in select.projection.iter_mut().zip(names) {
                match item {
                    SelectItem::UnnamedExpr(expr) => {
                        let is_plain =
                            matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
                        if !is_plain || name.value != name_of(expr) {
                            let expr = mem::replace(expr, null());
                            *item = SelectItem::ExprWithAlias { expr, alias: name };
                        }
                    }
                    SelectItem::ExprWithAlias { alias, .. } => *alias = name,
                    _ => {}
                }
            }
        }
        SetExpr::Query(query) => name_columns(&mut query.body),
        SetExpr::SetOperation { left, right, .. } => {
            name_columns(left);
            name_columns(right);
        }
        _ => {}
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum: others stay as they are")]
fn rewrite_expr(expr: &mut Expr) {
    match expr {
        Expr::Subquery(query) if is_empty(query) => *expr = null(),
        Expr::Subquery(query) => at_most_one(query),
        Expr::Exists { subquery, negated } if is_empty(subquery) => *expr = flag(*negated),
        Expr::InSubquery { subquery, negated, .. } if is_empty(subquery) => *expr = flag(*negated),
        Expr::Function(function) => {
            if matches!(&function.args, FunctionArguments::Subquery(query) if is_empty(query)) {
                *expr = Expr::Array(Array { elem: Vec::new(), named: true });
                return;
            }
            if let [ObjectNamePart::Identifier(schema), _] = function.name.0.as_slice()
                && crate::guard::folded(schema) == SYSTEM
            {
                function.name.0.remove(0);
            }
        }
        Expr::BinaryOp { op, .. } => {
            if let BinaryOperator::PGCustomBinaryOperator(names) = op {
                *op = match names.last().map(String::as_str) {
                    Some("~") => BinaryOperator::PGRegexMatch,
                    Some("~*") => BinaryOperator::PGRegexIMatch,
                    Some("!~") => BinaryOperator::PGRegexNotMatch,
                    Some("!~*") => BinaryOperator::PGRegexNotIMatch,
                    Some("~~") => BinaryOperator::PGLikeMatch,
                    Some("=") => BinaryOperator::Eq,
                    Some("<>") => BinaryOperator::NotEq,
                    _ => return,
                };
            }
        }
        Expr::Identifier(name) if is_current_schema(name) => {
            *expr = call("current_schema", Vec::new());
        }
        // The engine knows the backslash alone.
        Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
            if let Some(escape) = escape_char.take() {
                let bare = mem::replace(pattern.as_mut(), null());
                **pattern = call("like_pattern", vec![bare, Expr::Value(escape)]);
            }
        }
        Expr::Collate { expr: inner, .. } => *expr = mem::replace(inner.as_mut(), null()),
        Expr::Cast { expr: inner, data_type, kind, .. } => {
            let inner = mem::replace(inner.as_mut(), null());
            let data_type = data_type.clone();
            *expr = cast(kind.clone(), inner, data_type);
        }
        _ => {}
    }
}

/// A subquery that stands for a value has one row at most here, since names and numbers are used
/// once; the engine wants to see that.
fn at_most_one(query: &mut Query) {
    if query.limit_clause.is_some() {
        return;
    }
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    if sums_up(select) || select.from.is_empty() {
        return;
    }
    if let [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] =
        select.projection.as_mut_slice()
    {
        let inner = mem::replace(expr, null());
        *expr = call("max", vec![inner]);
        query.order_by = None;
    }
}

fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let argument = |argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument));
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments.into_iter().map(argument).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// Whether a type's values are names of tables, types and the like.
pub(super) fn names_a_thing(data_type: &DataType) -> bool {
    matches!(
        type_name(data_type).as_str(),
        "regclass" | "regtype" | "regnamespace" | "regrole" | "regproc" | "regprocedure"
    )
}

/// Whether a name asks for the schema, which is called without brackets too.
pub(super) fn is_current_schema(name: &Ident) -> bool {
    name.quote_style.is_none() && name.value.eq_ignore_ascii_case("current_schema")
}

/// A cast to a type as the engine knows it. Those that name a thing become its number where a text
/// is cast, and its name where a number is.
fn cast(kind: CastKind, inner: Expr, data_type: DataType) -> Expr {
    if let Some(list) = list(&inner, &data_type) {
        return list;
    }
    let is_text = is_text(&inner);
    let named =
        |number: &str, name: &str| call(if is_text { number } else { name }, vec![inner.clone()]);
    match type_name(&data_type).as_str() {
        "regclass" => named("to_regclass", "regclass_name"),
        "regtype" => named("to_regtype", "regtype_name"),
        "regnamespace" => named("to_regnamespace", "regnamespace_name"),
        "regrole" => call("pg_get_userbyid", vec![inner]),
        // A function is known by its name alone here.
        "regproc" | "regprocedure" | "regoper" | "regoperator" => {
            let Expr::Value(value) = &inner else { return inner };
            let text = value.value.clone().into_string().unwrap_or_default();
            let bare = text.rsplit('.').next().unwrap_or_default().to_owned();
            Expr::Value(Value::SingleQuotedString(bare).into())
        }
        _ => Expr::Cast {
            kind,
            expr: Box::new(inner),
            data_type: plain_type(data_type),
            array: false,
            format: None,
        },
    }
}

/// `'{a,b}'::text[]` as the list that it stands for.
fn list(inner: &Expr, data_type: &DataType) -> Option<Expr> {
    let (Expr::Value(value), DataType::Array(_)) = (inner, data_type) else { return None };
    let Value::SingleQuotedString(text) = &value.value else { return None };
    let items = list_items(text)?;
    let item = |item: Option<String>| {
        item.map_or_else(null, |item| Expr::Value(Value::SingleQuotedString(item).into()))
    };
    Some(Expr::Array(Array { elem: items.into_iter().map(item).collect(), named: true }))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum: others may be numbers")]
fn is_text(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => matches!(
            value.value,
            Value::SingleQuotedString(_) | Value::Placeholder(_) | Value::Null
        ),
        Expr::Cast { data_type, .. } => {
            matches!(data_type, DataType::Text | DataType::Varchar(_))
        }
        Expr::Nested(inner) => is_text(inner),
        _ => false,
    }
}

/// A type's name without its schema.
fn type_name(data_type: &DataType) -> String {
    let name = data_type.to_string().to_ascii_lowercase().replace('"', "");
    let bare = name.strip_prefix(SYSTEM).or_else(|| name.strip_prefix(STANDARD));
    bare.and_then(|bare| bare.strip_prefix('.')).unwrap_or(&name).to_owned()
}

/// A type that the engine knows, for one that only `PostgreSQL` does.
fn plain_type(data_type: DataType) -> DataType {
    if let DataType::Array(ArrayElemTypeDef::SquareBracket(item, size)) = data_type {
        return DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(plain_type(*item)), size));
    }
    match type_name(&data_type).as_str() {
        "name" | "char" | "text" | "varchar" | "bpchar" | "sql_identifier" | "character_data"
        | "yes_or_no" | "time_stamp" | "json" | "jsonb" | "uuid" | "pg_node_tree" | "anyarray"
        | "aclitem" | "int2vector" | "oidvector" | "cstring" | "unknown" => DataType::Text,
        "oid" | "xid" | "cid" | "int8" | "bigint" | "cardinal_number" => DataType::BigInt(None),
        "int4" | "int" | "integer" => DataType::Integer(None),
        "int2" | "smallint" => DataType::SmallInt(None),
        "bool" => DataType::Boolean,
        "float8" => DataType::DoublePrecision,
        _ => data_type,
    }
}
