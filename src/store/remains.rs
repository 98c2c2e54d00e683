//! Frees large values in pieces: to free one at once would block the event loop.
//!
//! The thread that removed a value frees it, between turns of its event loop.

use std::cell::RefCell;
use std::time::{Duration, Instant};

/// A value with more members than this is freed in pieces of about this size.
pub const LARGE: usize = 128;

/// Something that is freed in pieces.
pub trait Shed {
    /// The number of members that are left.
    fn left(&self) -> usize;
    /// Frees about `LARGE` members. Returns the number that is left.
    fn shed(&mut self) -> usize;
}

#[derive(Default)]
struct Remains {
    queue: Vec<Box<dyn Shed>>,
    /// The members of all values in the queue.
    members: usize,
}

impl Remains {
    #[inline]
    fn put(&mut self, large: Box<dyn Shed>) {
        self.members += large.left();
        self.queue.push(large);
    }

    fn take(&mut self) -> Option<Box<dyn Shed>> {
        let large = self.queue.pop()?;
        self.members -= large.left();
        Some(large)
    }
}

thread_local! {
    static REMAINS: RefCell<Remains> = RefCell::default();
}

/// Frees a value that was removed: later, if it is large.
pub fn discard(value: impl Shed + 'static) {
    if value.left() > LARGE {
        bury(value);
    }
}

/// Queues a value that is freed in pieces. Where the event loop does not turn and the queue grows, this frees some of it.
pub fn bury(large: impl Shed + 'static) {
    const MANY: usize = 1_000_000;
    const TOO_MANY: usize = 8 * MANY;
    const AT_ONCE: Duration = Duration::from_millis(1);
    // A thread that is ending frees it at once.
    let _ = REMAINS.try_with(|remains| remains.borrow_mut().put(Box::new(large)));
    let members = || REMAINS.try_with(|remains| remains.borrow().members).unwrap_or(0);
    if members() > MANY {
        free(AT_ONCE);
    }
    while members() > TOO_MANY {
        free(AT_ONCE);
    }
}

/// Frees values that this thread removed until `budget` is used up. True if some are left.
pub fn free(budget: Duration) -> bool {
    let started = Instant::now();
    loop {
        // Taken out of the queue first: to free it may queue large values that it holds.
        let next = REMAINS.try_with(|remains| remains.borrow_mut().take());
        let Ok(Some(mut large)) = next else {
            return false;
        };
        let left = large.shed();
        let more = REMAINS.try_with(|remains| {
            let mut remains = remains.borrow_mut();
            if left > 0 {
                remains.put(large);
            }
            !remains.queue.is_empty()
        });
        if started.elapsed() >= budget {
            return more.unwrap_or(false);
        }
    }
}

/// Whether a collection has so much more room than it needs that it is to give some back.
#[inline]
pub fn is_sparse(length: usize, room: usize) -> bool {
    room > 64 && length < room / 8
}
