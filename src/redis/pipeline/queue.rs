//! Requests that wait to be sent, in the order of their calls.

use std::collections::VecDeque;
use std::time::Instant;

use crate::redis::moment::Moment;
use crate::redis::request::Request;

pub struct UnsentRequest {
    pub request: Request,
    pub deadline: Moment,
    /// How many attempts to connect have failed while it waited.
    pub attempts: u32,
}

/// In the order of their calls, which is that of their deadlines.
#[derive(Default)]
pub struct Queue(VecDeque<UnsentRequest>);

impl Queue {
    /// Nearly always goes last. Only requests that a server has refused, or a lost connection has left, were called before others.
    pub fn push(&mut self, request: Request, deadline: Moment) {
        let comes_later = |waiting: &&UnsentRequest| request.is_before(&waiting.request);
        let later = self.0.iter().rev().take_while(comes_later).count();
        let index = self.0.len() - later;
        // Only the first is asked for its deadline: it may not be later than that of one behind it.
        let deadline = self
            .0
            .get(index)
            .map_or(deadline, |next| deadline.min(next.deadline));
        let waiting = UnsentRequest {
            request,
            deadline,
            attempts: 0,
        };
        self.0.insert(index, waiting);
    }

    /// Takes in another queue, each of whose requests waits until a new moment. One by one, they would each pass all that were called later.
    pub fn merge(&mut self, other: Queue, until: impl Fn(&Request) -> Moment) {
        let mut merged = VecDeque::with_capacity(self.len() + other.len());
        for UnsentRequest { request, .. } in other.0 {
            while let Some(first) = self.0.pop_front_if(|first| !request.is_before(&first.request)) {
                merged.push_back(first);
            }
            merged.push_back(UnsentRequest {
                deadline: until(&request),
                request,
                attempts: 0,
            });
        }
        merged.append(&mut self.0);
        for index in (1..merged.len()).rev() {
            merged[index - 1].deadline = merged[index - 1].deadline.min(merged[index].deadline);
        }
        self.0 = merged;
    }

    pub fn pop(&mut self) -> Option<UnsentRequest> {
        self.0.pop_front()
    }

    pub fn first(&self) -> Option<&Request> {
        self.0.front().map(|first| &first.request)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Request> {
        self.0.iter().map(|waiting| &waiting.request)
    }

    /// The first request, if its deadline has passed.
    pub fn pop_due(&mut self, now: Instant) -> Option<Request> {
        let now = Moment::from(now);
        let waiting = self.0.pop_front_if(|first| first.deadline <= now)?;
        Some(waiting.request)
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.0.front().map(|first| first.deadline.into())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes the requests that `leaves` chooses.
    pub fn take_if(&mut self, mut leaves: impl FnMut(&mut UnsentRequest) -> bool) -> Vec<Request> {
        let Some(first) = self.0.iter_mut().position(&mut leaves) else {
            return Vec::new();
        };
        let mut rest = self.0.split_off(first).into_iter();
        let mut left: Vec<_> = rest.next().map(|waiting| waiting.request).into_iter().collect();
        for mut waiting in rest {
            if leaves(&mut waiting) {
                left.push(waiting.request);
            } else {
                self.0.push_back(waiting);
            }
        }
        left
    }

    /// Shortens the deadlines to `latest`.
    pub fn wait_until(&mut self, latest: Instant) {
        for waiting in &mut self.0 {
            waiting.deadline = waiting.deadline.min(latest.into());
        }
    }
}
