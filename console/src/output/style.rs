//! What a text means, and how that looks.

use anstyle::{AnsiColor, Style};

/// What stdout can show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    /// Somebody looks: tables are drawn, times are short.
    pub(crate) terminal: bool,
    /// It takes colours.
    pub(crate) colors: bool,
}

/// What a text means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// A heading.
    Strong,
    /// It went well.
    Good,
    /// It went wrong.
    Bad,
    /// It goes on.
    Busy,
    /// It waits.
    Waiting,
    /// Of less interest.
    Faint,
}

impl Tone {
    fn style(self) -> Style {
        let style = Style::new();
        let color = |color: AnsiColor| style.fg_color(Some(anstyle::Color::Ansi(color)));
        match self {
            Self::Plain => style,
            Self::Strong => style.bold(),
            Self::Good => color(AnsiColor::Green),
            Self::Bad => color(AnsiColor::Red),
            Self::Busy => color(AnsiColor::Cyan),
            Self::Waiting => color(AnsiColor::Yellow),
            Self::Faint => style.dimmed(),
        }
    }
}

impl Screen {
    /// A text in its tone.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        if !self.colors || tone == Tone::Plain || text.is_empty() {
            return text.to_owned();
        }
        let style = tone.style();
        format!("{style}{text}{style:#}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_only_where_they_are_taken() {
        let screen = |colors| Screen { terminal: true, colors };
        assert_eq!(screen(false).paint(Tone::Bad, "no"), "no");
        assert_eq!(screen(true).paint(Tone::Bad, "no"), "\u{1b}[31mno\u{1b}[0m");
        assert_eq!(screen(true).paint(Tone::Plain, "no"), "no");
    }
}
