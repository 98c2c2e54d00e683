//! Asks JavaScript for credentials before a connection is opened.

use std::collections::HashMap;
use std::sync::Arc;

use napi::Status;
use napi::bindgen_prelude::{FnArgs, Function};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::addon::from_status;
use crate::error::Result;
use crate::redis::credentials::{Credentials, CredentialsProvider};

/// It does not keep the process alive, and holds nothing that refers to the store.
type Call = ThreadsafeFunction<Question, (), Question, Status, false, true>;

/// Its number, and whether it is about the Sentinels.
pub type Question = FnArgs<(u32, bool)>;

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
    /// `on_question` is called with the number of the question, which `answer` wants.
    pub fn new(on_question: &Function<Question, ()>) -> napi::Result<Arc<Self>, String> {
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

/// Gives those for the server, or those for its Sentinels.
pub struct Asker {
    pub asking: Arc<Asking>,
    pub of_sentinels: bool,
}

impl CredentialsProvider for Asker {
    fn ask(&self, answer: oneshot::Sender<Result<Credentials>>) {
        self.asking.ask(self.of_sentinels, answer);
    }
}

impl Asking {
    fn ask(&self, of_sentinels: bool, answer: oneshot::Sender<Result<Credentials>>) {
        let number = {
            let mut asked = self.asked.lock();
            asked.waiting.retain(|_, waiter| !waiter.is_closed());
            asked.next = asked.next.wrapping_add(1);
            let number = asked.next;
            asked.waiting.insert(number, answer);
            number
        };
        let question = (number, of_sentinels).into();
        if self.call.call(question, ThreadsafeFunctionCallMode::NonBlocking) != Status::Ok {
            self.asked.lock().waiting.remove(&number);
        }
    }
}
