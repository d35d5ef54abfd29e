//! Why a TLS handshake failed, in words that name what is to be seen to.

use std::borrow::Cow;
use std::io;

use rustls::{AlertDescription, CertificateError, Error};

pub(super) fn in_words(error: &io::Error) -> Cow<'static, str> {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(Error::NoCertificatesPresented) => {
            "the client has shown no certificate, and http.client_certificates demands one".into()
        }
        Some(Error::InvalidCertificate(error)) => of_certificate(error),
        Some(Error::AlertReceived(alert)) => of_alert(*alert),
        Some(Error::PeerIncompatible(_)) => {
            format!("the client offers nothing that is taken here: {error}").into()
        }
        _ => error.to_string().into(),
    }
}

/// A client's certificate that was refused here.
fn of_certificate(error: &CertificateError) -> Cow<'static, str> {
    match error {
        CertificateError::UnknownIssuer => {
            "none of the authorities in http.client_ca_file issued the client's certificate".into()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the client's certificate has expired".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the client's certificate is not valid yet; are both clocks right?".into()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the client's certificate is not meant for clients: its extended key usage needs clientAuth".into()
        }
        CertificateError::Other(other) => of_other(&other.to_string()),
        other => format!("the client's certificate is not acceptable: {other}").into(),
    }
}

/// What the verifier says in names of its own. Both are what openssl(1) makes when it is told little.
fn of_other(name: &str) -> Cow<'static, str> {
    match name {
        "UnsupportedCertVersion" => {
            "the client's certificate is of X.509 version 1; have one of version 3 issued, with an extension such as \
             extendedKeyUsage=clientAuth"
                .into()
        }
        "CaUsedAsEndEntity" => {
            "the client shows an authority's certificate (CA:TRUE); have one issued for it that is none, with \
             basicConstraints=CA:FALSE"
                .into()
        }
        other => format!("the client's certificate is not acceptable: {other}").into(),
    }
}

/// What a client says of this listener (RFC 8446 §6.2).
fn of_alert(alert: AlertDescription) -> Cow<'static, str> {
    let meaning = match alert {
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown => {
            "the client does not trust this listener's certificate, or misses its own name for the listener in it"
        }
        AlertDescription::CertificateExpired => {
            "the client says that this listener's certificate has expired"
        }
        _ => "the client ended the handshake",
    };
    format!("{meaning} (TLS alert {alert:?})").into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::OtherError;

    use super::*;

    #[test]
    fn what_is_to_be_seen_to_is_named() {
        let other = |name: &'static str| {
            let error = Arc::new(io::Error::other(name));
            Error::InvalidCertificate(CertificateError::Other(OtherError(error)))
        };
        let words =
            |error| in_words(&io::Error::new(io::ErrorKind::InvalidData, error)).into_owned();
        for (error, part) in [
            (Error::NoCertificatesPresented, "client_certificates"),
            (
                Error::InvalidCertificate(CertificateError::UnknownIssuer),
                "client_ca_file",
            ),
            (other("CaUsedAsEndEntity"), "CA:FALSE"),
            (other("UnsupportedCertVersion"), "version 3"),
            (other("Unheard"), "not acceptable: Unheard"),
            (
                Error::AlertReceived(AlertDescription::UnknownCA),
                "does not trust this listener's certificate",
            ),
            (Error::HandshakeNotComplete, "handshake not complete"),
        ] {
            let words = words(error);
            assert!(words.contains(part), "{words}");
        }
    }
}
