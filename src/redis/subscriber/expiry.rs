//! The deadline of a call that awaits the confirmation of a topic, as no connection to its home may be had.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::error::{Error, Reason};
use crate::redis::completions::CompletionBatch;
use crate::redis::config::Limits;
use crate::redis::request::{Id, Topic};
use crate::redis::subscriber::homes::ClusterSubscriber;
use crate::redis::subscriber::places::{Places, home_of, slot_of_home};

/// The deadline may be infinite: the task of a call that was answered ends after this time.
const POLL_INTERVAL: Duration = Duration::from_secs(60);

impl ClusterSubscriber {
    pub(super) async fn expire(subscriber: Weak<Self>, id: Id, topic: Topic) {
        let Some(longest) = subscriber.upgrade().map(|strong| strong.limits().queue_timeout) else {
            return;
        };
        let until = Instant::now() + longest;
        while Instant::now() < until {
            sleep_until(until.min(Instant::now() + POLL_INTERVAL)).await;
            let Some(subscriber) = subscriber.upgrade() else {
                return;
            };
            if !subscriber.listener.awaited.lock().is_awaited(id, &topic) {
                return;
            }
        }
        let Some(strong) = subscriber.upgrade() else {
            return;
        };
        let reply = strong.limits().timeout;
        if longest < reply && is_heard(&strong.lock(), &topic) {
            drop(strong);
            sleep_until(until - longest + reply).await;
        }
        if let Some(subscriber) = subscriber.upgrade() {
            subscriber.give_up(id, &topic);
        }
    }

    /// Fails a call that has waited for its confirmation for too long.
    fn give_up(&self, id: Id, topic: &Topic) {
        // Locked until the topic is left: who subscribes it in between would join what is about to go.
        let mut state = self.lock();
        let mut awaited = self.listener.awaited.lock();
        let Some(callers) = awaited.callers.get_mut(topic) else {
            return;
        };
        let before = callers.ids.len();
        callers.ids.retain(|caller| *caller != id);
        if callers.ids.len() == before {
            return;
        }
        let is_last = callers.ids.is_empty();
        let is_unwanted = is_last && callers.are_alone;
        if is_last {
            awaited.callers.remove(topic);
        }
        drop(awaited);
        let error = self.not_confirmed(&state, topic);
        let mut answers = CompletionBatch::default();
        if is_unwanted {
            answers = self.leave_topic(&mut state, None, topic, || {});
        }
        drop(state);
        answers.failed(id, error);
        self.listener.put_unless_empty(answers);
    }

    fn not_confirmed(&self, state: &Places, topic: &Topic) -> Error {
        let Limits {
            timeout,
            queue_timeout,
            ..
        } = *self.limits();
        let (reason, longest, name) = match queue_timeout < timeout && is_heard(state, topic) {
            true => (Reason::CommandTimeout, timeout, "commandTimeout"),
            false => (Reason::QueueTimeout, queue_timeout, "queueTimeout"),
        };
        let milliseconds = longest.as_millis();
        let message =
            format!("The cluster did not confirm the subscription within {milliseconds} ms ({name})");
        let map = state.map.as_ref();
        let home = map.and_then(|map| Some(home_of(map, topic)?.to_string()));
        Error::because(reason, message).at(home.as_deref(), Some(slot_of_home(topic)))
    }
}

/// Whether the home where the topic is subscribed is connected: then the confirmation has the time of a reply.
fn is_heard(state: &Places, topic: &Topic) -> bool {
    let home = state.heard_at(topic).and_then(|home| state.homes.get(home));
    home.is_some_and(|home| home.is_connected())
}
