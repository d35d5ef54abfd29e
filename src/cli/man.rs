//! `causeway man`: manual pages.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_mangen::roff::{Roff, roman};

use super::Cli;
use super::error::CliError;

const EXAMPLES: &str = "\
Examples:
  causeway man | man -l -
  causeway man --out /usr/local/share/man/man1     a page for each command as well";

/// Print the manual page, or write the pages of all commands into a folder
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Write causeway.1, causeway-serve.1 and so on into this folder instead
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Args {
    pub(super) fn run(self) -> Result<String, CliError> {
        let mut command = Cli::command();
        command.build();
        match self.out {
            None => page(&command).map_err(|error| CliError::Failed(error.to_string())),
            Some(folder) => {
                let mut written = Vec::new();
                write(&command, &folder, &mut written)
                    .map_err(|error| CliError::Io(folder.clone(), error))?;
                let files = written.iter().map(|file| format!("{}\n", file.display()));
                Ok(files.collect())
            }
        }
    }
}

fn page(command: &Command) -> io::Result<String> {
    let after = command.get_after_help().map(ToString::to_string);
    // What stands there is laid out already, and would be filled up to one paragraph.
    let command = command.clone().after_help(None::<&str>);
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    more(&after.unwrap_or_default()).to_writer(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// What a command's help says at its end: examples as they are typed, and the paragraphs behind them.
fn more(after: &str) -> Roff {
    let mut page = Roff::new();
    let mut notes = false;
    for paragraph in after.split("\n\n").filter(|text| !text.is_empty()) {
        if let Some(("Example:" | "Examples:", examples)) = paragraph.split_once('\n') {
            page.control("SH", ["EXAMPLES"]).control("nf", []);
            for line in examples.lines() {
                page.text([roman(line.trim_start())]);
            }
            page.control("fi", []);
            continue;
        }
        match notes {
            false => page.control("SH", ["NOTES"]),
            true => page.control("PP", []),
        };
        notes = true;
        page.text([roman(paragraph.replace('\n', " "))]);
    }
    page
}

fn write(command: &Command, folder: &Path, written: &mut Vec<PathBuf>) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    // `causeway keys new` is causeway-keys-new.1; clap has put the dashes there when it was built.
    let name = command.get_display_name().unwrap_or(command.get_name());
    let file = folder.join(format!("{name}.1"));
    std::fs::write(&file, page(command)?)?;
    written.push(file);
    let inner = command.get_subcommands();
    for command in inner.filter(|c| !c.is_hide_set() && c.get_name() != "help") {
        write(command, folder, written)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_page() {
        let folder = tempfile::tempdir().unwrap();
        let out = Some(folder.path().to_owned());
        let written = Args { out }.run().unwrap();
        for name in ["causeway", "causeway-serve", "causeway-keys-new"] {
            let page = std::fs::read_to_string(folder.path().join(format!("{name}.1"))).unwrap();
            assert!(
                page.contains(".TH ") && page.contains(".SH SYNOPSIS"),
                "{page}"
            );
            assert!(written.contains(&format!("{name}.1\n")));
        }
        assert!(
            !written.contains("help") && !written.contains("health"),
            "{written}"
        );
        assert!(
            Args { out: None }
                .run()
                .unwrap()
                .contains("causeway\\-serve")
        );
    }

    #[test]
    fn examples_keep_their_lines() {
        let page = more("Examples:\n  causeway serve\n  .x | y\n\nIt\nstops.\n\nAnd more.");
        assert_eq!(
            page.render(),
            ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq \u{27}\n.SH EXAMPLES\n.nf\ncauseway serve\n\\&.x | y\n.fi\n\
             .SH NOTES\nIt stops.\n.PP\nAnd more.\n"
        );
    }
}
