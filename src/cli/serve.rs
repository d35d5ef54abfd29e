//! `causeway serve`: the bridge itself.

use std::io;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::error::CliError;
use super::{ConfigFile, logging, signals};
use crate::bridge::{self, Bridge, StartError};
use crate::config::Config;

const EXAMPLES: &str = "\
Examples:
  causeway serve
  causeway serve --config /etc/causeway/causeway.toml
  CAUSEWAY__HTTP__LISTEN=127.0.0.1:9000 CAUSEWAY__LOG__LEVEL=debug causeway serve

Stops on SIGTERM and SIGINT after what is under way has been answered; a second signal stops it at once.";

/// Run the bridge
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
}

impl Args {
    pub(super) fn run(self) -> Result<(), CliError> {
        let config = self.config.load()?;
        logging::start(&config.log);
        for warning in &config.warnings {
            warn!("{warning}");
        }
        bridge::raise_open_files();
        signals::run(|shutdown| run_bridge(config, shutdown))
    }
}

/// Binds and runs the bridge until `shutdown`.
async fn run_bridge(config: Config, shutdown: CancellationToken) -> Result<(), CliError> {
    let bridge = Bridge::bind(&config).await.map_err(|error| match error {
        StartError::Plan(errors) => {
            CliError::Unusable(errors.iter().map(ToString::to_string).collect())
        }
        error @ (StartError::Bind { .. }
        | StartError::Store(_)
        | StartError::Vault(_)
        | StartError::Keyring(_)) => CliError::Failed(error.to_string()),
    })?;
    let failed = |error: io::Error| CliError::Failed(error.to_string());
    let (http, management) = (bridge.address(), bridge.management_address());
    let (http, management) = (http.map_err(failed)?, management.map_err(failed)?);
    let scheme = match config.http.https {
        Some(_) => "https",
        None => "http",
    };
    info!(
        connectors = config.connectors.len(),
        devices = config.devices.len(),
        "serving {scheme}://{http}, management http://{management}"
    );
    // The configuration holds keys and secrets that the bridge has taken over.
    drop(config);
    bridge.run(shutdown).await.map_err(failed)
}
