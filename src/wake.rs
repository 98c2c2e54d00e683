//! Wakes a JavaScript thread once for all items that arrive before it takes them.

/// Kept under the same lock as the queue.
pub struct WakeOnce {
    /// Runs on any thread. True if the JavaScript thread will take the items.
    wake: Box<dyn Fn() -> bool + Send + Sync>,
    /// Whether a wake-up is under way, or the thread will take more by itself.
    is_expected: bool,
}

impl WakeOnce {
    pub fn new(wake: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self {
            wake: Box::new(wake),
            is_expected: false,
        }
    }

    /// An item has arrived.
    pub fn wake(&mut self) {
        if !self.is_expected {
            self.is_expected = (self.wake)();
        }
    }

    /// The thread took items. If some are `left` it must take them by itself; else the next item wakes it.
    pub fn taken(&mut self, left: bool) {
        self.is_expected = left;
    }
}
