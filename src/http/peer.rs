//! Whom a client's certificate names.

use std::net::IpAddr;
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// The certificate that a client showed in the TLS handshake, after it was verified against `http.client_ca_file`.
///
/// Every request of the connection has it among its extensions, as an `Arc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The subject's name as RFC 4514 writes it: `CN=pump-1,O=plant`.
    pub subject: Box<str>,
    /// The subject's alternative names (RFC 5280 §4.2.1.6), in the certificate's order: DNS names, URIs, e-mail
    /// addresses, and IP addresses as text. Other kinds are left out.
    pub names: Box<[Box<str>]>,
    /// SHA-256 of the certificate.
    pub fingerprint: [u8; 32],
}

impl PeerCertificate {
    /// Takes a certificate apart, and gives its last valid moment, too. `None` for one that cannot be read.
    pub(super) fn read(certificate: &CertificateDer<'_>) -> Option<(Self, SystemTime)> {
        let parsed = x509_cert::Certificate::from_der(certificate).ok()?;
        let body = parsed.tbs_certificate();
        // Names give rights, so names that cannot be read give none.
        let names = match body.get_extension::<SubjectAltName>() {
            Ok(Some((_, names))) => names.0.iter().filter_map(name).collect(),
            _ => Box::default(),
        };
        let peer = Self {
            subject: body.subject().to_string().into(),
            names,
            fingerprint: Sha256::digest(certificate).into(),
        };
        Some((peer, body.validity().not_after.to_system_time()))
    }
}

fn name(name: &GeneralName) -> Option<Box<str>> {
    let text = match name {
        GeneralName::DnsName(name)
        | GeneralName::Rfc822Name(name)
        | GeneralName::UniformResourceIdentifier(name) => name.as_str(),
        GeneralName::IpAddress(address) => return ip(address.as_bytes()),
        _ => return None,
    };
    // What a log or a comparison could be deceived with stands in no honest name.
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain.then(|| text.into())
}

fn ip(octets: &[u8]) -> Option<Box<str>> {
    let address = match octets.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(octets).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(octets).ok()?),
        _ => return None,
    };
    Some(address.to_string().into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn a_certificate_is_taken_apart() {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "plant, west");
        params.distinguished_name.push(DnType::CommonName, "pump-1");
        params.not_after = rcgen::date_time_ymd(2031, 2, 3);
        params.subject_alt_names = vec![
            SanType::DnsName("pump-1.plant.example".try_into().unwrap()),
            SanType::URI("spiffe://plant.example/pump-1".try_into().unwrap()),
            SanType::Rfc822Name("pump@plant.example".try_into().unwrap()),
            SanType::IpAddress("10.0.0.7".parse().unwrap()),
            SanType::IpAddress("2001:db8::7".parse().unwrap()),
            SanType::DnsName("two words".try_into().unwrap()),
        ];
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let (peer, not_after) = PeerCertificate::read(certificate.der()).unwrap();
        // The last part first (RFC 4514 §2.1); rcgen's own default stands before what is pushed.
        assert_eq!(&*peer.subject, "O=plant\\, west,CN=pump-1");
        let names: Vec<_> = peer.names.iter().map(|name| &**name).collect();
        assert_eq!(
            names,
            [
                "pump-1.plant.example",
                "spiffe://plant.example/pump-1",
                "pump@plant.example",
                "10.0.0.7",
                "2001:db8::7"
            ]
        );
        let expected: [u8; 32] = Sha256::digest(certificate.der()).into();
        assert_eq!(peer.fingerprint, expected);
        let days = not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(days, Duration::from_secs(1_927_843_200));
    }

    #[test]
    fn no_names_are_no_trouble_and_no_certificate_is_none() {
        let params = CertificateParams::default();
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let (peer, _) = PeerCertificate::read(certificate.der()).unwrap();
        assert!(peer.names.is_empty());
        assert!(PeerCertificate::read(&CertificateDer::from(vec![0x30, 0x03, 2, 1, 1])).is_none());
    }
}
