//! Lines and their cells: RFC 4180 with two differences. A row is one line, so that an unclosed quote affects only its own
//! line; and the separator may be a comma, a semicolon, a tab or a vertical bar.

use std::io::{BufRead, BufReader, Read};

use csv_core::ReadRecordResult;

/// The longest line that is read, in bytes.
const MAX_LINE: usize = 1 << 20;
/// Separators of cells.
const SEPARATORS: [u8; 4] = *b",;\t|";

/// The cells of one line.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    bytes: Vec<u8>,
    /// Where each cell ends.
    ends: Vec<usize>,
    /// The line, from 1.
    pub(super) line: u64,
    /// The rule that the line breaks, if it cannot be split into cells.
    pub(super) broken: Option<&'static str>,
}

impl Row {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns a cell, which is empty after the last one.
    pub(super) fn cell(&self, at: usize) -> &[u8] {
        let Some(end) = self.ends.get(at) else {
            return &[];
        };
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..*end]
    }

    /// Returns all cells without separators.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads lines and splits them into cells.
pub(super) struct Lines<R> {
    read: BufReader<R>,
    line: Vec<u8>,
    number: u64,
    /// Bytes read so far, line ends included.
    offset: u64,
    splitter: csv_core::Reader,
    separator: u8,
    /// Whether the last line ended with a carriage return, so that a line feed right after it is part of its end.
    returned: bool,
}

impl<R> Lines<R> {
    pub(super) fn separator(&self) -> u8 {
        self.separator
    }

    /// The place after the last line: bytes, lines, and whether a line feed right after it is part of its end.
    pub(super) fn place(&self) -> (u64, u64, bool) {
        (self.offset, self.number, self.returned)
    }
}

impl<R: Read> Lines<R> {
    pub(super) fn new(read: R) -> Self {
        Self {
            read: BufReader::with_capacity(1 << 16, read),
            line: Vec::new(),
            number: 0,
            offset: 0,
            splitter: splitter(b','),
            separator: b',',
            returned: false,
        }
    }

    /// Chooses the most frequent separator of the current line outside of quotes, and splits the line again.
    pub(super) fn guess_separator(&mut self, row: &mut Row) {
        let mut counts = [0usize; SEPARATORS.len()];
        let mut quoted = false;
        for byte in &self.line {
            quoted ^= *byte == b'"';
            if !quoted && let Some(at) = SEPARATORS.iter().position(|s| s == byte) {
                counts[at] += 1;
            }
        }
        // The comma is chosen unless another one is more frequent.
        let most = (0..counts.len()).rev().max_by_key(|at| counts[*at]);
        self.separator = SEPARATORS[most.unwrap_or(0)];
        self.splitter = splitter(self.separator);
        self.split_line(row);
    }

    /// Reads the next line that is not blank into `row`, and returns whether there was one.
    pub(super) fn next(&mut self, row: &mut Row) -> std::io::Result<bool> {
        loop {
            let Some(too_long) = self.read_line()? else {
                return Ok(false);
            };
            if too_long {
                row.bytes.clear();
                row.ends.clear();
                row.line = self.number;
                row.broken = Some("must have at most 1,048,576 bytes");
                return Ok(true);
            }
            if !self.line.trim_ascii().is_empty() {
                self.split_line(row);
                return Ok(true);
            }
        }
    }

    /// Reads a line without its end (LF, CR LF or CR), and returns whether it was too long to be kept, or `None` at the end.
    fn read_line(&mut self) -> std::io::Result<Option<bool>> {
        self.line.clear();
        let (mut any, mut too_long) = (false, false);
        loop {
            let buffer = self.read.fill_buf()?;
            if buffer.is_empty() {
                break;
            }
            if std::mem::take(&mut self.returned) && buffer[0] == b'\n' {
                self.consume(1);
                continue;
            }
            any = true;
            let end = buffer.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            self.returned = end.is_some_and(|end| buffer[end] == b'\r');
            let part = &buffer[..end.unwrap_or(buffer.len())];
            too_long |= self.line.len() + part.len() > MAX_LINE;
            if !too_long {
                self.line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.consume(used);
            if end.is_some() {
                break;
            }
        }
        if !any {
            return Ok(None);
        }
        self.number += 1;
        if self.number == 1 && self.line.starts_with(b"\xef\xbb\xbf") {
            self.line.drain(..3);
        }
        Ok(Some(too_long))
    }

    fn consume(&mut self, bytes: usize) {
        self.read.consume(bytes);
        self.offset += bytes as u64;
    }

    /// Reads on to a place behind this one, without looking at the lines between.
    pub(super) fn skip_to(
        &mut self,
        (offset, number, returned): (u64, u64, bool),
    ) -> std::io::Result<()> {
        while self.offset < offset {
            let held = self.read.fill_buf()?.len();
            if held == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let left = usize::try_from(offset - self.offset).unwrap_or(usize::MAX);
            self.consume(held.min(left));
        }
        (self.number, self.returned) = (number, returned);
        Ok(())
    }

    fn split_line(&mut self, row: &mut Row) {
        row.line = self.number;
        row.broken = None;
        // Cells are never longer than their line.
        row.bytes.resize(self.line.len() + 1, 0);
        row.ends.resize(16.max(row.ends.capacity()), 0);
        self.splitter.reset();
        let (mut from, mut written, mut ends) = (0, 0, 0);
        // A line feed after the line marks its end.
        let mut input: &[u8] = &self.line;
        let mut ended = false;
        loop {
            let (result, read, out, found) = self.splitter.read_record(
                &input[from..],
                &mut row.bytes[written..],
                &mut row.ends[ends..],
            );
            from += read;
            written += out;
            ends += found;
            match result {
                ReadRecordResult::OutputFull => row.bytes.resize(row.bytes.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => row.ends.resize(row.ends.len() * 2, 0),
                ReadRecordResult::InputEmpty if !ended => {
                    (input, from, ended) = (b"\n", 0, true);
                }
                ReadRecordResult::InputEmpty => {
                    row.broken = Some("must close its quote on the same line");
                    break;
                }
                ReadRecordResult::Record | ReadRecordResult::End => break,
            }
        }
        row.bytes.truncate(written);
        row.ends.truncate(ends);
        if row.broken.is_some() {
            row.bytes.clone_from(&self.line);
            row.ends = vec![row.bytes.len()];
        }
    }
}

fn splitter(separator: u8) -> csv_core::Reader {
    csv_core::ReaderBuilder::new().delimiter(separator).build()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn rows(text: &[u8]) -> Vec<Result<Vec<String>, &'static str>> {
        let mut lines = Lines::new(text);
        let mut row = Row::default();
        let mut found = Vec::new();
        while lines.next(&mut row).unwrap() {
            let cells = (0..row.len()).map(|at| String::from_utf8_lossy(row.cell(at)).into_owned());
            found.push(row.broken.map_or(Ok(cells.collect()), Err));
        }
        found
    }

    #[test]
    fn quoted_cells_may_hold_separators_and_quotes() {
        let text = b"\xef\xbb\xbfa,\"b, c\",\"say \"\"d\"\"\"\r\n\n1,,\n\"never closed,2\n3";
        let cells = |cells: &[&str]| Ok(cells.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>());
        assert_eq!(
            rows(text),
            [
                cells(&["a", "b, c", "say \"d\""]),
                cells(&["1", "", ""]),
                Err("must close its quote on the same line"),
                cells(&["3"]),
            ]
        );
    }

    #[test]
    fn a_line_that_is_too_long_is_one_broken_row() {
        let long = [vec![b'1'; MAX_LINE + 1], b"\n1,2\n".to_vec()].concat();
        let found = rows(&long);
        assert!(found[0].is_err());
        assert_eq!(found[1], Ok(vec!["1".to_owned(), "2".to_owned()]));
    }

    #[test]
    fn the_separator_is_the_most_frequent_one_of_the_header() {
        for (text, cells) in [
            ("a;b;c", 3),
            ("a\tb,x\tc\td", 4),
            ("a|b", 2),
            ("a,b", 2),
            ("\"a;b;c\",d", 2),
            ("alone", 1),
        ] {
            let mut lines = Lines::new(text.as_bytes());
            let mut row = Row::default();
            lines.next(&mut row).unwrap();
            lines.guess_separator(&mut row);
            assert_eq!(row.len(), cells, "{text}");
        }
    }

    proptest! {
        #[test]
        fn quoted_cells_are_the_same_after_a_round_trip(
            table in prop::collection::vec(prop::collection::vec("[a-z,\"; \u{4e00}-\u{4e20}]{0,12}", 1..24), 1..8)
        ) {
            let mut text = String::new();
            for row in &table {
                let cells: Vec<String> = row.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
                text += &(cells.join(",") + "\n");
            }
            let found: Vec<Vec<String>> = rows(text.as_bytes()).into_iter().map(Result::unwrap).collect();
            prop_assert_eq!(found, table);
        }

        #[test]
        fn every_line_that_is_not_blank_is_one_row(text in "[a-z,\"\r ]{0,20}(\n[a-z,\"\r ]{0,20}){0,10}") {
            let lines = text.split(['\n', '\r']).filter(|line| !line.trim().is_empty()).count();
            prop_assert_eq!(rows(text.as_bytes()).len(), lines);
        }
    }
}
