//! The error of every layer: a stable code and a text. What Redis would refuse carries Redis's own text.

use std::borrow::Cow;
use std::ops::Deref;

/// Boxed: every result on the hot path is as large as its error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<Failure>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: Cow<'static, str>,
    pub message: Cow<'static, str>,
    /// What led to it.
    pub cause: Option<Error>,
}

impl Deref for Error {
    type Target = Failure;

    fn deref(&self) -> &Failure {
        &self.0
    }
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
        Self(Box::new(Failure {
            code,
            message,
            cause: None,
        }))
    }

    /// An error of ours, for which Redis has no reply.
    pub fn ours(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Failure {
            code: Cow::Borrowed(code),
            message: message.into(),
            cause: None,
        }))
    }

    pub fn caused_by(mut self, cause: Self) -> Self {
        self.0.cause = Some(cause);
        self
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
