//! Devices that are registered while the bridge runs: the fields of `[devices."ID"]`, without its files, as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::devices::{self, Connectors};
use super::error::{ConfigError, Report};
use super::fit::{self, ClientId, ClientIds};
use super::model::{Connector, Device};
use super::section::Section;
use super::{json, via};
use crate::device::{ConnectorName, DeviceId};
use crate::profile::{KidTemplate, SessionScope, TlsIdentity};
use crate::secret::Secret;

/// What a device is read against: a sound configuration, and the devices that there are already.
pub trait Surroundings {
    /// The connectors.
    fn connectors(&self) -> &BTreeMap<ConnectorName, Arc<Connector>>;

    /// The client ids that are in use.
    fn client_ids(&self) -> &ClientIds;

    /// A device.
    fn device(&self, id: &DeviceId) -> Option<&Device>;
}

/// A device that was read, and the client id of its connection, if it has one, to be claimed.
pub struct Registered {
    /// The device.
    pub device: Device,
    pub(crate) client_id: Option<ClientId>,
}

/// A client id may contain a secret.
impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.device.fmt(f)
    }
}

/// Why a device was refused: everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceError(ConfigError);

/// `key: what is wrong`, separated by semicolons.
impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.problems().iter().enumerate() {
            let separator = if n == 0 { "" } else { "; " };
            let colon = if problem.key().is_empty() { "" } else { ": " };
            write!(
                f,
                "{separator}{}{colon}{}",
                problem.key(),
                problem.message()
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for DeviceError {}

impl Registered {
    /// Reads and validates a device from its JSON. A profile whose tokens are signed does not demand a key here: one can
    /// be made for a registered device.
    pub fn read(
        id: &DeviceId,
        json: &str,
        surroundings: &dyn Surroundings,
    ) -> Result<Self, DeviceError> {
        let report = Report::default();
        let read = json::parse(json, &report).and_then(|tree| {
            let mut section = Section::root(&tree, &report);
            let read = read(id, &mut section, surroundings);
            section.finish();
            read
        });
        let (problems, _) = report.into_problems();
        match read {
            Some(registered) if problems.is_empty() => Ok(registered),
            _ => Err(DeviceError(ConfigError::new(String::new(), problems))),
        }
    }
}

impl Connectors for BTreeMap<ConnectorName, Arc<Connector>> {
    fn names(&self) -> Vec<&str> {
        self.keys().map(ConnectorName::as_str).collect()
    }

    fn find(&self, name: &str) -> Option<Option<&Connector>> {
        self.get(name).map(|connector| Some(&**connector))
    }
}

fn read(
    id: &DeviceId,
    section: &mut Section<'_>,
    surroundings: &dyn Surroundings,
) -> Option<Registered> {
    let connector = devices::connector(section, surroundings.connectors());
    let router = section.parsed("via", DeviceId::parse);
    let secret = secret(section);
    let variables = section.texts("variables");
    let connector = connector?;
    let device = Device {
        id: id.clone(),
        connector: connector.name.clone(),
        via: router,
        private_key: None,
        certificate: None,
        passphrase: None,
        identity: None,
        secret,
        variables,
    };
    match &device.via {
        Some(router) => {
            via::check_device(section, connector, &device, router);
            if connector.profile.router {
                check_router(section, &device, router, surroundings);
            }
        }
        None if section.has("via") => {}
        None => {
            check_files(section, connector);
            devices::check_secret(section, connector, &device);
            devices::check_variables(section, connector, &device);
        }
    }
    if section.report().errors() > 0 {
        return None;
    }
    let client_id = fit::check_device(section, connector, &device, surroundings.client_ids());
    Some(Registered { device, client_id })
}

fn secret(section: &mut Section<'_>) -> Option<Secret> {
    match section.text("secret") {
        Some("") => {
            section.error("secret", "is empty");
            None
        }
        text => text.map(Secret::new),
    }
}

fn check_router(
    section: &Section<'_>,
    device: &Device,
    name: &DeviceId,
    surroundings: &dyn Surroundings,
) {
    let router = surroundings.device(name);
    let problem = match router {
        None if *name != device.id => Some(format!(
            "there is no device {name:?}: the router device comes first, in the configuration file, with its certificate"
        )),
        _ => via::problem(device, name, router, true),
    };
    if let Some(problem) = problem {
        section.error("via", problem);
    }
}

/// Refuses what cannot connect without files, which only the configuration file can name.
fn check_files(section: &Section<'_>, connector: &Connector) {
    let Connector {
        profile,
        profile_name,
        identity,
        ..
    } = connector;
    let own = profile.session == SessionScope::Device;
    let certificate =
        profile.connect.tls_identity == TlsIdentity::Required && identity.is_none() && own;
    let hashed =
        (profile.token.as_ref()).is_some_and(|token| matches!(token.kid, KidTemplate::CertSha1));
    if certificate || hashed {
        section.error(
            "connector",
            format_args!(
                "with the profile {profile_name} a device needs a certificate file: write the device into the configuration file"
            ),
        );
    }
}
