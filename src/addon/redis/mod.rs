//! A handle to a Redis server, which a `RedisKVStore` of TypeScript holds. Commands, answers and messages cross in batches.

mod batch;
mod credentials;
mod events;
mod handle;
mod options;
mod settle;
mod socket_poller;

use std::rc::Rc;
use std::sync::Arc;

use napi::Env;
use napi::bindgen_prelude::{Function, Unknown};
use napi_derive::napi;

use crate::addon::messages::messages;
use crate::addon::raw::{Scope, guarded};
use crate::addon::redis::events::{RedisEvent, RedisHealth, RedisServer};
use crate::addon::redis::handle::Handle;
use crate::addon::redis::options::RedisOptions;
use crate::addon::to_napi;
use crate::error::{Error, Reason};
use crate::redis::completions::Events;
use crate::redis::config::Config;
use crate::redis::credentials::Credentials;
use crate::redis::request::{Kind, Topic};

pub use crate::addon::redis::events::since_epoch;

#[napi(object, object_from_js = false)]
pub struct StreamNames {
    pub subscriptions: Vec<String>,
    pub resources: Vec<String>,
}

#[napi]
pub struct RedisClient {
    handle: Rc<Handle>,
}

#[napi]
impl RedisClient {
    /// Opens no connection. `onMail` is called when `take` has something. `onQuestion` is called before each connection that needs
    /// credentials, with a number for `credentials`.
    #[napi(constructor)]
    pub fn new(
        options: RedisOptions,
        on_mail: Function<(), ()>,
        #[napi(ts_arg_type = "Collect")] collect: Function<(), ()>,
        #[napi(ts_arg_type = "(number: number) => void")] on_question: Option<Function<u32, ()>>,
    ) -> napi::Result<Self, String> {
        Ok(Self {
            handle: Handle::new(options, on_mail, collect, on_question)?,
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
        self.handle.client.connection().start();
    }

    /// Answers a question for credentials: with them, or with the reason of a failure.
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

    /// Answers `id` once connected, or after `maxRetries` failed attempts.
    #[napi]
    pub fn connect(&self, env: &Env, id: u32) {
        self.handle.await_more(env, 1);
        let connection = self.handle.client.connection();
        connection.with(|pipeline| pipeline.connect(id));
    }

    /// The server, or null while there is no connection.
    #[napi]
    pub fn server(&self) -> Option<RedisServer> {
        let connection = self.handle.client.connection();
        connection.with(|pipeline| pipeline.server().map(events::server))
    }

    /// The state of the connection for commands, then of the subscribing one if there is one.
    #[napi]
    pub fn health(&self) -> Vec<RedisHealth> {
        let health = self.handle.client.health();
        health.into_iter().map(events::health).collect()
    }

    /// Answers `id` once the subscription is live.
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
            subscriptions: self.handle.records.look().subscriptions(),
            resources: streams.map(|streams| streams.resources()).unwrap_or_default(),
        }
    }

    /// Whether the store has subscriptions, which keep the process alive.
    #[napi]
    pub fn listen(&self, env: &Env, listening: bool) {
        self.handle.listening.set(listening);
        self.handle.keep_alive(env);
    }

    /// Calls `settle` for at most `count` answers, with an Error for a failure. Returns a sum: 1 if messages and events wait, to be taken
    /// with `messages`; 2 if more answers wait, and this must be called again.
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
            let awaited = handle.is_node.then_some(awaited);
            settle::settle(handle.replies(scope), scope.import(&settle), &answers, awaited)?;
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
        let (taken, dropped, events) = completions.take_messages(count as usize);
        self.handle.events.borrow_mut().append(events);
        // While messages waited, nothing woke this thread for the socket.
        self.handle.poll_socket(scope);
        Ok(scope.export(guarded(scope, || messages(&replies, &taken, dropped))))
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

    /// The configuration, with which the fan-out subscribes at the same server.
    pub fn config(&self) -> &Arc<Config> {
        self.handle.client.config()
    }

    /// Drops both connections without an answer to anything.
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
