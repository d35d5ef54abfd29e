//! X.509 certificates out of PEM files.

use std::path::Path;

use rustls_pki_types::CertificateDer;

use super::error::{KeyError, KeyProblem};
use super::pem::{self, Block};

/// Every certificate of a PEM file, in its order; other blocks are skipped. A file without any gives an empty list.
pub fn certificates(file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, KeyError> {
    let blocks = pem::blocks(pem).map_err(|problem: KeyProblem| problem.in_file(file))?;
    Ok(of_blocks(&blocks))
}

pub(super) fn of_blocks(blocks: &[Block]) -> Vec<CertificateDer<'static>> {
    blocks
        .iter()
        .filter(|block| is_certificate(block))
        .map(|block| CertificateDer::from(block.der.to_vec()))
        .collect()
}

pub(super) fn is_certificate(block: &Block) -> bool {
    matches!(block.label.as_str(), "CERTIFICATE" | "X509 CERTIFICATE")
}
