//! The `causeway` program as a user starts it.

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::program::Program;

/// Listeners on free ports, as the first lines of a configuration. More lines behind them are those of `[http]`.
pub const LISTENERS: &str =
    "[management]\nlisten = \"127.0.0.1:0\"\n[http]\nlisten = \"127.0.0.1:0\"\n";

/// Writes `causeway.toml` in `folder`: free ports, and these connectors and devices.
pub fn configure(folder: &Path, connectors: &str) {
    let text = format!("{LISTENERS}{connectors}");
    fs::write(folder.join("causeway.toml"), text).unwrap();
}

/// Starts `causeway` with `args` in `folder`, with `env` on top of the test's own environment.
pub fn causeway<A: AsRef<OsStr>>(folder: &Path, args: &[A], env: &[(&str, &str)]) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_causeway"));
    command
        .args(args)
        .envs(env.iter().copied())
        .current_dir(folder);
    Program::start(&mut command, "cargo build")
}

/// The main listener of `causeway serve`, once that says where it is.
pub async fn serving(program: &Program) -> SocketAddr {
    const WORDS: &str = "serving http://";
    let line = program.stderr().wait_for(WORDS).await;
    let (_, rest) = line.split_once(WORDS).unwrap();
    // Of a line of words, or of a JSON text.
    let end = rest.find([',', ' ', '"']).unwrap_or(rest.len());
    rest[..end].parse().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_program_runs() {
        let folder = tempfile::tempdir().unwrap();
        let mut program = causeway(folder.path(), &["--version"], &[("NO_COLOR", "1")]);
        assert!(program.exit().await.success());
    }
}
