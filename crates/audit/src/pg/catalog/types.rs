//! The types that columns here have, as `pg_type` lists them.

use pgwire::api::Type;

/// Name in `pg_type`, name in SQL, bytes (-1 where they differ), category, and the type.
pub(super) struct Listed {
    pub(super) kind: Type,
    pub(super) name: &'static str,
    pub(super) words: &'static str,
    pub(super) bytes: i16,
    pub(super) category: &'static str,
    /// The type of its lists, if it is none itself.
    pub(super) list: Option<Type>,
    /// The type of its items, if it is a list.
    pub(super) item: Option<Type>,
}

macro_rules! listed {
    ($($kind:ident $list:ident $name:literal $words:literal $bytes:literal $category:literal;)+) => {
        /// Every type that is listed, each before the list of it.
        pub(super) static ALL: &[Listed] = &[$(
            Listed {
                kind: Type::$kind,
                name: $name,
                words: $words,
                bytes: $bytes,
                category: $category,
                list: Some(Type::$list),
                item: None,
            },
            Listed {
                kind: Type::$list,
                name: concat!("_", $name),
                words: concat!($words, "[]"),
                bytes: -1,
                category: "A",
                list: None,
                item: Some(Type::$kind),
            },
        )+];
    };
}

listed! {
    BOOL BOOL_ARRAY "bool" "boolean" 1 "B";
    BYTEA BYTEA_ARRAY "bytea" "bytea" -1 "U";
    CHAR CHAR_ARRAY "char" "\"char\"" 1 "Z";
    NAME NAME_ARRAY "name" "name" 64 "S";
    INT8 INT8_ARRAY "int8" "bigint" 8 "N";
    INT2 INT2_ARRAY "int2" "smallint" 2 "N";
    INT4 INT4_ARRAY "int4" "integer" 4 "N";
    TEXT TEXT_ARRAY "text" "text" -1 "S";
    OID OID_ARRAY "oid" "oid" 4 "N";
    JSON JSON_ARRAY "json" "json" -1 "U";
    FLOAT4 FLOAT4_ARRAY "float4" "real" 4 "N";
    FLOAT8 FLOAT8_ARRAY "float8" "double precision" 8 "N";
    VARCHAR VARCHAR_ARRAY "varchar" "character varying" -1 "S";
    BPCHAR BPCHAR_ARRAY "bpchar" "character" -1 "S";
    DATE DATE_ARRAY "date" "date" 4 "D";
    TIME TIME_ARRAY "time" "time without time zone" 8 "D";
    TIMESTAMP TIMESTAMP_ARRAY "timestamp" "timestamp without time zone" 8 "D";
    TIMESTAMPTZ TIMESTAMPTZ_ARRAY "timestamptz" "timestamp with time zone" 8 "D";
    INTERVAL INTERVAL_ARRAY "interval" "interval" 16 "T";
    NUMERIC NUMERIC_ARRAY "numeric" "numeric" -1 "N";
    UUID UUID_ARRAY "uuid" "uuid" 16 "U";
}

/// A type's name in SQL, as `format_type` says it.
pub(super) fn words(oid: i64) -> &'static str {
    let listed = ALL.iter().find(|listed| i64::from(listed.kind.oid()) == oid);
    listed.map_or("???", |listed| listed.words)
}

/// A type by either of its names.
pub(super) fn named(name: &str) -> Option<i64> {
    let name = name.trim().trim_start_matches("pg_catalog.").trim_matches('"');
    let listed = ALL.iter().find(|listed| listed.name == name || listed.words == name)?;
    Some(i64::from(listed.kind.oid()))
}
