//! TLS towards a broker: whom to trust, as whom to connect, and errors that say what to do.
//!
//! - `verifier`: the broker's certificate; it is always verified, there is no setting against that
//! - [`in_words`], [`TlsFailure`]: what the two sides say when a handshake fails

mod verifier;
mod words;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

pub use words::{CertificateProblem, RefusedCertificate, TlsCause, TlsFailure, in_words};

use crate::identity::ClientIdentity;
use verifier::{ExplainingVerifier, Origin};

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
    /// The host cannot be a name in a certificate.
    #[error(
        "no certificate can be made out for {0:?}; name the one in the broker's with server_name"
    )]
    ServerName(String),
    /// rustls refuses the settings.
    #[error("TLS cannot be set up: {0}")]
    Settings(String),
}

/// The roots that a broker's certificate is held against, read once for all of a connector's connections.
#[derive(Debug, Clone)]
pub struct Trust(Arc<ExplainingVerifier>);

impl Trust {
    /// Reads the roots.
    pub fn new(roots: Roots<'_>) -> Result<Self, TlsError> {
        let (store, origin) = match roots {
            Roots::System => (system_roots()?, Origin::System),
            Roots::Pem { file, bytes } => (
                Arc::new(read_roots(file, bytes)?),
                Origin::File(file.to_owned()),
            ),
        };
        let webpki = WebPkiServerVerifier::builder(store)
            .build()
            .map_err(|error| settings(&error))?;
        Ok(Self(Arc::new(ExplainingVerifier { webpki, origin })))
    }
}

/// TLS 1.2 and 1.3 against these roots, with the identity that a broker may ask for, offering these protocols (ALPN,
/// RFC 7301) in this order.
///
/// Share the result among connections to one broker as one client: it holds the tickets that make a reconnect cheap.
pub fn client_config(
    trust: &Trust,
    identity: Option<&ClientIdentity>,
    alpn: &[String],
) -> Arc<ClientConfig> {
    let verifier = Arc::clone(&trust.0);
    let builder = ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(identity.resolver()),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.clone().into_bytes()).collect();
    // For one broker, and not for the 32 that rustls makes room for: each device may have a configuration of its own.
    config.resumption = Resumption::in_memory_sessions(1);
    Arc::new(config)
}

/// The name that a broker's certificate must carry, and that it is told (SNI, RFC 6066 §3) unless it is an IP address.
pub fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(host.to_owned()).map_err(|_| TlsError::ServerName(host.to_owned()))
}

fn settings(error: &dyn fmt::Display) -> TlsError {
    TlsError::Settings(error.to_string())
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
