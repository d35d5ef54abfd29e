//! SIGTERM and SIGINT: an orderly end, and a quick one for those who ask twice. SIGHUP: the configuration, once more.

use std::io;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::error::CliError;

/// Runs something that is told to end by the first SIGTERM or SIGINT.
pub(super) fn run<F: Future<Output = Result<(), CliError>>>(
    work: impl FnOnce(CancellationToken) -> F,
) -> Result<(), CliError> {
    let failed = |error: io::Error| CliError::Failed(format!("cannot start: {error}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        stop(shutdown.clone()).map_err(failed)?;
        work(shutdown).await
    })
}

/// Cancels `shutdown` at the first signal; the second one does not wait for what is still under way.
fn stop(shutdown: CancellationToken) -> io::Result<()> {
    let mut signals = Signals::new()?;
    tokio::spawn(async move {
        let name = signals.next().await;
        info!("received {name}, shutting down");
        shutdown.cancel();
        let name = signals.next().await;
        warn!("received {name} again, stopping at once");
        std::process::exit(1);
    });
    Ok(())
}

/// SIGHUP, by which the configuration is read again.
#[cfg(unix)]
pub(super) struct Hangups(tokio::signal::unix::Signal);

#[cfg(unix)]
impl Hangups {
    /// From now on, the signal does not end the program.
    pub(super) fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self(signal(SignalKind::hangup())?))
    }

    pub(super) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

/// Elsewhere there is no such signal.
#[cfg(not(unix))]
pub(super) struct Hangups;

#[cfg(not(unix))]
impl Hangups {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    pub(super) async fn next(&mut self) {
        std::future::pending().await
    }
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> &'static str {
        match tokio::signal::ctrl_c().await {
            Ok(()) => "Ctrl-C",
            Err(_) => std::future::pending().await,
        }
    }
}
