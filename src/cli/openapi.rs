//! `causeway openapi`: the HTTP interface's contract.

use std::path::PathBuf;

use super::error::CliError;
use crate::http;

const FILE: &str = "openapi.json";

/// Print the HTTP interface's OpenAPI document, or write it into a folder
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  causeway openapi | jq .paths\n  causeway openapi --out openapi"
)]
pub(super) struct Args {
    /// Write openapi.json into this folder instead
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Args {
    pub(super) fn run(self) -> Result<String, CliError> {
        let document = http::openapi_json();
        let Some(folder) = self.out else {
            return Ok(document);
        };
        let file = folder.join(FILE);
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(&file, document))
            .map_err(|error| CliError::Io(file.clone(), error))?;
        Ok(format!("{}\n", file.display()))
    }
}
