use super::*;
use crate::redis::config::Target;
use crate::redis::endpoint::Endpoint;

const HASH: &[u8] = b"covara:subs:byres:posts";

fn records() -> Arc<Records> {
    Arc::new(Records {
        target: Target::Server(Endpoint::Unix("/nowhere".into())),
        followers: Mutex::default(),
        state: Mutex::default(),
    })
}

fn write(records: &Arc<Records>, subscription: &str, is_readable: bool) -> Arc<dyn Observer> {
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

fn remove(records: &Arc<Records>, subscription: &str) -> Arc<dyn Observer> {
    let change = Change::Remove {
        hash: HASH.into(),
        subscriptions: vec![subscription.into()],
    };
    records.call(vec![(None, change)])
}

fn replied(observer: &Arc<dyn Observer>, reply: &'static str) {
    observer.replied(&Bytes::from_static(reply.as_bytes()));
}

fn names(records: &Records) -> Vec<String> {
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
    assert_eq!(records.lock().count(), 5);
    assert_eq!(records.lock().decision(), Decision::NoRecord);
    replied(&foreign, ":0\r\n");
    unknown.unanswered(Fate::Unknown);
    not_run.unanswered(Fate::NotRun);
    replied(&refused, "-WRONGTYPE it is none\r\n");
    assert_eq!(names(&records), ["created", "unknown"]);
    assert_eq!(records.lock().decision(), Decision::NoRecord);
    replied(&created, ":1\r\n");
    assert_eq!(records.lock().decision(), Decision::Filters);
    assert_eq!(*records.lock().created(), [Arc::<str>::from("created")]);
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
    assert_eq!(records.lock().decision(), Decision::Unreadable);
    replied(&write(&records, "odd", true), ":0\r\n");
    assert_eq!(records.lock().decision(), Decision::Filters);
    replied(&write(&records, "odd", false), ":0\r\n");
    let all = Change::RemoveAll {
        hashes: vec![HASH.into()],
    };
    replied(&records.call(vec![(None, all)]), ":1\r\n");
    assert_eq!(records.lock().count(), 0);
    assert_eq!(records.lock().decision(), Decision::Filters);
    let _ = records.call(vec![(None, Change::Other)]);
    assert_eq!(records.lock().decision(), Decision::Unreadable);
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
    let changes = |records: &Arc<Records>| records.call(vec![(Some(0), change("a")), (Some(2), change("b"))]);
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
