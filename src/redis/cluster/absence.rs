//! Masters that cannot be reached. While they are away, another master is asked about one slot of each: a whole map follows once that has another
//! owner.
//!
//! A node answers EXISTS of a key that is not its own with MOVED, which names the owner in 40 bytes. The map of a cluster of a thousand nodes
//! has 150 KB, and each process would ask for it every second until a replica is elected.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::redis::cluster::slot_map::{SlotMap, parse_address};
use crate::redis::cluster::topology::Topology;
use crate::redis::connection::backoff::jitter;
use crate::redis::endpoint::Endpoint;
use crate::redis::pipeline::commands::redirect::RefusalKind;
use crate::redis::protocol::decode;
use crate::redis::slot::{Slot, slot_of};
use crate::reply::Reply;

/// A whole map is asked for after this time: other slots of a master may have moved before it was lost.
const LONGEST: Duration = Duration::from_secs(15);

/// For more masters a map is less: a key in a slot of each takes a millisecond to find.
const MOST: usize = 8;

/// The masters that could not be reached when the last map was asked for.
#[derive(Default)]
pub struct Absence {
    masters: Vec<Endpoint>,
    asked: Option<Instant>,
    /// The user may not use EXISTS, or not such a key. Each refusal would be an entry in the server's ACL LOG.
    is_forbidden: bool,
}

/// What a node says of the owner of a slot.
enum Word {
    Same,
    Other,
    Forbidden,
}

impl Absence {
    /// A whole map is asked for, while these masters are doubted.
    pub fn map_asked(&mut self, doubted: Vec<Endpoint>) {
        if self.is_old() {
            self.masters.clear();
        }
        for master in doubted {
            if !self.masters.contains(&master) {
                self.masters.push(master);
            }
        }
        self.asked = Some(Instant::now());
    }

    fn is_old(&self) -> bool {
        self.asked.is_none_or(|asked| asked.elapsed() >= LONGEST)
    }

    /// Whether these masters, which are doubted, were away already, and another node says of each that it still has its slots. All that were
    /// away are asked about: of another one no attempt to connect may have ended since.
    pub async fn lasts(&mut self, topology: &Topology, known: &SlotMap, doubted: &[Endpoint]) -> bool {
        let is_new = doubted.is_empty() || !doubted.iter().all(|master| self.masters.contains(master));
        if self.is_forbidden || is_new || self.is_old() || self.masters.len() > MOST {
            return false;
        }
        let mut questions = Vec::new();
        for master in &self.masters {
            let Some(slot) = any_of(known.slots_of(master)) else {
                continue;
            };
            let Some(witness) = self.witness(known, master, doubted) else {
                return false;
            };
            questions.push(ask_owner(topology, witness, slot, master));
        }
        for question in questions {
            match question.await {
                Word::Same => {}
                Word::Other => return false,
                Word::Forbidden => {
                    self.is_forbidden = true;
                    return false;
                }
            }
        }
        true
    }

    /// Who is asked about a master: rather one that was never away.
    fn witness(&self, known: &SlotMap, master: &Endpoint, doubted: &[Endpoint]) -> Option<Endpoint> {
        let were_all_away = known.masters().iter().all(|one| self.masters.contains(one));
        let avoided = match were_all_away {
            true => doubted,
            false => &self.masters,
        };
        let masters = known.masters().iter();
        any_of(masters.filter(|other| *other != master && !avoided.contains(*other))).cloned()
    }
}

/// Asks a node about a slot of a master.
fn ask_owner(
    topology: &Topology,
    witness: Endpoint,
    slot: Slot,
    master: &Endpoint,
) -> impl Future<Output = Word> + use<> {
    let answer = topology.ask(&witness, &[b"EXISTS", key_in(slot).as_bytes()]);
    let master = master.clone();
    async move {
        let reply = answer.await;
        reply.map_or(Word::Other, |reply| word(&reply, slot, &master, &witness))
    }
}

fn any_of<T>(mut items: impl Iterator<Item = T> + Clone) -> Option<T> {
    let count = items.clone().count();
    items.nth((jitter() * count as f64) as usize)
}

/// What the reply to EXISTS says: that a `master` has the slot, or anything else, for which the map is asked for.
fn word(reply: &Bytes, slot: Slot, master: &Endpoint, witness: &Endpoint) -> Word {
    let Ok(Reply::Error(error)) = decode::parse(reply) else {
        return Word::Other;
    };
    if error.code == "NOPERM" {
        return Word::Forbidden;
    }
    match RefusalKind::of(&error) {
        Some(RefusalKind::Moved(moved, address))
            if moved == slot && parse_address(&address, witness).as_ref() == Some(master) =>
        {
            Word::Same
        }
        _ => Word::Other,
    }
}

/// A key of a slot.
fn key_in(slot: Slot) -> String {
    let keys = (0_u32..).map(|number| format!("covara-kv:{number}"));
    let mut own = keys.skip_while(|key| slot_of(key.as_bytes()) != slot);
    own.next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::slot::SLOTS;

    fn tcp(host: &str) -> Endpoint {
        let host = host.to_owned();
        Endpoint::Tcp { host, port: 1 }
    }

    #[test]
    fn there_is_a_key_in_each_slot() {
        for slot in (0..SLOTS as Slot).step_by(97) {
            assert_eq!(slot_of(key_in(slot).as_bytes()), slot);
        }
    }

    #[test]
    fn a_master_keeps_a_slot_if_a_node_names_it_and_nothing_else_is_said() {
        let is_same = |reply: &'static str| {
            let reply = Bytes::from_static(reply.as_bytes());
            matches!(word(&reply, 7, &tcp("a"), &tcp("b")), Word::Same)
        };
        assert!(is_same("-MOVED 7 a:1\r\n"));
        for other in [
            "-MOVED 7 b:1\r\n",
            "-MOVED 8 a:1\r\n",
            // An empty host is that of the node which was asked.
            "-MOVED 7 :1\r\n",
            "-ASK 7 a:1\r\n",
            "-CLUSTERDOWN The cluster is down\r\n",
            ":0\r\n",
            "-MOVED\r\n",
        ] {
            assert!(!is_same(other), "{other}");
        }
    }
}
