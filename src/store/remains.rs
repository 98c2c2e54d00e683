//! What was removed and is too large to be freed at once: it would hold up the event loop.
//!
//! Whatever removes it, it goes to the thread that removed it, which frees it in pieces between turns of its event loop.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use super::value::Value;

/// What has more members than this is freed in pieces of about this size.
pub const LARGE: usize = 128;

/// Something that is freed in pieces.
pub trait Shed {
    /// How many members are left.
    fn left(&self) -> usize;
    /// Drops some of them, and gives how many are left.
    fn shed(&mut self) -> usize;
}

#[derive(Default)]
struct Remains {
    queue: Vec<Box<dyn Shed>>,
    /// Of all that is in the queue.
    members: usize,
}

impl Remains {
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

/// Drops a value that nobody sees any more, later if it is large.
pub fn discard(value: Value) {
    if value.members() > LARGE {
        bury(value);
    }
}

/// Keeps what is to be freed in pieces. With too much of it, as from a loop that never lets the event loop turn, some is freed here.
pub fn bury(large: impl Shed + 'static) {
    const MANY: usize = 1_000_000;
    const TOO_MANY: usize = 8 * MANY;
    const AT_ONCE: Duration = Duration::from_millis(1);
    // In a thread that is ending it is dropped as it is.
    let _ = REMAINS.try_with(|remains| remains.borrow_mut().put(Box::new(large)));
    let members = || REMAINS.try_with(|remains| remains.borrow().members).unwrap_or(0);
    if members() > MANY {
        free(AT_ONCE);
    }
    while members() > TOO_MANY {
        free(AT_ONCE);
    }
}

/// Frees what this thread has removed until `budget` is used up. True if more is left.
pub fn free(budget: Duration) -> bool {
    let started = Instant::now();
    loop {
        // Out of the queue: what is freed may hold what has to be freed in pieces itself.
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

impl Shed for Value {
    fn left(&self) -> usize {
        self.members()
    }

    fn shed(&mut self) -> usize {
        self.shed_about(LARGE)
    }
}
