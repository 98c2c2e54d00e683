//! The state and the events of a connection, as JavaScript objects.

use std::time::{Instant, SystemTime};

use napi_derive::napi;

use crate::addon::since_epoch;
use crate::redis::completions::{Event, Gap};
use crate::redis::connection::sentinel::board::KnownSentinel;
use crate::redis::pipeline::Health;
use crate::redis::pipeline::in_flight::{Server, ServerRole};
use crate::redis::request::Role;
use crate::redis::request::TopicKind;

/// What the server has replied to HELLO or INFO.
#[napi(object, object_from_js = false)]
pub struct RedisServer {
    pub resp: u32,
    pub version: Option<String>,
    pub mode: Option<String>,
    #[napi(ts_type = "\"master\" | \"replica\"")]
    pub role: Option<&'static str>,
}

/// The state of a connection. Times are in ms since the epoch.
#[napi(object, object_from_js = false)]
pub struct RedisHealth {
    /// Whether it is a subscribing connection.
    pub subscribes: bool,
    pub is_ready: bool,
    pub node: Option<String>,
    pub since: f64,
    pub last_heard: Option<f64>,
    pub in_flight: u32,
    pub waiting: u32,
    pub attempt: u32,
    pub code: Option<String>,
    pub message: Option<String>,
}

/// What a Sentinel says, or why it cannot be asked.
#[napi(object, object_from_js = false)]
pub struct RedisSentinel {
    pub node: String,
    /// How long its last answer took, in ms.
    pub latency: Option<f64>,
    /// The master that it names.
    pub master: Option<String>,
    pub code: Option<String>,
    pub message: Option<String>,
}

/// What happened to a connection. Times are in ms, those of a gap since the epoch.
#[napi(
    discriminant = "name",
    discriminant_case = "lowercase",
    object_from_js = false
)]
pub enum RedisEvent {
    /// `subscribes`: whether it is the subscribing connection, here and below.
    Ready { subscribes: bool, node: String },
    Reconnecting {
        subscribes: bool,
        attempt: u32,
        delay: f64,
        code: String,
        message: String,
        /// Where it led; absent if it never had a server.
        node: Option<String>,
    },
    /// The server refused to restore a subscription.
    Unsubscribed {
        is_pattern: bool,
        topic: String,
        code: String,
        message: String,
    },
    Gap {
        from: f64,
        to: f64,
        node: Option<String>,
    },
}

pub fn server(server: &Server) -> RedisServer {
    RedisServer {
        resp: server.resp,
        version: server.version.clone(),
        mode: server.mode.clone(),
        role: match server.role {
            ServerRole::Master => Some("master"),
            ServerRole::Replica => Some("replica"),
            ServerRole::Unknown => None,
        },
    }
}

pub fn gap(gap: Gap) -> RedisEvent {
    RedisEvent::Gap {
        from: since_epoch(gap.from),
        to: since_epoch(gap.to),
        node: gap.node.map(|node| node.to_string()),
    }
}

pub fn event(event: Event) -> Option<RedisEvent> {
    match event {
        Event::Ready { role, node } => Some(RedisEvent::Ready {
            subscribes: role == Role::Subscriptions,
            node: node.to_string(),
        }),
        Event::Unsubscribed { topic, error } => Some(RedisEvent::Unsubscribed {
            is_pattern: topic.kind == TopicKind::Pattern,
            topic: String::from_utf8_lossy(&topic.name).into_owned(),
            code: error.tag().into_owned(),
            message: error.message.to_string(),
        }),
        Event::Reconnecting {
            role,
            node,
            attempt,
            delay,
            cause,
        } => Some(RedisEvent::Reconnecting {
            subscribes: role == Role::Subscriptions,
            attempt,
            delay: delay.as_millis() as f64,
            code: cause.tag().into_owned(),
            message: cause.message.to_string(),
            node: node.map(|node| node.to_string()),
        }),
        Event::ClusterFound => None,
    }
}

pub fn health(health: Health) -> RedisHealth {
    let ago = |time: Instant| since_epoch(SystemTime::now() - time.elapsed());
    RedisHealth {
        subscribes: health.role == Role::Subscriptions,
        is_ready: health.is_ready,
        node: health.node.map(|node| node.to_string()),
        since: ago(health.since),
        last_heard: health.heard.map(ago),
        in_flight: health.in_flight as u32,
        waiting: health.waiting as u32,
        attempt: health.failures,
        code: health.cause.as_ref().map(|cause| cause.tag().into_owned()),
        message: health.cause.map(|cause| cause.message.to_string()),
    }
}

pub fn sentinel(node: KnownSentinel) -> RedisSentinel {
    let failure = node.failure.map(|(error, _)| error);
    let says = node.says.flatten().filter(|_| failure.is_none());
    RedisSentinel {
        node: node.endpoint.to_string(),
        latency: node.latency.map(|latency| latency.as_secs_f64() * 1_000.0),
        master: says.map(|master| master.to_string()),
        code: failure.as_ref().map(|error| error.tag().into_owned()),
        message: failure.map(|error| error.message.to_string()),
    }
}
