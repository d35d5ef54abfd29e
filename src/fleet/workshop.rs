//! Where the sessions of one connector are made: keys parsed, TLS set up, templates rendered. Nothing is opened here.

use std::sync::Arc;

use super::error::PlanError;
use super::plan::Tools;
use super::reach::{PlanWarning, Reach};
use super::token::token_source;
use crate::config::{ConnectWhen, Connector, Device};
use crate::keyring::Keyring;
use crate::mqtt::transport::Endpoint;
use crate::profile::{BindError, Binding, PasswordSource, UplinkTopic};
use crate::registry::{self, Signing};
use crate::secret::Secret;
use crate::session::{
    ConnectSpec, DeviceRoutes, Pace, Password, Routes, SessionSpec, TokenSource, VersionChoice,
};

/// What all sessions of one connector have in common.
#[derive(Debug)]
pub(super) struct Workshop {
    pub(super) connector: Arc<Connector>,
    /// The connector as requests see it.
    pub(super) registered: Arc<registry::Connector>,
    reach: Reach,
    version: Arc<VersionChoice>,
    pace: Option<Arc<Pace>>,
    keyring: Option<Arc<Keyring>>,
    queue: usize,
    thorough: bool,
}

/// The topics of one device.
#[derive(Debug, Clone)]
pub(super) struct Topics {
    pub(super) uplink: UplinkTopic,
    pub(super) routes: DeviceRoutes,
}

/// Largest packet that is taken from a broker, in bytes: far above what platforms send to devices.
const MAX_INCOMING_BYTES: usize = 4 * 1024 * 1024;

/// Uplinks of one session that may be sent and unconfirmed: enough to fill a slow link, few enough to repeat quickly.
const WINDOW: usize = 100;

impl Workshop {
    /// A workshop for a connector.
    pub(super) fn new(
        connector: &Arc<Connector>,
        tools: &Tools<'_>,
        warnings: &mut Vec<PlanWarning>,
    ) -> Result<Self, PlanError> {
        let reach = Reach::new(connector, warnings)?;
        let pinned = connector
            .mqtt_version
            .or(connector.profile.connect.mqtt_version);
        Ok(Self {
            connector: Arc::clone(connector),
            registered: Arc::new(registry::Connector {
                name: connector.name.clone(),
                profile: connector.profile.clone(),
                profile_name: connector.profile_name.clone(),
                version: pinned,
                tally: tools.tally.connector(&connector.name),
            }),
            reach,
            version: VersionChoice::new(pinned),
            pace: connector.drain_rate.map(|rate| Arc::new(Pace::new(rate))),
            keyring: tools.keyring.cloned(),
            queue: tools.queue,
            thorough: tools.thorough,
        })
    }

    /// What a device publishes on, and what arrives for it.
    pub(super) fn topics(&self, device: &Device) -> Result<Topics, PlanError> {
        let bind = || {
            let binding = self.binding(Some(device))?;
            Ok(Topics {
                uplink: binding.uplink_topic()?,
                routes: DeviceRoutes {
                    downlinks: binding.downlinks()?,
                    ack: binding.ack_filter()?,
                },
            })
        };
        bind().map_err(|error| self.unfit(Some(device), error))
    }

    /// The session of a device, or the one that all devices share, with those that it carries.
    pub(super) fn session<'a>(
        &self,
        owner: Option<&Device>,
        carried: impl Iterator<Item = (&'a Device, DeviceRoutes)>,
        warnings: &mut Vec<PlanWarning>,
    ) -> Result<SessionSpec, PlanError> {
        let endpoint = match owner {
            Some(device) => self.reach.own(device, warnings)?,
            None => self.reach.shared(),
        };
        let password = self.password(owner)?;
        let mut routes = Routes::default();
        let mut hidden = Vec::new();
        for (device, topics) in carried {
            routes.carry(&device.id, topics);
            hidden.extend(device.secret.clone());
        }
        hidden.extend(self.connector.secret.clone());
        self.spec(owner, endpoint, password, routes, hidden)
            .map_err(|error| self.unfit(owner, error))
    }

    fn spec(
        &self,
        owner: Option<&Device>,
        endpoint: Endpoint,
        password: Password,
        routes: Routes,
        hidden: Vec<Secret>,
    ) -> Result<SessionSpec, BindError> {
        let binding = self.binding(owner)?;
        let profile = &self.connector.profile;
        let seconds = profile.connect.session_expiry.as_secs();
        let connect = ConnectSpec {
            endpoint,
            client_id: binding.client_id()?.into(),
            username: binding.username()?.map(Secret::new),
            password,
            hidden,
            keep_alive: u16::try_from(profile.connect.keep_alive.as_secs()).unwrap_or(u16::MAX),
            session_expiry: u32::try_from(seconds).unwrap_or(u32::MAX),
            version: Arc::clone(&self.version),
            max_incoming: MAX_INCOMING_BYTES,
        };
        Ok(SessionSpec {
            connector: self.connector.name.clone(),
            connect: Arc::new(connect),
            pace: self.pace.clone(),
            routes,
            content_types_v3: profile.uplink.content_types_v3.clone(),
            queue: self.queue,
            window: WINDOW,
            eager: self.connector.connect == ConnectWhen::Eager,
            tally: Arc::clone(&self.registered.tally),
        })
    }

    fn password(&self, owner: Option<&Device>) -> Result<Password, PlanError> {
        let source = self.connector.profile.connect.password;
        let secret = owner
            .and_then(|device| device.secret.as_ref())
            .or(self.connector.secret.as_ref());
        Ok(match (source, owner, secret) {
            (PasswordSource::Jwt, Some(device), _) => {
                Password::Token(Box::new(self.token(device)?))
            }
            (PasswordSource::Secret | PasswordSource::OptionalSecret, _, Some(secret)) => {
                Password::Secret(secret.clone())
            }
            _ => Password::None,
        })
    }

    /// What a device's tokens are signed with.
    pub(super) fn signing(&self, device: &Device) -> Signing {
        let signs = self.connector.profile.connect.password == PasswordSource::Jwt;
        match &self.keyring {
            _ if !signs || device.via.is_some() => Signing::None,
            _ if device.private_key.is_some() => Signing::File,
            Some(keyring) => Signing::Kept(keyring.of(&device.id)),
            None => Signing::None,
        }
    }

    fn token(&self, device: &Device) -> Result<TokenSource, PlanError> {
        let kept = self.keyring.as_ref().map(|keyring| keyring.of(&device.id));
        let source = token_source(&self.connector, device, kept)?;
        if self.thorough && device.private_key.is_some() {
            source.token().map_err(|error| PlanError::Token {
                device: device.id.clone(),
                error,
            })?;
        }
        Ok(source)
    }

    fn binding<'b>(&'b self, device: Option<&'b Device>) -> Result<Binding<'b>, BindError> {
        Binding::new(&self.connector.profile, self.connector.scope(device))
    }

    fn unfit(&self, device: Option<&Device>, error: BindError) -> PlanError {
        let owner = match device {
            Some(device) => format!("devices.{:?}", device.id),
            None => format!("connectors.{}", self.connector.name),
        };
        PlanError::Bind { owner, error }
    }
}
