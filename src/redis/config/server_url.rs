//! The URL of a server.

use redis::IntoConnectionInfo;

use crate::error::{Error, Result};
use crate::redis::error::{invalid, no_unix_sockets};

/// redis-rs's errors name the wrong part of a URL, and show none of its text.
pub(super) fn parse(text: &str) -> Result<redis::ConnectionInfo> {
    let Some(url) = redis::parse_redis_url(text) else {
        return Err(wrong_url("Redis URL did not parse"));
    };
    let is_unix = url.scheme().ends_with("unix");
    if url.fragment().is_some() {
        return Err(wrong_url("nothing may follow a #"));
    }
    if is_unix && (!url.username().is_empty() || url.password().is_some()) {
        return Err(wrong_url(
            "the user and the password of a socket are ?user= and &pass=",
        ));
    }
    if url.port() == Some(0) {
        return Err(wrong_url("there is no port 0"));
    }
    let mut databases = Vec::new();
    for (name, value) in url.query_pairs() {
        match &*name {
            "db" => databases.push(value.parse().map_err(|_| wrong_url("Invalid database number"))?),
            "user" | "pass" if is_unix => {}
            _ => return Err(unknown_parameter(&name, url.query().unwrap_or_default())),
        }
    }
    if is_unix && cfg!(not(unix)) {
        return Err(no_unix_sockets());
    }
    let info = url
        .clone()
        .into_connection_info()
        .map_err(|error| wrong_url(error.to_string().split(" - ").next().unwrap_or_default()))?;
    let settings = info.redis_settings().clone();
    if !is_unix && !url.path().trim_matches('/').is_empty() {
        databases.push(settings.db());
    }
    let db = databases.first().copied().unwrap_or_default();
    if databases.iter().any(|other| *other != db) {
        return Err(wrong_url("it names two databases"));
    }
    if db < 0 {
        return Err(wrong_url("the number of a database is not negative"));
    }
    Ok(info.set_redis_settings(settings.set_db(db)))
}

/// Of a password that was not encoded an @ in the query may be the end, and a parameter behind it a part: then the name is not shown.
fn unknown_parameter(name: &str, query: &str) -> Error {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
    let mut pairs = query.split('&');
    let may_be_secret = pairs.any(|pair| pair == name || pair.starts_with("pass=") && name != "pass");
    if may_be_secret || query.contains('@') || !name.chars().all(is_name) {
        return unnamed_parameter();
    }
    wrong_url(&format!("the parameter {name} is not known: give it as a field"))
}

/// A parameter is not known, and its name may be a part of a password.
pub(super) fn unnamed_parameter() -> Error {
    wrong_url("its query has a parameter that is not known")
}

fn wrong_url(what: &str) -> Error {
    let form = "redis://user:password@host:6379/0, rediss://… with TLS, unix:///path?db=0, or redis+sentinel://user:password@host:26379,host:26379/name/0";
    invalid(format!("redis.url: {what}. It must be like {form}"))
}
