//! Finds unwanted messages in the receive buffer, before they are copied: most messages of a fleet are for other instances.

/// A message to the subscribers of a channel, where it was received.
#[derive(Debug, PartialEq, Eq)]
pub struct Published<'a> {
    pub channel: &'a [u8],
    pub payload: &'a [u8],
    /// What was received behind it.
    pub rest: &'a [u8],
}

/// Unwanted messages at the front of the receive buffer, and their length in bytes.
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
