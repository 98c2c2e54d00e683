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

fn script_of(slot: u16, node: &Harness<Commands>) -> Request {
    Request {
        route: Route::Slot(slot),
        repeatable: false,
        ..script(node, 1)
    }
}

// A script wrote, and raised such an error itself. It was run again until its deadline, and its caller was told that it had not been run.
#[test]
fn a_redirection_that_a_script_raises_itself_is_its_answer() {
    for reply in ["-MOVED 3 squares\r\n", "-ASK 3 a:1\r\n", "-READONLY mine\r\n"] {
        let mut node = node();
        node.send(&[script_of(7, &node)]);
        node.receive(reply).unwrap();
        let code = reply[1..].split(' ').next().unwrap();
        assert_eq!(node.answers(), answers(&[(1, code)]));
        assert!(node.pipeline.machine.take_returned().is_none());
    }
    let mut node = node();
    node.send(&[script_of(7, &node)]);
    node.receive("-MOVED 7 a:1\r\n").unwrap();
    assert!(node.pipeline.machine.take_returned().is_some());
}

// After a planned failover the old master runs a script without keys up to its first write. It was rejected until another command was redirected.
#[test]
fn a_script_without_keys_that_a_replica_refuses_goes_back() {
    for reply in [
        "-READONLY You can't write against a read only replica. script: h, on @user_script:1.\r\n",
        "-ERR Error running script (call to f_h): @user_script:1: @user_script: 1: -READONLY You can't write against a read only replica.\r\n",
    ] {
        let mut node = node();
        node.lose();
        node.connect(usize::MAX, ServerRole::Master);
        node.send(&[script_of(0, &node)]);
        node.receive(reply).unwrap();
        let (returned, _) = node.pipeline.machine.take_returned().unwrap();
        assert_eq!(returned[0].refusal.kind, RefusalKind::NotYet);
    }
}
