//! A handle to a memory store, which a `MemoryKVStore` of TypeScript holds.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use napi::bindgen_prelude::{FnArgs, Function, FunctionRef, Unknown};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Status};
use napi_derive::napi;
use parking_lot::Mutex;

use super::arguments::{self, Arguments};
use super::messages::messages;
use super::raw::{Callable, Scope, ScopedValue, guarded};
use super::reply::{Collect, Replies};
use super::stores::Store;
use super::{from_status, to_napi};
use crate::commands::{Command, Database};
use crate::error::{Error, Reason, Result};
use crate::store::channels::Inbox;
use crate::store::{Channels, Policy};

#[napi(object)]
pub struct MemoryStoreOptions {
    #[napi(ts_type = "string | undefined")]
    pub prefix: Option<String>,
    pub strict: bool,
    #[napi(ts_type = "string | undefined")]
    pub shared: Option<String>,
}

type OnWrongType = FunctionRef<FnArgs<(String,)>, ()>;

type StrongWakeCallback = ThreadsafeFunction<(), (), (), Status, false>;

/// Shared by the class and its raw callbacks. A handle belongs to one thread; its store may belong to many.
struct MemoryHandle {
    /// None once it is closed. A shared store ends with its last handle.
    store: RefCell<Option<Store>>,
    prefix: Option<Vec<u8>>,
    inbox: Arc<Inbox>,
    subscriptions: Cell<usize>,
    /// Present while a shared store has subscriptions. It keeps the thread alive, as a connection to Redis does.
    waker: Arc<Mutex<Option<StrongWakeCallback>>>,
    on_wrong_type: OnWrongType,
    collect: Collect,
}

impl MemoryHandle {
    fn new(store: Store, prefix: Option<String>, on_wrong_type: OnWrongType, collect: Collect) -> Self {
        let waker: Arc<Mutex<Option<StrongWakeCallback>>> = Arc::default();
        let (owner, to_wake) = (thread::current().id(), waker.clone());
        let inbox = Inbox::new(move || {
            // The publishing thread delivers to its own stores before its call returns.
            if thread::current().id() == owner {
                return false;
            }
            let waker = to_wake.lock();
            let call = |waker: &StrongWakeCallback| {
                waker.call((), ThreadsafeFunctionCallMode::NonBlocking) == Status::Ok
            };
            waker.as_ref().is_some_and(call)
        });
        Self {
            store: RefCell::new(Some(store)),
            prefix: prefix.map(String::into_bytes),
            inbox,
            subscriptions: Cell::new(0),
            waker,
            on_wrong_type,
            collect,
        }
    }

    /// Runs `work` under the lock. Also returns the commands that a warning is due for.
    ///
    /// `work` makes the JavaScript values too, so that no reply is copied. The only JavaScript that runs then is `collect`. A
    /// finalizer may run, and never waits for the store (see `drop`).
    fn with_database<R>(&self, work: impl FnOnce(&mut Database) -> R) -> Result<(R, Vec<&'static str>)> {
        let store = self.store.borrow();
        let store = store
            .as_ref()
            .ok_or_else(|| Error::because(Reason::Disconnected, "this store was disconnected"))?;
        store.with(|database| {
            database.keyspace.begin_turn();
            (work(database), database.keyspace.take_mismatches())
        })
    }

    fn replies<'scope>(&self, scope: Scope<'scope>) -> Replies<'scope, '_> {
        Replies {
            scope,
            collect: &self.collect,
            is_ascii: false,
            grow_old: false,
        }
    }

    fn warn(&self, scope: Scope, commands: Vec<&'static str>) {
        for command in commands {
            let env = scope.env();
            let told = self
                .on_wrong_type
                .borrow_back(&env)
                .and_then(|warn| warn.call((command.to_owned(),).into()));
            // A warning that fails must not fail the command, which has run.
            drop(told);
        }
    }

    fn execute<'scope>(
        &self,
        scope: Scope<'scope>,
        clock: Option<u64>,
        command: &Command,
        words: &[&[u8]],
    ) -> Result<ScopedValue<'scope>> {
        let replies = self.replies(scope);
        let (value, mismatches) = self.with_database(|database| {
            database.keyspace.set_clock(clock);
            replies.value(&database.execute(command, words)?)
        })?;
        self.warn(scope, mismatches);
        value
    }

    fn execute_all<'scope>(
        &self,
        scope: Scope<'scope>,
        clock: Option<u64>,
        commands: ScopedValue<'scope>,
    ) -> Result<ScopedValue<'scope>> {
        let mut arguments = Arguments::default();
        let not_a_list = || Error::ours("INVALID_ARGUMENT", "a transaction must be an array of arrays");
        let mut queue = Vec::new();
        for words in scope.elements(commands).ok_or_else(not_a_list)? {
            let mut words = scope.elements(words?).ok_or_else(not_a_list)?;
            let command = arguments::command(scope, words.next().transpose()?.as_ref())?;
            queue.push((
                command,
                arguments.read(scope, command, self.prefix.as_deref(), words)?,
            ));
        }
        let replies = self.replies(scope);
        let (values, mismatches) = self.with_database(|database| {
            database.keyspace.set_clock(clock);
            let run = |(command, places)| {
                let reply = database.execute(command, &arguments.words(places));
                reply
                    .and_then(|reply| replies.value(&reply))
                    .or_else(|error| scope.error(&error))
            };
            // All commands run first: a reply that JavaScript cannot hold, or the end of the thread, must not stop the transaction.
            queue.into_iter().map(run).collect::<Vec<_>>()
        })?;
        self.warn(scope, mismatches);
        replies.array(values.into_iter())
    }

    /// Without subscriptions drops the waker, which keeps the thread alive, and the messages.
    fn rest_if_idle(&self) {
        if self.subscriptions.get() == 0 {
            self.waker.lock().take();
            self.inbox.clear();
        }
    }

    fn close(&self) {
        self.waker.lock().take();
        self.inbox.close();
        let Some(store) = self.store.take() else { return };
        // On failure a later `Channels::remove` ends the subscriptions of the closed inbox.
        let _ = store.with(|database| database.channels.remove(&self.inbox));
    }
}

impl MemoryHandle {
    /// Takes `(number of the command, ...words)`, or `(number, [words])` for a list that would overflow JavaScript's stack.
    fn run<'scope>(
        &self,
        scope: Scope<'scope>,
        clock: Option<u64>,
        values: &[ScopedValue<'scope>],
    ) -> Result<ScopedValue<'scope>> {
        let command = arguments::command(scope, values.first())?;
        let mut arguments = Arguments::default();
        let prefix = self.prefix.as_deref();
        let list = match values {
            [_, only] if command.arity < 0 => scope.elements(*only),
            _ => None,
        };
        let places = match list {
            Some(words) => arguments.read(scope, command, prefix, words)?,
            None => arguments.read(scope, command, prefix, values.iter().skip(1).copied().map(Ok))?,
        };
        self.execute(scope, clock, command, &arguments.words(places))
    }
}

impl Callable for MemoryHandle {
    fn call<'scope>(
        &self,
        scope: Scope<'scope>,
        values: &[ScopedValue<'scope>],
    ) -> Result<ScopedValue<'scope>> {
        self.run(scope, None, values)
    }
}

/// The same by the clock of a test.
struct OnClock(Rc<MemoryHandle>);

impl Callable for OnClock {
    /// Takes `(milliseconds since the epoch, number of the command, ...words)`.
    fn call<'scope>(
        &self,
        scope: Scope<'scope>,
        values: &[ScopedValue<'scope>],
    ) -> Result<ScopedValue<'scope>> {
        let (clock, values) = values.split_at(1.min(values.len()));
        let clock = clock.first().and_then(|clock| time(scope.number(*clock)?));
        self.0.run(scope, clock, values)
    }
}

/// The time of a clock. None for a negative number or NaN.
fn time(clock: f64) -> Option<u64> {
    (clock >= 0.0).then_some(clock as u64)
}

impl Drop for MemoryHandle {
    /// The garbage collector may run this during a command of this store: so it must not wait for the lock.
    fn drop(&mut self) {
        self.waker.lock().take();
        self.inbox.close();
        if let Some(store) = self.store.get_mut() {
            store.try_with(|database| database.channels.remove(&self.inbox));
        }
    }
}

#[napi]
pub struct MemoryStore {
    handle: Rc<MemoryHandle>,
    /// None for a private store, on which no other thread publishes.
    on_messages: Option<FunctionRef<(), ()>>,
}

#[napi]
impl MemoryStore {
    #[napi(constructor)]
    pub fn new(
        options: MemoryStoreOptions,
        #[napi(ts_arg_type = "(command: string) => void")] on_wrong_type: Function<FnArgs<(String,)>, ()>,
        on_messages: Function<(), ()>,
        #[napi(ts_arg_type = "Collect")] collect: Function<(), ()>,
    ) -> napi::Result<Self, String> {
        let policy = if options.strict {
            Policy::Strict
        } else {
            Policy::Lenient
        };
        let on_messages = options
            .shared
            .as_ref()
            .map(|_| on_messages.create_ref())
            .transpose()
            .map_err(from_status)?;
        let store = Store::open(options.shared, policy).map_err(to_napi)?;
        let on_wrong_type = on_wrong_type.create_ref().map_err(from_status)?;
        let collect = collect.create_ref().map_err(from_status)?;
        let handle = Rc::new(MemoryHandle::new(store, options.prefix, on_wrong_type, collect));
        Ok(Self { handle, on_messages })
    }

    /// The function that runs a command, by its number and its words.
    #[napi(ts_return_type = "Run")]
    pub fn runner<'env>(&self, env: &'env Env) -> napi::Result<Unknown<'env>> {
        let scope = Scope::of(env);
        Ok(scope.export(guarded(scope, || scope.function(self.handle.clone()))))
    }

    /// The same by a test's clock, in milliseconds since the epoch.
    #[napi(ts_return_type = "(clock: number, command: number, ...args: Arguments) => Reply")]
    pub fn runner_on_clock<'env>(&self, env: &'env Env) -> napi::Result<Unknown<'env>> {
        let scope = Scope::of(env);
        let target = Rc::new(OnClock(self.handle.clone()));
        Ok(scope.export(guarded(scope, || scope.function(target))))
    }

    /// Runs commands as one. The result of a command that fails is its Error. `clock` is a test's, in milliseconds since the
    /// epoch.
    #[napi(ts_return_type = "(Reply | Error)[]")]
    pub fn exec<'env>(
        &self,
        env: &'env Env,
        #[napi(ts_arg_type = "[command: number, ...args: Argument[]][]")] commands: Unknown<'env>,
        clock: Option<f64>,
    ) -> napi::Result<Unknown<'env>> {
        let scope = Scope::of(env);
        Ok(scope.export(guarded(scope, || {
            let clock = clock.and_then(time);
            self.handle.execute_all(scope, clock, scope.import(&commands))
        })))
    }

    #[napi]
    pub fn subscribe(&self, env: &Env, channel: String) -> napi::Result<(), String> {
        self.join(env, |channels, inbox| {
            channels.subscribe(channel.as_bytes(), inbox)
        })
    }

    #[napi]
    pub fn psubscribe(&self, env: &Env, pattern: String) -> napi::Result<(), String> {
        self.join(env, |channels, inbox| {
            channels.psubscribe(pattern.as_bytes(), inbox)
        })
    }

    #[napi]
    pub fn unsubscribe(&self, channel: String) -> napi::Result<(), String> {
        self.leave(|channels, inbox| channels.unsubscribe(channel.as_bytes(), inbox))
    }

    #[napi]
    pub fn punsubscribe(&self, pattern: String) -> napi::Result<(), String> {
        self.leave(|channels, inbox| channels.punsubscribe(pattern.as_bytes(), inbox))
    }

    /// At most so many of the messages that came in: pattern or null, channel, message, and so on. First of all since when messages were
    /// dropped for want of room, in ms since the epoch, or 0; null if more wait: then the caller must come again.
    #[napi(ts_return_type = "Messages")]
    pub fn take_messages<'env>(&self, env: &'env Env, count: u32) -> napi::Result<Unknown<'env>> {
        let scope = Scope::of(env);
        let replies = self.handle.replies(scope);
        let (taken, rest) = self.handle.inbox.take(count as usize);
        Ok(scope.export(guarded(scope, || messages(&replies, &taken, rest))))
    }

    /// The number of messages that wait.
    #[napi]
    pub fn waiting(&self) -> u32 {
        self.handle.inbox.waiting() as u32
    }

    /// Closes the handle. The store ends with its last handle.
    #[napi]
    pub fn close(&self) {
        self.handle.close();
    }

    fn join(
        &self,
        env: &Env,
        subscribe: impl FnOnce(&mut Channels, &Arc<Inbox>),
    ) -> napi::Result<(), String> {
        let handle = &self.handle;
        if let Some(on_messages) = &self.on_messages
            && handle.subscriptions.get() == 0
        {
            let wake = on_messages.borrow_back(env).map_err(from_status)?;
            let waker = wake
                .build_threadsafe_function()
                .callee_handled::<false>()
                .build()
                .map_err(from_status)?;
            *handle.waker.lock() = Some(waker);
        }
        let joined = handle.with_database(|database| subscribe(&mut database.channels, &handle.inbox));
        handle
            .subscriptions
            .set(handle.subscriptions.get() + usize::from(joined.is_ok()));
        handle.rest_if_idle();
        joined.map(|_| ()).map_err(to_napi)
    }

    fn leave(&self, unsubscribe: impl FnOnce(&mut Channels, &Inbox)) -> napi::Result<(), String> {
        let handle = &self.handle;
        let left = handle.with_database(|database| unsubscribe(&mut database.channels, &handle.inbox));
        handle
            .subscriptions
            .set(handle.subscriptions.get().saturating_sub(1));
        handle.rest_if_idle();
        left.map(|_| ()).map_err(to_napi)
    }
}
