//! Counters of the fan-out.

use std::sync::atomic::{AtomicU64, Ordering};

use napi_derive::napi;

use crate::fanout::records::Decision;
use crate::fanout::registry::{Counters, REGISTRY};
use crate::fanout::streams::{Fanout, Streams};

#[napi(object, object_from_js = false)]
pub struct NativeFanoutStats {
    pub handlers: u32,
    pub subscriptions: u32,
    pub watchers: u32,
    pub seen: f64,
    pub delivered: f64,
    pub not_local: f64,
    pub malformed: f64,
    pub overflowed: f64,
    pub gaps: f64,
}

/// The messages for the callbacks that were given to `subscribe` of a store.
#[napi(object, object_from_js = false)]
pub struct NativeStreamStats {
    pub server: String,
    #[napi(ts_type = "\"targeted\" | \"filtered\" | \"all\"")]
    pub fanout: &'static str,
    #[napi(ts_type = "\"own\" | \"all\" | \"no-record\" | \"unreadable-record\"")]
    pub delivers: &'static str,
    pub records: u32,
    pub channels: u32,
    pub refused: bool,
    pub delivered: f64,
    pub not_local: f64,
}

fn read(counter: &AtomicU64) -> f64 {
    counter.load(Ordering::Relaxed) as f64
}

pub fn fanout() -> NativeFanoutStats {
    let Counters {
        seen,
        delivered,
        not_local,
        malformed,
        overflowed,
        gaps,
    } = &REGISTRY.counters;
    NativeFanoutStats {
        handlers: REGISTRY.handler_count() as u32,
        subscriptions: REGISTRY.subscription_count() as u32,
        watchers: REGISTRY.watcher_count(None) as u32,
        seen: read(seen),
        delivered: read(delivered),
        not_local: read(not_local),
        malformed: read(malformed),
        overflowed: read(overflowed),
        gaps: read(gaps),
    }
}

pub fn streams(streams: &Streams) -> NativeStreamStats {
    let decision = streams.decision();
    let channels = streams.records.followed(streams).len();
    let state = streams.records.lock();
    NativeStreamStats {
        server: streams.config.target.to_string(),
        fanout: match streams.fanout {
            Fanout::Targeted => "targeted",
            Fanout::Filtered => "filtered",
            Fanout::All => "all",
        },
        delivers: match decision {
            Some(Decision::Filters) => "own",
            Some(Decision::NoRecord) => "no-record",
            Some(Decision::Unreadable) => "unreadable-record",
            None => "all",
        },
        records: state.count() as u32,
        channels: channels as u32,
        refused: streams.refused.load(Ordering::Relaxed),
        delivered: read(&streams.passed),
        not_local: read(&streams.dropped),
    }
}
