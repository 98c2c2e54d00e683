use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;

use crate::redis::completions::{AT_ONCE, CompletionBatch, CompletionQueue, Event};
use crate::redis::request::Role;
use crate::redis::request::Shape;

#[test]
fn long_answers_are_taken_a_part_at_a_time() {
    let wakes = Arc::new(AtomicU32::new(0));
    let woken = wakes.clone();
    let completions = CompletionQueue::new(move || {
        woken.fetch_add(1, Ordering::Relaxed);
        true
    });
    let mut batch = CompletionBatch::default();
    let long = Bytes::from(vec![b'x'; AT_ONCE * 2 / 3]);
    for id in 0..3 {
        batch.answer(id, Shape::AsIs, Ok(long.clone()));
    }
    batch.events.push(Event::Ready {
        role: Role::Commands,
        node: "server:1".into(),
    });
    completions.put(batch);

    let take = || {
        let (answers, left) = completions.take_answers(9);
        let ids: Vec<_> = answers.iter().map(|answer| answer.id).collect();
        (ids, left.answers, left.messages)
    };
    assert_eq!(take(), (vec![0, 1], true, true));
    // A thread that is taking comes again by itself, and needs no wake-up.
    completions.done(3);
    assert_eq!(take(), (vec![2, 3], false, true));
    assert_eq!(wakes.load(Ordering::Relaxed), 1);
    completions.done(4);
    assert_eq!(completions.take_messages(9).2.events.len(), 1);
    assert_eq!(wakes.load(Ordering::Relaxed), 2);
    assert_eq!(take(), (vec![4], false, false));
    completions.done(5);
    assert_eq!(wakes.load(Ordering::Relaxed), 3);
}
