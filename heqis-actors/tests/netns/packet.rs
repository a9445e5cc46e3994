//! As much of IPv4 and TCP as faults need: where the payload of a segment lies, and its checksum.

use std::ops::Range;

const TCP: u8 = 6;

/// Where TCP's part of an IPv4 packet lies.
pub struct Segment {
    tcp: Range<usize>,
    pub payload: Range<usize>,
}

pub fn is_ipv4(packet: &[u8]) -> bool {
    packet.len() >= 20 && packet[0] >> 4 == 4
}

/// The TCP segment in an IPv4 packet. Fragments do not occur: TCP fits its segments to the device.
pub fn segment(packet: &[u8]) -> Option<Segment> {
    if !is_ipv4(packet) || packet[9] != TCP {
        return None;
    }
    let start = usize::from(packet[0] & 15) * 4;
    let end = usize::from(u16::from_be_bytes([packet[2], packet[3]])).min(packet.len());
    let head = usize::from(packet.get(start + 12)? >> 4) * 4;
    (head >= 20 && start + head <= end).then_some(Segment {
        tcp: start..end,
        payload: start + head..end,
    })
}

/// Writes the checksum that belongs to the bytes of `segment`.
pub fn mend_checksum(packet: &mut [u8], segment: &Segment) {
    let at = segment.tcp.start + 16;
    packet[at..at + 2].fill(0);
    let sum = checksum(packet, segment);
    packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// Whether the checksum of `segment` is that of its bytes: over a segment with its checksum, the sum is zero.
pub fn is_whole(packet: &[u8], segment: &Segment) -> bool {
    checksum(packet, segment) == 0
}

/// The checksum over the addresses, the protocol, the length and the segment.
fn checksum(packet: &[u8], segment: &Segment) -> u16 {
    let length = segment.tcp.len() as u32;
    let mut sum = u32::from(TCP) + (length >> 16) + (length & 0xFFFF);
    let words = |bytes: &[u8]| -> u32 {
        bytes
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
            .sum()
    };
    sum += words(&packet[12..20]) + words(&packet[segment.tcp.clone()]);
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment of five bytes without its checksum.
    fn sample() -> Vec<u8> {
        let mut packet = vec![
            0x45, 0, 0, 45, 0, 1, 0x40, 0, 64, TCP, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
        ];
        packet.extend([
            0x9C, 0x40, 0x1B, 0x58, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 1, 0, 0, 0, 0, 0,
        ]);
        packet.extend(b"hello");
        packet
    }

    #[test]
    fn a_checksum_is_mended_and_says_when_a_byte_is_wrong() {
        let mut packet = sample();
        let segment = segment(&packet).unwrap();
        assert_eq!(&packet[segment.payload.clone()], b"hello");
        mend_checksum(&mut packet, &segment);
        assert!(is_whole(&packet, &segment));
        packet[segment.payload.start] ^= 1;
        assert!(!is_whole(&packet, &segment));
        mend_checksum(&mut packet, &segment);
        assert!(is_whole(&packet, &segment));
    }

    #[test]
    fn what_is_not_a_whole_segment_is_left_alone() {
        let packet = sample();
        for cut in 0..40 {
            assert!(segment(&packet[..cut]).is_none(), "{cut}");
        }
        let mut udp = packet.clone();
        udp[9] = 17;
        assert!(segment(&udp).is_none());
        let mut six = packet;
        six[0] = 0x65;
        assert!(!is_ipv4(&six));
    }
}
