//! Parts of questions that the engine cannot plan and that mean something simple here: answered in
//! other words. This is the whole list.

use crate::guard::TEXT_BYTES_MAX;

/// Whose question it is, the rarest word of its part, the part, and what is read instead. White space
/// counts as one blank.
const KNOWN: &[(&str, &str, &str, &str)] = &[
    (
        "psql: the options of a table for `\\d+`",
        "'toast.'",
        "pg_catalog.array_to_string(c.reloptions || array(select 'toast.' || x from \
         pg_catalog.unnest(tc.reloptions) x), ', ')",
        "''",
    ),
    (
        "psql: what is granted on columns for `\\dp`",
        "attacl IS NOT NULL",
        r"pg_catalog.array_to_string(array( select attname || e':\n ' ||
          pg_catalog.array_to_string(attacl, e'\n ') from pg_catalog.pg_attribute a
          where attrelid = c.oid and not attisdropped and attacl is not null ), e'\n')",
        "''",
    ),
    (
        "Grafana: is a table's schema on the search path",
        "generate_series",
        "in ( select case when trim(s[i]) = '\"$user\"' then user else trim(s[i]) end from \
         generate_series( array_lower(string_to_array(current_setting('search_path'),','),1), \
         array_upper(string_to_array(current_setting('search_path'),','),1) ) as i, \
         string_to_array(current_setting('search_path'),',') s )",
        "in ('public')",
    ),
    (
        "pgjdbc: words that only PostgreSQL reserves",
        "pg_get_keywords",
        "pg_catalog.pg_get_keywords()",
        "(select 'ilike' as word)",
    ),
    (
        "pgjdbc: where on the search path a type's schema is",
        "generate_series",
        "( select ns.oid as nspoid, ns.nspname, r.r from pg_namespace as ns join ( select s.r, \
         (current_schemas(false))[s.r] as nspname from generate_series(1, \
         array_upper(current_schemas(false), 1)) as s(r) ) as r using ( nspname ) )",
        "(select oid as nspoid, nspname, 1 as r from pg_catalog.pg_namespace where nspname = 'public')",
    ),
];

/// A text with what is known of it said in other words; none if nothing of it is.
pub(in crate::pg) fn recognised(sql: &str) -> Option<String> {
    let may_hold = KNOWN.iter().any(|(_, word, ..)| sql.contains(word));
    if sql.len() > TEXT_BYTES_MAX || !may_hold {
        return None;
    }
    let (mut text, mut found) = (plain(sql), false);
    for (.., part, instead) in KNOWN {
        let part = plain(part);
        while let Some(at) = text.to_ascii_lowercase().find(&part) {
            text.replace_range(at..at + part.len(), instead);
            found = true;
        }
    }
    found.then_some(text)
}

/// The text with one blank for any white space, and none beside brackets.
fn plain(sql: &str) -> String {
    let mut plain = String::with_capacity(sql.len());
    for word in sql.split_whitespace() {
        let joined = plain.is_empty() || plain.ends_with('(') || word.starts_with(')');
        if !joined {
            plain.push(' ');
        }
        plain.push_str(word);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_part_is_said_in_other_words_and_the_rest_stays() {
        let sql = "SELECT 1 FROM pg_catalog.pg_type LEFT  JOIN (select ns.oid as nspoid, \
                   ns.nspname, r.r\n from pg_namespace as ns join ( select s.r, \
                   (current_schemas(false))[s.r] as nspname from generate_series(1, \
                   array_upper(current_schemas(false), 1)) as s(r) ) as r using ( nspname ) ) \
                   as sp ON sp.nspoid = typnamespace";
        let instead = recognised(sql).unwrap();
        assert!(instead.starts_with("SELECT 1 FROM pg_catalog.pg_type LEFT JOIN (select oid"));
        assert!(instead.ends_with("'public') as sp ON sp.nspoid = typnamespace"), "{instead}");
        assert_eq!(recognised("select * from generate_series(1, 10)"), None);
    }
}
