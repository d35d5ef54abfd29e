//! A page read by somebody who does everything that it says, and looks whether it is true.
//!
//! - `# causeway.toml` begins a file of that name; `# add to causeway.toml` is added to it.
//! - `# in a terminal of its own` begins a command that keeps running.
//! - `# press Ctrl-C in the terminal of …` ends one.
//! - `# needs …` names what a test does not have; the block is left out.
//! - Every other `sh` block is run to its end, and succeeds.
//! - A `text` block is what the last command, or one in a terminal of its own, prints, line for line in that order with
//!   others between; `…` stands for anything.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tokio::time::timeout;

use super::DEADLINE;
use super::eventually::eventually;
use super::markdown::{Block, Page};
use super::port::Port;
use super::program::Program;

const TERMINAL: &str = "in a terminal of its own";
const STOP: &str = "press Ctrl-C in the terminal of ";

/// A reader at a clean desk.
pub struct Reader {
    folder: TempDir,
    /// What is written otherwise than in the page: ports that are free, addresses of pretended platforms.
    instead: Vec<(String, String)>,
    /// Files that the reader has from elsewhere, there from the first command on that makes their folder.
    brings: Vec<(PathBuf, Vec<u8>)>,
    ports: [Port; 3],
    terminals: Vec<(String, Program)>,
    /// What the last command that ended has printed.
    printed: [Vec<String>; 2],
}

impl Reader {
    /// Whoever reads has ports of his own in the place of the bridge's 8080 and 9090, and a broker's 1883.
    pub fn sit_down() -> Self {
        let ports = [Port::reserve(), Port::reserve(), Port::reserve()];
        let [http, management, broker] = ports.each_ref().map(Port::number);
        let instead = [
            (":8080", format!(":{http}")),
            (":9090", format!(":{management}")),
            (":1883", format!(":{broker}")),
            ("-p 1883", format!("-p {broker}")),
        ];
        Self {
            folder: tempfile::tempdir().unwrap(),
            instead: instead.map(|(from, to)| (from.to_owned(), to)).into(),
            brings: Vec::new(),
            ports,
            terminals: Vec::new(),
            printed: Default::default(),
        }
    }

    /// Wherever the page has `from`, this reader has `to`.
    pub fn instead(mut self, from: &str, to: impl Into<String>) -> Self {
        self.instead.push((from.to_owned(), to.into()));
        self
    }

    /// A file that comes from elsewhere: a platform handed it out.
    pub fn brings(mut self, path: &str, content: Vec<u8>) -> Self {
        self.brings.push((path.into(), content));
        self
    }

    /// Does what a page says, from its beginning to its end. `outside` stands in for what the page asks of a platform's
    /// own pages: it is given what the page shows next, and what the last command has printed, and makes it happen.
    pub async fn follow(mut self, page: &Page, mut outside: impl AsyncFnMut(&str, &str)) {
        for block in &page.blocks {
            let place = format!("{}:{}", page.path.display(), block.line);
            match block.language.as_str() {
                "toml" => self.write(block),
                "sh" => self.run(block, &place).await,
                "text" if block.is_output => {
                    outside(&block.text, &self.printed[0].join("\n")).await;
                    self.look(block, &place).await;
                }
                _ => {}
            }
        }
    }

    fn write(&self, block: &Block) {
        let path = self.folder.path().join("causeway.toml");
        let text = self.own(&block.text);
        match block.remark() {
            "causeway.toml" => fs::write(path, text).unwrap(),
            "add to causeway.toml" => {
                fs::write(&path, fs::read_to_string(&path).unwrap() + &text).unwrap();
            }
            _ => {}
        }
    }

    async fn run(&mut self, block: &Block, place: &str) {
        let remark = block.remark();
        let text = self.own(&block.text);
        if remark.starts_with("needs ") {
            return;
        }
        if let Some(what) = remark.strip_prefix(STOP) {
            let at = self.terminals.iter().position(|(c, _)| c.starts_with(what));
            let at = at.unwrap_or_else(|| panic!("{place}: {what} does not run"));
            self.terminals.remove(at).1.terminate().await;
            return;
        }
        let mut program = self.begin(&text, remark == TERMINAL);
        if remark == TERMINAL {
            let command = text.lines().nth(1).unwrap_or_default().to_owned();
            self.terminals.push((command, program));
            return;
        }
        let status = program.exit().await;
        self.printed = [program.stdout().all(), program.stderr().all()];
        assert!(
            status.success(),
            "{place}: {status}\n{text}{:#?}",
            self.printed
        );
        for (path, content) in &self.brings {
            let path = self.folder.path().join(path);
            if path.parent().is_some_and(Path::is_dir) {
                fs::write(&path, content).unwrap();
            }
        }
    }

    fn begin(&self, text: &str, keeps_running: bool) -> Program {
        let bin = Path::new(env!("CARGO_BIN_EXE_causeway")).parent().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let [http, management, _] = self.ports.each_ref().map(Port::addr);
        // Its end is that of the shell.
        let text = match keeps_running {
            true => text.replacen('\n', "\nexec ", 1),
            false => text.to_owned(),
        };
        let mut command = Command::new("bash");
        command
            .args(["-e", "-o", "pipefail", "-c", &text])
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}:/usr/sbin", bin.display()))
            .env("CAUSEWAY__HTTP__LISTEN", http.to_string())
            .env("CAUSEWAY__MANAGEMENT__LISTEN", management.to_string());
        Program::start(&mut command, "apt-get install bash")
    }

    /// Waits until what is shown has been printed.
    async fn look(&self, block: &Block, place: &str) {
        let shown = self.own(&block.text);
        if self.printed.iter().any(|lines| has(lines, &shown)) {
            return;
        }
        let there = || {
            self.terminals.iter().any(|(_, program)| {
                has(&program.stdout().all(), &shown) || has(&program.stderr().all(), &shown)
            })
        };
        let shown_at_last = eventually(place, 2 * DEADLINE, || std::future::ready(there()));
        if timeout(DEADLINE, shown_at_last).await.is_err() {
            panic!(
                "{place}: not printed: {shown}\nafter {:#?}\n{}",
                self.printed,
                self.seen()
            );
        }
    }

    fn seen(&self) -> String {
        let of = |(command, program): &(String, Program)| {
            let lines = [program.stdout().all(), program.stderr().all()];
            format!("{command}: {lines:#?}\n")
        };
        self.terminals.iter().map(of).collect()
    }

    fn own(&self, text: &str) -> String {
        let replaced = |text: String, (from, to): &(String, String)| text.replace(from, to);
        self.instead.iter().fold(text.to_owned(), replaced)
    }
}

/// Whether lines are printed as they are shown, in that order, with others between.
fn has(printed: &[String], shown: &str) -> bool {
    let mut printed = printed.iter();
    shown
        .lines()
        .filter(|line| !matches!(line.trim(), "" | "…"))
        .all(|line| printed.any(|printed| matches(printed.trim_end(), line)))
}

/// `…` stands for anything.
fn matches(line: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_stand_for_anything() {
        for (line, pattern, fits) in [
            ("abc", "abc", true),
            ("abcd", "abc", false),
            ("abcd", "abc…", true),
            ("xabc", "…abc", true),
            ("a-b-c", "a…b…c", true),
            ("a-b", "a…b…c", false),
            ("abab", "…ab", true),
            ("", "", true),
        ] {
            assert_eq!(matches(line, pattern), fits, "{line} {pattern}");
        }
    }

    #[test]
    fn lines_come_in_their_order() {
        let printed: Vec<_> = ["one", "two", "three"].map(str::to_owned).into();
        assert!(has(&printed, "one\n…\nthree\n"));
        assert!(!has(&printed, "three\none\n"));
        assert!(!has(&printed, "one\none\n"));
    }
}
