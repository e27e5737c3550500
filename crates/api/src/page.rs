//! Lists, a page at a time: stable order by key, an opaque cursor, a bound on the work of a page.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Bound;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::problem::{INVALID_CURSOR, INVALID_QUERY, Problem};

/// Items of a page when the caller names no number.
pub(crate) const LIMIT: usize = 100;
/// The most items of a page.
pub(crate) const LIMIT_MAX: usize = 1_000;
/// The most things that are looked at for one page; a filter may leave fewer.
pub(crate) const LOOKED_AT_MAX: usize = 20_000;

/// Which page of a list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// The most items to give: 1 to 1,000, 100 if not given.
    pub(crate) limit: Option<usize>,
    /// The `next_cursor` of the page before.
    pub(crate) cursor: Option<String>,
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The items, in a stable order. A page may have fewer than asked for.
    pub(crate) items: Vec<T>,
    /// Send this as `cursor` to get the next page; none after the last one.
    pub(crate) next_cursor: Option<String>,
}

/// Where a page begins and how long it is.
#[derive(Debug, Clone)]
pub(crate) struct Span<K> {
    pub(crate) after: Option<K>,
    pub(crate) limit: usize,
}

/// How many items a caller wants.
pub(crate) fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked {
        None => Ok(LIMIT),
        Some(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
        Some(limit) => {
            Err(INVALID_QUERY.with(format!("`limit` is {limit}, from 1 to {LIMIT_MAX} is allowed")))
        }
    }
}

/// The cursor of a list at a key: hexadecimal, so that nobody builds on what is in it.
pub(crate) fn cursor(list: &str, key: &impl Display) -> String {
    hex::encode(format!("{list} {key}"))
}

/// Reads what [`cursor`] wrote for the same list.
fn read_cursor<K: FromStr>(list: &str, text: &str) -> Result<K, Problem> {
    let bytes = hex::decode(text).ok();
    let inner = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let key = inner.as_deref().and_then(|inner| inner.strip_prefix(list)?.strip_prefix(' '));
    key.and_then(|key| key.parse().ok()).ok_or_else(|| {
        INVALID_CURSOR.with(format!("the cursor was not given by the list of {list}"))
    })
}

impl PageQuery {
    /// Where the page begins in `list`.
    pub(crate) fn span<K: FromStr>(&self, list: &str) -> Result<Span<K>, Problem> {
        let after = self.cursor.as_deref().map(|text| read_cursor(list, text)).transpose()?;
        Ok(Span { after, limit: limit(self.limit)? })
    }
}

/// Takes a page of `items`, which come in the order of their keys and begin after the span's.
pub(crate) fn take<K: Display, V, T>(
    list: &str,
    limit: usize,
    items: impl Iterator<Item = (K, V)>,
    mut show: impl FnMut(&K, V) -> Option<T>,
) -> Page<T> {
    let mut page = Page { items: Vec::new(), next_cursor: None };
    let mut last = None;
    for (looked_at, (key, value)) in items.enumerate() {
        if page.items.len() == limit || looked_at == LOOKED_AT_MAX {
            page.next_cursor = last.map(|key| cursor(list, &key));
            return page;
        }
        page.items.extend(show(&key, value));
        last = Some(key);
    }
    page
}

/// The entries of a map after the span's key.
pub(crate) fn entries<'a, K: Ord, V>(
    map: &'a BTreeMap<K, V>,
    span: &'a Span<K>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    let from = span.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
    map.range((from, Bound::Unbounded))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(map: &BTreeMap<u32, ()>, limit: usize, cursor: Option<String>) -> Page<u32> {
        let query = PageQuery { limit: Some(limit), cursor };
        let span: Span<u32> = query.span("numbers").unwrap();
        take("numbers", span.limit, entries(map, &span), |key, ()| Some(**key))
    }

    #[test]
    fn pages_add_up_to_the_list() {
        let map: BTreeMap<u32, ()> = (0..25).map(|n| (n, ())).collect();
        for limit in [1, 7, 24, 25, 26] {
            let (mut all, mut cursor) = (Vec::new(), None);
            loop {
                let page = page(&map, limit, cursor);
                assert!(page.items.len() <= limit);
                all.extend(page.items);
                cursor = page.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(all, (0..25).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_filter_that_finds_nothing_ends_a_page_all_the_same() {
        let many = (0..=u32::try_from(LOOKED_AT_MAX).unwrap()).map(|n| (n, ()));
        let page = take("numbers", 10, many, |_, ()| None::<u32>);
        assert!(page.items.is_empty() && page.next_cursor.is_some());
    }

    #[test]
    fn limits_and_cursors_of_elsewhere_are_refused() {
        for bad in [0, LIMIT_MAX + 1] {
            assert!(limit(Some(bad)).is_err());
        }
        for text in ["", "zz", "00", &cursor("owners", &5), &cursor("numbers", &"x")] {
            let query = PageQuery { limit: None, cursor: Some(text.to_owned()) };
            assert!(query.span::<u32>("numbers").is_err(), "{text}");
        }
    }
}
