//! A list: values that are pushed and popped at both ends.

use std::collections::VecDeque;
use std::mem;
use std::ops::Range;

use either::Either;

use super::pack::Pack;
use super::remains::{self, LARGE, Shed, is_sparse};
use super::text::ExactBytes;

#[derive(Debug)]
pub enum List {
    Packed(Pack),
    #[expect(clippy::box_collection, reason = "a small variant keeps all values small")]
    Deque(Box<VecDeque<ExactBytes>>),
}

impl Default for List {
    fn default() -> Self {
        List::Packed(Pack::default())
    }
}

/// A queue that never runs quite empty would keep the room of its longest backlog.
#[inline]
fn give_room_back(deque: &mut VecDeque<ExactBytes>) {
    if is_sparse(deque.len(), deque.capacity()) {
        deque.shrink_to(2 * deque.len());
    }
}

impl List {
    pub fn len(&self) -> usize {
        match self {
            List::Packed(pack) => pack.len(),
            List::Deque(deque) => deque.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub fn push_front(&mut self, value: &[u8]) {
        match self {
            List::Packed(pack) if pack.has_room(&[value]) => pack.push_front(value),
            _ => self.deque().push_front(value.into()),
        }
    }

    #[inline]
    pub fn push_back(&mut self, value: &[u8]) {
        match self {
            List::Packed(pack) if pack.has_room(&[value]) => pack.push_back(value),
            _ => self.deque().push_back(value.into()),
        }
    }

    #[inline]
    pub fn pop_front(&mut self) -> Option<Vec<u8>> {
        match self {
            List::Packed(pack) => pack.pop_front(),
            List::Deque(deque) => {
                let value = deque.pop_front();
                give_room_back(deque);
                value.map(Vec::from)
            }
        }
    }

    #[inline]
    pub fn pop_back(&mut self) -> Option<Vec<u8>> {
        match self {
            List::Packed(pack) => pack.pop_back(),
            List::Deque(deque) => {
                let value = deque.pop_back();
                give_room_back(deque);
                value.map(Vec::from)
            }
        }
    }

    #[inline]
    pub fn range(&self, places: Range<usize>) -> impl Iterator<Item = &[u8]> {
        match self {
            List::Packed(pack) => Either::Left(pack.iter().skip(places.start).take(places.len())),
            List::Deque(deque) => Either::Right(deque.range(places).map(|value| &**value)),
        }
    }

    /// Drops all but the values at these places.
    pub fn keep(&mut self, places: Range<usize>) {
        match self {
            List::Packed(_) => {
                (places.end..self.len()).for_each(|_| drop(self.pop_back()));
                (0..places.start).for_each(|_| drop(self.pop_front()));
            }
            List::Deque(deque) => {
                let dropped = deque.len() - places.len();
                if dropped > places.len() {
                    // Fewer are kept than dropped: they move, and the rest is freed in pieces.
                    let kept = deque.range_mut(places).map(mem::take).collect();
                    remains::discard(List::Deque(mem::replace(deque, Box::new(kept))));
                    return;
                }
                let ends = (places.end..deque.len()).chain(0..places.start);
                let ends = ends.map(|place| mem::take(&mut deque[place])).collect();
                remains::discard(List::Deque(Box::new(ends)));
                deque.truncate(places.end);
                deque.drain(..places.start);
                if deque.capacity() > 4 * deque.len() {
                    deque.shrink_to(2 * deque.len());
                }
            }
        }
    }

    /// The list as a deque, for operations too rare to have a form for packs.
    pub fn deque(&mut self) -> &mut VecDeque<ExactBytes> {
        if let List::Packed(pack) = self {
            let values = pack.iter().map(ExactBytes::from).collect();
            *self = List::Deque(Box::new(values));
        }
        match self {
            List::Deque(deque) => deque,
            List::Packed(_) => unreachable!("it was just replaced"),
        }
    }
}

impl Shed for List {
    fn left(&self) -> usize {
        self.len()
    }

    fn shed(&mut self) -> usize {
        match self {
            // One piece of memory.
            List::Packed(_) => 0,
            List::Deque(deque) => {
                deque.truncate(deque.len().saturating_sub(LARGE));
                deque.len()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_never_runs_empty_gives_the_room_of_its_backlog_back() {
        let mut list = List::default();
        (0..100_000).for_each(|number: u32| list.push_back(number.to_string().as_bytes()));
        while list.len() > 1 {
            list.pop_front();
        }
        assert!(list.deque().capacity() <= 64, "{}", list.deque().capacity());
    }
}
