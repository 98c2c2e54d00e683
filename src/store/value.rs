//! The five types of value.

use super::hash::Hash;
use super::list::List;
use super::remains::Shed;
use super::set::Set;
use super::sorted_set::SortedSet;
use super::text::Text;

/// 24 bytes: what does not fit is boxed.
#[derive(Debug)]
pub enum Value {
    String(Text),
    Hash(Hash),
    Set(Set),
    List(List),
    SortedSet(Box<SortedSet>),
}

impl Value {
    /// The reply to TYPE.
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

impl Shed for Value {
    /// The number of members; 1 for a string, which is one piece.
    fn left(&self) -> usize {
        match self {
            Value::String(_) => 1,
            Value::Hash(hash) => hash.len(),
            Value::Set(set) => set.len(),
            Value::List(list) => list.len(),
            Value::SortedSet(set) => set.len(),
        }
    }

    fn shed(&mut self) -> usize {
        match self {
            Value::String(_) => 0,
            Value::Hash(hash) => hash.shed(),
            Value::Set(set) => set.shed(),
            Value::List(list) => list.shed(),
            Value::SortedSet(set) => set.shed(),
        }
    }
}

/// One of the five types, as a command asks for it.
pub trait DataType: Sized {
    fn read(value: &Value) -> Option<&Self>;
    fn write(value: &mut Value) -> Option<&mut Self>;
    fn empty() -> Value;
    /// Whether its key must go: it is a collection without members.
    fn vanishes(&self) -> bool;
}

macro_rules! collection {
    ($type:ty, $variant:ident) => {
        impl DataType for $type {
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

impl DataType for Text {
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
