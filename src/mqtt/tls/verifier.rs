//! Verification of a broker's certificate: webpki decides, and its refusals are put into words.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_cert::der::Decode;

/// Which roots a certificate was held against.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    System,
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("this system's root certificates"),
            Self::File(file) => write!(f, "the certificates in {}", file.display()),
        }
    }
}

/// What to do about a certificate of another name.
const OTHER_NAME: &str = "connect by a name that is in it, or, if it is the right broker, name that one with server_name";

/// Leaves every decision to webpki, and puts its refusals into words.
#[derive(Debug)]
pub(super) struct ExplainingVerifier {
    pub(super) webpki: Arc<WebPkiServerVerifier>,
    pub(super) origin: Origin,
}

/// A refusal in words, as rustls carries it to the caller.
#[derive(Debug)]
struct Explanation(String);

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Explanation {}

impl ServerCertVerifier for ExplainingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.webpki
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|error| {
                let rustls::Error::InvalidCertificate(error) = error else {
                    return error;
                };
                let text = explain(&error, end_entity, intermediates, server_name, &self.origin);
                rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(
                    Explanation(text),
                ))))
            })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

fn explain(
    error: &CertificateError,
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    server_name: &ServerName<'_>,
    origin: &Origin,
) -> String {
    let host = server_name.to_str();
    let (subject, own_issuer) = names(end_entity);
    let who = format!("the certificate of {host} ({subject})");
    match error {
        CertificateError::UnknownIssuer => {
            let issuer = intermediates.last().map_or(own_issuer, |top| names(top).1);
            format!(
                "{who} is not trusted: its chain ends at the issuer {issuer}, which is not among {origin}; \
                 get that issuer's root certificate and name it with ca_file"
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!(
                "{who} has expired{}; also check this machine's clock",
                validity(end_entity, Bound::End)
            )
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!(
                "{who} is not valid yet{}; also check this machine's clock",
                validity(end_entity, Bound::Start)
            )
        }
        CertificateError::NotValidForName => {
            format!("{who} is not made out for the name {host}; {OTHER_NAME}")
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            format!(
                "{who} is not made out for the name {host}, only for: {}; {OTHER_NAME}",
                presented.join(", ")
            )
        }
        CertificateError::BadEncoding => format!("{who} is not readable"),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!("{who} is not meant for servers")
        }
        CertificateError::Revoked => format!("{who} has been revoked"),
        other => format!("{who} is not acceptable: {other:?}"),
    }
}

/// Subject and issuer as RFC 4514 writes them.
fn names(certificate: &CertificateDer<'_>) -> (String, String) {
    match x509_cert::Certificate::from_der(certificate) {
        Ok(parsed) => {
            let body = parsed.tbs_certificate();
            (body.subject().to_string(), body.issuer().to_string())
        }
        Err(_) => ("unreadable".to_owned(), "unreadable".to_owned()),
    }
}

#[derive(Clone, Copy)]
enum Bound {
    Start,
    End,
}

fn validity(certificate: &CertificateDer<'_>, bound: Bound) -> String {
    let Ok(parsed) = x509_cert::Certificate::from_der(certificate) else {
        return String::new();
    };
    let validity = parsed.tbs_certificate().validity();
    match bound {
        Bound::Start => format!(" (valid from {})", validity.not_before),
        Bound::End => format!(" (valid until {})", validity.not_after),
    }
}
