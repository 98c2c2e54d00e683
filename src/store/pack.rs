//! A few short texts in one allocation, as Redis's listpack.
//!
//! Most hashes, sets and lists are small. In a table each text is an allocation, and a read costs five or six cache misses; here
//! it costs one.

/// Redis's defaults: beyond them a collection moves to a table.
const MAX_ITEMS: usize = 128;
const MAX_LENGTH: usize = 64;

/// The number of items, then each item between two bytes that hold its length, so that it can be read from both ends. Empty it
/// has no allocation. Boxed: the capacity of a vector would make every value larger.
#[derive(Debug, Default)]
pub struct Pack(Box<[u8]>);

/// The offset of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackOffset(usize);

/// The bytes that an item takes beside its text.
const FRAME: usize = 2;

impl Pack {
    pub fn len(&self) -> usize {
        self.0.first().copied().unwrap_or(0).into()
    }

    /// Whether these items can be added.
    #[inline]
    pub fn has_room(&self, items: &[&[u8]]) -> bool {
        self.len() + items.len() <= MAX_ITEMS && Self::may_hold(items)
    }

    /// Whether each item is short enough.
    pub fn may_hold(items: &[&[u8]]) -> bool {
        items.iter().all(|item| item.len() <= MAX_LENGTH)
    }

    pub fn iter(&self) -> Iter<'_> {
        Iter {
            bytes: self.0.get(1..).unwrap_or_default(),
        }
    }

    /// The first item equal to `item` among every `stride`th: in a hash every second item is a field.
    #[inline]
    pub fn find(&self, item: &[u8], stride: usize) -> Option<PackOffset> {
        let mut at = 1;
        for index in 0..self.len() {
            let length = usize::from(self.0[at]);
            if length == item.len() && index % stride == 0 && self.0[at + 1..at + 1 + length] == *item {
                return Some(PackOffset(at));
            }
            at += length + FRAME;
        }
        None
    }

    #[inline]
    pub fn get(&self, PackOffset(at): PackOffset) -> &[u8] {
        &self.0[at + 1..at + 1 + usize::from(self.0[at])]
    }

    /// The offset of the next item.
    pub fn after(&self, PackOffset(at): PackOffset) -> PackOffset {
        PackOffset(at + usize::from(self.0[at]) + FRAME)
    }

    #[inline]
    pub fn push_back(&mut self, item: &[u8]) {
        if self.len() == 0 {
            return self.push_only(item);
        }
        self.count(1);
        self.change(item.len() + FRAME, |bytes| bytes.extend(framed(item)));
    }

    #[inline]
    pub fn push_front(&mut self, item: &[u8]) {
        if self.len() == 0 {
            return self.push_only(item);
        }
        self.count(1);
        self.change(item.len() + FRAME, |bytes| drop(bytes.splice(1..1, framed(item))));
    }

    fn push_only(&mut self, item: &[u8]) {
        let length = item.len() as u8;
        let mut bytes = Vec::with_capacity(1 + item.len() + FRAME);
        bytes.extend_from_slice(&[1, length]);
        bytes.extend_from_slice(item);
        bytes.push(length);
        self.0 = bytes.into_boxed_slice();
    }

    #[inline]
    pub fn pop_front(&mut self) -> Option<Vec<u8>> {
        if self.len() == 1 {
            return Some(self.pop_only());
        }
        let item = self.iter().next()?.to_vec();
        self.remove(PackOffset(1), 1);
        Some(item)
    }

    /// Takes the only item, in the memory of the pack.
    #[inline]
    fn pop_only(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.0).into_vec();
        bytes.pop();
        bytes.drain(..FRAME);
        bytes
    }

    #[inline]
    pub fn pop_back(&mut self) -> Option<Vec<u8>> {
        if self.len() == 1 {
            return Some(self.pop_only());
        }
        let item = self.iter().next_back()?.to_vec();
        self.count(-1);
        self.change(0, |bytes| bytes.truncate(bytes.len() - item.len() - FRAME));
        Some(item)
    }

    #[inline]
    pub fn replace(&mut self, at: PackOffset, item: &[u8]) {
        let old = self.get(at).len();
        if old == item.len() {
            self.0[at.0 + 1..at.0 + 1 + old].copy_from_slice(item);
        } else {
            let replaced = at.0..at.0 + old + FRAME;
            self.change(item.len() + FRAME, |bytes| {
                drop(bytes.splice(replaced, framed(item)))
            });
        }
    }

    /// Removes a number of items, from this one on.
    #[inline]
    pub fn remove(&mut self, at: PackOffset, items: usize) {
        let end = (0..items).fold(at, |at, _| self.after(at));
        self.count(-(items as i8));
        self.change(0, |bytes| drop(bytes.drain(at.0..end.0)));
    }

    #[inline]
    fn count(&mut self, change: i8) {
        match self.0.first_mut() {
            Some(count) => *count = count.wrapping_add_signed(change),
            None => self.0 = Box::new([change as u8]),
        }
    }

    /// Changes the bytes, which grow by `more` at most. The allocator's slack mostly saves a copy.
    fn change(&mut self, more: usize, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::mem::take(&mut self.0).into_vec();
        bytes.reserve_exact(more);
        change(&mut bytes);
        self.0 = bytes.into_boxed_slice();
    }
}

fn framed(item: &[u8]) -> impl Iterator<Item = u8> {
    let length = [item.len() as u8];
    length.into_iter().chain(item.iter().copied()).chain(length)
}

pub struct Iter<'a> {
    bytes: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (&length, rest) = self.bytes.split_first()?;
        let (item, rest) = rest.split_at(length.into());
        self.bytes = &rest[1..];
        Some(item)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        let (&length, rest) = self.bytes.split_last()?;
        let (rest, item) = rest.split_at(rest.len() - usize::from(length));
        self.bytes = &rest[..rest.len() - 1];
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_vector(steps in prop::collection::vec((0..6u8, prop::collection::vec(any::<u8>(), 0..=64), 0..200usize), 0..300)) {
            let mut pack = Pack::default();
            let mut model: Vec<Vec<u8>> = Vec::new();
            for (kind, item, number) in steps {
                let place = number % model.len().max(1);
                let at = |pack: &Pack| (0..place).fold(PackOffset(1), |at, _| pack.after(at));
                match kind {
                    0 | 1 if !pack.has_room(&[&item]) => prop_assert_eq!(model.len(), MAX_ITEMS),
                    0 => { pack.push_back(&item); model.push(item) }
                    1 => { pack.push_front(&item); model.insert(0, item) }
                    2 => prop_assert_eq!(pack.pop_back(), model.pop()),
                    3 => prop_assert_eq!(pack.pop_front(), (!model.is_empty()).then(|| model.remove(0))),
                    4 if !model.is_empty() => { pack.replace(at(&pack), &item); model[place] = item }
                    5 if !model.is_empty() => { pack.remove(at(&pack), 1); model.remove(place); }
                    _ => (),
                }
                prop_assert_eq!(pack.len(), model.len());
                prop_assert!(pack.iter().eq(model.iter().map(Vec::as_slice)));
                prop_assert!(pack.iter().rev().eq(model.iter().rev().map(Vec::as_slice)));
                if let Some(sought) = model.get(place) {
                    let first = model.iter().step_by(2).position(|item| item == sought).map(|index| index * 2);
                    let found = pack.find(sought, 2).map(|at| pack.get(at).to_vec());
                    prop_assert_eq!(found.as_ref(), first.map(|index| &model[index]));
                }
            }
        }
    }
}
