//! How deep a policy text may be, found without recursion before a recursive parser sees it.

use super::{Fault, NESTING_MAX, OPERATORS_MAX};

/// Stack for checking and compiling, in bytes. Unoptimized, Cedar's parser takes 45 kB for each bracket
/// that is open, and its validator 20 kB for each level of operators.
const STACK_BYTES: usize = 16 << 20;

/// Runs `compile` on a stack that is large enough for every text that [`check`] lets through, however
/// little the caller has left: what is valid must not depend on who asks.
pub(super) fn with_stack<T>(compile: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(STACK_BYTES, STACK_BYTES, compile)
}

/// Refuses a text with brackets nested too deeply or with too many operators. What passes makes a
/// syntax tree that the parser, the validator and the evaluator walk within a bounded stack.
pub(super) fn check(text: &str) -> Result<(), Fault> {
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut open = 0_usize;
    let mut ifs = 0_usize;
    let mut operators = 0_usize;
    while at < bytes.len() {
        let start = at;
        at = match bytes[at] {
            b'"' => after_string(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'/') => after_line(bytes, at),
            b'(' | b'[' | b'{' => {
                open += 1;
                at + 1
            }
            b')' | b']' | b'}' => {
                open = open.saturating_sub(1);
                at + 1
            }
            byte if byte.is_ascii_punctuation()
                && !matches!(byte, b',' | b';' | b':' | b'@' | b'_') =>
            {
                operators += 1;
                // `&&`, `==`, `<=` … are one operator; a run of `!` or `-` is as many as it is long.
                let pair = bytes.get(at + 1).is_some_and(|next| matches!(next, b'=' | b'&' | b'|'));
                at + 1 + usize::from(pair)
            }
            byte if is_word(byte) => {
                let end = after_word(bytes, at);
                let word = &text[at..end];
                operators += usize::from(OPERATOR_WORDS.contains(&word));
                // An `if` nests to the right without a bracket, and nothing says where it ends.
                ifs += usize::from(word == "if");
                end
            }
            _ => at + 1,
        };
        if open + ifs > NESTING_MAX {
            let message = format!("brackets and `if`s are nested deeper than {NESTING_MAX}");
            return Err(Fault::new(start, message));
        }
        if operators > OPERATORS_MAX {
            let message = format!("more than {OPERATORS_MAX} operators: split the policy");
            return Err(Fault::new(start, message));
        }
    }
    Ok(())
}

/// Words that make the syntax tree deeper.
const OPERATOR_WORDS: [&str; 7] = ["if", "then", "else", "has", "like", "is", "in"];

/// Bytes beyond ASCII count as letters, so that slicing at a word's ends never cuts a character.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

fn after_word(bytes: &[u8], from: usize) -> usize {
    from + bytes[from..].iter().take_while(|byte| is_word(**byte)).count()
}

fn after_line(bytes: &[u8], from: usize) -> usize {
    bytes[from..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |n| from + n + 1)
}

/// Just behind the string that opens at `from`, or the end if it is never closed.
fn after_string(bytes: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_comments_do_not_count() {
        let brackets = "(".repeat(10_000);
        assert_eq!(check(&format!("permit(principal,action,resource); // {brackets}")), Ok(()));
        assert_eq!(check(&format!("@reason(\"{brackets} \\\" {brackets}\")")), Ok(()));
        assert!(check(&format!("// {brackets}\n {brackets}")).is_err());
    }

    #[test]
    fn every_way_to_go_deep_is_counted() {
        for deep in
            ["(", "[", "{", "f(", "!", "-", "a.", "1+", "a&&", "a||", "if a then ", "a has ", "a<="]
        {
            assert!(check(&deep.repeat(1_001)).is_err(), "{deep}");
        }
        assert!(check(&"a&&".repeat(1_000)).is_ok());
        assert!(check(&"(".repeat(50)).is_ok());
        assert!(check(&"if ".repeat(51)).is_err());
        assert!(check(&"()".repeat(1_000)).is_ok());
    }

    #[test]
    fn texts_that_end_early_are_left_to_the_parser() {
        for text in ["\"", "\"\\", "/", "//", "é", "\u{1f980}\"\\\u{1f980}", ""] {
            let _ = check(text);
        }
    }
}
