//! A certificate authority of the test's own, and what it issues: good certificates and deliberately bad ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use tempfile::TempDir;

use super::keys::openssl;

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

impl Identity {
    /// For a client that shows it.
    pub fn of_client(&self) -> reqwest::Identity {
        let pem = [&self.certificate_file, &self.key_file].map(|file| fs::read(file).unwrap());
        reqwest::Identity::from_pem(&pem.concat()).unwrap()
    }
}

impl Authority {
    /// A new authority with an EC key. `name` becomes its common name, so that an error can be seen to name it.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("ca.key"), key.serialize_pem()).unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, dir }
    }

    /// Its own certificate, for those who shall trust it.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A client that trusts whom it has certified, and nobody else.
    pub fn trusting_client(&self) -> reqwest::ClientBuilder {
        let root = reqwest::Certificate::from_pem(self.issuer.pem().as_bytes()).unwrap();
        let client = reqwest::Client::builder().no_proxy();
        client.tls_certs_only([root])
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

    /// A server certificate that is not valid before 2099.
    pub fn early_server(&self) -> Identity {
        let mut params = server_params(&["localhost", "127.0.0.1"]);
        params.not_before = date_time_ymd(2099, 1, 1);
        params.not_after = date_time_ymd(2100, 1, 1);
        self.issue(params)
    }

    /// A server certificate for localhost that was issued in this moment, for one day.
    pub fn fresh_server(&self) -> Identity {
        let mut params = server_params(&["localhost", "127.0.0.1"]);
        let now = SystemTime::now();
        params.not_before = now.into();
        params.not_after = (now + Duration::from_secs(24 * 60 * 60)).into();
        self.issue(params)
    }

    /// A server certificate for `localhost` and `127.0.0.1` that nobody issued but itself.
    pub fn self_signed_server(&self) -> Identity {
        self.signed_by_itself(server_params(&["localhost", "127.0.0.1"]))
    }

    /// The same as `openssl req -x509` makes it: an authority's, too.
    pub fn self_signed_authority(&self) -> Identity {
        let mut params = server_params(&["localhost", "127.0.0.1"]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        self.signed_by_itself(params)
    }

    fn signed_by_itself(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        self.write(&certificate.pem(), &key)
    }

    /// A server certificate for `host` and no other.
    pub fn server_for(&self, host: &str) -> Identity {
        self.issue(server_params(&[host]))
    }

    /// A client certificate; a broker may take `common_name` for the user name.
    pub fn client(&self, common_name: &str) -> Identity {
        self.client_for(common_name, &[])
    }

    /// The same with further DNS names.
    pub fn client_for(&self, common_name: &str, names: &[&str]) -> Identity {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        let purpose = ExtendedKeyUsagePurpose::ClientAuth;
        params.extended_key_usages = vec![purpose];
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        self.issue(params)
    }

    /// The same for an unencrypted key that lies in a file, as an authority of its own would do it: by certificate
    /// request. The certificate lies beside the key.
    pub fn certify(&self, key_file: &Path, common_name: &str, days: u32) -> PathBuf {
        let request = key_file.with_extension("csr");
        let certificate = key_file.with_extension("certificate.pem");
        let (ca, ca_key) = (self.ca_file(), self.dir.path().join("ca.key"));
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let (request, output) = (text(&request), text(&certificate));
        let subject = format!("/CN={common_name}");
        for args in [
            format!(
                "req -new -key {} -subj {subject} -out {request}",
                text(key_file)
            ),
            format!(
                "x509 -req -in {request} -CA {} -CAkey {} -CAcreateserial -days {days} -out {output}",
                text(&ca),
                text(&ca_key)
            ),
        ] {
            let (ok, said) = openssl(&args.split_whitespace().collect::<Vec<_>>());
            assert!(ok, "openssl {args}: {said}");
        }
        certificate
    }

    fn issue(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        self.write(&certificate.pem(), &key)
    }

    fn write(&self, certificate: &str, key: &KeyPair) -> Identity {
        let folder = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        Identity {
            certificate_file: write(&folder, "certificate.pem", certificate),
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
