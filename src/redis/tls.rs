//! TLS over rustls: whom to trust, and who we are.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::{Error, Reason, Result};

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
    server_name: ServerName<'static>,
    trust: Trust,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    /// Made at the first connection: reading the system's certificates takes a while.
    config: OnceCell<Arc<ClientConfig>>,
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.server_name == other.server_name && self.options == other.options
    }
}

enum Trust {
    System,
    Only(RootCertStore),
    Anyone,
}

impl Tls {
    pub fn new(options: TlsOptions, host: &str) -> Result<Self> {
        let given = options.clone();
        let name = options.servername.unwrap_or_else(|| host.to_owned());
        let server_name = ServerName::try_from(name)
            .map_err(|_| invalid("redis.tls.servername: it is neither a host's name nor an address"))?;
        let trust = match (options.reject_unauthorized, options.ca) {
            (Some(false), _) => Trust::Anyone,
            (_, Some(pem)) => Trust::Only(roots(&pem)?),
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

    /// An error of kind `InvalidData` means that the server, or its certificate, will not do.
    pub async fn wrap(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let config = self.config.get_or_try_init(|| self.config()).await?;
        let connector = TlsConnector::from(config.clone());
        connector.connect(self.server_name.clone(), stream).await
    }

    async fn config(&self) -> std::io::Result<Arc<ClientConfig>> {
        let unusable = |error| std::io::Error::new(std::io::ErrorKind::InvalidData, error);
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let builder = match &self.trust {
            Trust::Anyone => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
            Trust::Only(roots) => builder.with_root_certificates(roots.clone()),
            Trust::System => builder.with_root_certificates(system_roots().await?),
        };
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(unusable)?,
        };
        Ok(Arc::new(config))
    }
}

async fn system_roots() -> std::io::Result<RootCertStore> {
    let read = || {
        let mut roots = RootCertStore::empty();
        // A certificate that cannot be read is one that is not trusted.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    };
    tokio::task::spawn_blocking(read)
        .await
        .map_err(std::io::Error::other)
}

fn roots(pem: &str) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, "redis.tls.ca")? {
        roots
            .add(certificate)
            .map_err(|error| invalid(format!("redis.tls.ca: a certificate cannot be used: {error}")))?;
    }
    Ok(roots)
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

/// The server would refuse what does not belong together, without saying why.
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

/// Why a handshake failed.
pub fn reason_of(error: &std::io::Error) -> Reason {
    use rustls::CertificateError as Certificate;
    let error = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<rustls::Error>());
    match error {
        Some(rustls::Error::InvalidCertificate(certificate)) => match certificate {
            Certificate::UnknownIssuer => Reason::UnknownAuthority,
            Certificate::Expired
            | Certificate::ExpiredContext { .. }
            | Certificate::NotValidYet
            | Certificate::NotValidYetContext { .. } => Reason::CertificateDate,
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                Reason::CertificateName
            }
            _ => Reason::Tls,
        },
        Some(rustls::Error::InvalidMessage(_)) => Reason::PlainText,
        _ => Reason::Tls,
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::because(Reason::Certificate, message.into())
}

/// Takes any certificate, but still wants the server to have its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer,
        _: &[CertificateDer],
        _: &ServerName,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
