//! The Python that runs other people's MQTT scripts, with the libraries that the platforms' documentation uses.

use std::path::Path;
use std::process::{Command, Output};

use super::program::or_install;

/// Where `tests/run` makes the environment.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/python/bin/python");

/// The same environment's schemathesis.
const SCHEMATHESIS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/target/python/bin/schemathesis"
);

/// Where its hooks lie.
const HOOKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/contract");

/// Where the scripts lie.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/paho");

/// Runs a script (Python source) with `args` in `folder` and returns what became of it.
pub async fn python(script: &str, args: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(PYTHON);
    command.arg("-c").arg(script).args(args).current_dir(folder);
    run(command).await
}

/// Runs a script of `tests/paho` with `args`.
pub async fn paho(script: &str, args: &[String]) -> Output {
    let mut command = Command::new(PYTHON);
    command.arg(Path::new(SCRIPTS).join(script)).args(args);
    // Python's compiled files do not belong beside the sources.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    run(command).await
}

/// Runs schemathesis, with what it does not know by itself from `tests/contract`.
pub async fn schemathesis(args: &[&str]) -> Output {
    let mut command = Command::new(SCHEMATHESIS);
    command
        .args(args)
        .env("PYTHONPATH", HOOKS)
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(std::env::temp_dir());
    run(command).await
}

async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || {
        or_install(
            command.output(),
            PYTHON,
            "tests/run --prepare (or run the tests by tests/run)",
        )
    })
    .await
    .unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_documented_libraries_are_there() {
        let script = "import sys, jwt, paho.mqtt.publish, Crypto.PublicKey.RSA; \
            jwt.algorithms.get_default_algorithms()['ES256']; print(sys.argv[1:])";
        let output = python(script, &["one", "two words"], Path::new("/")).await;
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said.trim(), "['one', 'two words']", "{output:?}");
    }
}
