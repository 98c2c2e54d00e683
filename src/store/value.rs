//! The five types of value.

use super::hash::Hash;
use super::list::List;
use super::set::Set;
use super::sorted_set::SortedSet;
use super::text::Text;

pub type Bytes = Box<[u8]>;

/// As large as a string's pointer with its length and capacity: what does not fit is boxed.
#[derive(Debug)]
pub enum Value {
    String(Text),
    Hash(Hash),
    Set(Set),
    List(List),
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

    /// The number of members; 1 for a string.
    pub fn members(&self) -> usize {
        match self {
            Value::String(_) => 1,
            Value::Hash(hash) => hash.len(),
            Value::Set(set) => set.len(),
            Value::List(list) => list.len(),
            Value::SortedSet(set) => set.len(),
        }
    }

    /// Drops some of the members of a collection of which nothing else is wanted, and gives how many are left.
    pub fn shed_about(&mut self, about: usize) -> usize {
        let left = self.members().saturating_sub(about);
        match self {
            Value::Hash(Hash::Table(table)) => table.truncate(left),
            Value::Set(Set::Table(table)) => table.truncate(left),
            Value::List(List::Deque(deque)) => deque.truncate(left),
            Value::SortedSet(set) => set.shed(),
            // A string or a pack is one piece.
            _ => return 0,
        }
        self.members()
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
                Value::$variant(Default::default())
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

impl Kind for Text {
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
        Value::String(Text::default())
    }
    fn vanishes(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_takes_24_bytes() {
        assert_eq!(size_of::<Value>(), 24);
    }
}
