//! Numbers and ranges, as Redis parses them.

use std::ops::Range;

use crate::error::{Error, Result};

/// Redis's integers: no sign but a minus, no leading zeros, no spaces.
pub fn integer(word: &[u8]) -> Result<i64> {
    let digits = word.strip_prefix(b"-").unwrap_or(word);
    let canonical = match digits {
        [b'0'] => digits.len() == word.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let text = std::str::from_utf8(word).ok().filter(|_| canonical);
    text.and_then(|text| text.parse().ok())
        .ok_or_else(Error::not_an_integer)
}

/// A count. What is not an integer gets the same error as a negative number.
#[inline]
pub fn count(word: &[u8]) -> Result<usize> {
    let count = integer(word).ok().and_then(|count| usize::try_from(count).ok());
    count.ok_or_else(|| Error::reply("ERR value is out of range, must be positive"))
}

/// A finite or infinite number, never NaN.
pub fn double(word: &[u8]) -> Result<f64> {
    parse_double(word).ok_or_else(Error::not_a_float)
}

fn parse_double(word: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(word).ok()?;
    let value: f64 = text.parse().ok()?;
    let has_digits = text.bytes().any(|byte| byte.is_ascii_digit());
    // A number too large or too small for a double is refused, not rounded to infinity or to zero.
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    let overflows = value.is_infinite() && has_digits;
    let underflows = value == 0.0 && mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    (!value.is_nan() && !overflows && !underflows).then_some(value)
}

/// An end of a range of scores, as C's `strtod` reads it. Leading white space is skipped, a NUL ends the text, and empty text is 0. A
/// number too large for a double is infinite.
pub fn parse_bound(word: &[u8]) -> Option<f64> {
    let word = word.split(|&byte| byte == 0).next()?;
    if word.is_empty() {
        return Some(0.0);
    }
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'\x0b';
    let spaces = word.iter().take_while(|byte| is_space(byte)).count();
    let value: f64 = std::str::from_utf8(&word[spaces..]).ok()?.parse().ok()?;
    (!value.is_nan()).then_some(value)
}

/// The reply of INCRBYFLOAT and HINCRBYFLOAT: unlike a score it never has an exponent, and at most 17 decimals.
pub fn fixed(number: f64) -> String {
    let text = number.to_string();
    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    if decimals <= 17 && text != "-0" {
        return text;
    }
    let rounded = format!("{number:.17}");
    match rounded.trim_end_matches('0').trim_end_matches('.') {
        "-0" => "0".to_owned(),
        text => text.to_owned(),
    }
}

/// The positions from `start` to `stop`, as LRANGE has them: negative numbers count from the end.
#[inline]
pub fn range(start: i64, stop: i64, length: usize) -> Range<usize> {
    let length = length as i64;
    let from_end = |index: i64| {
        if index < 0 {
            index.saturating_add(length)
        } else {
            index
        }
    };
    let start = from_end(start).clamp(0, length);
    let end = from_end(stop).saturating_add(1).clamp(start, length);
    start as usize..end as usize
}

/// Whether a word is this keyword, in any case.
#[inline]
pub fn is(word: &[u8], keyword: &str) -> bool {
    word.eq_ignore_ascii_case(keyword.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_number_has_17_decimals_at_most_and_no_negative_zero() {
        for (number, text) in [
            (0.1, "0.1"),
            (-3.5e20, "-350000000000000000000"),
            (1e-20, "0"),
            (-1e-20, "0"),
            (-0.0, "0"),
            (1.5e-17, "0.00000000000000002"),
        ] {
            assert_eq!(fixed(number), text);
        }
    }

    #[test]
    fn integers_are_canonical() {
        for (word, value) in [
            ("0", 0),
            ("-1", -1),
            ("10", 10),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(integer(word.as_bytes()), Ok(value));
        }
        for word in [
            "",
            "-",
            "-0",
            "01",
            "+1",
            " 1",
            "1 ",
            "1.0",
            "1e3",
            "0x1",
            "9223372036854775808",
            "\u{661}",
        ] {
            assert!(integer(word.as_bytes()).is_err(), "{word}");
        }
    }

    #[test]
    fn doubles_lose_nothing_in_silence() {
        for (word, value) in [
            ("1", 1.0),
            ("-1.5e3", -1500.0),
            ("inf", f64::INFINITY),
            ("-Infinity", -f64::INFINITY),
        ] {
            assert_eq!(double(word.as_bytes()), Ok(value));
        }
        for word in ["", "nan", "-nan", "1e400", "1e-400", " 1", "1x", "e5"] {
            assert!(double(word.as_bytes()).is_err(), "{word}");
        }
    }

    #[test]
    fn bounds_are_read_as_by_strtod() {
        // Bounds are read more loosely than scores: Redis accepts `" 1"` and `""` here, and refuses them in ZADD.
        for (word, value) in [
            ("", 0.0),
            ("1.", 1.0),
            (".5", 0.5),
            (" \t\n\x0b\x0c\r1", 1.0),
            ("1\0x", 1.0),
            ("\0", 0.0),
            ("1e400", f64::INFINITY),
            ("1e-400", 0.0),
            ("+inf", f64::INFINITY),
        ] {
            assert_eq!(parse_bound(word.as_bytes()), Some(value), "{word:?}");
        }
        for word in [" ", "1 ", "1x", "nan", "-", ".", "1e", "1_000", "\u{a0}1"] {
            assert_eq!(parse_bound(word.as_bytes()), None, "{word:?}");
        }
    }

    #[test]
    fn ranges_are_clamped() {
        assert_eq!(range(0, -1, 5), 0..5);
        assert_eq!(range(-2, -1, 5), 3..5);
        assert_eq!(range(3, 1, 5), 3..3);
        assert_eq!(range(-100, 100, 5), 0..5);
        assert_eq!(range(7, 9, 5), 5..5);
        assert_eq!(range(i64::MIN, i64::MAX, 5), 0..5);
        assert_eq!(range(0, -1, 0), 0..0);
    }
}
