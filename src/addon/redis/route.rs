//! Which node of a cluster takes a command: from its keys, while they are encoded.

use std::ops::Range;

use bytes::Bytes;
use hashbrown::HashMap;

use crate::commands::{Command, Keys, Spread};
use crate::error::Error;
use crate::redis::protocol::encode;
use crate::redis::request::{Joining, Part, Route, ScanCall, Split};
use crate::redis::slot::{Slot, slot_of};

/// The slots of the keys of an entry: of one command, or of all commands of a transaction.
#[derive(Default)]
pub struct Slots {
    first: Option<(Slot, Range<usize>)>,
    /// The first key in another slot.
    other: Option<Range<usize>>,
}

impl Slots {
    /// Adds the keys of a command, whose words are at these places of `bytes`.
    pub fn add(&mut self, command: &Command, bytes: &[u8], places: &[Range<usize>]) {
        for place in routed(command, bytes, places) {
            let slot = slot_of(&bytes[place.clone()]);
            match &self.first {
                None => self.first = Some((slot, place.clone())),
                Some((first, _)) if *first != slot => {
                    self.other.get_or_insert_with(|| place.clone());
                }
                Some(_) => {}
            }
        }
    }

    /// Where an entry goes that cannot be split.
    pub fn route(self, bytes: &[u8]) -> Route {
        match (self.first, self.other) {
            (None, _) => Route::Any,
            (Some((slot, _)), None) => Route::Slot(slot),
            (Some((_, first)), Some(other)) => {
                Route::Crossed(Box::new(crossed(&bytes[first], &bytes[other])))
            }
        }
    }

    /// Where a command goes that is an entry of its own.
    pub fn route_command(self, command: &Command, bytes: &[u8], places: &[Range<usize>]) -> Route {
        let joining = match command.spread {
            Spread::Masters => return Route::Masters(Joining::All),
            Spread::Scan => return scan(bytes, places),
            Spread::Sum => Joining::Sum,
            Spread::InOrder => Joining::InOrder,
            Spread::OneSlot | Spread::Channel => return self.route(bytes),
        };
        if self.other.is_none() {
            return self.route(bytes);
        }
        Route::Split(Box::new(Split {
            joining,
            parts: parts(command, bytes, places),
        }))
    }
}

/// The words by which a command is routed.
fn routed<'a>(
    command: &Command,
    bytes: &[u8],
    places: &'a [Range<usize>],
) -> impl Iterator<Item = &'a Range<usize>> + use<'a> {
    let keys = command.keys;
    let counted = match keys {
        Keys::Counted => places
            .get(1)
            .and_then(|place| std::str::from_utf8(&bytes[place.clone()]).ok()),
        _ => None,
    };
    let counted = counted.and_then(|number| number.parse().ok()).unwrap_or_default();
    let is_channel = command.spread == Spread::Channel;
    let places = places.iter().enumerate();
    places
        .filter(move |(index, _)| keys.includes(*index, counted) || is_channel && *index == 0)
        .map(|(_, place)| place)
}

fn scan(bytes: &[u8], places: &[Range<usize>]) -> Route {
    let Some(cursor) = places.first() else {
        return Route::Any;
    };
    let end = cursor.end + encode::END.len();
    Route::Scan(Box::new(ScanCall {
        cursor: String::from_utf8_lossy(&bytes[cursor.clone()]).into_owned(),
        words: places.len() + 1,
        rest: Bytes::copy_from_slice(&bytes[end..]),
    }))
}

/// A command of the same name for each slot, with the slot's keys.
fn parts(command: &Command, bytes: &[u8], places: &[Range<usize>]) -> Vec<Part> {
    let mut by_slot: HashMap<Slot, Vec<usize>> = HashMap::new();
    for (index, place) in places.iter().enumerate() {
        by_slot
            .entry(slot_of(&bytes[place.clone()]))
            .or_default()
            .push(index);
    }
    let part = |(slot, indexes): (Slot, Vec<usize>)| {
        let keys = indexes.iter().map(|index| &bytes[places[*index].clone()]);
        let words: Vec<&[u8]> = std::iter::once(command.name.as_bytes()).chain(keys).collect();
        Part {
            slot,
            bytes: Bytes::from(encode::command(&words)),
            places: indexes,
        }
    };
    by_slot.into_iter().map(part).collect()
}

/// Keys in a message are quoted, and cut where they are long.
fn crossed(first: &[u8], other: &[u8]) -> Error {
    let quoted = |key: &[u8]| key[..key.len().min(100)].escape_ascii().to_string();
    let (first, other) = (quoted(first), quoted(other));
    Error::reply(format!(
        "CROSSSLOT The keys \"{first}\" and \"{other}\" are in different slots of the cluster, and no node has both: keys with the same {{tag}} are in one slot, as \"{{tag}}:{first}\" and \"{{tag}}:{other}\" are"
    ))
}
