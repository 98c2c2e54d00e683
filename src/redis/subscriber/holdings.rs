//! What a listener has at a server that turns out to be a node of a cluster: it goes on in the cluster.

use std::sync::Arc;
use std::time::SystemTime;

use hashbrown::HashMap;

use crate::redis::endpoint::EndpointName;
use crate::redis::pipeline::Pipeline;
use crate::redis::request::{Id, Topic};
use crate::redis::subscriber::entry::Priority;
use crate::redis::subscriber::listener::TopicState;
use crate::redis::subscriber::machine::Subscriptions;

pub struct Holdings {
    pub topics: Vec<HeldTopic>,
    /// Since when messages may be missed that the listener has not been told of, and of which server.
    pub gap: Option<(SystemTime, EndpointName)>,
}

pub struct HeldTopic {
    pub topic: Topic,
    pub priority: Priority,
    /// None where nothing but open calls is there.
    pub state: Option<Arc<TopicState>>,
    pub callers: Vec<Id>,
}

impl Pipeline<Subscriptions> {
    /// Takes what a listener has, and the calls that it awaits: they are not answered here. The listener itself stays.
    pub fn take_holdings(&mut self, number: usize) -> Holdings {
        let mut callers: HashMap<Topic, Vec<Id>> = HashMap::new();
        for (topic, waiter) in self.machine.pending.take_of(number) {
            match topic {
                Some(topic) => callers.entry(topic).or_default().push(waiter.id),
                // Without a connection nothing is subscribed.
                None => waiter.answer(Ok(())),
            }
        }
        let table = &self.machine.table;
        let held = table.topics.iter().filter_map(|(topic, entry)| {
            let registration = entry.registrations.iter().find(|each| each.listener == number)?;
            let heard = registration.hears.then(Arc::default);
            Some(HeldTopic {
                topic: topic.clone(),
                priority: entry.priority,
                state: registration.kept.clone().or(heard),
                callers: callers.remove(topic).unwrap_or_default(),
            })
        });
        let topics = held.collect();
        let is_told = table.misses(number);
        let gap = table.gap.as_ref().filter(|_| is_told).map(|gap| {
            let node = gap.node.clone().unwrap_or_else(|| self.peer().into());
            (gap.from, node)
        });
        Holdings { topics, gap }
    }
}
