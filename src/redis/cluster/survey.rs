//! Asks one node of a cluster what it is. `covara-kv cluster` asks each of them.

use std::sync::Arc;

use bytes::Bytes;

use crate::redis::config::Config;
use crate::redis::connection::failure::Failure;
use crate::redis::connection::query::{query, query_node};
use crate::redis::endpoint::Endpoint;
use crate::redis::pipeline::in_flight::ServerRole;
use crate::redis::protocol::encode;

/// Connects to a node, and gives an array of its version, its role, the microseconds of a round trip, and its reply to a command.
pub async fn ask(
    config: &Arc<Config>,
    node: &Endpoint,
    is_told: bool,
    command: &[String],
) -> Result<Bytes, Failure> {
    let config = match &config.cluster {
        Some(_) => config.clone(),
        // Even a store of one server asks a node of a cluster as such.
        None => Arc::new(config.as_cluster()),
    };
    let words: Vec<_> = command.iter().map(|word| word.as_bytes()).collect();
    let command = encode::command(&words);
    let (established, reply) = match is_told {
        true => query_node(&config, node, &command).await?,
        false => query(&config, node, &command).await?,
    };
    let server = established.server;
    let role = match server.role {
        ServerRole::Master => "master",
        ServerRole::Replica => "replica",
        ServerRole::Unknown => "",
    };
    let round_trip = established.round_trip.as_micros().to_string();
    let mut told = Vec::new();
    encode::begin(&mut told, 4);
    for word in [server.version.as_deref().unwrap_or_default(), role, &round_trip] {
        encode::word(&mut told, word.as_bytes());
    }
    told.extend_from_slice(&reply);
    Ok(told.into())
}
