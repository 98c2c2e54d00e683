//! Notices for a thread, beside its items.

use napi_derive::napi;

use crate::addon::since_epoch;
use crate::fanout::item::Notice;
use crate::redis::completions::Gap;

/// Times are in ms, those of a gap since the epoch.
#[napi(
    discriminant = "name",
    discriminant_case = "lowercase",
    object_from_js = false
)]
pub enum FanoutNotice {
    /// A handler of this thread, by its token, was unregistered or replaced by another thread.
    Gone {
        id: u32,
    },
    /// The answer to `confirm`: a failure if there is a code.
    Answer {
        id: u32,
        code: Option<String>,
        message: Option<String>,
    },
    /// A channel could not be subscribed. `first` is false for a repeated failure.
    Failed {
        first: bool,
        code: String,
        message: String,
    },
    Reconnecting {
        attempt: u32,
        delay: f64,
        code: String,
        message: String,
    },
    Gap {
        from: f64,
        to: f64,
    },
    /// Messages were dropped, the first of them then.
    Overflow {
        from: f64,
    },
}

pub fn notice(notice: Notice) -> FanoutNotice {
    match notice {
        Notice::Gone(id) => FanoutNotice::Gone { id },
        Notice::Answer(id, error) => FanoutNotice::Answer {
            id,
            code: error.as_ref().map(|error| error.tag().into_owned()),
            message: error.map(|error| error.message.to_string()),
        },
        Notice::Failed { error, first } => FanoutNotice::Failed {
            first,
            code: error.tag().into_owned(),
            message: error.message.to_string(),
        },
        Notice::Reconnecting {
            attempt,
            delay,
            cause,
        } => FanoutNotice::Reconnecting {
            attempt,
            delay: delay.as_millis() as f64,
            code: cause.tag().into_owned(),
            message: cause.message.to_string(),
        },
        Notice::Gap(Gap { from, to, .. }) => FanoutNotice::Gap {
            from: since_epoch(from),
            to: since_epoch(to),
        },
        Notice::Overflow(since) => FanoutNotice::Overflow {
            from: since_epoch(since),
        },
    }
}
