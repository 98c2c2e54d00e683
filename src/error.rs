//! The error of every layer: a stable code and a text. What Redis would refuse carries Redis's own text.

use std::borrow::Cow;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub code: Cow<'static, str>,
    pub message: Cow<'static, str>,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error that Redis replies with: its code is the first word of its text.
    pub fn reply(text: impl Into<Cow<'static, str>>) -> Self {
        let message = text.into();
        let code = match &message {
            Cow::Borrowed(text) => Cow::Borrowed(first_word(text)),
            Cow::Owned(text) => Cow::Owned(first_word(text).to_owned()),
        };
        Self { code, message }
    }

    /// An error of ours, for which Redis has no reply.
    pub fn ours(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code: Cow::Borrowed(code),
            message: message.into(),
        }
    }

    pub fn wrong_type() -> Self {
        Self::reply("WRONGTYPE Operation against a key holding the wrong kind of value")
    }

    pub fn syntax() -> Self {
        Self::reply("ERR syntax error")
    }

    pub fn not_an_integer() -> Self {
        Self::reply("ERR value is not an integer or out of range")
    }

    pub fn not_a_float() -> Self {
        Self::reply("ERR value is not a valid float")
    }
}

fn first_word(text: &str) -> &str {
    text.split(' ').next().unwrap_or(text)
}
