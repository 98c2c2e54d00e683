//! Wakes a JavaScript thread, from any thread.

use std::sync::Arc;

use napi::bindgen_prelude::Function;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Status};
use parking_lot::Mutex;

use super::from_status;

/// It does not keep the process alive unless it is told to.
type Call = ThreadsafeFunction<(), (), (), Status, false, true>;

#[derive(Clone)]
pub struct Waker(Arc<Mutex<Option<Call>>>);

impl Waker {
    pub fn new(on_wake: &Function<(), ()>) -> napi::Result<Self, String> {
        let call = on_wake
            .build_threadsafe_function()
            .callee_handled::<false>()
            .weak::<true>()
            .build()
            .map_err(from_status)?;
        Ok(Self(Arc::new(Mutex::new(Some(call)))))
    }

    /// True if the thread will be called.
    pub fn wake(&self) -> bool {
        let call = |call: &Call| call.call((), ThreadsafeFunctionCallMode::NonBlocking) == Status::Ok;
        self.0.lock().as_ref().is_some_and(call)
    }

    /// The process stays alive while something may come, and no longer.
    pub fn keep_alive(&self, env: &Env, is_waiting: bool) {
        let mut call = self.0.lock();
        let Some(call) = call.as_mut() else { return };
        #[allow(
            deprecated,
            reason = "cloning and dropping does not make an idle one let the process go"
        )]
        // It fails only where the environment is ending.
        let _ = if is_waiting {
            call.refer(env)
        } else {
            call.unref(env)
        };
    }

    pub fn end(&self) {
        self.0.lock().take();
    }
}
