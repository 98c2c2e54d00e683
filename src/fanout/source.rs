//! Messages from one Redis server, for all threads of the process whose stores are on it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use parking_lot::Mutex;

use super::channel::{AGGREGATE, Channel};
use super::echoes::Echoes;
use super::item::Notice;
use super::registry::{REGISTRY, count};
use super::thread::{Thread, Upstream};
use crate::error::{Error, Result};
use crate::redis::completions::{CompletionBatch, Event, Gap};
use crate::redis::config::Config;
use crate::redis::request::{Id, Topic};
use crate::redis::subscriber::listener::{Kept, Listener, TopicState};
use crate::redis::subscriber::one_or_cluster::Subscriber;
use crate::trace::{Area, trace};

/// Locked before anything else here.
static SOURCES: Mutex<Vec<Arc<Source>>> = Mutex::new(Vec::new());

pub struct Source {
    config: Arc<Config>,
    /// Present once a channel was subscribed. Locked for each change of subscriptions, and never by incoming messages.
    subscriber: Mutex<Option<Subscriber>>,
    state: Mutex<SourceState>,
}

#[derive(Default)]
struct SourceState {
    threads: Vec<Arc<Thread>>,
    channels: [SourceChannel; 2],
    echoes: Echoes,
    /// Threads that await an answer, by the ids of our requests.
    asked: HashMap<Id, (Arc<Thread>, u32)>,
    next: Id,
}

/// A channel, as far as this source is concerned.
#[derive(Default)]
struct SourceChannel {
    /// Present while a thread has handlers, or watchers. Kept by the shared subscriber.
    state: Option<Arc<TopicState>>,
    /// When messages were first missed because of a refusal, until the channel is live again.
    deaf_since: Option<SystemTime>,
    /// The connection to its server was lost, or it moves to another one: a gap follows.
    misses: bool,
}

impl SourceChannel {
    fn is(&self, state: &Kept) -> bool {
        self.state.as_ref().is_some_and(|own| own.is(state))
    }
}

impl Source {
    /// Feeds a thread from this server, until it is detached.
    pub fn attach(config: &Arc<Config>, thread: &Arc<Thread>) -> Arc<Self> {
        let mut sources = SOURCES.lock();
        let source = sources.iter().find(|source| source.config == *config).cloned();
        let source = source.unwrap_or_else(|| {
            let source = Arc::new(Self {
                config: config.clone(),
                subscriber: Mutex::default(),
                state: Mutex::default(),
            });
            sources.push(source.clone());
            source
        });
        source.state.lock().threads.push(thread.clone());
        let upstream: Weak<Self> = Arc::downgrade(&source);
        thread.set_upstream(Some(upstream));
        drop(sources);
        source.clone().reconcile();
        source
    }

    /// The last thread to leave closes the connection.
    pub fn detach(self: &Arc<Self>, thread: &Arc<Thread>) {
        let mut sources = SOURCES.lock();
        thread.set_upstream(None);
        let mut state = self.state.lock();
        state.threads.retain(|other| !Arc::ptr_eq(other, thread));
        let was_last = state.threads.is_empty();
        drop(state);
        if was_last {
            sources.retain(|other| !Arc::ptr_eq(other, self));
        }
        drop(sources);
        self.clone().reconcile();
        if was_last {
            self.subscriber.lock().take();
        }
    }

    fn subscribe(
        self: &Arc<Self>,
        subscriber: &mut Option<Subscriber>,
        channel: Channel,
        wanted: Option<Arc<TopicState>>,
    ) -> Result<()> {
        match (subscriber.as_ref(), wanted) {
            (Some(subscriber), Some(state)) => subscriber.keep(channel.topic(), state),
            (None, Some(state)) => subscriber
                .insert(Subscriber::join(&self.config, self.clone())?)
                .keep(channel.topic(), state),
            (Some(subscriber), None) => subscriber.unsubscribe(None, channel.topic(), || {}),
            (None, None) => {}
        }
        Ok(())
    }

    fn happened(&self, event: Event) {
        match event {
            Event::Unsubscribed { topic, error } => {
                if let Some(channel) = Channel::of(&topic) {
                    self.failed(channel, &error);
                }
            }
            Event::Reconnecting {
                attempt,
                delay,
                cause,
                ..
            } => {
                for thread in &self.state.lock().threads {
                    let cause = cause.clone();
                    thread.notice(Notice::Reconnecting {
                        attempt,
                        delay,
                        cause,
                    });
                }
            }
            // The gap tells the rest.
            Event::Ready { .. } | Event::ClusterFound => {}
        }
    }

    /// `reconcile` requests it again, when a handler or a watcher comes or a thread tries again.
    fn failed(&self, channel: Channel, error: &Error) {
        trace(Area::Fanout, || {
            format!("{}: refused: {}", self.name(channel), error.message)
        });
        let mut state = self.state.lock();
        let subscription = &mut state.channels[channel as usize];
        let first = subscription.deaf_since.is_none();
        subscription.deaf_since.get_or_insert_with(SystemTime::now);
        for thread in &state.threads {
            let error = error.clone();
            thread.notice(Notice::Failed { error, first });
        }
    }

    /// Whether a channel is wanted, and whether it is live.
    pub fn hears(&self, channel: Channel) -> (bool, bool) {
        let subscription = &self.state.lock().channels[channel as usize];
        (subscription.state.is_some(), subscription.is(&Kept::Live))
    }

    /// Names a channel of this server in traces.
    fn name(&self, channel: Channel) -> String {
        format!("{}: {}", self.config.target, channel.topic())
    }

    /// Answers a thread once a wanted channel is live; an error if it is not in time, or was refused.
    pub fn confirm(&self, channel: Channel, thread: &Arc<Thread>, id: u32) {
        let subscriber = self.subscriber.lock();
        let mut state = self.state.lock();
        let own = state.channels[channel as usize].state.as_ref();
        let error = match own.map(|own| own.get()) {
            Some(Kept::Requested | Kept::Interrupted) => {
                if let Some(subscriber) = &*subscriber {
                    state.next = state.next.wrapping_add(1);
                    let asked = state.next;
                    state.asked.insert(asked, (thread.clone(), id));
                    drop(state);
                    return subscriber.subscribe(asked, channel.topic());
                }
                None
            }
            Some(Kept::Refused(error)) => Some(error),
            Some(Kept::Live) | None => None,
        };
        thread.notice(Notice::Answer(id, error));
    }

    /// As `Echoes::expect`; None if no echo will come.
    pub fn expect(&self, resource: &str) -> Option<u32> {
        let mut state = self.state.lock();
        let is_live = state.channels[Channel::Aggregate as usize].is(&Kept::Live);
        is_live.then(|| state.echoes.expect(resource))
    }

    pub fn cancel(self: &Arc<Self>, resource: &str, connection: u32) {
        if self.state.lock().echoes.cancel(resource, connection) {
            REGISTRY.notify(resource, |thread| thread.is_fed_by(&**self));
        }
    }

    fn hear(&self, mut batch: CompletionBatch) {
        let is_for = |thread: &Arc<Thread>| thread.is_fed_by(self);
        let (messages, overflow) = std::mem::take(&mut batch.backlog).into_parts();
        for message in messages {
            if message.channel == AGGREGATE.as_bytes() {
                let is_echo = |resource: &str| self.state.lock().echoes.hear(resource);
                REGISTRY.aggregate(&message.payload, is_echo, is_for);
            } else {
                REGISTRY.event(&message.payload, is_for);
            }
        }
        if let Some(from) = overflow {
            // An echo may be among them.
            self.state.lock().echoes.clear();
            batch.push_gap(Gap::until_now(from, None));
        }
        if let Some(gap) = batch.gap {
            self.missed(gap);
        }
    }

    /// Tells the threads of a gap. Those of a refused channel are told once it is live.
    fn missed(&self, gap: Gap) {
        count(&REGISTRY.counters.gaps);
        trace(Area::Fanout, || format!("{}: a gap is told", self.config.target));
        let mut state = self.state.lock();
        let mut heard = Vec::new();
        for channel in Channel::ALL {
            let subscription = &mut state.channels[channel as usize];
            if subscription.is(&Kept::Live) {
                if subscription.misses || !gap.is_of_node {
                    subscription.misses = false;
                    heard.push(channel);
                }
            } else if let Some(since) = &mut subscription.deaf_since {
                *since = gap.from.min(*since);
            }
        }
        if heard.contains(&Channel::Aggregate) {
            // What went to another server than is heard has no echo.
            state.echoes.clear();
        }
        let threads = state.threads.clone();
        drop(state);
        if !heard.is_empty() {
            REGISTRY.missed(&heard, &gap, &threads);
        }
    }
}

impl Upstream for Source {
    fn reconcile(self: Arc<Self>) {
        let mut subscriber = self.subscriber.lock();
        for channel in Channel::ALL {
            let mut state = self.state.lock();
            let wanted = state.threads.iter().any(|thread| {
                let (handlers, watchers) = thread.demand();
                match channel {
                    Channel::Events => handlers > 0,
                    Channel::Aggregate => watchers > 0,
                }
            });
            let subscription = &mut state.channels[channel as usize];
            let own = subscription.state.as_ref();
            let is_refused = own.is_some_and(|own| matches!(own.get(), Kept::Refused(_)));
            if wanted == own.is_some() && !is_refused {
                continue;
            }
            let wanted = wanted.then(Arc::<TopicState>::default);
            *subscription = SourceChannel {
                state: wanted.clone(),
                deaf_since: subscription.deaf_since.filter(|_| wanted.is_some()),
                misses: false,
            };
            if channel == Channel::Aggregate {
                state.echoes.clear();
            }
            drop(state);
            if let Err(error) = self.subscribe(&mut subscriber, channel, wanted.clone()) {
                if let Some(state) = wanted {
                    state.set(Kept::Refused(error.clone()));
                }
                self.failed(channel, &error);
            }
        }
    }

    fn misses_events(&self) -> bool {
        let subscription = &self.state.lock().channels[Channel::Events as usize];
        subscription.is(&Kept::Interrupted) || subscription.deaf_since.is_some()
    }
}

impl Listener for Source {
    fn put(&self, mut batch: CompletionBatch) {
        for event in std::mem::take(&mut batch.events) {
            self.happened(event);
        }
        let answers = std::mem::take(&mut batch.answers);
        self.hear(batch);
        // Behind the gap: a thread that is answered may publish at once, and its echo would be forgotten.
        for answer in answers {
            let asked = self.state.lock().asked.remove(&answer.id);
            if let Some((thread, id)) = asked {
                thread.notice(Notice::Answer(id, answer.outcome.err()));
            }
        }
    }

    fn subscribed(&self, topic: &Topic) {
        let Some(channel) = Channel::of(topic) else { return };
        let mut state = self.state.lock();
        let subscription = &mut state.channels[channel as usize];
        if !subscription.is(&Kept::Live) {
            return;
        }
        trace(Area::Fanout, || format!("{}: live", self.name(channel)));
        if let Some(from) = subscription.deaf_since.take() {
            let threads = state.threads.clone();
            drop(state);
            count(&REGISTRY.counters.gaps);
            let gap = Gap::until_now(from, None);
            REGISTRY.missed(&[channel], &gap, &threads);
        }
    }

    fn gap_began(&self) {
        let mut state = self.state.lock();
        for subscription in &mut state.channels {
            subscription.misses |= subscription.is(&Kept::Interrupted);
        }
        if state.channels[Channel::Aggregate as usize].misses {
            state.echoes.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::tests::config::options;

    fn hearing_changes() -> Source {
        let source = Source {
            config: Arc::new(Config::new(options()).unwrap()),
            subscriber: Mutex::default(),
            state: Mutex::default(),
        };
        let live = Arc::<TopicState>::default();
        live.set(Kept::Live);
        source.state.lock().channels[Channel::Aggregate as usize].state = Some(live);
        source
    }

    fn gap() -> CompletionBatch {
        let mut batch = CompletionBatch::default();
        batch.push_gap(Gap::until_now(SystemTime::now(), None));
        batch
    }

    /// A watcher's own message goes to the old master, whose echo is expected at the new one. The next message of another instance is
    /// taken for it, and its change is lost.
    #[test]
    fn behind_a_gap_no_echo_is_expected() {
        let source = hearing_changes();
        assert!(source.expect("users").is_some());
        source.put(gap());
        assert!(!source.state.lock().echoes.hear("users"));
    }

    /// A thread that was told ahead of the gap that its channel is live publishes at once. Its echo is forgotten with the gap, and its
    /// watchers are called again.
    #[test]
    fn a_thread_is_told_behind_the_gap_that_its_channel_is_live() {
        let source = Arc::new(hearing_changes());
        let answered = source.clone();
        let thread = Thread::new(move || answered.expect("users").is_some());
        source.state.lock().asked.insert(1, (thread, 1));
        let mut batch = gap();
        batch.done(1);
        source.put(batch);
        assert!(source.state.lock().echoes.hear("users"));
    }
}
