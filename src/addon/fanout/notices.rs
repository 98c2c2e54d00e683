//! What a thread is told beside its items.

use napi_derive::napi;

use crate::addon::since_epoch;
use crate::fanout::item::Notice;
use crate::redis::completions::Gap;

#[napi(object, object_from_js = false)]
pub struct FanoutNotice {
    #[napi(ts_type = "\"gone\" | \"answer\" | \"failed\" | \"reconnecting\" | \"gap\" | \"overflow\"")]
    pub name: &'static str,
    /// The token of a handler, or the id of a question.
    pub id: Option<u32>,
    /// It is not failing for long already.
    pub first: Option<bool>,
    pub code: Option<String>,
    pub message: Option<String>,
    pub attempt: Option<u32>,
    /// In ms.
    pub delay: Option<f64>,
    /// In ms since the epoch.
    pub from: Option<f64>,
    pub to: Option<f64>,
}

pub fn notice(notice: Notice) -> FanoutNotice {
    let named = |name| FanoutNotice {
        name,
        id: None,
        first: None,
        code: None,
        message: None,
        attempt: None,
        delay: None,
        from: None,
        to: None,
    };
    match notice {
        Notice::Gone(token) => FanoutNotice {
            id: Some(token),
            ..named("gone")
        },
        Notice::Answer(id, error) => FanoutNotice {
            id: Some(id),
            code: error.as_ref().map(|error| error.tag().into_owned()),
            message: error.map(|error| error.message.to_string()),
            ..named("answer")
        },
        Notice::Failed { error, first } => FanoutNotice {
            first: Some(first),
            code: Some(error.tag().into_owned()),
            message: Some(error.message.to_string()),
            ..named("failed")
        },
        Notice::Reconnecting {
            attempt,
            delay,
            cause,
        } => FanoutNotice {
            attempt: Some(attempt),
            delay: Some(delay.as_millis() as f64),
            code: Some(cause.tag().into_owned()),
            message: Some(cause.message.to_string()),
            ..named("reconnecting")
        },
        Notice::Gap(Gap { from, to, .. }) => FanoutNotice {
            from: Some(since_epoch(from)),
            to: Some(since_epoch(to)),
            ..named("gap")
        },
        Notice::Overflow(since) => FanoutNotice {
            from: Some(since_epoch(since)),
            ..named("overflow")
        },
    }
}
