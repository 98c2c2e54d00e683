//! What comes back from the server, for the JavaScript thread to take.

use std::collections::VecDeque;
use std::mem;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::backlog::{Backlog, Message};
use crate::error::{Error, Result};
use crate::redis::pipeline::Role;
use crate::redis::request::{Id, Kind, Shape, Topic};

/// What came of a request.
#[derive(Debug)]
pub struct Answer {
    pub id: Id,
    pub shape: Shape,
    /// The replies as they came in.
    pub outcome: Result<Bytes>,
    /// They are known to be ASCII, so that their text needs no decoding.
    pub is_ascii: bool,
}

/// When messages may have been missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    pub from: SystemTime,
    pub to: SystemTime,
}

#[derive(Debug, Clone)]
pub enum Event {
    Ready(Role),
    Reconnecting {
        role: Role,
        attempt: u32,
        delay: Duration,
        cause: Error,
    },
    /// Messages come from now on.
    Subscribed {
        topic: Topic,
    },
    /// From then on messages may be missed, until `Mail::gap` tells that they come again.
    Missing,
    /// What was subscribed could not be subscribed again.
    Unsubscribed {
        topic: Topic,
        error: Error,
    },
}

/// All that has come in since the last time.
#[derive(Default)]
pub struct Mail {
    pub events: Vec<Event>,
    pub answers: Vec<Answer>,
    pub backlog: Backlog,
    /// To be told after the messages: whoever then reads the state again is behind none of them.
    pub gap: Option<Gap>,
}

/// What has not been taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    pub answers: bool,
    /// Messages or events.
    pub news: bool,
}

/// What else there is to tell.
#[derive(Default)]
pub struct News {
    pub events: Vec<Event>,
    /// To be told after the messages: whoever then reads the state again is behind none of them.
    pub gap: Option<Gap>,
}

#[derive(Default)]
struct State {
    mail: Mail,
    /// Whether a wake-up is under way: one is enough until the mail is taken.
    woken: bool,
}

type Wake = Box<dyn Fn() -> bool + Send + Sync>;

impl State {
    fn wake(&mut self, wake: &Wake) {
        if !self.woken {
            self.woken = wake();
        }
    }
}

pub struct Mailbox {
    state: Mutex<State>,
    /// True if the JavaScript thread will take the mail.
    wake: Wake,
}

impl Mailbox {
    pub fn new(wake: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self {
            state: Mutex::default(),
            wake: Box::new(wake),
        }
    }

    /// At most so many answers, and so many bytes of them: what becomes of them is to be over before there are more, or the values of all
    /// would be alive at once. And what is left: while anything is, whoever takes is to come again, and is not woken.
    pub fn take_answers(&self, count: usize) -> (Vec<Answer>, Left) {
        let mut state = self.state.lock();
        let some = state.mail.some_answers(count);
        let answers = if some == state.mail.answers.len() {
            mem::take(&mut state.mail.answers)
        } else {
            state.mail.answers.drain(..some).collect()
        };
        let left = Left {
            answers: !state.mail.answers.is_empty(),
            news: state.mail.has_news(),
        };
        state.woken = left.answers || left.news;
        (answers, left)
    }

    /// At most so many messages, and how many were dropped once none are left; events, but for those that must come after the last message
    /// until then. Until then whoever takes is to come again, and is not woken.
    pub fn take_messages(&self, count: usize) -> (VecDeque<Message>, Option<usize>, News) {
        let mut state = self.state.lock();
        let (messages, dropped) = state.mail.backlog.take(count);
        let mut news = News {
            events: mem::take(&mut state.mail.events),
            gap: None,
        };
        if dropped.is_none() {
            let waits = |event: &mut Event| matches!(event, Event::Unsubscribed { .. });
            state.mail.events = news.events.extract_if(.., waits).collect();
        } else {
            news.gap = state.mail.gap.take();
            // They have come in since answers were taken, or were left then.
            state.woken = !state.mail.answers.is_empty() && (self.wake)();
        }
        (messages, dropped, news)
    }

    /// Adds to what is there, and wakes the JavaScript thread.
    pub fn put(&self, mail: Mail) {
        let mut state = self.state.lock();
        state.mail.append(mail);
        state.wake(&self.wake);
    }

    /// Has the JavaScript thread look, though there may be nothing to take.
    pub fn wake(&self) {
        self.state.lock().wake(&self.wake);
    }

    /// The JavaScript thread is about to take what comes: it needs no wake-up.
    pub fn expect(&self) {
        self.state.lock().woken = true;
    }

    /// Whether anything has come. If not, the thread is to be woken again for what does.
    pub fn has_come(&self) -> bool {
        let mut state = self.state.lock();
        state.woken = !state.mail.is_empty();
        state.woken
    }

    /// Answers what needs no connection.
    pub fn done(&self, id: Id) {
        let mut mail = Mail::default();
        mail.done(id);
        self.put(mail);
    }

    /// Drops what came for a subscription that has ended: a later one of the same name must not get it.
    pub fn forget(&self, topic: &Topic) {
        let mail = &mut self.state.lock().mail;
        mail.events
            .retain(|event| !matches!(event, Event::Unsubscribed { topic: other, .. } if other == topic));
        mail.backlog.forget(|message| match topic.kind {
            Kind::Channel => message.pattern.is_none() && message.channel == topic.name,
            Kind::Pattern => message.pattern.as_ref() == Some(&topic.name),
        });
    }
}

/// So many bytes of answers are taken at once, and the one that they end in: a part of what V8 keeps for young values.
pub(super) const AT_ONCE: usize = 1 << 20;

/// Replies longer than this are looked at by the thread that needs them.
const HUGE: usize = 256 << 10;

/// The reply to what has no result.
const NOTHING: Bytes = Bytes::from_static(b"_\r\n");

impl Mail {
    pub fn answer(&mut self, id: Id, shape: Shape, outcome: Result<Bytes>) {
        // To look at what was read a moment ago takes a third of what it would on another core, and JavaScript's thread has the most to do. What is
        // huge would hold up whoever waits for the pipeline.
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

    pub fn done(&mut self, id: Id) {
        self.answer(id, Shape::AsIs, Ok(NOTHING));
    }

    pub fn failed(&mut self, id: Id, error: Error) {
        self.answer(id, Shape::AsIs, Err(error));
    }

    pub fn missed(&mut self, gap: Gap) {
        let earlier = self.gap.unwrap_or(gap);
        self.gap = Some(Gap {
            from: gap.from.min(earlier.from),
            to: gap.to.max(earlier.to),
        });
    }

    /// How many answers are taken, of so many.
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
        self.answers.is_empty() && !self.has_news()
    }

    fn has_news(&self) -> bool {
        !self.events.is_empty() || !self.backlog.is_empty() || self.gap.is_some()
    }

    fn append(&mut self, mut later: Mail) {
        self.events.append(&mut later.events);
        if self.answers.is_empty() {
            self.answers = later.answers;
        } else {
            self.answers.append(&mut later.answers);
        }
        self.backlog.append(later.backlog);
        if let Some(gap) = later.gap {
            self.missed(gap);
        }
    }
}
