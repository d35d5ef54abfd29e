//! The file that SAP's cockpit hands out for a device: its encrypted key and its certificate in one PEM, and the
//! passphrase that is shown once.

use std::path::Path;

use rcgen::{KeyPair, PKCS_RSA_SHA256};

use super::certificates::Authority;
use super::files::{Readers, read, write};
use super::{FolderError, pbe};
use crate::identity::{Algorithm, SigningKey};

/// Makes `{device}.pem` and `{device}.passphrase` where one is missing or of an earlier CA. The key itself is nowhere
/// on the disk.
pub(super) fn keep_identity(
    dir: &Path,
    device: &str,
    authority: &Authority,
) -> Result<(), FolderError> {
    let (file, passphrase_file) = (
        dir.join(pem_name(device)),
        dir.join(passphrase_name(device)),
    );
    if !authority.new && read(&file)?.is_some() && read(&passphrase_file)?.is_some() {
        return Ok(());
    }
    let (_, pem) = SigningKey::generate(Algorithm::Rs256)?;
    let key = KeyPair::from_pkcs8_pem_and_sign_algo(&pem, &PKCS_RSA_SHA256)?;
    let certificate = authority.issue_client(device, &key)?;
    let passphrase = super::new_secret();
    let encrypted = pbe::encrypt(key.serialized_der(), &passphrase, rand::random())
        .ok_or(FolderError::Form("PKCS#8 with PBE-SHA1-3DES"))?;
    write(&passphrase_file, Readers::Owner, &format!("{passphrase}\n"))?;
    write(&file, Readers::Owner, &format!("{encrypted}{certificate}"))
}

pub(super) fn pem_name(device: &str) -> String {
    format!("{device}.pem")
}

pub(super) fn passphrase_name(device: &str) -> String {
    format!("{device}.passphrase")
}
