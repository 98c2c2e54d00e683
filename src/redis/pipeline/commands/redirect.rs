//! What a node of a cluster has not run, and why: such requests go back to the router.
//! <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#redirection-and-resharding>

use std::collections::VecDeque;
use std::mem;

use bytes::{Buf, Bytes};

use crate::error::Error;
use crate::redis::pipeline::commands::refusal::{Refused, refused_part};
use crate::redis::protocol::decode;
use crate::redis::request::{Request, Shape, Subject};
use crate::redis::slot::{SLOTS, Slot};
use crate::reply::Reply;

/// Goes ahead of a request.
pub const ASKING: &[u8] = b"*1\r\n$6\r\nASKING\r\n";

/// What goes back to the router.
#[derive(Debug)]
pub struct Returned {
    pub request: Request,
    pub refusal: Refusal,
}

/// What is for the router.
#[derive(Default)]
pub struct Returns {
    returned: Vec<Returned>,
    /// Each with how many requests must have been answered before it passes.
    pub marks: VecDeque<(u64, u64)>,
    passed: Vec<u64>,
}

impl Returns {
    pub fn put(&mut self, returned: Returned) {
        self.returned.push(returned);
    }

    /// The connection is lost, and all that was in flight on it has ended.
    pub fn lost(&mut self) {
        self.pass(u64::MAX);
    }

    pub fn pass(&mut self, answered: u64) {
        while let Some((_, number)) = self.marks.pop_front_if(|(position, _)| *position <= answered) {
            self.passed.push(number);
        }
    }

    pub fn take(&mut self) -> Option<(Vec<Returned>, Vec<u64>)> {
        let taken = (mem::take(&mut self.returned), mem::take(&mut self.passed));
        (!taken.0.is_empty() || !taken.1.is_empty()).then_some(taken)
    }
}

/// Why a node has not run a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub kind: RefusalKind,
    /// In the server's words.
    pub error: Error,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefusalKind {
    /// The slot belongs to the node at this address.
    Moved(Slot, String),
    /// The node at this address has the key, and only it: the slot is on its way there.
    Ask(String),
    /// The node cannot run it yet.
    NotYet,
}

impl RefusalKind {
    pub fn of(error: &Error) -> Option<Self> {
        let mut words = error.message.split(' ').skip(1);
        match &*error.code {
            "MOVED" | "ASK" => {
                let slot = words
                    .next()?
                    .parse()
                    .ok()
                    .filter(|slot| usize::from(*slot) < SLOTS)?;
                let address = words.next()?.to_owned();
                let is_moved = error.code == "MOVED";
                Some(if is_moved {
                    Self::Moved(slot, address)
                } else {
                    Self::Ask(address)
                })
            }
            "TRYAGAIN" | "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" => Some(Self::NotYet),
            _ => None,
        }
    }
}

/// The reason why a request was not run; nothing if it was, or if the reply is an error of another kind.
pub fn refused_by_node(frame: &[u8], request: &Request) -> Option<Refusal> {
    let error = if request.shape == Shape::Transaction {
        of_transaction(frame)?
    } else {
        if frame.first() != Some(&b'-') {
            return None;
        }
        match decode::parse(frame).ok()? {
            Reply::Error(error) => error,
            _ => return None,
        }
    };
    let kind = match RefusalKind::of(&error) {
        Some(kind) => kind,
        // A replica that was the master begins a script without keys. It refuses the first write.
        None if request.slot().is_some() && refused_part(frame, request) == Some(Refused::Whole) => {
            let kind = RefusalKind::NotYet;
            return Some(Refusal { kind, error });
        }
        None => return None,
    };
    // A question for the owner of a slot has its answer with that.
    if matches!(kind, RefusalKind::Moved(..)) && request.slot().is_none() {
        return None;
    }
    let is_raised = matches!(request.subject, Subject::Script(_)) && !is_of_server(&kind, &error, request);
    (!is_raised).then_some(Refusal { kind, error })
}

/// A script may raise any error after a write. What the server refuses before it runs one has the server's words, and the script's slot.
fn is_of_server(kind: &RefusalKind, error: &Error, request: &Request) -> bool {
    if *kind != RefusalKind::NotYet {
        let named = error.message.split(' ').nth(1);
        return named.and_then(|slot| slot.parse().ok()) == request.slot();
    }
    let starts = [
        "TRYAGAIN Multiple keys request",
        "CLUSTERDOWN ",
        "LOADING Redis",
        "LOADING Valkey",
        "MASTERDOWN ",
    ];
    starts.iter().any(|start| error.message.starts_with(start))
}

/// A transaction was not run if it was aborted for a command that the node refused, or if EXEC itself was refused.
fn of_transaction(frame: &[u8]) -> Option<Error> {
    // Searched before parsing, which this thread should do rarely.
    let words: [&[u8]; 5] = [
        b"-MOVED ",
        b"-ASK ",
        b"-TRYAGAIN ",
        b"-CLUSTERDOWN ",
        b"-LOADING ",
    ];
    if !words
        .iter()
        .any(|word| memchr::memmem::find(frame, word).is_some())
    {
        return None;
    }
    let mut replies = decode::parse_all(frame).ok()?;
    let Some(Reply::Error(executed)) = replies.pop() else {
        return None;
    };
    if RefusalKind::of(&executed).is_some() {
        return Some(executed);
    }
    replies.into_iter().find_map(|reply| match reply {
        Reply::Error(error) if executed.code == "EXECABORT" && RefusalKind::of(&error).is_some() => {
            Some(error)
        }
        _ => None,
    })
}

/// Without the reply to ASKING.
pub fn without_asking(mut frame: Bytes) -> Bytes {
    let end = memchr::memchr(b'\n', &frame).map_or(0, |index| index + 1);
    frame.advance(end);
    frame
}
