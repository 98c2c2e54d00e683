//! What JavaScript is told of a connection.

use std::time::{Instant, SystemTime};

use napi_derive::napi;

use crate::addon::since_epoch;
use crate::error::Error;
use crate::redis::completions::{Event, Gap};
use crate::redis::connection::sentinel::SentinelStatus;
use crate::redis::pipeline::Health;
use crate::redis::pipeline::in_flight::{Server, ServerRole};
use crate::redis::request::Kind;
use crate::redis::request::Role;

/// What the server has said of itself.
#[napi(object, object_from_js = false)]
pub struct RedisServer {
    pub resp: u32,
    pub version: Option<String>,
    pub mode: Option<String>,
    #[napi(ts_type = "\"master\" | \"replica\"")]
    pub role: Option<&'static str>,
}

/// How a connection does. Times are in ms since the epoch.
#[napi(object, object_from_js = false)]
pub struct RedisHealth {
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

/// What a listener of the store is to be told.
#[napi(object, object_from_js = false)]
pub struct RedisEvent {
    #[napi(ts_type = "\"ready\" | \"reconnecting\" | \"unsubscribed\" | \"gap\"")]
    pub name: &'static str,
    /// Whether it happened to the subscribing connection.
    pub subscribes: bool,
    pub node: Option<String>,
    pub attempt: Option<u32>,
    pub delay: Option<f64>,
    pub code: Option<String>,
    pub message: Option<String>,
    pub is_pattern: Option<bool>,
    pub topic: Option<String>,
    /// In ms since the epoch.
    pub from: Option<f64>,
    pub to: Option<f64>,
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
    RedisEvent {
        from: Some(since_epoch(gap.from)),
        to: Some(since_epoch(gap.to)),
        node: gap.node.map(|node| node.to_string()),
        ..named("gap")
    }
}

pub fn event(event: Event) -> Option<RedisEvent> {
    let failure = |name, error: Error| RedisEvent {
        code: Some(error.tag().into_owned()),
        message: Some(error.message.to_string()),
        ..named(name)
    };
    match event {
        Event::Ready { role, node } => Some(RedisEvent {
            subscribes: matches!(role, Role::Subscriptions),
            node: Some(node.to_string()),
            ..named("ready")
        }),
        Event::Unsubscribed { topic, error } => Some(RedisEvent {
            is_pattern: Some(topic.kind == Kind::Pattern),
            topic: Some(String::from_utf8_lossy(&topic.name).into_owned()),
            ..failure("unsubscribed", error)
        }),
        Event::Reconnecting {
            role,
            node,
            attempt,
            delay,
            cause,
        } => Some(RedisEvent {
            node: node.map(|node| node.to_string()),
            subscribes: matches!(role, Role::Subscriptions),
            attempt: Some(attempt),
            delay: Some(delay.as_millis() as f64),
            ..failure("reconnecting", cause)
        }),
    }
}

pub fn health(health: Health) -> RedisHealth {
    let ago = |time: Instant| since_epoch(SystemTime::now() - time.elapsed());
    RedisHealth {
        is_ready: health.is_ready,
        node: health.node.map(|node| node.to_string()),
        since: ago(health.since),
        last_heard: health.heard.map(ago),
        in_flight: health.in_flight as u32,
        waiting: health.waiting as u32,
        attempt: health.attempt,
        code: health.cause.as_ref().map(|cause| cause.tag().into_owned()),
        message: health.cause.map(|cause| cause.message.to_string()),
    }
}

pub fn sentinel(SentinelStatus { endpoint, node }: SentinelStatus) -> RedisSentinel {
    let failure = node.failure.map(|(error, _)| error);
    let says = node.says.flatten().filter(|_| failure.is_none());
    RedisSentinel {
        node: endpoint.to_string(),
        latency: node.latency.map(|latency| latency.as_secs_f64() * 1_000.0),
        master: says.map(|master| master.to_string()),
        code: failure.as_ref().map(|error| error.tag().into_owned()),
        message: failure.map(|error| error.message.to_string()),
    }
}

fn named(name: &'static str) -> RedisEvent {
    RedisEvent {
        name,
        subscribes: false,
        node: None,
        attempt: None,
        delay: None,
        code: None,
        message: None,
        is_pattern: None,
        topic: None,
        from: None,
        to: None,
    }
}
