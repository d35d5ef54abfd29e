//! The `causeway` program as a user starts it.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use super::program::Program;

/// Starts `causeway` with `args` in `folder`, with `env` on top of the test's own environment.
pub fn causeway<A: AsRef<OsStr>>(folder: &Path, args: &[A], env: &[(&str, &str)]) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_causeway"));
    command
        .args(args)
        .envs(env.iter().copied())
        .current_dir(folder);
    Program::start(&mut command, "cargo build")
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
