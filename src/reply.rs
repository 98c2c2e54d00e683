//! The reply of a command, with the types of RESP.

use std::borrow::Cow;

use crate::error::Error;

/// Borrows from the store: it is converted to JavaScript or Lua values while the store is locked.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply<'a> {
    Nil,
    Status(Cow<'a, str>),
    Integer(i64),
    Double(f64),
    /// A score beside its member, which is text in RESP: scripts and JavaScript print it differently.
    Score(f64),
    Bulk(Cow<'a, [u8]>),
    Array(Vec<Reply<'a>>),
    /// Only inside an array: the error of one command of a MULTI, or of one entry of a script's table.
    Error(Error),
}

impl<'a> Reply<'a> {
    pub const OK: Reply<'static> = Reply::Status(Cow::Borrowed("OK"));

    pub fn bulk(bytes: &'a [u8]) -> Self {
        Reply::Bulk(Cow::Borrowed(bytes))
    }

    pub fn optional(bytes: Option<&'a (impl AsRef<[u8]> + ?Sized)>) -> Self {
        bytes.map_or(Reply::Nil, |bytes| Reply::bulk(bytes.as_ref()))
    }

    pub fn count(length: usize) -> Self {
        Reply::Integer(length as i64)
    }

    pub fn bulks<T: AsRef<[u8]> + ?Sized + 'a>(items: impl Iterator<Item = &'a T>) -> Self {
        Reply::Array(items.map(|item| Reply::bulk(item.as_ref())).collect())
    }
}

impl Reply<'static> {
    pub fn owned(bytes: impl Into<Vec<u8>>) -> Self {
        Reply::Bulk(Cow::Owned(bytes.into()))
    }
}

impl From<bool> for Reply<'_> {
    fn from(yes: bool) -> Self {
        Reply::Integer(yes.into())
    }
}

/// The decimal text of a score: the shortest digits that read back as the same number, laid out as JavaScript does, with
/// Redis's words for the infinities. Every backend shows scores in this form, whatever the server's version prints.
pub fn format_double(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if value == 0.0 && value.is_sign_negative() {
        return "-0".to_owned();
    }
    ryu_js::Buffer::new().format(value).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_laid_out_as_in_javascript() {
        let cases = [
            (0.1, "0.1"),
            (-1.5, "-1.5"),
            (3.0, "3"),
            (-0.0, "-0"),
            (1e21, "1e+21"),
            (1e20, "100000000000000000000"),
            (1.5e-7, "1.5e-7"),
            (1e-6, "0.000001"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            // Half-way between two texts: JavaScript takes the even one, Rust's own formatting the greater.
            (9_010_813_187_823_114.0 / 8.0, "1126351648477889.2"),
        ];
        for (value, text) in cases {
            assert_eq!(format_double(value), text);
        }
    }
}
