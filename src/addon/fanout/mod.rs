//! The part of one thread in the fan-out, which `ts/fanout/thread.ts` holds.

mod items;
mod notices;
mod stats;

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use napi::Env;
use napi::bindgen_prelude::{Function, Unknown};
use napi_derive::napi;

use crate::addon::fanout::notices::FanoutNotice;
use crate::addon::fanout::stats::{NativeFanoutStats, NativeStreamStats};
use crate::addon::from_status;
use crate::addon::raw::{Scope, guarded};
use crate::addon::redis::RedisClient;
use crate::addon::reply::{Collect, Replies};
use crate::addon::waker::Waker;
use crate::fanout::channel::{AGGREGATE, Channel};
use crate::fanout::echoes::Echoes;
use crate::fanout::item::Notice;
use crate::fanout::registry::{REGISTRY, Reached, Tracked, count};
use crate::fanout::source::Source;
use crate::fanout::streams::Streams;
use crate::fanout::thread::Thread;
use crate::redis::completions::Gap;

#[napi(object, object_from_js = false)]
pub struct Hears {
    pub wanted: bool,
    pub live: bool,
}

#[napi]
pub struct FanoutThread {
    thread: Arc<Thread>,
    /// The server whose messages it gets, if that is Redis.
    source: Option<Arc<Source>>,
    waker: Waker,
    /// Expected echoes from a store that only JavaScript subscribes.
    echoes: Echoes,
    collect: Collect,
}

#[napi]
impl FanoutThread {
    /// `onItems` is called when `take` or `notices` has something.
    #[napi(constructor)]
    pub fn new(
        on_items: Function<(), ()>,
        #[napi(ts_arg_type = "Collect")] collect: Function<(), ()>,
    ) -> napi::Result<Self, String> {
        let waker = Waker::new(&on_items)?;
        let to_wake = waker.clone();
        Ok(Self {
            thread: Thread::new(move || to_wake.wake()),
            source: None,
            waker,
            echoes: Echoes::default(),
            collect: collect.create_ref().map_err(from_status)?,
        })
    }

    /// Returns the token of the handler that it replaces, if that is of this thread.
    #[napi]
    pub fn register(&self, handler: String, token: u32) -> Option<u32> {
        REGISTRY.register(&handler, token, &self.thread)
    }

    /// Returns the token of the handler, if it was of this thread. With `token`, removes the handler only if it has that token.
    #[napi]
    pub fn unregister(&self, handler: String, token: Option<u32>) -> Option<u32> {
        REGISTRY.unregister(&handler, token, &self.thread)
    }

    /// 0 if this process has no such handler; 2 the first time in this process that another handler loses a subscription; else 1.
    #[napi(ts_return_type = "0 | 1 | 2")]
    pub fn track(&self, handler: String, subscription: String) -> u32 {
        match REGISTRY.track(&handler, &subscription) {
            Tracked::Nowhere => 0,
            Tracked::Here => 1,
            Tracked::TakenOver => 2,
        }
    }

    #[napi]
    pub fn untrack(&self, subscription: String) {
        REGISTRY.untrack(&subscription);
    }

    /// 0 if this process has no handler for it, 1 if another thread has it, 2 if this thread has it, and can take the event.
    #[napi(ts_return_type = "0 | 1 | 2")]
    pub fn publish(&self, subscription: String, event: String) -> u32 {
        match REGISTRY.publish(&subscription, &event, &self.thread) {
            Reached::Nobody => 0,
            Reached::OtherThread => 1,
            Reached::ThisThread => 2,
        }
    }

    #[napi]
    pub fn watch(&self, resource: String, token: u32) {
        REGISTRY.watch(&resource, token, &self.thread);
    }

    #[napi]
    pub fn unwatch(&self, resource: String, token: u32) {
        REGISTRY.unwatch(&resource, token, &self.thread);
    }

    /// Calls the watchers of other threads with the same source.
    #[napi]
    pub fn notify(&self, resource: String) {
        if let Some(source) = &self.source {
            let is_other =
                |thread: &Arc<Thread>| !Arc::ptr_eq(thread, &self.thread) && thread.is_fed_by(&**source);
            REGISTRY.notify(&resource, is_other);
        }
    }

    /// Expects the echo of a change that is about to be published, to drop it. Returns the argument of `cancelEcho`, or null if no echo
    /// will come.
    #[napi]
    pub fn expect_echo(&mut self, resource: String) -> Option<u32> {
        match &self.source {
            Some(source) => source.expect(&resource),
            None => Some(self.echoes.expect(&resource)),
        }
    }

    /// Stops expecting the echo: the change may not have been published.
    #[napi]
    pub fn cancel_echo(&mut self, resource: String, expected: u32) {
        match &self.source {
            Some(source) => source.cancel(&resource, expected),
            None if self.echoes.cancel(&resource, expected) => self.tell_own(&resource),
            None => {}
        }
    }

    fn leave_source(&mut self) {
        if let Some(source) = self.source.take() {
            source.detach(&self.thread);
        }
    }

    fn tell_own(&self, resource: &str) {
        REGISTRY.notify(resource, |thread| Arc::ptr_eq(thread, &self.thread));
    }

    /// Subscribes at a Redis server while there are handlers or watchers.
    #[napi]
    pub fn attach(&mut self, client: &RedisClient) {
        self.leave_source();
        self.source = Some(Source::attach(&client.config(), &self.thread));
    }

    /// Drops the expected echoes: the channel has been unsubscribed.
    #[napi]
    pub fn clear_echoes(&mut self) {
        self.echoes.clear();
    }

    /// Requests subscriptions again that were refused.
    #[napi]
    pub fn retry(&self) {
        self.thread.reconcile();
    }

    /// Ends the subscriptions.
    #[napi]
    pub fn detach(&mut self) {
        self.echoes.clear();
        self.leave_source();
    }

    /// Whether a channel of the server is wanted, and whether it is live.
    #[napi]
    pub fn hears(&self, aggregate: bool) -> Hears {
        let source = self.source.as_ref();
        let (wanted, live) = source.map_or((false, false), |source| source.hears(channel(aggregate)));
        Hears { wanted, live }
    }

    /// Answers `id` once a wanted channel is live.
    #[napi]
    pub fn confirm(&self, id: u32, aggregate: bool) {
        match &self.source {
            Some(source) => source.confirm(channel(aggregate), &self.thread, id),
            None => self.thread.notice(Notice::Answer(id, None)),
        }
    }

    /// Takes a message that JavaScript has received.
    #[napi]
    pub fn hear(&mut self, channel: String, message: String) {
        let thread = &self.thread;
        let is_own = |other: &Arc<Thread>| Arc::ptr_eq(other, thread);
        if channel == AGGREGATE {
            let echoes = &mut self.echoes;
            REGISTRY.aggregate(message.as_bytes(), |resource| echoes.hear(resource), is_own);
        } else {
            REGISTRY.event(message.as_bytes(), is_own);
        }
    }

    /// Reports that messages may have been missed between two times, in ms since the epoch.
    #[napi]
    pub fn missed(&mut self, from: f64, to: f64) {
        self.echoes.clear();
        count(&REGISTRY.counters.gaps);
        let time = |milliseconds: f64| UNIX_EPOCH + Duration::from_millis(milliseconds as u64);
        let (from, to) = (time(from), time(to));
        let channels = [Channel::Events, Channel::Aggregate];
        let gap = Gap {
            from,
            to,
            node: None,
            is_of_node: false,
        };
        REGISTRY.missed(&channels, &gap, std::slice::from_ref(&self.thread));
    }

    /// Whether the thread waits for events, which keeps the process alive.
    #[napi]
    pub fn keep_alive(&self, env: &Env, is_waiting: bool) {
        self.waker.keep_alive(env, is_waiting);
    }

    /// Takes at most `count` items, each three values: token of the handler, subscription, event; for a change token of the watcher, null,
    /// null. If there are `count`, the caller must call again: `onItems` does not tell of more.
    #[napi(ts_return_type = "(number | string | null)[]")]
    pub fn take<'env>(&self, env: &'env Env, count: u32) -> napi::Result<Unknown<'env>> {
        let scope = Scope::of(env);
        let replies = Replies {
            scope,
            collect: &self.collect,
            is_ascii: false,
            grow_old: false,
        };
        let items = self.thread.take(count as usize);
        Ok(scope.export(guarded(scope, || {
            replies.array(items.iter().flat_map(|item| items::triple(scope, item)))
        })))
    }

    /// The number of items that wait.
    #[napi]
    pub fn waiting(&self) -> u32 {
        self.thread.waiting() as u32
    }

    #[napi]
    pub fn notices(&self) -> Vec<FanoutNotice> {
        self.thread
            .take_notices()
            .into_iter()
            .map(notices::notice)
            .collect()
    }

    #[napi]
    pub fn streams(&self) -> Vec<NativeStreamStats> {
        Streams::hearing()
            .iter()
            .map(|streams| stats::streams(streams))
            .collect()
    }

    #[napi]
    pub fn handler_count(&self) -> u32 {
        REGISTRY.handler_count() as u32
    }

    #[napi]
    pub fn watcher_count(&self, resource: Option<String>) -> u32 {
        REGISTRY.watcher_count(resource.as_deref()) as u32
    }

    #[napi]
    pub fn stats(&self) -> NativeFanoutStats {
        stats::fanout()
    }
}

impl Drop for FanoutThread {
    /// The thread has ended.
    fn drop(&mut self) {
        self.waker.end();
        REGISTRY.remove_thread(&self.thread);
        self.leave_source();
    }
}

fn channel(aggregate: bool) -> Channel {
    if aggregate {
        Channel::Aggregate
    } else {
        Channel::Events
    }
}
