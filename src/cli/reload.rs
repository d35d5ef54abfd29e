//! The configuration of a running bridge is read again: on SIGHUP, and when a file that it was read from changes.

use std::convert::Infallible;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::ConfigFile;
use super::signals::Hangups;
use crate::bridge::Reloader;
use crate::config::{Config, ConfigError, FileWatch, Look, Observed};

/// How often the files are looked at. A change is taken over when nothing has changed since the look before.
const LOOK: Duration = Duration::from_secs(2);

/// Takes changes over for as long as it is polled. `files` are those that the running configuration was read from.
pub(super) async fn follow(
    file: ConfigFile,
    files: Vec<Observed>,
    reloader: Reloader,
    mut hangups: Hangups,
) -> Infallible {
    let mut watch = FileWatch::new(files);
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = hangups.next() => info!("received SIGHUP: reading the configuration again"),
            _ = looks.tick() => {
                if look(&mut watch).await != Look::Changed {
                    continue;
                }
                info!("the configuration or a file that it names has changed: reading it again");
            }
        }
        watch = FileWatch::new(read_again(&file, &reloader).await);
    }
}

/// Looks at the files beside the other tasks: a disk may be slow, or far away.
async fn look(watch: &mut FileWatch) -> Look {
    let mut taken = std::mem::take(watch);
    let looking = spawn_blocking(move || {
        let look = taken.look();
        (taken, look)
    });
    match looking.await {
        Ok((looked, look)) => {
            *watch = looked;
            look
        }
        // The program ends, or a defect was reported; then SIGHUP still works.
        Err(_) => Look::Same,
    }
}

/// Takes the configuration over as it is now, or says why not. Gives the files that decide about it.
async fn read_again(file: &ConfigFile, reloader: &Reloader) -> Vec<Observed> {
    let reading = file.clone();
    let config = spawn_blocking(move || reading.load()).await;
    match config {
        Ok(Ok(config)) => take_over(config, reloader).await,
        Ok(Err(error)) => refuse(&error, reloader),
        // Reading panicked, which has been reported; there is nothing to watch.
        Err(_) => Vec::new(),
    }
}

async fn take_over(config: Config, reloader: &Reloader) -> Vec<Observed> {
    for warning in &config.warnings {
        warn!("{warning}");
    }
    if let Err(errors) = reloader.apply(&config).await {
        for problem in &errors {
            error!("{problem}");
        }
        error!("the changed configuration was not taken over; everything goes on as it was");
    }
    config.files
}

fn refuse(invalid: &ConfigError, reloader: &Reloader) -> Vec<Observed> {
    for problem in invalid.problems() {
        error!("{problem}");
    }
    error!("the changed configuration was not taken over; everything goes on as it was");
    reloader.refused(&invalid.to_string());
    invalid.files().to_vec()
}
