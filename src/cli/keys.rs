//! `causeway keys`: key pairs for devices that sign tokens.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use pkcs8::der::pem::PemLabel;
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument};
use zeroize::Zeroizing;

use super::error::CliError;
use crate::config::{read_file, read_secret};
use crate::identity::{Algorithm, SealingKey, SigningKey};
use crate::secret::Secret;

const EXAMPLES: &str = "\
Examples:
  causeway keys new --algorithm es256 --out pump-1.pem
  causeway keys new --algorithm rs256 --out pump-1.pem --passphrase-file passphrase
  causeway keys show pump-1.pem
  causeway keys seal-key --out seal.key

The public key that is printed is what the platform wants to have; with akenza, paste it into the device's credentials.";

/// Make key pairs for devices that sign tokens, and show their public half
#[derive(Debug, clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// Make a key pair: the private half goes into a new file, the public half is printed
    #[command(after_help = EXAMPLES)]
    New {
        /// RS256 is RSA with 2048 bits, ES256 is EC P-256
        #[arg(long)]
        algorithm: NewAlgorithm,
        /// The file to make, readable by its owner alone; one that exists is never overwritten
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Encrypt the private key with the passphrase in this file
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Print the public half of a private key, and its key id (kid)
    #[command(after_help = EXAMPLES)]
    Show {
        /// The private key, PEM
        file: PathBuf,
        /// The passphrase of an encrypted key
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Make the key that private keys and secrets are sealed with in the store ([store] encryption_key_file)
    SealKey {
        /// The file to make, readable by its owner alone; one that exists is never overwritten
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum NewAlgorithm {
    Rs256,
    Es256,
}

impl Command {
    pub(super) fn run(self) -> Result<String, CliError> {
        let passphrase = |file: Option<PathBuf>| file.map(|file| read_secret(&file)).transpose();
        match self {
            Self::New {
                algorithm,
                out,
                passphrase_file,
            } => new(algorithm, &out, passphrase(passphrase_file)?.as_ref()),
            Self::Show {
                file,
                passphrase_file,
            } => {
                let pem = read_file(&file)?.bytes;
                let passphrase = passphrase(passphrase_file)?;
                SigningKey::from_pem(&file, &pem, passphrase.as_ref())
                    .map(|key| describe(&key))
                    .map_err(CliError::from)
            }
            Self::SealKey { out } => seal_key(&out),
        }
    }
}

fn seal_key(out: &Path) -> Result<String, CliError> {
    let key = SealingKey::generate().map_err(|error| CliError::Failed(error.to_string()))?;
    let text = Zeroizing::new(format!("{}\n", *key));
    keep(out, text.as_bytes())?;
    eprintln!(
        "keep a copy of it in another place: what is sealed with it is lost without it. In the configuration:"
    );
    let file = toml::Value::from(out.display().to_string());
    Ok(format!("[store]\nencryption_key_file = {file}\n"))
}

fn new(
    algorithm: NewAlgorithm,
    out: &Path,
    passphrase: Option<&Secret>,
) -> Result<String, CliError> {
    let algorithm = match algorithm {
        NewAlgorithm::Rs256 => Algorithm::Rs256,
        NewAlgorithm::Es256 => Algorithm::Es256,
    };
    let (key, mut pem) = SigningKey::generate(algorithm)?;
    if let Some(passphrase) = passphrase {
        pem = encrypt(&pem, passphrase)
            .map_err(|error| CliError::Failed(format!("the key cannot be encrypted: {error}")))?;
    }
    keep(out, pem.as_bytes())?;
    Ok(describe(&key))
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

/// The public half as text. What stands behind the PEM block does not disturb those who read it (RFC 7468 §5.2).
fn describe(key: &SigningKey) -> String {
    format!(
        "{}algorithm: {}\nkid: {}\n",
        key.public_pem(),
        key.algorithm().name(),
        key.spki_sha256()
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    fn show(file: &Path, passphrase_file: Option<PathBuf>) -> Result<String, CliError> {
        let file = file.to_owned();
        Command::Show {
            file,
            passphrase_file,
        }
        .run()
    }

    #[test]
    fn a_new_key_is_its_owners_alone_and_is_shown_as_it_was_made() {
        let folder = tempfile::tempdir().unwrap();
        let passphrase = folder.path().join("passphrase");
        std::fs::write(&passphrase, "correct horse\n").unwrap();
        for (algorithm, name, passphrase) in [
            (NewAlgorithm::Es256, "ES256", None),
            (NewAlgorithm::Rs256, "RS256", None),
            (NewAlgorithm::Es256, "ES256", Some(passphrase.clone())),
        ] {
            let out = folder
                .path()
                .join(format!("{name}-{}", passphrase.is_some()));
            let made = Command::New {
                algorithm,
                out: out.clone(),
                passphrase_file: passphrase.clone(),
            };
            let made = made.run().unwrap();
            assert!(made.starts_with("-----BEGIN PUBLIC KEY-----\n"), "{made}");
            assert!(
                made.contains(&format!("\nalgorithm: {name}\nkid: ")),
                "{made}"
            );
            assert!(!made.contains("PRIVATE"));
            assert_eq!(show(&out, passphrase.clone()).unwrap(), made);

            let private = std::fs::read_to_string(&out).unwrap();
            let label = match passphrase {
                Some(_) => "-----BEGIN ENCRYPTED PRIVATE KEY-----",
                None => "-----BEGIN PRIVATE KEY-----",
            };
            assert!(private.starts_with(label));
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                let mode = std::fs::metadata(&out).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
            }
        }
    }

    #[test]
    fn an_encrypted_key_needs_its_passphrase() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("key.pem");
        new(NewAlgorithm::Es256, &out, Some(&Secret::new("right"))).unwrap();
        let error = show(&out, None).unwrap_err().to_string();
        assert!(
            error.contains("key.pem") && error.contains("encrypted"),
            "{error}"
        );
        let wrong = folder.path().join("wrong");
        std::fs::write(&wrong, "wrong").unwrap();
        let error = show(&out, Some(wrong)).unwrap_err().to_string();
        assert!(error.contains("passphrase is wrong"), "{error}");
    }

    #[test]
    fn a_sealing_key_is_one_that_the_configuration_takes() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("seal.key");
        let lines = Command::SealKey { out: out.clone() }.run().unwrap();
        let config = crate::config::Config::from_text(&lines, "", "".as_ref(), []).unwrap();
        let text = std::fs::read_to_string(&out).unwrap();
        let key = SealingKey::from_text(&text).unwrap();
        assert_eq!(config.store.encryption_key.unwrap().id(), key.id());
        assert_eq!(config.warnings, [], "its owner alone can read it");
        assert!(!lines.contains(text.trim()));
        let error = Command::SealKey { out }.run().unwrap_err().to_string();
        assert!(error.contains("seal.key exists"), "{error}");
    }

    #[test]
    fn a_file_that_exists_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("key.pem");
        std::fs::write(&out, "precious").unwrap();
        let error = new(NewAlgorithm::Es256, &out, None)
            .unwrap_err()
            .to_string();
        assert!(error.contains("key.pem exists"), "{error}");
        assert_eq!(std::fs::read(&out).unwrap(), b"precious");
    }
}
