//! Which node of a cluster takes a command: from its keys, while they are encoded.

use std::ops::Range;

use bytes::Bytes;
use hashbrown::HashMap;

use crate::commands::{self, Command, KeyWords, Spread};
use crate::error::Error;
use crate::redis::protocol::encode;
use crate::redis::protocol::reply_end::{header, number};
use crate::redis::request::{Joining, Part, Route, ScanCall, Split};
use crate::redis::slot::{NO_KEY, Slot, slot_of};

/// The slots of the keys of an entry: of one command, or of all commands of a transaction.
#[derive(Default)]
pub struct KeySlots {
    first: Option<(Slot, Range<usize>)>,
    /// The first key in another slot.
    other: Option<Range<usize>>,
    /// There is another key than the first.
    are_of_several: bool,
}

impl KeySlots {
    /// Adds the keys of a command, whose words are at these places of `bytes`.
    pub fn add(&mut self, command: &Command, bytes: &[u8], places: &[Range<usize>]) {
        for place in routed(command, bytes, places) {
            let slot = slot_of(&bytes[place.clone()]);
            match &self.first {
                None => self.first = Some((slot, place.clone())),
                Some((first, first_place)) => {
                    self.are_of_several |= bytes[place.clone()] != bytes[first_place.clone()];
                    if *first != slot {
                        self.other.get_or_insert_with(|| place.clone());
                    }
                }
            }
        }
    }

    pub fn have_one_key(&self) -> bool {
        self.first.is_some() && !self.are_of_several
    }

    /// Whether keys are in different slots.
    pub fn are_several(&self) -> bool {
        self.other.is_some()
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
            Spread::Keys => return Route::Keys,
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
        KeyWords::Counted => places
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
            replies: 1,
            places: indexes,
        }
    };
    by_slot.into_iter().map(part).collect()
}

/// A transaction for each slot of an encoded one, in the order of their first commands. A command with keys of several slots must be one whose
/// numbers are added.
pub fn split_transaction(bytes: &[u8]) -> Route {
    let mut transactions = Transactions::default();
    // The first is MULTI, and the last EXEC.
    let mut commands = EncodedCommands { bytes, at: 0 }.skip(1).peekable();
    let mut position = 0;
    while let Some((range, words)) = commands.next()
        && commands.peek().is_some()
    {
        let Some((name, places)) = words.split_first() else {
            return Route::Any;
        };
        let Some(command) = commands::index_of(&bytes[name.clone()]) else {
            return Route::Any;
        };
        let command = commands::COMMANDS[command];
        let mut slots = KeySlots::default();
        slots.add(command, bytes, places);
        if slots.are_several() && command.spread == Spread::Sum {
            for part in parts(command, bytes, places) {
                transactions.add(part.slot, &part.bytes, position);
            }
        } else {
            match slots.route(bytes) {
                Route::Slot(slot) => transactions.add(slot, &bytes[range], position),
                Route::Any => transactions.add(NO_KEY, &bytes[range], position),
                refused => return refused,
            }
        }
        position += 1;
    }
    Route::Split(Box::new(Split {
        joining: Joining::Transaction,
        parts: transactions.finish(),
    }))
}

/// The transaction of each slot.
#[derive(Default)]
struct Transactions {
    parts: Vec<(Slot, Vec<u8>, Vec<usize>)>,
    indexes: HashMap<Slot, usize>,
}

impl Transactions {
    /// Adds a command. `position` is its place in the whole.
    fn add(&mut self, slot: Slot, command: &[u8], position: usize) {
        let parts = &mut self.parts;
        let index = *self.indexes.entry(slot).or_insert_with(|| {
            parts.push((slot, encode::command(&[b"MULTI"]), Vec::new()));
            parts.len() - 1
        });
        let (_, encoded, positions) = &mut parts[index];
        encoded.extend_from_slice(command);
        positions.push(position);
    }

    fn finish(self) -> Vec<Part> {
        let part = |(slot, mut bytes, places): (Slot, Vec<u8>, Vec<usize>)| {
            bytes.extend_from_slice(&encode::command(&[b"EXEC"]));
            Part {
                slot,
                bytes: bytes.into(),
                replies: places.len() as u32 + 2,
                places,
            }
        };
        self.parts.into_iter().map(part).collect()
    }
}

/// Encoded commands: where each is, and where its words are.
struct EncodedCommands<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl EncodedCommands<'_> {
    /// The number of a line of this kind, behind which it goes on.
    fn number(&mut self, kind: u8) -> Option<usize> {
        let (found, line, length) = header(&self.bytes[self.at..])?;
        self.at += length;
        usize::try_from(number(line)?).ok().filter(|_| found == kind)
    }
}

impl Iterator for EncodedCommands<'_> {
    type Item = (Range<usize>, Vec<Range<usize>>);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at;
        let words = self.number(b'*')?;
        let mut places = Vec::with_capacity(words);
        for _ in 0..words {
            let length = self.number(b'$')?;
            places.push(self.at..self.at + length);
            self.at += length + encode::END.len();
        }
        Some((start..self.at, places))
    }
}

/// Keys in a message are quoted, and cut where they are long.
fn crossed(first: &[u8], other: &[u8]) -> Error {
    let quoted = |key: &[u8]| key[..key.len().min(100)].escape_ascii().to_string();
    let (first, other) = (quoted(first), quoted(other));
    Error::reply(format!(
        "CROSSSLOT The keys \"{first}\" and \"{other}\" are in different slots of the cluster, and no node has both: keys with the same {{tag}} are in one slot, as \"{{tag}}:{first}\" and \"{{tag}}:{other}\" are"
    ))
}
