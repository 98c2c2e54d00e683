use super::*;
use crate::fanout::change::Written;
use crate::redis::config::Options;
use crate::redis::tests::config::options;

const HASH: &[u8] = b"covara:subs:byres:posts";

fn records() -> Recorder {
    let config = Arc::new(Config::new(options()).unwrap());
    let records = Arc::new(Records {
        target: config.target.clone(),
        db: 0,
        followers: Mutex::default(),
        state: Mutex::default(),
    });
    let creator = Arc::new(Creator { store: 0, config });
    Recorder { records, creator }
}

/// Writes down what it is told. It locks pipelines, so the state must be unlocked: messages lock it within a pipeline.
struct Hearing {
    records: Arc<Records>,
    store: StoreNumber,
    config: Arc<Config>,
    is_targeted: bool,
    told: Mutex<Vec<String>>,
}

impl Hearing {
    fn of(records: &Recorder, store: StoreNumber, config: &Arc<Config>, is_targeted: bool) -> Arc<Self> {
        Arc::new(Self {
            records: records.records.clone(),
            store,
            config: config.clone(),
            is_targeted,
            told: Mutex::default(),
        })
    }

    fn tell(&self, what: &str, subscriptions: &[Arc<str>]) {
        assert!(self.records.state.try_lock().is_some());
        let mut told = self.told.lock();
        told.extend(subscriptions.iter().map(|name| format!("{what} {name}")));
        told.sort();
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock())
    }
}

impl Follower for Hearing {
    fn store(&self) -> StoreNumber {
        self.store
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn is_targeted(&self) -> bool {
        self.is_targeted
    }

    fn came(&self, subscriptions: &[Arc<str>]) {
        self.tell("came", subscriptions);
    }

    fn went(&self, subscriptions: &[Arc<str>]) {
        self.tell("went", subscriptions);
    }
}

fn write(records: &Recorder, subscription: &str, is_readable: bool) -> Arc<dyn Observer> {
    let written = Written {
        subscription: subscription.into(),
        is_readable,
    };
    let change = Change::Write {
        hash: HASH.into(),
        records: vec![written],
    };
    records.call(vec![(None, change)])
}

fn remove(records: &Recorder, subscription: &str) -> Arc<dyn Observer> {
    let change = Change::Remove {
        hash: HASH.into(),
        subscriptions: vec![subscription.into()],
    };
    records.call(vec![(None, change)])
}

fn replied(observer: &Arc<dyn Observer>, reply: &'static str) {
    observer.replied(&Bytes::from_static(reply.as_bytes()));
}

fn names(Recorder { records, .. }: &Recorder) -> Vec<String> {
    let mut names = records.lock().subscriptions();
    names.sort();
    names
}

#[test]
fn a_record_counts_from_its_call_and_stays_if_it_may_be_there() {
    let records = records();
    let (created, foreign) = (write(&records, "created", true), write(&records, "foreign", true));
    let (unknown, not_run) = (write(&records, "unknown", true), write(&records, "not run", true));
    let refused = write(&records, "refused", true);
    assert_eq!(records.records.lock().count(), 5);
    assert_eq!(records.records.lock().decision(), Decision::NoRecord);
    replied(&foreign, ":0\r\n");
    unknown.unanswered(Fate::Unknown);
    not_run.unanswered(Fate::NotRun);
    replied(&refused, "-WRONGTYPE it is none\r\n");
    assert_eq!(names(&records), ["created", "unknown"]);
    assert_eq!(records.records.lock().decision(), Decision::NoRecord);
    replied(&created, ":1\r\n");
    assert_eq!(records.records.lock().decision(), Decision::Filters);
    let of_stores = records.records.lock().created();
    assert_eq!(of_stores[0].1, [Arc::<str>::from("created")]);
    // A record that is written again is still this process's.
    replied(&write(&records, "created", true), ":0\r\n");
    assert_eq!(names(&records), ["created", "unknown"]);
}

/// A stream that is opened again under the same name hears nothing if the reply to an earlier HDEL removes its record.
#[test]
fn a_record_that_was_written_again_meanwhile_stays() {
    let records = records();
    replied(&write(&records, "a", true), ":1\r\n");
    let removed = remove(&records, "a");
    let again = write(&records, "a", true);
    replied(&removed, ":1\r\n");
    replied(&again, ":1\r\n");
    assert_eq!(names(&records), ["a"]);
    let removed = remove(&records, "a");
    removed.unanswered(Fate::Unknown);
    assert_eq!(names(&records), ["a"]);
    replied(&remove(&records, "a"), ":0\r\n");
    assert!(names(&records).is_empty());
}

#[test]
fn while_a_record_is_not_understood_nothing_is_kept_back() {
    let records = records();
    replied(&write(&records, "a", true), ":1\r\n");
    // A record of another process counts too, as it may be one of many in this form.
    replied(&write(&records, "odd", false), ":0\r\n");
    assert_eq!(records.records.lock().decision(), Decision::Unreadable);
    replied(&write(&records, "odd", true), ":0\r\n");
    assert_eq!(records.records.lock().decision(), Decision::Filters);
    replied(&write(&records, "odd", false), ":0\r\n");
    let all = Change::RemoveAll {
        hashes: vec![HASH.into()],
    };
    replied(&records.call(vec![(None, all)]), ":1\r\n");
    assert_eq!(records.records.lock().count(), 0);
    assert_eq!(records.records.lock().decision(), Decision::Filters);
    let _ = records.call(vec![(None, Change::Other)]);
    assert_eq!(records.records.lock().decision(), Decision::Unreadable);
}

#[test]
fn each_command_of_a_transaction_has_its_own_outcome() {
    let records = records();
    let change = |subscription: &str| Change::Write {
        hash: HASH.into(),
        records: vec![Written {
            subscription: subscription.into(),
            is_readable: true,
        }],
    };
    let changes = |records: &Recorder| records.call(vec![(Some(0), change("a")), (Some(2), change("b"))]);
    replied(
        &changes(&records),
        "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n:1\r\n+OK\r\n:0\r\n",
    );
    assert_eq!(names(&records), ["a"]);
    replied(
        &changes(&records),
        "+OK\r\n-ERR no\r\n+QUEUED\r\n+QUEUED\r\n-EXECABORT no\r\n",
    );
    assert_eq!(names(&records), ["a"]);
}

/// Another store of the process, by a connection of its own, would subscribe the channel first. Publishers then use that, and the stream's own
/// store hears nothing.
#[test]
fn only_stores_that_share_the_connection_of_a_records_writer_follow_it() {
    let records = records();
    let config = &records.creator.config;
    let other = Arc::new(
        Config::new(Options {
            db: Some(1),
            ..options()
        })
        .unwrap(),
    );
    let (own, foreign) = (
        Hearing::of(&records, 0, config, true),
        Hearing::of(&records, 1, &other, true),
    );
    let neighbour = Hearing::of(&records, 2, config, true);
    for hearing in [&own, &foreign, &neighbour] {
        records.records.join(hearing.clone());
    }
    replied(&write(&records, "a", true), ":1\r\n");
    assert_eq!(own.told(), ["came a"]);
    assert_eq!(neighbour.told(), ["came a"]);
    assert!(foreign.told().is_empty());
    let late = Hearing::of(&records, 3, &other, true);
    records.records.join(late.clone());
    assert!(late.told().is_empty());
}

/// It gets the fleet's events alone: those of channels of their own would pass it by.
#[test]
fn the_streams_of_a_store_without_own_channels_have_none() {
    let records = records();
    let config = &records.creator.config;
    let (neighbour, own) = (
        Hearing::of(&records, 1, config, true),
        Hearing::of(&records, 0, config, false),
    );
    records.records.join(neighbour.clone());
    // The writer does not hear yet.
    replied(&write(&records, "a", true), ":1\r\n");
    assert_eq!(neighbour.told(), ["came a"]);
    records.records.join(own.clone());
    assert_eq!(neighbour.told(), ["went a"]);
    replied(&write(&records, "b", true), ":1\r\n");
    assert!(neighbour.told().is_empty());
    let leaving: Arc<dyn Follower> = own.clone();
    records.records.leave(&leaving);
    assert_eq!(neighbour.told(), ["came a", "came b"]);
    let leaving: Arc<dyn Follower> = neighbour.clone();
    records.records.leave(&leaving);
    assert_eq!(neighbour.told(), ["went a", "went b"]);
}

/// The server may run the DEL of another connection first. Forgotten at its reply, the record is on the server, and its stream hears nothing.
#[test]
fn a_record_that_is_being_written_stays() {
    let records = records();
    let writing = write(&records, "a", true);
    let all = Change::RemoveAll {
        hashes: vec![HASH.into()],
    };
    replied(&records.call(vec![(None, all)]), ":0\r\n");
    replied(&writing, ":1\r\n");
    assert_eq!(names(&records), ["a"]);
}

/// The hash of one database is not that of another: its DEL would end the streams of both.
#[test]
fn each_database_has_records_of_its_own() {
    let of = |db| {
        let config = Config::new(Options {
            db: Some(db),
            ..options()
        })
        .unwrap();
        Records::at(&Arc::new(config))
    };
    assert!(!Arc::ptr_eq(&of(0), &of(1)));
}
