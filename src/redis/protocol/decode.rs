//! Decodes replies, whose strings borrow from the bytes that came in. redis-rs has a decoder too, which copies them.

use std::ops::Range;

use super::reply_end::{header, number};
use crate::error::{Error, Reason, Result};
use crate::reply::{Reply, format_double};

/// Deeper than any reply of Redis's own; scripts can nest theirs at will.
const MAX_DEPTH: usize = 1_100;

/// Whether the reply is an error whose text begins with `text`.
pub fn is_error(reply: &[u8], text: &str) -> bool {
    reply
        .strip_prefix(b"-")
        .is_some_and(|rest| rest.starts_with(text.as_bytes()))
}

/// The first reply, in the shapes of RESP 2: maps, sets and pushes are arrays. An error is a `Reply::Error`.
pub fn parse(bytes: &[u8]) -> Result<Reply<'_>> {
    Parser { bytes, at: 0 }.reply(0)
}

/// The first reply that is no push.
pub fn parse_reply(bytes: &[u8]) -> Result<Reply<'_>> {
    let mut parser = Parser { bytes, at: 0 };
    while bytes.get(parser.at) == Some(&b'>') {
        parser.reply(0)?;
    }
    parser.reply(0)
}

/// Replies one after the other, but for pushes among them.
pub fn parse_all(bytes: &[u8]) -> Result<Vec<Reply<'_>>> {
    let mut parser = Parser { bytes, at: 0 };
    let mut replies = Vec::new();
    while let Some(kind) = bytes.get(parser.at) {
        let reply = parser.reply(0)?;
        if *kind != b'>' {
            replies.push(reply);
        }
    }
    Ok(replies)
}

/// Members and scores in turn, the scores as text in JavaScript's layout, from what either protocol answers to WITHSCORES.
pub fn with_scores(reply: Reply<'_>) -> Reply<'_> {
    let Reply::Array(items) = reply else {
        return reply;
    };
    let mut flat = Vec::with_capacity(2 * items.len());
    for item in items {
        match item {
            Reply::Array(pair) => flat.extend(pair),
            item => flat.push(item),
        }
    }
    for score in flat.iter_mut().skip(1).step_by(2) {
        let value = match score {
            Reply::Double(value) => Some(*value),
            Reply::Bulk(text) => double(text),
            _ => None,
        };
        if let Some(value) = value {
            *score = Reply::owned(format_double(value));
        }
    }
    Reply::Array(flat)
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn reply(&mut self, depth: usize) -> Result<Reply<'a>> {
        if depth > MAX_DEPTH {
            return Err(Error::reply("ERR the reply is nested too deep"));
        }
        let (kind, line, length) = header(&self.bytes[self.at..]).ok_or_else(broken)?;
        self.at += length;
        Ok(match kind {
            b'+' => Reply::Status(String::from_utf8_lossy(line)),
            b'-' => error(line),
            b':' => Reply::Integer(number(line).ok_or_else(broken)?),
            b'$' | b'=' | b'!' => self.text(kind, line)?,
            b'*' | b'~' | b'>' | b'%' => {
                let Ok(count) = usize::try_from(number(line).ok_or_else(broken)?) else {
                    return Ok(Reply::Nil);
                };
                let is_map = kind == b'%';
                let count = if is_map { count.saturating_mul(2) } else { count };
                // No element is shorter than three bytes.
                let mut items = Vec::with_capacity(count.min(self.bytes.len() / 3));
                for _ in 0..count {
                    items.push(self.reply(depth + 1)?);
                }
                Reply::Array(items)
            }
            b'|' => {
                let count = usize::try_from(number(line).ok_or_else(broken)?).unwrap_or(0);
                for _ in 0..count.saturating_mul(2) {
                    self.reply(depth + 1)?;
                }
                self.reply(depth + 1)?
            }
            b',' => Reply::Double(double(line).ok_or_else(broken)?),
            b'(' => Reply::bulk(line),
            // As RESP 2 shows a script's booleans.
            b'#' if line == b"t" => Reply::Integer(1),
            b'#' | b'_' => Reply::Nil,
            _ => return Err(broken()),
        })
    }

    /// A string, or an error, whose length is in its first line.
    fn text(&mut self, kind: u8, line: &[u8]) -> Result<Reply<'a>> {
        let Ok(size) = usize::try_from(number(line).ok_or_else(broken)?) else {
            return Ok(Reply::Nil);
        };
        let end = self.at.checked_add(size).ok_or_else(broken)?;
        let body = self.take(self.at..end)?;
        self.take(end..end + 2)?;
        Ok(match kind {
            b'!' => error(body),
            // "txt:" comes before the text.
            b'=' => Reply::bulk(body.get(4..).unwrap_or_default()),
            _ => Reply::bulk(body),
        })
    }

    fn take(&mut self, range: Range<usize>) -> Result<&'a [u8]> {
        self.at = range.end;
        self.bytes.get(range).ok_or_else(broken)
    }
}

fn error<'a>(text: &[u8]) -> Reply<'a> {
    Reply::Error(Error::reply(String::from_utf8_lossy(text).into_owned()))
}

/// Redis writes infinities as `inf` and `-inf`.
fn double(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn broken() -> Error {
    Error::because(Reason::Protocol, "the server's reply breaks Redis's protocol")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::reply_end::Scanner;
    use super::*;

    fn strings(items: &[&str]) -> Reply<'static> {
        Reply::Array(items.iter().map(|item| Reply::owned(*item)).collect())
    }

    #[test]
    fn both_protocols_give_the_shapes_of_resp_2() {
        let cases: &[(&str, Reply)] = &[
            ("+OK\r\n", Reply::OK),
            (":-12\r\n", Reply::Integer(-12)),
            ("$3\r\na\r\n\r\n", Reply::owned("a\r\n")),
            ("$-1\r\n", Reply::Nil),
            ("*-1\r\n", Reply::Nil),
            ("_\r\n", Reply::Nil),
            (",-inf\r\n", Reply::Double(f64::NEG_INFINITY)),
            (",1.5e-7\r\n", Reply::Double(1.5e-7)),
            ("#t\r\n", Reply::Integer(1)),
            ("#f\r\n", Reply::Nil),
            ("=7\r\ntxt:abc\r\n", Reply::owned("abc")),
            (
                "(123456789012345678901\r\n",
                Reply::owned("123456789012345678901"),
            ),
            ("%1\r\n$1\r\na\r\n$1\r\nb\r\n", strings(&["a", "b"])),
            ("~2\r\n$1\r\na\r\n$1\r\nb\r\n", strings(&["a", "b"])),
            ("|1\r\n+k\r\n+v\r\n:3\r\n", Reply::Integer(3)),
            ("-ERR no\r\n", Reply::Error(Error::reply("ERR no"))),
            ("!6\r\nERR no\r\n", Reply::Error(Error::reply("ERR no"))),
            ("*0\r\n", Reply::Array(vec![])),
        ];
        for (text, reply) in cases {
            assert_eq!(parse(text.as_bytes()).as_ref(), Ok(reply), "{text:?}");
            assert_eq!(
                Scanner::default().end(text.as_bytes()),
                Ok(Some(text.len())),
                "{text:?}"
            );
        }
    }

    #[test]
    fn scores_read_the_same_from_both_protocols() {
        let expected = Ok(strings(&["a", "1.5", "b", "inf"]));
        for text in [
            "*4\r\n$1\r\na\r\n$3\r\n1.5\r\n$1\r\nb\r\n$3\r\ninf\r\n",
            "*2\r\n*2\r\n$1\r\na\r\n,1.5\r\n*2\r\n$1\r\nb\r\n,inf\r\n",
        ] {
            assert_eq!(parse(text.as_bytes()).map(with_scores), expected);
        }
    }

    #[test]
    fn a_hostile_depth_is_an_error_and_no_overflow() {
        let deep = "*1\r\n".repeat(1_000_000) + ":1\r\n";
        assert_eq!(Scanner::default().end(deep.as_bytes()), Ok(Some(deep.len())));
        assert!(parse(deep.as_bytes()).is_err());
    }

    /// A text without its CRLF makes the parser look past the end, which is a panic. Found by `npm run fuzz`.
    #[test]
    fn what_is_cut_off_is_an_error() {
        for cut in [
            "$2\r\nx\r\n",
            "*2\r\n$2\r\nx\r\n",
            ">2\r\n$1\r\nxy",
            "|1\r\n+k\r\n$1\r\nv",
        ] {
            assert!(parse_all(cut.as_bytes()).is_err(), "{cut:?}");
        }
    }

    fn reply() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("+OK\r\n".to_owned()),
            Just("$-1\r\n".to_owned()),
            Just("_\r\n".to_owned()),
            any::<i64>().prop_map(|number| format!(":{number}\r\n")),
            "[a-z\r\n]{0,40}".prop_map(|text| format!("${}\r\n{text}\r\n", text.len())),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(|items| format!(
                    "*{}\r\n{}",
                    items.len(),
                    items.concat()
                )),
                prop::collection::vec((inner.clone(), inner), 0..3).prop_map(|pairs| {
                    let items: String = pairs.iter().map(|(a, b)| format!("{a}{b}")).collect();
                    format!("%{}\r\n{items}", pairs.len())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_end_is_found_however_the_bytes_are_cut(replies in prop::collection::vec(reply(), 1..5), step in 1_usize..30) {
            let whole = replies.concat().into_bytes();
            let mut scanner = Scanner::default();
            let (mut start, mut found) = (0, Vec::new());
            for end in (0..whole.len()).step_by(step).chain([whole.len()]) {
                while start < end {
                    let Some(length) = scanner.end(&whole[start..end]).unwrap() else { break };
                    found.push(String::from_utf8(whole[start..start + length].to_vec()).unwrap());
                    start += length;
                }
            }
            prop_assert_eq!(&found, &replies);
            for reply in &replies {
                prop_assert!(parse(reply.as_bytes()).is_ok());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(prop::sample::select(b"+-:$*%~>|=!,#_(0123456789\r\nax".to_vec()), 0..60)) {
            let _ = Scanner::default().end(&bytes);
            let _ = parse(&bytes);
            let _ = parse_all(&bytes);
        }
    }
}
