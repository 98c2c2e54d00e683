//! Sentinels that others name.

use crate::redis::connection::sentinel::board::{Board, KnownSentinel, Named};
use crate::redis::endpoint::Endpoint;

/// The most of them.
const MOST: usize = 16;

impl Board {
    /// A Sentinel has said who it is, if it does. False if it is not to be watched: it is another than was named, or is watched by another address.
    pub fn introduced(&mut self, index: usize, id: Option<String>) -> bool {
        let Some(id) = id else {
            return self.nodes[index].named.is_none();
        };
        let is_known = |(other, node): (usize, &KnownSentinel)| {
            other != index && !node.is_gone() && node.id.as_ref() == Some(&id)
        };
        let is_double = self.nodes.iter().enumerate().any(is_known);
        match &mut self.nodes[index].named {
            Some(named) if is_double || named.id != id => {
                named.is_gone = true;
                return false;
            }
            Some(_) => {}
            None => {
                for node in &mut self.nodes {
                    if let Some(named) = node.named.as_mut().filter(|named| named.id == id) {
                        named.is_gone = true;
                    }
                }
            }
        }
        self.nodes[index].id = Some(id);
        true
    }

    /// A Sentinel names another one.
    pub fn named(&mut self, endpoint: Endpoint, id: String) {
        let is_known = |node: &KnownSentinel| {
            let ids = [node.id.as_ref(), node.named.as_ref().map(|named| &named.id)];
            !node.is_gone() && (node.endpoint == endpoint || ids.contains(&Some(&id)))
        };
        if self.nodes.iter().any(is_known) {
            return;
        }
        let node = KnownSentinel::new(
            endpoint,
            Some(Named {
                id,
                is_watched: false,
                is_gone: false,
            }),
        );
        let is_free = |node: &&mut KnownSentinel| {
            node.is_gone() && !node.named.as_ref().is_some_and(|named| named.is_watched)
        };
        let count = self.nodes.iter().filter(|node| node.named.is_some()).count();
        match self.nodes.iter_mut().find(is_free) {
            Some(free) => *free = node,
            None if count < MOST => self.nodes.push(node),
            None => {}
        }
    }

    /// The Sentinels that are to be watched from now on.
    pub fn take_unwatched(&mut self) -> Vec<(usize, Endpoint)> {
        let mut unwatched = Vec::new();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let named = node.named.as_mut();
            if let Some(named) = named.filter(|named| !named.is_watched && !named.is_gone) {
                named.is_watched = true;
                unwatched.push((index, node.endpoint.clone()));
            }
        }
        unwatched
    }

    /// Whether a Sentinel that was named is watched by another address, or is another.
    pub fn is_gone(&self, index: usize) -> bool {
        self.nodes[index].is_gone()
    }

    /// Whether a Sentinel is still to be watched. If not, it is not from now on.
    pub fn is_wanted(&mut self, index: usize) -> bool {
        match &mut self.nodes[index].named {
            Some(named) if named.is_gone => {
                named.is_watched = false;
                false
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::redis::connection::sentinel::board::tests::{Clock, at};

    // As in `updateSentinels` of ioredis, a Sentinel that is named is asked too. From here its address may lead to a stranger, which would
    // name another master.
    #[test]
    fn a_sentinel_that_is_named_counts_once_it_has_said_who_it_is() {
        let mut clock = Clock::new(1);
        clock.says(0, 1);
        assert!(clock.1.introduced(0, Some("a".to_owned())));
        for (port, id) in [(11, "x"), (21, "a"), (22, "b"), (22, "c"), (23, "b"), (24, "d")] {
            clock.1.named(at(port), id.to_owned());
        }
        let watched = clock.1.take_unwatched();
        assert_eq!(watched, [(1, at(22)), (2, at(24))]);
        assert!(clock.1.take_unwatched().is_empty());
        assert!(clock.1.introduced(1, Some("b".to_owned())));
        assert!(!clock.1.introduced(2, Some("stranger".to_owned())));
        assert!(clock.1.is_wanted(1) && !clock.1.is_wanted(2));
        assert_eq!(clock.1.nodes().count(), 2);
        // Its place is taken by the next.
        clock.1.named(at(24), "d".to_owned());
        assert_eq!(clock.1.take_unwatched(), [(2, at(24))]);
    }

    #[test]
    fn a_sentinel_that_was_named_before_the_configured_one_said_that_it_is_the_same_is_left() {
        let mut clock = Clock::new(2);
        clock.1.named(at(21), "b".to_owned());
        assert_eq!(clock.1.take_unwatched(), [(2, at(21))]);
        assert!(clock.1.introduced(2, Some("b".to_owned())));
        assert!(clock.1.introduced(1, Some("b".to_owned())));
        assert!(!clock.1.is_wanted(2));
        assert_eq!(clock.1.nodes().count(), 2);
    }

    #[test]
    fn a_named_sentinel_that_fails_is_left_while_another_answers() {
        let mut clock = Clock::new(1);
        clock.says(0, 1);
        clock.1.named(at(22), "b".to_owned());
        clock.1.named(at(23), "c".to_owned());
        clock.1.take_unwatched();
        clock.says(1, 1);
        clock.says(2, 1);
        clock.fails(2);
        assert!(!clock.1.is_wanted(2));
        clock.fails(0);
        clock.fails(1);
        assert!(
            clock.1.is_wanted(0) && clock.1.is_wanted(1),
            "nobody is left to name it"
        );
    }
}
