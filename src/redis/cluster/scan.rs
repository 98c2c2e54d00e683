//! SCAN over all masters: <https://redis.io/docs/latest/commands/scan/>. A cursor tells which slots are done and at whom, and where the scan of
//! the present master stands. A slot that another master has by now is scanned there: its keys may have moved unseen. Masters without slots
//! come last, and have none in the cursor.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Reason, Result};
use crate::redis::cluster::frames::{array, items};
use crate::redis::cluster::refresh::renew;
use crate::redis::cluster::slot_map::SlotMap;
use crate::redis::cluster::slotless::Slotless;
use crate::redis::cluster::slots::Slots;
use crate::redis::cluster::topology::Topology;
use crate::redis::endpoint::Endpoint;
use crate::redis::protocol::{decode, encode};
use crate::redis::request::{ScanCall, Whole};
use crate::redis::slot::{SLOTS, Slot, slot_of};
use crate::reply::Reply;
use bytes::Bytes;

#[derive(Debug, Clone, Default)]
struct Cursor {
    /// Where the present master's scan stands, and which slots of its are scanned.
    present: Option<Present>,
    /// What is done, and by whom.
    done: Vec<(String, Slots)>,
}

#[derive(Debug, Clone)]
struct Present {
    cursor: String,
    master: String,
    slots: Slots,
}

impl Cursor {
    fn parse(text: &str) -> Option<Self> {
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

    fn text(&self) -> String {
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
        let mut covered = Slots::new();
        for (master, slots) in &self.done {
            for slot in slots.iter().filter(|slot| is_owner(map, *slot, master)) {
                covered.insert(slot);
            }
        }
        covered
    }

    /// The present master's scan has come to a position.
    fn reach(&mut self, position: String) {
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
    fn advance(&mut self, map: &SlotMap) -> Option<&Present> {
        let is_valid = |present: &Present| {
            present
                .slots
                .iter()
                .next()
                .is_some_and(|slot| is_owner(map, slot, &present.master))
        };
        self.present = self.present.take().filter(is_valid);
        if self.present.is_none() {
            let covered = self.covered(map);
            let is_left = |slot: &Slot| !covered.has(*slot) && map.owner(*slot).is_some();
            let first = (0..SLOTS as Slot).find(is_left)?;
            let master = map.owner(first)?.to_string();
            let mut slots = Slots::new();
            for slot in (first..SLOTS as Slot).filter(|slot| is_left(slot) && is_owner(map, *slot, &master)) {
                slots.insert(slot);
            }
            self.present = Some(Present {
                cursor: "0".to_owned(),
                master,
                slots,
            });
        }
        self.present.as_ref()
    }

    /// Goes on with a master without slots, once all slots are done: gives it, and where its scan stands. None if all are done.
    fn advance_slotless<'a>(&mut self, masters: &'a [Endpoint]) -> Option<(&'a Endpoint, &str)> {
        let is_done = |master: &str| {
            let mut done = self.done.iter();
            done.any(|(other, slots)| other == master && slots.is_empty())
        };
        let is_begun = |master: &str| {
            let begun = self.present.as_ref();
            begun.is_some_and(|begun| begun.master == master)
        };
        let mut left = masters.iter().map(|master| (master, master.to_string()));
        let begun = left.clone().find(|(_, name)| is_begun(name));
        let is_new = begun.is_none();
        let (master, name) = begun.or_else(|| left.find(|(_, name)| !is_done(name)))?;
        if is_new {
            self.present = Some(Present {
                cursor: "0".to_owned(),
                master: name,
                slots: Slots::new(),
            });
        }
        Some((master, &self.present.as_ref()?.cursor))
    }
}

fn is_owner(map: &SlotMap, slot: Slot, master: &str) -> bool {
    map.owner(slot).is_some_and(|owner| owner.to_string() == master)
}

/// One call of SCAN on its way.
pub struct Scan {
    cursor: Cursor,
    topology: Arc<Topology>,
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        self.cursor.fmt(formatter)
    }
}

impl Scan {
    /// The slot by which the request goes to its master, and the request. Nothing if all is done.
    pub fn begin(
        call: &ScanCall,
        map: &SlotMap,
        topology: &Arc<Topology>,
    ) -> Result<Option<(Self, Slot, Bytes)>> {
        let invalid = || Error::reply("ERR invalid cursor");
        let mut cursor = Cursor::parse(&call.cursor).ok_or_else(invalid)?;
        let Some(present) = cursor.advance(map) else {
            return Ok(None);
        };
        let slot = present.slots.iter().next().ok_or_else(invalid)?;
        let bytes = request(call, &present.cursor);
        let topology = topology.clone();
        Ok(Some((Self { cursor, topology }, slot, bytes)))
    }

    fn page(&self, frame: &Bytes) -> Result<Bytes> {
        if frame.first() == Some(&b'-') {
            return Ok(frame.clone());
        }
        let map = self.topology.map().ok_or_else(misshapen)?;
        let (position, keys) = parts(frame)?;
        let mut cursor = self.cursor.clone();
        let Some(present) = &mut cursor.present else {
            return Err(misshapen());
        };
        // The reply may be that of another master, for which the cursor meant nothing.
        if !present
            .slots
            .iter()
            .next()
            .is_some_and(|slot| is_owner(&map, slot, &present.master))
        {
            cursor.present = None;
            return Ok(page(&cursor.text(), &array(&[])));
        }
        let is_of_page = |key: &Bytes| {
            let Ok(Reply::Bulk(key)) = decode::parse(key) else {
                return false;
            };
            let slot = slot_of(&key);
            // Keys of a slot that is on its way here are nowhere else.
            present.slots.has(slot) || !is_owner(&map, slot, &present.master)
        };
        let found: Vec<Bytes> = items(&keys)?.into_iter().filter(is_of_page).collect();
        cursor.reach(position);
        Ok(page(&cursor.text(), &array(&found)))
    }
}

fn misshapen() -> Error {
    Error::because(Reason::Protocol, "a node's reply to SCAN is no page")
}

/// The request for a page of one master.
fn request(call: &ScanCall, position: &str) -> Bytes {
    let mut bytes = Vec::new();
    encode::begin(&mut bytes, call.words);
    encode::word(&mut bytes, b"SCAN");
    encode::word(&mut bytes, position.as_bytes());
    bytes.extend_from_slice(&call.rest);
    bytes.into()
}

/// The position and the keys of a master's page.
fn parts(frame: &Bytes) -> Result<(String, Bytes)> {
    let parts = items(frame)?;
    let [position, keys] = &parts[..] else {
        return Err(misshapen());
    };
    let Reply::Bulk(position) = decode::parse(position)? else {
        return Err(misshapen());
    };
    Ok((String::from_utf8_lossy(&position).into_owned(), keys.clone()))
}

impl Whole for Scan {
    fn put(&self, _: usize, outcome: Result<Bytes>) -> Option<Result<Bytes>> {
        let page = outcome.and_then(|frame| self.page(&frame));
        let present = self.cursor.present.as_ref();
        let slot = present.and_then(|present| present.slots.iter().next());
        Some(page.map_err(|error| error.at(present.map(|present| &*present.master), slot)))
    }
}

/// The last page, if all slots are done by a map that is no older than this call: SCAN is not redirected, so a slot that has moved shows in
/// the map alone. Otherwise a page without keys, or one of a master without slots.
pub async fn last_page(call: ScanCall, topology: Arc<Topology>, longest: Duration) -> Bytes {
    renew(&topology, longest).await;
    let none = array(&[]);
    let mut cursor = Cursor::parse(&call.cursor).unwrap_or_default();
    let begun = cursor.present.take_if(|present| present.slots.is_empty());
    if topology.map().is_some_and(|map| cursor.advance(&map).is_some()) {
        return page(&cursor.text(), &none);
    }
    cursor.present = begun;
    let slotless = Slotless::of(&topology, longest).await;
    let Some((master, position)) = cursor.advance_slotless(&slotless.masters) else {
        return page("0", &none);
    };
    let reply = slotless.ask(master, &request(&call, position)).await;
    let parts = reply.and_then(|reply| parts(&reply).ok());
    let (position, keys) = parts.unwrap_or(("0".to_owned(), none));
    cursor.reach(position);
    page(&cursor.text(), &keys)
}

fn page(cursor: &str, keys: &Bytes) -> Bytes {
    let mut bytes = b"*2\r\n".to_vec();
    encode::word(&mut bytes, cursor.as_bytes());
    bytes.extend_from_slice(keys);
    bytes.into()
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
}
