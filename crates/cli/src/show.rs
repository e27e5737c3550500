//! What people and programs see: answers on standard output, everything else on standard error.

use std::io::{self, Write as _};

pub(crate) mod json;
pub(crate) mod progress;
pub(crate) mod table;

/// Writes one line of an answer.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Writes an answer as it is.
pub(crate) fn raw(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Tells the person something that is not part of the answer. Where nobody listens any more,
/// nothing is to be done about it.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A text without what a terminal would take as a command: tools and agents write some of them.
pub(crate) fn harmless(text: &str) -> String {
    if !text.contains(|c: char| c.is_control() || is_invisible(c)) {
        return text.to_owned();
    }
    text.chars().fold(String::new(), |mut clean, c| {
        if c == '\n' || c == '\t' {
            clean.push(' ');
        } else if c.is_control() || is_invisible(c) {
            clean.extend(c.escape_unicode());
        } else {
            clean.push(c);
        }
        clean
    })
}

/// Characters that turn the direction of writing or cannot be seen.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_command_the_terminal() {
        assert_eq!(harmless("plain é 漢"), "plain é 漢");
        assert_eq!(harmless("two\nlines\tand"), "two lines and");
        assert_eq!(harmless("a\u{1b}[2Jb\u{202e}c"), "a\\u{1b}[2Jb\\u{202e}c");
    }
}
