//! Who we are to the server: as the configuration says, or as is asked for before each connection.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::error::{Error, Reason, Result};
use crate::redis::config::Config;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    pub username: Option<String>,
    pub password: Option<String>,
}

/// Whoever knows credentials that change.
pub trait Source: Send + Sync {
    /// Has the credentials sent, or why there are none. Dropped if nobody is there to say.
    fn ask(&self, answer: oneshot::Sender<Result<Credentials>>);
}

/// Which of the credentials are asked for, and of whom.
#[derive(Clone)]
pub struct Asked {
    pub username: bool,
    pub password: bool,
    pub source: Arc<dyn Source>,
}

/// The same source, and not an equal one: functions cannot be compared.
impl PartialEq for Asked {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.source, &other.source)
    }
}

/// The credentials for a connection that is about to be opened. Waits for as long as for a connection.
pub async fn of(config: &Config) -> Result<Credentials> {
    let mut credentials = Credentials {
        username: config.username.clone(),
        password: config.password.clone(),
    };
    let Some(asked) = &config.asked else {
        return Ok(credentials);
    };
    let (answer, answered) = oneshot::channel();
    asked.source.ask(answer);
    let given = timeout(config.connect_timeout, answered).await;
    let none = |why: String| Error::because(Reason::Credentials, format!("{} {why}", asked.names()));
    let given = given
        .map_err(|_| {
            let timeout = config.connect_timeout.as_millis();
            none(format!("gave nothing within {timeout} ms (connectTimeout)"))
        })?
        .map_err(|_| none("cannot be asked any more: its thread has ended".to_owned()))??;
    if asked.username {
        credentials.username = given.username;
    }
    if asked.password {
        credentials.password = given.password;
    }
    Ok(credentials)
}

impl Asked {
    fn names(&self) -> &'static str {
        match (self.username, self.password) {
            (true, true) => "redis.username() or redis.password()",
            (true, false) => "redis.username()",
            _ => "redis.password()",
        }
    }
}
