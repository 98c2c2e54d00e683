//! Asks JavaScript for credentials before a connection is opened.

use std::collections::HashMap;
use std::sync::Arc;

use napi::Status;
use napi::bindgen_prelude::Function;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::addon::from_status;
use crate::error::Result;
use crate::redis::credentials::{Credentials, CredentialsProvider};

/// Weak: it does not keep the process alive, and has no reference to the store.
type Call = ThreadsafeFunction<u32, (), u32, Status, false, true>;

/// The thread that provides credentials.
pub struct Asking {
    call: Call,
    asked: Mutex<Questions>,
}

#[derive(Default)]
struct Questions {
    /// The attempts to connect that wait, by question. A thread that has ended never answers.
    waiting: HashMap<u32, oneshot::Sender<Result<Credentials>>>,
    next: u32,
}

impl Asking {
    /// `on_question` gets the number of a question, which `answer` needs.
    pub fn new(on_question: &Function<u32, ()>) -> napi::Result<Arc<Self>, String> {
        let call = on_question
            .build_threadsafe_function()
            .callee_handled::<false>()
            .weak::<true>()
            .build()
            .map_err(from_status)?;
        let asked = Mutex::default();
        Ok(Arc::new(Self { call, asked }))
    }

    pub fn answer(&self, number: u32, answer: Result<Credentials>) {
        if let Some(waiter) = self.asked.lock().waiting.remove(&number) {
            // The attempt may have timed out.
            let _ = waiter.send(answer);
        }
    }
}

impl CredentialsProvider for Asking {
    fn ask(&self, answer: oneshot::Sender<Result<Credentials>>) {
        let number = {
            let mut asked = self.asked.lock();
            asked.waiting.retain(|_, waiter| !waiter.is_closed());
            asked.next = asked.next.wrapping_add(1);
            let number = asked.next;
            asked.waiting.insert(number, answer);
            number
        };
        if self.call.call(number, ThreadsafeFunctionCallMode::NonBlocking) != Status::Ok {
            self.asked.lock().waiting.remove(&number);
        }
    }
}
