//! What rustls reports, in words.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// The same error with a text that says what is wrong and what to do. rustls shows an explanation inside several
/// layers of its own types; only the words are wanted.
///
/// In TLS 1.3 a broker refuses a client's certificate when the client takes the handshake for finished, so this is for
/// the errors of later reads and writes too.
pub fn in_words(error: io::Error) -> io::Error {
    let words = match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>())
    {
        Some(Error::InvalidCertificate(CertificateError::Other(other))) => other.0.to_string(),
        Some(Error::InvalidMessage(_)) => "the broker does not speak TLS on this port".to_owned(),
        Some(Error::AlertReceived(alert)) => alert_in_words(*alert),
        Some(other) => other.to_string(),
        None => return error,
    };
    io::Error::new(error.kind(), words)
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
