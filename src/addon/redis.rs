//! One handle to a Redis server: what a `RedisKVStore` of TypeScript holds. Commands go out a batch at a time, and what comes back is taken
//! a batch at a time.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use napi::Env;
use napi::bindgen_prelude::{Function, FunctionRef, Unknown};
use napi_derive::napi;

use super::batch::Batch;
use super::credentials::Asking;
use super::looking::Looking;
use super::messages::messages;
use super::raw::{Callable, Scope, Value, guarded};
use super::redis_options::RedisOptions;
use super::reply::{Collect, Replies};
use super::waker::Waker;
use super::{from_status, to_napi};
use crate::error::{Error, Reason, Result};
use crate::fanout::records::Records;
use crate::fanout::streams::Streams;
use crate::redis::completions::{Answer, Event, Mailbox, News};
use crate::redis::config::Config;
use crate::redis::connection::shared::Link;
use crate::redis::credentials::{Credentials, Source};
use crate::redis::hub::{Member, Membership};
use crate::redis::pipeline::in_flight::ServerRole;
use crate::redis::pipeline::{Health, Role};
use crate::redis::protocol::decode;
use crate::redis::request::{Kind, Shape, Topic};
use crate::reply::Reply;

/// What the server has said of itself.
#[napi(object, object_from_js = false)]
pub struct RedisServer {
    pub resp: u32,
    pub version: Option<String>,
    pub mode: Option<String>,
    #[napi(ts_type = "\"master\" | \"replica\"")]
    pub role: Option<&'static str>,
}

/// How a connection does. Times are in ms since the epoch.
#[napi(object, object_from_js = false)]
pub struct RedisHealth {
    pub is_ready: bool,
    pub since: f64,
    pub last_heard: Option<f64>,
    pub in_flight: u32,
    pub waiting: u32,
    pub attempt: u32,
    pub code: Option<String>,
    pub message: Option<String>,
}

/// What a listener of the store is to be told.
#[napi(object, object_from_js = false)]
pub struct RedisEvent {
    #[napi(ts_type = "\"ready\" | \"reconnecting\" | \"unsubscribed\" | \"gap\"")]
    pub name: &'static str,
    /// Whether it happened to the subscribing connection.
    pub subscribes: bool,
    pub attempt: Option<u32>,
    pub delay: Option<f64>,
    pub code: Option<String>,
    pub message: Option<String>,
    pub is_pattern: Option<bool>,
    pub topic: Option<String>,
    /// In ms since the epoch.
    pub from: Option<f64>,
    pub to: Option<f64>,
}

#[napi(object, object_from_js = false)]
pub struct StreamNames {
    pub subscriptions: Vec<String>,
    pub resources: Vec<String>,
}

struct Handle {
    config: Arc<Config>,
    commands: Arc<Link>,
    /// There once something was subscribed.
    membership: RefCell<Option<Arc<Membership>>>,
    /// What it hears, if it does so for the framework's callbacks.
    streams: Option<Arc<Streams>>,
    records: Arc<Records>,
    asking: Option<Arc<Asking>>,
    prefix: Option<Vec<u8>>,
    mailbox: Arc<Mailbox>,
    /// What came with the messages that were taken, and has not been asked for yet.
    news: RefCell<News>,
    waker: Waker,
    /// How many answers somebody waits for.
    awaited: Cell<usize>,
    /// Whether somebody listens to messages.
    listening: Cell<bool>,
    /// How large the last batch was: the next is likely to be as large.
    room: Cell<usize>,
    collect: Collect,
    on_mail: OnMail,
    is_node: bool,
    /// Absent where this thread cannot.
    looking: Option<Looking>,
    /// To itself.
    this: Weak<Self>,
}

type OnMail = FunctionRef<(), ()>;

/// Half of what V8 keeps for young values. When more than this is handed over between a call and its answer, the call's Promise is old by then, and
/// what it is resolved with cannot be dropped young.
const YOUNG: usize = 8 << 20;

/// A huge batch says nothing of the next one.
const MOST_ROOM: usize = 128 << 10;

impl Handle {
    /// The process stays alive while an answer or a message may come, and no longer.
    fn keep_alive(&self, env: &Env) {
        self.waker
            .keep_alive(env, self.awaited.get() > 0 || self.listening.get());
    }

    fn await_more(&self, env: &Env, count: usize) {
        self.awaited.set(self.awaited.get() + count);
        self.keep_alive(env);
    }

    fn replies<'scope>(&self, scope: Scope<'scope>) -> Replies<'scope, '_> {
        Replies {
            scope,
            collect: &self.collect,
            is_ascii: false,
            grow_old: false,
        }
    }

    /// Calls `settle(first id, ...replies)` for answers whose ids follow one another. There were `awaited` of them and others.
    fn settle<'scope>(
        &self,
        scope: Scope<'scope>,
        settle: Value<'scope>,
        answers: &[Answer],
        awaited: usize,
    ) -> Result<()> {
        /// All are arguments on the stack.
        const ARGUMENTS: usize = 256;
        let mut replies = self.replies(scope);
        let mut arguments = Vec::with_capacity(answers.len().min(ARGUMENTS) + 1);
        let mut rest = answers;
        while let Some(first) = rest.first() {
            let follows =
                |(index, answer): (usize, &Answer)| answer.id == first.id.wrapping_add(index as u32);
            let run = rest
                .iter()
                .take(ARGUMENTS)
                .enumerate()
                .take_while(|each| follows(*each))
                .count();
            arguments.clear();
            arguments.push(scope.double(f64::from(first.id))?);
            for answer in &rest[..run] {
                let length = answer.outcome.as_ref().map_or(0, Bytes::len);
                replies.is_ascii = answer.is_ascii;
                replies.grow_old = self.is_node && length.saturating_mul(awaited) > YOUNG;
                let value = value(&replies, answer).or_else(|error| scope.error(&error))?;
                arguments.push(value);
            }
            scope.call(settle, &arguments)?;
            rest = &rest[run..];
        }
        Ok(())
    }

    fn keep_looking(&self, scope: Scope) {
        let Some(looking) = &self.looking else { return };
        let this = self.this.clone();
        let on_readable = move |scope: Scope| {
            if let Some(handle) = this.upgrade() {
                handle.look(scope);
            }
        };
        looking.keep_up(scope, &self.commands, on_readable);
    }

    /// There is something to read.
    fn look(&self, scope: Scope) {
        let Some(looking) = &self.looking else { return };
        self.mailbox.expect();
        looking.look(&self.commands);
        if self.mailbox.has_come() {
            if let Ok(on_mail) = self.on_mail.borrow_back(&scope.env()) {
                scope.call_from_loop(scope.import(&on_mail));
            }
        } else {
            // The I/O thread may have given it back meanwhile.
            self.keep_looking(scope);
        }
    }

    fn abandon(&self) {
        if let Some(looking) = &self.looking {
            looking.end();
        }
        self.waker.end();
        self.commands.abandon();
        self.deafen();
        self.membership.take();
    }

    fn membership(&self) -> Result<Arc<Membership>> {
        if let Some(membership) = &*self.membership.borrow() {
            return Ok(membership.clone());
        }
        let member: Arc<dyn Member> = match &self.streams {
            Some(streams) => streams.clone(),
            None => self.mailbox.clone(),
        };
        let membership = Arc::new(Membership::join(&self.config, member)?);
        Ok(self.membership.borrow_mut().insert(membership).clone())
    }

    /// Events are for nobody here any more.
    fn deafen(&self) {
        if let Some(streams) = &self.streams {
            self.records.leave(streams);
        }
    }
}

/// The JavaScript value of an answer.
fn value<'scope>(replies: &Replies<'scope, '_>, answer: &Answer) -> Result<Value<'scope>> {
    let bytes = answer.outcome.as_ref().map_err(Clone::clone)?;
    match answer.shape {
        Shape::AsIs => replies.value(&decode::parse_reply(bytes)?),
        Shape::Scores => replies.value(&decode::with_scores(decode::parse_reply(bytes)?)),
        Shape::Transaction => replies.value(&transaction(decode::parse_all(bytes)?)?),
    }
}

/// `[results]`; or `[error, index]` if a command was refused when it was queued, so that none was run.
fn transaction(mut replies: Vec<Reply>) -> Result<Reply> {
    match replies.pop() {
        Some(Reply::Array(results)) => Ok(Reply::Array(vec![Reply::Array(results)])),
        Some(Reply::Error(aborted)) => {
            let refused = replies.iter().position(|reply| matches!(reply, Reply::Error(_)));
            match refused.map(|index| (index, replies.swap_remove(index))) {
                Some((index @ 1.., error)) => Ok(Reply::Array(vec![error, Reply::count(index - 1)])),
                Some((_, Reply::Error(error))) => Err(error),
                _ => Err(aborted),
            }
        }
        _ => Err(Error::because(Reason::Protocol, "the reply to EXEC is none")),
    }
}

impl Callable for Handle {
    /// Sends a batch: see `Batch::read`.
    fn call<'scope>(&self, scope: Scope<'scope>, values: &[Value<'scope>]) -> Result<Value<'scope>> {
        let mut batch = Batch::new(self.prefix.as_deref(), &self.records, self.room.get());
        let count = batch.read(scope, values)?;
        self.room.set(batch.size().min(MOST_ROOM));
        self.await_more(&scope.env(), count);
        let now = Instant::now();
        let (requests, refused) = batch.finish(now);
        self.commands.with(|pipeline| {
            for (id, error) in refused {
                pipeline.mail.failed(id, error);
            }
            pipeline.send(requests, now);
        });
        scope.undefined()
    }
}

impl Drop for Handle {
    /// A thread that was terminated, or a store that nobody holds: nothing may be left on the server.
    fn drop(&mut self) {
        self.abandon();
    }
}

#[napi]
pub struct RedisClient {
    handle: Rc<Handle>,
}

#[napi]
impl RedisClient {
    /// Opens nothing yet. `on_mail` is called when there is something to `take`; `on_question` before each connection for which
    /// credentials are asked, with a number that `credentials` wants.
    #[napi(constructor)]
    pub fn new(
        options: RedisOptions,
        on_mail: Function<(), ()>,
        #[napi(ts_arg_type = "(array: unknown[] | undefined, ...items: unknown[]) => unknown[]")]
        collect: Function<(), ()>,
        on_question: Option<Function<u32, ()>>,
    ) -> napi::Result<Self, String> {
        let (prefix, is_node) = (options.prefix.clone(), options.is_node);
        let (fanout, for_streams) = (options.fanout(), options.for_streams);
        let asking = on_question.as_ref().map(Asking::new).transpose()?;
        let source = asking.clone().map(|asking| asking as Arc<dyn Source>);
        let config = Arc::new(options.into_config(source).map_err(to_napi)?);
        let waker = Waker::new(&on_mail)?;
        let on_mail = on_mail.create_ref().map_err(from_status)?;
        let collect = collect.create_ref().map_err(from_status)?;
        let to_wake = waker.clone();
        let mailbox = Arc::new(Mailbox::new(move || to_wake.wake()));
        let commands = Link::new(Role::Commands, config.clone(), mailbox.clone()).map_err(to_napi)?;
        let streams = for_streams.then(|| Arc::new(Streams::new(fanout, &config, mailbox.clone())));
        let handle = |this: &Weak<Handle>| Handle {
            commands,
            streams,
            records: Records::at(&config),
            config,
            membership: RefCell::default(),
            asking,
            prefix: prefix.map(String::into_bytes),
            mailbox,
            news: RefCell::default(),
            waker,
            awaited: Cell::new(0),
            listening: Cell::new(false),
            room: Cell::new(0),
            collect,
            on_mail,
            is_node,
            looking: is_node.then(Looking::default),
            this: this.clone(),
        };
        Ok(Self {
            handle: Rc::new_cyclic(handle),
        })
    }

    /// The function that sends a batch of commands.
    #[napi(ts_return_type = "(...batch: unknown[]) => undefined")]
    pub fn sender<'env>(&self, env: &'env Env) -> napi::Result<Unknown<'env>> {
        let scope = Scope::of(env);
        Ok(scope.export(guarded(scope, || scope.function(self.handle.clone()))))
    }

    /// Has the connection opened, and opened again when it is lost, from now on.
    #[napi]
    pub fn start(&self) {
        self.handle.commands.start();
    }

    /// Answers a question for credentials: those that were asked for, or why there are none.
    #[napi]
    pub fn credentials(
        &self,
        number: u32,
        username: Option<String>,
        password: Option<String>,
        failure: Option<String>,
    ) {
        let credentials = Credentials { username, password };
        let answer = failure.map_or(Ok(credentials), |why| {
            Err(Error::because(Reason::Credentials, why))
        });
        if let Some(asking) = &self.handle.asking {
            asking.answer(number, answer);
        }
    }

    /// Answers `id` once there is a connection, or when attempts enough have failed.
    #[napi]
    pub fn connect(&self, env: &Env, id: u32) {
        self.handle.await_more(env, 1);
        self.handle.commands.with(|pipeline| pipeline.connect(id));
    }

    /// Who is at the other end, while there is a connection.
    #[napi]
    pub fn server(&self) -> Option<RedisServer> {
        self.handle.commands.with(|pipeline| {
            pipeline.server().cloned().map(|server| RedisServer {
                resp: server.resp,
                version: server.version,
                mode: server.mode,
                role: match server.role {
                    ServerRole::Master => Some("master"),
                    ServerRole::Replica => Some("replica"),
                    ServerRole::Unknown => None,
                },
            })
        })
    }

    /// How the connection for commands does, and the subscribing one once there is one.
    #[napi]
    pub fn health(&self) -> Vec<RedisHealth> {
        let membership = self.handle.membership.borrow();
        let commands = self.handle.commands.with(|pipeline| pipeline.health());
        let subscriptions = membership.as_ref().map(|membership| membership.health());
        [commands].into_iter().chain(subscriptions).map(health).collect()
    }

    /// Answers `id` once messages come.
    #[napi]
    pub fn subscribe(&self, env: &Env, id: u32, is_pattern: bool, name: String) -> napi::Result<(), String> {
        let membership = self.handle.membership().map_err(to_napi)?;
        self.handle.await_more(env, 1);
        membership.subscribe(id, &topic(is_pattern, name));
        Ok(())
    }

    /// Answers `id` once no messages come any more.
    #[napi]
    pub fn unsubscribe(&self, env: &Env, id: u32, is_pattern: bool, name: String) {
        let handle = &self.handle;
        handle.await_more(env, 1);
        match &*handle.membership.borrow() {
            Some(membership) => {
                let topic = topic(is_pattern, name);
                membership.unsubscribe(Some(id), &topic, || handle.mailbox.forget(&topic));
            }
            None => handle.mailbox.done(id),
        }
    }

    /// Whether there are callbacks on the channel of events, so that streams of this process are served here.
    #[napi]
    pub fn hear_streams(&self, hearing: bool) {
        let handle = &self.handle;
        match (&handle.streams, &*handle.membership.borrow()) {
            (Some(streams), Some(membership)) if hearing => handle.records.join(streams, membership),
            _ => handle.deafen(),
        }
    }

    /// What is to be read again after a gap: subscriptions of this process, and resources whose changes were told.
    #[napi]
    pub fn streams(&self) -> StreamNames {
        let streams = self.handle.streams.as_ref();
        StreamNames {
            subscriptions: self.handle.records.look().subscriptions(),
            resources: streams.map(|streams| streams.resources()).unwrap_or_default(),
        }
    }

    /// Whether messages are waited for: they keep the process alive.
    #[napi]
    pub fn listen(&self, env: &Env, listening: bool) {
        self.handle.listening.set(listening);
        self.handle.keep_alive(env);
    }

    /// Settles at most so much of what was answered, with `settle(first id, ...replies)`, an Error for a failure. What is left is 1
    /// for messages and events, which `messages` gives, and 2 for answers, which this gives when it is called again: it must be.
    #[napi]
    pub fn take(&self, env: &Env, settle: Unknown, count: u32) -> u32 {
        let handle = &self.handle;
        let scope = Scope::of(env);
        let (answers, left) = handle.mailbox.take_answers(count as usize);
        let awaited = handle.awaited.get();
        handle.awaited.set(awaited.saturating_sub(answers.len()));
        guarded(scope, || {
            handle.settle(scope, scope.import(&settle), &answers, awaited)?;
            scope.undefined()
        });
        handle.keep_alive(env);
        handle.keep_looking(scope);
        u32::from(left.news) + 2 * u32::from(left.answers)
    }

    /// At most so many messages: as `takeMessages` of a memory store.
    #[napi(ts_return_type = "(number | string | null)[]")]
    pub fn messages<'env>(&self, env: &'env Env, count: u32) -> napi::Result<Unknown<'env>> {
        let scope = Scope::of(env);
        let replies = self.handle.replies(scope);
        let (taken, dropped, news) = self.handle.mailbox.take_messages(count as usize);
        let mut waiting = self.handle.news.borrow_mut();
        waiting.events.extend(news.events);
        waiting.gap = news.gap.or(waiting.gap.take());
        // A wake-up for the socket alone has been left out while messages waited.
        self.handle.keep_looking(scope);
        Ok(scope.export(guarded(scope, || messages(&replies, &taken, dropped))))
    }

    /// The events that came with the messages.
    #[napi]
    pub fn events(&self) -> Vec<RedisEvent> {
        let News { events, gap } = std::mem::take(&mut *self.handle.news.borrow_mut());
        let events = events.into_iter().filter_map(event);
        let gap = gap.map(|gap| RedisEvent {
            from: Some(since_epoch(gap.from)),
            to: Some(since_epoch(gap.to)),
            ..named("gap")
        });
        events.chain(gap).collect()
    }

    /// Closes the connection once all that was asked for is answered, leaves the subscribing one, and answers `id` and
    /// `subscriptions_id`.
    #[napi]
    pub fn close(&self, env: &Env, id: u32, subscriptions_id: u32) {
        self.handle.await_more(env, 2);
        self.handle.commands.close(id);
        self.handle.deafen();
        match self.handle.membership.take() {
            Some(membership) => membership.leave(subscriptions_id),
            None => self.handle.mailbox.done(subscriptions_id),
        }
    }

    /// Where the server is, for whoever else of this process subscribes there.
    pub(super) fn config(&self) -> &Arc<Config> {
        &self.handle.config
    }

    /// Lets go of everything. Nothing is answered any more.
    #[napi]
    pub fn abandon(&self) {
        self.handle.abandon();
    }
}

fn topic(is_pattern: bool, name: String) -> Topic {
    let kind = if is_pattern { Kind::Pattern } else { Kind::Channel };
    Topic {
        kind,
        name: name.into_bytes().into(),
    }
}

fn event(event: Event) -> Option<RedisEvent> {
    let failure = |name, error: Error| RedisEvent {
        code: Some(error.tag().into_owned()),
        message: Some(error.message.to_string()),
        ..named(name)
    };
    match event {
        Event::Ready(role) => Some(RedisEvent {
            subscribes: role == Role::Subscriptions,
            ..named("ready")
        }),
        Event::Unsubscribed { topic, error } => Some(RedisEvent {
            is_pattern: Some(topic.kind == Kind::Pattern),
            topic: Some(String::from_utf8_lossy(&topic.name).into_owned()),
            ..failure("unsubscribed", error)
        }),
        Event::Reconnecting {
            role,
            attempt,
            delay,
            cause,
        } => Some(RedisEvent {
            subscribes: role == Role::Subscriptions,
            attempt: Some(attempt),
            delay: Some(delay.as_millis() as f64),
            ..failure("reconnecting", cause)
        }),
        // The gap tells enough.
        Event::Subscribed { .. } | Event::Missing => None,
    }
}

fn health(health: Health) -> RedisHealth {
    let ago = |time: Instant| since_epoch(SystemTime::now() - time.elapsed());
    RedisHealth {
        is_ready: health.is_ready,
        since: ago(health.since),
        last_heard: health.heard.map(ago),
        in_flight: health.in_flight as u32,
        waiting: health.waiting as u32,
        attempt: health.attempt,
        code: health.cause.as_ref().map(|cause| cause.tag().into_owned()),
        message: health.cause.map(|cause| cause.message.to_string()),
    }
}

fn named(name: &'static str) -> RedisEvent {
    RedisEvent {
        name,
        subscribes: false,
        attempt: None,
        delay: None,
        code: None,
        message: None,
        is_pattern: None,
        topic: None,
        from: None,
        to: None,
    }
}

pub fn since_epoch(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0.0, |elapsed| elapsed.as_millis() as f64)
}
