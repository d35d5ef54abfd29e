//! Log lines on standard error, for people or for machines.

use std::io::{self, IsTerminal, Write};
use std::time::SystemTime;

use anstream::AutoStream;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::summary::Summary;
use crate::config::{Log, LogFormat};

/// Whether the level leaves room for what a program says when it starts.
pub(super) fn shows_summary() -> bool {
    tracing::enabled!(target: "causeway::cli::serve", tracing::Level::INFO)
}

/// Shows the summary among the log lines, if their level leaves room for it.
pub(super) fn show(log: &Log, summary: &Summary) {
    if !shows_summary() {
        return;
    }
    let text = match log.format {
        LogFormat::Json => summary.json(SystemTime::now()),
        LogFormat::Human => summary.human(),
    };
    // Standard error may be closed; that is no reason not to serve.
    let _ = AutoStream::auto(io::stderr()).write_all(text.as_bytes());
}

/// Starts logging for this process. A second call changes nothing.
pub(super) fn start(log: &Log) {
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let all = tracing_subscriber::registry().with(filter(&log.level));
    let started = match log.format {
        LogFormat::Json => all.with(lines.json().flatten_event(true)).try_init(),
        // A terminal decides for itself whether it wants colours (NO_COLOR); a file never does.
        LogFormat::Human if io::stderr().is_terminal() => all.with(lines).try_init(),
        LogFormat::Human => all.with(lines.with_ansi(false)).try_init(),
    };
    // The one reason to fail is a logger that is there already.
    drop(started);
}

/// What is logged. At `debug`, this part of h2 prints the address of a request that it cannot read, and there may be a token
/// in it. What the client of nats-server says of a lost connection, the store says better.
fn filter(level: &str) -> Targets {
    // The configuration has been checked.
    let wanted: Targets = level.parse().unwrap_or_default();
    let quiet = ["h2::server", "async_nats"];
    wanted.with_targets(quiet.map(|part| (part, LevelFilter::OFF)))
}
