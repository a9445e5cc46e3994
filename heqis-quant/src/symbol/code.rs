//! Chinese codes: six digits and an exchange, in the spellings of vendors.

/// Returns whether a name that is no valid Chinese code resembles one: it has an exchange, or the beginning of one, and
/// about six digits.
pub(super) fn is_almost_chinese(name: &str) -> bool {
    let parts: Vec<String> = name.split(['.', ':']).map(str::to_uppercase).collect();
    let is_exchange = |part: &String| {
        let houses = ["SH", "SZ", "BJ", "SS", "XSH", "BSE"];
        part.len() <= 4 && houses.iter().any(|house| part.starts_with(house))
    };
    let is_code = |part: &String| {
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        (5..=7).contains(&digits) && part.len() <= digits + 1
    };
    parts.len() > 1 && parts.iter().any(is_exchange) && parts.iter().any(is_code)
}

pub(super) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Splits a Chinese code as [`Symbol`] keeps it.
pub(super) fn canonical(text: &str) -> Option<(&str, &'static str)> {
    let (code, exchange) = text.split_once('.')?;
    let suffix = ["SH", "SZ", "BJ"].into_iter().find(|s| *s == exchange)?;
    (code.len() == 6 && is_digits(code)).then_some((code, suffix))
}

/// The names of the three exchanges among vendors.
const EXCHANGES: [(&str, &[&str]); 3] = [
    ("SH", &["SH", "SS", "SSE", "SHSE", "XSHG"]),
    ("SZ", &["SZ", "SZSE", "XSHE"]),
    ("BJ", &["BJ", "BSE", "BJSE", "XBSE"]),
];

fn suffix_of(exchange: &str) -> Option<&'static str> {
    EXCHANGES.into_iter().find_map(|(suffix, names)| {
        let known = names.iter().any(|name| name.eq_ignore_ascii_case(exchange));
        known.then_some(suffix)
    })
}

/// Splits any known spelling of a Chinese code into its digits, however many, and its exchange suffix.
pub(super) fn chinese(text: &str) -> Option<(&str, &'static str)> {
    let letters = |c: char| c.is_ascii_alphabetic();
    let mut parts = text.split(['.', '_', '#', '-']);
    let (first, second, third) = (parts.next()?, parts.next(), parts.next());
    if parts.next().is_some() {
        return None;
    }
    let (code, suffix) = match (first, second, third) {
        // SSE.STK.600000
        (exchange, Some(kind), Some(code)) if kind.chars().all(letters) => {
            (code, suffix_of(exchange)?)
        }
        (_, _, Some(_)) => return None,
        // 1.600000 and 0.000001, as Eastmoney numbers the markets.
        ("1", Some(code), None) if code.len() == 6 => (code, "SH"),
        ("0", Some(code), None) if code.len() == 6 => (code, home(code).unwrap_or("SZ")),
        (a, Some(b), None) => match (suffix_of(a), suffix_of(b)) {
            (Some(suffix), None) => (b, suffix),
            (None, Some(suffix)) => (a, suffix),
            _ => return None,
        },
        // SH600000 and 600000SH
        (joined, None, None) => {
            let ahead = joined.trim_start_matches(letters);
            let behind = joined.trim_end_matches(letters);
            match (joined.strip_suffix(ahead), joined.strip_prefix(behind)) {
                (Some(exchange), _) if is_digits(ahead) && !exchange.is_empty() => {
                    (ahead, suffix_of(exchange)?)
                }
                (_, Some(exchange)) if is_digits(behind) && !exchange.is_empty() => {
                    (behind, suffix_of(exchange)?)
                }
                _ => return None,
            }
        }
    };
    is_digits(code).then_some((code, suffix))
}

/// Returns the only exchange that has codes of this kind, or `None` if several have or it is unknown.
fn home(code: &str) -> Option<&'static str> {
    let two = code.get(..2)?;
    match code.get(..3)? {
        "688" | "689" | "900" => Some("SH"),
        "200" | "300" | "301" | "302" | "399" | "001" | "002" | "003" | "123" | "127" | "128" => {
            Some("SZ")
        }
        "899" => Some("BJ"),
        _ => match two {
            "60" | "50" | "51" | "56" | "58" => Some("SH"),
            "15" | "16" => Some("SZ"),
            "43" | "82" | "83" | "87" | "92" => Some("BJ"),
            _ => None,
        },
    }
}

/// Returns the rule that a code on an exchange breaks.
pub(super) fn rule_against(code: &str, suffix: &str) -> Option<String> {
    match code.len() {
        6 => {
            let home = home(code).filter(|home| *home != suffix)?;
            Some(format!(
                "must name the exchange that has the code; the nearest is {code}.{home}"
            ))
        }
        0..6 => Some(format!(
            "must have six digits; with the leading zeros that spreadsheets drop it is {code:0>6}.{suffix}"
        )),
        // Options of the exchanges.
        8 => None,
        digits => Some(format!("must have six digits, and has {digits}")),
    }
}

/// Returns the rule that digits without an exchange break, with the nearest valid spelling.
pub(super) fn rule_of_digits(digits: &str) -> String {
    match (digits.len(), home(&format!("{digits:0>6}"))) {
        (7.., _) => format!(
            "a code has six digits and its exchange, and this has {}",
            digits.len()
        ),
        (6, Some(home)) => format!("a six-digit code needs its exchange, as in {digits}.{home}"),
        (6, None) => format!(
            "a six-digit code needs its exchange, as in {digits}.SZ for a stock of Shenzhen or {digits}.SH for an index of \
             Shanghai"
        ),
        (_, home) => format!(
            "a code has six digits and its exchange; with the leading zeros that spreadsheets drop it is {digits:0>6}.{}",
            home.unwrap_or("SZ")
        ),
    }
}
