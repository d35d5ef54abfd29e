//! X.509 certificates out of PEM files, and what a client needs to know of its own.

use std::mem;
use std::path::Path;
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;
use x509_cert::der::Decode as _;

use super::error::KeyError;
use super::pem::{self, Block};

/// Every certificate of a PEM file, in its order; other blocks are skipped. A file without any gives an empty list.
pub fn certificates(file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, KeyError> {
    let blocks = pem::blocks(pem).map_err(|problem| problem.in_file(file))?;
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

/// A certificate taken apart.
pub(super) struct Certificate {
    der: CertificateDer<'static>,
    parsed: x509_cert::Certificate,
}

impl Certificate {
    pub(super) fn parse(der: CertificateDer<'static>) -> Option<Self> {
        let parsed = x509_cert::Certificate::from_der(&der).ok()?;
        Some(Self { der, parsed })
    }

    pub(super) fn into_der(self) -> CertificateDer<'static> {
        self.der
    }

    /// The subject's name as RFC 4514 writes it: `CN=a,O=b`.
    pub(super) fn subject(&self) -> String {
        self.parsed.tbs_certificate().subject().to_string()
    }

    /// The public key's bits, without its algorithm.
    pub(super) fn public_key(&self) -> Option<&[u8]> {
        let spki = self.parsed.tbs_certificate().subject_public_key_info();
        spki.subject_public_key.as_bytes()
    }

    /// The first and the last moment at which it is valid.
    pub(super) fn validity(&self) -> (SystemTime, SystemTime) {
        let validity = self.parsed.tbs_certificate().validity();
        (
            validity.not_before.to_system_time(),
            validity.not_after.to_system_time(),
        )
    }

    fn is_issued_by(&self, other: &Self) -> bool {
        self.parsed.tbs_certificate().issuer() == other.parsed.tbs_certificate().subject()
    }
}

/// `leaf` and, from among the others in whatever order, its issuer, that one's issuer, and so on, as TLS sends them
/// (RFC 8446 §4.4.2). Certificates that have no part in it are left out.
pub(super) fn chain(leaf: Certificate, mut others: Vec<Certificate>) -> Vec<Certificate> {
    let mut chain = Vec::new();
    let mut last = leaf;
    while let Some(index) = others.iter().position(|other| last.is_issued_by(other)) {
        let issuer = others.swap_remove(index);
        chain.push(mem::replace(&mut last, issuer));
    }
    chain.push(last);
    chain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::ClientIdentity;
    use crate::identity::handshake::Authority;
    use crate::identity::openssl::{Bench, named};

    #[test]
    fn the_chain_is_put_in_order() {
        let bench = Bench::new();
        let authority = Authority::new(&bench);
        bench.run(
            "req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout middle.key -out middle.csr -subj /CN=Middle",
        );
        bench.write("middle.ext", "basicConstraints=critical,CA:TRUE");
        bench.run("x509 -req -in middle.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 365 -extfile middle.ext -out middle.pem");
        bench.run(
            "req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout device.key -out device.csr -subj /CN=device",
        );
        bench.write("device.ext", "extendedKeyUsage=clientAuth");
        bench.run("x509 -req -in device.csr -CA middle.pem -CAkey middle.key -CAcreateserial -days 365 -extfile device.ext -out device.pem");
        bench.concat(
            "all.pem",
            &[
                "ca.pem",
                "middle.pem",
                "server.pem",
                "device.pem",
                "device.key",
            ],
        );
        let all = bench.read("all.pem");
        let now = SystemTime::now();
        let read = ClientIdentity::read(named("all.pem"), &all, None, None, now);
        let (identity, _) = read.expect("it is read");
        let expected = ["device.pem", "middle.pem", "ca.pem"].map(|name| {
            let found = certificates(named(name), &bench.read(name));
            found.expect(name).remove(0)
        });
        assert_eq!(identity.chain(), expected);
        assert_eq!(authority.shake_hands(&identity), Ok(expected.to_vec()));
    }
}
