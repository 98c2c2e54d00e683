//! The echoes of this process's own messages. Its watchers are told of a change before it is published, and not again when it comes back.

use std::collections::HashMap;

/// Counts expected echoes for each resource: its messages are all alike, so that any of them may be taken for the echo.
#[derive(Default)]
pub struct Echoes {
    expected: HashMap<String, usize>,
    /// The number of the connection. Echoes expected of an earlier one will not come.
    connection: u32,
}

impl Echoes {
    /// A message is about to be published. Gives what `cancel` needs.
    pub fn expect(&mut self, resource: &str) -> u32 {
        *self.expected.entry(resource.to_owned()).or_default() += 1;
        self.connection
    }

    /// The message may not have been published. True if another one was taken for its echo: the watchers must still be told of that one.
    pub fn cancel(&mut self, resource: &str, connection: u32) -> bool {
        connection == self.connection && !self.hear(resource)
    }

    /// Whether a message that came in is taken for an echo.
    pub fn hear(&mut self, resource: &str) -> bool {
        let Some(count) = self.expected.get_mut(resource) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            self.expected.remove(resource);
        }
        true
    }

    /// The connection was lost.
    pub fn clear(&mut self) {
        self.expected.clear();
        self.connection = self.connection.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_of_our_own_is_heard_once_less() {
        let mut echoes = Echoes::default();
        echoes.expect("a");
        echoes.expect("a");
        let heard: Vec<_> = ["a", "b", "a", "a"].map(|resource| echoes.hear(resource)).into();
        assert_eq!(heard, [true, false, true, false]);
    }

    /// Otherwise another instance's message is taken for the echo of one that has never been published, and its change is lost.
    #[test]
    fn what_was_not_published_has_no_echo() {
        let mut echoes = Echoes::default();
        let first = echoes.expect("a");
        assert!(!echoes.cancel("a", first));
        assert!(!echoes.hear("a"));
        let second = echoes.expect("a");
        assert!(echoes.hear("a"));
        assert!(echoes.cancel("a", second));
    }

    #[test]
    fn a_lost_connection_brings_no_echo() {
        let mut echoes = Echoes::default();
        let before = echoes.expect("a");
        echoes.clear();
        assert!(!echoes.hear("a"));
        assert!(!echoes.cancel("a", before));
    }
}
