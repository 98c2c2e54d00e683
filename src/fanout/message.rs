//! The messages between instances: `{"type", "subscriptionId", "event"}` on one channel, `{"resource"}` on the other.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

/// Finds the owner of an event, and the event's own JSON. Reading ends at `subscriptionId` if `find` does not know it.
pub fn event<T>(text: &[u8], find: impl FnOnce(&str) -> Option<T>) -> Result<Option<(T, &str)>, Malformed> {
    let mut find = Some(find);
    let mut found = Found::default();
    let mut owner = None;
    let complete = read(text, "subscriptionId", &mut found, |id| {
        owner = find.take().and_then(|find| find(id));
        owner.is_some()
    });
    match (complete, owner, found.event) {
        (true, Some(owner), Some(event)) => Ok(Some((owner, event))),
        (false, None, _) if found.is_unwanted => Ok(None),
        _ => Err(Malformed),
    }
}

/// Whether an event may be for a subscription that `has` knows. An event without a readable subscription may be.
pub fn may_be_for(text: &[u8], has: impl Fn(&str) -> bool) -> bool {
    if let Some(subscription) = plain_subscription(text) {
        return has(subscription);
    }
    let mut is_known = true;
    read(text, "subscriptionId", &mut Found::default(), |id| {
        is_known = has(id);
        false
    });
    is_known
}

/// Fast parse of the subscription id in the framework's JSON form. Stopping serde early costs more than the whole parse.
pub fn plain_subscription(text: &[u8]) -> Option<&str> {
    let rest = text.strip_prefix(br#"{"type":""#)?;
    let kind = rest
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')?;
    let rest = rest[kind..].strip_prefix(br#"","subscriptionId":""#)?;
    let subscription = &rest[..memchr::memchr2(b'"', b'\\', rest)?];
    let is_whole = rest[subscription.len()] == b'"' && !subscription.iter().any(u8::is_ascii_control);
    std::str::from_utf8(subscription).ok().filter(|_| is_whole)
}

/// The resource that has changed.
pub fn aggregate(text: &[u8]) -> Result<String, Malformed> {
    let mut resource = None;
    let complete = read(text, "resource", &mut Found::default(), |name| {
        resource = Some(name.to_owned());
        true
    });
    resource.filter(|_| complete).ok_or(Malformed)
}

#[derive(Default)]
struct Found<'text> {
    event: Option<&'text str>,
    /// Reading has ended early.
    is_unwanted: bool,
}

/// Reads an object. `name` is the field whose value `wants` is asked about. False unless all of it was read.
fn read<'text>(
    text: &'text [u8],
    name: &'static str,
    found: &mut Found<'text>,
    wants: impl FnMut(&str) -> bool,
) -> bool {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let object = Object { name, found, wants };
    object.deserialize(&mut deserializer).is_ok() && deserializer.end().is_ok()
}

struct Object<'a, 'text, F> {
    name: &'static str,
    found: &'a mut Found<'text>,
    wants: F,
}

impl<'text, F: FnMut(&str) -> bool> DeserializeSeed<'text> for Object<'_, 'text, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'text>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'text, F: FnMut(&str) -> bool> Visitor<'text> for Object<'_, 'text, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'text>>(mut self, mut fields: A) -> Result<(), A::Error> {
        while let Some(JsonText(field)) = fields.next_key()? {
            if field == self.name {
                let JsonText(value) = fields.next_value()?;
                if !(self.wants)(&value) {
                    self.found.is_unwanted = true;
                    return Err(A::Error::custom("not for anyone here"));
                }
            } else if field == "event" {
                self.found.event = Some(fields.next_value::<&RawValue>()?.get());
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// A string, which is copied only if it has escapes.
#[derive(Deserialize)]
struct JsonText<'text>(#[serde(borrow)] Cow<'text, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str) -> Result<Option<(String, &str)>, Malformed> {
        event(text.as_bytes(), |id| (id != "far").then(|| id.to_owned()))
    }

    #[test]
    fn an_event_is_handed_over_as_the_text_it_came_as() {
        let text = r#"{"type":"added","subscriptionId":"a:\u0062","event": {"x" : [1, "é\ud83d\ude00"]} }"#;
        let found = find(text).unwrap().unwrap();
        assert_eq!(found, ("a:b".to_owned(), r#"{"x" : [1, "é\ud83d\ude00"]}"#));
        let other_order = r#"{"event":{},"more":{"event":1},"subscriptionId":"a"}"#;
        assert_eq!(find(other_order), Ok(Some(("a".to_owned(), "{}"))));
    }

    #[test]
    fn reading_ends_where_it_is_known_to_be_for_nobody() {
        assert_eq!(find(r#"{"subscriptionId":"far","event":{"#), Ok(None));
        assert_eq!(
            find(r#"{"type":"added","subscriptionId":"far" nonsense"#),
            Ok(None)
        );
    }

    #[test]
    fn what_does_not_say_whom_it_is_for_may_be_for_anyone() {
        for (text, expected) in [
            (r#"{"type":"added","subscriptionId":"far","event":{}}"#, false),
            (
                r#"{"event":{"subscriptionId":"near"},"subscriptionId":"far" nonsense"#,
                false,
            ),
            (r#"{"type":"added","subscriptionId":"near" nonsense"#, true),
            (
                r#"{"type":"added","subscriptionId":"ne\u0061r","event":{}}"#,
                true,
            ),
            (r#"{"type":"added", "subscriptionId":"far","event":{}}"#, false),
            (r#"{"type":"added","subscriptionId":"far"#, true),
            (r#"{"subscriptionId":1}"#, true),
            ("far", true),
        ] {
            assert_eq!(may_be_for(text.as_bytes(), |id| id == "near"), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_message_is_malformed() {
        for text in [
            "",
            "null",
            "[]",
            r#"["added","a",{}]"#,
            "{}",
            r#"{"event":{}}"#,
            r#"{"subscriptionId":1,"event":{}}"#,
            r#"{"subscriptionId":"a"}"#,
            r#"{"subscriptionId":"a","event":{}"#,
            r#"{"subscriptionId":"a","event":{}} x"#,
            r#"{"subscriptionId":"a","event":{x}}"#,
            r#"{"subscriptionId":"\ud800","event":{}}"#,
        ] {
            assert_eq!(find(text), Err(Malformed), "{text}");
        }
        assert_eq!(
            event(b"{\"subscriptionId\":\"\xff\"}", |_| Some(())),
            Err(Malformed)
        );
    }

    #[test]
    fn a_resource_is_read() {
        assert_eq!(aggregate(br#"{"resource":"users"}"#), Ok("users".to_owned()));
        assert_eq!(
            aggregate(br#"{"at":1,"resource":"users"}"#),
            Ok("users".to_owned())
        );
        for text in [
            "{}",
            r#"{"resource":1}"#,
            r#"["users"]"#,
            r#"{"resource":"users""#,
        ] {
            assert_eq!(aggregate(text.as_bytes()), Err(Malformed), "{text}");
        }
    }
}
