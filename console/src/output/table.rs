//! Tables: drawn to fit on a terminal; else one line a row, cells parted by tabs, for `cut` and `awk`.
//!
//! Only sentences are broken over lines: an id or a time in pieces can neither be read nor copied. What does not fit
//! then is left to the terminal.

use super::style::{Screen, Tone};
use super::text::clean;
use comfy_table::{Attribute, Color, ColumnConstraint, ContentArrangement, Width, presets};

/// The least width of a column of sentences.
const SENTENCE: usize = 16;

/// One cell.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A text in a tone. Whatever it came from, it is harmless afterwards.
    pub(crate) fn new(text: &str, tone: Tone) -> Self {
        Self { text: clean(text).into_owned(), tone }
    }

    fn drawn(&self) -> comfy_table::Cell {
        let cell = comfy_table::Cell::new(&self.text);
        match self.tone {
            Tone::Plain => cell,
            Tone::Strong => cell.add_attribute(Attribute::Bold),
            Tone::Good => cell.fg(Color::Green),
            Tone::Bad => cell.fg(Color::Red),
            Tone::Busy => cell.fg(Color::Cyan),
            Tone::Waiting => cell.fg(Color::Yellow),
            Tone::Faint => cell.add_attribute(Attribute::Dim),
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text, Tone::Plain)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(&text, Tone::Plain)
    }
}

/// A table with a head.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    head: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) const fn new(head: &'static [&'static str]) -> Self {
        Self { head, rows: Vec::new() }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    pub(crate) fn show(&self, screen: Screen) -> String {
        if screen.terminal { self.draw(screen) } else { self.lines() }
    }

    fn draw(&self, screen: Screen) -> String {
        let mut table = self.drawn(screen);
        // A terminal that does not say how wide it is.
        if table.width() == Some(0) {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
        let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n")
    }

    fn drawn(&self, screen: Screen) -> comfy_table::Table {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        if screen.colors {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(self.head.iter().map(|name| Cell::new(name, Tone::Strong).drawn()));
        for row in &self.rows {
            table.add_row(row.iter().map(Cell::drawn));
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_constraint(self.constraint(index));
        }
        table
    }

    /// A column of single words keeps its width.
    fn constraint(&self, column: usize) -> ColumnConstraint {
        let cells = || self.rows.iter().filter_map(|row| row.get(column));
        if !cells().any(|cell| cell.text.contains(' ')) {
            return ColumnConstraint::ContentWidth;
        }
        let widest = cells().map(|cell| cell.text.chars().count()).max().unwrap_or_default();
        ColumnConstraint::LowerBoundary(Width::Fixed(u16::try_from(widest.min(SENTENCE)).unwrap_or(u16::MAX)))
    }

    fn lines(&self) -> String {
        let mut lines = vec![self.head.join("\t")];
        lines.extend(self.rows.iter().map(|row| {
            let texts: Vec<&str> = row.iter().map(|cell| cell.text.as_str()).collect();
            texts.join("\t")
        }));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row(["a\tb".into(), Cell::new("fine", Tone::Good)]);
        table
    }

    #[test]
    fn without_a_terminal_rows_are_lines_and_cells_are_parted_by_tabs() {
        let screen = Screen { terminal: false, colors: true };
        assert_eq!(table().show(screen), "NAME\tSTATE\na\\tb\tfine");
    }

    #[test]
    fn words_stay_whole_and_sentences_are_broken() {
        let mut table = Table::new(&["JOB", "MESSAGE"]);
        let id = "01a1ff3b-dd9d-7240-bdda-0daf7999b393";
        table.row([id.into(), "a message of several words that has to go on in the next line".into()]);
        for width in [20, 60] {
            let mut drawn = table.drawn(Screen { terminal: true, colors: false });
            drawn.set_width(width);
            let text = drawn.to_string();
            assert!(text.contains(id) && !text.contains("of several words that has to"), "{text}");
        }
        let mut drawn = table.drawn(Screen { terminal: true, colors: false });
        drawn.set_width(200);
        assert_eq!(drawn.lines().count(), 2);
    }

    #[test]
    fn on_a_terminal_columns_line_up() {
        let text = table().show(Screen { terminal: true, colors: false });
        let columns: Vec<_> = text.lines().map(|line| line.find(['S', 'f'])).collect();
        assert!(columns.len() == 2 && columns[0].is_some() && columns[0] == columns[1], "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
        let colored = table().show(Screen { terminal: true, colors: true });
        assert!(colored.contains('\u{1b}'), "{colored:?}");
    }
}
