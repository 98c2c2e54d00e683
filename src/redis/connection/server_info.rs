//! Parses HELLO, ROLE and INFO replies.

use crate::redis::pipeline::in_flight::{Server, ServerRole};
use crate::reply::Reply;

/// HELLO's reply has fields and values in turn.
pub fn from_hello(hello: &Reply) -> Server {
    let items = match hello {
        Reply::Array(items) => &items[..],
        _ => &[],
    };
    let field = |name: &[u8]| {
        let pair = items.chunks(2).find(|pair| pair[0] == Reply::bulk(name));
        match pair.and_then(|pair| pair.get(1)) {
            Some(Reply::Bulk(value)) => Some(String::from_utf8_lossy(value).into_owned()),
            _ => None,
        }
    };
    Server {
        resp: 3,
        software: field(b"server"),
        version: field(b"version"),
        mode: field(b"mode"),
        role: match field(b"role").as_deref() {
            Some("master") => ServerRole::Master,
            Some("replica") => ServerRole::Replica,
            _ => ServerRole::Unknown,
        },
    }
}

/// From the replies to ROLE and INFO, by the commands' names.
pub fn from_commands(replies: Vec<(&str, Reply)>) -> Server {
    let mut server = Server {
        resp: 2,
        ..Server::default()
    };
    for (command, reply) in replies {
        match (command, reply) {
            ("ROLE", reply) => {
                server.role = role_of(&reply);
                if begins_with(&reply, b"sentinel") {
                    server.mode = Some("sentinel".to_owned());
                }
            }
            ("INFO", Reply::Bulk(info)) if has_line(&info, "cluster_enabled:1") => {
                server.mode = Some("cluster".to_owned());
            }
            _ => {}
        }
    }
    server
}

/// Whether the text of INFO has a line.
pub fn has_line(info: &[u8], line: &str) -> bool {
    let mut lines = info.split(|byte| *byte == b'\n');
    lines.any(|other| other.trim_ascii_end() == line.as_bytes())
}

fn begins_with(reply: &Reply, name: &[u8]) -> bool {
    matches!(reply, Reply::Array(items) if items.first() == Some(&Reply::bulk(name)))
}

/// ROLE's reply begins with its name.
fn role_of(reply: &Reply) -> ServerRole {
    match reply {
        reply if begins_with(reply, b"master") => ServerRole::Master,
        reply if begins_with(reply, b"slave") => ServerRole::Replica,
        _ => ServerRole::Unknown,
    }
}
