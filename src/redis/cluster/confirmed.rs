//! When masters were known to have their slots. One that is cut off goes on to say so of itself, so the word of another node counts.

use std::time::{Duration, SystemTime};

use hashbrown::{HashMap, HashSet};

use crate::redis::cluster::slot_map::SlotMap;
use crate::redis::endpoint::Endpoint;

/// For how long a node that is no master is remembered: a topic that was on its way from it may have to go elsewhere.
const REMEMBERED: Duration = Duration::from_secs(3_600);

/// Masters, and when another node was last asked that said that each has the slots it had.
#[derive(Default)]
pub struct Confirmed(HashMap<Endpoint, SystemTime>);

impl Confirmed {
    /// A map follows another. `teller` was asked for it at that moment; None if its name in maps is not known, or for a patched map.
    pub fn follow(
        &mut self,
        before: Option<&SlotMap>,
        map: &SlotMap,
        teller: Option<&Endpoint>,
        asked: SystemTime,
    ) {
        let known = before.map_or(&[][..], SlotMap::masters);
        let changed = before.map(|before| before.changed(map)).unwrap_or_default();
        let have_lost: HashSet<&Endpoint> = changed.iter().filter_map(|slot| before?.owner(*slot)).collect();
        for master in map.masters() {
            let is_told = teller.is_some_and(|teller| teller != master) && !have_lost.contains(master);
            // Nothing was subscribed at one that is new.
            if is_told || !known.contains(master) {
                self.0.insert(master.clone(), asked);
            }
        }
        self.0.retain(|endpoint, at| {
            let is_recent = at.elapsed().map_or(true, |age| age < REMEMBERED);
            is_recent || known.contains(endpoint) || map.masters().contains(endpoint)
        });
    }

    pub fn get(&self, master: &Endpoint) -> Option<SystemTime> {
        self.0.get(master).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(port: u16) -> Endpoint {
        let host = "h".to_owned();
        Endpoint::Tcp { host, port }
    }

    /// All slots at the node of port 1, but for those that are given.
    fn map(others: &[(u16, u16)]) -> SlotMap {
        let reply = "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$1\r\nh\r\n:1\r\n";
        let map = SlotMap::parse(
            &crate::redis::protocol::decode::parse(reply.as_bytes()).unwrap(),
            &tcp(9),
        );
        let moved: Vec<_> = others.iter().map(|(slot, port)| (*slot, tcp(*port))).collect();
        map.unwrap().with_moved(&moved)
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::now() + Duration::from_secs(seconds)
    }

    // A gap that begins when any slot has moved, or when the home has last called itself the master, misses what its successor publishes
    // before.
    #[test]
    fn a_master_is_confirmed_by_a_map_of_another_node_alone() {
        let present = map(&[(7, 2), (8, 3)]);
        let [first, patched, own, others] = [1, 2, 3, 4].map(at);
        let mut confirmed = Confirmed::default();
        confirmed.follow(None, &present, None, first);
        assert_eq!(confirmed.get(&tcp(1)), Some(first), "it is new");
        let moved = present.with_moved(&[(8, tcp(2))]);
        confirmed.follow(Some(&present), &moved, None, patched);
        assert_eq!(confirmed.get(&tcp(1)), Some(first), "a patch");
        confirmed.follow(Some(&moved), &moved, Some(&tcp(1)), own);
        assert_eq!(confirmed.get(&tcp(1)), Some(first), "its own map");
        assert_eq!(confirmed.get(&tcp(2)), Some(own));
        confirmed.follow(Some(&moved), &moved, Some(&tcp(2)), others);
        assert_eq!(confirmed.get(&tcp(1)), Some(others));
    }

    // The map that removes a slot cannot confirm its master.
    #[test]
    fn a_master_that_has_lost_a_slot_is_not_confirmed() {
        let (present, later) = (map(&[(7, 2)]), map(&[(7, 2), (8, 2)]));
        let [first, second] = [1, 2].map(at);
        let mut confirmed = Confirmed::default();
        confirmed.follow(None, &present, None, first);
        confirmed.follow(Some(&present), &later, Some(&tcp(2)), second);
        assert_eq!(confirmed.get(&tcp(1)), Some(first));
    }
}
