//! TLS over rustls: options, and our own certificate.

pub mod errors;
pub mod trust;

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::error::{Error, Reason, Result};
use crate::redis::tls::trust::Trust;

/// As JavaScript gives it: certificates and keys in PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    pub ca: Option<String>,
    pub cert: Option<String>,
    pub key: Option<String>,
    pub servername: Option<String>,
    pub reject_unauthorized: Option<bool>,
}

pub struct Tls {
    options: TlsOptions,
    /// As configured. None for the host that is connected to.
    server_name: Option<ServerName<'static>>,
    trust: Trust,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    /// Made at the first connection: reading the system's certificates takes a while.
    config: OnceCell<Arc<ClientConfig>>,
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.options == other.options
    }
}

impl Tls {
    pub fn new(options: TlsOptions) -> Result<Self> {
        let given = options.clone();
        let server_name = options.servername.map(name).transpose()?;
        let trust = match (options.reject_unauthorized, options.ca) {
            (Some(false), _) => Trust::Anyone,
            (_, Some(pem)) => authorities(&pem)?,
            (_, None) => Trust::System,
        };
        let identity = match (options.cert, options.key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some(identity(&cert, &key)?),
            _ => {
                return Err(invalid(
                    "redis.tls: cert and key belong together: give both or none",
                ));
            }
        };
        Ok(Self {
            options: given,
            server_name,
            trust,
            identity,
            config: OnceCell::new(),
        })
    }

    /// `provided` is the name that a function gives for the certificate. An error of kind `InvalidData` means that the server or its certificate
    /// is refused.
    pub async fn wrap(
        &self,
        stream: TcpStream,
        host: &str,
        provided: Option<&ServerName<'static>>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let config = self.config.get_or_try_init(|| self.config()).await?;
        let connector = TlsConnector::from(config.clone());
        let unusable =
            |error: Error| std::io::Error::new(std::io::ErrorKind::InvalidData, error.message.clone());
        let name = match provided {
            Some(name) => name.clone(),
            None => self.name_of(host).map_err(unusable)?,
        };
        connector.connect(name, stream).await
    }

    /// The name that the certificate of a host must have.
    pub fn name_of(&self, host: &str) -> Result<ServerName<'static>> {
        match &self.server_name {
            Some(name) => Ok(name.clone()),
            None => name(host.to_owned()),
        }
    }

    async fn config(&self) -> std::io::Result<Arc<ClientConfig>> {
        let unusable = |error| std::io::Error::new(std::io::ErrorKind::InvalidData, error);
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let verifier = self.trust.verifier(&provider).await?;
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(unusable)?,
        };
        Ok(Arc::new(config))
    }
}

fn name(text: String) -> Result<ServerName<'static>> {
    ServerName::try_from(text)
        .map_err(|_| invalid("redis.tls.servername: it is neither a host's name nor an address"))
}

fn authorities(pem: &str) -> Result<Trust> {
    let given = certificates(pem, "redis.tls.ca")?;
    let mut roots = RootCertStore::empty();
    for certificate in &given {
        roots
            .add(certificate.clone())
            .map_err(|_| invalid("redis.tls.ca: a certificate cannot be read"))?;
    }
    Ok(Trust::Only { roots, given })
}

fn certificates(pem: &str, name: &str) -> Result<Vec<CertificateDer<'static>>> {
    let read: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(invalid(format!(
            "{name}: it holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"
        ))),
    }
}

/// Checks that both belong together: the server would refuse them without a reason.
fn identity(cert: &str, key: &str) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let (chain, key) = (certificates(cert, "redis.tls.cert")?, private_key(key)?);
    let checked = CertifiedKey::from_der(chain.clone(), key.clone_key(), &ring::default_provider());
    match checked {
        Ok(_) => Ok((chain, key)),
        Err(error) => Err(invalid(format!(
            "redis.tls: cert and key cannot be used: {error}"
        ))),
    }
}

fn private_key(pem: &str) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| invalid("redis.tls.key: it holds no unencrypted private key in PEM"))
}

fn invalid(message: impl Into<String>) -> Error {
    Error::because(Reason::Certificate, message.into())
}
