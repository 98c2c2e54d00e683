//! Asks JavaScript's functions before a connection is opened.

use std::collections::HashMap;
use std::sync::Arc;

use napi::Status;
use napi::bindgen_prelude::{FnArgs, Function};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::addon::from_status;
use crate::redis::credentials::Credentials;
use crate::redis::endpoint::Endpoint;
use crate::redis::provided::{Provider, ProviderAnswer, Question};

/// It does not keep the process alive, and holds nothing that refers to the store.
type QuestionCallback = ThreadsafeFunction<Asked, (), Asked, Status, false, true>;

/// Its number, whether it is about the Sentinels, what is asked, and about which host and port.
pub type Asked = FnArgs<(u32, bool, &'static str, Option<String>, Option<u16>)>;

type AnswerSender = oneshot::Sender<Result<ProviderAnswer, String>>;

/// The thread that has the functions.
pub struct Asking {
    call: QuestionCallback,
    asked: Mutex<Questions>,
}

#[derive(Default)]
struct Questions {
    /// The attempts to connect that wait, by question. A thread that has ended never answers.
    waiting: HashMap<u32, AnswerSender>,
    next: u32,
}

/// What a function gives, or the reason of its failure.
#[napi(object, object_to_js = false)]
pub struct RedisAnswer {
    pub username: Option<String>,
    pub password: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub servername: Option<String>,
    pub failure: Option<String>,
}

impl RedisAnswer {
    fn into_answer(self) -> Result<ProviderAnswer, String> {
        let endpoint = self.host.zip(self.port);
        match self.failure {
            Some(why) => Err(why),
            None => Ok(ProviderAnswer {
                credentials: Credentials {
                    username: self.username,
                    password: self.password,
                },
                endpoint: endpoint.map(|(host, port)| Endpoint::Tcp { host, port }),
                server_name: self.servername,
            }),
        }
    }
}

impl Asking {
    /// `on_question` is called with the number of the question, which `answer` wants.
    pub fn new(on_question: &Function<Asked, ()>) -> napi::Result<Arc<Self>, String> {
        let call = on_question
            .build_threadsafe_function()
            .callee_handled::<false>()
            .weak::<true>()
            .build()
            .map_err(from_status)?;
        let asked = Mutex::default();
        Ok(Arc::new(Self { call, asked }))
    }

    pub fn answer(&self, number: u32, answer: RedisAnswer) {
        if let Some(waiter) = self.asked.lock().waiting.remove(&number) {
            // The attempt may have timed out.
            let _ = waiter.send(answer.into_answer());
        }
    }

    fn ask(&self, of_sentinels: bool, question: Question, answer: AnswerSender) {
        let number = {
            let mut asked = self.asked.lock();
            asked.waiting.retain(|_, waiter| !waiter.is_closed());
            asked.next = asked.next.wrapping_add(1);
            let number = asked.next;
            asked.waiting.insert(number, answer);
            number
        };
        let (what, endpoint) = match question {
            Question::Credentials => ("credentials", None),
            Question::Address(endpoint) => ("address", Some(endpoint)),
            Question::ServerName(endpoint) => ("servername", Some(endpoint)),
        };
        let (host, port) = match endpoint {
            Some(Endpoint::Tcp { host, port }) => (Some(host), Some(port)),
            Some(Endpoint::Unix(_)) | None => (None, None),
        };
        let asked = (number, of_sentinels, what, host, port).into();
        if self.call.call(asked, ThreadsafeFunctionCallMode::NonBlocking) != Status::Ok {
            self.asked.lock().waiting.remove(&number);
        }
    }
}

/// Asks the functions of the server, or those of its Sentinels.
pub struct FunctionProvider {
    pub asking: Arc<Asking>,
    pub of_sentinels: bool,
}

impl Provider for FunctionProvider {
    fn ask(&self, question: Question, answer: AnswerSender) {
        self.asking.ask(self.of_sentinels, question, answer);
    }
}
