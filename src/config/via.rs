//! `via`: a device behind a router device, which has no connection, and so no credentials, of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::error::{Place, Report};
use super::fit;
use super::model::{Connector, Device};
use super::section::Section;
use crate::device::DeviceId;

/// Keys of a device's own connection.
const CONNECTION_KEYS: [&str; 6] = [
    "private_key_file",
    "certificate_file",
    "identity_file",
    "identity_key_file",
    "passphrase",
    "passphrase_file",
];

/// Checks that a device behind a router has nothing that only a connection of its own has a use for.
pub(super) fn check_device(
    section: &mut Section<'_>,
    connector: &Connector,
    device: &Device,
    router: &DeviceId,
) {
    let Connector {
        profile,
        profile_name,
        ..
    } = connector;
    if !profile.router {
        section.error(
            "via",
            format_args!("the profile {profile_name} has no router devices; remove the key"),
        );
        return;
    }
    let elsewhere = format!(
        "the connection is that of the router device {router:?}, where this is written; remove the key"
    );
    for key in CONNECTION_KEYS.into_iter().filter(|key| section.has(key)) {
        section.error(key, &elsewhere);
    }
    if device.secret.is_some() && !fit::device_part_uses(profile, "secret") {
        section.error(fit::secret_key(section), &elsewhere);
    }
    fit::check_values(section, profile, &device.variables, device.secret.as_ref());
    let given = section.section("variables");
    for name in device.variables.keys() {
        if profile.variables.contains_key(name) && !fit::device_part_uses(profile, name) {
            given.error(name, &elsewhere);
        }
    }
}

/// Who is behind whom, as written: a router may stand below its devices, so this is checked when all have been read.
#[derive(Default)]
pub(super) struct Routers {
    written: BTreeSet<DeviceId>,
    behind: Vec<(DeviceId, Place)>,
}

impl Routers {
    /// Notes that there is a section for a device, sound or not.
    pub(super) fn note_device(&mut self, device: &DeviceId) {
        self.written.insert(device.clone());
    }

    /// Notes where a device names its router.
    pub(super) fn note_behind(&mut self, device: &DeviceId, place: Place) {
        self.behind.push((device.clone(), place));
    }

    /// Checks that each router is there, on the same connector, and has a connection of its own.
    pub(super) fn check(&self, devices: &BTreeMap<DeviceId, Arc<Device>>, report: &Report) {
        for (device, place) in &self.behind {
            let Some(device) = devices.get(device) else {
                continue;
            };
            let Some(router) = &device.via else {
                continue;
            };
            let written = self.written.contains(router);
            if let Some(message) = problem(
                device,
                router,
                devices.get(router).map(Arc::as_ref),
                written,
            ) {
                report.error(place, message);
            }
        }
    }
}

/// Why a device cannot be behind a router. `written`: there is one of this name, sound or not.
pub(super) fn problem(
    device: &Device,
    name: &DeviceId,
    router: Option<&Device>,
    written: bool,
) -> Option<String> {
    if *name == device.id {
        return Some(
            "a device is not behind itself: name the router device, or remove the key".to_owned(),
        );
    }
    let Some(router) = router else {
        // One that is there but not sound has said so itself.
        return (!written).then(|| {
            format!("there is no device {name:?}: write a section for the router device, with its certificate")
        });
    };
    if router.connector != device.connector {
        return Some(format!(
            "the router device {:?} is on the connector {}, and a device behind it must be too",
            router.id, router.connector
        ));
    }
    router.via.as_ref().map(|further| {
        format!(
            "{:?} has no connection, as it is itself behind {further:?}: name the router device",
            router.id
        )
    })
}
