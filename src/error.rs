//! The error of every layer: a stable code and a text. An error that Redis has too has Redis's text.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;

/// Boxed, as a result on the hot path is as large as its error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<ErrorDetails>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorDetails {
    pub code: Cow<'static, str>,
    /// Which of the causes of its code it has.
    pub reason: Option<Reason>,
    pub message: Cow<'static, str>,
    /// What led to it.
    pub cause: Option<Error>,
    /// The node of a cluster that was to run the command, and the slot of its keys.
    pub node: Option<Arc<str>>,
    pub slot: Option<u16>,
    /// The results of a transaction of which a part has failed: each as it came in, or its error.
    pub results: Vec<Result<Bytes>>,
}

/// A cause of an error, for codes with several: docs/errors.md describes each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Refused,
    Unreachable,
    UnknownHost,
    NoAnswer,
    ClosedAtOnce,
    Tls,
    UnknownAuthority,
    CertificateDate,
    CertificateName,
    PlainText,
    NeedsTls,
    NotRedis,
    NotReady,
    Credentials,
    Function,
    NoSentinel,
    UnknownMaster,
    Lost,
    LostTwice,
    Ended,
    Silent,
    Replaced,
    Protocol,
    ReplyTooLarge,
    Internal,
    CommandTimeout,
    QueueTimeout,
    Behind,
    Script,
    Disconnected,
    Unanswered,
    Address,
    Certificate,
    Sentinel,
    Cluster,
    OtherStrict,
    UnixSocket,
}

impl Reason {
    /// The code, and the name of the cause.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Refused => ("CONNECTION", "refused"),
            Self::Unreachable => ("CONNECTION", "unreachable"),
            Self::UnknownHost => ("CONNECTION", "unknown-host"),
            Self::NoAnswer => ("CONNECTION", "no-answer"),
            Self::ClosedAtOnce => ("CONNECTION", "closed-at-once"),
            Self::Tls => ("CONNECTION", "tls"),
            Self::UnknownAuthority => ("CONNECTION", "unknown-authority"),
            Self::CertificateDate => ("CONNECTION", "certificate-date"),
            Self::CertificateName => ("CONNECTION", "certificate-name"),
            Self::PlainText => ("CONNECTION", "plain-text"),
            Self::NeedsTls => ("CONNECTION", "needs-tls"),
            Self::NotRedis => ("CONNECTION", "not-redis"),
            Self::NotReady => ("CONNECTION", "not-ready"),
            Self::Credentials => ("CONNECTION", "credentials"),
            Self::Function => ("CONNECTION", "function"),
            Self::NoSentinel => ("CONNECTION", "no-sentinel"),
            Self::UnknownMaster => ("CONNECTION", "unknown-master"),
            Self::Lost => ("CONNECTION", "lost"),
            Self::LostTwice => ("CONNECTION", "lost-twice"),
            Self::Ended => ("CONNECTION", "ended"),
            Self::Silent => ("CONNECTION", "silent"),
            Self::Replaced => ("CONNECTION", "replaced"),
            Self::Protocol => ("CONNECTION", "protocol"),
            Self::ReplyTooLarge => ("CONNECTION", "reply-too-large"),
            Self::Internal => ("CONNECTION", "internal"),
            Self::CommandTimeout => ("TIMEOUT", "command-timeout"),
            Self::QueueTimeout => ("TIMEOUT", "queue-timeout"),
            Self::Behind => ("TIMEOUT", "behind"),
            Self::Script => ("TIMEOUT", "script"),
            Self::Disconnected => ("CLOSED", "disconnected"),
            Self::Unanswered => ("CLOSED", "unanswered"),
            Self::Address => ("CONFIG", "address"),
            Self::Certificate => ("CONFIG", "certificate"),
            Self::Sentinel => ("CONFIG", "sentinel"),
            Self::Cluster => ("CONFIG", "cluster"),
            Self::OtherStrict => ("CONFIG", "other-strict"),
            Self::UnixSocket => ("UNSUPPORTED", "unix-socket"),
        }
    }
}

impl Deref for Error {
    type Target = ErrorDetails;

    fn deref(&self) -> &ErrorDetails {
        &self.0
    }
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error reply of Redis: its code is the first word of its text.
    pub fn reply(text: impl Into<Cow<'static, str>>) -> Self {
        let message = text.into();
        let code = match &message {
            Cow::Borrowed(text) => Cow::Borrowed(first_word(text)),
            Cow::Owned(text) => Cow::Owned(first_word(text).to_owned()),
        };
        Self::new(code, None, message)
    }

    /// An error that Redis does not have, with a code that has one cause.
    pub fn ours(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Cow::Borrowed(code), None, message.into())
    }

    /// An error that Redis does not have, by its cause, which fixes the code.
    pub fn because(reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Cow::Borrowed(reason.names().0), Some(reason), message.into())
    }

    fn new(code: Cow<'static, str>, reason: Option<Reason>, message: Cow<'static, str>) -> Self {
        Self(Box::new(ErrorDetails {
            code,
            reason,
            message,
            cause: None,
            node: None,
            slot: None,
            results: Vec::new(),
        }))
    }

    pub fn caused_by(mut self, cause: Self) -> Self {
        self.0.cause = Some(cause);
        self
    }

    /// The error of a command of a cluster. Its message says where too, unless it is the server's own.
    pub fn at(mut self, node: Option<&str>, slot: Option<u16>) -> Self {
        let is_told = self.node.is_some() || self.slot.is_some();
        let is_ours = self.reason.is_some() || self.code == "QUEUE_FULL";
        if is_told || (node.is_none() && slot.is_none()) {
            return self;
        }
        if is_ours {
            let places = slot.map(|slot| format!("slot {slot}"));
            let places: Vec<_> = places.into_iter().chain(node.map(str::to_owned)).collect();
            self.0.message = format!("{} ({})", self.message, places.join(", ")).into();
        }
        self.0.node = node.map(Arc::from);
        self.0.slot = slot;
        self
    }

    /// Whether the command of this error may have been run: it was sent, and had no reply.
    pub fn leaves_open(&self) -> bool {
        matches!(
            self.reason,
            Some(
                Reason::Lost
                    | Reason::CommandTimeout
                    | Reason::Unanswered
                    | Reason::ReplyTooLarge
                    | Reason::Protocol
                    | Reason::Internal
            )
        )
    }

    /// The error of a transaction of which other parts have results.
    pub fn with_results(mut self, results: Vec<Result<Bytes>>) -> Self {
        self.0.results = results;
        self
    }

    /// The same error in other words.
    pub fn with_message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.0.message = message.into();
        self
    }

    /// The code, and behind a space the reason where there is one: what JavaScript is told. No code has a space.
    pub fn tag(&self) -> Cow<'_, str> {
        match self.reason.map(Reason::names) {
            Some((code, reason)) => Cow::Owned(format!("{code} {reason}")),
            None => Cow::Borrowed(&self.code),
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
