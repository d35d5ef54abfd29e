//! Fixtures for tests, made by openssl(1): the tool that users' keys come from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A folder in which openssl works.
pub(super) struct Bench(TempDir);

impl Bench {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub(super) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
    }

    /// Writes several files into one, end to end.
    pub(super) fn concat(&self, target: &str, sources: &[&str]) {
        let bytes: Vec<u8> = sources.iter().flat_map(|name| self.read(name)).collect();
        self.write(target, bytes);
    }

    /// Runs one command, its arguments separated by spaces, and gives what it printed.
    pub(super) fn run(&self, arguments: &str) -> Vec<u8> {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .expect("openssl is needed: apt-get install openssl");
        assert!(
            output.status.success(),
            "openssl {arguments}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }
}

/// A path for messages.
pub(super) fn named(name: &str) -> &Path {
    Path::new(name)
}
