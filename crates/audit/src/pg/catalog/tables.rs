//! The small tables. Each has the columns that clients read, and rows made of our own tables; most
//! have no rows, since there are no indexes, constraints, triggers and the like here.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Int64Array, ListBuilder, RecordBatch, StringArray,
    StringBuilder, new_empty_array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use pgwire::api::Type;

use super::{Asker, STANDARD, SYSTEM, types};
use crate::pg::value::{type_bytes, wire_type};
use crate::session;
use crate::store::Store;

mod listed;

use listed::{EMPTY, FILLED};

/// Numbers of the schemas, as `PostgreSQL` has them.
pub(super) const SYSTEM_OID: i64 = 11;
pub(super) const PUBLIC_OID: i64 = 2_200;
pub(super) const STANDARD_OID: i64 = 13_000;
/// The owner of everything.
pub(super) const OWNER_OID: i64 = 10;
/// The one database.
const DATABASE_OID: i64 = 16_384;
/// The way in which tables are kept, as clients know one.
const HEAP_OID: i64 = 2;
/// The first of our tables.
const FIRST_OID: i64 = 16_400;
/// `pg_class`'s own number, by which other tables refer to it.
const CLASS_OID: i64 = 1_259;

/// One of our tables as it is listed.
pub(super) struct Ours {
    pub(super) oid: i64,
    pub(super) name: &'static str,
    pub(super) schema: SchemaRef,
}

/// Our tables, of which the columns are always the same.
pub(super) static OURS: LazyLock<Vec<Ours>> = LazyLock::new(|| {
    let mut tables = Store::new().snapshot(bailiwick_core::time::Time(0)).tables;
    tables.sort_by_key(|(name, _)| *name);
    let ours = |(oid, (name, table)): (i64, (&'static str, Arc<dyn TableProvider>))| Ours {
        oid,
        name,
        schema: table.schema(),
    };
    (FIRST_OID..).zip(tables).map(ours).collect()
});

/// A cell of a small table.
#[derive(Debug, Clone, PartialEq)]
enum Cell {
    Int(i64),
    Flag(bool),
    Text(String),
}

impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

/// A row: what is not in it has its type's nothing.
type Row = BTreeMap<&'static str, Cell>;

macro_rules! row {
    ($($column:ident: $value:expr),+ $(,)?) => {
        BTreeMap::from([$((stringify!($column), Cell::from($value))),+])
    };
}

/// Whether there is a table of this name, with its schema or without.
pub(super) fn is_known(parts: &[&str]) -> bool {
    let is_listed = |schema: &str, name: &str| {
        let all = FILLED.iter().chain(EMPTY);
        all.into_iter().any(|(known, table, _)| *known == schema && *table == name)
    };
    match parts {
        [name] => is_listed(SYSTEM, name),
        [session::CATALOG, schema, name] | [schema, name] => is_listed(schema, name),
        _ => false,
    }
}

/// A table's columns, whether it has its schema or not.
pub(super) fn columns_of(parts: &[String]) -> Option<impl Iterator<Item = &'static str> + use<>> {
    let (schema, name) = match parts {
        [name] => (SYSTEM, name.as_str()),
        [.., schema, name] => (schema.as_str(), name.as_str()),
        [] => return None,
    };
    let mut all = FILLED.iter().chain(EMPTY);
    let (.., columns) = all.find(|(known, table, _)| *known == schema && *table == name)?;
    let bare = |column: &'static str| column.split_once(':').map_or(column, |(name, _)| name);
    Some(columns.split_whitespace().map(bare))
}

/// Whether a table, with its schema or without, never has a row.
pub(super) fn is_empty(parts: &[String]) -> bool {
    let (schema, name) = match parts {
        [name] => (SYSTEM, name.as_str()),
        [.., schema, name] => (schema.as_str(), name.as_str()),
        [] => return false,
    };
    EMPTY.iter().any(|(known, table, _)| *known == schema && *table == name)
}

/// The tables of a schema.
pub(super) fn of(
    schema: &str,
    asker: &Asker,
) -> Result<Vec<(&'static str, Arc<dyn TableProvider>)>> {
    let listed = FILLED.iter().chain(EMPTY).filter(|(known, ..)| *known == schema);
    let made = listed.map(|(schema, name, columns)| {
        let fields: Vec<Field> = columns.split_whitespace().map(field).collect();
        let table = Arc::new(Schema::new(fields));
        let rows = rows(schema, name, asker);
        let arrays: Vec<ArrayRef> = table.fields().iter().map(|f| column(f, &rows)).collect();
        let batch = RecordBatch::try_new(Arc::clone(&table), arrays)?;
        let provider: Arc<dyn TableProvider> =
            Arc::new(MemTable::try_new(table, vec![vec![batch]])?);
        Ok((*name, provider))
    });
    made.collect()
}

/// `name:type` with `i` for integers, `b` for flags, `f` for floats, `l` for lists of texts; texts
/// have none.
fn field(column: &str) -> Field {
    let (name, kind) = column.split_once(':').unwrap_or((column, "t"));
    let kind = match kind {
        "i" => DataType::Int64,
        "b" => DataType::Boolean,
        "f" => DataType::Float32,
        "l" => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
        _ => DataType::Utf8,
    };
    Field::new(name, kind, true)
}

/// A column's cells. Numbers and flags that a row does not say are 0 and false; texts are absent.
#[expect(clippy::wildcard_enum_match_arm, reason = "the engine's types: `field` makes no others")]
fn column(field: &Field, rows: &[Row]) -> ArrayRef {
    let cell = |row: &'_ Row| row.get(field.name().as_str()).cloned();
    match field.data_type() {
        DataType::Int64 => Arc::new(Int64Array::from_iter_values(
            rows.iter().map(|row| if let Some(Cell::Int(value)) = cell(row) { value } else { 0 }),
        )),
        DataType::Boolean => {
            let flags = rows.iter().map(|row| Some(cell(row) == Some(Cell::Flag(true))));
            Arc::new(flags.collect::<BooleanArray>())
        }
        DataType::Float32 => Arc::new(Float32Array::from(vec![-1.0; rows.len()])),
        DataType::Utf8 => {
            let texts = rows.iter().map(|row| match cell(row) {
                Some(Cell::Text(text)) => Some(text),
                Some(Cell::Int(_) | Cell::Flag(_)) | None => None,
            });
            Arc::new(texts.collect::<StringArray>())
        }
        DataType::List(_) => {
            let mut lists = ListBuilder::new(StringBuilder::new());
            rows.iter().for_each(|_| lists.append_null());
            Arc::new(lists.finish())
        }
        other => new_empty_array(other),
    }
}

fn rows(schema: &str, name: &str, asker: &Asker) -> Vec<Row> {
    match (schema, name) {
        (SYSTEM, "pg_namespace") => vec![
            row! { oid: SYSTEM_OID, nspname: SYSTEM, nspowner: OWNER_OID },
            row! { oid: PUBLIC_OID, nspname: session::SCHEMA, nspowner: OWNER_OID },
            row! { oid: STANDARD_OID, nspname: STANDARD, nspowner: OWNER_OID },
        ],
        (SYSTEM, "pg_class") => OURS.iter().map(class).collect(),
        (SYSTEM, "pg_attribute") => OURS.iter().flat_map(attributes).collect(),
        (SYSTEM, "pg_type") => types::ALL.iter().map(kind).collect(),
        (SYSTEM, "pg_database") => vec![row! {
            oid: DATABASE_OID, datname: session::CATALOG, datdba: OWNER_OID, encoding: 6,
            datlocprovider: "c", datallowconn: true, datconnlimit: -1, dattablespace: 1_663,
            datcollate: "C.UTF-8", datctype: "C.UTF-8",
        }],
        (SYSTEM, "pg_roles" | "pg_user" | "pg_authid") => vec![row! {
            oid: OWNER_OID, rolname: session::CATALOG, rolcanlogin: false, rolinherit: true,
            rolconnlimit: -1, usename: session::CATALOG, usesysid: OWNER_OID,
        }],
        (SYSTEM, "pg_am") => vec![row! { oid: HEAP_OID, amname: "heap", amtype: "t" }],
        (SYSTEM, "pg_tablespace") => {
            vec![row! { oid: 1_663, spcname: "pg_default", spcowner: OWNER_OID }]
        }
        (SYSTEM, "pg_settings") => asker.settings.iter().map(setting).collect(),
        (SYSTEM, "pg_tables") => OURS
            .iter()
            .map(|table| row! {
                schemaname: session::SCHEMA, tablename: table.name, tableowner: session::CATALOG,
            })
            .collect(),
        (STANDARD, "schemata") => [SYSTEM, session::SCHEMA, STANDARD]
            .iter()
            .map(|schema| row! {
                catalog_name: session::CATALOG, schema_name: *schema,
                schema_owner: session::CATALOG,
            })
            .collect(),
        (STANDARD, "tables") => OURS
            .iter()
            .map(|table| row! {
                table_catalog: session::CATALOG, table_schema: session::SCHEMA,
                table_name: table.name, table_type: "BASE TABLE", is_insertable_into: "NO",
                is_typed: "NO",
            })
            .collect(),
        (STANDARD, "columns") => OURS.iter().flat_map(columns).collect(),
        _ => Vec::new(),
    }
}

fn class(table: &Ours) -> Row {
    let columns = i64::try_from(table.schema.fields().len()).unwrap_or(0);
    row! {
        oid: table.oid, relname: table.name, relnamespace: PUBLIC_OID, relowner: OWNER_OID,
        relam: HEAP_OID, relpersistence: "p", relkind: "r", relnatts: columns,
        relispopulated: true, relreplident: "n",
    }
}

/// Number, name, type and whether it is always there, of each column.
fn each_column(table: &Ours) -> impl Iterator<Item = (i64, &str, Type, bool)> {
    (1..).zip(table.schema.fields()).map(|(number, field)| {
        (number, field.name().as_str(), wire_type(field.data_type()), !field.is_nullable())
    })
}

fn attributes(table: &Ours) -> impl Iterator<Item = Row> {
    each_column(table).map(|(number, name, kind, always)| {
        row! {
            attrelid: table.oid, attname: name, atttypid: i64::from(kind.oid()),
            attlen: i64::from(type_bytes(&kind)), attnum: number, atttypmod: -1, attnotnull: always,
            attidentity: "", attgenerated: "", attislocal: true, attstorage: "p", attalign: "i",
            attcompression: "", attstattarget: -1, attcacheoff: -1,
        }
    })
}

fn kind(listed: &types::Listed) -> Row {
    let oid = |kind: &Option<Type>| kind.as_ref().map_or(0, |kind| i64::from(kind.oid()));
    row! {
        oid: i64::from(listed.kind.oid()), typname: listed.name, typnamespace: SYSTEM_OID,
        typowner: OWNER_OID, typlen: i64::from(listed.bytes), typbyval: listed.bytes > 0,
        typtype: "b", typcategory: listed.category, typisdefined: true, typdelim: ",",
        typelem: oid(&listed.item), typarray: oid(&listed.list), typtypmod: -1,
        typinput: if listed.item.is_some() { "array_in" } else { "in" }, typalign: "i",
        typstorage: "p",
    }
}

fn setting((name, value): &(&'static str, String)) -> Row {
    row! {
        name: *name, setting: value.as_str(), category: "Client", context: "user",
        vartype: "string", source: "default", boot_val: value.as_str(), reset_val: value.as_str(),
    }
}

fn columns(table: &Ours) -> impl Iterator<Item = Row> {
    each_column(table).map(|(number, name, kind, always)| {
        let words = types::words(i64::from(kind.oid()));
        let words = if words.ends_with("[]") { "ARRAY" } else { words };
        row! {
            table_catalog: session::CATALOG, table_schema: session::SCHEMA,
            table_name: table.name, column_name: name, ordinal_position: number,
            is_nullable: if always { "NO" } else { "YES" }, data_type: words,
            udt_catalog: session::CATALOG, udt_schema: SYSTEM, udt_name: kind.name(),
            is_identity: "NO", is_generated: "NEVER", is_updatable: "NO",
        }
    })
}

/// A table's number by its name, with its schema or without.
pub(super) fn class_oid(name: &str) -> Option<i64> {
    let name = name.trim().replace('"', "");
    let name = name.trim_start_matches("pg_catalog.").trim_start_matches("public.");
    if let Some(table) = OURS.iter().find(|table| table.name == name) {
        return Some(table.oid);
    }
    // The system's own tables are referred to and never listed: numbers that nothing else has.
    let at = FILLED.iter().chain(EMPTY).position(|(_, table, _)| *table == name)?;
    if name == "pg_class" {
        return Some(CLASS_OID);
    }
    Some(CLASS_OID + 1 + i64::try_from(at).ok()?)
}

/// A table's name by its number.
pub(super) fn class_name(oid: i64) -> Option<&'static str> {
    OURS.iter().find(|table| table.oid == oid).map(|table| table.name)
}
