//! The certificate and key with which a device, or this bridge's own listener, names itself in the TLS handshake.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use pkcs8::der::Decode as _;
use pkcs8::spki::SubjectPublicKeyInfoRef;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, SigningKey as TlsKey, SingleCertAndKey};
use rustls_pki_types::CertificateDer;

use super::certificate::{self, Certificate, CertificateText, chain};
use super::error::{KeyError, KeyProblem};
use super::pem;
use super::pkcs12;
use super::private_key::{PrivateKey, is_encrypted};
use super::signing_key::SigningKey;
use super::validity::{Validity, Warning};
use crate::secret::Secret;

/// A key, the certificate that belongs to it, and that one's issuers as far as the files have them.
///
/// The decrypted key is in memory only. Cheap to clone.
#[derive(Clone)]
pub struct ClientIdentity {
    certified: Arc<CertifiedKey>,
    validity: Validity,
}

/// Files that make no TLS client identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The private key, or the file as a whole, cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A key but no certificate.
    #[error(
        "{}: this holds no certificate; name the file with '-----BEGIN CERTIFICATE-----' that was \
         issued for the key, or append it to the key's file", file.display()
    )]
    NoCertificate {
        /// Where it was looked for.
        file: PathBuf,
    },
    /// A certificate that cannot be read.
    #[error(
        "{}: the certificate in it cannot be read; \
         `openssl x509 -in THIS-FILE -noout -text` may say why", file.display()
    )]
    UnreadableCertificate {
        /// Where it is.
        file: PathBuf,
    },
    /// None of the certificates was issued for the key.
    #[error(
        "the key in {} and the certificate of '{subject}' in {} do not belong together; \
         name the certificate that was issued for this key", key_file.display(), certificate_file.display()
    )]
    Mismatch {
        /// Where the key is.
        key_file: PathBuf,
        /// Where the certificates are.
        certificate_file: PathBuf,
        /// The first certificate's subject.
        subject: String,
    },
}

impl ClientIdentity {
    /// Reads a key and its certificate.
    ///
    /// `key_bytes` is PEM, with the key in any form that [`SigningKey::from_pem`] takes (and of any type that TLS
    /// knows: P-384, P-521 and Ed25519 too), or a PKCS#12 store. Certificates are taken from `certificate` (PEM)
    /// if it is given, from the key's file otherwise, in any order; the one whose public key fits is the identity.
    ///
    /// A certificate that is not valid at `now` is a warning: the platform has the last word, and its clock counts.
    pub fn read(
        key_file: &Path,
        key_bytes: &[u8],
        certificate: Option<(&Path, &[u8])>,
        passphrase: Option<&Secret>,
        now: SystemTime,
    ) -> Result<(Self, Vec<Warning>), IdentityError> {
        let (key, mut certificates, encrypted) =
            read_key(key_bytes, passphrase).map_err(|problem| problem.in_file(key_file))?;
        let mut certificate_file = key_file;
        if let Some((file, pem)) = certificate {
            certificates = certificate::certificates(file, pem)?;
            certificate_file = file;
        }
        let tls_key = tls_key(&key).map_err(|problem| problem.in_file(key_file))?;
        let chain = chain_for(&*tls_key, certificates, key_file, certificate_file)?;
        let validity = Validity::of(certificate_file, &chain[0]);
        let chain = chain.into_iter().map(Certificate::into_der).collect();
        let identity = Self {
            certified: Arc::new(CertifiedKey::new(chain, tls_key)),
            validity,
        };
        let mut warnings: Vec<Warning> = identity.validity_at(now).into_iter().collect();
        if passphrase.is_some() && !encrypted {
            warnings.push(Warning::PassphraseNotNeeded {
                file: key_file.to_owned(),
            });
        }
        Ok((identity, warnings))
    }

    /// For `rustls::ConfigBuilder::with_client_cert_resolver`.
    pub fn resolver(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::new(SingleCertAndKey::from(self.certified.clone()))
    }

    /// For `rustls::ConfigBuilder::with_cert_resolver`: a listener names itself in the same way.
    pub fn server_resolver(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::new(SingleCertAndKey::from(self.certified.clone()))
    }

    /// The certificate, then its issuers.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// The certificate's subject as RFC 4514 writes it: `CN=a,O=b`.
    pub fn subject(&self) -> &str {
        self.validity.subject()
    }

    /// The last moment at which the certificate is valid.
    pub fn not_after(&self) -> SystemTime {
        self.validity.not_after()
    }

    /// What is needed to warn of its end later.
    pub fn validity(&self) -> Validity {
        self.validity.clone()
    }

    /// That the certificate is of no use to a listener, as no client looks for a host's name in the subject any more
    /// (RFC 9525 §2).
    pub fn host_warning(&self) -> Option<Warning> {
        let leaf = self.certified.cert.first()?;
        let text = CertificateText::of(leaf)?;
        text.names.is_empty().then(|| Warning::NoHost {
            file: self.validity.file().to_owned(),
            subject: text.subject,
        })
    }

    /// Whether the certificate has expired, will soon, or is not valid yet.
    pub fn validity_at(&self, now: SystemTime) -> Option<Warning> {
        self.validity.at(now)
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientIdentity({})", self.subject())
    }
}

/// The key, the certificates beside it, and whether the passphrase was of use.
fn read_key(
    bytes: &[u8],
    passphrase: Option<&Secret>,
) -> Result<(PrivateKey, Vec<CertificateDer<'static>>, bool), KeyProblem> {
    if pem::is_pkcs12(bytes) {
        let store = pkcs12::read(bytes, passphrase)?;
        return Ok((store.key, store.certificates, true));
    }
    let blocks = pem::blocks(bytes)?;
    let key = PrivateKey::from_blocks(&blocks, passphrase)?;
    Ok((key, certificate::of_blocks(&blocks), is_encrypted(&blocks)))
}

fn tls_key(key: &PrivateKey) -> Result<Arc<dyn TlsKey>, KeyProblem> {
    any_supported_type(&key.as_der()).map_err(|_| match SigningKey::from_private_key(key) {
        // The library's own error does not say why.
        Err(KeyProblem::WrongCurve(curve)) => KeyProblem::UnknownKeyType(format!("EC on {curve}")),
        Err(problem) => problem,
        Ok(_) => KeyProblem::Unreadable("key"),
    })
}

/// The certificate that was issued for the key, then its issuers.
fn chain_for(
    key: &dyn TlsKey,
    certificates: Vec<CertificateDer<'static>>,
    key_file: &Path,
    certificate_file: &Path,
) -> Result<Vec<Certificate>, IdentityError> {
    let unreadable = || IdentityError::UnreadableCertificate {
        file: certificate_file.to_owned(),
    };
    let certificates: Option<Vec<Certificate>> =
        certificates.into_iter().map(Certificate::parse).collect();
    let mut certificates = certificates.ok_or_else(unreadable)?;
    let Some(first) = certificates.first() else {
        return Err(IdentityError::NoCertificate {
            file: certificate_file.to_owned(),
        });
    };
    let mismatch = IdentityError::Mismatch {
        key_file: key_file.to_owned(),
        certificate_file: certificate_file.to_owned(),
        subject: first.subject(),
    };
    let public = public_bits(key).map_err(|problem| problem.in_file(key_file))?;
    let fits = |c: &Certificate| c.public_key() == Some(&public);
    let index = certificates.iter().position(fits).ok_or(mismatch)?;
    let leaf = certificates.swap_remove(index);
    Ok(chain(leaf, certificates))
}

fn public_bits(key: &dyn TlsKey) -> Result<Vec<u8>, KeyProblem> {
    let unreadable = KeyProblem::Unreadable("public half of the key");
    let spki = key.public_key().ok_or(unreadable.clone())?;
    let spki = SubjectPublicKeyInfoRef::from_der(&spki).map_err(|_| unreadable.clone())?;
    let bits = spki.subject_public_key.as_bytes().ok_or(unreadable)?;
    Ok(bits.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::handshake::Authority;
    use crate::identity::openssl::{Bench, named};

    type Read = Result<(ClientIdentity, Vec<Warning>), IdentityError>;

    fn read(bench: &Bench, files: &[&str], passphrase: Option<&str>) -> Read {
        let passphrase = passphrase.map(Secret::new);
        let certificate = files.get(1).map(|name| (named(name), bench.read(name)));
        let certificate = certificate.as_ref().map(|(file, pem)| (*file, &pem[..]));
        let key = bench.read(files[0]);
        let now = SystemTime::now();
        ClientIdentity::read(named(files[0]), &key, certificate, passphrase.as_ref(), now)
    }

    #[test]
    fn a_passphrase_that_is_not_needed_is_a_warning() {
        let bench = Bench::new();
        Authority::new(&bench);
        bench.run("ecparam -genkey -name prime256v1 -out a.key");
        Authority::issue(&bench, "a", 365);
        let (_, warnings) = read(&bench, &["a.key", "a.pem"], Some("secret")).expect("it is read");
        let file = "a.key".into();
        assert_eq!(warnings, [Warning::PassphraseNotNeeded { file }]);
    }

    #[test]
    fn a_listeners_certificate_names_its_hosts() {
        let bench = Bench::new();
        Authority::new(&bench);
        bench.run("ecparam -genkey -name prime256v1 -out a.key");
        Authority::issue(&bench, "a", 365);
        let warning = |files: &[&str]| {
            let (identity, _) = read(&bench, files, None).expect(files[0]);
            identity.host_warning().map(|warning| warning.to_string())
        };
        assert_eq!(warning(&["server.key", "server.pem"]), None);
        let warned = warning(&["a.key", "a.pem"]).expect("a warning");
        assert!(warned.starts_with("a.pem: the certificate of 'CN=a,O=Test' names no host"));
    }

    fn problem(bench: &Bench, files: &[&str], passphrase: Option<&str>) -> KeyProblem {
        match read(bench, files, passphrase) {
            Err(IdentityError::Key(error)) => error.problem().expect("a file").clone(),
            other => panic!("{files:?}: {other:?}"),
        }
    }

    #[test]
    fn every_form_of_key_shakes_hands() {
        let bench = Bench::new();
        let authority = Authority::new(&bench);
        bench.run("genrsa -out rsa.key 2048");
        bench.run("ecparam -genkey -name prime256v1 -noout -out ec.key");
        for (source, form, passphrase) in [
            ("rsa", "pkcs8 -topk8 -v1 PBE-SHA1-3DES", true),
            ("rsa", "pkcs8 -topk8 -v2 aes-256-cbc", true),
            ("rsa", "pkcs8 -topk8 -scrypt", true),
            ("rsa", "pkcs8 -topk8 -v2 des3", true),
            ("rsa", "rsa -traditional -aes128", true),
            ("rsa", "rsa -traditional -aes256", true),
            ("rsa", "rsa -traditional -des3", true),
            ("rsa", "pkey", false),
            ("rsa", "rsa -traditional", false),
            ("ec", "pkey", false),
            ("ec", "ec", false),
            ("ec", "ec -no_public", false),
            ("ec", "ec -aes256", true),
        ] {
            Authority::issue(&bench, source, 365);
            let output = if passphrase {
                "-passout pass:secret"
            } else {
                ""
            };
            bench.run(&format!("{form} -in {source}.key -out form.key {output}"));
            bench.concat("before.pem", &["form.key", &format!("{source}.pem")]);
            bench.concat("after.pem", &[&format!("{source}.pem"), "form.key"]);
            let passphrase = passphrase.then_some("secret");
            let separate = ["form.key".to_owned(), format!("{source}.pem")];
            let separate = [&*separate[0], &*separate[1]];
            for files in [&separate[..], &["before.pem"], &["after.pem"]] {
                let (identity, warnings) = read(&bench, files, passphrase).expect(form);
                assert_eq!(warnings, [], "{form}");
                assert_eq!(identity.subject(), format!("CN={source},O=Test"));
                let seen = authority.shake_hands(&identity).expect(form);
                assert_eq!(seen, identity.chain(), "{form}");
            }
            if passphrase.is_some() {
                let files = &["before.pem"][..];
                assert_eq!(problem(&bench, files, None), KeyProblem::MissingPassphrase);
                let found = problem(&bench, files, Some("Secret"));
                assert_eq!(found, KeyProblem::WrongPassphrase, "{form}");
            }
        }
    }

    #[test]
    fn tls_takes_key_types_that_tokens_do_not_know() {
        let bench = Bench::new();
        let authority = Authority::new(&bench);
        bench.run("ecparam -genkey -name secp384r1 -noout -out p384.key");
        bench.run("genpkey -algorithm ed25519 -out ed.key");
        for name in ["p384", "ed"] {
            Authority::issue(&bench, name, 365);
            let files = [format!("{name}.key"), format!("{name}.pem")];
            let (identity, _) = read(&bench, &[&files[0], &files[1]], None).expect(name);
            assert_eq!(authority.shake_hands(&identity).expect(name).len(), 1);
        }
        bench.run("genrsa -out small.key 1024");
        assert_eq!(
            problem(&bench, &["small.key", "ed.pem"], None),
            KeyProblem::RsaTooSmall(1024)
        );
        bench.run("ecparam -genkey -name secp256k1 -noout -out k1.key");
        assert_eq!(
            problem(&bench, &["k1.key", "ed.pem"], None),
            KeyProblem::UnknownKeyType("EC on secp256k1".to_owned())
        );
    }

    #[test]
    fn files_that_do_not_fit_together_are_named() {
        let bench = Bench::new();
        Authority::new(&bench);
        for name in ["a", "b"] {
            bench.run(&format!("ecparam -genkey -name prime256v1 -out {name}.key"));
            Authority::issue(&bench, name, 365);
        }
        bench.write(
            "broken.pem",
            "-----BEGIN CERTIFICATE-----\nMAMCAQM=\n-----END CERTIFICATE-----\n",
        );
        let error = |files: &[&str]| read(&bench, files, None).map(|_| ()).expect_err(files[0]);
        let mismatch = error(&["a.key", "b.pem"]);
        assert_eq!(
            mismatch.to_string(),
            "the key in a.key and the certificate of 'CN=b,O=Test' in b.pem do not belong together; \
             name the certificate that was issued for this key"
        );
        let none = |file: &str| IdentityError::NoCertificate { file: file.into() };
        assert_eq!(error(&["a.key"]), none("a.key"));
        assert_eq!(error(&["a.key", "b.key"]), none("b.key"));
        let file = "broken.pem".into();
        assert_eq!(
            error(&["a.key", "broken.pem"]),
            IdentityError::UnreadableCertificate { file }
        );
        let found = "a certificate".to_owned();
        assert_eq!(
            problem(&bench, &["a.pem"], None),
            KeyProblem::NoPrivateKey { found }
        );
    }

    #[test]
    fn an_identity_does_not_print_its_key() {
        let bench = Bench::new();
        Authority::new(&bench);
        bench.run("ecparam -genkey -name prime256v1 -out a.key");
        Authority::issue(&bench, "a", 365);
        let (identity, _) = read(&bench, &["a.key", "a.pem"], None).expect("it is read");
        assert_eq!(format!("{identity:?}"), "ClientIdentity(CN=a,O=Test)");
    }
}
