//! Who we are to the server: as the configuration says, or as JavaScript is asked before each connection.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::error::{Error, Reason, Result};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    pub username: Option<String>,
    pub password: Option<String>,
}

/// Knows credentials that change.
pub trait CredentialsProvider: Send + Sync {
    /// Has the credentials sent, or why there are none. The sender is dropped if no answer will come.
    fn ask(&self, answer: oneshot::Sender<Result<Credentials>>);
}

/// Which credentials a provider gives.
#[derive(Clone)]
pub struct Provided {
    /// Where they are configured.
    pub path: &'static str,
    pub username: bool,
    pub password: bool,
    pub provider: Arc<dyn CredentialsProvider>,
}

/// Equal only if the provider is the same one: functions cannot be compared.
impl PartialEq for Provided {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.provider, &other.provider)
    }
}

impl Provided {
    /// The credentials for the next connection, in place of those that are configured. An error if they do not come in time.
    pub async fn ask(&self, configured: Credentials, longest: Duration) -> Result<Credentials> {
        let (answer, answered) = oneshot::channel();
        self.provider.ask(answer);
        let given = timeout(longest, answered).await;
        let none = |why: String| Error::because(Reason::Credentials, format!("{} {why}", self.names()));
        let given = given
            .map_err(|_| {
                let longest = longest.as_millis();
                none(format!("gave nothing within {longest} ms (connectTimeout)"))
            })?
            .map_err(|_| none("cannot be asked any more: its thread has ended".to_owned()))??;
        Ok(Credentials {
            username: if self.username {
                given.username
            } else {
                configured.username
            },
            password: if self.password {
                given.password
            } else {
                configured.password
            },
        })
    }

    fn names(&self) -> String {
        let path = self.path;
        match (self.username, self.password) {
            (true, true) => format!("{path}.username() or {path}.password()"),
            (true, false) => format!("{path}.username()"),
            _ => format!("{path}.password()"),
        }
    }
}
