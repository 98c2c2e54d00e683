//! Logs what connections and the fan-out do to standard error: `COVARA_KV_DEBUG=redis,fanout`.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// A part of the package whose lines are printed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// States of connections, handshakes, reconnections and subscriptions.
    Redis,
    /// Channels of the fleet, gaps, and decisions of the filter.
    Fanout,
}

const AREAS: [(Area, &str); 2] = [(Area::Redis, "redis"), (Area::Fanout, "fanout")];

static ON: LazyLock<[bool; AREAS.len()]> =
    LazyLock::new(|| areas(&std::env::var("COVARA_KV_DEBUG").unwrap_or_default()));

/// Prints a line if its area is on. A line must not hold a value, a message or a password.
pub fn trace<T: Display>(area: Area, text: impl FnOnce() -> T) {
    if is_on(area) {
        let name = AREAS[area as usize].1;
        // Standard error may be closed, which is no failure of a store.
        let _ = writeln!(io::stderr(), "{} covara-kv:{name} {}", time(), text());
    }
}

pub fn is_on(area: Area) -> bool {
    ON[area as usize]
}

/// Ignores unknown names, which another version may have.
fn areas(names: &str) -> [bool; AREAS.len()] {
    AREAS.map(|(_, area)| {
        names
            .split(',')
            .map(str::trim)
            .any(|name| name == area || name == "*")
    })
}

/// The time of day, in UTC.
fn time() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, milliseconds) = (now.as_secs(), now.subsec_millis());
    let (hours, minutes) = (seconds / 3_600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{milliseconds:03}Z", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_named_in_a_list() {
        for (names, expected) in [
            ("", [false, false]),
            ("redis", [true, false]),
            (" redis , fanout", [true, true]),
            ("fanout,other", [false, true]),
            ("redisfanout", [false, false]),
            ("*", [true, true]),
        ] {
            assert_eq!(areas(names), expected, "{names}");
        }
    }
}
