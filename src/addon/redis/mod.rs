//! A handle to a Redis server, which a `RedisKVStore` of TypeScript holds. Commands, answers and messages cross in batches.

mod asking;
mod batch;
mod events;
mod handle;
mod options;
mod route;
mod settle;
mod socket_poller;

use std::rc::Rc;
use std::sync::Arc;

use napi::Env;
use napi::bindgen_prelude::{Function, Unknown};
use napi_derive::napi;

use crate::addon::messages::messages;
use crate::addon::raw::{Scope, guarded};
use crate::addon::redis::asking::{Asked, RedisAnswer};
use crate::addon::redis::events::{RedisEvent, RedisHealth, RedisSentinel, RedisServer};
use crate::addon::redis::handle::RedisHandle;
use crate::addon::redis::options::{RedisNode, RedisOptions};
use crate::addon::redis::settle::settle_answers;
use crate::addon::to_napi;
use crate::redis::completions::Events;
use crate::redis::config::{Config, Target};
use crate::redis::connection::sentinel;
use crate::redis::request::{Topic, TopicKind};

#[napi(object, object_from_js = false)]
pub struct StreamNames {
    pub subscriptions: Vec<String>,
    pub resources: Vec<String>,
}

#[napi]
pub struct RedisClient {
    handle: Rc<RedisHandle>,
}

#[napi]
impl RedisClient {
    /// Opens nothing yet. `on_completions` runs when there is something to `take`. `on_question` runs before a connection that needs a value from
    /// a function of the application. `answer` takes its number.
    #[napi(constructor)]
    pub fn new(
        options: RedisOptions,
        on_completions: Function<(), ()>,
        #[napi(ts_arg_type = "Collect")] collect: Function<(), ()>,
        #[napi(
            ts_arg_type = "(number: number, ofSentinels: boolean, what: \"credentials\" | \"address\" | \"servername\", host: string | null | undefined, port: number | null | undefined) => void"
        )]
        on_question: Option<Function<Asked, ()>>,
    ) -> napi::Result<Self, String> {
        Ok(Self {
            handle: RedisHandle::new(options, on_completions, collect, on_question)?,
        })
    }

    /// A client that subscribes for the framework's callbacks, and does nothing else. It has the same configuration, and asks the same
    /// functions: the answers are for this one.
    #[napi]
    pub fn for_streams(
        &self,
        on_completions: Function<(), ()>,
        #[napi(ts_arg_type = "Collect")] collect: Function<(), ()>,
    ) -> napi::Result<RedisClient, String> {
        Ok(Self {
            handle: self.handle.for_streams(on_completions, collect)?,
        })
    }

    /// The function that sends a batch of commands.
    #[napi(ts_return_type = "(first: number, ...entries: unknown[]) => void")]
    pub fn sender<'env>(&self, env: &'env Env) -> napi::Result<Unknown<'env>> {
        let scope = Scope::of(env);
        Ok(scope.export(guarded(scope, || scope.function(self.handle.clone()))))
    }

    /// Opens the connection, and opens it again whenever it is lost.
    #[napi]
    pub fn start(&self) {
        self.handle.client.router().start();
    }

    /// Answers a question.
    #[napi]
    pub fn answer(&self, number: u32, answer: RedisAnswer) {
        if let Some(asking) = &self.handle.setup.asking {
            asking.answer(number, answer);
        }
    }

    /// Answers `id` once connected, or after `maxRetries` failed attempts.
    #[napi]
    pub fn connect(&self, env: &Env, id: u32) {
        self.handle.await_more(env, 1);
        self.handle.client.router().connect(id);
    }

    /// The server, or null while there is no connection.
    #[napi]
    pub fn server(&self) -> Option<RedisServer> {
        let server = self.handle.client.router().server();
        server.as_ref().map(events::server)
    }

    /// Whether it is a cluster; null of one server that has said nothing yet.
    #[napi]
    pub fn is_cluster(&self) -> Option<bool> {
        self.handle.client.router().is_cluster()
    }

    /// The state of each connection for commands, then of the subscribing ones.
    #[napi]
    pub fn health(&self) -> Vec<RedisHealth> {
        let health = self.handle.client.health();
        health.into_iter().map(events::health).collect()
    }

    /// What each Sentinel says, while they are watched.
    #[napi]
    pub fn sentinels(&self) -> Vec<RedisSentinel> {
        match &self.config().target {
            Target::Server(_) | Target::Node(_) => Vec::new(),
            Target::Master(sentinels) => {
                let status = sentinel::status(sentinels);
                status.into_iter().map(events::sentinel).collect()
            }
        }
    }

    /// Answers `id` with what a node of a cluster says: its version, its role, the microseconds of a round trip, and the reply to a
    /// command. `is_told`: nodes tell this address.
    #[napi]
    pub fn ask_node(
        &self,
        env: &Env,
        id: u32,
        node: RedisNode,
        is_told: bool,
        command: Vec<String>,
    ) -> napi::Result<(), String> {
        let asked = self.handle.client.ask_node(id, node.into(), is_told, command);
        asked.map_err(to_napi)?;
        self.handle.await_more(env, 1);
        Ok(())
    }

    /// Answers `id` once messages come.
    #[napi]
    pub fn subscribe(&self, env: &Env, id: u32, is_pattern: bool, name: String) -> napi::Result<(), String> {
        let topic = topic(is_pattern, name);
        self.handle.client.subscribe(id, &topic).map_err(to_napi)?;
        self.handle.await_more(env, 1);
        Ok(())
    }

    /// Answers `id` once the subscription has ended.
    #[napi]
    pub fn unsubscribe(&self, env: &Env, id: u32, is_pattern: bool, name: String) {
        self.handle.await_more(env, 1);
        self.handle.client.unsubscribe(id, &topic(is_pattern, name));
    }

    /// Starts or stops the messages for the framework's callbacks on the channel of events.
    #[napi]
    pub fn hear_streams(&self, hearing: bool) {
        self.handle.hear_streams(hearing);
    }

    /// What must be read again after a gap: subscriptions of this process, and resources with changes.
    #[napi]
    pub fn streams(&self) -> StreamNames {
        let streams = self.handle.streams.as_ref();
        StreamNames {
            subscriptions: self.handle.recorder.records.lock().subscriptions(),
            resources: streams.map(|streams| streams.resources()).unwrap_or_default(),
        }
    }

    /// Whether the store has subscriptions, which keep the process alive.
    #[napi]
    pub fn keep_alive(&self, env: &Env, is_subscribed: bool) {
        self.handle.is_subscribed.set(is_subscribed);
        self.handle.keep_alive(env);
    }

    /// Settles at most `count` answers, with `settle(first id, ...replies)` or `settle(-1, id, reply, …)`. A failure is an Error. Returns
    /// 1 if messages or events wait and 2 if answers are left, added. While answers are left, call it again.
    #[napi]
    pub fn take(
        &self,
        env: &Env,
        #[napi(ts_arg_type = "(first: number, ...replies: (Reply | Error)[]) => void")] settle: Unknown,
        count: u32,
    ) -> u32 {
        let handle = &self.handle;
        let scope = Scope::of(env);
        let (answers, left) = handle.client.completions().take_answers(count as usize);
        let awaited = handle.awaited.get();
        handle.awaited.set(awaited.saturating_sub(answers.len()));
        guarded(scope, || {
            let awaited = handle.setup.is_node.then_some(awaited);
            settle_answers(handle.replies(scope), scope.import(&settle), &answers, awaited)?;
            scope.undefined()
        });
        handle.keep_alive(env);
        handle.poll_socket(scope);
        u32::from(left.messages) + 2 * u32::from(left.answers)
    }

    /// Takes at most `count` messages, as `takeMessages` of a memory store.
    #[napi(ts_return_type = "Messages")]
    pub fn messages<'env>(&self, env: &'env Env, count: u32) -> napi::Result<Unknown<'env>> {
        let scope = Scope::of(env);
        let replies = self.handle.replies(scope);
        let completions = self.handle.client.completions();
        let (taken, rest, events) = completions.take_messages(count as usize);
        self.handle.take_events(events);
        // A wake-up for the socket alone has been left out while messages waited.
        self.handle.poll_socket(scope);
        Ok(scope.export(guarded(scope, || messages(&replies, &taken, rest))))
    }

    /// Takes the events that arrived with the messages.
    #[napi]
    pub fn events(&self) -> Vec<RedisEvent> {
        let Events { events, gap } = self.handle.events.take();
        let events = events.into_iter().filter_map(events::event);
        events.chain(gap.map(events::gap)).collect()
    }

    /// Closes the connection once all requests are answered, and the subscribing one. Answers `id` and `subscriptionsId`.
    #[napi]
    pub fn close(&self, env: &Env, id: u32, subscriptions_id: u32) {
        self.handle.await_more(env, 2);
        self.handle.hear_streams(false);
        self.handle.client.close(id, subscriptions_id);
    }

    /// The configuration, by which the fan-out subscribes at the same server.
    pub fn config(&self) -> Arc<Config> {
        self.handle.client.config()
    }

    /// Drops both connections. Open requests never get an answer.
    #[napi]
    pub fn abandon(&self) {
        self.handle.abandon();
    }
}

fn topic(is_pattern: bool, name: String) -> Topic {
    let kind = if is_pattern {
        TopicKind::Pattern
    } else {
        TopicKind::Channel
    };
    Topic::new(kind, name.into_bytes().into())
}
