//! A limit on the memory of the CSV reader.

use std::io::{Error, ErrorKind, Read, Result};

/// Longest row in bytes. Rows of predictions have about a hundred.
const MAX_ROW_BYTES: usize = 1 << 20;

/// Forwards bytes, and fails on an endless row: after a quote that is not closed, or in a decompression bomb.
#[derive(Debug)]
pub(super) struct Bounded<R> {
    inner: R,
    row_bytes: usize,
    in_quotes: bool,
}

impl<R: Read> Bounded<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            row_bytes: 0,
            in_quotes: false,
        }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let len = self.inner.read(buffer)?;
        if len == 0 && self.in_quotes && !buffer.is_empty() {
            let rule = "a quote is opened and never closed";
            return Err(Error::new(ErrorKind::InvalidData, rule));
        }
        for byte in &buffer[..len] {
            self.row_bytes += 1;
            match byte {
                b'"' => self.in_quotes = !self.in_quotes,
                b'\n' if !self.in_quotes => self.row_bytes = 0,
                _ => {}
            }
        }
        match self.row_bytes > MAX_ROW_BYTES {
            true => {
                let rule = "a row is longer than a mebibyte; a quote may not be closed";
                Err(Error::new(ErrorKind::InvalidData, rule))
            }
            false => Ok(len),
        }
    }
}
