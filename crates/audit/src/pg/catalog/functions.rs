//! What questions about the schema call: `PostgreSQL`'s functions that tell about tables and the
//! session. Each answers row by row; what there is nothing of answers with nothing.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListBuilder, StringArray, StringBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::{Asker, STANDARD, SYSTEM, tables, types};
use crate::guard;

use crate::pg::value::wire_type;
use crate::session;

/// The engine's own functions that are offered here and not over the tables.
const MORE: [&str; 1] = ["replace"];

/// Whether a function's name is one of those here.
pub(super) fn is_ours(name: &str) -> bool {
    LISTED.iter().any(|(known, _)| *known == name)
}

/// Whether a question about the schema may call a function.
pub(super) fn is_offered(name: &str) -> bool {
    is_ours(name) || guard::functions::is_offered(name) || MORE.contains(&name)
}

/// The functions, for one who asks.
pub(super) fn of(asker: &Arc<Asker>) -> Vec<Arc<ScalarUDF>> {
    let function = |(name, what): &(&'static str, What)| {
        let function = Function {
            name,
            what: *what,
            asker: Arc::clone(asker),
            signature: Signature::one_of(
                vec![
                    datafusion::logical_expr::TypeSignature::VariadicAny,
                    datafusion::logical_expr::TypeSignature::Nullary,
                ],
                Volatility::Stable,
            ),
        };
        Arc::new(ScalarUDF::from(function))
    };
    LISTED.iter().map(function).collect()
}

/// What a function answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    /// Nothing, as a text.
    Nothing,
    /// The same text for all.
    Text(&'static str),
    /// The same number for all.
    Number(i64),
    /// Yes or no, for all.
    Flag(bool),
    User,
    SessionNumber,
    /// The schemas that are looked through.
    Schemas,
    /// A setting by its name.
    Setting,
    UserById,
    TypeWords,
    /// What type the argument has.
    TypeOf,
    ClassOid,
    ClassName,
    TypeOid,
    SchemaOid,
    SchemaName,
    /// Whether something of this number is found without its schema.
    Visible,
    /// Whether one may do what the last argument names.
    Privilege,
    Quoted,
    /// A text in single quotes.
    Literal,
    /// A number of bytes in words.
    Size,
    /// The parts of a name.
    Parts,
    /// The last place of a list.
    Upper,
    /// The first place of a list.
    Lower,
    /// A pattern for `like` whose escapes are backslashes.
    Pattern,
}

const LISTED: &[(&str, What)] = &[
    ("version", What::Text("PostgreSQL 15.0 (Bailiwick)")),
    ("current_database", What::Text(session::CATALOG)),
    ("current_catalog", What::Text(session::CATALOG)),
    ("current_schema", What::Text(session::SCHEMA)),
    ("current_schemas", What::Schemas),
    ("current_user", What::User),
    ("session_user", What::User),
    ("current_role", What::User),
    ("user", What::User),
    ("getdatabaseencoding", What::Text("UTF8")),
    ("pg_client_encoding", What::Text("UTF8")),
    ("pg_encoding_to_char", What::Text("UTF8")),
    ("pg_char_to_encoding", What::Number(6)),
    ("current_setting", What::Setting),
    ("pg_backend_pid", What::SessionNumber),
    ("pg_is_in_recovery", What::Flag(false)),
    ("pg_is_wal_replay_paused", What::Flag(false)),
    ("pg_my_temp_schema", What::Number(0)),
    ("pg_is_other_temp_schema", What::Flag(false)),
    ("pg_advisory_unlock_all", What::Nothing),
    ("pg_get_userbyid", What::UserById),
    ("format_type", What::TypeWords),
    ("regtype_name", What::TypeWords),
    ("pg_typeof", What::TypeOf),
    ("to_regclass", What::ClassOid),
    ("regclass_name", What::ClassName),
    ("to_regtype", What::TypeOid),
    ("to_regnamespace", What::SchemaOid),
    ("regnamespace_name", What::SchemaName),
    ("pg_table_is_visible", What::Visible),
    ("pg_type_is_visible", What::Flag(true)),
    ("pg_function_is_visible", What::Flag(true)),
    ("pg_operator_is_visible", What::Flag(true)),
    ("pg_opclass_is_visible", What::Flag(true)),
    ("pg_collation_is_visible", What::Flag(true)),
    ("pg_relation_is_publishable", What::Flag(false)),
    ("pg_relation_is_updatable", What::Number(0)),
    ("pg_column_is_updatable", What::Flag(false)),
    ("has_table_privilege", What::Privilege),
    ("has_column_privilege", What::Privilege),
    ("has_any_column_privilege", What::Privilege),
    ("has_schema_privilege", What::Privilege),
    ("has_database_privilege", What::Privilege),
    ("has_function_privilege", What::Privilege),
    ("has_sequence_privilege", What::Flag(false)),
    ("has_tablespace_privilege", What::Flag(false)),
    ("pg_has_role", What::Flag(false)),
    ("row_security_active", What::Flag(false)),
    ("quote_ident", What::Quoted),
    ("quote_literal", What::Literal),
    ("parse_ident", What::Parts),
    ("obj_description", What::Nothing),
    ("col_description", What::Nothing),
    ("shobj_description", What::Nothing),
    ("pg_get_expr", What::Nothing),
    ("pg_get_constraintdef", What::Nothing),
    ("pg_get_indexdef", What::Nothing),
    ("pg_get_viewdef", What::Nothing),
    ("pg_get_ruledef", What::Nothing),
    ("pg_get_triggerdef", What::Nothing),
    ("pg_get_functiondef", What::Nothing),
    ("pg_get_function_result", What::Nothing),
    ("pg_get_function_arguments", What::Nothing),
    ("pg_get_function_identity_arguments", What::Nothing),
    ("pg_get_partkeydef", What::Nothing),
    ("pg_get_partition_constraintdef", What::Nothing),
    ("pg_get_statisticsobjdef_columns", What::Nothing),
    ("pg_get_serial_sequence", What::Nothing),
    ("pg_tablespace_location", What::Nothing),
    ("pg_options_to_table", What::Nothing),
    ("inet_server_addr", What::Nothing),
    ("inet_client_addr", What::Nothing),
    ("inet_server_port", What::Number(0)),
    ("pg_relation_size", What::Number(0)),
    ("pg_table_size", What::Number(0)),
    ("pg_indexes_size", What::Number(0)),
    ("pg_total_relation_size", What::Number(0)),
    ("pg_database_size", What::Number(0)),
    ("pg_size_pretty", What::Size),
    ("pg_stat_get_numscans", What::Number(0)),
    ("age", What::Number(0)),
    ("like_pattern", What::Pattern),
    ("array_upper", What::Upper),
    ("array_lower", What::Lower),
];

#[derive(Debug, Clone)]
struct Function {
    name: &'static str,
    what: What,
    asker: Arc<Asker>,
    signature: Signature,
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.asker == other.asker
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.what {
            What::Number(_)
            | What::SessionNumber
            | What::ClassOid
            | What::TypeOid
            | What::SchemaOid
            | What::Upper
            | What::Lower => DataType::Int64,
            What::Flag(_) | What::Visible | What::Privilege => DataType::Boolean,
            What::Schemas | What::Parts => {
                DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)))
            }
            What::Nothing
            | What::Text(_)
            | What::User
            | What::Setting
            | What::UserById
            | What::TypeWords
            | What::TypeOf
            | What::ClassName
            | What::SchemaName
            | What::Quoted
            | What::Literal
            | What::Pattern
            | What::Size => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let scalar = |value: ScalarValue| Ok(ColumnarValue::Scalar(value));
        match self.what {
            What::Nothing => scalar(ScalarValue::Utf8(None)),
            What::Text(text) => scalar(ScalarValue::from(text)),
            What::Number(number) => scalar(ScalarValue::from(number)),
            What::Flag(flag) => scalar(ScalarValue::from(flag)),
            What::User => scalar(ScalarValue::from(self.asker.user.as_str())),
            What::SessionNumber => scalar(ScalarValue::from(i64::from(self.asker.number))),
            What::Schemas => scalar(schemas()),
            What::UserById => texts(&arrays, rows, |_| Some(session::CATALOG.to_owned())),
            What::TypeWords => by_number(&arrays, rows, |oid| Some(types::words(oid).to_owned())),
            What::TypeOf => {
                let kind = arrays.first().map_or(DataType::Null, |array| array.data_type().clone());
                let oid = i64::from(wire_type(&kind).oid());
                scalar(ScalarValue::from(types::words(oid)))
            }
            What::ClassName => by_number(&arrays, rows, |oid| {
                let name = tables::class_name(oid);
                Some(name.map_or_else(|| oid.to_string(), str::to_owned))
            }),
            What::SchemaName => by_number(&arrays, rows, |oid| Some(schema_name(oid))),
            What::ClassOid => numbers(&arrays, rows, tables::class_oid),
            What::TypeOid => numbers(&arrays, rows, types::named),
            What::SchemaOid => numbers(&arrays, rows, |name| match name {
                SYSTEM => Some(tables::SYSTEM_OID),
                session::SCHEMA => Some(tables::PUBLIC_OID),
                STANDARD => Some(tables::STANDARD_OID),
                _ => None,
            }),
            What::Setting => {
                let value = |name: &str| {
                    let settings = &self.asker.settings;
                    let known = settings.iter().find(|(known, _)| *known == name);
                    known.map(|(_, value)| value.clone())
                };
                texts(&arrays, rows, value)
            }
            What::Quoted => texts(&arrays, rows, |name| Some(quoted(name))),
            What::Literal => {
                texts(&arrays, rows, |text| Some(format!("'{}'", text.replace('\'', "''"))))
            }
            What::Pattern => {
                let escapes = first_texts(&arrays[1.min(arrays.len())..], rows)?;
                let escape = escapes.iter().next().flatten().and_then(|text| text.chars().next());
                texts(&arrays, rows, |pattern| Some(backslashed(pattern, escape)))
            }
            What::Parts => {
                let mut lists = ListBuilder::new(StringBuilder::new());
                for name in &first_texts(&arrays, rows)? {
                    lists.append_option(name.map(|name| {
                        name.split('.').map(|part| Some(part.replace('"', ""))).collect::<Vec<_>>()
                    }));
                }
                Ok(ColumnarValue::Array(Arc::new(lists.finish())))
            }
            What::Size => by_number(&arrays, rows, |bytes| Some(format!("{bytes} bytes"))),
            What::Visible => flags(&arrays, rows, |oid| {
                oid.parse().is_ok_and(|oid| tables::class_name(oid).is_some())
            }),
            What::Privilege => {
                let last = arrays.last().map(std::slice::from_ref).unwrap_or_default();
                flags(last, rows, |privilege| {
                    let privilege = privilege.to_ascii_lowercase();
                    matches!(privilege.trim(), "select" | "usage" | "connect" | "execute")
                })
            }
            What::Upper => places(&arrays, rows, |length| length),
            What::Lower => places(&arrays, rows, |_| 1),
        }
    }
}

/// The schemas that are looked through for a table.
fn schemas() -> ScalarValue {
    let mut list = ListBuilder::new(StringBuilder::new());
    list.append_value([SYSTEM, session::SCHEMA].map(Some));
    ScalarValue::List(Arc::new(list.finish()))
}

fn schema_name(oid: i64) -> String {
    match oid {
        tables::SYSTEM_OID => SYSTEM.to_owned(),
        tables::PUBLIC_OID => session::SCHEMA.to_owned(),
        tables::STANDARD_OID => STANDARD.to_owned(),
        other => other.to_string(),
    }
}

/// A pattern with backslashes for its escapes, and its own backslashes escaped.
fn backslashed(pattern: &str, escape: Option<char>) -> String {
    let mut made = String::with_capacity(pattern.len());
    for c in pattern.chars() {
        match c {
            c if Some(c) == escape => made.push('\\'),
            '\\' => made.push_str("\\\\"),
            c => made.push(c),
        }
    }
    made
}

/// A name as SQL has to write it.
fn quoted(name: &str) -> String {
    let is_plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if is_plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// The first argument as texts.
fn first_texts(arrays: &[ArrayRef], rows: usize) -> Result<StringArray> {
    match arrays.first() {
        Some(array) => Ok(cast(array, &DataType::Utf8)?.as_string::<i32>().clone()),
        None => Ok(StringArray::new_null(rows)),
    }
}

fn texts(
    arrays: &[ArrayRef],
    rows: usize,
    each: impl Fn(&str) -> Option<String>,
) -> Result<ColumnarValue> {
    let made: StringArray =
        first_texts(arrays, rows)?.iter().map(|text| text.and_then(&each)).collect();
    Ok(ColumnarValue::Array(Arc::new(made)))
}

fn numbers(
    arrays: &[ArrayRef],
    rows: usize,
    each: impl Fn(&str) -> Option<i64>,
) -> Result<ColumnarValue> {
    let made: Int64Array =
        first_texts(arrays, rows)?.iter().map(|text| text.and_then(&each)).collect();
    Ok(ColumnarValue::Array(Arc::new(made)))
}

fn flags(arrays: &[ArrayRef], rows: usize, each: impl Fn(&str) -> bool) -> Result<ColumnarValue> {
    let made: BooleanArray =
        first_texts(arrays, rows)?.iter().map(|text| text.map(&each)).collect();
    Ok(ColumnarValue::Array(Arc::new(made)))
}

fn by_number(
    arrays: &[ArrayRef],
    rows: usize,
    each: impl Fn(i64) -> Option<String>,
) -> Result<ColumnarValue> {
    let Some(array) = arrays.first() else {
        return Ok(ColumnarValue::Array(Arc::new(StringArray::new_null(rows))));
    };
    let numbers = cast(array, &DataType::Int64)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    let made: StringArray = numbers.iter().map(|number| number.and_then(&each)).collect();
    Ok(ColumnarValue::Array(Arc::new(made)))
}

/// A place of each list, from its length; nothing of an empty one.
fn places(arrays: &[ArrayRef], rows: usize, place: impl Fn(i64) -> i64) -> Result<ColumnarValue> {
    let Some(lists) = arrays.first().and_then(|array| array.as_list_opt::<i32>()) else {
        if rows == 0 || arrays.first().is_some_and(|array| array.null_count() == array.len()) {
            return Ok(ColumnarValue::Array(Arc::new(Int64Array::new_null(rows))));
        }
        return exec_err!("the argument is no list");
    };
    let length = |row| (!lists.is_null(row)).then(|| i64::from(lists.value_length(row)));
    let made: Int64Array =
        (0..lists.len()).map(|row| length(row).filter(|length| *length > 0).map(&place)).collect();
    Ok(ColumnarValue::Array(Arc::new(made)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::settings::SERVER_VERSION;

    #[test]
    fn names_are_quoted_where_sql_needs_it() {
        for (name, written) in [("events", "events"), ("Up", "\"Up\""), ("a\"b", "\"a\"\"b\"")] {
            assert_eq!(quoted(name), written);
        }
    }

    #[test]
    fn patterns_are_escaped_by_backslashes() {
        assert_eq!(backslashed("pg/_%", Some('/')), "pg\\_%");
        assert_eq!(backslashed("a\\b", Some('/')), "a\\\\b");
    }

    #[test]
    fn the_version_that_is_told_is_the_one_that_is_kept() {
        let told = LISTED.iter().find(|(name, _)| *name == "version");
        let Some((_, What::Text(text))) = told else { panic!("no version") };
        assert!(text.contains(SERVER_VERSION));
    }
}
