//! A cluster of which no node can be reached: its router, and what is subscribed.

use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{OnceLock, Weak};
use std::thread::yield_now;

use tokio::sync::oneshot;

use super::config::options;
use super::*;
use crate::redis::cluster::lifecycle::EndGuard;
use crate::redis::cluster::slot_map::SlotMap;
use crate::redis::cluster::topology::{ToldMap, Topology, TopologyMember};
use crate::redis::completions::{CompletionBatch, CompletionQueue};
use crate::redis::config::{ClusterOptions, Config, Options};
use crate::redis::protocol::decode;
use crate::redis::request::{Fate, Observer, Route, Topic, TopicKind};
use crate::redis::router::Router;
use crate::redis::subscriber::hearing;
use crate::redis::subscriber::listener::Listener;
use crate::redis::subscriber::one_or_cluster::Subscriber;

const TIMEOUT: Duration = Duration::from_secs(10);

pub fn unreachable(queue_timeout: Duration) -> Arc<Config> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let host = "127.0.0.1".to_owned();
    let mut options = options();
    options.settings.limits.queue_timeout = queue_timeout;
    options.settings.limits.max_queue = 100;
    let cluster = ClusterOptions {
        nodes: vec![Endpoint::Tcp { host, port }],
        ..ClusterOptions::default()
    };
    let cluster = Some(cluster);
    Arc::new(Config::new(Options { cluster, ..options }).unwrap())
}

struct Store {
    router: Router,
    config: Arc<Config>,
    completions: Arc<CompletionQueue>,
    woken: Receiver<()>,
}

impl Store {
    fn open(queue_timeout: Duration) -> Self {
        Self::of(unreachable(queue_timeout))
    }

    fn of(config: Arc<Config>) -> Self {
        let (wake, woken) = channel();
        let completions = Arc::new(CompletionQueue::new(move || wake.send(()).is_ok()));
        let router = Router::new(config.clone(), completions.clone(), hearing::listen).unwrap();
        router.start();
        Self {
            router,
            config,
            completions,
            woken,
        }
    }

    fn call(&self, id: Id, subject: Subject) {
        let request = Request {
            subject,
            route: Route::Slot(1),
            ..Request::repeatable(Some(id), &[b"GET", b"k"], Instant::now())
        };
        self.router.send([request], Instant::now());
    }

    /// The next answers, as ids and codes, in the order of the ids.
    fn answers(&self, count: usize) -> Vec<(Id, Option<String>)> {
        let mut all = Vec::new();
        while all.len() < count {
            self.woken.recv_timeout(TIMEOUT).unwrap();
            let answers = self.completions.take_answers(count).0.into_iter();
            all.extend(answers.map(|answer| {
                (
                    answer.id,
                    answer.outcome.err().map(|error| error.code.to_string()),
                )
            }));
            self.completions.take_messages(0);
        }
        all.sort();
        all
    }
}

#[derive(Debug)]
struct Panics;

impl Observer for Panics {
    fn replied(&self, _: &Bytes) {}

    fn unanswered(&self, _: Fate) {
        panic!("a defect, for the test");
    }
}

// A panic in the router's task leaves all that waits, and all that is called later, without an answer for ever.
#[test]
fn a_panic_of_the_task_leaves_no_call_without_an_answer() {
    let store = Store::open(Duration::from_millis(100));
    store.router.connect(1);
    store.call(2, Subject::Observed(Box::new(Arc::new(Panics))));
    store.call(3, Subject::Command);
    let closed = |id: Id| (id, Some("CLOSED".to_owned()));
    assert_eq!(store.answers(2), [closed(1), closed(3)]);
    store.call(4, Subject::Command);
    store.router.connect(5);
    store.router.close(6);
    assert_eq!(store.answers(3), [closed(4), closed(5), (6, None)]);
}

// Answered a second time at the end of the task, it counts for a call that still waits. The process may end before that is answered.
#[test]
fn a_store_that_is_closed_is_told_once() {
    let store = Store::open(TIMEOUT);
    store.router.close(1);
    assert_eq!(store.answers(1), [(1, None)]);
    let Router::Cluster(cluster) = &store.router else {
        panic!("no cluster")
    };
    drop(EndGuard(Arc::downgrade(cluster)));
    assert!(store.completions.take_answers(1).0.is_empty());
}

// A store that is disconnected, and not yet collected, has its seeds asked for the slots every two seconds.
#[test]
fn a_store_that_is_closed_asks_for_no_map() {
    let store = Store::open(TIMEOUT);
    let topology = Arc::downgrade(&Topology::of(&store.config).unwrap().0);
    store.router.close(1);
    assert_eq!(store.answers(1), [(1, None)]);
    let start = Instant::now();
    while topology.strong_count() > 0 {
        assert!(start.elapsed() < TIMEOUT);
        yield_now();
    }
}

/// Subscribes the topic again as 2 once that has failed as 1.
struct Retrying {
    subscriber: OnceLock<Weak<Subscriber>>,
    topic: Topic,
    outcomes: Sender<(Id, bool)>,
}

impl Listener for Retrying {
    fn put(&self, batch: CompletionBatch) {
        for Answer { id, outcome, .. } in batch.answers {
            if id == 1
                && let Some(subscriber) = self.subscriber.get().and_then(Weak::upgrade)
            {
                subscriber.subscribe(2, &self.topic);
            }
            let _ = self.outcomes.send((id, outcome.is_ok()));
        }
    }
}

/// Tells of each map, and is slow to take one.
struct Slow {
    told: Sender<()>,
    is_slow: AtomicBool,
    go_on: Mutex<Receiver<()>>,
}

impl TopologyMember for Slow {
    fn apply(&self) {
        let _ = self.told.send(());
        if self.is_slow.swap(false, Ordering::Relaxed) {
            let _ = self.go_on.lock().recv_timeout(TIMEOUT);
        }
    }

    fn not_discovered(&self, _: &Error, _: bool, _: Duration) {}

    fn ask(&self, _: &Endpoint, _: &[&[u8]]) -> Option<oneshot::Receiver<Bytes>> {
        None
    }

    fn silent_masters(&self) -> Vec<Endpoint> {
        Vec::new()
    }
}

fn at(port: u16) -> Endpoint {
    let host = "127.0.0.1".to_owned();
    Endpoint::Tcp { host, port }
}

// MOVED gives a map, and CLUSTER SLOTS a newer one before the store is told of the first. With the older map it asks the wrong node until the
// next MOVED.
#[test]
fn an_older_map_does_not_take_the_place_of_a_newer_one() {
    let config = unreachable(TIMEOUT);
    let (topology, _) = Topology::of(&config).unwrap();
    let ((tell, told), (resume, go_on)) = (channel(), channel());
    let slow = Arc::new(Slow {
        told: tell,
        is_slow: AtomicBool::new(false),
        go_on: Mutex::new(go_on),
    });
    let member: Arc<dyn TopologyMember> = slow.clone();
    let wait = |count| (0..count).for_each(|_| told.recv_timeout(TIMEOUT).unwrap());
    topology.add(Arc::downgrade(&member));
    let store = Store::of(config);
    topology.add(Arc::downgrade(&member));
    let slots = decode::parse(b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$0\r\n\r\n:1\r\n").unwrap();
    let map = SlotMap::parse(&slots, &at(1)).unwrap();
    topology.take(ToldMap::by_unknown(map.clone()));
    wait(2);
    slow.is_slow.store(true, Ordering::Relaxed);
    topology.patch(&[(7, at(2))]);
    wait(1);
    topology.take(ToldMap::by_unknown(map.with_moved(&[(7, at(3))])));
    wait(2);
    resume.send(()).unwrap();
    wait(1);
    let Router::Cluster(cluster) = &store.router else {
        panic!("no cluster")
    };
    let masters = cluster.health().into_iter().map(|health| health.node.unwrap());
    let masters: Vec<_> = masters.take(2).map(|node| node.to_string()).collect();
    assert_eq!(masters, ["127.0.0.1:1", "127.0.0.1:3"]);
}

// Told of the failure before the topic is left, a caller that tries again joins what is then left: it resolves, and hears nothing.
#[test]
fn who_tries_again_at_once_does_not_join_what_is_given_up() {
    let (outcomes, told) = channel();
    let topic = Topic::new(TopicKind::Channel, "news".into());
    let listener = Arc::new(Retrying {
        subscriber: OnceLock::new(),
        topic: topic.clone(),
        outcomes,
    });
    let config = unreachable(Duration::from_millis(50));
    let subscriber = Arc::new(Subscriber::join(&config, listener.clone()).unwrap());
    assert!(listener.subscriber.set(Arc::downgrade(&subscriber)).is_ok());
    subscriber.subscribe(1, &topic);
    let outcomes = [told.recv_timeout(TIMEOUT), told.recv_timeout(TIMEOUT)];
    assert_eq!(outcomes, [Ok((1, false)), Ok((2, false))]);
}
