//! A hash: fields with values.

use either::Either;
use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::pack::Pack;
use super::remains::{LARGE, Shed, is_sparse};
use super::text::ExactBytes;

/// Up to this many fields Redis keeps the order of insertion, and it costs little to keep it on removal.
const ORDERED: usize = 512;

/// In the order of insertion while it is small, as in Redis.
#[derive(Debug)]
pub enum Hash {
    /// Field, value, field, value, …
    Packed(Pack),
    Table(Box<IndexMap<ExactBytes, ExactBytes, RandomState>>),
}

impl Default for Hash {
    fn default() -> Self {
        Hash::Packed(Pack::default())
    }
}

impl Hash {
    pub fn len(&self) -> usize {
        match self {
            Hash::Packed(pack) => pack.len() / 2,
            Hash::Table(table) => table.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn get(&self, field: &[u8]) -> Option<&[u8]> {
        match self {
            Hash::Packed(pack) => pack.find(field, 2).map(|at| pack.get(pack.after(at))),
            Hash::Table(table) => table.get(field).map(|value| &**value),
        }
    }

    /// Sets a field. True if it is new.
    pub fn insert(&mut self, field: &[u8], value: &[u8]) -> bool {
        if let Hash::Packed(pack) = self {
            let at = pack.find(field, 2);
            match at {
                Some(at) if Pack::may_hold(&[value]) => {
                    pack.replace(pack.after(at), value);
                    return false;
                }
                None if pack.has_room(&[field, value]) => {
                    pack.push_back(field);
                    pack.push_back(value);
                    return true;
                }
                _ => (),
            }
        }
        let table = self.table();
        match table.get_mut(field) {
            Some(current) => *current = value.into(),
            None => return table.insert(field.into(), value.into()).is_none(),
        }
        false
    }

    /// Removes a field. True if it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match self {
            Hash::Packed(pack) => pack.find(field, 2).map(|at| pack.remove(at, 2)).is_some(),
            Hash::Table(table) if table.len() <= ORDERED => table.shift_remove(field).is_some(),
            Hash::Table(table) => {
                let was_there = table.swap_remove(field).is_some();
                if is_sparse(table.len(), table.capacity()) {
                    table.shrink_to(2 * table.len());
                }
                was_there
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        match self {
            Hash::Packed(pack) => {
                let mut items = pack.iter();
                Either::Left(std::iter::from_fn(move || items.next().zip(items.next())))
            }
            Hash::Table(table) => Either::Right(table.iter().map(|(field, value)| (&**field, &**value))),
        }
    }

    /// Each field, and its value behind it.
    pub fn items(&self) -> impl Iterator<Item = &[u8]> {
        match self {
            Hash::Packed(pack) => Either::Left(pack.iter()),
            Hash::Table(table) => {
                let items = table.iter().flat_map(|(field, value)| [&**field, &**value]);
                Either::Right(items)
            }
        }
    }

    fn table(&mut self) -> &mut IndexMap<ExactBytes, ExactBytes, RandomState> {
        if let Hash::Packed(_) = self {
            let table = self
                .iter()
                .map(|(field, value)| (field.into(), value.into()))
                .collect();
            *self = Hash::Table(Box::new(table));
        }
        match self {
            Hash::Table(table) => table,
            Hash::Packed(_) => unreachable!("it was just replaced"),
        }
    }
}

impl Shed for Hash {
    fn left(&self) -> usize {
        self.len()
    }

    fn shed(&mut self) -> usize {
        match self {
            // One piece of memory.
            Hash::Packed(_) => 0,
            Hash::Table(table) => {
                table.truncate(table.len().saturating_sub(LARGE));
                table.len()
            }
        }
    }
}
