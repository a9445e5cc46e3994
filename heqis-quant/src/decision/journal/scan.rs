//! Lines one after another, with the rules between them.

use super::{Header, Line, Place, Record, StreamName};
use crate::QuantError;

/// Longest line that is read, bytes with its end.
pub const MAX_LINE: usize = 1 << 20;

/// What a header of the format that is written begins with, as far as it is the same in all journals.
const HEADER_START: &[u8] = b"{\"heqis_journal\":2,\"";

/// Checks a segment line by line, in constant memory.
#[derive(Clone, Debug)]
pub struct Scanner {
    source_name: String,
    line: usize,
    format: u32,
    /// Segment and decisions before it, where they are known beforehand.
    expected: Option<(u64, u64)>,
    decisions: u64,
    closed: bool,
}

impl Scanner {
    /// A scanner for any segment. `source_name` is told in errors.
    pub fn new(source_name: impl Into<String>) -> Self {
        Self {
            source_name: source_name.into(),
            line: 0,
            format: 0,
            expected: None,
            decisions: 0,
            closed: false,
        }
    }

    /// Lets only segment number `segment` pass, before which `before` decisions stand.
    #[must_use]
    pub fn expecting(mut self, segment: u64, before: u64) -> Self {
        self.expected = Some((segment, before));
        self
    }

    /// Decisions so far, those of the segments before included.
    #[must_use]
    pub fn decisions(&self) -> u64 {
        self.decisions
    }

    /// Whether the line before was a closing one.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Lines so far.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.line
    }

    /// Takes the next line, without its end.
    ///
    /// # Errors
    /// Returns [`QuantError::Journal`] naming the line and the rule that it breaks.
    pub fn take(&mut self, line: &[u8]) -> Result<Line, QuantError> {
        self.line += 1;
        self.check(line).map_err(|rule| self.fault(rule))
    }

    /// Ends a segment behind whose last whole line `torn` stands: what a writer left that was killed while it wrote.
    ///
    /// # Errors
    /// Returns [`QuantError::Journal`] when there was no whole line and `torn` is not the beginning of a header: a file of
    /// something else, which must not be taken for a torn journal and emptied.
    pub fn end(&mut self, torn: &[u8]) -> Result<(), QuantError> {
        if self.line > 0 {
            return Ok(());
        }
        let mut first = String::new();
        Line::Header(Header::first_format()).write(&mut first);
        let begins = first.as_bytes().starts_with(torn)
            || HEADER_START.starts_with(torn)
            || torn.starts_with(HEADER_START);
        if begins {
            return Ok(());
        }
        self.line = 1;
        Err(self.fault("is not the header of a journal".into()))
    }

    /// The error that the line just taken breaks `rule`.
    #[must_use]
    pub fn fault(&self, rule: String) -> QuantError {
        QuantError::Journal {
            source_name: self.source_name.clone(),
            line: self.line,
            rule,
        }
    }

    fn check(&mut self, line: &[u8]) -> Result<Line, String> {
        let text = std::str::from_utf8(line).map_err(|_| "is not UTF-8".to_owned())?;
        let first = self.line == 1;
        let held = self.decisions;
        let line = Line::parse(text)?;
        match &line {
            Line::Header(header) if first => self.begin(header)?,
            Line::Header(_) => return Err("is a second header".into()),
            _ if first => return Err("is not the header of a journal".into()),
            Line::Stream(_) if self.format == 1 => {
                return Err("names a stream, which format 1 does not".into());
            }
            Line::Stream(_) => self.closed = false,
            Line::Closing { decisions } if *decisions == held => self.closed = true,
            Line::Closing { decisions } => {
                return Err(format!("closes {decisions} decisions, {held} are there"));
            }
            Line::Decision(place, _) if Some(place.n) != held.checked_add(1) => {
                return Err(format!(
                    "decision {} stands at {}",
                    place.n,
                    held.saturating_add(1)
                ));
            }
            Line::Decision(place, _) => (self.decisions, self.closed) = (place.n, false),
        }
        Ok(line)
    }

    fn begin(&mut self, header: &Header) -> Result<(), String> {
        let &Header {
            format,
            segment,
            before,
            ..
        } = header;
        if let Some((number, held)) = self.expected
            && (segment, before) != (number, held)
        {
            return Err(format!(
                "begins segment {segment} after {before} decisions, expected is segment {number} after {held}"
            ));
        }
        (self.format, self.decisions) = (format, before);
        Ok(())
    }
}

/// What a journal holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// The first header; none in a file that is empty, or torn in its first line.
    pub header: Option<Header>,
    /// Streams in the order in which they are named, each once.
    pub streams: Vec<StreamName>,
    /// Decisions in order.
    pub records: Vec<(Place, Record)>,
    /// Whether the last line is a closing one; otherwise the writer was killed or still runs.
    pub closed: bool,
    /// Bytes of whole lines; what is behind them is a torn write.
    pub whole_bytes: u64,
}

impl Contents {
    /// Reads the text of one segment and checks every line. A torn last line is left out. `source_name` is told in errors.
    ///
    /// # Errors
    /// Returns [`QuantError::Journal`] naming the line and the rule.
    pub fn parse(text: &[u8], source_name: &str) -> Result<Self, QuantError> {
        let mut contents = Self::default();
        let mut scanner = Scanner::new(source_name);
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            let Some(whole) = line.strip_suffix(b"\n") else {
                scanner.end(line)?;
                break;
            };
            contents.take(scanner.take(whole)?);
            contents.whole_bytes += line.len() as u64;
        }
        Ok(contents)
    }

    /// Adds a line that was checked.
    pub fn take(&mut self, line: Line) {
        self.closed = match &line {
            Line::Closing { .. } => true,
            // The header of a later segment says nothing of decisions.
            Line::Header(_) => self.closed,
            Line::Stream(_) | Line::Decision(..) => false,
        };
        match line {
            Line::Header(header) => {
                self.header.get_or_insert(header);
            }
            Line::Stream(name) => {
                if self.streams.iter().all(|known| known.stream != name.stream) {
                    self.streams.push(name);
                }
            }
            Line::Decision(place, record) => self.records.push((place, record)),
            Line::Closing { .. } => {}
        }
    }
}
