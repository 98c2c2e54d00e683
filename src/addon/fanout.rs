//! A thread's part in the fan-out: what `fanout.ts` holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use napi::Env;
use napi::bindgen_prelude::{Function, Unknown};
use napi_derive::napi;

use super::from_status;
use super::raw::{Scope, Value, guarded};
use super::redis::{RedisClient, since_epoch};
use super::reply::{Collect, Replies};
use super::waker::Waker;
use crate::error::Result;
use crate::fanout::AGGREGATE;
use crate::fanout::echoes::Echoes;
use crate::fanout::outbox::{Item, Notice, Outbox, Reason};
use crate::fanout::records::{Decision, Records};
use crate::fanout::registry::{Counters, REGISTRY, Reached, Tracked, count};
use crate::fanout::source::{Channel, Source};
use crate::fanout::streams::{Fanout, Streams};
use crate::redis::completions::Gap;

const GAP: &[u8] = br#"{"type":"invalidate","reason":"fanout-gap"}"#;
const OVERFLOW: &[u8] = br#"{"type":"invalidate","reason":"overflow"}"#;

/// What a thread is to know beside its items.
#[napi(object, object_from_js = false)]
pub struct FanoutNotice {
    #[napi(ts_type = "\"gone\" | \"answer\" | \"failed\" | \"reconnecting\" | \"gap\" | \"overflow\"")]
    pub name: &'static str,
    /// The token of a handler, or the id of a question.
    pub id: Option<u32>,
    /// It is not failing for long already.
    pub first: Option<bool>,
    pub code: Option<String>,
    pub message: Option<String>,
    pub attempt: Option<u32>,
    /// In ms.
    pub delay: Option<f64>,
    /// In ms since the epoch.
    pub from: Option<f64>,
    pub to: Option<f64>,
}

#[napi(object, object_from_js = false)]
pub struct NativeFanoutStats {
    pub handlers: u32,
    pub subscriptions: u32,
    pub watchers: u32,
    pub seen: f64,
    pub delivered: f64,
    pub not_local: f64,
    pub malformed: f64,
    pub overflowed: f64,
    pub gaps: f64,
}

/// What the callbacks of a store hear by its `subscribe`.
#[napi(object, object_from_js = false)]
pub struct NativeStreamStats {
    pub server: String,
    #[napi(ts_type = "\"targeted\" | \"filtered\" | \"all\"")]
    pub fanout: &'static str,
    #[napi(ts_type = "\"own\" | \"all\" | \"no-record\" | \"unreadable-record\"")]
    pub delivers: &'static str,
    pub records: u32,
    pub channels: u32,
    pub refused: bool,
    pub delivered: f64,
    pub not_local: f64,
}

#[napi(object, object_from_js = false)]
pub struct Hears {
    pub wanted: bool,
    pub live: bool,
}

#[napi]
pub struct FanoutThread {
    outbox: Arc<Outbox>,
    waker: Waker,
    /// Of messages that JavaScript hears, from a store that has no connection here.
    echoes: Echoes,
    collect: Collect,
}

#[napi]
impl FanoutThread {
    /// `on_items` is called when there is something to take.
    #[napi(constructor)]
    pub fn new(
        on_items: Function<(), ()>,
        #[napi(ts_arg_type = "(array: unknown[] | undefined, ...items: unknown[]) => unknown[]")]
        collect: Function<(), ()>,
    ) -> napi::Result<Self, String> {
        let waker = Waker::new(&on_items)?;
        let to_wake = waker.clone();
        Ok(Self {
            outbox: Outbox::new(move || to_wake.wake()),
            waker,
            echoes: Echoes::default(),
            collect: collect.create_ref().map_err(from_status)?,
        })
    }

    /// Gives the token of the handler that it replaces, if that is this thread's.
    #[napi]
    pub fn register(&self, handler: String, token: u32) -> Option<u32> {
        REGISTRY.register(&handler, token, &self.outbox)
    }

    /// Gives its token, if it was this thread's. With a token it is only taken away if that is its token.
    #[napi]
    pub fn unregister(&self, handler: String, token: Option<u32>) -> Option<u32> {
        REGISTRY.unregister(&handler, token, &self.outbox)
    }

    /// 0 if this process has no such handler, 2 if another handler has lost it by that and nobody in this process was told so yet, else 1.
    #[napi]
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

    /// 0 if this process has no handler for it, 1 if another thread has, 2 if this one has: then it is there to be taken.
    #[napi]
    pub fn publish(&self, subscription: String, event: String) -> u32 {
        match REGISTRY.publish(&subscription, &event, &self.outbox) {
            Reached::Nobody => 0,
            Reached::OtherThread => 1,
            Reached::ThisThread => 2,
        }
    }

    #[napi]
    pub fn watch(&self, resource: String, token: u32) {
        REGISTRY.watch(&resource, token, &self.outbox);
    }

    #[napi]
    pub fn unwatch(&self, resource: String, token: u32) {
        REGISTRY.unwatch(&resource, token, &self.outbox);
    }

    /// Tells the watchers of the other threads that hear by the same way.
    #[napi]
    pub fn notify(&self, resource: String) {
        if let Some(source) = self.outbox.source() {
            let is_other = |outbox: &Arc<Outbox>| !Arc::ptr_eq(outbox, &self.outbox) && source.has(outbox);
            REGISTRY.notify(&resource, is_other);
        }
    }

    /// A change is about to be published: what comes back is for nobody here. Gives what `takeBack` needs, if anything comes back.
    #[napi]
    pub fn expect(&mut self, resource: String) -> Option<u32> {
        match self.outbox.source() {
            Some(source) => source.expect(&resource),
            None => Some(self.echoes.expect(&resource)),
        }
    }

    /// It may not have been published.
    #[napi]
    pub fn take_back(&mut self, resource: String, expected: u32) {
        match self.outbox.source() {
            Some(source) => source.take_back(&resource, expected),
            None if self.echoes.take_back(&resource, expected) => self.tell_own(&resource),
            None => {}
        }
    }

    fn tell_own(&self, resource: &str) {
        REGISTRY.notify(resource, |outbox| Arc::ptr_eq(outbox, &self.outbox));
    }

    /// Has what is published on a Redis server heard, for as long as there are handlers and watchers.
    #[napi]
    pub fn attach(&self, client: &RedisClient) {
        Source::attach(client.config(), &self.outbox);
    }

    /// Nothing that was published comes back: its channel is left.
    #[napi]
    pub fn clear_echoes(&mut self) {
        self.echoes.clear();
    }

    /// Asks for what was refused once more.
    #[napi]
    pub fn retry(&self) {
        self.outbox.settle();
    }

    /// Nothing is heard any more.
    #[napi]
    pub fn detach(&mut self) {
        self.echoes.clear();
        Source::detach(&self.outbox);
    }

    /// Whether a channel of the server is to be heard, and is.
    #[napi]
    pub fn hears(&self, aggregate: bool) -> Hears {
        let source = self.outbox.source();
        let (wanted, live) = source.map_or((false, false), |source| source.hears(channel(aggregate)));
        Hears { wanted, live }
    }

    /// Answers `id` once a channel that is to be heard is.
    #[napi]
    pub fn confirm(&self, id: u32, aggregate: bool) {
        match self.outbox.source() {
            Some(source) => source.confirm(channel(aggregate), &self.outbox, id),
            None => self.outbox.notice(Notice::Answer(id, None)),
        }
    }

    /// A message that JavaScript has heard.
    #[napi]
    pub fn hear(&mut self, channel: String, message: String) {
        let outbox = &self.outbox;
        let is_own = |other: &Arc<Outbox>| Arc::ptr_eq(other, outbox);
        if channel == AGGREGATE {
            let echoes = &mut self.echoes;
            REGISTRY.aggregate(message.as_bytes(), |resource| echoes.hear(resource), is_own);
        } else {
            REGISTRY.event(message.as_bytes(), is_own);
        }
    }

    /// Messages may have been missed between two times, in ms since the epoch.
    #[napi]
    pub fn missed(&mut self, from: f64, to: f64) {
        self.echoes.clear();
        count(&REGISTRY.counters.gaps);
        let time = |milliseconds: f64| UNIX_EPOCH + Duration::from_millis(milliseconds as u64);
        let (from, to) = (time(from), time(to));
        let channels = [Channel::Events, Channel::Aggregate];
        REGISTRY.missed(&channels, Gap { from, to }, std::slice::from_ref(&self.outbox));
    }

    /// Whether events are waited for: they keep the process alive.
    #[napi]
    pub fn listen(&self, env: &Env, listening: bool) {
        self.waker.keep_alive(env, listening);
    }

    /// At most so many items: handler's token, subscription, event, and so on; for a change a watcher's token and two nulls. If there are as many,
    /// whoever takes them is to come again.
    #[napi(ts_return_type = "(number | string | null)[]")]
    pub fn take<'env>(&self, env: &'env Env, count: u32) -> napi::Result<Unknown<'env>> {
        let scope = Scope::of(env);
        let replies = Replies {
            scope,
            collect: &self.collect,
            is_ascii: false,
            grow_old: false,
        };
        let items = self.outbox.take(count as usize);
        Ok(scope.export(guarded(scope, || {
            replies.array(items.iter().flat_map(|item| triple(scope, item)))
        })))
    }

    /// How many items wait.
    #[napi]
    pub fn waiting(&self) -> u32 {
        self.outbox.waiting() as u32
    }

    #[napi]
    pub fn notices(&self) -> Vec<FanoutNotice> {
        self.outbox.take_notices().into_iter().map(notice).collect()
    }

    #[napi]
    pub fn streams(&self) -> Vec<NativeStreamStats> {
        Records::hearing()
            .iter()
            .map(|streams| stream_stats(streams))
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
        let Counters {
            seen,
            delivered,
            not_local,
            malformed,
            overflowed,
            gaps,
        } = &REGISTRY.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        NativeFanoutStats {
            handlers: self.handler_count(),
            subscriptions: REGISTRY.subscription_count() as u32,
            watchers: self.watcher_count(None),
            seen: read(seen),
            delivered: read(delivered),
            not_local: read(not_local),
            malformed: read(malformed),
            overflowed: read(overflowed),
            gaps: read(gaps),
        }
    }
}

impl Drop for FanoutThread {
    /// The thread has ended.
    fn drop(&mut self) {
        self.waker.end();
        REGISTRY.remove_thread(&self.outbox);
        Source::detach(&self.outbox);
    }
}

fn stream_stats(streams: &Streams) -> NativeStreamStats {
    let decision = streams.decision();
    let state = streams.records.look();
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    NativeStreamStats {
        server: streams.server.clone(),
        fanout: match streams.fanout {
            Fanout::Targeted => "targeted",
            Fanout::Filtered => "filtered",
            Fanout::All => "all",
        },
        delivers: match decision {
            Some(Decision::Filters) => "own",
            Some(Decision::NoRecord) => "no-record",
            Some(Decision::Unreadable) => "unreadable-record",
            None => "all",
        },
        records: state.count() as u32,
        channels: if streams.is_targeted() {
            state.created().len() as u32
        } else {
            0
        },
        refused: streams.refused.load(Ordering::Relaxed),
        delivered: read(&streams.passed),
        not_local: read(&streams.dropped),
    }
}

fn channel(aggregate: bool) -> Channel {
    if aggregate {
        Channel::Aggregate
    } else {
        Channel::Events
    }
}

fn triple<'scope>(scope: Scope<'scope>, item: &Item) -> [Result<Value<'scope>>; 3] {
    let of = |handler: u32, subscription: &str, event: &[u8]| {
        [
            scope.double(f64::from(handler)),
            scope.string(subscription.as_bytes()),
            scope.string(event),
        ]
    };
    match item {
        Item::Event {
            handler,
            subscription,
            event,
        } => of(*handler, subscription, event.as_bytes()),
        Item::Invalidate {
            handler,
            subscription,
            reason,
        } => {
            let event = match reason {
                Reason::Gap => GAP,
                Reason::Overflow => OVERFLOW,
            };
            of(*handler, subscription, event)
        }
        Item::Changed { watcher } => [scope.double(f64::from(*watcher)), scope.null(), scope.null()],
    }
}

fn notice(notice: Notice) -> FanoutNotice {
    let named = |name| FanoutNotice {
        name,
        id: None,
        first: None,
        code: None,
        message: None,
        attempt: None,
        delay: None,
        from: None,
        to: None,
    };
    match notice {
        Notice::Gone(token) => FanoutNotice {
            id: Some(token),
            ..named("gone")
        },
        Notice::Answer(id, error) => FanoutNotice {
            id: Some(id),
            code: error.as_ref().map(|error| error.tag().into_owned()),
            message: error.map(|error| error.message.to_string()),
            ..named("answer")
        },
        Notice::Failed { error, first } => FanoutNotice {
            first: Some(first),
            code: Some(error.tag().into_owned()),
            message: Some(error.message.to_string()),
            ..named("failed")
        },
        Notice::Reconnecting {
            attempt,
            delay,
            cause,
        } => FanoutNotice {
            attempt: Some(attempt),
            delay: Some(delay.as_millis() as f64),
            code: Some(cause.tag().into_owned()),
            message: Some(cause.message.to_string()),
            ..named("reconnecting")
        },
        Notice::Gap(Gap { from, to }) => FanoutNotice {
            from: Some(since_epoch(from)),
            to: Some(since_epoch(to)),
            ..named("gap")
        },
        Notice::Overflow => named("overflow"),
    }
}
