//! A set: members, each once.

use either::Either;
use foldhash::fast::RandomState;
use indexmap::IndexSet;

use super::pack::Pack;
use super::remains::{LARGE, Shed, is_sparse};
use super::text::ExactBytes;

#[derive(Debug)]
pub enum Set {
    Packed(Pack),
    Table(Box<IndexSet<ExactBytes, RandomState>>),
}

impl Default for Set {
    fn default() -> Self {
        Set::Packed(Pack::default())
    }
}

impl Set {
    pub fn len(&self) -> usize {
        match self {
            Set::Packed(pack) => pack.len(),
            Set::Table(table) => table.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn contains(&self, member: &[u8]) -> bool {
        match self {
            Set::Packed(pack) => pack.find(member, 1).is_some(),
            Set::Table(table) => table.contains(member),
        }
    }

    /// Adds a member. True if it is new.
    pub fn insert(&mut self, member: &[u8]) -> bool {
        if self.contains(member) {
            return false;
        }
        match self {
            Set::Packed(pack) if pack.has_room(&[member]) => pack.push_back(member),
            Set::Packed(_) => {
                let members = self.iter().chain([member]).map(ExactBytes::from).collect();
                *self = Set::Table(Box::new(members));
            }
            Set::Table(table) => {
                table.insert(member.into());
            }
        }
        true
    }

    /// Removes a member. True if it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self {
            Set::Packed(pack) => pack.find(member, 1).map(|at| pack.remove(at, 1)).is_some(),
            Set::Table(table) => {
                let was_there = table.swap_remove(member);
                if is_sparse(table.len(), table.capacity()) {
                    table.shrink_to(2 * table.len());
                }
                was_there
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        match self {
            Set::Packed(pack) => Either::Left(pack.iter()),
            Set::Table(table) => Either::Right(table.iter().map(|member| &**member)),
        }
    }
}

impl Shed for Set {
    fn left(&self) -> usize {
        self.len()
    }

    fn shed(&mut self) -> usize {
        match self {
            // One piece of memory.
            Set::Packed(_) => 0,
            Set::Table(table) => {
                table.truncate(table.len().saturating_sub(LARGE));
                table.len()
            }
        }
    }
}
