use super::*;
use crate::redis::pipeline::commands::redirect::RefusalKind;
use crate::redis::request::Route;

fn node() -> Harness<Commands> {
    let mut node = Harness::connected();
    node.pipeline.join_cluster();
    node
}

#[test]
fn what_a_node_has_not_run_goes_back_in_its_order() {
    let mut node = node();
    let requests = [1, 2, 3].map(|id| Request {
        route: Route::Slot(7),
        ..node.write(id, &["INCR", "n"])
    });
    node.send(&requests);
    node.receive("-MOVED 7 host:2\r\n:1\r\n-TRYAGAIN Multiple keys request during rehashing of slot\r\n")
        .unwrap();
    assert_eq!(node.answers(), answers(&[(2, ":1\r\n")]));
    let (returned, marks) = node.pipeline.machine.take_returned().unwrap();
    let kinds: Vec<_> = returned.iter().map(|each| each.refusal.kind.clone()).collect();
    assert_eq!(
        kinds,
        [RefusalKind::Moved(7, "host:2".to_owned()), RefusalKind::NotYet]
    );
    assert_eq!(returned[0].request.slot(), Some(7));
    assert!(marks.is_empty());
}

#[test]
fn a_mark_passes_once_all_before_it_is_answered() {
    let mut node = node();
    assert!(!node.pipeline.mark(1), "nothing is in flight");
    node.send(&[node.write(1, &["INCR", "n"]), node.write(2, &["INCR", "n"])]);
    assert!(node.pipeline.mark(2));
    node.send(&[node.write(3, &["INCR", "n"])]);
    node.receive(":1\r\n").unwrap();
    assert!(node.pipeline.machine.take_returned().is_none());
    node.receive(":2\r\n").unwrap();
    assert_eq!(node.pipeline.machine.take_returned().unwrap().1, [2]);
    assert!(node.pipeline.mark(3));
    node.lose();
    assert_eq!(node.pipeline.machine.take_returned().unwrap().1, [3]);
}

// A request that misses its deadline keeps its slot's mark from passing when the node closes. Later calls then wait for their own
// deadlines, and `disconnect` never resolves.
#[test]
fn a_mark_passes_when_there_will_be_no_other_connection() {
    let mut node = node();
    node.send(&[node.write(1, &["INCR", "n"])]);
    assert!(node.pipeline.mark(1));
    node.pipeline.end();
    assert_eq!(node.pipeline.machine.take_returned().unwrap().1, [1]);
}

#[test]
fn asking_goes_ahead_and_its_reply_is_dropped() {
    let mut node = node();
    node.send(&[Request {
        asking: true,
        ..node.write(1, &["INCR", "n"])
    }]);
    assert_eq!(node.written(), sent(&[&["ASKING"], &["INCR", "n"]]));
    node.receive("+OK\r\n:5\r\n").unwrap();
    assert_eq!(node.answers(), answers(&[(1, ":5\r\n")]));
}
