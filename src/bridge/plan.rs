//! From a configuration to sessions and devices: keys parsed, TLS set up, templates rendered. Nothing is opened yet.

use std::sync::Arc;

use super::reach::{PlanWarning, Reach};
use crate::config::{Config, ConnectWhen, Connector, Device};
use crate::device::{ConnectorName, DeviceId};
use crate::identity::{self, IdentityError, KeyError, KidError, KidMode, SigningKey, TokenSpec};
use crate::mqtt::tls::TlsError;
use crate::mqtt::transport::Endpoint;
use crate::profile::{
    BindError, Binding, KidTemplate, PasswordSource, SessionScope, Token, UplinkTopic,
};
use crate::registry::{self, Signing};
use crate::secret::Secret;
use crate::session::{
    ConnectSpec, DeviceRoutes, Pace, Password, Routes, Session, SessionHandle, SessionSpec, Shared,
    TokenKey, TokenKid, TokenSource, VersionChoice,
};
use crate::uplink::Lane;

/// Why a configuration that is valid in itself cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A device's key cannot be used.
    #[error("devices.{device:?}: {error}")]
    Key {
        /// The device.
        device: DeviceId,
        /// What is wrong with its key.
        error: KeyError,
    },
    /// A device's key id cannot be made.
    #[error("devices.{device:?}: {error}")]
    Kid {
        /// The device.
        device: DeviceId,
        /// What is missing.
        error: KidError,
    },
    /// A connector's TLS cannot be set up.
    #[error("connectors.{connector}: {error}")]
    Tls {
        /// The connector.
        connector: ConnectorName,
        /// What is wrong.
        error: TlsError,
    },
    /// A certificate or its key cannot be used.
    #[error("{owner}: {error}")]
    Identity {
        /// The connector, the device, or the listener.
        owner: String,
        /// What is wrong.
        error: IdentityError,
    },
    /// The main listener's TLS cannot be set up.
    #[error("http.{key}: {error}")]
    Https {
        /// The setting.
        key: &'static str,
        /// What is wrong.
        error: crate::http::TlsError,
    },
    /// A profile and its values do not fit together.
    #[error("{owner}: {error}")]
    Bind {
        /// The connector or device.
        owner: String,
        /// What is wrong.
        error: BindError,
    },
    /// A token profile's device without a key, or the other way round.
    #[error("devices.{0:?}: the profile's password is a token, so private_key_file is needed")]
    NoKey(DeviceId),
}

/// Everything that a configuration describes, ready to run.
#[derive(Debug)]
pub struct Plan {
    /// Sessions that do not run yet.
    pub sessions: Vec<Session>,
    /// The devices that use them.
    pub devices: Vec<registry::Device>,
    /// What works, but should be seen to.
    pub warnings: Vec<PlanWarning>,
}

/// Builds the sessions and devices of a configuration. All that is wrong is found, not only the first.
pub fn plan(config: &Config, shared: &Shared) -> Result<Plan, Vec<PlanError>> {
    let mut plan = Plan {
        sessions: Vec::new(),
        devices: Vec::new(),
        warnings: Vec::new(),
    };
    let mut errors = Vec::new();
    for connector in config.connectors.values() {
        let devices: Vec<_> = config
            .devices
            .values()
            .filter(|d| d.connector == connector.name)
            .collect();
        match Planner::new(config, connector, shared, &mut plan) {
            Ok(planner) => planner.add(&devices, &mut plan, &mut errors),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(plan)
    } else {
        Err(errors)
    }
}

/// The token that a device would connect with, for `causeway token` and the session alike.
pub fn token_spec(
    connector: &Connector,
    device: &Device,
) -> Result<(SigningKey, TokenSpec), PlanError> {
    let bind = |error| PlanError::Bind {
        owner: format!("devices.{:?}", device.id),
        error,
    };
    let file = device
        .private_key
        .as_ref()
        .ok_or_else(|| PlanError::NoKey(device.id.clone()))?;
    let token = connector
        .profile
        .token
        .as_ref()
        .ok_or_else(|| PlanError::NoKey(device.id.clone()))?;
    let key_error = |error| PlanError::Key {
        device: device.id.clone(),
        error,
    };
    let key = SigningKey::from_pem(&file.path, &file.bytes, device.passphrase.as_ref())
        .map_err(key_error)?;
    let certificate = match &device.certificate {
        Some(file) => identity::certificates(&file.path, &file.bytes)
            .map_err(key_error)?
            .into_iter()
            .next(),
        None => None,
    };
    let text = Binding::new(&connector.profile, connector.scope(Some(device)))
        .and_then(|binding| binding.token())
        .map_err(bind)?
        .ok_or_else(|| PlanError::NoKey(device.id.clone()))?;
    let kid = identity::kid(
        &kid_mode(token, text.literal_kid),
        &key,
        certificate.as_deref(),
    )
    .map_err(|error| PlanError::Kid {
        device: device.id.clone(),
        error,
    })?;
    let claims = text.claims;
    Ok((
        key,
        TokenSpec {
            audience: text.audience,
            lifetime: token.lifetime,
            kid,
            claims,
        },
    ))
}

fn kid_mode(token: &Token, literal: Option<String>) -> KidMode {
    match (&token.kid, literal) {
        (KidTemplate::SpkiSha256, _) => KidMode::SpkiSha256,
        (KidTemplate::CertSha1, _) => KidMode::CertSha1,
        (KidTemplate::Literal(_), Some(literal)) => KidMode::Literal(literal),
        (KidTemplate::None | KidTemplate::Literal(_), _) => KidMode::None,
    }
}

/// What all sessions of one connector have in common.
struct Planner<'a> {
    config: &'a Config,
    connector: &'a Connector,
    shared: &'a Shared,
    reach: Reach<'a>,
    version: Arc<VersionChoice>,
    pace: Option<Arc<Pace>>,
    registered: Arc<registry::Connector>,
}

impl<'a> Planner<'a> {
    fn new(
        config: &'a Config,
        connector: &'a Connector,
        shared: &'a Shared,
        plan: &mut Plan,
    ) -> Result<Self, PlanError> {
        let reach = Reach::new(connector, &mut plan.warnings)?;
        let version = connector
            .mqtt_version
            .or(connector.profile.connect.mqtt_version);
        let registered = Arc::new(registry::Connector {
            name: connector.name.clone(),
            profile: connector.profile.clone(),
            profile_name: connector.profile_name.clone(),
            version,
            tally: shared.tally.connector(&connector.name),
        });
        Ok(Self {
            config,
            connector,
            shared,
            reach,
            version: VersionChoice::new(version),
            pace: connector.drain_rate.map(|rate| Arc::new(Pace::new(rate))),
            registered,
        })
    }

    fn add(&self, devices: &[&Device], plan: &mut Plan, errors: &mut Vec<PlanError>) {
        let outcome = match self.connector.profile.session {
            SessionScope::Connector => self.add_shared(devices, plan),
            SessionScope::Device => {
                for device in devices.iter().filter(|device| device.via.is_none()) {
                    let behind: Vec<_> = devices
                        .iter()
                        .copied()
                        .filter(|other| other.via.as_ref() == Some(&device.id))
                        .collect();
                    if let Err(error) = self.add_own(device, &behind, plan) {
                        errors.push(error);
                    }
                }
                Ok(())
            }
        };
        errors.extend(outcome.err());
    }

    /// One session for a device and those behind it.
    fn add_own(
        &self,
        device: &Device,
        behind: &[&Device],
        plan: &mut Plan,
    ) -> Result<(), PlanError> {
        let (binding, bind) = self.bind(Some(device));
        let binding = binding.map_err(&bind)?;
        let password = match self.connector.profile.connect.password {
            PasswordSource::Jwt => {
                let (key, spec) = token_spec(self.connector, device)?;
                let kid = TokenKid::Fixed(spec.kid.clone());
                let key = TokenKey {
                    id: key.spki_sha256().into(),
                    key: Arc::new(key.into()),
                };
                Password::Token(Box::new(TokenSource::fixed(spec, kid, key)))
            }
            source => self.secret(source, Some(device)),
        };
        let carried: Vec<_> = std::iter::once(device)
            .chain(behind.iter().copied())
            .collect();
        let (routes, topics) = self.topics(&carried)?;
        let endpoint = self.reach.own(device, &mut plan.warnings)?;
        let spec = self.spec(&binding, endpoint, password, routes, &carried);
        let spec = spec.map_err(&bind)?;
        let (session, handle, _) = Session::new(spec, self.shared);
        self.register(&carried, topics, &handle, plan);
        plan.sessions.push(session);
        Ok(())
    }

    /// One session for all devices of the connector. A connector without devices has no session.
    fn add_shared(&self, devices: &[&Device], plan: &mut Plan) -> Result<(), PlanError> {
        if devices.is_empty() {
            return Ok(());
        }
        let (routes, topics) = self.topics(devices)?;
        let (binding, bind) = self.bind(None);
        let binding = binding.map_err(&bind)?;
        let password = self.secret(self.connector.profile.connect.password, None);
        let spec = self.spec(&binding, self.reach.shared(), password, routes, devices);
        let spec = spec.map_err(&bind)?;
        let (session, handle, _) = Session::new(spec, self.shared);
        plan.sessions.push(session);
        self.register(devices, topics, &handle, plan);
        Ok(())
    }

    /// What arrives for the devices of one session, and where each of them publishes.
    fn topics(&self, devices: &[&Device]) -> Result<(Routes, Vec<UplinkTopic>), PlanError> {
        let mut routes = Routes::default();
        let mut topics = Vec::with_capacity(devices.len());
        for device in devices {
            let (binding, bind) = self.bind(Some(device));
            let binding = binding.map_err(&bind)?;
            let of_device = DeviceRoutes {
                downlinks: binding.downlinks().map_err(&bind)?,
                ack: binding.ack_filter().map_err(&bind)?,
            };
            routes.carry(&device.id, of_device);
            topics.push(binding.uplink_topic().map_err(&bind)?);
        }
        Ok((routes, topics))
    }

    fn register(
        &self,
        devices: &[&Device],
        topics: Vec<UplinkTopic>,
        handle: &SessionHandle,
        plan: &mut Plan,
    ) {
        let devices = devices.iter().zip(topics);
        plan.devices
            .extend(devices.map(|(device, topic)| registry::Device {
                id: device.id.clone(),
                connector: Arc::clone(&self.registered),
                session: handle.clone(),
                topic,
                signing: match device.private_key {
                    Some(_) => Signing::File,
                    None => Signing::None,
                },
                lane: Arc::new(Lane::default()),
            }));
    }

    fn bind<'b>(
        &'b self,
        device: Option<&'b Device>,
    ) -> (
        Result<Binding<'b>, BindError>,
        impl Fn(BindError) -> PlanError,
    ) {
        let owner = match device {
            Some(device) => format!("devices.{:?}", device.id),
            None => format!("connectors.{}", self.connector.name),
        };
        let bind = move |error| PlanError::Bind {
            owner: owner.clone(),
            error,
        };
        (
            Binding::new(&self.connector.profile, self.connector.scope(device)),
            bind,
        )
    }

    fn secret(&self, source: PasswordSource, device: Option<&Device>) -> Password {
        let secret = device
            .and_then(|device| device.secret.as_ref())
            .or(self.connector.secret.as_ref());
        match (source, secret) {
            (PasswordSource::Secret | PasswordSource::OptionalSecret, Some(secret)) => {
                Password::Secret(secret.clone())
            }
            _ => Password::None,
        }
    }

    fn spec(
        &self,
        binding: &Binding<'_>,
        endpoint: Endpoint,
        password: Password,
        routes: Routes,
        devices: &[&Device],
    ) -> Result<SessionSpec, BindError> {
        let profile = &self.connector.profile;
        let of_devices = devices.iter().filter_map(|device| device.secret.clone());
        let connect = ConnectSpec {
            endpoint,
            client_id: binding.client_id()?.into(),
            username: binding.username()?.map(Secret::new),
            password,
            hidden: of_devices.chain(self.connector.secret.clone()).collect(),
            keep_alive: u16::try_from(profile.connect.keep_alive.as_secs()).unwrap_or(u16::MAX),
            session_expiry: u32::try_from(profile.connect.session_expiry.as_secs())
                .unwrap_or(u32::MAX),
            version: Arc::clone(&self.version),
            max_incoming: MAX_INCOMING_BYTES,
        };
        Ok(SessionSpec {
            connector: self.connector.name.clone(),
            connect: Arc::new(connect),
            pace: self.pace.clone(),
            routes,
            content_types_v3: profile.uplink.content_types_v3.clone(),
            queue: self.config.limits.queued_uplinks,
            window: WINDOW,
            eager: self.connector.connect == ConnectWhen::Eager,
            tally: Arc::clone(&self.registered.tally),
        })
    }
}

/// Largest packet that is taken from a broker, in bytes: far above what platforms send to devices.
const MAX_INCOMING_BYTES: usize = 4 * 1024 * 1024;

/// Uplinks of one session that may be sent and unconfirmed: enough to fill a slow link, few enough to repeat quickly.
const WINDOW: usize = 100;
