//! What functions of the application give: JavaScript is asked before each connection.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::error::{Error, Reason, Result};
use crate::redis::credentials::Credentials;
use crate::redis::endpoint::Endpoint;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    Credentials,
    /// Where the address leads that a node of a cluster has told.
    Address(Endpoint),
    /// The name in the certificate of the server at an endpoint.
    ServerName(Endpoint),
}

/// What was asked for; of an address nothing if it leads where it says.
#[derive(Debug, Default)]
pub struct ProviderAnswer {
    pub credentials: Credentials,
    pub endpoint: Option<Endpoint>,
    pub server_name: Option<String>,
}

pub trait Provider: Send + Sync {
    /// Has the answer sent, or why there is none. The sender is dropped if no answer will come.
    fn ask(&self, question: Question, answer: oneshot::Sender<std::result::Result<ProviderAnswer, String>>);
}

/// Which fields of a configuration are functions.
#[derive(Clone)]
pub struct Provided {
    /// Where they are configured.
    pub path: &'static str,
    pub username: bool,
    pub password: bool,
    /// `addressMap` of the cluster.
    pub addresses: bool,
    /// The path of the TLS options whose `servername` is one.
    pub server_name: Option<&'static str>,
    pub provider: Arc<dyn Provider>,
}

/// Equal only if the provider is the same one: functions cannot be compared.
impl PartialEq for Provided {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.provider, &other.provider)
    }
}

impl Provided {
    pub fn has_credentials(&self) -> bool {
        self.username || self.password
    }

    /// The credentials for the next connection, in place of those that are configured. An error if they do not come in time.
    pub async fn credentials(&self, configured: Credentials, longest: Duration) -> Result<Credentials> {
        let asked = self.ask(Question::Credentials, longest).await;
        let given = asked
            .map_err(|why| Error::because(Reason::Credentials, why.told_of(&self.names())))?
            .credentials;
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

    /// Where an address leads that a node has told. None if it leads where it says.
    pub async fn endpoint(&self, told: &Endpoint, longest: Duration) -> Result<Option<Endpoint>> {
        let asked = self.ask(Question::Address(told.clone()), longest).await;
        let name = format!("{}.cluster.addressMap()", self.path);
        let given = asked.map_err(|why| Error::because(Reason::Function, why.told_of(&name)))?;
        Ok(given.endpoint)
    }

    /// The name in the certificate of the server at an endpoint. `tls` is the path of the function.
    pub async fn server_name(&self, tls: &str, endpoint: &Endpoint, longest: Duration) -> Result<String> {
        let asked = self.ask(Question::ServerName(endpoint.clone()), longest).await;
        let name = format!("{tls}.servername()");
        let given = asked.map_err(|why| Error::because(Reason::Function, why.told_of(&name)))?;
        let none = || Error::because(Reason::Function, format!("{name} gave no name"));
        given.server_name.ok_or_else(none)
    }

    async fn ask(
        &self,
        question: Question,
        longest: Duration,
    ) -> std::result::Result<ProviderAnswer, Unanswered> {
        let (answer, answered) = oneshot::channel();
        self.provider.ask(question, answer);
        let given = timeout(longest, answered).await;
        given
            .map_err(|_| Unanswered::Late(longest))?
            .map_err(|_| Unanswered::Ended)?
            .map_err(Unanswered::Failed)
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

enum Unanswered {
    Late(Duration),
    Ended,
    /// Names the function itself.
    Failed(String),
}

impl Unanswered {
    fn told_of(self, name: &str) -> String {
        match self {
            Self::Late(longest) => {
                let longest = longest.as_millis();
                format!("{name} gave nothing within {longest} ms (connectTimeout)")
            }
            Self::Ended => format!("{name} cannot be asked any more: its thread has ended"),
            Self::Failed(why) => why,
        }
    }
}
