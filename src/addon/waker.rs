//! Wakes a JavaScript thread, from any thread.

use std::sync::Arc;

use napi::bindgen_prelude::Function;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Status};
use parking_lot::Mutex;

use super::from_status;

/// Weak: it keeps the process alive only on request.
type WakeCallback = ThreadsafeFunction<(), (), (), Status, false, true>;

#[derive(Clone)]
pub struct Waker(Arc<Mutex<Option<WakeCallback>>>);

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

    /// True if the thread will run the callback.
    pub fn wake(&self) -> bool {
        let call = |call: &WakeCallback| call.call((), ThreadsafeFunctionCallMode::NonBlocking) == Status::Ok;
        self.0.lock().as_ref().is_some_and(call)
    }

    /// Keeps the process alive while `is_waiting`.
    pub fn keep_alive(&self, env: &Env, is_waiting: bool) {
        let mut call = self.0.lock();
        let Some(call) = call.as_mut() else { return };
        #[allow(
            deprecated,
            reason = "cloning and dropping does not make an idle one let the process go"
        )]
        // This fails only while the environment ends.
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
