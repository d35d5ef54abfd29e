//! The demo's own certificate authority, and what it signs.

use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::FolderError;
use super::files::{Readers, read, write};

/// The CA's certificate: what a client of the demo's broker trusts.
pub(super) const CA_FILE: &str = "ca.pem";
const CA_KEY_FILE: &str = "ca.key.pem";
const SERVER_FILE: &str = "server.pem";
const SERVER_KEY_FILE: &str = "server.key.pem";

/// The names under which the broker is reached.
const SERVER_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The demo's CA.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Made just now: what an earlier one signed is worth nothing.
    pub(super) new: bool,
}

/// What the broker's TLS listeners show and demand.
pub struct Servers {
    /// No client certificate is asked for.
    pub for_anybody: Arc<ServerConfig>,
    /// A client certificate of the demo's CA is demanded.
    pub for_certificates: Arc<ServerConfig>,
}

/// A certificate and its key, both PEM.
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Authority {
    /// Makes or reads the CA of a folder.
    pub(super) fn open(dir: &Path) -> Result<Self, FolderError> {
        let mut params = params("Causeway demo CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let old = read_pair(dir, CA_FILE, CA_KEY_FILE)?;
        let new = old.is_none();
        let key = match old {
            Some(pair) => KeyPair::from_pem(&pair.key)
                .map_err(|error| FolderError::damaged(&dir.join(CA_KEY_FILE), error))?,
            None => {
                let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
                let pair = Pair {
                    certificate: params.self_signed(&key)?.pem(),
                    key: key.serialize_pem(),
                };
                write_pair(dir, CA_FILE, CA_KEY_FILE, &pair)?;
                key
            }
        };
        Ok(Self {
            issuer: Issuer::new(params, key),
            new,
        })
    }

    /// Makes or reads the broker's certificate, for TLS 1.2 and 1.3: with it, a listener for anybody, and one that
    /// demands a client certificate of this CA.
    pub(super) fn servers(&self, dir: &Path) -> Result<Servers, FolderError> {
        let old = match self.new {
            true => None,
            false => read_pair(dir, SERVER_FILE, SERVER_KEY_FILE)?,
        };
        let pair = match old {
            Some(pair) => pair,
            None => {
                let pair = self.issue_server()?;
                write_pair(dir, SERVER_FILE, SERVER_KEY_FILE, &pair)?;
                pair
            }
        };
        let file = dir.join(SERVER_FILE);
        let damaged = |error: &dyn std::fmt::Display| FolderError::damaged(&file, error);
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(pair.certificate.as_bytes()).collect();
        let chain = chain.map_err(|error| damaged(&error))?;
        let key =
            PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).map_err(|error| damaged(&error))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = self.client_verifier(dir, provider.clone())?;
        let builder = || {
            ServerConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()
                .map_err(|error| damaged(&error))
        };
        let for_anybody = builder()?.with_no_client_auth();
        let for_certificates = builder()?.with_client_cert_verifier(verifier);
        let (copy, key_copy) = (chain.clone(), key.clone_key());
        Ok(Servers {
            for_anybody: for_anybody
                .with_single_cert(chain, key)
                .map(Arc::new)
                .map_err(|error| damaged(&error))?,
            for_certificates: for_certificates
                .with_single_cert(copy, key_copy)
                .map(Arc::new)
                .map_err(|error| damaged(&error))?,
        })
    }

    /// Signs a client certificate for this name.
    pub(super) fn issue_client(&self, name: &str, key: &KeyPair) -> Result<String, FolderError> {
        let mut params = params(name);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Ok(params.signed_by(key, &self.issuer)?.pem())
    }

    fn client_verifier(
        &self,
        dir: &Path,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, FolderError> {
        let file = dir.join(CA_FILE);
        let damaged = |error: &dyn std::fmt::Display| FolderError::damaged(&file, error);
        let ca = CertificateDer::from_pem_file(&file).map_err(|error| damaged(&error))?;
        let mut roots = RootCertStore::empty();
        roots.add(ca).map_err(|error| damaged(&error))?;
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| damaged(&error))
    }

    fn issue_server(&self) -> Result<Pair, FolderError> {
        let mut params = params("localhost");
        let names = CertificateParams::new(SERVER_NAMES.map(str::to_owned))?;
        params.subject_alt_names = names.subject_alt_names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        Ok(Pair {
            certificate: params.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

/// A name, and dates far away: a demo's folder is found again after years.
fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2049, 12, 31);
    params
}

/// Both or nothing: one alone is of no use.
fn read_pair(dir: &Path, certificate: &str, key: &str) -> Result<Option<Pair>, FolderError> {
    let (certificate, key) = (read(&dir.join(certificate))?, read(&dir.join(key))?);
    Ok(certificate
        .zip(key)
        .map(|(certificate, key)| Pair { certificate, key }))
}

fn write_pair(dir: &Path, certificate: &str, key: &str, pair: &Pair) -> Result<(), FolderError> {
    write(&dir.join(key), Readers::Owner, &pair.key)?;
    write(&dir.join(certificate), Readers::All, &pair.certificate)
}
