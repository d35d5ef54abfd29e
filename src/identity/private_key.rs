//! A private key's DER, out of whatever wrapping its file has.

use rustls_pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use zeroize::Zeroizing;

use super::error::KeyProblem;
use super::pem::{self, Block};
use super::{encrypted, traditional};
use crate::secret::Secret;

/// A decrypted private key in the encoding that its file had. Cleared from memory when dropped.
pub(super) enum PrivateKey {
    /// RSA alone (RFC 8017 appendix A.1.2).
    Pkcs1(Zeroizing<Vec<u8>>),
    /// Elliptic curves alone (RFC 5915).
    Sec1(Zeroizing<Vec<u8>>),
    /// Any type (RFC 5958).
    Pkcs8(Zeroizing<Vec<u8>>),
}

impl PrivateKey {
    /// The one private key among a file's blocks.
    pub(super) fn from_blocks(
        blocks: &[Block],
        passphrase: Option<&Secret>,
    ) -> Result<Self, KeyProblem> {
        let keys: Vec<&Block> = blocks
            .iter()
            .filter(|block| block.label.ends_with("PRIVATE KEY"))
            .collect();
        match keys[..] {
            [] => Err(KeyProblem::NoPrivateKey {
                found: pem::describe(blocks),
            }),
            [block] => Self::from_block(block, passphrase),
            _ => Err(KeyProblem::SeveralPrivateKeys(keys.len())),
        }
    }

    /// As rustls takes it, without a copy.
    pub(super) fn as_der(&self) -> PrivateKeyDer<'_> {
        match self {
            Self::Pkcs1(der) => PrivatePkcs1KeyDer::from(der.as_slice()).into(),
            Self::Sec1(der) => PrivateSec1KeyDer::from(der.as_slice()).into(),
            Self::Pkcs8(der) => PrivatePkcs8KeyDer::from(der.as_slice()).into(),
        }
    }

    fn from_block(block: &Block, passphrase: Option<&Secret>) -> Result<Self, KeyProblem> {
        let passphrase = || {
            passphrase
                .map(Secret::expose)
                .ok_or(KeyProblem::MissingPassphrase)
        };
        let der = if traditional::is_encrypted(block) {
            traditional::decrypt(block, passphrase()?)?
        } else {
            block.der.clone()
        };
        match block.label.as_str() {
            "PRIVATE KEY" => Ok(Self::Pkcs8(der)),
            "ENCRYPTED PRIVATE KEY" => encrypted::decrypt(&der, passphrase()?).map(Self::Pkcs8),
            "RSA PRIVATE KEY" => Ok(Self::Pkcs1(der)),
            "EC PRIVATE KEY" => Ok(Self::Sec1(der)),
            "OPENSSH PRIVATE KEY" => Err(KeyProblem::OpenSsh),
            label => Err(KeyProblem::UnknownKeyType(
                label.trim_end_matches(" PRIVATE KEY").to_owned(),
            )),
        }
    }
}

/// Whether a passphrase is needed for any private key among the blocks.
pub(super) fn is_encrypted(blocks: &[Block]) -> bool {
    blocks
        .iter()
        .any(|block| block.label == "ENCRYPTED PRIVATE KEY" || traditional::is_encrypted(block))
}

#[cfg(test)]
mod tests {
    use crate::identity::openssl::{Bench, named};
    use crate::identity::{Algorithm, KeyError, KeyProblem, SigningKey};
    use crate::secret::Secret;

    fn read(bench: &Bench, name: &str, passphrase: Option<&str>) -> Result<SigningKey, KeyError> {
        let passphrase = passphrase.map(Secret::new);
        SigningKey::from_pem(named(name), &bench.read(name), passphrase.as_ref())
    }

    fn problem(bench: &Bench, name: &str, passphrase: Option<&str>) -> KeyProblem {
        let error = read(bench, name, passphrase).expect_err(name);
        assert!(error.to_string().starts_with(name), "{error}");
        error.problem().expect(name).clone()
    }

    fn kid_by_openssl(bench: &Bench, key: &str) -> String {
        bench.run(&format!(
            "pkey -in {key} -pubout -outform DER -out spki.der"
        ));
        let printed = bench.run("dgst -sha256 -r spki.der");
        String::from_utf8_lossy(&printed[..64]).into_owned()
    }

    #[test]
    fn rsa_keys_are_read_in_every_plain_form() {
        let bench = Bench::new();
        bench.run("req -x509 -nodes -newkey rsa:2048 -keyout pkcs8.pem -out cert.pem -days 30 -subj /CN=unused");
        bench.run("rsa -in pkcs8.pem -traditional -out pkcs1.pem");
        bench.run("pkey -in pkcs8.pem -pubout -out public.pem");
        bench.concat("before.pem", &["cert.pem", "pkcs8.pem"]);
        bench.concat("after.pem", &["pkcs1.pem", "cert.pem"]);
        let kid = kid_by_openssl(&bench, "pkcs8.pem");
        for name in ["pkcs8.pem", "pkcs1.pem", "before.pem", "after.pem"] {
            let key = read(&bench, name, None).expect(name);
            assert_eq!(key.algorithm(), Algorithm::Rs256);
            assert_eq!(key.spki_sha256(), kid, "{name}");
            assert_eq!(key.public_pem().as_bytes(), bench.read("public.pem"));
        }
        assert!(bench.read("pkcs1.pem").starts_with(b"-----BEGIN RSA "));
    }

    #[test]
    fn ec_keys_are_read_in_every_plain_form() {
        let bench = Bench::new();
        bench.run("ecparam -genkey -name prime256v1 -noout -out sec1.pem");
        bench.run("ecparam -name prime256v1 -out parameters.pem");
        bench.run("pkcs8 -topk8 -nocrypt -in sec1.pem -out pkcs8.pem");
        bench.run("ec -in sec1.pem -no_public -out no-public.pem");
        bench.run("ec -in sec1.pem -pubout -out public.pem");
        bench.concat("both.pem", &["parameters.pem", "sec1.pem"]);
        let kid = kid_by_openssl(&bench, "sec1.pem");
        for name in ["sec1.pem", "both.pem", "pkcs8.pem", "no-public.pem"] {
            let key = read(&bench, name, None).expect(name);
            assert_eq!(key.algorithm(), Algorithm::Es256);
            assert_eq!(key.spki_sha256(), kid, "{name}");
            assert_eq!(key.public_pem().as_bytes(), bench.read("public.pem"));
        }
        assert!(
            bench
                .read("both.pem")
                .starts_with(b"-----BEGIN EC PARAMETERS")
        );
    }

    #[test]
    fn encrypted_keys_are_read_with_their_passphrase_alone() {
        let bench = Bench::new();
        bench.run("genrsa -out rsa.pem 2048");
        bench.run("ecparam -genkey -name prime256v1 -noout -out ec.pem");
        let forms = [
            "pkcs8 -topk8 -v2 aes-256-cbc",
            "pkcs8 -topk8 -v2 aes-128-cbc -v2prf hmacWithSHA1",
            "pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA512",
            "pkcs8 -topk8 -scrypt",
            "pkcs8 -topk8 -v2 des3",
            "pkcs8 -topk8 -v1 PBE-SHA1-3DES",
            "pkcs8 -topk8 -v1 PBE-SHA1-2DES",
            "rsa -traditional -aes128",
            "rsa -traditional -aes192",
            "rsa -traditional -aes256",
            "rsa -traditional -des3",
        ];
        for (index, form) in forms.iter().enumerate() {
            for (source, wrongs) in [("rsa", 1), ("ec", 3)] {
                let form = match source {
                    "ec" => form.replace("rsa -traditional", "ec"),
                    _ => (*form).to_owned(),
                };
                let name = format!("{source}{index}.pem");
                bench.run(&format!(
                    "{form} -in {source}.pem -out {name} -passout pass:Grüße"
                ));
                let plain = read(&bench, &format!("{source}.pem"), None).expect("plain");
                let key = read(&bench, &name, Some("Grüße")).expect(&form);
                assert_eq!(key.spki_sha256(), plain.spki_sha256(), "{form}");
                assert_eq!(problem(&bench, &name, None), KeyProblem::MissingPassphrase);
                for wrong in ["", "grüße", "Grüße\n"].iter().take(wrongs) {
                    let found = problem(&bench, &name, Some(wrong));
                    assert_eq!(found, KeyProblem::WrongPassphrase, "{form}, {wrong:?}");
                }
            }
        }
    }

    #[test]
    fn encryption_that_is_not_supported_is_named() {
        let bench = Bench::new();
        bench.run("ecparam -genkey -name prime256v1 -noout -out ec.pem");
        let output = "-in ec.pem -out encrypted.pem -passout pass:secret";
        for (form, name) in [
            (
                "pkcs8 -topk8 -v2 camellia-256-cbc",
                "1.2.392.200011.61.1.1.1.4",
            ),
            (
                "pkcs8 -topk8 -v1 PBE-SHA1-RC4-128 -provider legacy -provider default",
                "1.2.840.113549.1.12.1.1",
            ),
            ("ec -camellia128", "CAMELLIA-128-CBC"),
        ] {
            bench.run(&format!("{form} {output}"));
            let found = problem(&bench, "encrypted.pem", Some("secret"));
            assert_eq!(found, KeyProblem::UnknownEncryption(name.to_owned()));
        }
    }

    #[test]
    fn keys_of_the_wrong_kind_are_named() {
        let bench = Bench::new();
        bench.run("ecparam -genkey -name secp384r1 -noout -out p384.pem");
        bench.run("pkcs8 -topk8 -nocrypt -in p384.pem -out p384-8.pem");
        bench.run("ecparam -genkey -name secp256k1 -noout -out k1.pem");
        bench.run("genrsa -out small.pem 1024");
        bench.run("rsa -in small.pem -traditional -out small-1.pem");
        bench.run("genpkey -algorithm ed25519 -out ed.pem");
        let p384 = KeyProblem::WrongCurve("P-384 (secp384r1)".to_owned());
        assert_eq!(problem(&bench, "p384.pem", None), p384);
        assert_eq!(problem(&bench, "p384-8.pem", None), p384);
        assert_eq!(
            problem(&bench, "k1.pem", None),
            KeyProblem::WrongCurve("secp256k1".to_owned())
        );
        for name in ["small.pem", "small-1.pem"] {
            assert_eq!(problem(&bench, name, None), KeyProblem::RsaTooSmall(1024));
        }
        assert_eq!(
            problem(&bench, "ed.pem", None),
            KeyProblem::UnknownKeyType("Ed25519".to_owned())
        );
    }

    #[test]
    fn files_without_a_private_key_are_told_apart() {
        let bench = Bench::new();
        bench.run(
            "req -x509 -nodes -newkey rsa:2048 -keyout key.pem -out cert.pem -subj /CN=unused",
        );
        bench.run("pkey -in key.pem -pubout -out public.pem");
        bench.run("pkey -in key.pem -outform DER -out key.der");
        bench.run("pkcs12 -export -inkey key.pem -in cert.pem -out store.p12 -passout pass:secret");
        bench.concat("two.pem", &["key.pem", "key.pem"]);
        let found = |text: &str| KeyProblem::NoPrivateKey {
            found: text.to_owned(),
        };
        assert_eq!(problem(&bench, "cert.pem", None), found("a certificate"));
        assert_eq!(problem(&bench, "public.pem", None), found("a public key"));
        assert_eq!(problem(&bench, "key.der", None), KeyProblem::Der);
        assert_eq!(problem(&bench, "store.p12", None), KeyProblem::Pkcs12);
        assert_eq!(
            problem(&bench, "two.pem", None),
            KeyProblem::SeveralPrivateKeys(2)
        );
    }

    #[test]
    fn damaged_keys_are_errors_and_not_panics() {
        let bench = Bench::new();
        bench.run("ecparam -genkey -name prime256v1 -noout -out ec.pem");
        bench.run("pkcs8 -topk8 -v1 PBE-SHA1-3DES -in ec.pem -out encrypted.pem -passout pass:x");
        for name in ["ec.pem", "encrypted.pem"] {
            let whole = bench.read(name);
            let whole = String::from_utf8(whole).expect("text");
            let lines: Vec<&str> = whole.lines().collect();
            for missing in 1..lines.len() - 1 {
                let mut lines = lines.clone();
                lines.remove(missing);
                bench.write("damaged.pem", lines.join("\n"));
                read(&bench, "damaged.pem", Some("x")).expect_err("a line is missing");
            }
        }
    }
}
