//! Errors of TLS, in words.

use std::io;
use std::time::Duration;

use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::{AlertDescription, CertificateError, Error, InvalidMessage, OtherError};

use crate::error::Reason;

/// The reason and the remedy of a TLS error. None for other errors.
pub fn words(error: &io::Error) -> Option<(Reason, String)> {
    let cause = error.get_ref()?.downcast_ref::<Error>()?;
    Some((reason(cause), what(cause)))
}

fn reason(error: &Error) -> Reason {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => Reason::UnknownAuthority,
        Error::InvalidCertificate(CertificateError::Other(error)) if is_authority(error) => {
            Reason::UnknownAuthority
        }
        Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => Reason::CertificateDate,
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => Reason::CertificateName,
        Error::InvalidMessage(_) => Reason::PlainText,
        _ => Reason::Tls,
    }
}

fn what(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::NoCertificatesPresented => "the server has no certificate".to_owned(),
        Error::AlertReceived(alert) => received(*alert),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the server answers in plain text: its port has no TLS, and the url begins with redis://"
                .to_owned()
        }
        Error::PeerIncompatible(_) => {
            "the server speaks neither TLS 1.3 nor 1.2, or none of their ciphers that are known here"
                .to_owned()
        }
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. } => {
            "the server sent what does not belong to a handshake of TLS".to_owned()
        }
        other => other.to_string(),
    }
}

fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "the server's certificate is of an authority that is not known here: give the authority's certificate as tls.ca".to_owned()
        }
        CertificateError::ExpiredContext { time, not_after } => {
            format!("the server's certificate expired {} ago", between(*not_after, *time))
        }
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "the server's certificate is not valid for another {}: is the clock of this machine right?",
            between(*time, *not_before)
        ),
        CertificateError::Expired => "the server's certificate has expired".to_owned(),
        CertificateError::NotValidYet => "the server's certificate is not valid yet".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<_> = presented.iter().map(|name| plain_name(name)).collect();
            let has = if names.is_empty() {
                "it has no name (subjectAltName)".to_owned()
            } else {
                format!("it is for {}", names.join(", "))
            };
            format!(
                "the server's certificate is not for {}: {has}. tls.servername says which name to expect",
                expected.to_str()
            )
        }
        CertificateError::InvalidPurposeContext { .. } | CertificateError::InvalidPurpose => {
            "the server's certificate is not for servers (extendedKeyUsage)".to_owned()
        }
        CertificateError::BadSignature => "the server's certificate, or its handshake, is not signed as it says".to_owned(),
        CertificateError::Revoked => "the server's certificate was revoked".to_owned(),
        CertificateError::Other(error) => other(error),
        CertificateError::BadEncoding => "the server's certificate cannot be read".to_owned(),
        _ => "the server's certificate is signed in a way that is not known here".to_owned(),
    }
}

/// Whether the certificate is one that may sign others: as a rule it signed itself.
pub fn is_authority(OtherError(error): &OtherError) -> bool {
    matches!(error.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

fn other(OtherError(error): &OtherError) -> String {
    match error.downcast_ref() {
        Some(webpki::Error::CaUsedAsEndEntity) => {
            "the server's certificate is an authority's own, and not known here: give it as tls.ca"
        }
        Some(webpki::Error::UnsupportedCertVersion) => {
            "the server's certificate is of X.509's version 1, which has no names to check: it must be of version 3"
        }
        _ => "the server's certificate cannot be used",
    }
    .to_owned()
}

/// The words for the server's alert.
fn received(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => {
            "the server wants a certificate from its clients: give tls.cert and tls.key".to_owned()
        }
        AlertDescription::UnknownCA => {
            "the server does not know the authority of the certificate in tls.cert".to_owned()
        }
        AlertDescription::CertificateExpired => {
            "the server says that the certificate in tls.cert has expired".to_owned()
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown => {
            "the server does not take the certificate in tls.cert".to_owned()
        }
        AlertDescription::UnrecognisedName => {
            "the server has no certificate for this name (tls.servername)".to_owned()
        }
        AlertDescription::ProtocolVersion => "the server speaks neither TLS 1.3 nor 1.2".to_owned(),
        AlertDescription::HandshakeFailure => {
            "the server refuses the handshake: it may want a certificate (tls.cert, tls.key), or know no cipher that is known here"
                .to_owned()
        }
        other => format!("the server refuses the connection with the alert {other:?}"),
    }
}

/// As a certificate has it: webpki shows `DnsName("…")` and `IpAddress(…)`.
fn plain_name(shown: &str) -> &str {
    let inner = shown.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(shown).trim_matches('"')
}

fn between(from: UnixTime, to: UnixTime) -> String {
    let time = Duration::from_secs(to.as_secs().saturating_sub(from.as_secs()));
    let units = [("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)];
    let (name, count) = units
        .map(|(name, length)| (name, time.as_secs() / length))
        .into_iter()
        .find(|(_, count)| *count > 0)
        .unwrap_or(("second", 0));
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}
