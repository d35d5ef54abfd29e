//! TLS towards a broker, with verification errors that say what to do.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_cert::der::Decode;

/// Whose certificates a broker's certificate may chain to.
#[derive(Debug, Clone, Copy)]
pub enum Roots<'a> {
    /// The system's root certificates.
    System,
    /// The certificates of this PEM file, and no others.
    Pem {
        /// Where it was read from, for messages.
        file: &'a Path,
        /// Its content.
        bytes: &'a [u8],
    },
}

/// Why TLS cannot be set up.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TlsError {
    /// No root certificates on this system.
    #[error(
        "this system has no root certificates; install the package ca-certificates, or name a file with ca_file"
    )]
    NoSystemRoots,
    /// A CA file without certificates.
    #[error("{0}: there is no certificate (PEM, \"BEGIN CERTIFICATE\") in this file")]
    NoCertificates(PathBuf),
    /// A CA file with something that is not a certificate.
    #[error("{file}: {problem}")]
    BadCertificate {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// rustls refuses the settings.
    #[error("TLS cannot be set up: {0}")]
    Settings(String),
}

/// TLS 1.2 and 1.3 with these roots. Share the result: it also holds the tickets that make a reconnect cheap.
pub fn client_config(roots: Roots<'_>) -> Result<Arc<ClientConfig>, TlsError> {
    let (store, origin) = match roots {
        Roots::System => (system_roots()?, Origin::System),
        Roots::Pem { file, bytes } => (
            Arc::new(read_roots(file, bytes)?),
            Origin::File(file.to_owned()),
        ),
    };
    let settings = |error: &dyn fmt::Display| TlsError::Settings(error.to_string());
    let webpki = WebPkiServerVerifier::builder(store)
        .build()
        .map_err(|e| settings(&e))?;
    let verifier = Arc::new(ExplainingVerifier { webpki, origin });
    let config = ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn system_roots() -> Result<Arc<RootCertStore>, TlsError> {
    static STORE: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let store = STORE.get_or_init(|| {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(store)
    });
    if store.is_empty() {
        Err(TlsError::NoSystemRoots)
    } else {
        Ok(Arc::clone(store))
    }
}

fn read_roots(file: &Path, bytes: &[u8]) -> Result<RootCertStore, TlsError> {
    let bad = |problem: String| TlsError::BadCertificate {
        file: file.to_owned(),
        problem,
    };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        let certificate = certificate.map_err(|e| bad(format!("not readable as PEM: {e}")))?;
        store
            .add(certificate)
            .map_err(|e| bad(format!("a certificate in it is not usable: {e}")))?;
    }
    if store.is_empty() {
        Err(TlsError::NoCertificates(file.to_owned()))
    } else {
        Ok(store)
    }
}

#[derive(Debug, Clone)]
enum Origin {
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

/// Leaves every decision to webpki, and puts its refusals into words.
#[derive(Debug)]
struct ExplainingVerifier {
    webpki: Arc<WebPkiServerVerifier>,
    origin: Origin,
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
            format!("{who} is not made out for the name {host}; connect by a name that is in it")
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            format!(
                "{who} is not made out for the name {host}, only for: {}",
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
