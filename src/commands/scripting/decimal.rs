//! C's `%.Ng`, with which Lua and Redis print numbers.

/// A number with at most `digits` significant digits, in the shorter of its two forms, with or without an exponent.
pub fn general(number: f64, digits: usize) -> String {
    if number.is_nan() {
        return if number.is_sign_negative() { "-nan" } else { "nan" }.to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    // Most numbers are small integers, which need no rounding.
    let most = 10_f64.powi(digits.min(14) as i32);
    if number.fract() == 0.0 && (1.0..most).contains(&number) {
        return (number as i64).to_string();
    }
    let scientific = format!("{number:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..digits as i32).contains(&exponent) {
        let decimals = (digits as i32 - 1 - exponent) as usize;
        return shortened(&format!("{number:.decimals$}")).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", shortened(mantissa), exponent.abs())
}

fn shortened(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_by_c() {
        let cases = [
            (0.0, "0", "0"),
            (-0.0, "-0", "-0"),
            (1.0, "1", "1"),
            (-17.25, "-17.25", "-17.25"),
            (0.1, "0.1", "0.10000000000000001"),
            (1.0 / 3.0, "0.33333333333333", "0.33333333333333331"),
            (1e14, "1e+14", "100000000000000"),
            (99_999_999_999_999.0, "99999999999999", "99999999999999"),
            (
                12_345_678_901_234_568.0,
                "1.2345678901235e+16",
                "12345678901234568",
            ),
            (1e17, "1e+17", "1e+17"),
            (1e100, "1e+100", "1e+100"),
            (0.0001, "0.0001", "0.0001"),
            (0.00001, "1e-05", "1.0000000000000001e-05"),
            (1e-7, "1e-07", "9.9999999999999995e-08"),
            (f64::INFINITY, "inf", "inf"),
            (f64::NEG_INFINITY, "-inf", "-inf"),
        ];
        for (number, short, long) in cases {
            assert_eq!(general(number, 14), short);
            assert_eq!(general(number, 17), long);
        }
    }
}
