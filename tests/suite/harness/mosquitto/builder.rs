//! What a broker shall be like, and how that is said in Mosquitto's own configuration.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::super::access::INSTALL_MOSQUITTO;
use super::super::certificates::{Authority, Identity};
use super::super::port::Port;
use super::super::program::or_install;
use super::{Mosquitto, run};

/// What a broker shall be like. Unless said otherwise: no TLS, anybody may do anything, nothing survives a restart.
#[derive(Debug, Default)]
pub struct Builder {
    tls: Option<(PathBuf, Identity)>,
    client_certificates: Option<CertificateUse>,
    websockets: bool,
    users: Vec<(String, String)>,
    acl: Option<String>,
    persistent: bool,
    lines: Vec<String>,
}

/// What a demanded client certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateUse {
    /// It only has to be there and to chain to the listener's authority.
    Demand,
    /// Its common name is the user name, as with `use_identity_as_username`.
    UserName,
}

impl Builder {
    /// Adds a TLS listener with a good certificate for `localhost` and `127.0.0.1`.
    pub fn tls(self, authority: &Authority) -> Self {
        self.tls_with(authority, authority.server())
    }

    /// Adds a TLS listener with the server certificate `server`; client certificates have to chain to `authority`.
    pub fn tls_with(mut self, authority: &Authority, server: Identity) -> Self {
        self.tls = Some((authority.ca_file(), server));
        self
    }

    /// The TLS listener demands client certificates.
    pub fn client_certificates(mut self, purpose: CertificateUse) -> Self {
        self.client_certificates = Some(purpose);
        self
    }

    /// Adds a listener for MQTT over WebSockets, and with TLS another one that has TLS below and demands no certificate.
    pub fn websockets(mut self) -> Self {
        self.websockets = true;
        self
    }

    /// Adds a user; from the first one on nobody is let in anonymously.
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// Sets the access control list, in the form of Mosquitto's `acl_file`; what it does not grant is denied.
    pub fn acl(mut self, acl: &str) -> Self {
        self.acl = Some(acl.to_owned());
        self
    }

    /// How many messages to one client may be on the way unacknowledged (Mosquitto's `max_inflight_messages`).
    pub fn max_inflight(self, messages: u16) -> Self {
        self.config(&format!("max_inflight_messages {messages}"))
    }

    /// Sessions, queues and retained messages survive [`Mosquitto::stop`], and [`Mosquitto::kill9`] as they were at the last
    /// [`Mosquitto::save`].
    pub fn persistent(mut self) -> Self {
        self.persistent = true;
        self
    }

    /// Adds a line to the global part of the configuration.
    pub fn config(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Starts it; returns once it takes connections.
    pub async fn start(self) -> Mosquitto {
        let dir = TempDir::new().unwrap();
        let plain = Port::reserve();
        let tls = self.tls.as_ref().map(|_| Port::reserve());
        let websockets = self.websockets.then(Port::reserve);
        let tls_websockets = (self.websockets && tls.is_some()).then(Port::reserve);

        let mut config = self.global(dir.path());
        writeln!(config, "listener {} 127.0.0.1", plain.number()).unwrap();
        if let (Some(port), Some((ca_file, server))) = (&tls, &self.tls) {
            writeln!(config, "listener {} 127.0.0.1", port.number()).unwrap();
            config += &tls_lines(ca_file, server, self.client_certificates);
        }
        if let Some(port) = &websockets {
            writeln!(config, "listener {} 127.0.0.1", port.number()).unwrap();
            config += "protocol websockets\n";
        }
        if let (Some(port), Some((ca_file, server))) = (&tls_websockets, &self.tls) {
            writeln!(config, "listener {} 127.0.0.1", port.number()).unwrap();
            config += "protocol websockets\n";
            config += &tls_lines(ca_file, server, None);
        }
        let config_file = write(dir.path(), "mosquitto.conf", &config);
        Mosquitto {
            program: run(&config_file).await,
            config_file,
            plain,
            tls: tls.zip(self.tls.map(|(ca_file, _)| ca_file)),
            websockets,
            tls_websockets,
            dir,
        }
    }

    fn global(&self, dir: &Path) -> String {
        // Started by root it would otherwise become a user who cannot read the test's files; other users it ignores.
        let mut config = String::from("user root\nlog_dest stderr\n");
        writeln!(config, "allow_anonymous {}", self.users.is_empty()).unwrap();
        if !self.users.is_empty() {
            let file = password_file(dir, &self.users);
            writeln!(config, "password_file {}", file.display()).unwrap();
        }
        if let Some(acl) = &self.acl {
            let file = write(dir, "acl", acl);
            writeln!(config, "acl_file {}", file.display()).unwrap();
        }
        if self.persistent {
            let folder = dir.display();
            writeln!(config, "persistence true\npersistence_location {folder}/").unwrap();
            config += "autosave_interval 0\n";
        }
        for line in &self.lines {
            writeln!(config, "{line}").unwrap();
        }
        config
    }
}

fn tls_lines(ca_file: &Path, server: &Identity, client: Option<CertificateUse>) -> String {
    let mut lines = format!(
        "cafile {}\ncertfile {}\nkeyfile {}\n",
        ca_file.display(),
        server.certificate_file.display(),
        server.key_file.display()
    );
    if client.is_some() {
        lines += "require_certificate true\n";
    }
    if client == Some(CertificateUse::UserName) {
        lines += "use_identity_as_username true\n";
    }
    lines
}

fn password_file(dir: &Path, users: &[(String, String)]) -> PathBuf {
    let lines = users
        .iter()
        .map(|(name, password)| format!("{name}:{password}\n"));
    let file = write(dir, "passwords", &lines.collect::<String>());
    let hash = Command::new("mosquitto_passwd")
        .arg("-U")
        .arg(&file)
        .output();
    let hashed = or_install(hash, "mosquitto_passwd", INSTALL_MOSQUITTO);
    assert!(hashed.status.success(), "mosquitto_passwd: {hashed:?}");
    file
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let file = dir.join(name);
    fs::write(&file, text).unwrap();
    file
}
