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

/// The arguments of a command become a change of the hashes of records that it names. A prefix of so many bytes is before each key.
impl Change {
    /// Of a hash, then fields and values in turn. None without a hash.
    pub fn write(prefix: usize, args: &[&[u8]]) -> Option<Self> {
        let (key, rest) = args.split_first()?;
        let pairs = rest.chunks_exact(2);
        Some(Change::Write {
            hash: (*key).into(),
            records: pairs
                .map(|pair| Written::read(&key[prefix..], pair[0], pair[1]))
                .collect(),
        })
    }

    /// Of a hash, then fields. None without a hash.
    pub fn remove(args: &[&[u8]]) -> Option<Self> {
        let (key, fields) = args.split_first()?;
        Some(Change::Remove {
            hash: (*key).into(),
            subscriptions: fields.iter().map(|field| name(field)).collect(),
        })
    }

    /// Of keys, some of which may be hashes of records.
    pub fn remove_all(prefix: usize, keys: &[&[u8]]) -> Self {
        Change::RemoveAll {
            hashes: keys
                .iter()
                .filter(|key| is_hash(key, prefix))
                .map(|key| (*key).into())
                .collect(),
        }
    }
}

impl Written {
    fn read(hash: &[u8], field: &[u8], json: &[u8]) -> Self {
        let is_readable = serde_json::from_slice::<RecordJson>(json).is_ok_and(|record| {
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
struct RecordJson<'json> {
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

    fn is_readable(field: &str, json: &str) -> bool {
        match Change::write(PREFIX, &[KEY, field.as_bytes(), json.as_bytes()]) {
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
    fn only_hashes_of_records_count() {
        assert!(is_hash(KEY, PREFIX) && !is_hash(KEY, 0) && !is_hash(b"app", PREFIX));
        assert_eq!(
            Change::remove(&[KEY, b"1:posts"]),
            Some(Change::Remove {
                hash: KEY.into(),
                subscriptions: vec!["1:posts".into()]
            })
        );
        assert_eq!(
            Change::remove_all(PREFIX, &[b"app:other", KEY]),
            Change::RemoveAll {
                hashes: vec![KEY.into()]
            }
        );
    }
}
