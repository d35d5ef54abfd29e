//! A certificate authority of the test's own, and what it issues: good certificates and deliberately bad ones.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use tempfile::TempDir;

/// A certificate authority; its files live as long as it does.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
}

/// A certificate and its private key (PKCS#8), both PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate alone, without its issuer.
    pub certificate_file: PathBuf,
    /// The private key, unencrypted.
    pub key_file: PathBuf,
}

impl Authority {
    /// A new authority with an EC key. `name` becomes its common name, so that an error can be seen to name it.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, dir }
    }

    /// Its own certificate, for those who shall trust it.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A server certificate for `localhost` and `127.0.0.1`.
    pub fn server(&self) -> Identity {
        self.issue(server_params(&["localhost", "127.0.0.1"]))
    }

    /// A server certificate that ran out in 2001.
    pub fn expired_server(&self) -> Identity {
        let mut params = server_params(&["localhost", "127.0.0.1"]);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
        self.issue(params)
    }

    /// A server certificate for `host` and no other.
    pub fn server_for(&self, host: &str) -> Identity {
        self.issue(server_params(&[host]))
    }

    /// A client certificate; a broker may take `common_name` for the user name.
    pub fn client(&self, common_name: &str) -> Identity {
        let mut params = CertificateParams::default();
        let purpose = ExtendedKeyUsagePurpose::ClientAuth;
        params.extended_key_usages = vec![purpose];
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        self.issue(params)
    }

    fn issue(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let folder = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        Identity {
            certificate_file: write(&folder, "certificate.pem", &certificate.pem()),
            key_file: write(&folder, "key.pem", &key.serialize_pem()),
        }
    }
}

fn server_params(hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name.push(DnType::CommonName, "broker");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, text).unwrap();
    file
}

#[cfg(test)]
mod tests {
    use super::super::keys::openssl;
    use super::*;

    fn verify(authority: &Authority, identity: &Identity, more: &str) -> (bool, String) {
        let ca = authority.ca_file();
        let mut args = vec!["verify", "-CAfile", ca.to_str().unwrap()];
        args.extend(more.split_whitespace());
        args.push(identity.certificate_file.to_str().unwrap());
        openssl(&args)
    }

    #[test]
    fn the_certificates_are_what_they_claim() {
        let authority = Authority::new("Test CA");
        let tls = "-purpose sslserver -verify_hostname localhost";
        assert!(verify(&authority, &authority.server(), tls).0);
        assert!(
            verify(
                &authority,
                &authority.client("sensor-1"),
                "-purpose sslclient"
            )
            .0
        );

        for (identity, error) in [
            (authority.expired_server(), "certificate has expired"),
            (
                authority.server_for("elsewhere.example"),
                "hostname mismatch",
            ),
            (
                Authority::new("Other CA").server(),
                "unable to get local issuer",
            ),
        ] {
            let (ok, said) = verify(&authority, &identity, tls);
            assert!(!ok && said.contains(error), "{error}: {said}");
        }
    }
}
