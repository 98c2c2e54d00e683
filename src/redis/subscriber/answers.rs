//! What comes back of requests for topics, and what listeners are told of it.

use std::time::{Instant, SystemTime};

use crate::error::{Error, Result};
use crate::redis::completions::{Answer, CompletionBatch};
use crate::redis::pipeline::Pipeline;
use crate::redis::pipeline::in_flight::{InFlight, Sent};
use crate::redis::request::{Asker, Fate, Subject, Subscription};
use crate::redis::subscriber::displaced::is_elsewhere;
use crate::redis::subscriber::machine::Subscriptions;
use crate::redis::subscriber::pending::{PendingRequest, Waiter};
use crate::redis::subscriber::table::FollowUp;

impl Pipeline<Subscriptions> {
    /// Gives listeners what has come for them.
    pub fn deliver(&mut self, batch: CompletionBatch, now: Instant) {
        for answer in batch.answers {
            self.answered(answer, now);
        }
        let Subscriptions {
            table,
            deliveries,
            gap,
            ..
        } = &mut self.machine;
        for event in batch.events {
            for (number, listener) in &table.listeners {
                deliveries.to(*number, listener).events.push(event.clone());
            }
        }
        if let Some(gap) = gap.take() {
            table.tell_gap(&gap, deliveries);
        }
        deliveries.deliver();
    }

    fn answered(&mut self, answer: Answer, now: Instant) {
        let Some(PendingRequest { topic, waiters }) = self.machine.pending.take(answer.id) else {
            return;
        };
        let outcome = answer.outcome.map(drop);
        if let Some(topic) = topic {
            let waiting: Vec<_> = waiters.iter().map(|waiter| waiter.number).collect();
            let table = &mut self.machine.table;
            match table.answered(answer.id, &topic, outcome.is_ok(), &waiting) {
                FollowUp::Nothing => {}
                FollowUp::Unsubscribe => self.send_unsubscribe(None, &topic, now),
                FollowUp::Subscribe => self.subscribe_due(&topic, now),
            }
        }
        self.machine.tell(waiters, &outcome);
    }

    /// The server has answered the request that was sent first. An error ends the connection.
    pub(super) fn replied(&mut self, outcome: Result<()>, now: Instant) -> Result<()> {
        let front = self
            .connection
            .as_ref()
            .and_then(|connection| connection.sent.front());
        match (front.map(|sent| &sent.request.subject), &outcome) {
            // The server runs a script, and keeps what was to be left. The next connection has none of it.
            (Some(Subject::Unsubscription | Subject::ShardUnsubscription), Err(error))
                if &*error.code == "BUSY" =>
            {
                return outcome;
            }
            // The answer to its tail follows.
            (Some(Subject::ShardUnsubscription), Err(error)) if !is_of_tail(error) => return Ok(()),
            _ => {}
        }
        let Some(Sent {
            request, deadline, ..
        }) = self.connection.as_mut().and_then(InFlight::pop)
        else {
            return Ok(());
        };
        let late = deadline.is_none();
        match (&request.subject, &outcome) {
            (Subject::Subscription(subscription), Ok(())) => self.confirmed(subscription, late, now),
            (Subject::Subscription(subscription), Err(error)) if is_elsewhere(subscription, error) => {
                self.machine.table.misplaced(subscription);
                self.request_answered(subscription, now);
            }
            (Subject::Subscription(subscription), Err(error)) if &*error.code == "BUSY" => {
                self.machine.table.postpone(subscription);
                self.request_answered(subscription, now);
            }
            (Subject::Subscription(subscription), Err(error)) => self.refused(subscription, error, now),
            (Subject::Departure(departure), _) => {
                self.depart(departure, SystemTime::now(), outcome.is_err(), now)
            }
            _ => {}
        }
        match outcome {
            _ if late => {}
            Ok(()) => self.done(&request),
            Err(error) => self.fail(&request, Fate::Unknown, error),
        }
        Ok(())
    }

    fn confirmed(&mut self, subscription: &Subscription, late: bool, now: Instant) {
        match self.machine.table.confirmed(subscription) {
            Some(true) => self.trace(|| format!("subscribed {}", subscription.topic)),
            // The listeners were told of a timeout: the subscription is undone.
            None if late => self.send_unsubscribe(None, &subscription.topic, now),
            _ => {}
        }
        self.request_answered(subscription, now);
    }

    /// The server refuses a request of the table. One that a listener made fails with its own answer.
    fn refused(&mut self, subscription: &Subscription, error: &Error, now: Instant) {
        if matches!(subscription.asker, Asker::Table(_)) {
            let Subscriptions {
                table,
                deliveries,
                pending,
                ..
            } = &mut self.machine;
            if let Some(request) = table.refused(subscription, error, deliveries) {
                let pending = request.and_then(|request| pending.take(request));
                let waiters = pending.map(|pending| pending.waiters).unwrap_or_default();
                self.machine.tell(waiters, &Err(error.clone()));
                self.trace(|| format!("refused {}: {}", subscription.topic, error.message));
            }
        }
        self.request_answered(subscription, now);
    }

    fn request_answered(&mut self, subscription: &Subscription, now: Instant) {
        if matches!(subscription.asker, Asker::Table(_)) {
            self.machine.table.request_answered();
            self.end_gap(now);
        }
    }

    /// Ends the gap, if nothing is waited for: what is due was answered, has left, or the time has come.
    pub(super) fn end_gap(&mut self, now: Instant) {
        if !self.is_connected() {
            return;
        }
        if let Some(gap) = self.machine.table.end_gap(now) {
            let length = gap.to.duration_since(gap.from).unwrap_or_default();
            self.machine.gap = Some(gap);
            self.trace(|| format!("a gap of {} ms has ended", length.as_millis()));
        }
    }
}

/// Whether a refusal is that of UNSUBSCRIBE, behind SUNSUBSCRIBE: only a user without a right to it gets one.
fn is_of_tail(error: &Error) -> bool {
    &*error.code == "NOPERM" && error.message.contains("'unsubscribe'")
}

impl Subscriptions {
    fn tell(&mut self, waiters: Vec<Waiter>, outcome: &Result<()>) {
        for Waiter { number, listener, id } in waiters {
            let batch = self.deliveries.to(number, &listener);
            batch.done_or_failed(id, outcome.clone());
        }
    }
}
