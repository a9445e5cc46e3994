//! Frames on a line that may lose, repeat and insert bytes: COBS between zero bytes, a CRC-32 at the end of each.
//!
//! ```text
//! body ‖ CRC-32 of body (IEEE, little-endian) ─ COBS ▸ bytes without a zero ‖ 00
//! ```
//!
//! COBS (Cheshire and Baker, 1999) leaves no zero byte inside a frame, so that the next zero byte is the beginning of the
//! next frame whatever came before it: noise costs the frame that it hits and no other. A sender may send zero bytes
//! between frames as it likes, and does well to begin with one.

/// Bytes of the checksum.
const CRC_BYTES: usize = 4;

/// Bytes between two zero bytes that are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noise {
    /// The bytes are not COBS.
    Cobs,
    /// The checksum is wrong or missing.
    Crc,
    /// Longer than a frame may be; everything up to the next zero byte was skipped.
    Long,
}

/// Finds the frames in a stream of bytes. Holds at most one frame of bounded length.
#[derive(Debug)]
pub(super) struct Frames {
    /// Most bytes of a body.
    max: usize,
    /// Bytes since the last zero byte.
    coded: Vec<u8>,
    body: Vec<u8>,
    /// Bytes are skipped until the next zero byte: they belong to a frame that is too long.
    passing: bool,
}

impl Frames {
    /// Returns a decoder for bodies of at most `max` bytes. The bytes before the first zero byte are a whole frame, or the end
    /// of one whose beginning was missed; the checksum decides.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            coded: Vec::new(),
            body: Vec::new(),
            passing: false,
        }
    }

    /// Discards a frame that has begun: the line was interrupted.
    pub(super) fn reset(&mut self) {
        self.coded.clear();
        self.passing = false;
    }

    /// Takes `bytes` and passes each body, or the noise in its place, to `take`.
    pub(super) fn feed(&mut self, bytes: &[u8], mut take: impl FnMut(Result<&[u8], Noise>)) {
        // COBS adds one byte in 254, and one.
        let most = (self.max + CRC_BYTES) * 255 / 254 + 2;
        for &byte in bytes {
            if byte == 0 {
                if std::mem::take(&mut self.passing) {
                    take(Err(Noise::Long));
                } else if !self.coded.is_empty() {
                    take(self.body());
                }
                self.coded.clear();
            } else if !self.passing {
                if self.coded.len() < most {
                    self.coded.push(byte);
                } else {
                    self.passing = true;
                    self.coded.clear();
                }
            }
        }
    }

    fn body(&mut self) -> Result<&[u8], Noise> {
        decode(&self.coded, &mut self.body).ok_or(Noise::Cobs)?;
        let (body, crc) = self
            .body
            .split_last_chunk::<CRC_BYTES>()
            .ok_or(Noise::Crc)?;
        if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
            return Err(Noise::Crc);
        }
        if body.len() > self.max {
            return Err(Noise::Long);
        }
        Ok(body)
    }
}

/// Undoes COBS; `None` where a block is longer than what is there.
fn decode(coded: &[u8], body: &mut Vec<u8>) -> Option<()> {
    body.clear();
    let mut rest = coded;
    while let Some((&code, after)) = rest.split_first() {
        let (block, next) = after.split_at_checked(usize::from(code).checked_sub(1)?)?;
        body.extend_from_slice(block);
        rest = next;
        // A block of 254 bytes is followed by no zero, nor is the last block.
        if code < 255 && !rest.is_empty() {
            body.push(0);
        }
    }
    Some(())
}

/// Returns a frame, its zero byte included. Not the crate `cobs`: after a full last block it leaves out the empty one.
#[must_use]
pub fn encode_frame(body: &[u8]) -> Vec<u8> {
    let crc = crc32fast::hash(body).to_le_bytes();
    let mut coded = Vec::with_capacity(body.len() + body.len() / 254 + CRC_BYTES + 3);
    let mut code_at = coded.len();
    coded.push(1);
    for &byte in body.iter().chain(&crc) {
        if byte != 0 {
            coded.push(byte);
            coded[code_at] += 1;
        }
        if byte == 0 || coded[code_at] == 255 {
            code_at = coded.len();
            coded.push(1);
        }
    }
    coded.push(0);
    coded
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    type Found = Vec<Result<Vec<u8>, Noise>>;

    fn feed(frames: &mut Frames, bytes: &[u8], pieces: &[usize]) -> Found {
        let mut found = Vec::new();
        let mut rest = bytes;
        let mut sizes = pieces.iter().cycle();
        while !rest.is_empty() {
            let size = sizes
                .next()
                .map_or(rest.len(), |&size| size.min(rest.len()));
            let (now, later) = rest.split_at(size);
            frames.feed(now, |frame| found.push(frame.map(<[u8]>::to_vec)));
            rest = later;
        }
        found
    }

    #[test]
    fn the_layout_is_that_of_the_published_examples() {
        // Cheshire and Baker's code, without the checksum.
        let cases: [(&[u8], &[u8]); 5] = [
            (&[1], &[]),
            (&[1, 1], &[0]),
            (&[1, 2, 0x11, 1], &[0, 0x11, 0]),
            (&[3, 0x11, 0x22, 2, 0x33], &[0x11, 0x22, 0, 0x33]),
            (&[5, 0x11, 0x22, 0x33, 0x44], &[0x11, 0x22, 0x33, 0x44]),
        ];
        for (coded, plain) in cases {
            let mut body = Vec::new();
            decode(coded, &mut body).unwrap();
            assert_eq!(body, plain);
        }
        // CRC-32 of "123456789" is the check value CBF43926.
        let frame = encode_frame(b"123456789");
        assert_eq!(frame, b"\x0e123456789\x26\x39\xf4\xcb\x00");
    }

    proptest! {
        #[test]
        fn frames_come_through_in_any_pieces(
            bodies in prop::collection::vec(prop::collection::vec(prop::sample::select(vec![0u8, 1, 255]), 0..600), 0..6),
            pieces in prop::collection::vec(1usize..40, 1..4),
        ) {
            let mut line = Vec::new();
            for body in &bodies {
                let frame = encode_frame(body);
                prop_assert!(!frame[..frame.len() - 1].contains(&0));
                line.extend(frame);
            }
            let expected: Found = bodies.into_iter().map(Ok).collect();
            prop_assert_eq!(feed(&mut Frames::new(600), &line, &pieces), expected);
        }

        #[test]
        fn noise_costs_the_frame_that_it_hits_and_later_frames_are_read(
            body in prop::collection::vec(any::<u8>(), 1..100),
            at in any::<prop::sample::Index>(),
            flip in 1u8..=255,
        ) {
            let good = encode_frame(b"good");
            let mut hit = encode_frame(&body);
            let at = at.index(hit.len() - 1);
            hit[at] ^= flip;
            let line = [&good[..], &hit, &good, &good].concat();
            let found = feed(&mut Frames::new(100), &line, &[7]);
            let good = Ok(b"good".to_vec());
            prop_assert_eq!(&found[0], &good);
            // A byte that turns into a zero splits a frame into two; nothing of it is taken for a frame.
            prop_assert!(found[1..found.len() - 2].iter().all(Result::is_err), "{:?}", found);
            prop_assert_eq!(&found[found.len() - 2..], [good.clone(), good]);
        }

        #[test]
        fn garbage_without_end_fills_no_memory(garbage in prop::collection::vec(1u8..=255, 0..5_000)) {
            let mut frames = Frames::new(16);
            prop_assert!(feed(&mut frames, &garbage, &[64]).is_empty());
            prop_assert!(frames.coded.len() <= 24);
            let found = feed(&mut frames, &[&[0], &encode_frame(b"good")[..]].concat(), &[1]);
            prop_assert_eq!(found.last().unwrap(), &Ok(b"good".to_vec()));
        }
    }
}
