//! The completion queue: what comes back from the server, until the JavaScript thread takes it.

use std::collections::VecDeque;
use std::mem;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hashbrown::Equivalent;
use parking_lot::Mutex;

use crate::backlog::{Backlog, Message, Rest};
use crate::error::{Error, Result};
use crate::redis::endpoint::EndpointName;
use crate::redis::request::{Id, Request, Role, Shape, Subject, Topic, TopicName};
use crate::wake::WakeOnce;

/// The outcome of a request.
#[derive(Debug)]
pub struct Answer {
    pub id: Id,
    pub shape: Shape,
    /// The replies as they came in.
    pub outcome: Result<Bytes>,
    /// Known to be ASCII: the text needs no decoding.
    pub is_ascii: bool,
}

/// When messages may have been missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub from: SystemTime,
    pub to: SystemTime,
    /// Whose connection was lost, if there was one.
    pub node: Option<EndpointName>,
    /// In a cluster: it concerns nothing that is subscribed at other nodes.
    pub is_of_node: bool,
}

impl Gap {
    /// Messages come again from this call on.
    pub fn until_now(from: SystemTime, node: Option<EndpointName>) -> Self {
        let to = SystemTime::now();
        Self {
            from,
            to,
            node,
            is_of_node: false,
        }
    }

    /// One gap for this and an earlier one that has not been told.
    fn joined(self, earlier: Option<Gap>) -> Self {
        let Some(earlier) = earlier else { return self };
        let to = self.to.max(earlier.to);
        let (first, second) = if earlier.from <= self.from {
            (earlier, self)
        } else {
            (self, earlier)
        };
        Self {
            from: first.from,
            to,
            node: first.node.or(second.node),
            is_of_node: first.is_of_node && second.is_of_node,
        }
    }
}

#[derive(Debug, Clone)]
pub enum Event {
    Ready {
        role: Role,
        node: EndpointName,
    },
    Reconnecting {
        role: Role,
        /// Where the connection led, if there was one.
        node: Option<EndpointName>,
        attempt: u32,
        delay: Duration,
        cause: Error,
    },
    /// The server is a node of a cluster.
    ClusterFound,
    /// The server has refused to subscribe a topic again.
    Unsubscribed {
        topic: Topic,
        error: Error,
    },
}

/// What was completed since the last time.
#[derive(Default)]
pub struct CompletionBatch {
    pub events: Vec<Event>,
    pub answers: Vec<Answer>,
    pub backlog: Backlog,
    /// Delivered after the messages. A listener that now reads the state again has seen all of them.
    pub gap: Option<Gap>,
}

/// What was left when a part was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    pub answers: bool,
    /// Messages or events.
    pub messages: bool,
}

/// Events of a connection, with the gap that follows them.
#[derive(Default)]
pub struct Events {
    pub events: Vec<Event>,
    /// Delivered after the messages. A listener that now reads the state again has seen all of them.
    pub gap: Option<Gap>,
}

impl Events {
    pub fn append(&mut self, later: Events) {
        self.events.extend(later.events);
        if let Some(gap) = later.gap {
            self.gap = Some(gap.joined(self.gap.take()));
        }
    }
}

struct CompletionQueueState {
    batch: CompletionBatch,
    wake: WakeOnce,
}

impl CompletionQueueState {
    /// A part was taken. The thread takes what is left by itself; if nothing is, the next item wakes it.
    fn note_left(&mut self) -> Left {
        let left = Left {
            answers: !self.batch.answers.is_empty(),
            messages: self.batch.has_messages(),
        };
        self.wake.taken(left.answers || left.messages);
        left
    }
}

pub struct CompletionQueue(Mutex<CompletionQueueState>);

impl CompletionQueue {
    pub fn new(wake: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Mutex::new(CompletionQueueState {
            batch: CompletionBatch::default(),
            wake: WakeOnce::new(wake),
        }))
    }

    /// Takes at most `count` answers, of a bounded size: the values of all would be alive at once. The thread comes again by itself while
    /// anything is left.
    pub fn take_answers(&self, count: usize) -> (Vec<Answer>, Left) {
        let mut waiting = self.0.lock();
        let some = waiting.batch.some_answers(count);
        let answers = if some == waiting.batch.answers.len() {
            mem::take(&mut waiting.batch.answers)
        } else {
            waiting.batch.answers.drain(..some).collect()
        };
        let left = waiting.note_left();
        (answers, left)
    }

    /// Takes at most `count` messages, what follows them, and events, but for those that must come after the last message. The thread comes
    /// again by itself while messages are left.
    pub fn take_messages(&self, count: usize) -> (VecDeque<Message>, Rest, Events) {
        let CompletionQueueState { batch, wake } = &mut *self.0.lock();
        let (messages, rest) = batch.backlog.take(count);
        let mut events = Events {
            events: mem::take(&mut batch.events),
            gap: None,
        };
        if rest == Rest::Messages {
            let waits = |event: &mut Event| matches!(event, Event::Unsubscribed { .. });
            batch.events = events.events.extract_if(.., waits).collect();
        } else {
            events.gap = batch.gap.take();
            wake.taken(false);
            // They have come in since answers were taken, or were left then.
            if !batch.answers.is_empty() {
                wake.wake();
            }
        }
        (messages, rest, events)
    }

    /// Adds to what waits, and wakes the JavaScript thread.
    pub fn put(&self, later: CompletionBatch) {
        let mut waiting = self.0.lock();
        waiting.batch.append(later);
        waiting.wake.wake();
    }

    /// Wakes the JavaScript thread, though there may be nothing to take.
    pub fn wake(&self) {
        self.0.lock().wake.wake();
    }

    /// The JavaScript thread is about to take what comes: it needs no wake-up.
    pub fn expect(&self) {
        // As if something were left: the thread takes it, and what comes meanwhile, by itself.
        self.0.lock().wake.taken(true);
    }

    /// Ends `expect`. Gives whether anything has come; if not, the thread is woken for what does.
    pub fn stop_expecting(&self) -> bool {
        let left = self.0.lock().note_left();
        left.answers || left.messages
    }

    /// Messages come for more topics: what is dropped comes after this call, if nothing waits.
    pub fn note_subscription(&self) {
        self.0.lock().batch.backlog.note_empty();
    }

    /// Answers a request that needs no connection.
    pub fn done(&self, id: Id) {
        let mut batch = CompletionBatch::default();
        batch.done(id);
        self.put(batch);
    }

    /// Answers a request that cannot be sent.
    pub fn fail(&self, id: Id, error: Error) {
        let mut batch = CompletionBatch::default();
        batch.failed(id, error);
        self.put(batch);
    }

    /// Drops what came for a subscription that has ended: a later one of the same name must not get it.
    pub fn forget(&self, topic: &Topic) {
        let batch = &mut self.0.lock().batch;
        batch
            .events
            .retain(|event| !matches!(event, Event::Unsubscribed { topic: other, .. } if other == topic));
        batch
            .backlog
            .forget(|message| TopicName::of(message).equivalent(topic));
    }
}

/// The most bytes of answers taken at once, but for the last one: a part of what V8 keeps for young values.
pub(super) const AT_ONCE: usize = 1 << 20;

/// Longer replies are checked for ASCII by JavaScript's thread.
const HUGE: usize = 256 << 10;

/// The reply of a request without a result.
const NOTHING: Bytes = Bytes::from_static(b"_\r\n");

impl CompletionBatch {
    pub fn answer(&mut self, id: Id, shape: Shape, outcome: Result<Bytes>) {
        // The check costs a third while the bytes are in this core's cache. A huge reply would keep the pipeline locked for long.
        let is_ascii = outcome
            .as_ref()
            .is_ok_and(|bytes| bytes.len() <= HUGE && bytes.is_ascii());
        self.answers.push(Answer {
            id,
            shape,
            outcome,
            is_ascii,
        });
    }

    /// Answers the caller of a request. A split request is answered once, when all its parts are.
    pub fn conclude(&mut self, request: &Request, outcome: Result<Bytes>) {
        let Some(id) = request.id else { return };
        let outcome = match &request.subject {
            Subject::Part(part) => part.0.put(part.1, outcome),
            _ => Some(outcome),
        };
        if let Some(outcome) = outcome {
            self.answer(id, request.shape, outcome);
        }
    }

    pub fn done(&mut self, id: Id) {
        self.answer(id, Shape::AsIs, Ok(NOTHING));
    }

    pub fn failed(&mut self, id: Id, error: Error) {
        self.answer(id, Shape::AsIs, Err(error));
    }

    /// Answers a request that has no result.
    pub fn done_or_failed(&mut self, id: Id, outcome: Result<()>) {
        match outcome {
            Ok(()) => self.done(id),
            Err(error) => self.failed(id, error),
        }
    }

    pub fn push_gap(&mut self, gap: Gap) {
        self.gap = Some(gap.joined(self.gap.take()));
    }

    /// How many of the first `count` answers fit.
    fn some_answers(&self, count: usize) -> usize {
        let mut room = AT_ONCE;
        let fits = |answer: &&Answer| {
            let is_left = room > 0;
            room = room.saturating_sub(answer.outcome.as_ref().map_or(0, Bytes::len));
            is_left
        };
        self.answers.iter().take(count).take_while(fits).count()
    }

    pub fn is_empty(&self) -> bool {
        self.answers.is_empty() && !self.has_messages()
    }

    fn has_messages(&self) -> bool {
        !self.events.is_empty() || !self.backlog.is_empty() || self.gap.is_some()
    }

    fn append(&mut self, mut later: CompletionBatch) {
        self.events.append(&mut later.events);
        if self.answers.is_empty() {
            self.answers = later.answers;
        } else {
            self.answers.append(&mut later.answers);
        }
        self.backlog.append(later.backlog);
        if let Some(gap) = later.gap {
            self.push_gap(gap);
        }
    }
}
