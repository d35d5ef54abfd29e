//! X.509 certificates out of PEM files, and what they say.

use std::mem;
use std::net::IpAddr;
use std::path::Path;
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};

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

/// What a certificate says, for people to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateText {
    /// Whom it names, as RFC 4514 writes it: `CN=a,O=b`.
    pub subject: String,
    /// Who made it out, in the same form.
    pub issuer: String,
    /// Its first moment.
    pub not_before: SystemTime,
    /// Its last moment.
    pub not_after: SystemTime,
    /// The DNS names and IP addresses that it is made out for (RFC 5280 §4.2.1.6). A common name is none of them.
    pub names: Vec<String>,
    /// Whether it may issue others.
    pub is_authority: bool,
}

impl CertificateText {
    /// Reads one in DER. `None` where that is not readable.
    pub fn of(der: &[u8]) -> Option<Self> {
        let parsed = x509_cert::Certificate::from_der(der).ok()?;
        let body = parsed.tbs_certificate();
        let constraints = body.get_extension::<BasicConstraints>().ok().flatten();
        let names = body.get_extension::<SubjectAltName>().ok().flatten();
        let names = names.iter().flat_map(|(_, names)| &names.0);
        Some(Self {
            subject: body.subject().to_string(),
            issuer: body.issuer().to_string(),
            not_before: body.validity().not_before.to_system_time(),
            not_after: body.validity().not_after.to_system_time(),
            names: names.filter_map(name).collect(),
            is_authority: constraints.is_some_and(|(_, constraints)| constraints.ca),
        })
    }

    /// Whether it was made out by whom it names: a root, or a certificate that nobody vouches for.
    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
            v4.or(v6).ok().map(|address| address.to_string())
        }
        _ => None,
    }
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
    fn a_certificate_says_whom_it_is_for() {
        let bench = Bench::new();
        bench.run(
            "req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout a.key -out a.pem -days 30 \
             -subj /O=Plant/CN=broker -addext subjectAltName=DNS:broker.plant,IP:10.0.0.7,IP:::1,email:a@plant",
        );
        let found = certificates(named("a.pem"), &bench.read("a.pem")).expect("PEM");
        let text = CertificateText::of(&found[0]).expect("a certificate");
        assert_eq!(text.subject, "CN=broker,O=Plant");
        assert!(text.is_self_issued() && text.is_authority);
        assert_eq!(text.names, ["broker.plant", "10.0.0.7", "::1"]);
        let days = text.not_after.duration_since(text.not_before).unwrap();
        assert_eq!(days.as_secs(), 30 * 24 * 60 * 60);
        assert_eq!(CertificateText::of(b"nothing"), None);
    }

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
