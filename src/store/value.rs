//! The five types of value.

use std::collections::VecDeque;

use foldhash::fast::RandomState;
use indexmap::{IndexMap, IndexSet};

use super::sorted_set::SortedSet;

pub type Bytes = Box<[u8]>;
/// Ordered by insertion, as Redis's small hashes are.
pub type Hash = IndexMap<Bytes, Bytes, RandomState>;
pub type Set = IndexSet<Bytes, RandomState>;
pub type List = VecDeque<Bytes>;

/// Collections are boxed so that a string, by far the most frequent value, does not pay for their size.
#[derive(Debug)]
pub enum Value {
    String(Bytes),
    Hash(Box<Hash>),
    Set(Box<Set>),
    List(Box<List>),
    SortedSet(Box<SortedSet>),
}

impl Value {
    /// The name that TYPE replies.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::String(_) => "string",
            Value::Hash(_) => "hash",
            Value::Set(_) => "set",
            Value::List(_) => "list",
            Value::SortedSet(_) => "zset",
        }
    }

    #[cfg(test)]
    pub fn vanishes(&self) -> bool {
        match self {
            Value::String(string) => string.vanishes(),
            Value::Hash(hash) => hash.vanishes(),
            Value::Set(set) => set.vanishes(),
            Value::List(list) => list.vanishes(),
            Value::SortedSet(set) => set.vanishes(),
        }
    }
}

/// One of the five types, seen from the commands that work on it.
pub trait Kind: Sized {
    fn read(value: &Value) -> Option<&Self>;
    fn write(value: &mut Value) -> Option<&mut Self>;
    fn empty() -> Value;
    /// Whether its key goes away with its last member.
    fn vanishes(&self) -> bool;
}

macro_rules! collection {
    ($type:ty, $variant:ident) => {
        impl Kind for $type {
            fn read(value: &Value) -> Option<&Self> {
                if let Value::$variant(inner) = value {
                    Some(inner)
                } else {
                    None
                }
            }
            fn write(value: &mut Value) -> Option<&mut Self> {
                if let Value::$variant(inner) = value {
                    Some(inner)
                } else {
                    None
                }
            }
            fn empty() -> Value {
                Value::$variant(Box::default())
            }
            fn vanishes(&self) -> bool {
                self.is_empty()
            }
        }
    };
}

collection!(Hash, Hash);
collection!(Set, Set);
collection!(List, List);
collection!(SortedSet, SortedSet);

impl Kind for Bytes {
    fn read(value: &Value) -> Option<&Self> {
        if let Value::String(inner) = value {
            Some(inner)
        } else {
            None
        }
    }
    fn write(value: &mut Value) -> Option<&mut Self> {
        if let Value::String(inner) = value {
            Some(inner)
        } else {
            None
        }
    }
    fn empty() -> Value {
        Value::String(Bytes::default())
    }
    fn vanishes(&self) -> bool {
        false
    }
}
