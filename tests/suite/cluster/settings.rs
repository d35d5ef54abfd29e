//! How much of it: little, unless the environment says otherwise.

use std::time::Duration;

/// How long a cluster may take until it is whole again, on a busy machine.
pub(super) const RECOVERY: Duration = Duration::from_secs(90);

/// Devices in each of the tests in which something breaks: `CAUSEWAY_CLUSTER_DEVICES`, 24.
pub(super) fn devices() -> usize {
    usize::try_from(setting("CAUSEWAY_CLUSTER_DEVICES", 24)).unwrap()
}

/// How many uplinks of each device are answered before and after something breaks: `CAUSEWAY_CLUSTER_UPLINKS`, 20.
pub(super) fn uplinks() -> u64 {
    setting("CAUSEWAY_CLUSTER_UPLINKS", 20)
}

/// `cluster.lease`: `CAUSEWAY_CLUSTER_LEASE`, 3, in seconds.
pub(super) fn lease() -> Duration {
    Duration::from_secs(setting("CAUSEWAY_CLUSTER_LEASE", 3))
}

/// Between the uplinks of one device: so many of them a second come from all together, however many there are.
pub(super) fn pause() -> Duration {
    Duration::from_secs(devices() as u64) / 480
}

fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| {
        let number = text.parse();
        number.unwrap_or_else(|_| panic!("{name} is no number: {text}"))
    })
}
