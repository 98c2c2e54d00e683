//! SCAN over all masters: <https://redis.io/docs/latest/commands/scan/>.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::redis::cluster::cursor::{Cursor, misshapen, owned_by};
use crate::redis::cluster::frames::{array, items};
use crate::redis::cluster::importers::Importers;
use crate::redis::cluster::refresh::{LONGEST_QUESTION, renew};
use crate::redis::cluster::slot_map::SlotMap;
use crate::redis::cluster::topology::Topology;
use crate::redis::protocol::{decode, encode};
use crate::redis::request::{ScanCall, Whole};
use crate::redis::slot::Slot;
use crate::reply::Reply;
use bytes::Bytes;

/// One call of SCAN on its way.
pub struct Scan {
    cursor: Cursor,
    /// By which the request goes to its master.
    slot: Slot,
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
        let slot = present.route(map).ok_or_else(invalid)?;
        let bytes = request(call, &present.cursor);
        let topology = topology.clone();
        let scan = Self {
            cursor,
            slot,
            topology,
        };
        Ok(Some((scan, slot, bytes)))
    }

    fn page(&self, frame: &Bytes) -> Result<Bytes> {
        let map = self.topology.map().ok_or_else(misshapen)?;
        let (position, keys) = parts(frame)?;
        let mut cursor = self.cursor.clone();
        let present = cursor.present.as_ref().ok_or_else(misshapen)?;
        // The reply may be that of another master, for which the cursor meant nothing.
        if !owned_by(&map, &present.master)(self.slot) {
            return Ok(page(&cursor.text(), &array(&[])));
        }
        let new = cursor.new_keys(&keys)?;
        cursor.reach(position);
        Ok(page(&cursor.text(), &new))
    }
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
    let position = String::from_utf8_lossy(&position).into_owned();
    position.parse::<u64>().map_err(|_| misshapen())?;
    Ok((position, keys.clone()))
}

impl Whole for Scan {
    fn put(&self, _: usize, outcome: Result<Bytes>) -> Option<Result<Bytes>> {
        let page = outcome.and_then(|frame| self.page(&frame));
        let present = self.cursor.present.as_ref();
        let master = present.map(|present| &*present.master);
        Some(page.map_err(|error| error.at(master, Some(self.slot))))
    }
}

/// The last page, if all slots are done by a map that is no older than this call. As SCAN is not redirected, only the map shows
/// that a slot has moved. Otherwise a page without keys, or one of a master without slots.
pub async fn last_page(call: ScanCall, topology: Arc<Topology>, timeout: Duration) -> Bytes {
    let longest = timeout.min(LONGEST_QUESTION);
    renew(&topology, longest).await;
    let none = array(&[]);
    let mut cursor = Cursor::parse(&call.cursor).unwrap_or_default();
    let Some(map) = topology.map() else {
        return page(&cursor.text(), &none);
    };
    let begun = cursor.present.take_if(|present| present.slots.is_empty());
    if cursor.advance(&map).is_some() {
        return page(&cursor.text(), &none);
    }
    // Within the scan of a master without slots: what one master tells shows that it is one, as a cursor may say anything.
    let is_begun = begun.is_some();
    let importers = match &begun {
        Some(begun) => Importers::naming(&begun.master, &topology, &map, longest).await,
        None => Importers::of(&topology, &map, longest).await,
    };
    cursor.present = begun;
    let Some((master, present)) = cursor.advance_importer(&importers, &map) else {
        cursor.present = None;
        let next = if is_begun { cursor.text() } else { "0".to_owned() };
        return page(&next, &none);
    };
    // One with slots has a connection to it, which takes the next page's request.
    if present.route(&map).is_some() {
        return page(&cursor.text(), &none);
    }
    let reply = importers.ask(master, &request(&call, &present.cursor)).await;
    let parts = reply.and_then(|reply| {
        let (position, keys) = parts(&reply).ok()?;
        Some((position, cursor.new_keys(&keys).ok()?))
    });
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
