//! What a replica refuses.

use crate::redis::protocol::decode;
use crate::redis::request::{Request, Shape, Subject};
use crate::reply::Reply;

/// Which part of a request a replica has refused.
#[derive(PartialEq, Eq)]
pub enum Refused {
    /// Nothing was run.
    Whole,
    /// Other commands of the transaction may have been run.
    Part,
}

/// What the server refused because it is a replica.
pub fn refusal(frame: &[u8], request: &Request) -> Option<Refused> {
    let is_readonly = |reply: &Reply| matches!(reply, Reply::Error(error) if error.code == "READONLY");
    if request.shape != Shape::Transaction {
        let text = match request.subject {
            // An error that the script itself raises may follow a write.
            Subject::Script(_) => "READONLY You can't write against a read only replica",
            _ => "READONLY ",
        };
        let refused = !request.repeatable && decode::is_error(frame, text);
        return refused.then_some(Refused::Whole);
    }
    // Searched before parsing, which this thread should do rarely.
    memchr::memmem::find(frame, b"READONLY ")?;
    let replies = decode::parse_all(frame).ok()?;
    let (executed, queued) = replies.split_last()?;
    match executed {
        Reply::Error(aborted) => {
            let refused = queued.iter().any(is_readonly) || aborted.message.contains(": READONLY ");
            refused.then_some(Refused::Whole)
        }
        Reply::Array(results) => results.iter().any(is_readonly).then_some(Refused::Part),
        _ => None,
    }
}
