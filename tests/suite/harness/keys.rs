//! Private keys in every form in which users have them, made by `openssl` itself as the platforms' instructions do.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::program::or_install;

/// How a private key lies on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyForm {
    /// `BEGIN RSA PRIVATE KEY`, 2048 bits.
    RsaPkcs1,
    /// `BEGIN PRIVATE KEY`, RSA 2048 bits.
    RsaPkcs8,
    /// `BEGIN PRIVATE KEY`, RSA 1024 bits: too short for a token.
    RsaShort,
    /// `BEGIN EC PRIVATE KEY`, P-256.
    EcSec1,
    /// `BEGIN EC PARAMETERS` before `BEGIN EC PRIVATE KEY`, P-256.
    EcSec1WithParameters,
    /// `BEGIN PRIVATE KEY`, P-256.
    EcPkcs8,
    /// `BEGIN PRIVATE KEY`, P-384: the wrong curve.
    EcWrongCurve,
    /// `BEGIN ENCRYPTED PRIVATE KEY` of an RSA key, PBES2, passphrase [`PASSPHRASE`].
    RsaPkcs8Encrypted,
    /// `BEGIN ENCRYPTED PRIVATE KEY` of a P-256 key, PBES2, passphrase [`PASSPHRASE`].
    EcPkcs8Encrypted,
    /// `BEGIN ENCRYPTED PRIVATE KEY` of an RSA key, PKCS#12 PBE with SHA-1 and 3DES, passphrase [`PASSPHRASE`].
    RsaPkcs8EncryptedPbe1,
}

/// What the encrypted forms are encrypted with.
pub const PASSPHRASE: &str = "correct horse battery staple";

impl KeyForm {
    /// Every form.
    pub const ALL: [Self; 10] = [
        Self::RsaPkcs1,
        Self::RsaPkcs8,
        Self::RsaShort,
        Self::EcSec1,
        Self::EcSec1WithParameters,
        Self::EcPkcs8,
        Self::EcWrongCurve,
        Self::RsaPkcs8Encrypted,
        Self::EcPkcs8Encrypted,
        Self::RsaPkcs8EncryptedPbe1,
    ];

    /// Makes a new key of this form in `folder` and returns its file.
    pub fn make(self, folder: &Path) -> PathBuf {
        let file = folder.join(format!("{self:?}.pem"));
        let out = file.to_str().unwrap();
        let plain = folder.join(format!("{self:?}.plain.pem"));
        let plain = plain.to_str().unwrap();
        let pass = format!("pass:{PASSPHRASE}");
        let rsa = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
        let ec = [
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ];
        let sec1 = ["ecparam", "-genkey", "-name", "prime256v1"];
        let genpkey = |kind: &[&str], out: &str| run(&[&["genpkey", "-out", out], kind].concat());
        let encrypt = |how: &[&str]| {
            let args = ["pkcs8", "-topk8", "-in", plain, "-out", out];
            run(&[&args, how, &["-passout", &pass]].concat());
        };
        match self {
            Self::RsaPkcs1 => run(&["genrsa", "-traditional", "-out", out, "2048"]),
            Self::RsaPkcs8 => genpkey(&rsa, out),
            Self::RsaShort => run(&["genrsa", "-out", out, "1024"]),
            Self::EcSec1 => run(&[&sec1[..], &["-noout", "-out", out]].concat()),
            Self::EcSec1WithParameters => run(&[&sec1[..], &["-out", out]].concat()),
            Self::EcPkcs8 => genpkey(&ec, out),
            Self::EcWrongCurve => {
                let curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"];
                genpkey(&curve, out);
            }
            Self::RsaPkcs8Encrypted => {
                genpkey(&rsa, plain);
                encrypt(&["-v2", "aes-256-cbc"]);
            }
            Self::EcPkcs8Encrypted => {
                genpkey(&ec, plain);
                encrypt(&["-v2", "aes-256-cbc"]);
            }
            Self::RsaPkcs8EncryptedPbe1 => {
                genpkey(&rsa, plain);
                encrypt(&["-v1", "PBE-SHA1-3DES"]);
            }
        }
        file
    }
}

/// The public half (`BEGIN PUBLIC KEY`) of an unencrypted or [`PASSPHRASE`]-encrypted private key, in a file beside it.
pub fn public_half(private: &Path) -> PathBuf {
    let file = private.with_extension("public.pem");
    let pass = format!("pass:{PASSPHRASE}");
    let (from, to) = (private.to_str().unwrap(), file.to_str().unwrap());
    run(&["pkey", "-in", from, "-passin", &pass, "-pubout", "-out", to]);
    file
}

/// A self-signed certificate over a private key, in a file beside it.
pub fn self_signed(private: &Path, common_name: &str) -> PathBuf {
    let file = private.with_extension("certificate.pem");
    let (subject, pass) = (format!("/CN={common_name}"), format!("pass:{PASSPHRASE}"));
    let (from, to) = (private.to_str().unwrap(), file.to_str().unwrap());
    let args = ["req", "-x509", "-key", from, "-passin", &pass];
    run(&[&args[..], &["-subj", &subject, "-out", to]].concat());
    file
}

/// Runs `openssl` and returns whether it succeeded, and everything it said.
pub fn openssl(args: &[&str]) -> (bool, String) {
    let output = Command::new("openssl").args(args).output();
    let output = or_install(output, "openssl", "apt-get install openssl");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}

fn run(args: &[&str]) {
    let (ok, said) = openssl(args);
    assert!(ok, "openssl {args:?}: {said}");
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn labels(file: &Path) -> Vec<String> {
        let text = fs::read_to_string(file).unwrap();
        let begin = |line: &str| Some(line.strip_prefix("-----BEGIN ")?.replace("-----", ""));
        text.lines().filter_map(begin).collect()
    }

    #[test]
    fn each_form_has_the_labels_that_users_see() {
        let dir = tempfile::tempdir().unwrap();
        for form in KeyForm::ALL {
            let file = form.make(dir.path());
            let expected: &[&str] = match form {
                KeyForm::RsaPkcs1 => &["RSA PRIVATE KEY"],
                KeyForm::EcSec1 => &["EC PRIVATE KEY"],
                KeyForm::EcSec1WithParameters => &["EC PARAMETERS", "EC PRIVATE KEY"],
                KeyForm::RsaPkcs8Encrypted
                | KeyForm::EcPkcs8Encrypted
                | KeyForm::RsaPkcs8EncryptedPbe1 => &["ENCRYPTED PRIVATE KEY"],
                _ => &["PRIVATE KEY"],
            };
            assert_eq!(labels(&file), expected, "{form:?}");
            assert_eq!(labels(&public_half(&file)), ["PUBLIC KEY"], "{form:?}");
        }
        let key = dir.path().join("EcSec1.pem");
        assert_eq!(labels(&self_signed(&key, "sensor-1")), ["CERTIFICATE"]);
    }
}
