//! Has JavaScript's thread poll the sockets of connections, where that is possible (docs/design/redis-connection.md, "Who reads").

use std::cell::RefCell;
use std::sync::Arc;

use crate::addon::raw::Scope;
use crate::addon::raw::poll::Poll;
use crate::redis::connection::Connection;
use crate::redis::connection::socket::{ReadAttempt, SharedSocket};
use crate::redis::pipeline::commands::Commands;
use crate::redis::router::Router;

/// After a read of this size the I/O thread takes over.
const LARGEST_READ: usize = 512 << 10;

#[derive(Default)]
pub struct SocketPoller {
    polled: RefCell<Vec<Polled>>,
    /// What sockets are read into.
    room: RefCell<Box<[u8]>>,
}

struct Polled {
    connection: Arc<Connection<Commands>>,
    socket: Arc<SharedSocket>,
    /// None where the thread cannot poll, and for a socket that has ended.
    poll: Option<Poll>,
}

impl SocketPoller {
    /// Polls the sockets that the connections have by this call, unless the I/O thread reads them. `on_readable` is called when there is
    /// something to read.
    pub fn follow(
        &self,
        scope: Scope,
        router: &Router,
        on_readable: impl Fn(Scope, &Arc<Connection<Commands>>) + Clone + 'static,
    ) {
        let mut polled = self.polled.borrow_mut();
        let mut count = 0;
        router.each_connection(|connection| {
            let Some(socket) = connection.socket() else { return };
            let is_same = |polled: &Polled| Arc::ptr_eq(&polled.socket, &socket);
            match polled[count..].iter().position(is_same) {
                Some(index) => polled.swap(count, count + index),
                None => {
                    let one = Polled::new(scope, connection, socket, on_readable.clone());
                    polled.insert(count, one);
                }
            }
            let Polled { socket, poll, .. } = &polled[count];
            if let Some(poll) = poll
                && !poll.is_started()
                && socket.may_read()
            {
                poll.start();
            }
            count += 1;
        });
        // The others have ended.
        polled.truncate(count);
    }

    /// Reads what is there at a connection, and at all others that owe replies: one callback serves all of them.
    pub fn read(&self, readable: &Arc<Connection<Commands>>) {
        let mut room = self.room.borrow_mut();
        if room.is_empty() {
            *room = vec![0; LARGEST_READ].into();
        }
        for polled in &mut *self.polled.borrow_mut() {
            let is_other =
                || polled.is_started() && polled.connection.with(|pipeline| pipeline.owes_replies());
            if Arc::ptr_eq(&polled.connection, readable) || is_other() {
                polled.read(&mut room);
            }
        }
    }

    pub fn end(&self) {
        self.polled.take();
    }
}

impl Polled {
    fn new(
        scope: Scope,
        connection: &Arc<Connection<Commands>>,
        socket: Arc<SharedSocket>,
        on_readable: impl Fn(Scope, &Arc<Connection<Commands>>) + 'static,
    ) -> Self {
        let connection = connection.clone();
        let polled = Arc::downgrade(&connection);
        let on_readable = move |scope: Scope| {
            if let Some(connection) = polled.upgrade() {
                on_readable(scope, &connection);
            }
        };
        let poll = poll(scope, &socket, on_readable);
        if poll.is_some() {
            socket.begin_polling();
        }
        Self {
            connection,
            socket,
            poll,
        }
    }

    fn is_started(&self) -> bool {
        self.poll.as_ref().is_some_and(Poll::is_started)
    }

    /// An error stops the poll, and shows when reading.
    fn read(&mut self, room: &mut [u8]) {
        let Some(poll) = &self.poll else { return };
        match self.connection.try_read(&self.socket, room) {
            ReadAttempt::Little => {}
            ReadAttempt::NotOwner => poll.stop(),
            ReadAttempt::Much => {
                poll.stop();
                self.socket.yield_read();
            }
            ReadAttempt::Closed => self.poll = None,
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
