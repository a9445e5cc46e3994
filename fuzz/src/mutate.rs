//! Mutations of bytes, and of words and lines of text.

/// Separators between two cells or words of a text.
const BETWEEN: &[u8] = b",;\t|\n\r\":{}[]= ";

/// Words that are likely to break a reader.
const NASTY: [&[u8]; 48] = [
    b"",
    b"0",
    b"-0",
    b"-1",
    b"1.0",
    b"0.1",
    b"1e308",
    b"1e-320",
    b"1e999",
    b"1e39",
    b"NaN",
    b"inf",
    b"null",
    b"true",
    b"\"",
    b"\"\"",
    b"'",
    b"4294967296",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"18446744073709551615",
    b"9999999999999999999",
    b"\"1,234.5\"",
    b"2024-02-29",
    b"2023-02-29",
    b"1900-01-01",
    b"2199-12-31",
    b"2/1/2024",
    b"31/12/2024",
    b"20240102",
    b"00:00",
    b"24:00",
    b"2024-01-02T09:35:00Z",
    b"2199-12-31 23:59:59-14:59",
    b"1704159300",
    b"600000.SH",
    b"AAPL",
    "\u{80a1}\u{7968}\u{4ee3}\u{7801}".as_bytes(),
    b"\xef\xbb\xbf",
    b"\xff",
    b"\0",
    b"\r\n",
    b"\\u0000",
    b"..",
    b"1s",
    b"{}",
    b"[]",
    b"#",
];

/// Mutates inputs; a seed gives the same mutations on every machine.
#[derive(Clone, Debug)]
pub struct Mutator(u64);

impl Mutator {
    /// A mutator of its own sequence.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn draw(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) as usize % below.max(1)
    }

    /// One of `seeds` with one to eight faults, now and then spliced with another.
    ///
    /// # Panics
    /// When there is no seed.
    pub fn damaged(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[self.draw(seeds.len())].clone();
        // Binary data has no words, and texts have no lengths.
        let is_text = std::str::from_utf8(&bytes).is_ok();
        for _ in 0..=self.draw(8) {
            if is_text && self.draw(4) > 0 {
                self.damage_text(&mut bytes, seeds);
                continue;
            }
            let at = self.draw(bytes.len());
            match self.draw(8) {
                0 | 1 if !bytes.is_empty() => bytes[at] ^= 1 << self.draw(8),
                2 if !bytes.is_empty() => bytes[at] = [0, 1, 0x7F, 0x80, 0xFF][self.draw(5)],
                3 => bytes.truncate(at),
                4 => {
                    let filler = self.draw(256) as u8;
                    let count = self.draw(40);
                    bytes.splice(at..at, std::iter::repeat_n(filler, count));
                }
                // Lengths are 4 or 8 bytes, little- and big-endian.
                5 | 6 if bytes.len() >= at + 8 => {
                    let value =
                        [0, 1, 63, 64, 65_536, 65_537, u64::from(u32::MAX), u64::MAX][self.draw(8)];
                    let value = if self.draw(2) == 0 {
                        value.to_le_bytes()
                    } else {
                        value.to_be_bytes()
                    };
                    let width = [4, 8][self.draw(2)];
                    let from = if value[0] == 0 { 8 - width } else { 0 };
                    bytes[at..at + width].copy_from_slice(&value[from..from + width]);
                }
                7 => {
                    let other = &seeds[self.draw(seeds.len())];
                    let tail = other.len().min(at);
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[tail..]);
                }
                _ => {}
            }
        }
        bytes
    }

    /// Changes a word, a separator, or a line.
    fn damage_text(&mut self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let word = self.part(bytes, BETWEEN);
        match self.draw(10) {
            0..=2 => {
                let nasty = NASTY[self.draw(NASTY.len())];
                bytes.splice(word, nasty.iter().copied());
            }
            3 | 4 => {
                let other = &seeds[self.draw(seeds.len())];
                let from = self.part(other, BETWEEN);
                bytes.splice(word, other[from].iter().copied());
            }
            5 if !word.is_empty() => {
                let at = word.start + self.draw(word.len());
                bytes[at] = b"0123456789.-+eE"[self.draw(15)];
            }
            6 if word.end < bytes.len() => bytes[word.end] = BETWEEN[self.draw(BETWEEN.len())],
            7 => {
                bytes.drain(word);
            }
            8 => {
                let line = self.part(bytes, b"\n");
                bytes.drain(line.start..(line.end + 1).min(bytes.len()));
            }
            _ => {
                // A line once more, in another place.
                let line = self.part(bytes, b"\n");
                let copy = [&bytes[line], b"\n"].concat();
                let at = self.part(bytes, b"\n").start;
                bytes.splice(at..at, copy);
            }
        }
    }

    /// Any part of `bytes` that holds none of `between`.
    fn part(&mut self, bytes: &[u8], between: &[u8]) -> std::ops::Range<usize> {
        let at = self.draw(bytes.len() + 1);
        let is_end = |byte: &u8| between.contains(byte);
        let start = bytes[..at]
            .iter()
            .rposition(is_end)
            .map_or(0, |end| end + 1);
        let end = bytes[at..]
            .iter()
            .position(is_end)
            .map_or(bytes.len(), |end| at + end);
        start..end
    }
}
