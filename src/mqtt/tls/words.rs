//! What rustls reports, in words, with the cause for those who look further.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};
use rustls_pki_types::CertificateDer;

use super::verifier::Explanation;

/// Why TLS with a broker failed, as an [`io::Error`] carries it. Prints what is wrong and what to do.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub struct TlsFailure {
    /// What it was.
    pub cause: TlsCause,
    text: String,
}

/// What TLS failed over.
#[derive(Debug, Clone)]
pub enum TlsCause {
    /// The broker's certificate is refused.
    Certificate(RefusedCertificate),
    /// What the broker sent is not TLS.
    NotTls,
    /// The broker refused, with this alert.
    Alert(AlertDescription),
    /// The broker closed the connection during the handshake.
    HungUp,
    /// The broker did not answer the handshake.
    Silent,
    /// Something else, told in the text.
    Other,
}

/// A broker's certificate that is not taken.
#[derive(Debug, Clone)]
pub struct RefusedCertificate {
    /// Why not.
    pub problem: CertificateProblem,
    /// What the broker presented: its certificate, then its issuers as far as it sent them.
    pub chain: Vec<CertificateDer<'static>>,
    /// Whether it was held against the system's roots, and not against those of a CA file.
    pub by_system_roots: bool,
    /// The same in words.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

/// Why a broker's certificate is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateProblem {
    /// It chains to no root that is trusted.
    UnknownIssuer,
    /// Its time is over.
    Expired,
    /// Its time has yet to come.
    NotYetValid,
    /// It is made out for another name.
    OtherName,
    /// It is an authority's certificate, not a server's.
    Authority,
    /// Told in the text.
    Other,
}

impl TlsFailure {
    /// A failure, with what is to be said of it.
    pub(crate) fn new(cause: TlsCause, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { cause, text }
    }

    /// The failure that an error of a stream carries, if it is one of TLS.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

/// The same error with a text that says what is wrong and what to do. rustls shows an explanation inside several
/// layers of its own types; only the words and the cause are wanted.
///
/// In TLS 1.3 a broker refuses a client's certificate when the client takes the handshake for finished, so this is for
/// the errors of later reads and writes too.
pub fn in_words(error: io::Error) -> io::Error {
    let failure = match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>())
    {
        Some(Error::InvalidCertificate(CertificateError::Other(other))) => {
            let cause = match other.0.downcast_ref::<Explanation>() {
                Some(explanation) => TlsCause::Certificate(explanation.0.clone()),
                None => TlsCause::Other,
            };
            TlsFailure::new(cause, other.0.to_string())
        }
        Some(Error::InvalidMessage(_)) => TlsFailure::new(
            TlsCause::NotTls,
            "the broker does not speak TLS on this port",
        ),
        Some(Error::AlertReceived(alert)) => {
            TlsFailure::new(TlsCause::Alert(*alert), alert_in_words(*alert))
        }
        Some(other) => TlsFailure::new(TlsCause::Other, other.to_string()),
        None => return error,
    };
    io::Error::new(error.kind(), failure)
}

/// What a broker means by an alert (RFC 8446 §6.2; for ALPN RFC 7301 §3.2).
fn alert_in_words(alert: AlertDescription) -> String {
    let meaning = match alert {
        AlertDescription::CertificateRequired => {
            "the broker demands a client certificate; name it with identity_file"
        }
        AlertDescription::UnknownCA => {
            "the broker does not trust the issuer of the client certificate (identity_file)"
        }
        AlertDescription::CertificateExpired => {
            "the broker says that the client certificate (identity_file) has expired; have a new one issued"
        }
        AlertDescription::CertificateRevoked => {
            "the broker says that the client certificate (identity_file) has been revoked; have a new one issued"
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => {
            "the broker does not accept the client certificate (identity_file), or misses one"
        }
        AlertDescription::HandshakeFailure => {
            "the broker ended the handshake: it may demand a client certificate (identity_file), or an encryption that \
             is not offered"
        }
        AlertDescription::NoApplicationProtocol => {
            "the broker takes none of the protocols in the profile's connect.alpn"
        }
        AlertDescription::UnrecognisedName => {
            "the broker is not known by this name; name the one in its certificate with server_name"
        }
        AlertDescription::ProtocolVersion => "the broker speaks neither TLS 1.2 nor TLS 1.3",
        _ => "the broker ended the connection",
    };
    format!("{meaning} (TLS alert {alert:?})")
}
