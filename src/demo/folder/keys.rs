//! Device keys in the forms that akenza's instructions produce.

use std::path::Path;

use p256::pkcs8::DecodePrivateKey as _;
use p256::pkcs8::LineEnding;

use super::FolderError;
use super::files::{Readers, keep, write};
use crate::identity::{Algorithm, SigningKey, VerifyingKey};

/// Makes or reads `{device}.key.pem`, and writes and gives its public half, which the platform is given. An own key put there is taken, too.
pub(super) fn device_key(
    dir: &Path,
    device: &str,
    algorithm: Algorithm,
) -> Result<VerifyingKey, FolderError> {
    let file = dir.join(private_name(device));
    let private = keep(&file, Readers::Owner, || generate(algorithm))?;
    let key = SigningKey::from_pem(&file, private.as_bytes(), None)?;
    let public_file = dir.join(public_name(device));
    write(&public_file, Readers::All, key.public_pem())?;
    Ok(VerifyingKey::from_pem(
        &public_file,
        key.public_pem().as_bytes(),
    )?)
}

pub(super) fn private_name(device: &str) -> String {
    format!("{device}.key.pem")
}

pub(super) fn public_name(device: &str) -> String {
    format!("{device}.pub.pem")
}

/// RSA as `openssl req -x509 -nodes -newkey rsa:2048` writes it (PKCS#8), EC as
/// `openssl ecparam -genkey -name prime256v1 -noout` does (SEC1).
fn generate(algorithm: Algorithm) -> Result<String, FolderError> {
    let (_, pkcs8) = SigningKey::generate(algorithm)?;
    match algorithm {
        Algorithm::Rs256 => Ok(pkcs8.to_string()),
        Algorithm::Es256 => {
            let key = p256::SecretKey::from_pkcs8_pem(&pkcs8);
            let sec1 = key
                .ok()
                .and_then(|key| key.to_sec1_pem(LineEnding::LF).ok());
            sec1.map(|pem| pem.to_string())
                .ok_or(FolderError::Form("SEC1"))
        }
    }
}
