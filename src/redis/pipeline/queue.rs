//! Requests that wait to be sent, in the order of their calls.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use crate::redis::moment::Moment;
use crate::redis::request::Request;

/// What is longer is not copied, as that takes long.
const LONGEST_COPY: usize = 64 << 10;

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
    pub fn push(&mut self, mut request: Request, deadline: Moment) {
        // A request has a slice of what was called with it. The others may have been sent: it must not keep their bytes while it waits.
        if request.bytes.len() <= LONGEST_COPY && !request.bytes.is_unique() {
            request.bytes = Bytes::copy_from_slice(&request.bytes);
        }
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

    /// Takes in another queue. One by one, its requests would each pass all that were called later.
    pub fn merge(&mut self, other: Queue) {
        let mut merged = VecDeque::with_capacity(self.len() + other.len());
        for waiting in other.0 {
            while let Some(first) = self
                .0
                .pop_front_if(|first| !waiting.request.is_before(&first.request))
            {
                merged.push_back(first);
            }
            merged.push_back(waiting);
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

    /// Each request waits anew, until another moment.
    pub fn wait_anew(&mut self, until: impl Fn(&Request) -> Moment) {
        for waiting in &mut self.0 {
            (waiting.deadline, waiting.attempts) = (until(&waiting.request), 0);
        }
    }

    /// Shortens the deadlines to `latest`.
    pub fn wait_until(&mut self, latest: Instant) {
        for waiting in &mut self.0 {
            waiting.deadline = waiting.deadline.min(latest.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: u32, bytes: Bytes) -> Request {
        let request = Request::repeatable(Some(id), &[b"GET"], Instant::now());
        Request { bytes, ..request }
    }

    // One slot of a cluster has no master. Of each batch of 64 KB one command waits for it, and 10,000 of them keep 640 MB.
    #[test]
    fn what_waits_keeps_no_bytes_of_others() {
        let batch = Bytes::from(vec![0; 1 << 20]);
        let mut queue = Queue::default();
        queue.push(request(1, batch.slice(..50)), Instant::now().into());
        assert!(batch.is_unique());
        queue.push(request(2, batch.slice(..=LONGEST_COPY)), Instant::now().into());
        assert!(!batch.is_unique());
    }

    #[test]
    fn a_merged_queue_has_the_order_of_the_calls_and_the_earliest_deadlines() {
        let now = Instant::now();
        let at = |second| now + std::time::Duration::from_secs(second);
        let queue = |numbers: &[(u32, u64)]| {
            let mut queue = Queue::default();
            for (id, deadline) in numbers {
                let called = at(u64::from(*id));
                let request = Request::repeatable(Some(*id), &[b"GET"], called);
                queue.push(request, at(*deadline).into());
            }
            queue
        };
        let mut merged = queue(&[(2, 20), (3, 30), (6, 60)]);
        merged.merge(queue(&[(1, 25), (4, 26), (5, 61), (7, 62)]));
        let order: Vec<_> = merged.iter().map(|request| request.id).collect();
        assert_eq!(order, (1..=7).map(Some).collect::<Vec<_>>());
        let due = [20, 20, 26, 26, 60, 60, 62].map(at);
        for due in due {
            assert_eq!(merged.next_deadline(), Some(due));
            merged.pop();
        }
    }
}
