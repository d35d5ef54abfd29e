//! `causeway demo`: the bridge against pretended platforms.

use std::path::PathBuf;

use super::error::CliError;
use super::{logging, signals};
use crate::bridge::Bridge;
use crate::config::{Config, Log, LogFormat};
use crate::demo::{self, BridgeError, BridgeParts, DemoOptions, RunningBridge};

const EXAMPLES: &str = "\
Examples:
  causeway demo                      a folder of its own, the ports below
  causeway demo --dir ./demo         the same devices again at the next start
  causeway demo --http 0 --mqtt 0 --mqtts 0 --sap 0 --console 0 --management 0    any free ports";

/// Try everything: an embedded broker that checks what the platforms check, sample devices, and curl lines to paste
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The folder that keeps everything the demo makes; a second run on it uses it again
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Port of the bridge's HTTP interface; 0 is any free one
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    http: u16,
    /// Port of the pretended akenza's MQTT broker
    #[arg(long, value_name = "PORT", default_value_t = 1883)]
    mqtt: u16,
    /// Port of the same broker with TLS
    #[arg(long, value_name = "PORT", default_value_t = 8883)]
    mqtts: u16,
    /// Port of the pretended SAP gateway, with TLS
    #[arg(long, value_name = "PORT", default_value_t = 8884)]
    sap: u16,
    /// Port of the pretended platforms' console
    #[arg(long, value_name = "PORT", default_value_t = 8090)]
    console: u16,
    /// Port of the bridge's health and metrics
    #[arg(long, value_name = "PORT", default_value_t = 9090)]
    management: u16,
}

impl Args {
    pub(super) fn run(self) -> Result<(), CliError> {
        // The demo prints what its user needs; the log only speaks up when something is wrong.
        logging::start(&Log {
            format: LogFormat::Human,
            level: "warn".to_owned(),
        });
        let defaults = DemoOptions::default();
        let options = DemoOptions {
            dir: self.dir.unwrap_or(defaults.dir),
            http: self.http,
            management: self.management,
            mqtt: self.mqtt,
            mqtts: self.mqtts,
            sap: self.sap,
            console: self.console,
        };
        signals::run(|shutdown| async {
            demo::run(options, start_bridge, shutdown)
                .await
                .map_err(|error| CliError::Failed(error.to_string()))
        })
    }
}

async fn start_bridge(parts: BridgeParts) -> Result<RunningBridge, BridgeError> {
    let config = Config::load(&parts.config_file, [])?;
    let bridge = Bridge::bind(&config).await?;
    Ok(RunningBridge {
        http: bridge.address()?,
        management: bridge.management_address()?,
        run: Box::pin(async move { Ok(bridge.run(parts.shutdown).await?) }),
    })
}
