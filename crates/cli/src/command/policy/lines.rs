//! Two texts line by line: what has to go and what has to come, as a unified diff.

/// Lines around a change that are shown with it.
const CONTEXT: usize = 3;
/// The largest table of common lines. What differs and is larger is shown as replaced as a whole.
const TABLE_MAX: usize = 4_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'a> {
    Kept(&'a str),
    Gone(&'a str),
    New(&'a str),
}

/// The hunks of a unified diff, nothing when the texts are equal.
pub(super) fn unified(before: &str, after: &str) -> String {
    let lines = compare(&split(before), &split(after));
    let mut out = String::new();
    let is_change = |line: &Line<'_>| !matches!(line, Line::Kept(_));
    let mut at = 0;
    while let Some(first) = lines.iter().skip(at).position(is_change).map(|i| at + i) {
        let start = first.saturating_sub(CONTEXT).max(at);
        let mut end = first + 1;
        // Changes with little between them are one hunk.
        while let Some(next) = lines.iter().skip(end).position(is_change) {
            if next > 2 * CONTEXT {
                break;
            }
            end += next + 1;
        }
        let end = (end + CONTEXT).min(lines.len());
        hunk(&lines, start, end, &mut out);
        at = end;
    }
    out
}

fn hunk(lines: &[Line<'_>], start: usize, end: usize, out: &mut String) {
    let old = |lines: &[Line<'_>]| lines.iter().filter(|l| !matches!(l, Line::New(_))).count();
    let new = |lines: &[Line<'_>]| lines.iter().filter(|l| !matches!(l, Line::Gone(_))).count();
    let (before, within) = (&lines[..start], &lines[start..end]);
    let range = |skipped: usize, count: usize| match count {
        // Where there is nothing, the line before it is named.
        0 => format!("{skipped},0"),
        1 => format!("{}", skipped + 1),
        _ => format!("{},{count}", skipped + 1),
    };
    let (gone, come) = (range(old(before), old(within)), range(new(before), new(within)));
    out.push_str(&format!("@@ -{gone} +{come} @@\n"));
    for line in within {
        let (sign, text) = match line {
            Line::Kept(text) => (' ', text),
            Line::Gone(text) => ('-', text),
            Line::New(text) => ('+', text),
        };
        out.push(sign);
        out.push_str(text.strip_suffix('\n').unwrap_or(text));
        out.push('\n');
        if !text.ends_with('\n') {
            out.push_str("\\ No newline at end of file\n");
        }
    }
}

fn split(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

fn compare<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<Line<'a>> {
    let same = before.iter().zip(after).take_while(|(one, other)| one == other).count();
    let (head, before) = before.split_at(same);
    let after = &after[same..];
    let tails = before.iter().rev().zip(after.iter().rev());
    let same = tails.take_while(|(one, other)| one == other).count();
    let (before, tail) = before.split_at(before.len() - same);
    let after = &after[..after.len() - same];
    let mut lines: Vec<Line<'a>> = head.iter().map(|line| Line::Kept(line)).collect();
    if before.len().saturating_mul(after.len()) > TABLE_MAX {
        lines.extend(before.iter().map(|line| Line::Gone(line)));
        lines.extend(after.iter().map(|line| Line::New(line)));
    } else {
        longest(before, after, &mut lines);
    }
    lines.extend(tail.iter().map(|line| Line::Kept(line)));
    lines
}

/// Keeps as many lines as can be kept: the longest common subsequence.
fn longest<'a>(before: &[&'a str], after: &[&'a str], lines: &mut Vec<Line<'a>>) {
    let width = after.len() + 1;
    // How many lines the texts from here on have in common.
    let mut common = vec![0_u32; (before.len() + 1) * width];
    for i in (0..before.len()).rev() {
        for j in (0..after.len()).rev() {
            common[i * width + j] = if before[i] == after[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < before.len() || j < after.len() {
        if i < before.len() && j < after.len() && before[i] == after[j] {
            lines.push(Line::Kept(before[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < before.len()
            && (j == after.len() || common[(i + 1) * width + j] >= common[i * width + j + 1])
        {
            lines.push(Line::Gone(before[i]));
            i += 1;
        } else {
            lines.push(Line::New(after[j]));
            j += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_reads_as_everybody_writes_it() {
        for (before, after, expected) in [
            ("a\nb\n", "a\nb\n", ""),
            ("", "", ""),
            ("", "a\nb\n", "@@ -0,0 +1,2 @@\n+a\n+b\n"),
            ("a\n", "", "@@ -1 +0,0 @@\n-a\n"),
            ("a\nb\nc\n", "a\nx\nc\n", "@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n"),
            ("a", "a\n", "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n"),
        ] {
            assert_eq!(unified(before, after), expected, "{before:?} {after:?}");
        }
    }

    #[test]
    fn far_changes_are_hunks_of_their_own_and_near_ones_share() {
        let lines = |change: &[usize]| -> String {
            let line = |n| if change.contains(&n) { format!("x{n}\n") } else { format!("{n}\n") };
            (0..30).map(line).collect()
        };
        let near = unified(&lines(&[]), &lines(&[5, 12]));
        assert_eq!(near.matches("@@ -").count(), 1, "{near}");
        assert!(near.starts_with("@@ -3,14 +3,14 @@\n 2\n"), "{near}");
        let far = unified(&lines(&[]), &lines(&[5, 13]));
        assert_eq!(far.matches("@@ -").count(), 2, "{far}");
        assert!(far.contains("@@ -11,7 +11,7 @@\n 10\n"), "{far}");
    }

    #[test]
    fn what_is_too_large_to_compare_is_replaced() {
        let (before, after) = ("a\n".repeat(3_000), "b\n".repeat(3_000));
        let told = unified(&before, &after);
        assert_eq!((told.matches("-a").count(), told.matches("+b").count()), (3_000, 3_000));
    }
}
