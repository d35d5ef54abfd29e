//! `causeway demo`: the bridge against pretended platforms.

use std::path::PathBuf;

use super::error::CliError;

const EXAMPLES: &str = "\
Examples:
  causeway demo                      a folder of its own, the ports below
  causeway demo --dir ./demo         the same devices again at the next start
  causeway demo --http 0 --mqtt 0 --mqtts 0 --console 0 --management 0    any free ports";

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
    /// Port of the pretended platforms' MQTT broker
    #[arg(long, value_name = "PORT", default_value_t = 1883)]
    mqtt: u16,
    /// Port of the same broker with TLS
    #[arg(long, value_name = "PORT", default_value_t = 8883)]
    mqtts: u16,
    /// Port of the pretended platforms' console
    #[arg(long, value_name = "PORT", default_value_t = 8090)]
    console: u16,
    /// Port of the bridge's health and metrics
    #[arg(long, value_name = "PORT", default_value_t = 9090)]
    management: u16,
}

impl Args {
    pub(super) fn run(self) -> Result<(), CliError> {
        // WIRE: crate::demo::run(options), with logging::start at level "warn" and signals::stop
        let Self {
            dir,
            http,
            mqtt,
            mqtts,
            console,
            management,
        } = self;
        let _ = (dir, http, mqtt, mqtts, console, management);
        Err(CliError::Failed(
            "the demo is not part of this build".to_owned(),
        ))
    }
}
