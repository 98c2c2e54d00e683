//! Has JavaScript's thread look after the socket of a connection, where that is possible (docs/architecture.md, "Who reads").

use std::cell::RefCell;
use std::sync::Arc;

use super::raw::Scope;
use super::raw::poll::Poll;
use crate::redis::connection::shared::Link;
use crate::redis::connection::socket::{Look, Plain};

/// When more than this has come in at once, the I/O thread reads.
const MOST: usize = 512 << 10;

#[derive(Default)]
pub struct Looking(RefCell<Option<LookedAfter>>);

struct LookedAfter {
    plain: Arc<Plain>,
    /// What tells of it, and where is read to. None where that cannot be, and for a socket that has ended.
    poll: Option<(Poll, Box<[u8]>)>,
}

impl Looking {
    /// Has `on_readable` called while there is something to read on the socket that the link has by now, and this thread may.
    pub fn keep_up(&self, scope: Scope, link: &Link, on_readable: impl Fn(Scope) + 'static) {
        let mut looked_after = self.0.borrow_mut();
        let Some(plain) = link.plain() else {
            looked_after.take();
            return;
        };
        let looked_after = match &mut *looked_after {
            Some(same) if Arc::ptr_eq(&same.plain, &plain) => same,
            other => other.insert(LookedAfter::new(scope, plain, on_readable)),
        };
        if let Some((poll, _)) = &looked_after.poll
            && !poll.is_started()
            && looked_after.plain.may_look()
        {
            poll.start();
        }
    }

    /// There is something to read.
    pub fn look(&self, link: &Link) {
        let mut looked_after = self.0.borrow_mut();
        let Some(LookedAfter { plain, poll }) = &mut *looked_after else {
            return;
        };
        let Some((some_poll, room)) = poll else { return };
        match plain.look(link, room) {
            Look::Done => {}
            Look::NotNow => some_poll.stop(),
            Look::Much => {
                some_poll.stop();
                plain.hand_over();
            }
            Look::Over => *poll = None,
        }
    }

    pub fn end(&self) {
        self.0.take();
    }
}

impl LookedAfter {
    fn new(scope: Scope, plain: Arc<Plain>, on_readable: impl Fn(Scope) + 'static) -> Self {
        let poll = poll(scope, &plain, on_readable);
        if poll.is_some() {
            plain.look_after();
        }
        let with_room = |poll| (poll, vec![0; MOST].into());
        Self {
            plain,
            poll: poll.map(with_room),
        }
    }
}

#[cfg(unix)]
fn poll(scope: Scope, plain: &Plain, on_readable: impl Fn(Scope) + 'static) -> Option<Poll> {
    Poll::new(scope, plain.duplicate().ok()?, on_readable)
}

#[cfg(not(unix))]
fn poll(_: Scope, _: &Plain, _: impl Fn(Scope) + 'static) -> Option<Poll> {
    None
}
