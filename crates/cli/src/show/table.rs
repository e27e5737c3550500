//! Tables: ruled and fitted to the width on a terminal, plain columns everywhere else.

use std::io::IsTerminal as _;

use comfy_table::presets::{NOTHING, UTF8_HORIZONTAL_ONLY};
use comfy_table::{ContentArrangement, Table};

/// Tables are not fitted to fewer columns than this.
const WIDTH_MIN: u16 = 20;

/// Lays out rows under their titles, without a line feed at the end.
pub(crate) fn table(titles: &[&str], rows: Vec<Vec<String>>) -> String {
    indented(titles, rows, 0)
}

/// The same with so many columns of the terminal left free for an indent.
pub(crate) fn indented(titles: &[&str], rows: Vec<Vec<String>>, indent: u16) -> String {
    layout(titles, rows, indent, std::io::stdout().is_terminal())
}

fn layout(titles: &[&str], rows: Vec<Vec<String>>, indent: u16, is_terminal: bool) -> String {
    let mut table = Table::new();
    if is_terminal {
        table.load_preset(UTF8_HORIZONTAL_ONLY);
        // A terminal that does not know its width says that it has none.
        if let Some(width) = table.width().filter(|width| *width >= WIDTH_MIN) {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.set_width(width.saturating_sub(indent));
        } else {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    } else {
        table.load_preset(NOTHING);
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table.set_header(titles.to_vec());
    table.add_rows(rows);
    let (left, right) = if is_terminal { (1, 1) } else { (0, 2) };
    for column in table.column_iter_mut() {
        column.set_padding((left, right));
    }
    let lines = table.lines().map(|line| line.trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_rows_stay_on_their_lines() {
        let rows =
            vec![vec!["a".to_owned(), "1".to_owned()], vec!["longer".to_owned(), String::new()]];
        let text = layout(&["name", "n"], rows, 0, false);
        assert_eq!(text, "name    n\na       1\nlonger");
    }
}
