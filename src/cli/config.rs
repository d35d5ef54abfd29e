//! `causeway config`: what can be configured.

use super::error::CliError;
use crate::config::reference;

/// Describe every key of the configuration
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Print the configuration reference: every key with its type, range, default and meaning (Markdown)
    #[command(after_help = "Example:\n  causeway config reference | less")]
    Reference,
}

impl Command {
    pub(super) fn run(self) -> Result<String, CliError> {
        match self {
            Self::Reference => Ok(reference()),
        }
    }
}
