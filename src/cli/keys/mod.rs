//! `causeway keys`: key pairs for devices that sign tokens, in files or in the store of a stopped bridge.

mod files;
mod kept;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use super::ConfigFile;
use super::error::CliError;
use crate::config::read_secret;
use crate::device::DeviceId;
use crate::identity::Algorithm;
use kept::Action;
pub(super) use kept::kept;

const EXAMPLES: &str = "\
Examples:
  causeway keys new --algorithm es256 --out pump-1.pem
  causeway keys new --algorithm rs256 --out pump-1.pem --passphrase-file passphrase
  causeway keys show pump-1.pem
  causeway keys new --device pump-1 --algorithm es256
  causeway keys list --device pump-1
  causeway keys activate --device pump-1 3a0c7d1b
  causeway keys import --device pump-1 pump-1.pem
  causeway keys seal-key --out seal.key

The public key that is printed is what the platform wants to have; with akenza, paste it into the device's credentials.

With --device, keys are in the bridge's store, which a running bridge has to itself: stop it, or use its HTTP interface
(/v1/devices/{device}/keys), which does the same. A key's id may be shortened to what tells it from the device's others.";

/// Make key pairs for devices that sign tokens, show their public half, and say which of them signs
#[derive(Debug, clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// Make a key pair and print its public half; the private half goes into a new file, or into the store
    #[command(after_help = EXAMPLES)]
    New {
        /// RS256 is RSA with 2048 bits, ES256 is EC P-256
        #[arg(long, default_value = "rs256")]
        algorithm: NewAlgorithm,
        /// The file to make, readable by its owner alone; one that exists is never overwritten
        #[arg(long, value_name = "FILE", required_unless_present = "device")]
        out: Option<PathBuf>,
        /// Encrypt the private key with the passphrase in this file
        #[arg(long, value_name = "FILE", conflicts_with = "device")]
        passphrase_file: Option<PathBuf>,
        /// Keep the key in the store, for this device; it signs nothing before it is activated
        #[arg(long, value_name = "ID", conflicts_with = "out")]
        device: Option<DeviceId>,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Print the public half of a private key, and its key id (kid)
    #[command(after_help = EXAMPLES)]
    Show {
        /// The private key, PEM; with --device the id of a key in the store
        #[arg(value_name = "FILE or KID")]
        key: PathBuf,
        /// The passphrase of an encrypted key
        #[arg(long, value_name = "FILE", conflicts_with = "device")]
        passphrase_file: Option<PathBuf>,
        /// Look in the store, at the keys of this device
        #[arg(long, value_name = "ID")]
        device: Option<DeviceId>,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// List the keys in the store
    #[command(after_help = EXAMPLES)]
    List {
        /// Those of this device alone
        #[arg(long, value_name = "ID")]
        device: Option<DeviceId>,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Let a key in the store sign from the next start on; if the broker refuses it then, the key before it signs again
    #[command(after_help = EXAMPLES)]
    Activate {
        #[command(flatten)]
        key: StoredKey,
    },
    /// Delete a key in the store that is not needed any more
    #[command(after_help = EXAMPLES)]
    Delete {
        #[command(flatten)]
        key: StoredKey,
    },
    /// Take a private key over into the store; it signs nothing before it is activated
    #[command(after_help = EXAMPLES)]
    Import {
        /// The private key, PEM
        file: PathBuf,
        /// The passphrase of an encrypted key
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
        /// The device that it is for
        #[arg(long, value_name = "ID")]
        device: DeviceId,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Make the key that private keys and secrets are sealed with in the store ([store] encryption_key_file)
    #[command(after_help = EXAMPLES)]
    SealKey {
        /// The file to make, readable by its owner alone; one that exists is never overwritten
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// Which key in the store.
#[derive(Debug, clap::Args)]
pub(super) struct StoredKey {
    /// The key's id, or its beginning
    kid: String,
    /// The device that it is for
    #[arg(long, value_name = "ID")]
    device: DeviceId,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum NewAlgorithm {
    Rs256,
    Es256,
}

impl From<NewAlgorithm> for Algorithm {
    fn from(algorithm: NewAlgorithm) -> Self {
        match algorithm {
            NewAlgorithm::Rs256 => Self::Rs256,
            NewAlgorithm::Es256 => Self::Es256,
        }
    }
}

impl Command {
    pub(super) fn run(self) -> Result<String, CliError> {
        let passphrase = |file: Option<PathBuf>| file.map(|file| read_secret(&file)).transpose();
        match self {
            Self::New {
                algorithm,
                device: Some(device),
                config,
                ..
            } => kept::run(&config, Some(device), Action::Make(algorithm.into())),
            Self::New {
                algorithm,
                out,
                passphrase_file,
                ..
            } => {
                let out = out.unwrap_or_default();
                files::new(
                    algorithm.into(),
                    &out,
                    passphrase(passphrase_file)?.as_ref(),
                )
            }
            Self::Show {
                key,
                device: Some(device),
                config,
                ..
            } => {
                let kid = key.to_string_lossy().into_owned();
                kept::run(&config, Some(device), Action::Show(kid))
            }
            Self::Show {
                key,
                passphrase_file,
                ..
            } => {
                let key = files::read(&key, passphrase(passphrase_file)?.as_ref())?;
                Ok(files::describe_key(&key))
            }
            Self::List { device, config } => kept::run(&config, device, Action::List),
            Self::Activate { key } => {
                kept::run(&key.config, Some(key.device), Action::Activate(key.kid))
            }
            Self::Delete { key } => {
                kept::run(&key.config, Some(key.device), Action::Delete(key.kid))
            }
            Self::Import {
                file,
                passphrase_file,
                device,
                config,
            } => {
                let key = files::read(&file, passphrase(passphrase_file)?.as_ref())?;
                kept::run(&config, Some(device), Action::Import(Box::new(key)))
            }
            Self::SealKey { out } => files::seal_key(&out),
        }
    }
}
