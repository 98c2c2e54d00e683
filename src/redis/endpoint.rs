//! Where a connection leads. A connection is given its endpoint beside the configuration, so that connections to several servers
//! can share one configuration.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// An endpoint as events name it.
pub type EndpointName = Arc<str>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// As errors name it.
impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(formatter, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(formatter, "{host}:{port}"),
            Self::Unix(path) => write!(formatter, "{}", path.display()),
        }
    }
}
