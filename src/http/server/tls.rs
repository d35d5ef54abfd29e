//! TLS towards clients: the listener's certificate, and whose certificates clients may show.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};

use crate::identity::{self, ClientIdentity, KeyError, Validity};

/// The protocols that are offered (ALPN, RFC 7301), the better one first.
pub(super) const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// HTTPS: TLS 1.2 and 1.3, and the same session for a client that comes back.
#[derive(Debug, Clone)]
pub struct Tls {
    pub(super) config: Arc<ServerConfig>,
    /// Whose certificates are taken, as a digest; `None` where clients show none.
    authorities: Option<[u8; 32]>,
    validity: Validity,
}

/// The issuers of client certificates.
#[derive(Debug, Clone)]
pub struct ClientAuthorities {
    roots: Arc<RootCertStore>,
    digest: [u8; 32],
    required: bool,
}

/// Why TLS cannot be set up.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] KeyError),
    /// A file without certificates.
    #[error(
        "{}: there is no certificate (PEM, \"BEGIN CERTIFICATE\") in this file", .0.display()
    )]
    NoCertificates(PathBuf),
    /// A certificate that nothing can be held against.
    #[error("{}: a certificate in it is not usable: {problem}", file.display())]
    BadCertificate {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The cryptographic library refuses.
    #[error("TLS cannot be set up: {0}")]
    Settings(String),
}

impl ClientAuthorities {
    /// Reads the authorities' certificates, PEM. With `required`, a client without a certificate is turned away in the
    /// handshake; otherwise only one whose certificate none of them issued.
    pub fn read(file: &Path, pem: &[u8], required: bool) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        let mut digest = Sha256::new();
        for certificate in identity::certificates(file, pem)? {
            digest.update(&certificate);
            roots
                .add(certificate)
                .map_err(|error| TlsError::BadCertificate {
                    file: file.to_owned(),
                    problem: error.to_string(),
                })?;
        }
        if roots.is_empty() {
            return Err(TlsError::NoCertificates(file.to_owned()));
        }
        Ok(Self {
            roots: Arc::new(roots),
            digest: digest.finalize().into(),
            required,
        })
    }
}

impl Tls {
    /// The listener goes by `identity`; without `clients` nobody is asked for a certificate.
    pub fn new(
        identity: &ClientIdentity,
        clients: Option<&ClientAuthorities>,
    ) -> Result<Self, TlsError> {
        let settings = |error: &dyn std::fmt::Display| TlsError::Settings(error.to_string());
        let builder = ServerConfig::builder();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let verifier = WebPkiClientVerifier::builder(Arc::clone(&clients.roots));
                let verifier = match clients.required {
                    true => verifier,
                    false => verifier.allow_unauthenticated(),
                };
                builder.with_client_cert_verifier(verifier.build().map_err(|e| settings(&e))?)
            }
        };
        let mut config = builder.with_cert_resolver(identity.server_resolver());
        config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        // Its keys are new with each configuration, so that no session outlives the authorities that it was begun under.
        config.ticketer = Ticketer::new().map_err(|e| settings(&e))?;
        Ok(Self {
            config: Arc::new(config),
            authorities: clients.map(|clients| clients.digest),
            validity: identity.validity(),
        })
    }

    /// When the listener's certificate is valid.
    pub(super) fn validity(&self) -> &Validity {
        &self.validity
    }

    /// Whether client certificates are from the same authorities here and there.
    pub(super) fn has_same_authorities(&self, other: Option<&Self>) -> bool {
        other.is_some_and(|other| self.authorities == other.authorities)
    }
}
