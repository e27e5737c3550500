//! Places in their one normal form: paths, URIs, and what an unmapped tool's arguments point to.

use std::path::Path;

use bailiwick_core::id::{Resource, ToolId};
use serde_json::Value;

use super::{Unmapped, argument};
use crate::frame::Members;

/// Arguments that hold a file's path when nobody says otherwise.
const PATHS: [&str; 17] = [
    "path",
    "file",
    "file_path",
    "filePath",
    "filepath",
    "filename",
    "file_name",
    "fileName",
    "dir",
    "directory",
    "folder",
    "source",
    "destination",
    "src",
    "dst",
    "paths",
    "files",
];
/// Arguments that hold a URI when nobody says otherwise.
const URIS: [&str; 6] = ["uri", "url", "href", "link", "uris", "urls"];

/// What a tool acts on that no mapping speaks of.
pub(super) fn of_unmapped(
    tool: &ToolId,
    members: &Members<'_>,
    root: &Path,
) -> Result<Resource, Unmapped> {
    let mut found: Option<String> = None;
    for (names, is_path) in [(PATHS.as_slice(), true), (URIS.as_slice(), false)] {
        for name in names {
            for place in places(members, name)? {
                let place =
                    if is_path { format!("file://{}", path(&place, root)?) } else { uri(&place)? };
                if found.as_ref().is_some_and(|first| *first != place) {
                    return Err(Unmapped::resource(
                        "the arguments name several places; ask for them one at a time",
                    ));
                }
                found = Some(place);
            }
        }
    }
    let place = found.unwrap_or_else(|| format!("mcp://{tool}"));
    Resource::new(&place).map_err(|e| Unmapped::resource(e.to_string()))
}

/// The texts in the argument `name`: itself, or those of its list.
fn places(members: &Members<'_>, name: &str) -> Result<Vec<String>, Unmapped> {
    let not_a_place = || Unmapped::resource(format!("argument `{name}` is no place"));
    match argument(members, name)? {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text]),
        Some(Value::Array(items)) => items
            .into_iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(not_a_place))
            .collect(),
        Some(Value::Bool(_) | Value::Number(_) | Value::Object(_)) => Err(not_a_place()),
    }
}

/// A file's path: absolute, without `.`, `..`, empty segments and a last slash, percent-encoded.
///
/// What servers read as something else than it says is refused: `~`, quotes and blanks around it
/// (some servers take them off), backslashes, and a climb above the top.
pub(super) fn path(given: &str, root: &Path) -> Result<String, Unmapped> {
    let refused = |why: &str| Err(Unmapped::resource(format!("the path {why}")));
    if given.is_empty() {
        return refused("is empty");
    }
    if given.starts_with('~') {
        return refused("begins with `~`; write it out");
    }
    if given.trim() != given || given.starts_with(['"', '\'']) || given.ends_with(['"', '\'']) {
        return refused("has blanks or quotes around it");
    }
    if given.contains('\\') || given.chars().any(char::is_control) {
        return refused("holds a backslash or a control character");
    }
    if given.to_ascii_lowercase().starts_with("file:") {
        return refused("is a URI");
    }
    let Some(root) = root.to_str() else {
        return refused("is relative to a directory without a name");
    };
    let whole = if given.starts_with('/') { given.to_owned() } else { format!("{root}/{given}") };
    let mut segments: Vec<&str> = Vec::new();
    for segment in whole.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                if segments.pop().is_none() {
                    return refused("climbs above the top");
                }
            }
            name => segments.push(name),
        }
    }
    let encoded: Vec<_> = segments.into_iter().map(encode).collect();
    Ok(format!("/{}", encoded.join("/")))
}

/// A whole URI in its normal form (RFC 3986, section 6.2.2): scheme and host in lower case, no
/// default port, nothing encoded that need not be; a `file:` URI is read as its path.
pub(super) fn uri(given: &str) -> Result<String, Unmapped> {
    let refused = |why: &str| Err(Unmapped::resource(format!("the URI {why}")));
    let Some((scheme, rest)) = given.split_once(':') else { return refused("has no scheme") };
    let letters = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(letters) {
        return refused("has no scheme");
    }
    if given.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return refused("holds a blank, a backslash or a control character");
    }
    let scheme = scheme.to_ascii_lowercase();
    let host = rest.strip_prefix("//").and_then(|rest| rest.split(['/', '?', '#']).next());
    if host.is_some_and(|host| host.contains('%')) {
        return refused("has an escape in its host");
    }
    let Some(rest) = normal_escapes(rest) else { return refused("holds a bad percent escape") };
    let Some(rest) = rest.strip_prefix("//") else {
        // `mailto:` and its like have no segments that a grant could cover; a template names them.
        return refused("has no `//`");
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    if authority.contains('@') {
        return refused("holds a user name");
    }
    let authority = authority.to_ascii_lowercase();
    if scheme == "file" {
        if !matches!(authority.as_str(), "" | "localhost") || tail.contains(['?', '#']) {
            return refused("is a file on another machine, or has a query");
        }
        let Some(plain) = decode(tail) else { return refused("is no text") };
        return Ok(format!("file://{}", path(&plain, Path::new("/"))?));
    }
    let default_port = match scheme.as_str() {
        "http" | "ws" => ":80",
        "https" | "wss" => ":443",
        _ => ":",
    };
    let authority = authority.strip_suffix(default_port).unwrap_or(&authority);
    let authority = authority.strip_suffix(':').unwrap_or(authority);
    let web = matches!(scheme.as_str(), "http" | "https" | "ws" | "wss");
    let slash = if web && !tail.starts_with('/') { "/" } else { "" };
    Ok(format!("{scheme}://{authority}{slash}{tail}"))
}

/// One segment, percent-encoded but for what means nothing anywhere.
pub(super) fn encode(segment: &str) -> String {
    let mut encoded = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~@+,=".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            push_escape(&mut encoded, byte);
        }
    }
    encoded
}

fn push_escape(to: &mut String, byte: u8) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    to.push('%');
    to.push(DIGITS[usize::from(byte >> 4)]);
    to.push(DIGITS[usize::from(byte & 15)]);
}

/// Escapes of unreserved characters resolved, all others in capitals, `*` and what is not ASCII
/// escaped; none when an escape is broken.
fn normal_escapes(text: &str) -> Option<String> {
    let mut normal = String::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            if byte.is_ascii() && byte != b'*' {
                normal.push(char::from(byte));
            } else {
                push_escape(&mut normal, byte);
            }
            continue;
        }
        let byte = escaped(bytes.next()?, bytes.next()?)?;
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            normal.push(char::from(byte));
        } else {
            push_escape(&mut normal, byte);
        }
    }
    Some(normal)
}

fn decode(text: &str) -> Option<String> {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        plain.push(if byte == b'%' { escaped(bytes.next()?, bytes.next()?)? } else { byte });
    }
    String::from_utf8(plain).ok().filter(|plain| !plain.contains('\0'))
}

fn escaped(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(high)? << 4 | digit(low)?)
}
