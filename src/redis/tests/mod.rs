//! The parts that do no I/O, alone. `__test__/faults` and `__test__/redis` test them over real connections.

pub mod cluster;
mod completions;
pub mod config;
mod history;
mod master;
mod pipeline;
mod redirects;
mod repeating;
mod scripts;
mod shards;
mod subscriber;
mod topics;
mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

use crate::error::Error;
use crate::redis::completions::Answer;
use crate::redis::config::Limits;
use crate::redis::endpoint::Endpoint;
use crate::redis::pipeline::commands::Commands;
use crate::redis::pipeline::in_flight::{Established, InlineWrite, Server, ServerRole};
use crate::redis::pipeline::{Machine, Pipeline};
use crate::redis::protocol::encode;
use crate::redis::request::{EvalSha, Id, Request, Shape, Subject};
use crate::redis::subscriber::machine::Subscriptions;

const READONLY: &str = "-READONLY You can't write against a read only replica.\r\n";
const TIMEOUT: Duration = Duration::from_secs(5);
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

/// A socket that takes up to `room` bytes.
struct Socket {
    taken: Mutex<Vec<u8>>,
    room: usize,
    /// The server has closed the connection, and the end has not been read.
    shutdown: AtomicBool,
}

impl InlineWrite for Socket {
    fn try_write(&self, pieces: &[Bytes]) -> usize {
        let bytes = pieces.concat();
        let mut taken = self.taken.lock();
        let count = bytes.len().min(self.room - taken.len());
        taken.extend_from_slice(&bytes[..count]);
        count
    }

    fn is_drained(&self) -> bool {
        !self.shutdown.load(Ordering::Relaxed)
    }
}

/// A pipeline, a clock, and the socket of its connection.
struct Harness<M = Commands> {
    pipeline: Pipeline<M>,
    now: Instant,
    round_trip: Duration,
    socket: Arc<Socket>,
    buffer: BytesMut,
}

impl<M: Machine> Harness<M> {
    fn new() -> Self {
        let limits = Limits {
            max_queue: 3,
            max_reply: 128 << 20,
            ..config::options().settings.limits
        };
        Self {
            pipeline: Pipeline::new(limits, "server:1".to_owned()),
            now: Instant::now(),
            round_trip: Duration::ZERO,
            socket: socket(0),
            buffer: BytesMut::new(),
        }
    }

    fn connected() -> Self {
        let mut harness = Self::new();
        harness.connect(usize::MAX, ServerRole::Master);
        harness
    }

    fn connect(&mut self, room: usize, role: ServerRole) {
        self.socket = socket(room);
        self.buffer.clear();
        let established = Established {
            inline_write: Some(self.socket.clone()),
            endpoint: Endpoint::Unix("server:1".into()),
            server: Server {
                role,
                ..Server::default()
            },
            round_trip: self.round_trip,
        };
        self.pipeline.connected(established, self.now);
    }

    fn lose(&mut self) {
        self.pipeline.lost(Error::ours("CONNECTION", "reset"), self.now);
    }

    fn send(&mut self, requests: &[Request]) {
        self.pipeline.send(requests.iter().cloned(), self.now);
    }

    fn receive(&mut self, text: &str) -> Result<(), Error> {
        self.buffer.extend_from_slice(text.as_bytes());
        self.pipeline.received(&mut self.buffer, self.now).map(drop)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// The bytes that have been written since the last call.
    fn written(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.socket.taken.lock())).unwrap()
    }

    /// The answers since the last call: the reply's bytes, or the error's code.
    fn answers(&mut self) -> Vec<(Id, String)> {
        texts(std::mem::take(&mut self.pipeline.completed.answers))
    }

    /// The error of the first answer since the last call.
    fn error(&mut self) -> Error {
        let answers = std::mem::take(&mut self.pipeline.completed.answers);
        answers.into_iter().next().unwrap().outcome.unwrap_err()
    }

    fn read(&self, id: Id, words: &[&str]) -> Request {
        let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        Request::repeatable(Some(id), &words, self.now)
    }

    fn write(&self, id: Id, words: &[&str]) -> Request {
        Request {
            repeatable: false,
            ..self.read(id, words)
        }
    }
}

impl Harness<Subscriptions> {
    /// Routes the messages, as the subscriber's sink does.
    fn deliver(&mut self) {
        while self.pipeline.has_output() {
            let batch = std::mem::take(&mut self.pipeline.completed);
            self.pipeline.deliver(batch, self.now);
        }
    }
}

fn socket(room: usize) -> Arc<Socket> {
    Arc::new(Socket {
        taken: Mutex::default(),
        room,
        shutdown: AtomicBool::default(),
    })
}

/// The bytes of each reply, or the code of each error.
fn texts(answers: Vec<Answer>) -> Vec<(Id, String)> {
    let text = |outcome: Result<Bytes, Error>| match outcome {
        Ok(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        Err(error) => error.code.to_string(),
    };
    answers
        .into_iter()
        .map(|answer| (answer.id, text(answer.outcome)))
        .collect()
}

fn answers(expected: &[(Id, &str)]) -> Vec<(Id, String)> {
    expected
        .iter()
        .map(|(id, text)| (*id, (*text).to_owned()))
        .collect()
}

fn sent(commands: &[&[&str]]) -> String {
    let command = |words: &&[&str]| {
        let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        String::from_utf8(encode::command(&words)).unwrap()
    };
    commands.iter().map(command).collect()
}

fn script(harness: &Harness, id: Id) -> Request {
    let request = harness.write(id, &["EVAL", "return 1", "0"]);
    Request {
        subject: Subject::Script(Box::new(EvalSha {
            sha1: [7; 20],
            head: "*3\r\n$7\r\nEVALSHA\r\n$1\r\nh\r\n".into(),
            tail: request.bytes.len() - "$1\r\n0\r\n".len(),
            is_sent: false,
        })),
        ..request
    }
}
