//! Lines as a user pastes them into a terminal.

use std::process::Command;

use serde_json::Value;

use super::program::Program;

/// Runs a line through `sh` to its end and returns what it printed.
pub async fn paste(line: &str) -> String {
    let mut program = begin(line);
    let status = program.exit().await;
    let (out, err) = (program.stdout().all(), program.stderr().all());
    assert_ne!(
        status.code(),
        Some(127),
        "{err:?}; install it with: apt-get install curl"
    );
    assert!(status.success(), "{line}: {status}, {err:?}");
    out.join("\n")
}

/// The same, of a line that prints JSON.
pub async fn paste_json(line: &str) -> Value {
    let text = paste(line).await;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"))
}

/// Begins a line that does not end by itself.
pub fn begin(line: &str) -> Program {
    Program::start(Command::new("sh").args(["-c", line]), "a shell")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn quotes_are_the_shells_business() {
        assert_eq!(paste(r#"printf %s '{"a": 1}'"#).await, r#"{"a": 1}"#);
    }

    #[tokio::test]
    #[should_panic(expected = "apt-get install curl")]
    async fn a_missing_program_names_its_cure() {
        paste("no-such-program --version").await;
    }
}
