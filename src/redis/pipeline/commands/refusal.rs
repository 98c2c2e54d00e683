//! What a replica refuses, and where it leads instead.

use crate::error::Error;
use crate::redis::endpoint::Endpoint;
use crate::redis::protocol::decode;
use crate::redis::request::{Request, Shape, Subject};
use crate::reply::Reply;

/// Where the master is, for a request that a replica of Valkey has refused as a whole: `-REDIRECT host:port`.
pub fn master_named_by(frame: &[u8], request: &Request) -> Option<Endpoint> {
    const CODE: &[u8] = b"-REDIRECT ";
    if request.shape != Shape::Transaction {
        return master_of(frame.strip_prefix(CODE)?);
    }
    let at = memchr::memmem::find(frame, CODE)?;
    let replies = decode::parse_all(frame).ok()?;
    let is_redirect = |reply: &Reply| matches!(reply, Reply::Error(error) if error.code == "REDIRECT");
    let is_aborted = matches!(replies.last()?, Reply::Error(error) if is_abort(error));
    (is_aborted && replies.iter().any(is_redirect)).then(|| master_of(&frame[at + CODE.len()..]))?
}

/// Whether an error of EXEC says that nothing was run. Where MULTI is refused, each command was run by itself.
fn is_abort(error: &Error) -> bool {
    ["EXECABORT", "READONLY", "REDIRECT"].contains(&&*error.code)
}

fn master_of(text: &[u8]) -> Option<Endpoint> {
    let line = text.split(|byte| *byte == b'\r').next()?;
    let (host, port) = std::str::from_utf8(line).ok()?.rsplit_once(':')?;
    Some(Endpoint::Tcp {
        host: Some(host).filter(|host| !host.is_empty())?.to_owned(),
        port: port.parse().ok()?,
    })
}

/// Which part of a request a replica has refused.
#[derive(PartialEq, Eq)]
pub enum Refused {
    /// Nothing was run.
    Whole,
    /// Other commands of the transaction may have been run.
    Part,
}

/// Whether the server refused a script, or its first write. An error that the script itself raises may follow a write.
fn is_refused_script(frame: &[u8]) -> bool {
    // Redis 6.2 begins every script, and tells the error of its command in one of its own: `… @user_script: 1: -READONLY …`.
    let place = frame
        .strip_prefix(b"-ERR Error running script (call to f_")
        .and_then(|rest| rest.strip_suffix(b": -READONLY You can't write against a read only replica.\r\n"));
    let is_within = place.is_some_and(|place| {
        let line = place.iter().rev().take_while(|byte| byte.is_ascii_digit());
        place[..place.len() - line.count()].ends_with(b"@user_script: ")
    });
    is_within || decode::is_error(frame, "READONLY You can't write against a read only replica")
}

/// What the server refused because it is a replica.
pub fn refused_part(frame: &[u8], request: &Request) -> Option<Refused> {
    let is_readonly = |reply: &Reply| matches!(reply, Reply::Error(error) if error.code == "READONLY");
    if request.shape != Shape::Transaction {
        let refused = match request.subject {
            Subject::Script(_) => is_refused_script(frame),
            _ => decode::is_error(frame, "READONLY "),
        };
        return (refused && !request.repeatable).then_some(Refused::Whole);
    }
    // Searched before parsing, which this thread should do rarely.
    memchr::memmem::find(frame, b"READONLY ")?;
    let replies = decode::parse_all(frame).ok()?;
    let (executed, queued) = replies.split_last()?;
    match executed {
        Reply::Error(error) => {
            let refused = queued.iter().any(is_readonly) || error.message.contains("READONLY ");
            let which = if is_abort(error) {
                Refused::Whole
            } else {
                Refused::Part
            };
            refused.then_some(which)
        }
        Reply::Array(results) => results.iter().any(is_readonly).then_some(Refused::Part),
        _ => None,
    }
}
