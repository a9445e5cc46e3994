//! Lines of bounded length from a stream that may break at any byte.

use std::io::{self, Read};

/// Bytes that are asked for at once.
const CHUNK: usize = 8 * 1024;

/// Returns whole lines only, none longer than a limit: half a line could be read as a bar of other values, and an
/// endless one would fill the memory. For the reader above, the end of the lines is the end of a file, whatever its cause;
/// [`WholeLines::end`] returns the cause.
#[derive(Debug)]
pub(super) struct WholeLines<R> {
    read: R,
    max: usize,
    /// Whole lines up to `whole`, handed out up to `given`; after them the beginning of a line, at most `max` long.
    buffer: Vec<u8>,
    given: usize,
    whole: usize,
    end: Option<End>,
}

/// What came after the last whole line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing.
    Clean,
    /// This many bytes of a line without its end.
    Torn(usize),
    /// A line above the limit.
    TooLong,
}

impl<R: Read> WholeLines<R> {
    /// Lines of at most `max` bytes, line ends not counted.
    pub(super) fn new(read: R, max: usize) -> Self {
        Self {
            read,
            max,
            buffer: Vec::new(),
            given: 0,
            whole: 0,
            end: None,
        }
    }

    /// Why there are no further lines; `None` while there may be.
    pub(super) fn end(&self) -> Option<End> {
        self.end
    }

    fn fill(&mut self) {
        self.buffer.drain(..self.whole);
        (self.given, self.whole) = (0, 0);
        let start = self.buffer.len();
        self.buffer.resize(start + CHUNK, 0);
        let read = self.read.read(&mut self.buffer[start..]);
        self.buffer.truncate(start + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => {
                self.end = Some(if start == 0 {
                    End::Clean
                } else {
                    End::Torn(start)
                })
            }
            Ok(_) => {
                for line in self.buffer.split_inclusive(|&byte| byte == b'\n') {
                    let ends = line.ends_with(b"\n");
                    if line.len() - usize::from(ends) > self.max {
                        self.end = Some(End::TooLong);
                    }
                    if self.end.is_some() || !ends {
                        break;
                    }
                    self.whole += line.len();
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A broken connection is an end like any other: what came before it counts.
            Err(_) => {
                self.end = Some(if start == 0 {
                    End::Clean
                } else {
                    End::Torn(start)
                })
            }
        }
    }
}

impl<R: Read> Read for WholeLines<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.given == self.whole {
            if self.end.is_some() {
                return Ok(0);
            }
            self.fill();
        }
        let count = out.len().min(self.whole - self.given);
        out[..count].copy_from_slice(&self.buffer[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// Gives bytes in pieces of the sizes asked for, round and round, and then an error or the end.
    struct Pieces<'a> {
        bytes: &'a [u8],
        sizes: std::iter::Cycle<std::slice::Iter<'a, usize>>,
        breaks: bool,
    }

    impl Read for Pieces<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            if self.bytes.is_empty() && self.breaks {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            let count = self
                .sizes
                .next()
                .unwrap()
                .min(&self.bytes.len())
                .min(&out.len())
                .to_owned();
            let (now, later) = self.bytes.split_at(count);
            out[..count].copy_from_slice(now);
            self.bytes = later;
            Ok(count)
        }
    }

    fn lines_of(bytes: &[u8], sizes: &[usize], max: usize, breaks: bool) -> (Vec<u8>, Option<End>) {
        let mut lines = WholeLines::new(
            Pieces {
                bytes,
                sizes: sizes.iter().cycle(),
                breaks,
            },
            max,
        );
        let mut got = Vec::new();
        lines.read_to_end(&mut got).unwrap();
        (got, lines.end())
    }

    proptest! {
        #[test]
        fn what_is_handed_out_is_every_whole_line_before_the_first_long_one(
            bytes in prop::collection::vec(prop::sample::select(b"ab\n".to_vec()), 0..400),
            sizes in prop::collection::vec(1usize..50, 1..5),
            max in 1usize..20,
            breaks in any::<bool>(),
        ) {
            let mut expected = (Vec::new(), End::Clean);
            for line in bytes.split_inclusive(|&byte| byte == b'\n') {
                let length = line.strip_suffix(b"\n").unwrap_or(line).len();
                if length > max {
                    expected.1 = End::TooLong;
                    break;
                }
                if length == line.len() {
                    expected.1 = End::Torn(length);
                    break;
                }
                expected.0.extend_from_slice(line);
            }
            let (got, end) = lines_of(&bytes, &sizes, max, breaks);
            prop_assert_eq!((got, end.unwrap()), expected);
        }

        #[test]
        fn an_endless_line_is_given_up_soon_after_the_limit(max in 1usize..100_000) {
            let mut lines = WholeLines::new(io::repeat(b'x'), max);
            prop_assert_eq!(lines.read(&mut [0; 16]).unwrap(), 0);
            prop_assert_eq!(lines.end(), Some(End::TooLong));
            prop_assert!(lines.buffer.len() <= max + CHUNK);
        }
    }
}
