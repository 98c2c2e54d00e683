//! KEYS over all masters: <https://redis.io/docs/latest/commands/keys/>. The command is not redirected, so that the map alone shows a slot that
//! has moved. A slot is done once it had the same master before and after a round.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashSet;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::redis::cluster::frames::{array, items, misshapen};
use crate::redis::cluster::join::Join;
use crate::redis::cluster::slot_map::SlotMap;
use crate::redis::cluster::slots::Slots;
use crate::redis::protocol::decode;
use crate::redis::request::{Joining, Whole};
use crate::redis::slot::{SLOTS, Slot, slot_of};
use crate::reply::Reply;

/// What the masters have told so far.
pub struct KeysCall {
    done: Slots,
    keys: HashSet<Bytes>,
}

impl KeysCall {
    pub fn new() -> Self {
        Self {
            done: Slots::new(),
            keys: HashSet::new(),
        }
    }

    /// Takes the replies of a round, and those of `others`. Gives the reply to the call once all slots are done.
    pub fn take(
        &mut self,
        replies: &Bytes,
        others: Vec<Bytes>,
        before: &SlotMap,
        after: &SlotMap,
    ) -> Result<Option<Bytes>> {
        let has_stayed = |slot: Slot| {
            let owner = after.owner(slot);
            owner.is_none() || owner == before.owner(slot)
        };
        let mut stayed = Slots::new();
        let left = (0..SLOTS as Slot).filter(|slot| !self.done.has(*slot));
        left.filter(|slot| has_stayed(*slot))
            .for_each(|slot| stayed.insert(slot));
        for (index, reply) in items(replies)?.iter().chain(&others).enumerate() {
            let place = |error: Error| error.at(None, before.first_slots().get(index).copied());
            for (frame, slot) in keys_of(reply).map_err(place)? {
                // While a slot moves, two masters may have a key.
                if stayed.has(slot) {
                    self.keys.insert(frame);
                }
            }
        }
        stayed.iter().for_each(|slot| self.done.insert(slot));
        let is_done = (0..SLOTS as Slot).all(|slot| self.done.has(slot));
        Ok(is_done.then(|| array(&self.keys.drain().collect::<Vec<_>>())))
    }
}

/// The keys of a master's reply, as they came in, and their slots.
fn keys_of(reply: &Bytes) -> Result<Vec<(Bytes, Slot)>> {
    let frames = items(reply)?.into_iter();
    let keys = frames.map(|frame| match decode::parse(&frame)? {
        Reply::Bulk(key) => Ok((frame.clone(), slot_of(&key))),
        _ => Err(misshapen()),
    });
    keys.collect()
}

/// What a round has come to: an array of the masters' replies, or an error.
pub type Outcome = Result<Bytes>;

/// The requests of one round. The call is answered after the last round, not by them.
pub struct Round {
    join: Join,
    end: Mutex<Option<oneshot::Sender<Outcome>>>,
}

impl Round {
    pub fn new(slots: &[Slot]) -> (Arc<Self>, oneshot::Receiver<Outcome>) {
        let (end, ended) = oneshot::channel();
        let parts = slots.iter().map(|slot| (*slot, Vec::new())).collect();
        let round = Self {
            join: Join::new(Joining::Each, parts, None),
            end: Mutex::new(Some(end)),
        };
        (Arc::new(round), ended)
    }
}

impl fmt::Debug for Round {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        self.join.fmt(formatter)
    }
}

impl Whole for Round {
    fn put(&self, part: usize, outcome: Outcome) -> Option<Outcome> {
        if let Some(whole) = self.join.put(part, outcome)
            && let Some(end) = self.end.lock().take()
        {
            // The router may have ended.
            let _ = end.send(whole);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::endpoint::Endpoint;

    /// Slots up to `last` are of one master, the others of another.
    fn map(last: Slot) -> SlotMap {
        let seed = Endpoint::Tcp {
            host: "seed".to_owned(),
            port: 1,
        };
        let range = |first: Slot, last: Slot, host: &str| {
            format!("*3\r\n:{first}\r\n:{last}\r\n*4\r\n$1\r\n{host}\r\n:1\r\n$2\r\nid\r\n%0\r\n")
        };
        let reply = format!("*2\r\n{}{}", range(0, last, "a"), range(last + 1, 16_383, "b"));
        SlotMap::parse(&decode::parse(reply.as_bytes()).unwrap(), &seed).unwrap()
    }

    /// The replies of the masters.
    fn replies(masters: &[&[&str]]) -> Bytes {
        let bulk = |key: &&str| Bytes::from(format!("${}\r\n{key}\r\n", key.len()));
        let reply = |keys: &&[&str]| array(&keys.iter().map(bulk).collect::<Vec<_>>());
        array(&masters.iter().map(reply).collect::<Vec<_>>())
    }

    fn sorted(reply: &Bytes) -> Vec<Bytes> {
        let mut keys = items(reply).unwrap();
        keys.sort();
        keys
    }

    #[test]
    fn a_key_of_two_masters_is_there_once() {
        let map = map(8_000);
        let reply = KeysCall::new().take(&replies(&[&["a", "b"], &["b"]]), Vec::new(), &map, &map);
        let reply = reply.unwrap().unwrap();
        assert_eq!(sorted(&reply), ["$1\r\na\r\n", "$1\r\nb\r\n"]);
    }

    #[test]
    fn slots_that_have_moved_are_asked_for_again() {
        let slot = slot_of(b"moves");
        let (before, after) = (map(slot - 1), map(slot));
        let mut call = KeysCall::new();
        let none = call.take(&replies(&[&["stays"], &[]]), Vec::new(), &before, &after);
        assert!(none.unwrap().is_none());
        let reply = call.take(&replies(&[&["later", "moves"], &[]]), Vec::new(), &after, &after);
        // The slot of the third has been served.
        let expected = ["$5\r\nmoves\r\n", "$5\r\nstays\r\n"];
        assert_eq!(sorted(&reply.unwrap().unwrap()), expected);
    }
}
