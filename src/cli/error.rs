//! Why a command failed, and the exit code that says so.

use std::io;
use std::path::PathBuf;

use crate::config::{ConfigError, FileError};
use crate::identity::{IssueError, KeyError};

/// sysexits.h's `EX_CONFIG`.
const CONFIGURATION_INVALID: u8 = 78;

#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// What the configuration names cannot be used: a key, a certificate.
    #[error("{}", .0.join("\n"))]
    Unusable(Vec<String>),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Token(#[from] IssueError),
    #[error("{}: {}", .0.display(), .1)]
    Io(PathBuf, io::Error),
    #[error("{0}")]
    Failed(String),
    /// What failed is on the terminal already.
    #[error("something failed")]
    Shown,
}

impl CliError {
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Unusable(_) => CONFIGURATION_INVALID,
            _ => 1,
        }
    }
}
