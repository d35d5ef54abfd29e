//! Keys in files: made, shown, and never overwritten.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use pkcs8::der::pem::PemLabel;
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument};
use zeroize::Zeroizing;

use crate::cli::error::CliError;
use crate::cli::progress::Progress;
use crate::config::read_file;
use crate::identity::{Algorithm, SealingKey, SigningKey};
use crate::secret::Secret;

/// Makes a sealing key, and gives the lines of the configuration that name it.
pub(super) fn seal_key(out: &Path) -> Result<String, CliError> {
    let key = SealingKey::generate().map_err(|error| CliError::Failed(error.to_string()))?;
    let text = Zeroizing::new(format!("{}\n", *key));
    keep(out, text.as_bytes())?;
    eprintln!(
        "keep a copy of it in another place: what is sealed with it is lost without it. In the configuration:"
    );
    let file = toml::Value::from(out.display().to_string());
    Ok(format!("[store]\nencryption_key_file = {file}\n"))
}

/// Makes a key pair in a file, and gives its public half.
pub(super) fn new(
    algorithm: Algorithm,
    out: &Path,
    passphrase: Option<&Secret>,
) -> Result<String, CliError> {
    let progress = Progress::show("looking for the key's prime numbers");
    let (key, mut pem) = SigningKey::generate(algorithm)?;
    drop(progress);
    if let Some(passphrase) = passphrase {
        pem = encrypt(&pem, passphrase)
            .map_err(|error| CliError::Failed(format!("the key cannot be encrypted: {error}")))?;
    }
    keep(out, pem.as_bytes())?;
    Ok(describe_key(&key))
}

/// Makes the file of a key.
fn keep(out: &Path, content: &[u8]) -> Result<(), CliError> {
    create(out, content).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => CliError::Failed(format!(
            "{} exists, and a key is never overwritten; choose another name",
            out.display()
        )),
        _ => CliError::Io(out.to_owned(), error),
    })
}

/// Reads a key out of a file.
pub(super) fn read(file: &Path, passphrase: Option<&Secret>) -> Result<SigningKey, CliError> {
    let pem = read_file(file)?.bytes;
    Ok(SigningKey::from_pem(file, &pem, passphrase)?)
}

/// The public half as text. What stands behind the PEM block does not disturb those who read it (RFC 7468 §5.2).
pub(super) fn describe(public_pem: &str, algorithm: Algorithm, kid: &str) -> String {
    format!("{public_pem}algorithm: {}\nkid: {kid}\n", algorithm.name())
}

pub(super) fn describe_key(key: &SigningKey) -> String {
    describe(key.public_pem(), key.algorithm(), key.spki_sha256())
}

fn encrypt(pem: &str, passphrase: &Secret) -> Result<Zeroizing<String>, pkcs8::Error> {
    let (_, der) = SecretDocument::from_pem(pem)?;
    let key = PrivateKeyInfoRef::try_from(der.as_bytes())?;
    let encrypted = key.encrypt_with_rng(&mut rand::rngs::SysRng, passphrase.expose())?;
    Ok(encrypted.to_pem(EncryptedPrivateKeyInfoRef::PEM_LABEL, LineEnding::LF)?)
}

/// Makes a file, and its folder, that only its owner can read from the first moment on.
fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a key would stand in the way of the next attempt.
        let _ = std::fs::remove_file(path);
    }
    written
}
