//! One question to a server, over a connection of its own.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::time::timeout;

use crate::error::Reason;
use crate::redis::config::{Config, Target};
use crate::redis::connection::connect::{Connector, Opened};
use crate::redis::connection::failure::Failure;
use crate::redis::connection::transport::Transport;
use crate::redis::endpoint::Endpoint;
use crate::redis::pipeline::in_flight::Established;
use crate::redis::protocol::reply_end::Scanner;

/// The most bytes of a reply: CLUSTER SLOTS of a thousand masters takes a few hundred KB.
const LONGEST: usize = 16 << 20;

/// Connects, sends a command, and gives who has answered, and the reply.
pub async fn query(
    config: &Arc<Config>,
    endpoint: &Endpoint,
    command: &[u8],
) -> Result<(Established, Bytes), Failure> {
    let opened = Connector::new(config.clone()).open(endpoint).await?;
    converse(config, endpoint, opened, command).await
}

/// The same with a node of a cluster, by the address that nodes tell.
pub async fn query_node(
    config: &Arc<Config>,
    told: &Endpoint,
    command: &[u8],
) -> Result<(Established, Bytes), Failure> {
    let endpoint = config.located(told).await.map_err(Failure::passing)?;
    let connector = Connector::of(config.clone(), &Target::Node(told.clone()));
    let opened = connector.open(&endpoint).await?;
    converse(config, &endpoint, opened, command).await
}

async fn converse(
    config: &Config,
    endpoint: &Endpoint,
    (mut transport, established): Opened,
    command: &[u8],
) -> Result<(Established, Bytes), Failure> {
    let longest = config.settings.connect_timeout;
    let reply = timeout(longest, ask(&mut transport, endpoint, command)).await;
    let reply = reply.unwrap_or_else(|_| {
        let longest = longest.as_millis();
        let message = format!("{endpoint} did not answer within {longest} ms (connectTimeout)");
        Err(Failure::temporary(Reason::NoAnswer, message))
    });
    transport.close().await;
    Ok((established, reply?))
}

async fn ask(transport: &mut Transport, endpoint: &Endpoint, command: &[u8]) -> Result<Bytes, Failure> {
    let mut unsent = Bytes::copy_from_slice(command);
    while !unsent.is_empty() {
        let written = transport.write(&unsent).await;
        unsent.advance(written.map_err(|error| Failure::broken(endpoint, &error, false))?);
    }
    let mut scanner = Scanner::default();
    loop {
        let end = scanner.end(&transport.buffer);
        if let Ok(Some(end)) = end {
            return Ok(transport.buffer.split_to(end).freeze());
        }
        if end.is_err() || transport.buffer.len() > LONGEST {
            let message = format!("{endpoint} sent what is not Redis's protocol");
            return Err(Failure::temporary(Reason::Protocol, message));
        }
        transport.buffer.reserve(4 << 10);
        let read = transport.read().await;
        if read.map_err(|error| Failure::broken(endpoint, &error, false))? == 0 {
            let message = format!("{endpoint} closed the connection in place of an answer");
            return Err(Failure::temporary(Reason::ClosedAtOnce, message));
        }
    }
}
