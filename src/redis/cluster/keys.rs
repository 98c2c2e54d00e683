//! KEYS over all masters: <https://redis.io/docs/latest/commands/keys/>. The command is not redirected, so that the map alone shows a slot that
//! has moved. A slot is done once it had the same master before and after a round. One that is open takes another round: a key that its master
//! did not have any more in the first is at the target by then.

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
    at_replicas: bool,
    done: Slots,
    /// Those that were open in the last round, and its map.
    open: Slots,
    last: Option<Arc<SlotMap>>,
    keys: HashSet<Bytes>,
}

/// What is known after a round, beside the replies of the masters with slots.
pub struct RoundEnd {
    /// Replies of those without.
    pub others: Vec<Bytes>,
    /// The slots that are open.
    pub open: Slots,
    pub map: Arc<SlotMap>,
}

impl KeysCall {
    /// Replicas may list in place of their masters.
    pub fn new(at_replicas: bool) -> Self {
        Self {
            at_replicas,
            done: Slots::new(),
            open: Slots::new(),
            last: None,
            keys: HashSet::new(),
        }
    }

    /// Takes the replies of a round that went by a map. Gives the reply to the call once all slots are done.
    pub fn take(&mut self, replies: &Bytes, before: &Arc<SlotMap>, end: &RoundEnd) -> Result<Option<Bytes>> {
        let masters = 0..before.masters().len();
        let was_asked: Vec<bool> = masters
            .map(|index| was_asked(before, &end.map, index, self.at_replicas))
            .collect();
        let has_stayed = |slot: Slot| {
            let owner = end.map.owner(slot);
            let has_same_owner = owner.is_none() || owner == before.owner(slot);
            has_same_owner && before.owner_index(slot).is_none_or(|index| was_asked[index])
        };
        let mut stayed = Slots::new();
        let left = (0..SLOTS as Slot).filter(|slot| !self.done.has(*slot));
        left.filter(|slot| has_stayed(*slot))
            .for_each(|slot| stayed.insert(slot));
        for (index, reply) in items(replies)?.iter().chain(&end.others).enumerate() {
            let place = |error: Error| error.at(None, before.last_slots().get(index).copied());
            for (frame, slot) in keys_of(reply).map_err(place)? {
                // While a slot moves, two masters may have a key.
                if stayed.has(slot) {
                    self.keys.insert(frame);
                }
            }
        }
        let last = self.last.replace(before.clone());
        let was_here = |slot| {
            last.as_ref()
                .is_some_and(|last| last.owner(slot) == before.owner(slot))
        };
        let mut open = Slots::new();
        for slot in stayed.iter() {
            match end.open.has(slot) && !(self.open.has(slot) && was_here(slot)) {
                true => open.insert(slot),
                false => self.done.insert(slot),
            }
        }
        self.open = open;
        let is_done = (0..SLOTS as Slot).all(|slot| self.done.has(slot));
        Ok(is_done.then(|| array(&self.keys.drain().collect::<Vec<_>>())))
    }
}

/// Whether a master of a map has listed its keys, or a replica of it, by the map of later. It is asked by its last slot: if that has moved,
/// another one may have listed in its place. So may a replica that has become another master's: it lists that one's keys.
fn was_asked(before: &SlotMap, later: &SlotMap, index: usize, at_replicas: bool) -> bool {
    let master = &before.masters()[index];
    let owner = before.last_slot(index).and_then(|asked| later.owner_index(asked));
    owner.is_some_and(|owner| {
        let replicas = later.replicas(owner);
        let mut before = before.replicas(index).iter();
        let has_its_own = !at_replicas || before.all(|replica| replicas.contains(replica));
        later.masters()[owner] == *master && has_its_own
    })
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
pub type RoundOutcome = Result<Bytes>;

/// The requests of one round. The call is answered after the last round, not by them.
pub struct Round {
    join: Join,
    end: Mutex<Option<oneshot::Sender<RoundOutcome>>>,
}

impl Round {
    pub fn new(slots: &[Slot]) -> (Arc<Self>, oneshot::Receiver<RoundOutcome>) {
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
    fn put(&self, part: usize, outcome: RoundOutcome) -> Option<RoundOutcome> {
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
    fn map(last: Slot) -> Arc<SlotMap> {
        let seed = Endpoint::Tcp {
            host: "seed".to_owned(),
            port: 1,
        };
        let range = |first: Slot, last: Slot, host: &str| {
            format!("*3\r\n:{first}\r\n:{last}\r\n*4\r\n$1\r\n{host}\r\n:1\r\n$2\r\nid\r\n%0\r\n")
        };
        let reply = format!("*2\r\n{}{}", range(0, last, "a"), range(last + 1, 16_383, "b"));
        Arc::new(SlotMap::parse(&decode::parse(reply.as_bytes()).unwrap(), &seed).unwrap())
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

    /// After a round in which `open` were open.
    fn end(map: &SlotMap, open: &[Slot]) -> RoundEnd {
        let mut slots = Slots::new();
        open.iter().for_each(|slot| slots.insert(*slot));
        RoundEnd {
            others: Vec::new(),
            open: slots,
            map: Arc::new(map.clone()),
        }
    }

    #[test]
    fn a_key_of_two_masters_is_there_once() {
        let map = map(8_000);
        let reply = KeysCall::new(false).take(&replies(&[&["a", "b"], &["b"]]), &map, &end(&map, &[]));
        let reply = reply.unwrap().unwrap();
        assert_eq!(sorted(&reply), ["$1\r\na\r\n", "$1\r\nb\r\n"]);
    }

    // With `readFrom` a replica lists in place of its master. Of one that had become another master's, all keys of the first were missing.
    #[test]
    fn a_master_whose_replica_is_anothers_by_now_is_asked_again() {
        let with_replica = |of: &str| {
            let seed = Endpoint::Unix("/seed".into());
            let range = |first: Slot, last: Slot, host: &str| {
                let node = |host: &str| format!("*2\r\n$1\r\n{host}\r\n:1\r\n");
                let (replica, count) = match host == of {
                    true => (node("r"), 4),
                    false => (String::new(), 3),
                };
                format!("*{count}\r\n:{first}\r\n:{last}\r\n{}{replica}", node(host))
            };
            let reply = format!("*2\r\n{}{}", range(0, 8_000, "a"), range(8_001, 16_383, "b"));
            Arc::new(SlotMap::parse(&decode::parse(reply.as_bytes()).unwrap(), &seed).unwrap())
        };
        let (before, after) = (with_replica("a"), with_replica("b"));
        let mut call = KeysCall::new(true);
        let listed = replies(&[&["c"], &["c"]]);
        assert!(call.take(&listed, &before, &end(&after, &[])).unwrap().is_none());
        let listed = replies(&[&["b"], &["c"]]);
        let keys = call.take(&listed, &after, &end(&after, &[])).unwrap().unwrap();
        assert_eq!(sorted(&keys), ["$1\r\nb\r\n", "$1\r\nc\r\n"]);
    }

    #[test]
    fn slots_that_have_moved_are_asked_for_again() {
        let slot = slot_of(b"moves");
        let (before, after) = (map(slot - 1), map(slot));
        let mut call = KeysCall::new(false);
        let none = call.take(&replies(&[&["stays"], &[]]), &before, &end(&after, &[]));
        assert!(none.unwrap().is_none());
        let reply = call.take(&replies(&[&["later", "moves"], &[]]), &after, &end(&after, &[]));
        // The slot of the third has been served.
        let expected = ["$5\r\nmoves\r\n", "$5\r\nstays\r\n"];
        assert_eq!(sorted(&reply.unwrap().unwrap()), expected);
    }

    // The request to a master has waited behind the fence of its last slot, and went with that to another master, which listed twice.
    #[test]
    fn a_master_whose_last_slot_has_moved_is_asked_again() {
        let slot = slot_of(b"stays");
        let (before, after) = (map(slot + 1), map(slot));
        let mut call = KeysCall::new(false);
        let none = call.take(&replies(&[&[], &[]]), &before, &end(&after, &[]));
        assert!(none.unwrap().is_none());
        let reply = call.take(&replies(&[&["stays"], &[]]), &after, &end(&after, &[]));
        assert_eq!(sorted(&reply.unwrap().unwrap()), ["$5\r\nstays\r\n"]);
    }

    // The key moves after its target has listed, and before its owner has.
    #[test]
    fn open_slots_are_asked_for_again_once() {
        let slot = slot_of(b"moves");
        let map = map(slot - 1);
        let mut call = KeysCall::new(false);
        let none = call.take(&replies(&[&[], &["stays"]]), &map, &end(&map, &[slot]));
        assert!(none.unwrap().is_none());
        let reply = call.take(&replies(&[&["moves"], &[]]), &map, &end(&map, &[slot]));
        let reply = sorted(&reply.unwrap().unwrap());
        assert!(
            reply.contains(&Bytes::from_static(b"$5\r\nmoves\r\n")),
            "{reply:?}"
        );
    }

    #[test]
    fn a_slot_that_has_moved_and_is_open_again_is_asked_for_twice_more() {
        let slot = slot_of(b"moves");
        let (before, after) = (map(slot - 1), map(slot));
        let mut call = KeysCall::new(false);
        let mut take = |before: &Arc<SlotMap>, after: &SlotMap| {
            let reply = call.take(&replies(&[&[], &[]]), before, &end(after, &[slot]));
            reply.unwrap().is_some()
        };
        assert!(!take(&before, &before));
        // The router has another map by the next round.
        assert!(!take(&after, &after));
        assert!(take(&after, &after));
    }
}
