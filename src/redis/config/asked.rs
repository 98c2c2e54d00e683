//! What functions of the application say in place of what is configured, each time that a connection is opened.

use tokio_rustls::rustls::pki_types::ServerName;

use crate::error::{Error, Reason, Result};
use crate::redis::config::Config;
use crate::redis::credentials::Credentials;
use crate::redis::endpoint::Endpoint;
use crate::redis::provided::Provided;

impl Config {
    /// Where an address leads that a node of the cluster has told.
    pub async fn located(&self, told: &Endpoint) -> Result<Endpoint> {
        let longest = self.settings.connect_timeout;
        if let Some(provided) = self.settings.provided.as_ref().filter(|one| one.addresses) {
            let given = provided.endpoint(told, longest).await?;
            return Ok(given.unwrap_or_else(|| told.clone()));
        }
        let mut addresses = self.cluster.iter().flat_map(|cluster| &cluster.addresses);
        let known = addresses.find(|(from, _)| from == told);
        Ok(known.map_or(told, |(_, to)| to).clone())
    }

    /// The name that a function gives for the certificate of a server. Nothing without a function, or without TLS.
    pub async fn provided_server_name(&self, endpoint: &Endpoint) -> Result<Option<ServerName<'static>>> {
        let provided = self.settings.provided.as_ref().filter(|_| self.tls.is_some());
        let Some((provided, path)) = provided.and_then(|one| Some((one, one.server_name?))) else {
            return Ok(None);
        };
        let longest = self.settings.connect_timeout;
        let given = provided.server_name(path, endpoint, longest).await?;
        let unusable = |_| {
            let what = "gave what is neither a host's name nor an address";
            Error::because(Reason::Function, format!("{path}.servername() {what}"))
        };
        ServerName::try_from(given).map(Some).map_err(unusable)
    }

    /// Whether the credentials may be others at the next connection.
    pub fn asks_credentials(&self) -> bool {
        let provided = self.settings.provided.as_ref();
        provided.is_some_and(Provided::has_credentials)
    }

    /// The credentials for the next connection.
    pub async fn credentials(&self) -> Result<Credentials> {
        let configured = self.credentials.clone();
        match &self.settings.provided {
            Some(provided) if provided.has_credentials() => {
                provided
                    .credentials(configured, self.settings.connect_timeout)
                    .await
            }
            _ => Ok(configured),
        }
    }
}
