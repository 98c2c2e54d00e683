//! The passage of what a home has published: what another connection brings later comes behind it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::redis::request::Topic;
use crate::redis::subscriber::SubscriberHandle;
use crate::redis::subscriber::ear::{Ear, Signals};
use crate::redis::subscriber::homes::ClusterSubscriber;
use crate::redis::subscriber::places::own_channel;

/// How often the connection is looked at: an answer that it was lost before does not come.
const LOOK: Duration = Duration::from_millis(100);

pub struct Passage {
    home: Arc<SubscriberHandle>,
    ear: Arc<Ear>,
}

impl ClusterSubscriber {
    /// The passage of what was published at the home of a topic. None if it is heard nowhere.
    pub fn passage(&self, topic: &Topic) -> Option<Passage> {
        let state = self.lock();
        let home = state.homes.get(state.heard_at(topic)?)?.clone();
        let ear = self.ear.clone();
        Some(Passage { home, ear })
    }
}

impl Passage {
    /// Returns once all that was published there before this call has been put, or is lost with the connection, which a gap tells. What was
    /// published comes ahead of the answer to a request by the same connection.
    pub async fn is_over(self) {
        let before = self.home.health();
        if !before.is_ready {
            return;
        }
        let channel = own_channel("passage");
        let (answered, mut is_answered) = oneshot::channel();
        let signals = Signals {
            node: before.node.unwrap_or_default(),
            subscribed: None,
            departed: Some(answered),
            heard: None,
        };
        self.ear.awaited.lock().own.insert(channel.clone(), signals);
        self.home.begin_departure(&self.home.departure(&[], &channel));
        while timeout(LOOK, &mut is_answered).await.is_err() {
            let health = self.home.health();
            if !health.is_ready || health.since != before.since {
                break;
            }
        }
        self.ear.awaited.lock().own.remove(&channel);
    }
}
