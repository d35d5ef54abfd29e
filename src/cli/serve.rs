//! `causeway serve`: the bridge itself.

use std::io;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::error::CliError;
use super::progress::Progress;
use super::summary::Summary;
use super::{ConfigFile, logging, reload, signals};
use crate::bridge::{self, Bridge, StartError};
use crate::config::{Config, LogFormat};

const EXAMPLES: &str = "\
Examples:
  causeway serve
  causeway serve --config /etc/causeway/causeway.toml
  CAUSEWAY__HTTP__LISTEN=127.0.0.1:9000 CAUSEWAY__LOG__LEVEL=debug causeway serve

The configuration is read again on SIGHUP, and when it or a file that it names changes; what is not valid is not taken over.
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
        // People find them in the summary, where there is one.
        if config.log.format == LogFormat::Json || !logging::shows_summary() {
            for warning in &config.warnings {
                warn!("{warning}");
            }
        }
        bridge::raise_open_files();
        let file = self.config;
        signals::run(|shutdown| run_bridge(file, config, shutdown))
    }
}

/// Binds and runs the bridge until `shutdown`.
async fn run_bridge(
    file: ConfigFile,
    config: Config,
    shutdown: CancellationToken,
) -> Result<(), CliError> {
    // From here on, SIGHUP is a wish and not the end.
    let hangups = signals::Hangups::new();
    let hangups = hangups.map_err(|error| CliError::Failed(format!("cannot start: {error}")))?;
    let devices = config.devices.len();
    let progress = Progress::show(format!("reading keys and certificates, {devices} devices"));
    let bound = tokio::select! {
        bound = Bridge::bind(&config) => bound,
        // A store that is somewhere else is waited for; nothing is under way yet.
        () = shutdown.cancelled() => return Ok(()),
    };
    let bridge = bound.map_err(|error| match error {
        StartError::Plan(errors) => {
            CliError::Unusable(errors.iter().map(ToString::to_string).collect())
        }
        #[cfg(feature = "nats")]
        error @ StartError::Nats(_) => CliError::Failed(error.to_string()),
        error @ (StartError::Bind { .. }
        | StartError::Store(_)
        | StartError::Vault(_)
        | StartError::Keyring(_)) => CliError::Failed(error.to_string()),
    })?;
    let failed = |error: io::Error| CliError::Failed(error.to_string());
    let (http, management) = (bridge.address(), bridge.management_address());
    let (http, management) = (http.map_err(failed)?, management.map_err(failed)?);
    drop(progress);
    let summary = Summary::new(&config, http, management, &bridge.devices());
    logging::show(&config.log, &summary);
    let files = config.files.clone();
    // The configuration holds keys and secrets that the bridge has taken over.
    drop(config);
    let following = reload::follow(file, files, bridge.reloader(), hangups);
    tokio::select! {
        ended = bridge.run(shutdown) => ended.map_err(failed),
        never = following => match never {},
    }
}
