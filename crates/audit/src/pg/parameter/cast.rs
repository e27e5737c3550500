//! Types of parameters that a statement tells by how it is written: `$1::timestamptz` says what
//! `$1` is, and `= any($1)` that it is a list.

use std::collections::HashMap;
use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType, Expr, TimezoneInfo, Value, Visit, Visitor,
};
use pgwire::api::Type;

/// The type of each parameter whose first use tells it.
pub(in crate::pg) fn cast_types(statement: &Statement) -> HashMap<String, Type> {
    let mut casts = Casts::default();
    if let Statement::Statement(ast) = statement {
        let ControlFlow::Continue(()) = ast.visit(&mut casts);
    }
    casts.0
}

#[derive(Default)]
struct Casts(HashMap<String, Type>);

impl Visitor for Casts {
    type Break = Infallible;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        if let Expr::Cast { expr, data_type, .. } = expr
            && let Expr::Value(value) = expr.as_ref()
            && let Value::Placeholder(name) = &value.value
            && let Some(kind) = wire_type(data_type)
        {
            self.0.entry(name.clone()).or_insert(kind);
        }
        // Drivers that send numbers in a list say so; those that send texts leave it open.
        if let Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } = expr
            && let Expr::Value(value) = right.as_ref()
            && let Value::Placeholder(name) = &value.value
        {
            self.0.entry(name.clone()).or_insert(Type::TEXT_ARRAY);
        }
        ControlFlow::Continue(())
    }
}

/// The wire's type for one that is written in SQL; none where another says it as well.
#[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum: others are read as text")]
fn wire_type(data_type: &DataType) -> Option<Type> {
    Some(match data_type {
        DataType::SmallInt(_) | DataType::Int2(_) => Type::INT2,
        DataType::Int(_) | DataType::Int4(_) | DataType::Integer(_) => Type::INT4,
        DataType::BigInt(_) | DataType::Int8(_) => Type::INT8,
        DataType::Real | DataType::Float4 => Type::FLOAT4,
        DataType::DoublePrecision | DataType::Float8 => Type::FLOAT8,
        DataType::Numeric(_) | DataType::Decimal(_) => Type::NUMERIC,
        DataType::Bool | DataType::Boolean => Type::BOOL,
        DataType::Text | DataType::Varchar(_) => Type::TEXT,
        DataType::Bytea => Type::BYTEA,
        DataType::Date => Type::DATE,
        DataType::Timestamp(_, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => Type::TIMESTAMPTZ,
        DataType::Timestamp(..) => Type::TIMESTAMP,
        DataType::Array(ArrayElemTypeDef::SquareBracket(item, _)) => match wire_type(item)? {
            Type::TEXT => Type::TEXT_ARRAY,
            Type::INT2 => Type::INT2_ARRAY,
            Type::INT4 => Type::INT4_ARRAY,
            Type::INT8 => Type::INT8_ARRAY,
            Type::FLOAT8 => Type::FLOAT8_ARRAY,
            Type::BOOL => Type::BOOL_ARRAY,
            Type::TIMESTAMPTZ => Type::TIMESTAMPTZ_ARRAY,
            _ => return None,
        },
        _ => return None,
    })
}
