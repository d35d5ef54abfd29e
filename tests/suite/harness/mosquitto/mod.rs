//! A real Mosquitto of the test's own, configured to be as strict or as lax as the test needs.

mod builder;
pub mod clients;
#[cfg(test)]
mod tests;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::DEADLINE;
use super::access::{Access, INSTALL_MOSQUITTO};
use super::eventually::eventually;
use super::lines::Lines;
use super::port::Port;
use super::program::Program;
pub use builder::{Builder, CertificateUse};

/// A running (or killed, and to be restarted) broker. Its ports, files and state stay its own until it is dropped.
#[derive(Debug)]
pub struct Mosquitto {
    program: Program,
    config_file: PathBuf,
    plain: Port,
    tls: Option<(Port, PathBuf)>,
    websockets: Option<Port>,
    tls_websockets: Option<Port>,
    // Last, so that the broker has ended before its folder goes.
    dir: TempDir,
}

impl Mosquitto {
    /// A broker without TLS that lets anybody do anything.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// A broker that is particular.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Its listener without TLS.
    pub fn addr(&self) -> SocketAddr {
        self.plain.addr()
    }

    /// Its TLS listener.
    pub fn tls_addr(&self) -> SocketAddr {
        self.tls.as_ref().expect("a broker with tls()").0.addr()
    }

    /// Its listener for MQTT over WebSockets.
    pub fn websockets_addr(&self) -> SocketAddr {
        let port = self.websockets.as_ref();
        port.expect("a broker with websockets()").addr()
    }

    /// Its listener for MQTT over WebSockets over TLS.
    pub fn tls_websockets_addr(&self) -> SocketAddr {
        let port = self.tls_websockets.as_ref();
        port.expect("a broker with tls() and websockets()").addr()
    }

    /// Anonymous access without TLS.
    pub fn access(&self) -> Access {
        Access::new(self.addr())
    }

    /// Anonymous access through TLS, trusting the broker's authority.
    pub fn tls_access(&self) -> Access {
        let (port, ca_file) = self.tls.as_ref().expect("a broker with tls()");
        Access::new(port.addr()).tls(ca_file)
    }

    /// What it logged since it was last started, such as `New client connected from 127.0.0.1:… as sensor-1 (p5, …`.
    pub fn log(&self) -> &Lines {
        self.program.stderr()
    }

    /// Makes a [persistent](Builder::persistent) broker write its state to disk now. It does so at no other time before its
    /// end, and never before it acknowledges a message.
    pub async fn save(&self) {
        // It writes a new file and puts it in the old one's place.
        let file = self.dir.path().join("mosquitto.db");
        let inode = || fs::metadata(&file).ok().map(|file| file.ino());
        let before = inode();
        self.program.signal("USR1");
        let saved = || std::future::ready(inode() != before);
        eventually("a saved broker", DEADLINE, saved).await;
    }

    /// Ends it the hard way; clients are refused until [`restart`](Self::restart).
    pub fn kill9(&mut self) {
        self.program.kill9();
    }

    /// Ends it in good order; clients are refused until [`restart`](Self::restart).
    pub async fn stop(&mut self) {
        self.program.terminate().await;
    }

    /// Starts it again, after having ended it the hard way if it still runs: same ports, same configuration.
    pub async fn restart(&mut self) {
        self.program.kill9();
        self.program = run(&self.config_file).await;
    }
}

async fn run(config_file: &Path) -> Program {
    let mut command = Command::new("mosquitto");
    // Debian puts it where the PATH of an ordinary user does not look.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin"));
    command.arg("-c").arg(config_file);
    let program = Program::start(&mut command, INSTALL_MOSQUITTO);
    // It says so after it has opened its listeners.
    program.stderr().wait_for(" running").await;
    program
}
