use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;

use crate::redis::mailbox::{AT_ONCE, Event, Mail, Mailbox};
use crate::redis::pipeline::Role;
use crate::redis::request::Shape;

#[test]
fn long_answers_are_taken_a_part_at_a_time_and_what_else_there_is_comes_last() {
    let wakes = Arc::new(AtomicU32::new(0));
    let woken = wakes.clone();
    let mailbox = Mailbox::new(move || {
        woken.fetch_add(1, Ordering::Relaxed);
        true
    });
    let mut mail = Mail::default();
    let long = Bytes::from(vec![b'x'; AT_ONCE * 2 / 3]);
    for id in 0..3 {
        mail.answer(id, Shape::AsIs, Ok(long.clone()));
    }
    mail.events.push(Event::Ready(Role::Commands));
    mailbox.put(mail);

    let ids = |mail: &Mail| mail.answers.iter().map(|answer| answer.id).collect::<Vec<_>>();
    let first = mailbox.take();
    assert_eq!((ids(&first), first.events.len()), (vec![0, 1], 0));
    assert_eq!(wakes.load(Ordering::Relaxed), 2);
    // What comes meanwhile needs no wake-up of its own.
    mailbox.done(3);
    assert_eq!(wakes.load(Ordering::Relaxed), 2);
    let rest = mailbox.take();
    assert_eq!((ids(&rest), rest.events.len()), (vec![2, 3], 1));
    assert!(mailbox.take().is_empty());
    mailbox.done(4);
    assert_eq!(wakes.load(Ordering::Relaxed), 3);
}
