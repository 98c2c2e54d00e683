//! A cursor of SCAN in a cluster: which slots are done and at whom, and where the scan of the present master stands. A slot that another
//! master has by now is scanned there: its keys may have moved unseen. Masters that import slots key by key come last, for no slots of their own.

use bytes::Bytes;

use crate::error::{Error, Reason, Result};
use crate::redis::cluster::frames::{array, items};
use crate::redis::cluster::importers::Importers;
use crate::redis::cluster::slot_map::SlotMap;
use crate::redis::cluster::slots::Slots;
use crate::redis::endpoint::Endpoint;
use crate::redis::protocol::decode;
use crate::redis::slot::{SLOTS, Slot, slot_of};
use crate::reply::Reply;

#[derive(Debug, Clone, Default)]
pub struct Cursor {
    /// Where the present master's scan stands, and which slots of its are scanned.
    pub present: Option<Present>,
    /// What is done, and by whom, in its order.
    pub done: Vec<(String, Slots)>,
}

#[derive(Debug, Clone)]
pub struct Present {
    pub cursor: String,
    pub master: String,
    /// None of a master that imports slots.
    pub slots: Slots,
}

impl Present {
    /// The slot by which its requests go to the master. None if that has none of them any more.
    pub fn route(&self, map: &SlotMap) -> Option<Slot> {
        let is_owned = owned_by(map, &self.master);
        let is_of_scan = |slot: Slot| self.slots.has(slot) || self.slots.is_empty();
        (0..SLOTS as Slot).find(|slot| is_owned(*slot) && is_of_scan(*slot))
    }
}

impl Cursor {
    pub fn parse(text: &str) -> Option<Self> {
        // As with one server any number is taken: it is no place here.
        if text.parse::<u64>().is_ok() {
            return Some(Self::default());
        }
        let mut parts = text.split('|');
        let mut cursor = Self::default();
        let (position, master) = (parts.next()?, parts.next()?);
        let slots = Slots::parse(parts.next()?)?;
        position.parse::<u64>().ok()?;
        if !master.is_empty() {
            cursor.present = Some(Present {
                cursor: position.to_owned(),
                master: master.to_owned(),
                slots,
            });
        }
        while let Some(master) = parts.next() {
            cursor
                .done
                .push((master.to_owned(), Slots::parse(parts.next()?)?));
        }
        Some(cursor)
    }

    pub fn text(&self) -> String {
        let mut parts = match &self.present {
            Some(present) => vec![
                present.cursor.clone(),
                present.master.clone(),
                present.slots.text(),
            ],
            None => vec!["0".to_owned(), String::new(), String::new()],
        };
        for (master, slots) in &self.done {
            parts.extend([master.clone(), slots.text()]);
        }
        parts.join("|")
    }

    /// The slots that their present owners have been scanned for.
    fn covered(&self, map: &SlotMap) -> Slots {
        let names: Vec<_> = map.masters().iter().map(ToString::to_string).collect();
        let mut covered = Slots::new();
        for (master, slots) in &self.done {
            let Some(index) = names.iter().position(|name| name == master) else {
                continue;
            };
            for slot in slots.iter().filter(|slot| map.owner_index(*slot) == Some(index)) {
                covered.insert(slot);
            }
        }
        covered
    }

    /// Those of the present master's keys that it has not given before. A slot that is on its way here has keys nowhere else.
    pub fn new_keys(&self, keys: &Bytes) -> Result<Bytes> {
        let present = self.present.as_ref().ok_or_else(misshapen)?;
        let before: Vec<_> = self
            .done
            .iter()
            .filter(|(master, _)| *master == present.master)
            .collect();
        let is_new = |key: &Bytes| {
            let Ok(Reply::Bulk(key)) = decode::parse(key) else {
                return false;
            };
            let slot = slot_of(&key);
            present.slots.has(slot) || !before.iter().any(|(_, slots)| slots.has(slot))
        };
        let new: Vec<Bytes> = items(keys)?.into_iter().filter(is_new).collect();
        Ok(array(&new))
    }

    /// The present master's scan has come to a position.
    pub fn reach(&mut self, position: String) {
        if let Some(mut present) = self.present.take() {
            if position == "0" {
                self.done.push((present.master, present.slots));
            } else {
                present.cursor = position;
                self.present = Some(present);
            }
        }
    }

    /// Goes on with a master. None if all slots that have one are done.
    pub fn advance(&mut self, map: &SlotMap) -> Option<&Present> {
        self.present = self.present.take().filter(|present| present.route(map).is_some());
        if self.present.is_none() {
            let covered = self.covered(map);
            let is_left = |slot: &Slot| !covered.has(*slot) && map.owner(*slot).is_some();
            let first = (0..SLOTS as Slot).find(is_left)?;
            let master = map.owner(first)?.to_string();
            let is_owned = owned_by(map, &master);
            let mut slots = Slots::new();
            for slot in (first..SLOTS as Slot).filter(|slot| is_left(slot) && is_owned(*slot)) {
                slots.insert(slot);
            }
            self.begin(master, slots);
        }
        self.present.as_ref()
    }

    fn begin(&mut self, master: String, slots: Slots) {
        self.present = Some(Present {
            cursor: "0".to_owned(),
            master,
            slots,
        });
    }

    /// Goes on with a master that imports slots, once all slots are done: gives it, and where its scan stands. None if all are done.
    pub fn advance_importer<'a>(
        &mut self,
        importers: &'a Importers,
        map: &SlotMap,
    ) -> Option<(&'a Endpoint, &Present)> {
        let slotless = importers.slotless.iter().filter(|master| !self.is_done(master));
        let open = importers.open.iter();
        let targets = open.filter_map(|(slot, target)| {
            let target = target.as_ref()?;
            (!self.is_followed(map, *slot, &target.to_string())).then_some(target)
        });
        let left: Vec<_> = slotless.chain(targets).collect();
        let is_begun = |master: &&&Endpoint| {
            let begun = self.present.as_ref();
            begun.is_some_and(|begun| begun.master == master.to_string())
        };
        let begun = left.iter().find(is_begun);
        let is_new = begun.is_none();
        let master = begun.or(left.first())?;
        if is_new {
            self.begin(master.to_string(), Slots::new());
        }
        Some((master, self.present.as_ref()?))
    }

    /// Whether a master has been scanned as one without slots.
    fn is_done(&self, master: &Endpoint) -> bool {
        let (master, mut done) = (master.to_string(), self.done.iter());
        done.any(|(other, slots)| *other == master && slots.is_empty())
    }

    /// Whether the master to which an open slot moves was scanned behind its owner: what the owner did not have any more was there.
    fn is_followed(&self, map: &SlotMap, slot: Slot, target: &str) -> bool {
        let owner = map.owner(slot).map(ToString::to_string);
        let of_owner = |(master, slots): &(String, Slots)| Some(master) == owner.as_ref() && slots.has(slot);
        let of_target = |(master, _): &(String, Slots)| master == target;
        owner.as_deref() == Some(target)
            || self.done.iter().rposition(of_target) > self.done.iter().rposition(of_owner)
    }
}

/// Whether a master owns a slot.
pub fn owned_by<'a>(map: &'a SlotMap, master: &str) -> impl Fn(Slot) -> bool + use<'a> {
    let mut masters = map.masters().iter();
    let index = masters.position(|other| other.to_string() == master);
    move |slot| index.is_some() && map.owner_index(slot) == index
}

pub fn misshapen() -> Error {
    Error::because(Reason::Protocol, "a node's reply to SCAN is no page")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let text = "17|a:1|0-5460,6000-6000|b:2|5461-5999,16383-16383";
        assert_eq!(Cursor::parse(text).unwrap().text(), text);
        for wrong in [
            "",
            "x|a:1|0-1",
            "1|a:1|0-16384",
            "1|a:1|5-2",
            "1|a:1|x",
            "1|a:1|0-1|b:2",
        ] {
            assert!(Cursor::parse(wrong).is_none(), "{wrong:?}");
        }
    }

    /// Slots up to `last` are of `a:1`, the others of `b:2`.
    fn map(last: Slot) -> SlotMap {
        let range = |first: Slot, last: Slot, host: &str, port: u16| {
            format!("*3\r\n:{first}\r\n:{last}\r\n*2\r\n$1\r\n{host}\r\n:{port}\r\n")
        };
        let reply = format!(
            "*2\r\n{}{}",
            range(0, last, "a", 1),
            range(last + 1, 16_383, "b", 2)
        );
        let seed = Endpoint::Unix("/seed".into());
        SlotMap::parse(&decode::parse(reply.as_bytes()).unwrap(), &seed).unwrap()
    }

    // It began anew with each slot that left: a long resharding let no long scan end.
    #[test]
    fn a_scan_goes_on_while_its_master_has_some_of_its_slots() {
        let mut cursor = Cursor::parse("17|b:2|99-200").unwrap();
        assert_eq!(cursor.advance(&map(150)).unwrap().cursor, "17");
        let anew = cursor.advance(&map(250)).unwrap();
        assert_eq!((&*anew.master, &*anew.cursor), ("a:1", "0"));
    }

    #[test]
    fn a_target_is_scanned_again_if_its_owner_was_scanned_after_it() {
        let (map, owned) = (map(99), 7);
        let is_followed = |text: &str| Cursor::parse(text).unwrap().is_followed(&map, owned, "b:2");
        assert!(!is_followed("0|||b:2|100-16383|a:1|0-99"));
        assert!(is_followed("0|||a:1|0-99|b:2|100-16383"));
        assert!(is_followed("0|||b:2|100-16383|a:1|0-99|b:2|"));
        assert!(!is_followed("0|||a:1|0-99|b:2||a:1|7-7"));
        assert!(Cursor::default().is_followed(&map, 100, "b:2"));
    }

    // By the map of the reply alone a key was dropped whose slot another master had by a map that came then.
    #[test]
    fn a_page_has_the_keys_that_its_master_has_not_given_before() {
        let slot = slot_of(b"k");
        let keys = array(&[Bytes::from_static(b"$1\r\nk\r\n")]);
        let new_keys = |done: &str| {
            let cursor = Cursor::parse(&format!("0|b:2|{done}")).unwrap();
            items(&cursor.new_keys(&keys).unwrap()).unwrap().len()
        };
        assert_eq!(new_keys(""), 1);
        assert_eq!(new_keys(&format!("|a:1|{slot}-{slot}")), 1);
        assert_eq!(new_keys(&format!("|b:2|{slot}-{slot}")), 0);
        assert_eq!(new_keys(&format!("{slot}-{slot}|b:2|{slot}-{slot}")), 1);
    }
}
