//! RESP 2 and 3: where a reply ends, and what it says.
//!
//! redis-rs has a parser too. This one copies nothing, so that the I/O thread only looks for the ends of replies, and JavaScript's
//! strings are made straight from what came in.

use std::ops::Range;

use memchr::memchr;

use crate::error::{Error, Reason, Result};
use crate::reply::{Reply, format_double};

/// A line that goes on past this is none.
pub const MAX_LINE: usize = 64 << 10;
/// Redis has no longer string (`proto-max-bulk-len`), and neither has JavaScript.
const MAX_STRING: usize = 512 << 20;
/// Deeper than any reply of Redis's own; scripts can nest theirs at will.
const MAX_DEPTH: usize = 1_100;

/// Why no reply will come of what came in.
#[derive(Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not RESP.
    Malformed,
    LongLine,
    HugeString,
    /// It is longer than whoever reads it allows.
    TooLarge,
}

/// Finds where a reply ends, in bytes that come in piece by piece. An element that is complete is looked at once.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Where the first element that has not been seen complete begins.
    at: usize,
    /// How many elements are yet to come; 0 before the reply's first.
    elements: usize,
    /// How long the bytes must be for the scan to get on.
    needed: usize,
}

impl Scanner {
    /// The end of the reply that `bytes` begin with, once it is complete. Then the scanner is ready for the next, which must
    /// begin `bytes`. Until then `bytes` may only grow.
    pub fn end(&mut self, bytes: &[u8]) -> std::result::Result<Option<usize>, Unreadable> {
        self.elements = self.elements.max(1);
        while self.elements > 0 {
            let Some((next, more)) = self.element(bytes)? else {
                return Ok(None);
            };
            self.at = next;
            self.elements = (self.elements - 1)
                .checked_add(more)
                .ok_or(Unreadable::Malformed)?;
        }
        Ok(Some(std::mem::take(self).at))
    }

    /// Whether no element has been seen complete.
    pub fn is_at_start(&self) -> bool {
        self.at == 0
    }

    /// Whether the reply is known to have more bytes than there are.
    pub fn is_halfway(&self) -> bool {
        self.needed > 0
    }

    /// How many bytes must follow those that were scanned last.
    pub fn missing(&self, bytes: &[u8]) -> usize {
        self.needed.saturating_sub(bytes.len()).max(1)
    }

    /// Where the element at `at` ends, and how many elements belong to it. None if it is not complete.
    fn element(&mut self, bytes: &[u8]) -> std::result::Result<Option<(usize, usize)>, Unreadable> {
        let rest = &bytes[self.at..];
        let Some((kind, line, length)) = header(rest) else {
            let known = rest.first().is_none_or(|kind| b"+-:_,#($=!*~>%|".contains(kind));
            return match known {
                true if rest.len() <= MAX_LINE => Ok(None),
                true => Err(Unreadable::LongLine),
                false => Err(Unreadable::Malformed),
            };
        };
        if line.len() > MAX_LINE {
            return Err(Unreadable::LongLine);
        }
        let end = self.at + length;
        let counted = || number(line).ok_or(Unreadable::Malformed);
        match kind {
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => Ok(Some((end, 0))),
            b'$' | b'=' | b'!' => {
                let size = counted()?;
                let Ok(size) = usize::try_from(size) else {
                    return Ok(Some((end, 0)));
                };
                if size > MAX_STRING {
                    return Err(Unreadable::HugeString);
                }
                let after = end + size + 2;
                self.needed = after;
                match bytes.get(after - 2..after) {
                    None => Ok(None),
                    Some(b"\r\n") => Ok(Some((after, 0))),
                    Some(_) => Err(Unreadable::Malformed),
                }
            }
            b'*' | b'~' | b'>' | b'%' | b'|' => {
                let count = usize::try_from(counted()?).unwrap_or(0);
                let elements = match kind {
                    b'%' => count.checked_mul(2),
                    // What the attribute belongs to follows it.
                    b'|' => count.checked_mul(2).and_then(|count| count.checked_add(1)),
                    _ => Some(count),
                };
                Ok(Some((end, elements.ok_or(Unreadable::Malformed)?)))
            }
            _ => Err(Unreadable::Malformed),
        }
    }
}

/// An element's kind, the rest of its first line, and the length of all that.
fn header(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (kind, rest) = bytes.split_first()?;
    let end = memchr(b'\n', rest)?;
    let line = rest[..end].strip_suffix(b"\r")?;
    Some((*kind, line, end + 2))
}

fn number(line: &[u8]) -> Option<i64> {
    std::str::from_utf8(line).ok()?.parse().ok()
}

/// A message to the subscribers of a channel, where it was received.
#[derive(Debug, PartialEq, Eq)]
pub struct Published<'a> {
    pub channel: &'a [u8],
    pub payload: &'a [u8],
    /// What was received behind it.
    pub rest: &'a [u8],
}

/// Messages at the front of what was received that nobody wants, and how many bytes they take.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    pub messages: usize,
    pub length: usize,
}

/// The message that `bytes` begin with, if they do with a complete one. A message by a pattern is not looked for.
pub fn published(bytes: &[u8]) -> Option<Published<'_>> {
    let rest = bytes.strip_prefix(b">").or_else(|| bytes.strip_prefix(b"*"))?;
    let rest = rest.strip_prefix(b"3\r\n$7\r\nmessage\r\n")?;
    let (channel, rest) = bulk(rest)?;
    let (payload, rest) = bulk(rest)?;
    Some(Published {
        channel,
        payload,
        rest,
    })
}

/// Messages of a channel at the front of what was received, up to one that is wanted.
pub fn skip(received: &[u8], is_unwanted: impl Fn(&Published) -> bool) -> Skipped {
    let mut skipped = Skipped::default();
    let mut rest = received;
    while let Some(message) = published(rest)
        && is_unwanted(&message)
    {
        skipped.messages += 1;
        rest = message.rest;
    }
    skipped.length = received.len() - rest.len();
    skipped
}

/// A string, and what follows it.
fn bulk(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = bytes.strip_prefix(b"$")?;
    // As many digits as any string's length has.
    let digits = line
        .iter()
        .take(9)
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let size = line[..digits]
        .iter()
        .fold(0, |size, digit| 10 * size + usize::from(digit - b'0'));
    let rest = line[digits..].strip_prefix(b"\r\n").filter(|_| digits > 0)?;
    let (text, rest) = rest.split_at_checked(size)?;
    Some((text, rest.strip_prefix(b"\r\n")?))
}

/// Whether the reply is an error whose text begins with `text`.
pub fn is_error(reply: &[u8], text: &str) -> bool {
    reply
        .strip_prefix(b"-")
        .is_some_and(|rest| rest.starts_with(text.as_bytes()))
}

/// What comes first, in the shapes of RESP 2: maps, sets and pushes are arrays. An error is a `Reply::Error`.
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
            b'$' | b'=' | b'!' => {
                let Ok(size) = usize::try_from(number(line).ok_or_else(broken)?) else {
                    return Ok(Reply::Nil);
                };
                let end = self.at.checked_add(size).ok_or_else(broken)?;
                let body = self.take(self.at..end)?;
                self.take(end..end + 2)?;
                match kind {
                    b'!' => error(body),
                    // "txt:" comes before the text.
                    b'=' => Reply::bulk(body.get(4..).unwrap_or_default()),
                    _ => Reply::bulk(body),
                }
            }
            b'*' | b'~' | b'>' | b'%' => {
                let Ok(count) = usize::try_from(number(line).ok_or_else(broken)?) else {
                    return Ok(Reply::Nil);
                };
                let count = if kind == b'%' {
                    count.saturating_mul(2)
                } else {
                    count
                };
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

/// Begins a command of so many words.
pub fn begin(into: &mut Vec<u8>, words: usize) {
    head(into, b'*', words);
}

/// What ends every line, and every word.
pub const END: &[u8] = b"\r\n";

/// The word follows, and then `END`.
pub fn begin_word(into: &mut Vec<u8>, length: usize) {
    head(into, b'$', length);
}

pub fn word(into: &mut Vec<u8>, word: &[u8]) {
    begin_word(into, word.len());
    into.extend_from_slice(word);
    into.extend_from_slice(END);
}

fn head(into: &mut Vec<u8>, kind: u8, number: usize) {
    into.push(kind);
    into.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    into.extend_from_slice(END);
}

pub fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    begin(&mut bytes, words.len());
    for each in words {
        word(&mut bytes, each);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn strings(items: &[&str]) -> Reply<'static> {
        Reply::Array(items.iter().map(|item| Reply::owned(*item)).collect())
    }

    #[test]
    fn a_message_is_read_once_it_is_complete() {
        let message = "3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$3\r\na\r\n\r\n";
        for kind in ["*", ">"] {
            let text = format!("{kind}{message}+more");
            for end in 0..text.len() - 5 {
                assert_eq!(published(&text.as_bytes()[..end]), None, "{end}");
            }
            let expected = Published {
                channel: b"c",
                payload: b"a\r\n",
                rest: b"+more",
            };
            assert_eq!(published(text.as_bytes()), Some(expected));
        }
        for other in [
            "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n",
            "*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nc\r\n$1\r\na\r\n",
            "*3\r\n$7\r\nmessage\r\n$\r\n\r\n$1\r\na\r\n",
            "*3\r\n$7\r\nmessage\r\n$-1\r\n$1\r\na\r\n",
            "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$18446744073709551615\r\na\r\n",
            "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nabc",
        ] {
            assert_eq!(published(other.as_bytes()), None, "{other}");
        }
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
    fn what_is_no_resp_is_said_so_at_once() {
        for text in [
            "HTTP/1.1 400 Bad Request\r\n",
            "SSH-2.0-OpenSSH\r\n",
            "$x\r\n",
            "*2x\r\n",
            "$1\r\nabc",
            "$1\r\nabcdef",
            "*99999999999999999999\r\n",
            "\0\0",
        ] {
            let Err(Unreadable::Malformed) = Scanner::default().end(text.as_bytes()) else {
                panic!("{text:?} was taken");
            };
        }
    }

    #[test]
    fn a_hostile_depth_is_an_error_and_no_overflow() {
        let deep = "*1\r\n".repeat(1_000_000) + ":1\r\n";
        assert_eq!(Scanner::default().end(deep.as_bytes()), Ok(Some(deep.len())));
        assert!(parse(deep.as_bytes()).is_err());
    }

    /// Found by `npm run fuzz`: a text without its CRLF let the parser look past the end, which was a panic.
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
