//! What one master of a cluster tells of all others, and of its own slots: <https://redis.io/docs/latest/commands/cluster-nodes/>

use std::str::Split;

use bytes::Bytes;

use crate::redis::cluster::slot_map::{SlotMap, parse_address};
use crate::redis::cluster::slots::Slots;
use crate::redis::endpoint::Endpoint;
use crate::redis::protocol::decode;
use crate::redis::slot::{SLOTS, Slot};
use crate::reply::Reply;

/// A node with one of these flags cannot be asked, or is no master.
const UNFIT: [&str; 6] = ["slave", "fail", "fail?", "handshake", "noaddr", "noflags"];

/// What one master knows: of all others, and of its own slots.
#[derive(Debug, Default, PartialEq)]
pub struct View {
    /// The masters without slots.
    pub slotless: Vec<Endpoint>,
    /// What may be on its way: each slot with the master that it moves to, or that has it already where the map is behind. None: unknown.
    pub open: Vec<(Slot, Option<Endpoint>)>,
}

impl View {
    /// By the reply to CLUSTER NODES of the node that was `asked`. An error tells nothing: the user may lack the right to ask.
    pub fn of(reply: Option<Bytes>, asked: &Endpoint, map: &SlotMap) -> Self {
        let owns = |slot| map.owner(slot) == Some(asked);
        match reply.as_deref().map(decode::parse) {
            Some(Ok(Reply::Bulk(nodes))) => Self::parse(&String::from_utf8_lossy(&nodes), asked, owns),
            Some(_) => Self::default(),
            None => {
                let own = (0..SLOTS as Slot).filter(|slot| owns(*slot));
                Self {
                    slotless: Vec::new(),
                    open: own.map(|slot| (slot, None)).collect(),
                }
            }
        }
    }

    /// `owns`: what the node that was `asked` has by the map.
    fn parse(nodes: &str, asked: &Endpoint, owns: impl Fn(Slot) -> bool) -> Self {
        let lines: Vec<_> = nodes.lines().filter_map(Line::parse).collect();
        let Some(teller) = lines.iter().find(|line| line.has_flag("myself")) else {
            return Self::default();
        };
        let named = |line: &Line| line.endpoint(teller, asked);
        let target = |id: Option<&str>| match id {
            Some(id) => lines.iter().find(|line| line.id == id).and_then(named),
            None => Some(asked.clone()),
        };
        let open = teller.open_slots().map(|(slot, id)| (slot, target(id)));
        let slotless = lines
            .iter()
            .filter(|line| line.is_fit() && line.slots().next().is_none());
        let mut view = Self {
            slotless: slotless.filter_map(named).collect(),
            open: open.collect(),
        };
        // What the node has beside the map, and what it has no more.
        let mut own = Slots::new();
        teller.slots().for_each(|slot| own.insert(slot));
        let (mut gained, mut lost) = (own.clone(), Slots::new());
        for slot in (0..SLOTS as Slot).filter(|slot| owns(*slot)) {
            if !gained.remove(slot) {
                lost.insert(slot);
            }
        }
        view.open
            .extend(gained.iter().map(|slot| (slot, Some(asked.clone()))));
        for line in &lines {
            let theirs = line.slots().filter(|slot| lost.remove(*slot));
            view.open.extend(theirs.map(|slot| (slot, named(line))));
        }
        view.open.extend(lost.iter().map(|slot| (slot, None)));
        view
    }
}

struct Line<'a> {
    id: &'a str,
    /// `host:port`, without the port of the bus.
    address: &'a str,
    hostname: &'a str,
    flags: &'a str,
    /// As `0-5460 6000 [93-<-<id>] [77->-<id>]`: those in brackets are open, in the node's own line alone.
    slots: Split<'a, char>,
}

impl<'a> Line<'a> {
    /// As `<id> <ip>:<port>@<bus port>,<hostname> <flags> <master> <ping> <pong> <epoch> <link> <slots>…`.
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.splitn(9, ' ');
        let (id, place, flags) = (words.next()?, words.next()?, words.next()?);
        let mut names = place.split(',');
        let (address, _) = names.next()?.split_once('@')?;
        Some(Self {
            id,
            address,
            hostname: names.next().unwrap_or_default(),
            flags,
            slots: words.nth(5).unwrap_or_default().split(' '),
        })
    }

    fn has_flag(&self, flag: &str) -> bool {
        self.flags.split(',').any(|other| other == flag)
    }

    fn is_fit(&self) -> bool {
        !self.flags.split(',').any(|flag| UNFIT.contains(&flag))
    }

    /// Those that are its own.
    fn slots(&self) -> impl Iterator<Item = Slot> {
        let ranges = self.slots.clone().filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(first.parse().ok()?..=last.parse().ok()?)
        });
        ranges.flatten().take_while(|slot| usize::from(*slot) < SLOTS)
    }

    /// Each with the id of the node that it moves to. None: this one.
    fn open_slots(&self) -> impl Iterator<Item = (Slot, Option<&'a str>)> {
        self.slots.clone().filter_map(|open| {
            let open = open.strip_prefix('[')?.strip_suffix(']')?;
            let (slot, id) = match open.split_once("->-") {
                Some((slot, id)) => (slot, Some(id)),
                None => (open.split_once("-<-")?.0, None),
            };
            let slot: Slot = slot.parse().ok()?;
            (usize::from(slot) < SLOTS).then_some((slot, id))
        })
    }

    /// Named as maps name the node that was `asked`, which is the `teller`: by its hostname, by its address, or by the host that was asked.
    fn endpoint(&self, teller: &Line, asked: &Endpoint) -> Option<Endpoint> {
        let (_, port) = self.address.rsplit_once(':')?;
        let host = match asked {
            Endpoint::Tcp { host, .. } => host,
            Endpoint::Unix(_) => return None,
        };
        let (ip, _) = teller.address.rsplit_once(':')?;
        match (teller.hostname == host, self.hostname) {
            (true, "") => None,
            (true, hostname) => parse_address(&format!("{hostname}:{port}"), asked),
            (false, _) if ip == host => parse_address(self.address, asked),
            (false, _) => parse_address(&format!("{host}:{port}"), asked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0000000000000000000000000000000000000001";

    fn tcp(host: &str, port: u16) -> Endpoint {
        let host = host.to_owned();
        Endpoint::Tcp { host, port }
    }

    fn line(place: &str, flags: &str, slots: &str) -> String {
        format!("{ID} {place} {flags} - 0 1 2 connected{slots}\n")
    }

    #[test]
    fn only_healthy_masters_without_slots_are_given() {
        let mut nodes = line("10.0.0.1:1@11", "myself,master", " 0-99 [7->-0000]");
        nodes += &line("10.0.0.2:2@12,b", "master", "");
        nodes += &line("10.0.0.3:3@13", "master", " [7-<-0000]");
        nodes += &line("10.0.0.4:4@14", "master", " 100");
        for flags in [
            "slave",
            "master,fail",
            "master,fail?",
            "handshake",
            "master,noaddr",
            "noflags",
        ] {
            nodes += &line("10.0.0.5:5@15", flags, "");
        }
        nodes += "\n";
        let given = [tcp("10.0.0.2", 2), tcp("10.0.0.3", 3)];
        assert_eq!(View::parse(&nodes, &tcp("10.0.0.1", 1), |_| true).slotless, given);
        for none in [
            "",
            "x",
            "cluster_state:ok\r\n",
            "a b c d e f g h",
            "a :@ myself h\na :@ master",
        ] {
            assert_eq!(
                View::parse(none, &tcp("a", 1), |_| false),
                View::default(),
                "{none:?}"
            );
        }
    }

    #[test]
    fn a_master_is_named_as_the_node_that_was_asked() {
        let mut nodes = line("fd00::1:1@11,a.example", "myself,master", " 0-16383");
        nodes += &line("fd00::2:2@12,b.example", "master", "");
        nodes += &line("fd00::3:3@13", "master", "");
        let named = |host| View::parse(&nodes, &tcp(host, 1), |_| true).slotless;
        assert_eq!(named("fd00::1"), [tcp("fd00::2", 2), tcp("fd00::3", 3)]);
        // One without a hostname is not known there.
        assert_eq!(named("a.example"), [tcp("b.example", 2)]);
        // Nodes tell no host.
        assert_eq!(named("balancer"), [tcp("balancer", 2), tcp("balancer", 3)]);
    }

    #[test]
    fn a_node_tells_where_its_open_slots_move() {
        let open =
            "[7->-0000000000000000000000000000000000000002] [9-<-0000000000000000000000000000000000000002]";
        let wrong = "[] [x->-1] [16384-<-1] [8->-0000000000000000000000000000000000000009] [8";
        let mut nodes = line("10.0.0.1:1@11", "myself,master", &format!(" 0-99 {open} {wrong}"));
        nodes += &line("10.0.0.2:2@12", "master", " 100 [5->-0]").replacen("01 ", "02 ", 1);
        let told = View::parse(&nodes, &tcp("10.0.0.1", 1), |slot| slot < 100).open;
        let [first, second] = [1, 2].map(|number| Some(tcp(&format!("10.0.0.{number}"), number)));
        let moving = [(7, second.clone()), (9, first.clone()), (8, None)];
        assert_eq!(told, moving);
        // The map is behind: it gives 0 to another, and 100 and 101 to this one.
        let owns = |slot| (1..=101).contains(&slot);
        let told = View::parse(&nodes, &tcp("10.0.0.1", 1), owns).open;
        assert_eq!(told[..3], moving);
        assert_eq!(told[3..], [(0, first), (100, second), (101, None)]);
    }

    #[test]
    fn slots_of_a_master_that_tells_nothing_count_as_open() {
        let range = "*3\r\n:5\r\n:6\r\n*2\r\n$1\r\na\r\n:1\r\n";
        let reply = format!("*1\r\n{range}");
        let map = SlotMap::parse(&decode::parse(reply.as_bytes()).unwrap(), &tcp("a", 1)).unwrap();
        let open = View::of(None, &tcp("a", 1), &map).open;
        assert_eq!(open, [(5, None), (6, None)]);
        let refused = Bytes::from_static(b"-NOPERM no right\r\n");
        assert_eq!(View::of(Some(refused), &tcp("a", 1), &map), View::default());
    }
}
