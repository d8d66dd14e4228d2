//! Formats of texts and numbers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Whether a text is of a format; `None` for formats that mean nothing here.
pub(super) fn text(format: &str, text: &str) -> Option<bool> {
    Some(match format {
        "date-time" | "datetime" => is_date_time(text),
        "date" => jiff::civil::Date::from_str(text).is_ok() && text.len() == 10,
        "duration" => is_duration(text),
        "byte" => STANDARD.decode(text).is_ok(),
        "ipv4" => Ipv4Addr::from_str(text).is_ok(),
        "ipv6" => Ipv6Addr::from_str(text).is_ok(),
        "cidr" => is_cidr(text),
        "uuid" => uuid::Uuid::try_parse(text).is_ok(),
        "uri" => url::Url::parse(text).is_ok(),
        _ => return None,
    })
}

/// The limits of an integer format.
pub(super) fn integer(format: &str) -> Option<(i128, i128)> {
    match format {
        "int32" => Some((i32::MIN.into(), i32::MAX.into())),
        "int64" => Some((i64::MIN.into(), i64::MAX.into())),
        _ => None,
    }
}

/// RFC 3339: date, time and offset.
fn is_date_time(text: &str) -> bool {
    let separated = text.as_bytes().get(10).is_some_and(|b| matches!(b, b'T' | b't'));
    separated && jiff::Timestamp::from_str(text).is_ok()
}

/// A Go duration, as `1h30m` or `1.5s`.
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    let mut any = false;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, after) = rest.split_at(number);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let known = matches!(unit.trim(), "ns" | "us" | "µs" | "ms" | "s" | "m" | "h" | "d" | "w");
        if !known || digits.parse::<f64>().is_err() {
            return false;
        }
        any = true;
        rest = after;
    }
    any
}

fn is_cidr(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, bits)| match IpAddr::from_str(address) {
        Ok(IpAddr::V4(_)) => bits.parse::<u8>().is_ok_and(|b| b <= 32),
        Ok(IpAddr::V6(_)) => bits.parse::<u8>().is_ok_and(|b| b <= 128),
        Err(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("date-time", "2024-05-01T10:00:00Z", Some(true))]
    #[case("date-time", "2024-05-01T10:00:00.123+02:00", Some(true))]
    #[case("date-time", "2024-05-01 10:00:00Z", Some(false))]
    #[case("date-time", "2024-05-01", Some(false))]
    #[case("date-time", "foo", Some(false))]
    #[case("date", "2024-05-01", Some(true))]
    #[case("duration", "1h30m", Some(true))]
    #[case("duration", "1.5s", Some(true))]
    #[case("duration", "soon", Some(false))]
    #[case("duration", "", Some(false))]
    #[case("byte", "aGk=", Some(true))]
    #[case("byte", "%", Some(false))]
    #[case("cidr", "10.0.0.0/8", Some(true))]
    #[case("cidr", "10.0.0.0/33", Some(false))]
    #[case("ipv4", "::1", Some(false))]
    #[case("ipv6", "::1", Some(true))]
    #[case("my-format", "x", None)]
    fn texts(#[case] format: &str, #[case] value: &str, #[case] expected: Option<bool>) {
        assert_eq!(text(format, value), expected);
    }
}
