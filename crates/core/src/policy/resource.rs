//! A resource as policies see it: a URI, its parts, and the whole-segment prefixes it lies under.
//!
//! `resource in Resource::"crm://case"` holds for `crm://case` and `crm://case/1234`, not for
//! `crm://casework/1`; `Resource::"crm://case/"` only for what is below, `Resource::"crm://"` for all
//! of that scheme. This is [`Resource::is_within`](crate::id::Resource::is_within), as grants and
//! revocations have it, on borrowed text.

use super::SEGMENTS_MAX;

/// Whether `resource` is `prefix` or lies under it.
pub(super) fn covers(prefix: &str, resource: &str) -> bool {
    match resource.strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'),
        None => false,
    }
}

/// Every prefix that covers `resource`, from short to long; the last is the resource itself.
pub(super) fn prefixes(resource: &str) -> impl Iterator<Item = &str> {
    let bytes = resource.as_bytes();
    (1..=bytes.len())
        .filter(move |&at| bytes[at - 1] == b'/' || bytes.get(at).is_none_or(|next| *next == b'/'))
        .map(|at| &resource[..at])
}

/// Whether a policy can judge `resource`: only with at most [`SEGMENTS_MAX`] segments.
pub(super) fn is_judgeable(resource: &str) -> bool {
    resource.bytes().filter(|byte| *byte == b'/').count() < SEGMENTS_MAX
}

/// The text before the first `:`, or nothing.
pub(super) fn scheme(resource: &str) -> &str {
    without_query(resource).split_once(':').map_or("", |(scheme, _)| scheme)
}

/// What follows `scheme://` (or `scheme:`), without query and fragment: `case/1234`.
pub(super) fn path(resource: &str) -> &str {
    let whole = without_query(resource);
    let rest = whole.split_once(':').map_or(whole, |(_, rest)| rest);
    rest.strip_prefix("//").unwrap_or(rest)
}

fn without_query(resource: &str) -> &str {
    resource.split(['?', '#']).next().unwrap_or(resource)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Resource;

    const SAMPLES: [&str; 6] =
        ["crm://case/1", "crm://case/1?x=a/b#c/d", "a", "file:///x//y/", "urn:é:b/ü?é", "/"];

    #[test]
    fn a_prefix_covers_whole_segments_only() {
        for prefix in ["crm:", "crm://", "crm://case", "crm://case/", "crm://case/1"] {
            assert!(covers(prefix, "crm://case/1"), "{prefix}");
        }
        for prefix in ["c", "crm://cas", "crm://case/1/", "crm://case/12", "crm://case/1?"] {
            assert!(!covers(prefix, "crm://case/1"), "{prefix}");
        }
    }

    #[test]
    fn prefixes_are_exactly_what_covers() {
        for resource in SAMPLES {
            let listed: Vec<_> = prefixes(resource).collect();
            let covering: Vec<_> = (1..=resource.len())
                .filter_map(|at| resource.get(..at))
                .filter(|prefix| covers(prefix, resource))
                .collect();
            assert_eq!(listed, covering, "{resource}");
        }
    }

    #[test]
    fn policies_and_grants_agree_on_what_lies_within() {
        for resource in SAMPLES {
            let whole = Resource::new(resource).unwrap();
            for prefix in (1..=resource.len()).filter_map(|at| resource.get(..at)) {
                let of_grants = whole.is_within(&Resource::new(prefix).unwrap());
                assert_eq!(covers(prefix, resource), of_grants, "{prefix} {resource}");
            }
        }
    }

    #[test]
    fn parts_are_without_query_and_fragment() {
        let cases = [
            ("crm://case/1234?x=1#y", "crm", "case/1234"),
            ("urn:isbn:42", "urn", "isbn:42"),
            ("plain/name", "", "plain/name"),
            ("plain?a:b", "", "plain"),
            ("file:///home/x", "file", "/home/x"),
        ];
        for (resource, of_scheme, of_path) in cases {
            assert_eq!((scheme(resource), path(resource)), (of_scheme, of_path), "{resource}");
        }
    }

    #[test]
    fn endless_paths_are_not_judged() {
        assert!(is_judgeable(&"a/".repeat(SEGMENTS_MAX - 1)));
        assert!(!is_judgeable(&"a/".repeat(SEGMENTS_MAX)));
    }
}
