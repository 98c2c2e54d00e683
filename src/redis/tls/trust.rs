//! Which servers to trust: the system's authorities, those that are given, or anyone.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, RootCertStore, SignatureScheme, client,
};

use crate::redis::tls::errors::is_authority;

pub enum Trust {
    System,
    Only {
        roots: RootCertStore,
        given: Vec<CertificateDer<'static>>,
    },
    Anyone,
}

/// Whom Node.js trusts.
struct NodeRoots {
    /// In PEM.
    own: String,
    /// The file that NODE_EXTRA_CA_CERTS names.
    extra: Option<PathBuf>,
}

static NODE_ROOTS: OnceLock<NodeRoots> = OnceLock::new();

/// Read once in a process, unless a file cannot be read. An attempt to connect that is given up meanwhile leaves them to the next.
static SYSTEM_ROOTS: OnceLock<RootCertStore> = OnceLock::new();

/// Trusts Node.js's authorities too, for the whole process.
pub fn trust_as_node(own: String, extra: Option<String>) {
    let extra = extra.map(PathBuf::from);
    NODE_ROOTS.get_or_init(|| NodeRoots { own, extra });
}

impl Trust {
    pub async fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> std::io::Result<Arc<dyn ServerCertVerifier>> {
        let algorithms = provider.signature_verification_algorithms;
        let (roots, given) = match self {
            Self::Anyone => return Ok(Arc::new(AnyCertificate(algorithms))),
            Self::Only { roots, given } => (roots.clone(), given.clone()),
            Self::System => (system_roots().await?, Vec::new()),
        };
        let unusable = |_| {
            let message = "this system has no certificates of authorities: give the server's as tls.ca";
            std::io::Error::other(message)
        };
        let by_roots = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone());
        Ok(Arc::new(Authorities {
            by_roots: by_roots.build().map_err(unusable)?,
            given,
        }))
    }
}

/// The system's authorities and NODE_EXTRA_CA_CERTS. Node.js's own where the system has none, as in images without certificates.
async fn system_roots() -> std::io::Result<RootCertStore> {
    let read = || {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // A certificate that cannot be read is one that is not trusted.
        roots.add_parsable_certificates(found.certs);
        let Some(NodeRoots { own, extra }) = NODE_ROOTS.get() else {
            return (roots, false);
        };
        if roots.is_empty() {
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(own.as_bytes()).flatten());
        }
        // Node.js has warned of a file that cannot be read.
        if let Some(extra) = extra.as_ref().and_then(|file| std::fs::read(file).ok()) {
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&extra).flatten());
        }
        (roots, found.errors.is_empty())
    };
    let read_once = move || {
        if let Some(roots) = SYSTEM_ROOTS.get() {
            return roots.clone();
        }
        let (roots, is_whole) = read();
        if is_whole {
            let _ = SYSTEM_ROOTS.set(roots.clone());
        }
        roots
    };
    tokio::task::spawn_blocking(read_once)
        .await
        .map_err(std::io::Error::other)
}

/// Accepts what an authority has signed, and a given certificate itself, as OpenSSL does.
#[derive(Debug)]
struct Authorities {
    by_roots: Arc<WebPkiServerVerifier>,
    given: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// Whether webpki refuses a certificate for nothing but that it may sign others, and it was given as it is. Its time was looked at before.
    fn is_given(&self, certificate: &CertificateDer, error: &Error) -> bool {
        let Error::InvalidCertificate(CertificateError::Other(error)) = error else {
            return false;
        };
        is_authority(error) && self.given.contains(certificate)
    }
}

impl ServerCertVerifier for Authorities {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer,
        intermediates: &[CertificateDer],
        name: &ServerName,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self
            .by_roots
            .verify_server_cert(certificate, intermediates, name, ocsp, now);
        match verified {
            Err(error) if self.is_given(certificate, &error) => {
                client::verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_roots
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_roots
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_roots.supported_verify_schemes()
    }
}

/// Takes any certificate, but still wants the server to have its key. Reads no more of it than the key: it may be of X.509's version 1.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer,
        _: &[CertificateDer],
        _: &ServerName,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = key(certificate)?;
        let entity = webpki::RawPublicKeyEntity::try_from(&key).map_err(|_| unreadable())?;
        let known = self.0.mapping.iter();
        let mut algorithms = known
            .filter(|(scheme, _)| *scheme == signature.scheme)
            .flat_map(|(_, algorithms)| *algorithms)
            .peekable();
        if algorithms.peek().is_none() {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        // In TLS 1.2 a scheme does not say which curve the key is of.
        if algorithms.any(|algorithm| {
            entity
                .verify_signature(*algorithm, message, signature.signature())
                .is_ok()
        }) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        Err(CertificateError::BadSignature.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(message, &key(certificate)?, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

fn key(certificate: &CertificateDer) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
    let anchor = webpki::anchor_from_trusted_cert(certificate).map_err(|_| unreadable())?;
    Ok(webpki::spki_for_anchor(&anchor))
}

fn unreadable() -> Error {
    CertificateError::BadEncoding.into()
}
