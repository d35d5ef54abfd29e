//! A program that runs beside a test: its output as it comes, its end, and certainly no longer than the test.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use super::DEADLINE;
use super::eventually::eventually;
use super::lines::Lines;

/// A running child process. Dropping it kills and reaps it.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

impl Program {
    /// Starts `command` with no input. When the program does not exist it panics with `install`, the way to get it.
    pub fn start(command: &mut Command, install: &str) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = or_install(command.spawn(), &name, install);
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        Self {
            name,
            child,
            stdout,
            stderr,
        }
    }

    /// What it printed, line by line.
    pub fn stdout(&self) -> &Lines {
        &self.stdout
    }

    /// What it complained or logged, line by line.
    pub fn stderr(&self) -> &Lines {
        &self.stderr
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, named without `SIG`.
    pub fn signal(&self, signal: &str) {
        // The shell's own `kill`: the safe standard library only knows SIGKILL.
        let kill = format!("kill -{signal} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(status.success(), "{kill}: {status}");
    }

    /// Asks it to end (SIGTERM) and returns how it did, after everything it still had to say.
    pub async fn terminate(&mut self) -> ExitStatus {
        if self.is_running() {
            self.signal("TERM");
        }
        self.exit().await
    }

    /// Ends it the hard way (SIGKILL), as a power cut would.
    pub fn kill9(&mut self) {
        // An error means that it has ended already, which is what is wanted.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Waits for its end and for the last of its output.
    pub async fn exit(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        eventually(&what, DEADLINE, || {
            std::future::ready(self.child.try_wait().unwrap().is_some())
        })
        .await;
        self.stdout.wait_end().await;
        self.stderr.wait_end().await;
        self.child.wait().unwrap()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// Unwraps the start of the program `name`; when there is no such program, panics with the way to get it.
pub fn or_install<T>(started: std::io::Result<T>, name: &str, install: &str) -> T {
    match started {
        Ok(started) => started,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!("{name} is missing; install it with: {install}")
        }
        Err(error) => panic!("{name} could not be started: {error}"),
    }
}

fn collect(pipe: impl Read + Send + 'static) -> Lines {
    let lines = Lines::new();
    let writer = lines.clone();
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n') {
            match line {
                Ok(line) => writer.push(String::from_utf8_lossy(&line).into_owned()),
                Err(_) => break,
            }
        }
        writer.end();
    });
    lines
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn shell(script: &str) -> Program {
        Program::start(Command::new("sh").args(["-c", script]), "a shell")
    }

    #[tokio::test]
    async fn output_and_exit_code_arrive() {
        let mut program = shell("echo out; echo err >&2; exit 7");
        assert_eq!(program.exit().await.code(), Some(7));
        assert_eq!(program.stdout().all(), ["out"]);
        assert_eq!(program.stderr().all(), ["err"]);
    }

    #[tokio::test]
    async fn a_program_can_be_asked_to_end_and_made_to() {
        let mut program = shell("echo ready; exec tail -f /dev/null");
        program.stdout().wait_for("ready").await;
        assert_eq!(program.terminate().await.signal(), Some(15));

        let mut program = shell("echo ready; exec tail -f /dev/null");
        program.stdout().wait_for("ready").await;
        assert!(program.is_running());
        program.kill9();
        assert!(!program.is_running());
        assert_eq!(program.exit().await.signal(), Some(9));
        assert_eq!(program.stdout().all(), ["ready"]);
    }

    #[test]
    #[should_panic(expected = "no-such-broker is missing; install it with: apt-get install it")]
    fn a_missing_program_names_its_cure() {
        Program::start(&mut Command::new("no-such-broker"), "apt-get install it");
    }
}
