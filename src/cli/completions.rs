//! `causeway completions`: what a shell completes.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, NAME};

const EXAMPLES: &str = "\
Examples:
  causeway completions bash > /etc/bash_completion.d/causeway
  causeway completions zsh > \"${fpath[1]}/_causeway\"
  causeway completions fish > ~/.config/fish/completions/causeway.fish";

/// Print what a shell needs to complete commands and options
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

impl Args {
    pub(super) fn run(self) -> String {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), NAME, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }
}
