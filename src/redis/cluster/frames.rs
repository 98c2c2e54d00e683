//! Replies as they came in, which are taken apart and put together without being decoded.

use bytes::{Bytes, BytesMut};

use crate::error::{Error, Reason, Result};
use crate::redis::protocol::decode;
use crate::redis::protocol::reply_end::Scanner;
use crate::reply::Reply;

/// The sum of numbers.
pub fn sum(frames: &[&Bytes]) -> Result<Bytes> {
    let mut sum: i64 = 0;
    for frame in frames {
        match decode::parse(frame)? {
            Reply::Integer(number) => sum = sum.checked_add(number).ok_or_else(misshapen)?,
            _ => return Err(misshapen()),
        }
    }
    Ok(format!(":{sum}\r\n").into())
}

/// The items of an array, as they came in.
pub fn items(frame: &Bytes) -> Result<Vec<Bytes>> {
    let head = memchr::memchr(b'\n', frame).ok_or_else(misshapen)? + 1;
    if frame.first() != Some(&b'*') {
        return Err(misshapen());
    }
    replies(&frame.slice(head..))
}

/// Replies one after the other, as they came in, but for pushes among them.
pub fn replies(frame: &Bytes) -> Result<Vec<Bytes>> {
    let mut rest = frame.clone();
    let mut replies = Vec::new();
    while !rest.is_empty() {
        let end = Scanner::default()
            .end(&rest)
            .ok()
            .flatten()
            .ok_or_else(misshapen)?;
        let reply = rest.split_to(end);
        if reply.first() != Some(&b'>') {
            replies.push(reply);
        }
    }
    Ok(replies)
}

pub fn array(items: &[Bytes]) -> Bytes {
    let mut bytes = BytesMut::from(format!("*{}\r\n", items.len()).as_bytes());
    for item in items {
        bytes.extend_from_slice(item);
    }
    bytes.freeze()
}

pub fn misshapen() -> Error {
    Error::because(
        Reason::Protocol,
        "a node's reply has another shape than the command's replies have",
    )
}
