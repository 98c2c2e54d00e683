//! Joins the replies to the parts of a request.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::redis::cluster::frames::{array, items, misshapen, sum};
use crate::redis::cluster::transaction::{self, TransactionPart};
use crate::redis::protocol::decode;
use crate::redis::request::{Fate, Joining, Observer, Whole};
use crate::redis::slot::Slot;
use crate::reply::Reply;

/// Waits for the outcome of each part.
#[derive(Debug)]
pub struct Join {
    joining: Joining,
    /// The slot of each part, and where each item of its reply stands in the whole.
    parts: Vec<(Slot, Vec<usize>)>,
    state: Mutex<JoinState>,
    /// Is told the outcome of the whole.
    observer: Option<Arc<dyn Observer>>,
}

#[derive(Debug)]
struct JoinState {
    outcomes: Vec<Option<Result<Bytes>>>,
    outstanding: usize,
}

impl Join {
    pub fn new(
        joining: Joining,
        parts: Vec<(Slot, Vec<usize>)>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Self {
        Self {
            observer,
            joining,
            state: Mutex::new(JoinState {
                outcomes: vec![None; parts.len()],
                outstanding: parts.len(),
            }),
            parts,
        }
    }

    fn joined(&self, outcomes: &[Result<Bytes>]) -> Result<Bytes> {
        if self.joining == Joining::Transaction {
            let parts = self.parts.iter().zip(outcomes);
            let parts = parts.map(|((slot, places), outcome)| TransactionPart {
                slot: *slot,
                places,
                outcome,
            });
            return transaction::joined(&parts.collect::<Vec<_>>());
        }
        let slots = self.parts.iter().map(|(slot, _)| *slot);
        let errors = outcomes
            .iter()
            .zip(slots)
            .map(|(outcome, slot)| error_of(outcome, slot));
        let mut errors: Vec<Error> = errors.flatten().collect();
        if !errors.is_empty() {
            let done = outcomes.len() - errors.len();
            // Whoever is told of a refusal takes all parts for ended.
            let unknown = errors.iter().position(Error::leaves_open);
            let error = errors.swap_remove(unknown.unwrap_or(0));
            return Err(match self.joining {
                // It goes to all masters, and changes nothing.
                Joining::Each => error,
                _ => in_part(error, done, outcomes.len()),
            });
        }
        let frames: Vec<&Bytes> = outcomes
            .iter()
            .filter_map(|outcome| outcome.as_ref().ok())
            .collect();
        match self.joining {
            Joining::Sum => sum(&frames),
            Joining::InOrder => self.in_order(&frames),
            Joining::Each | Joining::Transaction => {
                Ok(array(&frames.into_iter().cloned().collect::<Vec<_>>()))
            }
        }
    }

    fn in_order(&self, frames: &[&Bytes]) -> Result<Bytes> {
        let places = self.parts.iter().map(|(_, places)| places);
        let mut all = vec![Bytes::new(); places.clone().map(Vec::len).sum()];
        for (frame, (slot, places)) in frames.iter().zip(&self.parts) {
            let items = items(frame).ok().filter(|items| items.len() == places.len());
            let items = items.ok_or_else(|| misshapen().at(None, Some(*slot)))?;
            for (item, place) in items.into_iter().zip(places) {
                all[*place] = item;
            }
        }
        Ok(array(&all))
    }
}

impl Whole for Join {
    fn put(&self, part: usize, outcome: Result<Bytes>) -> Option<Result<Bytes>> {
        let mut state = self.state.lock();
        let JoinState {
            outcomes,
            outstanding,
        } = &mut *state;
        *outstanding -= usize::from(outcomes[part].is_none());
        outcomes[part] = Some(outcome);
        if *outstanding > 0 {
            return None;
        }
        let all: Vec<_> = outcomes.drain(..).flatten().collect();
        let whole = self.joined(&all);
        match (&self.observer, &whole) {
            (Some(observer), Ok(replies)) => observer.replied(replies),
            (Some(observer), Err(_)) => observer.unanswered(Fate::Unknown),
            (None, _) => {}
        }
        Some(whole)
    }
}

/// Why a part was not run, or may not have been.
fn error_of(outcome: &Result<Bytes>, slot: Slot) -> Option<Error> {
    match outcome {
        Ok(frame) if frame.first() == Some(&b'-') => match decode::parse(frame) {
            Ok(Reply::Error(error)) | Err(error) => Some(error.at(None, Some(slot))),
            Ok(_) => None,
        },
        Ok(_) => None,
        Err(error) => Some(error.clone()),
    }
}

/// Says how many of the other parts have been run: a command of several parts is not atomic.
fn in_part(error: Error, done: usize, parts: usize) -> Error {
    let message = format!(
        "{} (its keys are in {parts} slots of the cluster: what it does to those of {done} was done)",
        error.message
    );
    error.with_message(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;

    fn joined(joining: Joining, places: &[&[usize]], frames: &[&'static str]) -> Result<Bytes> {
        let parts = places.iter().map(|places| (0, places.to_vec())).collect();
        let join = Join::new(joining, parts, None);
        let outcomes = frames.iter().enumerate().rev();
        let outcomes = outcomes.map(|(part, frame)| join.put(part, Ok(Bytes::from_static(frame.as_bytes()))));
        let mut whole: Vec<_> = outcomes.flatten().collect();
        assert_eq!(whole.len(), 1, "the last part completes it");
        whole.remove(0)
    }

    #[test]
    fn numbers_are_added() {
        let all = joined(Joining::Sum, &[&[], &[], &[]], &[":1\r\n", ":0\r\n", ":41\r\n"]);
        assert_eq!(all.unwrap(), ":42\r\n");
        let too_large = joined(Joining::Sum, &[&[], &[]], &[":9223372036854775807\r\n", ":1\r\n"]);
        assert_eq!(too_large.unwrap_err().reason, Some(Reason::Protocol));
    }

    #[test]
    fn items_go_to_their_places() {
        let frames = ["*2\r\n$1\r\na\r\n_\r\n", "*1\r\n$2\r\n\r\n\r\n"];
        let all = joined(Joining::InOrder, &[&[2, 0], &[1]], &frames);
        assert_eq!(all.unwrap(), "*3\r\n_\r\n$2\r\n\r\n\r\n$1\r\na\r\n");
        let misshapen = joined(Joining::InOrder, &[&[0], &[1]], &["*2\r\n:1\r\n:2\r\n", "*0\r\n"]);
        assert_eq!(misshapen.unwrap_err().code, "CONNECTION");
    }

    #[test]
    fn an_error_says_how_much_was_done() {
        let failed = |joining| {
            let join = Join::new(joining, vec![(0, vec![]); 3], None);
            let lost = Error::because(Reason::Lost, "The connection was lost");
            assert!(join.put(1, Err(lost)).is_none());
            assert!(join.put(0, Ok(":1\r\n".into())).is_none());
            join.put(2, Ok(":1\r\n".into())).unwrap().unwrap_err()
        };
        let error = failed(Joining::Sum);
        assert_eq!(error.code, "CONNECTION");
        assert!(
            error.message.contains("3 slots") && error.message.contains("of 2 was done"),
            "{}",
            error.message
        );
        // KEYS has no keys of its own, and does nothing to any.
        assert_eq!(failed(Joining::Each).message, "The connection was lost");
    }

    /// DEL of a hundred keys, of which one master takes no writes: the error told nothing of the keys that were gone.
    #[test]
    fn a_part_that_its_server_refuses_counts_as_not_done() {
        let refused = joined(
            Joining::Sum,
            &[&[], &[], &[]],
            &[":1\r\n", "-MISCONF no\r\n", ":1\r\n"],
        );
        let error = refused.unwrap_err();
        assert_eq!((&*error.code, error.slot), ("MISCONF", Some(0)));
        assert!(error.message.starts_with("MISCONF no ("), "{}", error.message);
        assert!(error.message.contains("3 slots") && error.message.contains("of 2 was done"));
    }

    /// DEL rejected with READONLY of one master, by which it was safe to call it again. Another had run its part, and was lost with the reply.
    #[test]
    fn a_part_without_a_reply_counts_for_more_than_one_that_was_refused() {
        let join = Join::new(Joining::Sum, vec![(0, vec![]), (1, vec![])], None);
        let lost = Error::because(Reason::Lost, "The connection was lost");
        assert!(join.put(1, Err(lost)).is_none());
        let refused = Bytes::from_static(b"-MISCONF no\r\n");
        let error = join.put(0, Ok(refused)).unwrap().unwrap_err();
        assert_eq!(error.reason, Some(Reason::Lost));
    }
}
