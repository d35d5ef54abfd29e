//! `[devices."ID"]`: a device with its connector and credentials.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::files::Files;
use super::fit::{self, ClientIds, Owner};
use super::model::{Connector, Device};
use super::reach;
use super::section::Section;
use super::via::{self, Routers};
use crate::device::{ConnectorName, DeviceId};
use crate::profile::{KidTemplate, PasswordSource, SessionScope};

/// Reads all devices. Keys that are made in the bridge need a store.
pub(super) fn read(
    section: Section<'_>,
    connectors: &BTreeMap<ConnectorName, Option<Connector>>,
    files: &Files<'_>,
    has_store: bool,
    client_ids: &mut ClientIds,
) -> BTreeMap<DeviceId, Arc<Device>> {
    let mut devices = BTreeMap::new();
    let mut routers = Routers::default();
    let report = section.report();
    for (id, mut section) in section.sections() {
        let before = section.report().errors();
        let id = DeviceId::parse(id)
            .map_err(|error| section.report().error(section.place(), error))
            .ok();
        if let Some(id) = &id {
            routers.note_device(id);
        }
        let connector = connector(&mut section, connectors);
        let router = section.parsed("via", DeviceId::parse);
        let private_key = files.private(&mut section, "private_key_file");
        let passphrase = files.secret(&mut section, "passphrase", "passphrase_file");
        let identity = reach::identity(&mut section, files, passphrase.as_ref());
        let certificate = files.public(&mut section, "certificate_file");
        let secret = files.secret(&mut section, "secret", "secret_file");
        let variables = section.texts("variables");
        if let (Some(id), Some(connector)) = (id, connector) {
            let device = Device {
                id,
                connector: connector.name.clone(),
                via: router,
                private_key: private_key.map(Box::new),
                certificate: certificate.map(Box::new),
                passphrase,
                identity: identity.map(Box::new),
                secret,
                variables,
            };
            match &device.via {
                Some(router) => {
                    via::check_device(&mut section, connector, &device, router);
                    if connector.profile.router {
                        routers.note_behind(&device.id, section.place_of("via"));
                    }
                }
                // What it cannot be read from has been reported.
                None if section.has("via") => {}
                None => {
                    check_key(&section, connector, has_store);
                    check_secret(&mut section, connector, &device);
                    reach::check_device(&section, connector, &device);
                    check_variables(&mut section, connector, &device);
                }
            }
            if section.report().errors() == before
                && let Some(own) = fit::check_device(&section, connector, &device, client_ids)
            {
                client_ids.claim(&Owner::Device(device.id.clone()), own);
            }
            devices.insert(device.id.clone(), Arc::new(device));
        }
        section.finish();
    }
    routers.check(&devices, report);
    devices
}

/// The connectors that a device may name.
pub(super) trait Connectors {
    /// All names.
    fn names(&self) -> Vec<&str>;

    /// The one of this name: `Some(None)` where there is one that is not sound.
    fn find(&self, name: &str) -> Option<Option<&Connector>>;
}

impl Connectors for BTreeMap<ConnectorName, Option<Connector>> {
    fn names(&self) -> Vec<&str> {
        self.keys().map(ConnectorName::as_str).collect()
    }

    fn find(&self, name: &str) -> Option<Option<&Connector>> {
        self.get(name).map(Option::as_ref)
    }
}

/// The connector that a device names. `None` where it is unknown, which is reported, or not sound, which has been.
pub(super) fn connector<'a>(
    section: &mut Section<'_>,
    connectors: &'a dyn Connectors,
) -> Option<&'a Connector> {
    let known = || match connectors.names().as_slice() {
        [] => "there are none yet: write a section [connectors.NAME]".to_owned(),
        names => format!("there are: {}", names.join(", ")),
    };
    let what = match section.has("connector") {
        true => String::new(),
        false => format!("name the device's connector; {}", known()),
    };
    let name = section.required_text("connector", &what)?;
    match connectors.find(name) {
        Some(connector) => connector,
        None => {
            section.error(
                "connector",
                format_args!("there is no connector {name:?}; {}", known()),
            );
            None
        }
    }
}

/// Checks the key that tokens are signed with, and what belongs to it.
fn check_key(section: &Section<'_>, connector: &Connector, has_store: bool) {
    let profile = &connector.profile;
    let profile_name = &connector.profile_name;
    let jwt = profile.connect.password == PasswordSource::Jwt;
    let unused = |key: &str, why: &str| {
        section.error(
            key,
            format_args!("the profile {profile_name} {why}; remove the key"),
        );
    };
    let hashes_certificate = profile
        .token
        .as_ref()
        .is_some_and(|token| matches!(token.kid, KidTemplate::CertSha1));
    match (jwt, section.has("private_key_file")) {
        (true, false) if hashes_certificate => section.error(
            "private_key_file",
            format_args!(
                "is missing: with the profile {profile_name} a token names its key by a certificate's hash (token.kid = \"cert-sha1\"), \
                 and the keys that the bridge makes have no certificate"
            ),
        ),
        (true, false) if !has_store => section.error(
            "private_key_file",
            format_args!(
                "is missing: with the profile {profile_name} the device signs its tokens; `causeway keys new` makes a key \
                 (the bridge could make and keep keys itself, but [store] has enabled = false)"
            ),
        ),
        (false, true) => unused("private_key_file", "signs no tokens and has no use for a private key"),
        _ => {}
    }
    for key in ["passphrase", "passphrase_file"] {
        let encrypted = ["private_key_file", "identity_file"];
        if section.has(key) && !encrypted.iter().any(|file| section.has(file)) {
            section.error(
                key,
                "has no effect without private_key_file or identity_file",
            );
        }
    }
    match (hashes_certificate, section.has("certificate_file")) {
        (true, false) => section.error(
            "certificate_file",
            format_args!(
                "is missing: with the profile {profile_name} a token names its key by the certificate's hash (token.kid = \"cert-sha1\")"
            ),
        ),
        (false, true) => unused(
            "certificate_file",
            "has no use for a certificate (only with token.kid = \"cert-sha1\")",
        ),
        _ => {}
    }
}

/// Checks that there is a secret where there must be one, and none where it has no use; and the values of variables.
pub(super) fn check_secret(section: &mut Section<'_>, connector: &Connector, device: &Device) {
    let profile = &connector.profile;
    let profile_name = &connector.profile_name;
    let has_secret = section.has("secret") || section.has("secret_file");
    let key = fit::secret_key(section);
    if has_secret && !fit::uses_secret(profile) {
        section.error(
            key,
            format_args!("the profile {profile_name} has no use for a secret; remove the key"),
        );
    } else if has_secret
        && profile.session == SessionScope::Connector
        && !fit::device_part_uses(profile, "secret")
    {
        section.error(
            key,
            format_args!(
                "one connection carries all devices of {0}: its secret is written under [connectors.{0}]",
                connector.name
            ),
        );
    }
    if profile.session == SessionScope::Device
        && profile.connect.password == PasswordSource::Secret
        && !has_secret
        && connector.secret.is_none()
    {
        section.error(
            "secret",
            format_args!(
                "the profile {profile_name} needs a secret: write secret_file (or secret) here or under [connectors.{}]",
                connector.name
            ),
        );
    }
    fit::check_values(section, profile, &device.variables, device.secret.as_ref());
}

/// On a shared connection a device's variables are no part of it: one that is only used there would have no effect.
pub(super) fn check_variables(section: &mut Section<'_>, connector: &Connector, device: &Device) {
    if connector.profile.session != SessionScope::Connector {
        return;
    }
    let given = section.section("variables");
    for name in device.variables.keys() {
        let known = connector.profile.variables.contains_key(name);
        if known && !fit::device_part_uses(&connector.profile, name) {
            given.error(
                name,
                format_args!(
                    "one connection carries all devices of {0}: this is written under [connectors.{0}.variables]",
                    connector.name
                ),
            );
        }
    }
}
