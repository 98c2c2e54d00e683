//! Watches where the master of a name is: one watcher for the process, with a connection to each of its Sentinels.
//!
//! [`node`] asks one Sentinel and hears its events, [`board`] decides what is believed. All are watched: a failover's leader tells of the
//! promotion a second before the others know.

pub mod board;
mod node;
mod wire;

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::redis::config::Sentinels;
use crate::redis::connection::connect::Connector;
use crate::redis::connection::failure::Failure;
use crate::redis::connection::sentinel::board::{Board, KnownSentinel, NextMaster};
pub use crate::redis::connection::sentinel::node::POLL;
use crate::redis::connection::sentinel::node::{Answers, SentinelNode};
use crate::redis::endpoint::Endpoint;
use crate::redis::runtime;

/// Live watchers of this process.
static WATCHERS: Mutex<Vec<Weak<Watcher>>> = Mutex::new(Vec::new());

/// Watches for as long as it is held.
pub struct Watcher {
    sentinels: Arc<Sentinels>,
    answers: Arc<Answers>,
    task: AbortHandle,
}

impl Watcher {
    /// The process's watcher of these Sentinels and this master.
    pub fn join(sentinels: &Arc<Sentinels>, runtime: &Runtime) -> Arc<Self> {
        let mut watchers = WATCHERS.lock();
        watchers.retain(|watcher| watcher.strong_count() > 0);
        if let Some(watcher) = find(&watchers, sentinels) {
            return watcher;
        }
        let watcher = Arc::new(Self::new(sentinels.clone(), runtime));
        watchers.push(Arc::downgrade(&watcher));
        watcher
    }

    fn new(sentinels: Arc<Sentinels>, runtime: &Runtime) -> Self {
        let answers = Arc::new(Answers {
            board: Mutex::new(Board::new(&sentinels.nodes)),
            told: watch::Sender::new(()),
            asks: watch::Sender::new(()),
            took: Mutex::default(),
            booked: Mutex::new(Instant::now()),
        });
        let task = runtime::spawn(runtime, watch(sentinels.clone(), answers.clone()));
        Self {
            sentinels,
            answers,
            task: task.abort_handle(),
        }
    }

    /// Asks the Sentinels. An error, with the reason of each, if none of them names a master.
    pub async fn master(&self) -> Result<Endpoint, Failure> {
        let since = Instant::now();
        let mut told = self.answers.told.subscribe();
        self.answers.asks.send_replace(());
        loop {
            let outcome = self.answers.board.lock().outcome(&self.sentinels.name, since);
            match outcome {
                Some(outcome) => return outcome,
                // The sender is held here.
                None => _ = told.changed().await,
            }
        }
    }

    /// Returns once a connection to `from` should lead elsewhere.
    pub async fn next(&self, from: Option<&Endpoint>) -> NextMaster {
        let mut told = self.answers.told.subscribe();
        loop {
            match self.next_now(from) {
                Some(next) => return next,
                None => _ = told.changed().await,
            }
        }
    }

    /// Where else a connection to `from` should lead at this moment.
    pub fn next_now(&self, from: Option<&Endpoint>) -> Option<NextMaster> {
        self.answers.board.lock().next(from, Instant::now())
    }

    /// A replica that was told to become the master says that it is.
    pub fn promoted(&self, replica: &Endpoint) {
        self.answers
            .change(|board| board.promoted(replica.clone(), Instant::now()));
    }

    /// What is believed to be the master says that it is a replica, to who has asked it at a moment.
    pub fn refuted(&self, replica: &Endpoint, asked: Instant) {
        self.answers
            .change(|board| board.refuted(replica, asked, Instant::now()));
    }

    /// A server says that it is the master.
    pub fn admitted(&self, master: &Endpoint) {
        self.answers.board.lock().admitted(master);
    }

    /// How long ago an endpoint was the master's for certain. What was published since may have gone to another.
    pub fn certain(&self, endpoint: &Endpoint) -> Option<Duration> {
        let certain = self.answers.board.lock().certain(endpoint);
        certain.map(|until| until.elapsed())
    }

    /// How long ago the master before was one for certain, if it was left within a time.
    pub fn left_within(&self, time: Duration) -> Option<Duration> {
        let left = self.answers.board.lock().left_within(time, Instant::now());
        left.map(|until| until.elapsed())
    }

    /// The endpoint that is believed to be the master's.
    pub fn believed(&self) -> Option<Endpoint> {
        self.answers.board.lock().master().cloned()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Watches the Sentinels that are configured, and those that these name.
async fn watch(sentinels: Arc<Sentinels>, answers: Arc<Answers>) {
    let mut told = answers.told.subscribe();
    let mut watched = JoinSet::new();
    let mut next: Vec<_> = sentinels.nodes.iter().cloned().enumerate().collect();
    loop {
        for (index, endpoint) in next {
            let node = SentinelNode {
                index,
                endpoint,
                name: sentinels.name.clone(),
                connector: Connector::new(sentinels.config.clone()),
                connect_timeout: sentinels.config.settings.connect_timeout,
                answers: answers.clone(),
            };
            let task: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(node.watch());
            watched.spawn(task);
        }
        // The sender is held here.
        _ = told.changed().await;
        while watched.try_join_next().is_some() {}
        next = answers.board.lock().take_unwatched();
    }
}

fn find(watchers: &[Weak<Watcher>], sentinels: &Arc<Sentinels>) -> Option<Arc<Watcher>> {
    let mut all = watchers.iter().filter_map(Weak::upgrade);
    all.find(|watcher| watcher.sentinels == *sentinels)
}

/// What each Sentinel says, while they are watched.
pub fn status(sentinels: &Arc<Sentinels>) -> Vec<KnownSentinel> {
    let Some(watcher) = find(&WATCHERS.lock(), sentinels) else {
        return Vec::new();
    };
    let board = watcher.answers.board.lock();
    board.nodes().cloned().collect()
}
