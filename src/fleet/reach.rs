//! How a connector's sessions reach their broker: proxy, TLS with a client certificate, WebSocket. Nothing is opened yet.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls_pki_types::ServerName;

use super::error::PlanError;
use crate::broker::Scheme;
use crate::config::{Connector, Device, IdentityFiles};
use crate::identity::{self, ClientIdentity};
use crate::mqtt::tls::{self, Roots, TlsError, Trust};
use crate::mqtt::transport::{Endpoint, Tls};

/// Something that works, but should be seen to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanWarning {
    owner: String,
    warning: identity::Warning,
}

impl PlanWarning {
    /// A warning about what this key names.
    pub(crate) fn new(owner: &str, warning: identity::Warning) -> Self {
        Self {
            owner: owner.to_owned(),
            warning,
        }
    }

    /// Whether it is about the time of a certificate.
    pub(super) fn is_about_time(&self) -> bool {
        use identity::Warning::{Expired, ExpiresSoon, NotYetValid};
        matches!(
            self.warning,
            Expired { .. } | ExpiresSoon { .. } | NotYetValid { .. }
        )
    }
}

/// `devices."a": what it is`.
impl fmt::Display for PlanWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.owner, self.warning)
    }
}

/// What the sessions of one connector have in common on their way to the broker.
#[derive(Debug)]
pub(super) struct Reach {
    connector: Arc<Connector>,
    trust: Option<(Trust, ServerName<'static>)>,
    /// For every session without a client certificate of its own; they resume each other's TLS sessions.
    common: Endpoint,
}

impl Reach {
    /// Reads what a connector trusts, and its own client certificate.
    pub(super) fn new(
        connector: &Arc<Connector>,
        warnings: &mut Vec<PlanWarning>,
    ) -> Result<Self, PlanError> {
        let common = Endpoint {
            host: connector.url.host().into(),
            port: connector.url.port(),
            proxy: connector.proxy.clone(),
            tls: None,
            web_socket: connector.url.web_socket().cloned(),
        };
        let trust = trust(connector).map_err(|error| PlanError::Tls {
            connector: connector.name.clone(),
            error,
        })?;
        let mut reach = Self {
            connector: Arc::clone(connector),
            trust,
            common,
        };
        let identity = match &connector.identity {
            Some(files) => {
                let owner = format!("connectors.{}", connector.name);
                Some(read(files, owner, false, warnings)?)
            }
            None => None,
        };
        reach.common.tls = reach.tls(identity.as_ref());
        Ok(reach)
    }

    /// The way of the session that all devices share.
    pub(super) fn shared(&self) -> Endpoint {
        self.common.clone()
    }

    /// The way of a device's own session.
    pub(super) fn own(
        &self,
        device: &Device,
        warnings: &mut Vec<PlanWarning>,
    ) -> Result<Endpoint, PlanError> {
        let Some(files) = &device.identity else {
            return Ok(self.common.clone());
        };
        let owner = format!("devices.{:?}", device.id);
        let identity = read(files, owner, device.private_key.is_some(), warnings)?;
        Ok(Endpoint {
            tls: self.tls(Some(&identity)),
            ..self.common.clone()
        })
    }

    fn tls(&self, identity: Option<&ClientIdentity>) -> Option<Tls> {
        let (trust, server_name) = self.trust.as_ref()?;
        let alpn = &self.connector.profile.connect.alpn;
        Some(Tls {
            config: tls::client_config(trust, identity, alpn),
            server_name: server_name.clone(),
            identity: identity.cloned(),
        })
    }
}

fn trust(connector: &Connector) -> Result<Option<(Trust, ServerName<'static>)>, TlsError> {
    if connector.url.scheme() == Scheme::Plain {
        return Ok(None);
    }
    let roots = match &connector.ca {
        Some(file) => Roots::Pem {
            file: &file.path,
            bytes: &file.bytes,
        },
        None => Roots::System,
    };
    let name = match &connector.server_name {
        Some(name) => name.as_str(),
        None => connector.url.host(),
    };
    Ok(Some((Trust::new(roots)?, tls::server_name(name)?)))
}

/// Reads a certificate and its key. A passphrase that is there for another key too may be of no use here.
pub(crate) fn read(
    files: &IdentityFiles,
    owner: String,
    passphrase_is_shared: bool,
    warnings: &mut Vec<PlanWarning>,
) -> Result<ClientIdentity, PlanError> {
    let (key, certificate) = match &files.key {
        Some(key) => (
            key,
            Some((files.file.path.as_path(), &files.file.bytes[..])),
        ),
        None => (&files.file, None),
    };
    let passphrase = files.passphrase.as_ref();
    let now = SystemTime::now();
    match ClientIdentity::read(&key.path, &key.bytes, certificate, passphrase, now) {
        Ok((identity, found)) => {
            let unneeded = |warning: &identity::Warning| {
                matches!(warning, identity::Warning::PassphraseNotNeeded { .. })
            };
            let found = found
                .into_iter()
                .filter(|warning| !(passphrase_is_shared && unneeded(warning)));
            warnings.extend(found.map(|warning| PlanWarning {
                owner: owner.clone(),
                warning,
            }));
            Ok(identity)
        }
        Err(error) => Err(PlanError::Identity { owner, error }),
    }
}
