//! What a command does to the framework's records of subscriptions: hashes of a resource each, from a subscription's id to JSON.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;

/// Before the resource, in the name of a hash of records.
const HASH: &[u8] = b"covara:subs:byres:";

#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    Write {
        hash: Arc<[u8]>,
        records: Vec<Written>,
    },
    Remove {
        hash: Arc<[u8]>,
        subscriptions: Vec<Arc<str>>,
    },
    RemoveAll {
        hashes: Vec<Arc<[u8]>>,
    },
    /// It may write records, and is none of those that the framework does it with.
    Other,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Written {
    pub subscription: Arc<str>,
    /// It has the form that is known.
    pub is_readable: bool,
}

/// Whether this is the key of a hash of records. A prefix of so many bytes is before it.
pub fn is_hash(key: &[u8], prefix: usize) -> bool {
    key.get(prefix..).is_some_and(|key| key.starts_with(HASH))
}

impl Change {
    /// What a command that writes to a hash of records changes. `words` follow its name.
    pub fn of(command: &str, prefix: usize, words: &[&[u8]]) -> Option<Self> {
        let (key, rest) = words.split_first()?;
        match command {
            "HSET" => Some(Change::Write {
                hash: (*key).into(),
                records: rest
                    .chunks_exact(2)
                    .map(|pair| Written::read(&key[prefix..], pair[0], pair[1]))
                    .collect(),
            }),
            "HDEL" => Some(Change::Remove {
                hash: (*key).into(),
                subscriptions: rest.iter().map(|field| name(field)).collect(),
            }),
            "DEL" => Some(Change::RemoveAll {
                hashes: words
                    .iter()
                    .filter(|key| is_hash(key, prefix))
                    .map(|key| (*key).into())
                    .collect(),
            }),
            "EXPIRE" => None,
            _ => Some(Change::Other),
        }
    }
}

impl Written {
    fn read(hash: &[u8], field: &[u8], json: &[u8]) -> Self {
        let is_readable = serde_json::from_slice::<Record>(json).is_ok_and(|record| {
            record.id.as_bytes() == field
                && hash.strip_prefix(HASH) == Some(record.resource.as_bytes())
                && !record.handler.is_empty()
        });
        Self {
            subscription: name(field),
            is_readable,
        }
    }
}

/// A record, as far as it says whose it is.
#[derive(Deserialize)]
struct Record<'json> {
    #[serde(borrow)]
    id: Cow<'json, str>,
    #[serde(borrow)]
    resource: Cow<'json, str>,
    #[serde(borrow, rename = "handlerId")]
    handler: Cow<'json, str>,
}

fn name(field: &[u8]) -> Arc<str> {
    String::from_utf8_lossy(field).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"app:covara:subs:byres:posts";
    const PREFIX: usize = 4;

    fn of(command: &str, words: &[&[u8]]) -> Option<Change> {
        Change::of(command, PREFIX, words)
    }

    fn is_readable(field: &str, json: &str) -> bool {
        match of("HSET", &[KEY, field.as_bytes(), json.as_bytes()]) {
            Some(Change::Write { records, .. }) => records[0].is_readable,
            _ => false,
        }
    }

    #[test]
    fn a_record_says_whose_it_is_or_is_not_understood() {
        let record = r#"{"id":"1:posts","resource":"posts","handlerId":"h","filter":"","more":[1]}"#;
        assert!(is_readable("1:posts", record));
        assert!(!is_readable("2:posts", record));
        for json in [
            r#"{"id":"1:posts","resource":"users","handlerId":"h"}"#,
            r#"{"id":"1:posts","resource":"posts"}"#,
            r#"{"id":"1:posts","resource":"posts","handlerId":""}"#,
            r#"["1:posts","posts","h"]x"#,
            "",
        ] {
            assert!(!is_readable("1:posts", json), "{json}");
        }
    }

    #[test]
    fn what_the_framework_does_is_known_and_nothing_else_is() {
        assert!(is_hash(KEY, PREFIX) && !is_hash(KEY, 0) && !is_hash(b"app", PREFIX));
        assert_eq!(
            of("HDEL", &[KEY, b"1:posts"]),
            Some(Change::Remove {
                hash: KEY.into(),
                subscriptions: vec!["1:posts".into()]
            })
        );
        assert_eq!(
            of("DEL", &[b"app:other", KEY]),
            Some(Change::RemoveAll {
                hashes: vec![KEY.into()]
            })
        );
        assert_eq!(of("EXPIRE", &[KEY, b"1"]), None);
        assert_eq!(of("SET", &[KEY, b"x"]), Some(Change::Other));
    }
}
