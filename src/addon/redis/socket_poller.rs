//! Polls the socket of a connection on the JavaScript thread, where the runtime can (docs/design/redis-connection.md, "Who reads").

use std::cell::RefCell;
use std::sync::Arc;

use crate::addon::raw::Scope;
use crate::addon::raw::poll::Poll;
use crate::redis::connection::Connection;
use crate::redis::connection::socket::{ReadAttempt, SharedSocket};

/// After a read of this size the I/O thread takes over.
const LARGEST_READ: usize = 512 << 10;

#[derive(Default)]
pub struct SocketPoller(RefCell<Option<Polled>>);

struct Polled {
    socket: Arc<SharedSocket>,
    /// The poll handle and the read buffer. None where the thread cannot poll, and for a closed socket.
    poll: Option<(Poll, Box<[u8]>)>,
}

impl SocketPoller {
    /// Polls the current socket of the connection, unless the I/O thread reads it. `on_readable` runs when it is readable.
    pub fn follow(&self, scope: Scope, connection: &Connection, on_readable: impl Fn(Scope) + 'static) {
        let mut polled = self.0.borrow_mut();
        let Some(socket) = connection.socket() else {
            polled.take();
            return;
        };
        let polled = match &mut *polled {
            Some(same) if Arc::ptr_eq(&same.socket, &socket) => same,
            other => other.insert(Polled::new(scope, socket, on_readable)),
        };
        if let Some((poll, _)) = &polled.poll
            && !poll.is_started()
            && polled.socket.may_read()
        {
            poll.start();
        }
    }

    /// Reads from the socket once.
    pub fn read(&self, connection: &Connection) {
        let mut polled = self.0.borrow_mut();
        let Some(Polled { socket, poll }) = &mut *polled else {
            return;
        };
        let Some((handle, room)) = poll else { return };
        match connection.try_read(socket, room) {
            ReadAttempt::Little => {}
            ReadAttempt::NotOwner => handle.stop(),
            ReadAttempt::Much => {
                handle.stop();
                socket.yield_read();
            }
            ReadAttempt::Closed => *poll = None,
        }
    }

    pub fn end(&self) {
        self.0.take();
    }
}

impl Polled {
    fn new(scope: Scope, socket: Arc<SharedSocket>, on_readable: impl Fn(Scope) + 'static) -> Self {
        let poll = poll(scope, &socket, on_readable);
        if poll.is_some() {
            socket.begin_polling();
        }
        let with_room = |poll| (poll, vec![0; LARGEST_READ].into());
        Self {
            socket,
            poll: poll.map(with_room),
        }
    }
}

#[cfg(unix)]
fn poll(scope: Scope, socket: &SharedSocket, on_readable: impl Fn(Scope) + 'static) -> Option<Poll> {
    Poll::new(scope, socket.duplicate().ok()?, on_readable)
}

#[cfg(not(unix))]
fn poll(_: Scope, _: &SharedSocket, _: impl Fn(Scope) + 'static) -> Option<Poll> {
    None
}
