//! The first line of a script, as in `#!lua flags=no-writes`: <https://redis.io/docs/latest/develop/programmability/lua-api/#script_flags>

use super::raise;
use crate::error::{Error, Result};

/// A script without its first line, and whether it may write.
pub struct Shebang<'a> {
    /// It begins with the newline, so that line numbers stay right.
    pub body: &'a [u8],
    pub writes: bool,
}

/// Flags for cases that this store does not have: full memory, a lost master, a cluster.
const WITHOUT_EFFECT: [&[u8]; 4] = [
    b"allow-oom",
    b"allow-stale",
    b"no-cluster",
    b"allow-cross-slot-keys",
];

pub fn read(text: &[u8]) -> Result<Shebang<'_>> {
    if !text.starts_with(b"#!") {
        return Ok(Shebang {
            body: text,
            writes: true,
        });
    }
    // For Redis the line is a C string.
    let end = text.iter().position(|&byte| byte == b'\n' || byte == 0);
    let end = end.filter(|&end| text[end] == b'\n');
    let end = end.ok_or_else(|| Error::reply("ERR Invalid script shebang"))?;
    let words = split(&text[..end]).ok_or_else(|| Error::reply("ERR Invalid engine in script shebang"))?;
    let (engine, options) = words
        .split_first()
        .ok_or_else(|| Error::reply("ERR Invalid engine in script shebang"))?;
    if engine != b"#!lua" {
        return Err(refuse("Unexpected engine in script shebang", engine));
    }
    let mut writes = true;
    for option in options {
        let Some(flags) = option.strip_prefix(b"flags=") else {
            return Err(refuse("Unknown lua shebang option", option));
        };
        if flags.is_empty() {
            continue;
        }
        for flag in flags.split(|&byte| byte == b',') {
            if flag == b"no-writes" {
                writes = false;
            } else if !WITHOUT_EFFECT.contains(&flag) {
                return Err(refuse("Unexpected flag in script shebang", flag));
            }
        }
    }
    Ok(Shebang {
        body: &text[end..],
        writes,
    })
}

fn refuse(what: &str, word: &[u8]) -> Error {
    Error::reply(raise::line(&format!(
        "ERR {what}: {}",
        String::from_utf8_lossy(word)
    )))
}

/// The words of a line, as `sdssplitargs` reads them: quotes may hold spaces, double quotes also escapes. None if a quote has no
/// end, or no space after it.
fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut bytes = line.iter().copied().peekable();
    loop {
        while bytes.next_if(|byte| is_space(*byte)).is_some() {}
        if bytes.peek().is_none() {
            return Some(words);
        }
        let mut word = Vec::new();
        while let Some(byte) = bytes.next_if(|byte| !is_space(*byte)) {
            match byte {
                b'"' | b'\'' => {
                    quoted(byte, &mut bytes, &mut word)?;
                    if bytes.peek().is_some_and(|byte| !is_space(*byte)) {
                        return None;
                    }
                }
                other => word.push(other),
            }
        }
        words.push(word);
    }
}

fn quoted(
    quote: u8,
    bytes: &mut std::iter::Peekable<impl Iterator<Item = u8> + Clone>,
    word: &mut Vec<u8>,
) -> Option<()> {
    loop {
        match bytes.next()? {
            byte if byte == quote => return Some(()),
            b'\\' if quote == b'"' => {
                let hexadecimal = hexadecimal(bytes.clone());
                if let Some(byte) = hexadecimal {
                    bytes.nth(2);
                    word.push(byte);
                } else {
                    word.push(match bytes.next()? {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'b' => 0x08,
                        b'a' => 0x07,
                        other => other,
                    });
                }
            }
            b'\\' if bytes.next_if_eq(&b'\'').is_some() => word.push(b'\''),
            other => word.push(other),
        }
    }
}

/// The byte of `xHH`.
fn hexadecimal(mut bytes: impl Iterator<Item = u8>) -> Option<u8> {
    bytes.next().filter(|byte| *byte == b'x')?;
    let mut digit = || char::from(bytes.next()?).to_digit(16);
    Some((digit()? << 4 | digit()?) as u8)
}

/// C's `isspace`.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}
