//! The URL of a master that Sentinels know: `redis+sentinel://user:password@host:26379,host:26379/name/0`, with the master's user, password
//! and database. `rediss+sentinel:` has TLS with both.

use crate::error::{Error, Result};
use crate::redis::config::server_url;
use crate::redis::error::invalid;

const DEFAULT_PORT: u16 = 26379;

/// What such a URL says.
#[derive(Debug, PartialEq, Eq)]
pub struct SentinelUrl {
    /// A URL that says of a server what this one says of the master, but for its address.
    pub server_url: String,
    pub name: String,
    pub nodes: Vec<(String, u16)>,
    pub username: Option<String>,
    pub password: Option<String>,
}

/// Nothing for a URL of a server.
pub fn parse(url: &str) -> Result<Option<SentinelUrl>> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Ok(None);
    };
    let scheme = match &*scheme.to_ascii_lowercase() {
        "redis+sentinel" | "valkey+sentinel" => "redis",
        "rediss+sentinel" | "valkeys+sentinel" => "rediss",
        _ => return Ok(None),
    };
    if rest.contains('#') {
        return Err(wrong("nothing may follow a #"));
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (name, db) = path.split_once('/').unwrap_or((path, ""));
    let name = decoded(name)?;
    if name.is_empty() {
        return Err(wrong("it names no master"));
    }
    let nodes = hosts.split(',').map(node).collect::<Result<Vec<_>>>()?;
    let (mut username, mut password, mut others) = (None, None, Vec::new());
    // An & that was not encoded ends it too early: what follows must not be shown.
    let has_password = query.split('&').any(|pair| pair.starts_with("sentinelPassword="));
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match key {
            "sentinelUsername" => username = Some(decoded(value)?),
            "sentinelPassword" => password = Some(decoded(value)?),
            "db" | "" => others.push(pair),
            _ if has_password => return Err(server_url::unnamed_parameter()),
            _ => others.push(pair),
        }
    }
    let is_given = |text: &String| !text.is_empty();
    Ok(Some(SentinelUrl {
        server_url: format!("{scheme}://{user}@master/{db}?{}", others.join("&")),
        name,
        nodes,
        username: username.filter(is_given),
        password: password.filter(is_given),
    }))
}

fn node(host: &str) -> Result<(String, u16)> {
    let wrong = || wrong("the address of a Sentinel is none");
    let url = redis::parse_redis_url(&format!("redis://{host}")).ok_or_else(wrong)?;
    match url.host_str() {
        Some(name) if !name.is_empty() && !host.contains('@') && url.port() != Some(0) => {
            let name = name.trim_start_matches('[').trim_end_matches(']');
            Ok((name.to_owned(), url.port().unwrap_or(DEFAULT_PORT)))
        }
        _ => Err(wrong()),
    }
}

/// Percent-encoded text.
fn decoded(text: &str) -> Result<String> {
    let text = text.replace('+', "%2B");
    let url = redis::parse_redis_url(&format!("redis://host/?text={text}"));
    let url = url.ok_or_else(|| wrong("a part of it cannot be read"))?;
    let pair = url.query_pairs().next();
    let text = pair.map(|(_, text)| text.into_owned()).unwrap_or_default();
    if text.contains(['\0', '\u{fffd}']) {
        return Err(wrong("a part of it is no text"));
    }
    Ok(text)
}

fn wrong(what: &str) -> Error {
    let form = "redis+sentinel://user:password@host:26379,host:26379/name/0, or rediss+sentinel://… with TLS";
    invalid(format!("redis.url: {what}. It must be like {form}"))
}
