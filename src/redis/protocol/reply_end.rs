//! Finds where a reply ends, without reading what it says: all that the I/O thread needs.

use memchr::memchr;

/// The longest line.
pub const MAX_LINE: usize = 64 << 10;
/// The longest string of Redis (`proto-max-bulk-len`), and of JavaScript.
const MAX_STRING: usize = 512 << 20;

/// Why bytes are not the beginning of a reply.
#[derive(Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not RESP.
    Malformed,
    LongLine,
    HugeString,
    /// It is longer than the caller allows.
    TooLarge,
}

/// Finds where a reply ends, in bytes that come in piece by piece. Reads each complete element once.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Where the first element that has not been seen complete begins.
    at: usize,
    /// How many elements are yet to come; 0 before the reply's first.
    elements: usize,
    /// How many bytes are needed to continue.
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
pub fn header(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (kind, rest) = bytes.split_first()?;
    let end = memchr(b'\n', rest)?;
    let line = rest[..end].strip_suffix(b"\r")?;
    Some((*kind, line, end + 2))
}

pub fn number(line: &[u8]) -> Option<i64> {
    std::str::from_utf8(line).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
