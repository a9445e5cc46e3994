//! What a certificate says: its names, its serial number, its span.
//!
//! rustls checks certificates and does not show what is in them, so a small reader of DER does. It decides nothing about
//! trust but which names and serial number a checked certificate has.

use std::net::IpAddr;

use graviola::hashing::Hash;
use time::{Date, Month, OffsetDateTime};

/// What a certificate says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its DNS names; the first is that of the node, the others are those of its machine.
    pub names: Vec<String>,
    /// Its IP addresses.
    pub addresses: Vec<IpAddr>,
    /// The common name of its subject; empty where it has no such name.
    pub subject: String,
    /// The common name of its issuer.
    pub issuer: String,
    /// The serial number, in hexadecimal digits.
    pub serial: String,
    /// Begin of its span, in seconds since 1970.
    pub not_before: i64,
    /// End of its span, in seconds since 1970.
    pub not_after: i64,
    /// SHA-256 of the certificate, in hexadecimal digits.
    pub fingerprint: String,
}

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
/// 2.5.29.17
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

impl Certificate {
    /// Reads a certificate in DER; `None` when the bytes are not one.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        let mut tbs = Der(Der(Der(der).take(SEQUENCE)?).take(SEQUENCE)?);
        if tbs.peek() == Some(VERSION) {
            tbs.next()?;
        }
        let serial = hex(significant(tbs.take(INTEGER)?));
        tbs.take(SEQUENCE)?; // the algorithm of the signature
        let issuer = common_name(tbs.take(SEQUENCE)?)?;
        let mut span = Der(tbs.take(SEQUENCE)?);
        let (not_before, not_after) = (time_of(span.next()?)?, time_of(span.next()?)?);
        let subject = common_name(tbs.take(SEQUENCE)?)?;
        tbs.take(SEQUENCE)?; // the key
        let (mut names, mut addresses) = Default::default();
        while let Some((tag, contents)) = tbs.next() {
            if tag == EXTENSIONS {
                (names, addresses) = names_of(contents)?;
            }
        }
        Some(Self {
            names,
            addresses,
            subject,
            issuer,
            serial,
            not_before,
            not_after,
            fingerprint: hex(graviola::hashing::Sha256::hash(der).as_ref()),
        })
    }

    /// Returns the name of the node that it was issued to; `None` where it has no name.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.names.first().map(String::as_str)
    }

    /// Returns the host names and addresses that it holds in addition to the name of its node.
    pub fn hosts(&self) -> impl Iterator<Item = String> {
        let names = self.names.iter().skip(1).cloned();
        names.chain(self.addresses.iter().map(IpAddr::to_string))
    }

    /// Returns the whole days from `now`, in seconds since 1970, to the end of the span; negative when it is over.
    #[must_use]
    pub const fn days_left(&self, now: i64) -> i64 {
        self.not_after.saturating_sub(now).div_euclid(86_400)
    }

    /// Returns the last day of the span, as in `2027-11-30`.
    #[must_use]
    pub fn last_day(&self) -> String {
        date(self.not_after)
    }
}

/// Elements of DER, one after another.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // Certificates are short: three bytes of length are 16 MiB.
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = bytes
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                (length, rest)
            }
            _ => return None,
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, contents))
    }

    /// Takes the next element, which must have this tag.
    fn take(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next()
            .filter(|(tag, _)| *tag == wanted)
            .map(|(_, contents)| contents)
    }
}

/// A positive number without the zero byte that only keeps its sign.
fn significant(bytes: &[u8]) -> &[u8] {
    match bytes {
        [0, rest @ ..] if !rest.is_empty() => rest,
        _ => bytes,
    }
}

fn common_name(name: &[u8]) -> Option<String> {
    let mut parts = Der(name);
    while !parts.0.is_empty() {
        let mut attribute = Der(Der(parts.take(SET)?).take(SEQUENCE)?);
        if attribute.take(OID)? == COMMON_NAME {
            return String::from_utf8(attribute.next()?.1.to_vec()).ok();
        }
    }
    Some(String::new())
}

fn names_of(extensions: &[u8]) -> Option<(Vec<String>, Vec<IpAddr>)> {
    let mut extensions = Der(Der(extensions).take(SEQUENCE)?);
    while !extensions.0.is_empty() {
        let mut extension = Der(extensions.take(SEQUENCE)?);
        if extension.take(OID)? != SUBJECT_ALT_NAME {
            continue;
        }
        while let Some((tag, contents)) = extension.next() {
            if tag != OCTETS {
                continue;
            }
            let mut entries = Der(Der(contents).take(SEQUENCE)?);
            let (mut names, mut addresses) = (Vec::new(), Vec::new());
            while !entries.0.is_empty() {
                let (tag, name) = entries.next()?;
                if tag == DNS_NAME {
                    // Printed in logs: nothing but what a name of a host may hold.
                    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._*".contains(byte);
                    let name = String::from_utf8(name.to_vec()).ok()?;
                    names.push(name.bytes().all(|byte| plain(&byte)).then_some(name)?);
                } else if tag == IP_ADDRESS {
                    let four = <[u8; 4]>::try_from(name).map(IpAddr::from);
                    addresses.push(
                        four.or_else(|_| <[u8; 16]>::try_from(name).map(IpAddr::from))
                            .ok()?,
                    );
                }
            }
            return Some((names, addresses));
        }
    }
    Some(Default::default())
}

fn time_of((tag, text): (u8, &[u8])) -> Option<i64> {
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<i32> {
        std::str::from_utf8(digits.get(from..to)?)
            .ok()?
            .parse()
            .ok()
    };
    let (year, at) = match (tag, digits.len()) {
        (UTC_TIME, 12) => match number(0, 2)? {
            // RFC 5280, 4.1.2.5.1
            year if year < 50 => (2000 + year, 2),
            year => (1900 + year, 2),
        },
        (GENERALIZED_TIME, 14) => (number(0, 4)?, 4),
        _ => return None,
    };
    let part = |index: usize| number(at + 2 * index, at + 2 * index + 2)?.try_into().ok();
    let date = Date::from_calendar_date(year, Month::try_from(part(0)?).ok()?, part(1)?).ok()?;
    let time = date.with_hms(part(2)?, part(3)?, part(4)?).ok()?;
    Some(time.assume_utc().unix_timestamp())
}

/// The day of a time in seconds since 1970, as in `2026-11-30`.
pub(crate) fn date(seconds: i64) -> String {
    match OffsetDateTime::from_unix_timestamp(seconds) {
        Ok(time) => {
            let (year, month, day) = time.to_calendar_date();
            format!("{year:04}-{:02}-{day:02}", u8::from(month))
        }
        Err(_) => format!("{seconds} s after 1970"),
    }
}

/// Bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::authority::Authority;
    use crate::loaded::chain;

    fn der() -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::create(directory.path(), "test", 10).unwrap();
        authority.issue("gateway", 10).unwrap();
        let path = directory.path().join("gateway.pem");
        chain("certificate", &path).unwrap()[0].to_vec()
    }

    #[test]
    fn every_cut_of_a_certificate_is_none() {
        let der = der();
        assert_eq!(Certificate::read(&der).unwrap().names, ["gateway"]);
        for cut in 0..der.len() {
            assert_eq!(Certificate::read(&der[..cut]), None, "{cut} bytes");
        }
    }

    #[test]
    fn times_are_read_in_both_forms() {
        let read = |tag, text: &str| time_of((tag, text.as_bytes()));
        assert_eq!(read(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(read(UTC_TIME, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(
            read(GENERALIZED_TIME, "20500101000000Z"),
            Some(2_524_608_000)
        );
        assert_eq!(date(2_524_607_999), "2049-12-31");
        for wrong in [
            "7001010000Z",
            "701301000000Z",
            "700101000000+",
            "70010100000\u{e9}Z",
            "",
        ] {
            assert_eq!(read(UTC_TIME, wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let _ = Certificate::read(&bytes);
            thread_local!(static DER: Vec<u8> = der());
            let mut damaged = DER.with(Clone::clone);
            let at = at.index(damaged.len());
            damaged[at] = byte;
            let _ = Certificate::read(&damaged);
        }
    }
}
