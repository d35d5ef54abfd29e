//! Everything that the demo makes, in one folder: a second run finds it there and uses it again.
//!
//! | file | what | written |
//! |---|---|---|
//! | `*.key.pem`, `demo-sap.pem`, `*.passphrase`, `connector.secret`, `ca.pem`, `server.pem` | keys, secrets, certificates | once |
//! | `*.pub.pem`, `causeway.toml`, `README.txt` | what follows from them and from the ports | at every start |
//! | `demo.json` | addresses and devices, for scripts | when everything answers; gone when the demo ends |
//!
//! Private files have mode 0600. Deleting a file, or the folder, has it made anew.

mod certificates;
mod files;
mod keys;
mod pbe;
mod readme;
mod samples;
mod sap;

use std::fmt::Display;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use certificates::Servers;
pub use samples::{CONNECTOR_ID, EC_DEVICE, RSA_DEVICE, SAP_DEVICE, SECRET_DEVICES, SampleDevice};

use super::akenza::Registry;
use crate::device::{DeviceId, NameError};
use crate::identity::{Algorithm, KeyError};
use crate::secret::Secret;
use certificates::{Authority, CA_FILE};
use files::Readers;

/// The demo's folder, with everything in it that does not depend on the ports.
pub struct Folder {
    dir: PathBuf,
    /// What the brokers' TLS listeners show and demand.
    pub servers: Servers,
    /// What the pretended akenza knows.
    pub registry: Registry,
    /// The device that the pretended SAP gateway knows.
    pub sap_device: DeviceId,
    /// The sample devices.
    pub devices: Vec<SampleDevice>,
}

/// Where everything listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// The bridge.
    pub http: SocketAddr,
    /// The bridge's management listener.
    pub management: SocketAddr,
    /// The platform's console.
    pub console: SocketAddr,
    /// The platform's broker.
    pub mqtt: SocketAddr,
    /// The same with TLS.
    pub mqtts: SocketAddr,
    /// The pretended SAP gateway, with TLS.
    pub sap: SocketAddr,
}

/// `demo.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// URL of the bridge.
    pub http: String,
    /// URL of the bridge's management listener.
    pub management: String,
    /// URL of the platform's console.
    pub console: String,
    /// URL of the platform's broker.
    pub mqtt: String,
    /// The same with TLS.
    pub mqtts: String,
    /// URL of the pretended SAP gateway.
    pub sap: String,
    /// The CA that the TLS listener's certificate comes from.
    pub ca_file: String,
    /// The sample devices.
    pub devices: Vec<SampleDevice>,
}

/// A folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file cannot be read or written.
    #[error("{}: {error}; choose another folder with --dir", file.display())]
    Io {
        /// Which.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file is not what it was.
    #[error("{}: {reason}; delete the file, and it is made anew", file.display())]
    Damaged {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A key that the demo cannot make or read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A key that cannot be written in the form that its platform uses.
    #[error("a key cannot be written as {0}")]
    Form(&'static str),
    /// A certificate that cannot be made.
    #[error("a certificate of the demo cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A sample device's name is not one.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl FolderError {
    fn io(file: &Path, error: io::Error) -> Self {
        Self::Io {
            file: file.to_owned(),
            error,
        }
    }

    fn damaged(file: &Path, reason: impl Display) -> Self {
        Self::Damaged {
            file: file.to_owned(),
            reason: reason.to_string(),
        }
    }
}

impl Folder {
    /// Opens a folder, and makes what is missing in it. Takes a large part of a second the first time.
    pub fn open(dir: &Path) -> Result<Self, FolderError> {
        fs::create_dir_all(dir).map_err(|error| FolderError::io(dir, error))?;
        let dir = dir
            .canonicalize()
            .map_err(|error| FolderError::io(dir, error))?;
        // A script that waits for it must not find the last run's.
        files::remove(&dir.join(SUMMARY_FILE))?;

        let authority = Authority::open(&dir)?;
        let servers = authority.servers(&dir)?;
        sap::keep_identity(&dir, SAP_DEVICE, &authority)?;
        let secret = files::keep(&dir.join(samples::SECRET_FILE), Readers::Owner, || {
            Ok(format!("{}\n", new_secret()))
        })?;
        let secret = secret.trim();

        let mut registry = Registry::default();
        for (device, algorithm) in [
            (RSA_DEVICE, Algorithm::Rs256),
            (EC_DEVICE, Algorithm::Es256),
        ] {
            let key = keys::device_key(&dir, device, algorithm)?;
            registry.add_key(DeviceId::parse(device)?, key);
        }
        let devices: Result<Vec<_>, _> = SECRET_DEVICES.map(DeviceId::parse).into_iter().collect();
        registry.add_connector(CONNECTOR_ID, Secret::new(secret), devices?);
        Ok(Self {
            devices: samples::devices(&dir, secret),
            servers,
            sap_device: DeviceId::parse(SAP_DEVICE)?,
            registry,
            dir,
        })
    }

    /// Writes the bridge's configuration and the explanation of the files, and gives the configuration's path.
    pub fn write_config(&self, addresses: &Addresses) -> Result<PathBuf, FolderError> {
        let file = self.dir.join("causeway.toml");
        files::write(&file, Readers::All, &samples::config(addresses))?;
        files::write(&self.dir.join("README.txt"), Readers::All, readme::TEXT)?;
        Ok(file)
    }

    /// What `demo.json` says.
    pub fn summary(&self, addresses: &Addresses) -> Summary {
        Summary {
            http: format!("http://{}", addresses.http),
            management: format!("http://{}", addresses.management),
            console: format!("http://{}", addresses.console),
            mqtt: format!("mqtt://{}", addresses.mqtt),
            mqtts: format!("mqtts://localhost:{}", addresses.mqtts.port()),
            sap: format!("mqtts://localhost:{}", addresses.sap.port()),
            ca_file: self.dir.join(CA_FILE).display().to_string(),
            devices: self.devices.clone(),
        }
    }

    /// Writes `demo.json`: everything answers.
    pub fn write_summary(&self, summary: &Summary) -> Result<(), FolderError> {
        let file = self.dir.join(SUMMARY_FILE);
        let json = serde_json::to_string_pretty(summary)
            .map_err(|error| FolderError::damaged(&file, error))?;
        // It has the connector's secret in it.
        files::write(&file, Readers::Owner, &format!("{json}\n"))
    }

    /// Removes `demo.json`: nothing answers any more.
    pub fn remove_summary(&self) -> Result<(), FolderError> {
        files::remove(&self.dir.join(SUMMARY_FILE))
    }

    /// The folder's absolute path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

const SUMMARY_FILE: &str = "demo.json";

/// 128 random bits in hexadecimal digits, which can stand in a topic.
fn new_secret() -> String {
    format!("{:032x}", rand::random::<u128>())
}
