//! `causeway metrics`: what `/metrics` tells, for the documentation.

use std::path::PathBuf;

use super::error::CliError;
use crate::observe;

/// Print the table of all metrics as Markdown, or write it into a file
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  causeway metrics --out docs/src/metrics.md")]
pub(super) struct Args {
    /// Write it into this file instead
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Args {
    pub(super) fn run(self) -> Result<String, CliError> {
        let table = observe::metrics_markdown();
        let Some(file) = self.out else {
            return Ok(table);
        };
        std::fs::write(&file, table).map_err(|error| CliError::Io(file.clone(), error))?;
        Ok(format!("{}\n", file.display()))
    }
}
