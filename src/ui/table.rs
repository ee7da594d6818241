//! Tables: columns padded by the width that a terminal gives them, no rules, no boxes.

use crate::ui::style;
use crate::ui::text::width;

/// A table. Cells may hold colours.
#[derive(Debug, Clone)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these headings.
    pub fn new<'a>(headings: impl IntoIterator<Item = &'a str>) -> Self {
        let headings = headings
            .into_iter()
            .map(|heading| style::paint(style::STRONG, heading))
            .collect();
        Self {
            rows: vec![headings],
        }
    }

    /// Adds a row; an empty cell is shown as `-`, so that columns can be told apart by programs.
    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let or_dash = |cell: T| match cell.into() {
            cell if cell.is_empty() => "-".to_owned(),
            cell => cell,
        };
        self.rows.push(cells.into_iter().map(or_dash).collect());
    }

    /// The table as text: two blanks between columns, none at the end of a line.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| width(cell)).max().unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            for (index, (cell, column)) in row.iter().zip(&widths).enumerate() {
                text.push_str(cell);
                if index + 1 < row.len() {
                    let padding = column - width(cell) + 2;
                    text.extend(std::iter::repeat_n(' ', padding));
                }
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_is_in_them() {
        let mut table = Table::new(["NAME", "STATE", "NOTE"]);
        table.row([
            "蜂-1".to_owned(),
            style::paint(style::GOOD, "ready"),
            String::new(),
        ]);
        table.row(["worker-10", "down", "for 3 days"]);
        let plain = anstream::adapter::strip_str(&table.render()).to_string();
        insta::assert_snapshot!(plain, @r"
        NAME       STATE  NOTE
        蜂-1       ready  -
        worker-10  down   for 3 days
        ");
    }
}
