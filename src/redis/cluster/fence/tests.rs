use super::*;
use crate::redis::request::Id;

const LATER: Duration = Duration::from_secs(10);

fn refusal(kind: RefusalKind) -> Refusal {
    let error = Error::reply("ASK 7 a:1");
    Refusal { kind, error }
}

/// Requests, whose ids count up, that have been answered by ASK. Each has one key, or several.
fn asked(have_one_key: &[bool], now: Instant) -> Fence {
    let mut fence = Fence::open(now);
    for (index, has_one_key) in have_one_key.iter().enumerate() {
        let request = Request {
            has_one_key: *has_one_key,
            repeatable: false,
            ..Request::repeatable(Some(index as Id), &[b"DEL"], now)
        };
        let target = Endpoint::Unix("/target".into());
        let refusal = refusal(RefusalKind::Ask("a:1".to_owned()));
        fence.refuse(request, refusal, Some(target), (now + LATER).into(), now);
    }
    fence.merge();
    fence
}

fn tried(step: Step) -> Vec<Option<Id>> {
    match step {
        Step::Try(requests, _) => requests.iter().map(|request| request.id).collect(),
        Step::Fall(requests) => panic!("it falls with {}", requests.len()),
        Step::Wait(_) => panic!("it waits"),
    }
}

// The target has one key of two, and answers TRYAGAIN. What was sent with it there runs ahead, and is overwritten by the older command.
#[test]
fn only_what_asks_for_one_key_goes_to_a_target_with_others() {
    let now = Instant::now();
    let cases: [(&[bool], usize); 3] = [
        (&[true, true, false], 2),
        (&[false, true], 1),
        (&[false, false], 1),
    ];
    for (have_one_key, together) in cases {
        let mut fence = asked(have_one_key, now);
        let ids: Vec<_> = (0..together as Id).map(Some).collect();
        assert_eq!(tried(fence.step(1, now)), ids, "{have_one_key:?}");
    }
}

// A slot is on its way: SET of a key was answered by ASK, and DEL of that key and another by TRYAGAIN. A SET of the other is called later.
// If it goes with DEL once the first is served, DEL is refused again, and deletes what was set later.
#[test]
fn what_was_answered_by_tryagain_is_tried_alone_once_more() {
    let now = Instant::now();
    let mut fence = asked(&[true], now);
    let request = |id| Request::repeatable(Some(id), &[b"SET"], now);
    let again = Refusal {
        kind: RefusalKind::NotYet,
        error: Error::reply("TRYAGAIN Multiple keys request during rehashing of slot"),
    };
    fence.refuse(request(1), again, None, (now + LATER).into(), now);
    fence.merge();
    fence.hold(request(2), (now + LATER).into(), now);
    for id in 0..2 {
        assert_eq!(tried(fence.step(id.into(), now)), [Some(id)]);
        fence.ended(id.into(), now);
    }
    assert!(matches!(fence.step(9, now), Step::Fall(left) if left.len() == 1));
}

// With `queueTimeout: 0` nothing waits for a connection. What another node is to take has one, and failed all the same.
#[test]
fn what_is_redirected_has_time_to_get_there() {
    let now = Instant::now();
    let request = |id| Request::repeatable(Some(id), &[b"SET"], now);
    let mut fence = asked(&[true], now);
    fence.hold(request(1), now.into(), now);
    assert!(fence.pop_due(now).is_none());
    let mut fence = Fence::refused(refusal(RefusalKind::NotYet), now);
    fence.hold(request(2), now.into(), now);
    assert!(fence.pop_due(now).is_some());
}

// The slot moves while the fence waits for a trial, and others of it are in flight at the old owner. Later commands would overtake them.
#[test]
fn a_fence_waits_for_all_that_is_under_way() {
    let now = Instant::now();
    let mut fence = Fence::draining(1);
    fence.drain(2);
    fence.ended(1, now);
    fence.ended(3, now);
    assert!(matches!(fence.step(4, now), Step::Wait(None)));
    fence.ended(2, now);
    assert!(matches!(fence.step(4, now), Step::Fall(_)));
}
