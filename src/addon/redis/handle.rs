//! The state of one `RedisClient`, and the callback that takes its batches of commands.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use napi::Env;
use napi::bindgen_prelude::{Function, FunctionRef};

use crate::addon::raw::{Callable, Scope, ScopedValue};
use crate::addon::redis::asking::{Asked, Asking};
use crate::addon::redis::batch::{Batch, RouteOptions};
use crate::addon::redis::options::RedisOptions;
use crate::addon::redis::socket_poller::SocketPoller;
use crate::addon::reply::{Collect, Replies};
use crate::addon::waker::Waker;
use crate::addon::{from_status, to_napi};
use crate::error::Result;
use crate::fanout::records::{Recorder, StoreNumber};
use crate::fanout::streams::{Fanout, Streams};
use crate::redis::client::Client;
use crate::redis::completions::{CompletionQueue, Event, Events};
use crate::redis::config::Config;
use crate::redis::connection::Connection;
use crate::redis::pipeline::commands::Commands;
use crate::redis::request::Role;
use crate::redis::subscriber::listener::Listener;

pub struct RedisHandle {
    pub client: Client,
    /// The messages for the framework's callbacks, on a handle that serves them.
    pub streams: Option<Arc<Streams>>,
    pub recorder: Recorder,
    pub setup: Setup,
    /// Events that arrived with the messages that were taken, until JavaScript takes them.
    pub events: RefCell<Events>,
    waker: Waker,
    /// The number of answers that JavaScript awaits.
    pub awaited: Cell<usize>,
    /// Whether JavaScript has subscriptions.
    pub is_subscribed: Cell<bool>,
    /// The size of the last batch, as a guess for the next one.
    last_size: Cell<usize>,
    collect: Collect,
    on_completions: FunctionRef<(), ()>,
    /// None where this thread cannot poll.
    poller: Option<SocketPoller>,
    this: Weak<Self>,
}

/// What is configured for JavaScript's side of the boundary.
#[derive(Clone)]
pub struct Setup {
    pub asking: Option<Arc<Asking>>,
    prefix: Option<Vec<u8>>,
    /// How commands are routed in a cluster.
    routes: RouteOptions,
    fanout: Fanout,
    pub is_node: bool,
    /// The same for what serves its streams.
    store: StoreNumber,
}

static NEXT_STORE: AtomicU64 = AtomicU64::new(0);

/// The largest guess: a huge batch is an exception.
const MOST_ROOM: usize = 128 << 10;

impl RedisHandle {
    pub fn new(
        options: RedisOptions,
        on_completions: Function<(), ()>,
        collect: Function<(), ()>,
        on_question: Option<Function<Asked, ()>>,
    ) -> napi::Result<Rc<Self>, String> {
        let splits = options.cluster.as_ref().is_some_and(|cluster| cluster.splits);
        let setup = Setup {
            asking: on_question.as_ref().map(Asking::new).transpose()?,
            prefix: options.prefix.clone().map(String::into_bytes),
            routes: RouteOptions { splits },
            fanout: options.fanout(),
            is_node: options.is_node,
            store: NEXT_STORE.fetch_add(1, Ordering::Relaxed),
        };
        let config = options.into_config(setup.asking.as_ref()).map_err(to_napi)?;
        Self::open(setup, Arc::new(config), false, on_completions, collect)
    }

    /// One that subscribes for the framework's callbacks. Functions are equal only to themselves, so it has the same configuration: else
    /// it shared neither the map of a cluster nor the subscribing connection.
    pub fn for_streams(
        &self,
        on_completions: Function<(), ()>,
        collect: Function<(), ()>,
    ) -> napi::Result<Rc<Self>, String> {
        Self::open(
            self.setup.clone(),
            self.client.config(),
            true,
            on_completions,
            collect,
        )
    }

    fn open(
        setup: Setup,
        config: Arc<Config>,
        for_streams: bool,
        on_completions: Function<(), ()>,
        collect: Function<(), ()>,
    ) -> napi::Result<Rc<Self>, String> {
        let waker = Waker::new(&on_completions)?;
        let on_completions = on_completions.create_ref().map_err(from_status)?;
        let collect = collect.create_ref().map_err(from_status)?;
        let to_wake = waker.clone();
        let completions = Arc::new(CompletionQueue::new(move || to_wake.wake()));
        let streams =
            for_streams.then(|| Streams::new(setup.fanout, setup.store, &config, completions.clone()));
        let listener: Arc<dyn Listener> = match &streams {
            Some(streams) => streams.clone(),
            None => completions.clone(),
        };
        let recorder = Recorder::of(setup.store, config.clone());
        let client = Client::new(config, completions, listener).map_err(to_napi)?;
        Ok(Rc::new_cyclic(|this| Self {
            client,
            streams,
            recorder,
            events: RefCell::default(),
            waker,
            awaited: Cell::new(0),
            is_subscribed: Cell::new(false),
            last_size: Cell::new(0),
            collect,
            on_completions,
            poller: setup.is_node.then(SocketPoller::default),
            setup,
            this: this.clone(),
        }))
    }

    /// Keeps the process alive while an answer or a message may arrive.
    pub fn keep_alive(&self, env: &Env) {
        self.waker
            .keep_alive(env, self.awaited.get() > 0 || self.is_subscribed.get());
    }

    pub fn await_more(&self, env: &Env, count: usize) {
        self.awaited.set(self.awaited.get() + count);
        self.keep_alive(env);
    }

    pub fn replies<'scope>(&self, scope: Scope<'scope>) -> Replies<'scope, '_> {
        Replies {
            scope,
            collect: &self.collect,
            is_ascii: false,
            grow_old: false,
        }
    }

    /// Polls the sockets that the connections have by this call.
    pub fn poll_socket(&self, scope: Scope) {
        let Some(poller) = &self.poller else { return };
        let this = self.this.clone();
        let on_readable = move |scope: Scope, connection: &Arc<Connection<Commands>>| {
            if let Some(handle) = this.upgrade() {
                handle.read(scope, connection);
            }
        };
        poller.follow(scope, &self.client.router(), on_readable);
    }

    /// The socket of a connection is readable.
    fn read(&self, scope: Scope, connection: &Arc<Connection<Commands>>) {
        let Some(poller) = &self.poller else { return };
        let completions = self.client.completions();
        completions.expect();
        poller.read(connection);
        if completions.stop_expecting() {
            if let Ok(on_completions) = self.on_completions.borrow_back(&scope.env()) {
                scope.call_from_loop(scope.import(&on_completions));
            }
        } else {
            // The I/O thread may have yielded the read.
            self.poll_socket(scope);
        }
    }

    /// Keeps events until JavaScript asks for them.
    pub fn take_events(&self, events: Events) {
        let is_cluster = events
            .events
            .iter()
            .any(|event| matches!(event, Event::ClusterFound));
        self.events.borrow_mut().append(events);
        if is_cluster && let Err(error) = self.client.become_cluster(Instant::now()) {
            self.events.borrow_mut().events.push(Event::Reconnecting {
                role: Role::Commands,
                node: None,
                attempt: 1,
                delay: Duration::ZERO,
                cause: error,
            });
        }
    }

    /// Starts or stops the delivery of events to the framework's callbacks.
    pub fn hear_streams(&self, hearing: bool) {
        let Some(streams) = &self.streams else { return };
        match self.client.subscriber() {
            Some(subscriber) if hearing => streams.join(&subscriber),
            _ => streams.leave(),
        }
    }

    pub fn abandon(&self) {
        if let Some(poller) = &self.poller {
            poller.end();
        }
        self.waker.end();
        self.hear_streams(false);
        self.client.abandon();
    }
}

impl Callable for RedisHandle {
    /// Sends a batch: see `Batch::read`.
    fn call<'scope>(
        &self,
        scope: Scope<'scope>,
        values: &[ScopedValue<'scope>],
    ) -> Result<ScopedValue<'scope>> {
        let routes = self.client.router().may_be_cluster().then_some(self.setup.routes);
        let mut batch = Batch::new(
            self.setup.prefix.as_deref(),
            &self.recorder,
            self.last_size.get(),
            routes,
        );
        let count = batch.read(scope, values)?;
        self.last_size.set(batch.size().min(MOST_ROOM));
        self.await_more(&scope.env(), count);
        let now = Instant::now();
        let (requests, refused) = batch.finish(now);
        self.client.send(requests, refused, now);
        scope.undefined()
    }
}

impl Drop for RedisHandle {
    /// The thread ended, or the store was collected: its connections must close.
    fn drop(&mut self) {
        self.abandon();
    }
}
