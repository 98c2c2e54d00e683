//! The memory of a keyspace's entries: slots that never move.
//!
//! An entry keeps its slot while it lives, so a slot number is SCAN's cursor and the name of an entry in the expiry index. Slots
//! come in chunks: growth copies nothing, and an empty chunk frees its memory.

use std::mem;

const CHUNK: usize = 1024;
const NO_SLOT: u16 = u16::MAX;

pub type SlotId = u32;

enum SlabSlot<T> {
    Used(T),
    Free { next: u16 },
}

struct Chunk<T> {
    /// Without an allocation while the chunk is empty, except in the spare chunk.
    slots: Vec<SlabSlot<T>>,
    /// The head of the list of free slots.
    free: u16,
    live: u16,
    /// Whether the chunk's number is in `Slab::open`.
    open: bool,
}

impl<T> Chunk<T> {
    const EMPTY: Self = Self {
        slots: Vec::new(),
        free: NO_SLOT,
        live: 0,
        open: false,
    };
}

pub struct Slab<T> {
    chunks: Vec<Chunk<T>>,
    /// The numbers of the chunks with a free slot.
    open: Vec<u32>,
    /// The chunk that became empty last. It keeps its memory: an item that comes and goes must not cost a chunk each time.
    spare: Option<u32>,
    live: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Slab<T> {
    pub fn new() -> Self {
        Self {
            chunks: Vec::new(),
            open: Vec::new(),
            spare: None,
            live: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.live
    }

    pub fn get(&self, id: SlotId) -> Option<&T> {
        match self
            .chunks
            .get(id as usize / CHUNK)?
            .slots
            .get(id as usize % CHUNK)?
        {
            SlabSlot::Used(item) => Some(item),
            SlabSlot::Free { .. } => None,
        }
    }

    pub fn get_mut(&mut self, id: SlotId) -> Option<&mut T> {
        match self
            .chunks
            .get_mut(id as usize / CHUNK)?
            .slots
            .get_mut(id as usize % CHUNK)?
        {
            SlabSlot::Used(item) => Some(item),
            SlabSlot::Free { .. } => None,
        }
    }

    pub fn insert(&mut self, item: T) -> SlotId {
        let number = self.chunk_with_room();
        let chunk = &mut self.chunks[number];
        if chunk.slots.capacity() == 0 {
            chunk.slots.reserve_exact(CHUNK);
        }
        let at = match chunk.free {
            NO_SLOT => {
                chunk.slots.push(SlabSlot::Used(item));
                chunk.slots.len() - 1
            }
            at => {
                if let SlabSlot::Free { next } =
                    mem::replace(&mut chunk.slots[at as usize], SlabSlot::Used(item))
                {
                    chunk.free = next;
                }
                at as usize
            }
        };
        chunk.live += 1;
        if chunk.live as usize == CHUNK {
            chunk.open = false;
            self.open.pop();
        }
        self.live += 1;
        (number * CHUNK + at) as SlotId
    }

    pub fn remove(&mut self, id: SlotId) -> Option<T> {
        let (number, at) = (id as usize / CHUNK, id as usize % CHUNK);
        let chunk = self.chunks.get_mut(number)?;
        let slot = chunk.slots.get_mut(at)?;
        if matches!(slot, SlabSlot::Free { .. }) {
            return None;
        }
        let SlabSlot::Used(item) = mem::replace(slot, SlabSlot::Free { next: chunk.free }) else {
            return None;
        };
        chunk.free = at as u16;
        chunk.live -= 1;
        self.live -= 1;
        if !mem::replace(&mut chunk.open, true) {
            self.open.push(number as u32);
        }
        if chunk.live == 0 {
            chunk.slots.clear();
            chunk.free = NO_SLOT;
            self.keep_as_spare(number as u32);
        }
        if self.live == 0 && self.chunks.len() > 1 {
            *self = Self::new();
        }
        Some(item)
    }

    fn keep_as_spare(&mut self, number: u32) {
        let before = self.spare.replace(number).filter(|before| *before != number);
        if let Some(chunk) = before.and_then(|before| self.chunks.get_mut(before as usize))
            && chunk.live == 0
        {
            chunk.slots = Vec::new();
        }
    }

    /// Takes the items of one chunk of a slab that is out of use.
    pub fn shed(&mut self) -> impl Iterator<Item = T> + use<T> {
        let chunk = self.chunks.pop();
        self.live -= chunk.as_ref().map_or(0, |chunk| chunk.live.into());
        let slots = chunk.into_iter().flat_map(|chunk| chunk.slots);
        slots.filter_map(|slot| match slot {
            SlabSlot::Used(item) => Some(item),
            SlabSlot::Free { .. } => None,
        })
    }

    /// The items from slot `from` on, with their slots.
    pub fn iter_from(&self, from: SlotId) -> impl Iterator<Item = (SlotId, &T)> {
        let first = from as usize / CHUNK;
        let chunks = self.chunks.iter().enumerate().skip(first);
        chunks.flat_map(move |(number, chunk)| {
            let skipped = if number == first { from as usize % CHUNK } else { 0 };
            chunk
                .slots
                .iter()
                .enumerate()
                .skip(skipped)
                .filter_map(move |(at, slot)| match slot {
                    SlabSlot::Used(item) => Some(((number * CHUNK + at) as SlotId, item)),
                    SlabSlot::Free { .. } => None,
                })
        })
    }

    /// The first slot from `from` on that may be in use, and the end of its chunk. `None` after the last.
    pub fn run_from(&self, from: SlotId) -> Option<(SlotId, SlotId)> {
        let first = from as usize / CHUNK;
        self.chunks
            .iter()
            .enumerate()
            .skip(first)
            .find_map(|(number, chunk)| {
                let start = if number == first {
                    from as usize
                } else {
                    number * CHUNK
                };
                let end = number * CHUNK + chunk.slots.len();
                (start < end).then_some((start as SlotId, end as SlotId))
            })
    }

    fn chunk_with_room(&mut self) -> usize {
        if let Some(&number) = self.open.last() {
            return number as usize;
        }
        let number = self.chunks.len();
        self.chunks.push(Chunk {
            open: true,
            ..Chunk::EMPTY
        });
        self.open.push(number as u32);
        number
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_map_whose_keys_it_chooses(steps in prop::collection::vec(any::<(bool, u16)>(), 0..6000)) {
            let mut slab = Slab::new();
            let mut model = BTreeMap::new();
            for (insert, number) in steps {
                if insert || model.is_empty() {
                    let id = slab.insert(number);
                    prop_assert_eq!(model.insert(id, number), None, "a slot in use was given away");
                } else {
                    let id = *model.keys().nth(number as usize % model.len()).unwrap();
                    prop_assert_eq!(slab.remove(id), model.remove(&id));
                    prop_assert_eq!(slab.remove(id), None);
                }
                prop_assert_eq!(slab.len(), model.len());
            }
            let found: Vec<_> = slab.iter_from(0).map(|(id, item)| (id, *item)).collect();
            prop_assert_eq!(found, model.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn gives_memory_back_when_a_chunk_is_empty() {
        let mut slab = Slab::new();
        let ids: Vec<_> = (0..3 * CHUNK).map(|number| slab.insert(number)).collect();
        for &id in &ids[..2 * CHUNK] {
            slab.remove(id);
        }
        assert_eq!(slab.chunks[0].slots.capacity(), 0);
        assert_eq!(slab.chunks[1].slots.capacity(), CHUNK, "one is kept");
        assert_eq!(slab.run_from(0), Some((2 * CHUNK as SlotId, 3 * CHUNK as SlotId)));
        for &id in &ids[2 * CHUNK..] {
            slab.remove(id);
        }
        assert_eq!(slab.run_from(0), None);
        assert!(slab.chunks.is_empty());
    }

    /// A list of one value that is pushed and popped again and again takes a chunk's allocation each time: 100 ns of 390.
    #[test]
    fn one_item_that_comes_and_goes_costs_no_chunk() {
        let mut slab = Slab::new();
        let id = slab.insert(1);
        let memory = slab.chunks[0].slots.as_ptr();
        slab.remove(id);
        assert_eq!(slab.insert(2), id);
        assert_eq!(slab.chunks[0].slots.as_ptr(), memory);
    }
}
