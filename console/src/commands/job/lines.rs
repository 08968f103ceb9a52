//! Lines of a stream of any size, in bounded memory.

use tokio::io::{self, AsyncBufRead, AsyncBufReadExt};

/// A numbered line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// From 1.
    pub(super) number: u64,
    /// Its bytes, without the line break; `None` for one that is too long, which was read past.
    pub(super) bytes: Option<Vec<u8>>,
}

/// Reads lines of at most so many bytes.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: R,
    longest: usize,
    number: u64,
    /// Bytes read so far.
    pub(super) read: u64,
    /// The line that is being read, so that a read that is given up half way loses nothing.
    line: Vec<u8>,
    too_long: bool,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub(super) const fn new(reader: R, longest: usize) -> Self {
        Self { reader, longest, number: 0, read: 0, line: Vec::new(), too_long: false }
    }

    /// The next line; `None` at the end.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let buffer = self.reader.fill_buf().await?;
            if buffer.is_empty() {
                let rest = !self.line.is_empty() || self.too_long;
                return Ok(rest.then(|| self.finish()));
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = &buffer[..end.unwrap_or(buffer.len())];
            if self.line.len() + part.len() > self.longest {
                self.too_long = true;
                self.line.clear();
            }
            if !self.too_long {
                self.line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            self.read += used as u64;
            if end.is_some() {
                return Ok(Some(self.finish()));
            }
        }
    }

    fn finish(&mut self) -> Line {
        self.number += 1;
        let line = std::mem::take(&mut self.line);
        let bytes = (!std::mem::take(&mut self.too_long)).then_some(line);
        Line { number: self.number, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::BufReader;

    #[tokio::test]
    async fn a_line_may_be_as_long_as_the_limit() {
        for (length, taken) in [(10, true), (11, false)] {
            let text = format!("{}\n", "x".repeat(length));
            let mut lines = Lines::new(BufReader::with_capacity(4, text.as_bytes()), 10);
            assert_eq!(lines.next().await.unwrap().unwrap().bytes.is_some(), taken, "{length}");
        }
    }

    #[tokio::test]
    async fn lines_are_numbered_and_a_long_one_is_read_past() {
        let long = "x".repeat(50);
        let text = format!("one\n\n{long}\ntwo\r\nlast");
        // A tiny buffer, so that every line comes in pieces.
        let mut lines = Lines::new(BufReader::with_capacity(4, text.as_bytes()), 10);
        let mut found = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            found.push((line.number, line.bytes.map(|bytes| String::from_utf8(bytes).unwrap())));
        }
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(found, [(1, some("one")), (2, some("")), (3, None), (4, some("two\r")), (5, some("last"))]);
        assert_eq!(lines.read, text.len() as u64);
    }
}
