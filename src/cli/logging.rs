//! Log lines on standard error, for people or for machines.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts logging for this process. A second call changes nothing.
pub(super) fn start(log: &Log) {
    let lines = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_env_filter(filter(&log.level));
    let started = match log.format {
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
        // A terminal decides for itself whether it wants colours (NO_COLOR); a file never does.
        LogFormat::Human if io::stderr().is_terminal() => lines.try_init(),
        LogFormat::Human => lines.with_ansi(false).try_init(),
    };
    // The one reason to fail is a logger that is there already.
    drop(started);
}

/// What is logged. At `debug`, this part of h2 prints the address of a request that it cannot read, and there may be a token
/// in it.
fn filter(level: &str) -> EnvFilter {
    let filter = EnvFilter::new(level);
    match "h2::server=off".parse() {
        Ok(quiet) => filter.add_directive(quiet),
        Err(_) => filter,
    }
}
