//! A real nats-server with JetStream, of the test's own.

use std::process::Command;

use tempfile::TempDir;

use super::port::Port;
use super::program::Program;

const INSTALL: &str = "apt-get install nats-server";

/// A running (or killed, and to be restarted) server. Its port and its streams stay its own until it is dropped.
#[derive(Debug)]
pub struct NatsServer {
    program: Program,
    port: Port,
    // Last, so that the server has ended before its folder goes.
    folder: TempDir,
}

impl NatsServer {
    /// A server that lets anybody do anything.
    pub async fn start() -> Self {
        let (port, folder) = (Port::reserve(), tempfile::tempdir().unwrap());
        let program = run(&port, &folder).await;
        Self {
            program,
            port,
            folder,
        }
    }

    /// The section of a configuration that puts a bridge's store there.
    pub fn store(&self) -> String {
        format!("[store]\nurl = \"nats://{}\"\n", self.port.addr())
    }

    /// Ends it the hard way; clients are refused until [`restart`](Self::restart).
    pub fn kill9(&mut self) {
        self.program.kill9();
    }

    /// Starts it again, after having ended it the hard way if it still runs: same port, same streams.
    pub async fn restart(&mut self) {
        self.program.kill9();
        self.program = run(&self.port, &self.folder).await;
    }
}

async fn run(port: &Port, folder: &TempDir) -> Program {
    let mut command = Command::new("nats-server");
    // Debian puts it where the PATH of an ordinary user does not look.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin"));
    let number = port.number().to_string();
    command
        .args(["-js", "-a", "127.0.0.1", "-p", &number, "-sd"])
        .arg(folder.path());
    let program = Program::start(&mut command, INSTALL);
    // It says so after it has recovered its streams.
    program.stderr().wait_for("Server is ready").await;
    program
}
