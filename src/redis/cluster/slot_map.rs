//! Which master has which slot, as the reply to CLUSTER SLOTS tells: <https://redis.io/docs/latest/commands/cluster-slots/>.

use std::borrow::Cow;
use std::sync::Arc;

use crate::redis::endpoint::Endpoint;
use crate::redis::slot::{SLOTS, Slot};
use crate::reply::Reply;

/// No master has the slot.
const NONE: u16 = u16::MAX;

/// A map of the slots, of one moment. Those of a process share it.
#[derive(Clone)]
pub struct SlotMap {
    masters: Vec<Endpoint>,
    /// For each slot the index of its master.
    owners: Arc<[u16]>,
    /// Those of each master, which may be none.
    replicas: Vec<Vec<Endpoint>>,
}

/// Whatever the order: each node lists replicas as it has come to know them, and one of Redis 6.2 the masters too.
impl PartialEq for SlotMap {
    fn eq(&self, other: &Self) -> bool {
        let has_same_replicas = |(master, replicas): (&Endpoint, &Vec<Endpoint>)| {
            let there = other.masters.iter().position(|known| known == master);
            there.is_some_and(|there| {
                let there = &other.replicas[there];
                there.len() == replicas.len() && replicas.iter().all(|replica| there.contains(replica))
            })
        };
        self.masters.len() == other.masters.len()
            && self.masters.iter().zip(&self.replicas).all(has_same_replicas)
            && self.changed(other).is_empty()
    }
}

impl SlotMap {
    fn new() -> Self {
        Self {
            masters: Vec::new(),
            owners: vec![NONE; SLOTS].into(),
            replicas: Vec::new(),
        }
    }

    /// From the reply to CLUSTER SLOTS. `asked` is who gave it: an empty host is its own. None if it is no such reply, or has no slot.
    pub fn parse(reply: &Reply, asked: &Endpoint) -> Option<Self> {
        let Reply::Array(ranges) = reply else { return None };
        let mut map = Self::new();
        let mut owners = vec![NONE; SLOTS];
        for range in ranges {
            let Reply::Array(items) = range else { return None };
            let [Reply::Integer(first), Reply::Integer(last), master, replicas @ ..] = &items[..] else {
                return None;
            };
            let (first, last) = (usize::try_from(*first).ok()?, usize::try_from(*last).ok()?);
            let slots = owners.get_mut(first..=last)?;
            // The node does not know where its master is.
            let Some(master) = endpoint(master, asked) else {
                continue;
            };
            let index = map.index_of(&master);
            slots.fill(index);
            for replica in replicas.iter().filter_map(|replica| endpoint(replica, asked)) {
                let known = &mut map.replicas[usize::from(index)];
                if !known.contains(&replica) {
                    known.push(replica);
                }
            }
        }
        map.owners = owners.into();
        (map.covered() > 0).then_some(map)
    }

    fn index_of(&mut self, master: &Endpoint) -> u16 {
        let known = self.masters.iter().position(|other| other == master);
        let index = known.unwrap_or_else(|| {
            self.masters.push(master.clone());
            self.replicas.push(Vec::new());
            self.masters.len() - 1
        });
        index as u16
    }

    /// The index of a slot's master in `masters`.
    pub fn owner_index(&self, slot: Slot) -> Option<usize> {
        let index = self.owners[usize::from(slot)];
        (index != NONE).then_some(usize::from(index))
    }

    pub fn owner(&self, slot: Slot) -> Option<&Endpoint> {
        self.owner_index(slot).map(|index| &self.masters[index])
    }

    /// Some may have lost all their slots.
    pub fn masters(&self) -> &[Endpoint] {
        &self.masters
    }

    /// The replicas of a master.
    pub fn replicas(&self, index: usize) -> &[Endpoint] {
        &self.replicas[index]
    }

    pub fn is_replica(&self, endpoint: &Endpoint) -> bool {
        self.replicas.iter().any(|replicas| replicas.contains(endpoint))
    }

    /// The last slot of each master that has any. Tools that reshard move a master's slots from the first on: this one stays the longest.
    pub fn last_slots(&self) -> Vec<Slot> {
        let masters = 0..self.masters.len();
        masters.filter_map(|index| self.last_slot(index)).collect()
    }

    /// The last slot of a master, if it has any.
    pub fn last_slot(&self, index: usize) -> Option<Slot> {
        let last = self.owners.iter().rposition(|owner| usize::from(*owner) == index);
        last.map(|slot| slot as Slot)
    }

    /// The slots of a master.
    pub fn slots_of(&self, master: &Endpoint) -> impl Iterator<Item = Slot> + Clone {
        let index = self.masters.iter().position(|known| known == master);
        let slots = 0..SLOTS as Slot;
        slots.filter(move |slot| index.is_some() && self.owner_index(*slot) == index)
    }

    /// How many slots have a master.
    pub fn covered(&self) -> usize {
        self.owners.iter().filter(|owner| **owner != NONE).count()
    }

    /// The map with other owners of some slots.
    pub fn with_moved(&self, moved: &[(Slot, Endpoint)]) -> Self {
        let mut map = self.clone();
        let mut owners = self.owners.to_vec();
        for (slot, endpoint) in moved {
            owners[usize::from(*slot)] = map.index_of(endpoint);
        }
        map.owners = owners.into();
        map
    }

    /// The slots whose owner here is another one in a `later` map.
    pub fn changed(&self, later: &SlotMap) -> Vec<Slot> {
        let slots = 0..SLOTS as Slot;
        slots
            .filter(|slot| self.owner(*slot) != later.owner(*slot))
            .collect()
    }
}

/// Where a node is: host and port of an entry of the reply. None if the node that was asked does not know.
fn endpoint(node: &Reply, asked: &Endpoint) -> Option<Endpoint> {
    let Reply::Array(fields) = node else { return None };
    let [host, Reply::Integer(port), ..] = &fields[..] else {
        return None;
    };
    let host = match host {
        Reply::Bulk(host) => String::from_utf8_lossy(host),
        Reply::Nil => Cow::Borrowed(""),
        _ => return None,
    };
    resolve(&host, u16::try_from(*port).ok()?, asked)
}

/// The endpoint that a node means. An empty host is that of the node which was `asked`; it does not know the host `?`.
fn resolve(host: &str, port: u16, asked: &Endpoint) -> Option<Endpoint> {
    let host = match (host, asked) {
        ("?", _) => return None,
        ("", Endpoint::Tcp { host, .. }) => host.clone(),
        ("", Endpoint::Unix(_)) => return None,
        (host, Endpoint::Tcp { .. } | Endpoint::Unix(_)) => host.to_owned(),
    };
    (port > 0).then_some(Endpoint::Tcp { host, port })
}

/// The endpoint in `-MOVED 3999 host:port`: the port follows the last colon, as an IPv6 address has some.
pub fn parse_address(text: &str, asked: &Endpoint) -> Option<Endpoint> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    resolve(host, port.parse().ok()?, asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::protocol::decode;

    fn tcp(host: &str, port: u16) -> Endpoint {
        let host = host.to_owned();
        Endpoint::Tcp { host, port }
    }

    fn parse(reply: &str) -> Option<SlotMap> {
        SlotMap::parse(&decode::parse(reply.as_bytes()).unwrap(), &tcp("seed", 1))
    }

    fn entry(host: &str, port: u16) -> String {
        format!("*4\r\n{host}:{port}\r\n$2\r\nid\r\n%0\r\n")
    }

    fn range(first: u16, last: u16, nodes: &[String]) -> String {
        format!(
            "*{}\r\n:{first}\r\n:{last}\r\n{}",
            nodes.len() + 2,
            nodes.concat()
        )
    }

    #[test]
    fn a_reply_names_masters_and_replicas() {
        let a = range(0, 99, &[entry("$1\r\na\r\n", 1), entry("$1\r\nc\r\n", 3)]);
        let b = range(200, 16_383, &[entry("$1\r\nb\r\n", 2)]);
        let map = parse(&format!("*2\r\n{a}{b}")).unwrap();
        assert_eq!(map.owner(99), Some(&tcp("a", 1)));
        assert_eq!((map.owner(100), map.owner(200)), (None, Some(&tcp("b", 2))));
        assert_eq!(map.replicas(0), [tcp("c", 3)]);
        assert_eq!(map.covered(), 100 + 16_184);
        assert_eq!(map.last_slots(), [99, 16_383]);
        assert_eq!(
            (map.owner(0), map.owner(16_383)),
            (Some(&tcp("a", 1)), Some(&tcp("b", 2)))
        );
    }

    // ioredis skips a null host, so that a cluster with `cluster-preferred-endpoint-type unknown-endpoint` cannot be used.
    #[test]
    fn an_empty_host_is_that_of_the_node_which_was_asked() {
        for host in ["$-1\r\n", "_\r\n", "$0\r\n\r\n"] {
            let map = parse(&format!("*1\r\n{}", range(0, 9, &[entry(host, 7)]))).unwrap();
            assert_eq!(map.owner(0), Some(&tcp("seed", 7)), "{host:?}");
        }
        assert!(parse(&format!("*1\r\n{}", range(0, 9, &[entry("$1\r\n?\r\n", 7)]))).is_none());
        let asked = tcp("::1", 1);
        assert_eq!(parse_address(":6380", &asked), Some(tcp("::1", 6380)));
        assert_eq!(
            parse_address("2001:db8::1:6380", &asked),
            Some(tcp("2001:db8::1", 6380))
        );
        assert_eq!(
            parse_address("[2001:db8::1]:6380", &asked),
            Some(tcp("2001:db8::1", 6380))
        );
        assert_eq!(parse_address("?:6380", &asked), None);
        assert_eq!(parse_address("host", &asked), None);
    }

    // Nodes are asked in turn. If each one's order of replicas is another map, it is asked for ten times a second as long as there is a doubt.
    #[test]
    fn the_same_in_another_order_is_the_same_map() {
        let [a, b] = [(1, 0, 99), (2, 100, 16_383)].map(|(port, first, last)| {
            move |replicas: &[u16]| {
                let nodes = std::iter::once(&port).chain(replicas);
                let nodes: Vec<_> = nodes.map(|port| entry("$1\r\na\r\n", *port)).collect();
                range(first, last, &nodes)
            }
        });
        let map = |first: String, second: String| parse(&format!("*2\r\n{first}{second}")).unwrap();
        let known = map(a(&[3, 4]), b(&[5]));
        assert!(known == map(b(&[5]), a(&[4, 3])));
        assert!(known != map(a(&[3]), b(&[5])));
        assert!(known != map(a(&[3, 5]), b(&[4])));
        assert!(known != known.with_moved(&[(7, tcp("a", 2))]));
    }

    #[test]
    fn what_is_no_such_reply_is_no_map() {
        for reply in [
            "*0\r\n".to_owned(),
            ":1\r\n".to_owned(),
            "*1\r\n*1\r\n:1\r\n".to_owned(),
            format!("*1\r\n{}", range(5, 2, &[entry("$1\r\na\r\n", 1)])),
            format!("*1\r\n{}", range(0, 16_384, &[entry("$1\r\na\r\n", 1)])),
        ] {
            assert!(parse(&reply).is_none(), "{reply:?}");
        }
    }

    #[test]
    fn a_moved_slot_has_another_owner() {
        let map = parse(&format!("*1\r\n{}", range(0, 16_383, &[entry("$1\r\na\r\n", 1)]))).unwrap();
        let moved = map.with_moved(&[(7, tcp("b", 2))]);
        assert_eq!(
            (moved.owner(7), moved.owner(8)),
            (Some(&tcp("b", 2)), Some(&tcp("a", 1)))
        );
        assert_eq!(map.changed(&moved), [7]);
    }
}
