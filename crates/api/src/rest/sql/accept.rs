//! Which form of an answer a caller accepts (RFC 9110, section 12.5.1).

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use bailiwick_audit::Form;

use crate::problem::{NOT_ACCEPTABLE, Problem};

/// The media type of each form. The first is given to those who take anything.
const OFFERED: [(&str, Form); 3] =
    [("application/json", Form::Json), ("text/csv", Form::Csv), (ARROW, Form::Arrow)];
/// The media type of an Arrow IPC stream.
pub(crate) const ARROW: &str = "application/vnd.apache.arrow.stream";

/// The form that the caller likes best; of equals the one that is named first.
///
/// # Errors
/// `not_acceptable` when none that is named is offered.
pub(crate) fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<Range<'_>> = values.flat_map(|v| v.split(',')).filter_map(range).collect();
    if ranges.is_empty() {
        return Ok(Form::Json);
    }
    let mut best: Option<(Range<'_>, Form)> = None;
    for range in &ranges {
        let Some(form) = meant(range, &ranges) else { continue };
        if range.quality > best.as_ref().map_or(0, |(best, _)| best.quality) {
            best = Some((*range, form));
        }
    }
    best.map(|(_, form)| form).ok_or_else(|| {
        let offered = OFFERED.map(|(media, _)| format!("`{media}`")).join(", ");
        NOT_ACCEPTABLE.with(format!("an answer comes as {offered}"))
    })
}

/// One member of the header.
#[derive(Debug, Clone, Copy)]
struct Range<'a> {
    media: &'a str,
    /// In thousandths.
    quality: u32,
}

fn range(text: &str) -> Option<Range<'_>> {
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next().filter(|media| !media.is_empty())?;
    let quality = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| thousandths(value.trim()))
    });
    Some(Range { media, quality: quality.unwrap_or(1_000) })
}

/// `0.5` as 500; what is no weight counts as none at all.
fn thousandths(text: &str) -> u32 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.bytes().all(|b| b.is_ascii_digit()) && fraction.len() <= 3;
    match (whole, format!("{fraction:0<3}").parse::<u32>()) {
        ("1", Ok(0)) if digits => 1_000,
        ("0", Ok(n)) if digits => n,
        _ => 0,
    }
}

/// The form that a range means: of those that it covers, the first that is not named by itself.
fn meant(range: &Range<'_>, all: &[Range<'_>]) -> Option<Form> {
    let is = |media: &str| range.media.eq_ignore_ascii_case(media);
    if let Some((_, form)) = OFFERED.iter().find(|(media, _)| is(media)) {
        return Some(*form);
    }
    let by_itself = |media: &str| all.iter().any(|other| other.media.eq_ignore_ascii_case(media));
    let covers = |media: &str| {
        let (kind, _) = media.split_once('/').unwrap_or_default();
        is("*/*") || is(&format!("{kind}/*"))
    };
    OFFERED.iter().find(|(media, _)| covers(media) && !by_itself(media)).map(|(_, form)| *form)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn accepts(values: &[&'static str]) -> Option<Form> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT, HeaderValue::from_static(value));
        }
        match form(&headers) {
            Ok(form) => Some(form),
            Err(problem) => {
                assert_eq!(problem.kind, NOT_ACCEPTABLE);
                None
            }
        }
    }

    #[test]
    fn the_form_comes_that_is_liked_best() {
        for (form, accept) in [
            (Form::Json, &[][..]),
            (Form::Json, &[""]),
            (Form::Json, &["*/*"]),
            (Form::Json, &["application/json, text/csv"]),
            (Form::Json, &["text/csv;q=0.9, application/json"]),
            (Form::Json, &["application/*"]),
            (Form::Json, &["text/csv;q=0, */*"]),
            (Form::Csv, &["text/csv"]),
            (Form::Csv, &["text/html, Text/CSV, application/json"]),
            (Form::Csv, &["application/json;q=0.2, text/csv; charset=utf-8; q=0.25"]),
            (Form::Csv, &["application/json;q=0.2", "text/csv"]),
            (Form::Csv, &["application/json;q=0, */*"]),
            (Form::Csv, &["text/*"]),
            (Form::Arrow, &[ARROW]),
            (Form::Arrow, &["application/vnd.apache.arrow.stream, */*;q=0.1"]),
            (Form::Arrow, &["application/*, application/json;q=0.5"]),
        ] {
            assert_eq!(accepts(accept), Some(form), "{accept:?}");
        }
    }

    #[test]
    fn who_accepts_nothing_that_is_offered_is_told_so() {
        for accept in [
            "text/html",
            "image/*",
            "application/json;q=0",
            "text/csv;q=2",
            "application/vnd.apache.arrow.file",
            "application/json;q=0.0001",
        ] {
            assert_eq!(accepts(&[accept]), None, "{accept}");
        }
    }
}
