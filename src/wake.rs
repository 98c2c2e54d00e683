//! Wakes a JavaScript thread once for all that comes in until the thread takes it.

/// Lies beside what the thread takes, under the same lock.
pub struct WakeOnce {
    /// Called on any thread. True if the JavaScript thread will take what there is.
    wake: Box<dyn Fn() -> bool + Send + Sync>,
    /// A wake-up is under way, or the thread comes again by itself.
    is_expected: bool,
}

impl WakeOnce {
    pub fn new(wake: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self {
            wake: Box::new(wake),
            is_expected: false,
        }
    }

    /// Something has come in.
    pub fn wake(&mut self) {
        if !self.is_expected {
            self.is_expected = (self.wake)();
        }
    }

    /// The thread has taken some. It comes again by itself if anything is `left`, and is woken for what comes in if not.
    pub fn taken(&mut self, left: bool) {
        self.is_expected = left;
    }
}
