//! Another configuration while the bridge runs: validated and planned whole before, applied as a difference.

use std::net::SocketAddr;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::member::Configuration;
use super::{listener_settings, traces};
use crate::access::Access;
use crate::config::{Config, Connections, Downlinks, Http, Limits, Store, Telemetry};
use crate::fleet::{Changes, Fleet, PlanError};
use crate::http::ListenerHandle;
use crate::secret::Secret;
use crate::store::{NatsLogin, NatsServers};
use crate::tally::Tally;

/// Takes configurations over.
#[derive(Debug, Clone)]
pub struct Reloader {
    fleet: Arc<Fleet>,
    access: Arc<Access>,
    listener: ListenerHandle,
    tally: Arc<Tally>,
    /// Told to the other replicas.
    configuration: Configuration,
    /// What was configured at the start and stays so until the next one.
    fixed: Arc<[Setting]>,
    listens: SocketAddr,
    /// Cancelled when the fleet runs: before, there is nothing to compare with.
    running: CancellationToken,
}

/// A setting by its key, and its value as it may be compared, not shown.
type Setting = (&'static str, String);

impl Reloader {
    pub(super) fn new(
        config: &Config,
        fleet: Arc<Fleet>,
        access: Arc<Access>,
        listener: ListenerHandle,
        tally: Arc<Tally>,
        configuration: Configuration,
    ) -> Self {
        Self {
            fleet,
            access,
            listener,
            tally,
            configuration,
            fixed: fixed(config).into(),
            listens: config.http.listen,
            running: CancellationToken::new(),
        }
    }

    /// From now on, configurations are taken over; those that came before have waited.
    pub(super) fn start(&self) {
        self.running.cancel();
    }

    /// Takes a configuration over: devices, connectors, who may do what, and how the main listener is spoken to. What needs
    /// a new start is named in a warning. On an error, nothing has changed.
    pub async fn apply(&self, config: &Config) -> Result<Changes, Vec<PlanError>> {
        self.running.cancelled().await;
        let applied = self.try_apply(config).await;
        match &applied {
            Ok(_) => self.tally.reloads.note_applied(),
            Err(errors) => {
                let why = errors.iter().map(ToString::to_string);
                self.refused(&why.collect::<Vec<_>>().join("\n"));
            }
        }
        applied
    }

    /// Notes a configuration that is not valid in itself.
    pub fn refused(&self, why: &str) {
        self.tally.reloads.note_refused(why.to_owned());
    }

    async fn try_apply(&self, config: &Config) -> Result<Changes, Vec<PlanError>> {
        if self.would_expose(config) {
            return Err(vec![PlanError::Exposed(self.listens)]);
        }
        let settings = listener_settings(config);
        let collector = config.telemetry.as_ref().map(traces::settings).transpose();
        let prepared = self.fleet.prepare(config).await;
        let (settings, prepared) = match (settings, collector, prepared) {
            (Ok(settings), Ok(_), Ok(prepared)) => (settings, prepared),
            (settings, collector, prepared) => {
                let errors = settings.err().into_iter().chain(collector.err());
                return Err(errors.chain(prepared.err().unwrap_or_default()).collect());
            }
        };
        let (settings, warnings) = settings;
        for warning in warnings {
            warn!("{warning}");
        }
        for key in changed(&self.fixed, &fixed(config)) {
            warn!("{key} is another one now, and takes effect at the next start");
        }
        // First who may do what: nobody does more, for a moment, than before and after.
        self.access.replace(config.access.clone());
        self.listener.replace(settings);
        let changes = prepared.make().await.map_err(|error| vec![error])?;
        if self.configuration.receiver_count() > 0 {
            self.configuration.send_replace(config.digest());
        }
        let Changes {
            added,
            changed,
            removed,
            reconnected,
        } = changes;
        info!(
            added,
            changed,
            removed,
            reconnected,
            "the configuration was taken over; all other connections stay"
        );
        Ok(changes)
    }

    /// Whether anybody could use the listener from other machines: the configuration is valid for the address that it
    /// names, and the listener stays at the one that it has.
    fn would_expose(&self, config: &Config) -> bool {
        let http = &config.http;
        let anybody = http.lets_anybody_in(!config.access.is_empty()) && !http.allow_anonymous;
        !self.listens.ip().is_loopback() && anybody
    }
}

/// What is only looked at when the bridge starts.
fn fixed(config: &Config) -> Vec<Setting> {
    fn setting(key: &'static str, value: &dyn std::fmt::Debug) -> Setting {
        (key, format!("{value:?}"))
    }
    let Config {
        http,
        management,
        log,
        limits,
        downlinks,
        store,
        cluster,
        telemetry,
        ..
    } = config;
    let Http {
        listen,
        connections,
        max_body,
        wait,
        max_wait,
        ..
    } = http;
    let Connections {
        body_timeout,
        min_body_rate,
        ..
    } = connections;
    let Limits {
        connects_per_second,
        concurrent_connects,
        queued_uplinks,
        queued_bytes,
    } = limits;
    let Downlinks {
        history,
        history_bytes,
        history_age,
        total,
        total_bytes,
    } = downlinks;
    let Store {
        path,
        servers,
        encryption_key,
        limits: kept,
        recent_receipts,
    } = store;
    vec![
        setting("http.listen", listen),
        setting("http.max_body", max_body),
        setting("http.wait", wait),
        setting("http.max_wait", max_wait),
        setting("http.body_timeout", body_timeout),
        setting("http.min_body_rate", min_body_rate),
        setting("management.listen", &management.listen),
        setting("log.format", &log.format),
        setting("log.level", &log.level),
        setting("limits.connects_per_second", connects_per_second),
        setting("limits.concurrent_connects", concurrent_connects),
        setting("limits.queued_uplinks", queued_uplinks),
        setting("limits.queued_bytes", queued_bytes),
        setting("downlinks.history", history),
        setting("downlinks.history_bytes", history_bytes),
        setting("downlinks.history_age", history_age),
        setting("downlinks.total", total),
        setting("downlinks.total_bytes", total_bytes),
        setting("store.path", path),
        setting("store.url", &servers.as_ref().map(nats)),
        setting("store.encryption_key_file", encryption_key),
        setting(
            "[store], how much is kept",
            &(&kept.uplinks, &kept.receipts, &kept.keys),
        ),
        setting("store.recent_receipts", recent_receipts),
        setting("cluster.name", &cluster.name),
        setting("cluster.lease", &cluster.lease),
        setting("[telemetry]", &telemetry.as_ref().map(collector)),
    ]
}

/// What traces are sent to, secrets and certificates by their digests: they do not print themselves.
fn collector(telemetry: &Telemetry) -> impl std::fmt::Debug {
    let Telemetry {
        url,
        ca,
        sampling,
        headers,
        resource,
    } = telemetry;
    let ca = ca.as_ref().map(|ca| Sha256::digest(&ca.bytes));
    let header = |(name, value): &(String, Secret)| (name.clone(), Sha256::digest(value.expose()));
    let headers: Vec<_> = headers.iter().map(header).collect();
    format!("{url:?} {ca:?} {sampling} {headers:?} {resource:?}")
}

/// Where the store's servers are, and who the bridge is there, its secret by its digest.
fn nats(servers: &NatsServers) -> impl std::fmt::Debug {
    let NatsServers {
        urls,
        login,
        ca_file,
        replicas,
        prefix,
    } = servers;
    let login = login.as_ref().map(|login| match login {
        NatsLogin::Credentials(text) => (None, Sha256::digest(text.expose())),
        NatsLogin::Password { user, password } => {
            (Some(user.clone()), Sha256::digest(password.expose()))
        }
    });
    format!("{urls:?} {login:?} {ca_file:?} {replicas} {prefix:?}")
}

/// The keys of settings that differ.
fn changed<'a>(
    before: &'a [Setting],
    after: &'a [Setting],
) -> impl Iterator<Item = &'static str> + 'a {
    let pairs = before.iter().zip(after);
    pairs
        .filter(|((_, before), (_, after))| before != after)
        .map(|((key, _), _)| *key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Vec<Setting> {
        let config = Config::from_text(text, "causeway.toml", ".".as_ref(), []);
        fixed(&config.unwrap_or_else(|error| panic!("{error}")))
    }

    #[test]
    fn what_needs_a_new_start_is_named_and_nothing_else() {
        let before = settings("");
        let names = |text: &str| changed(&before, &settings(text)).collect::<Vec<_>>();
        assert_eq!(names("[http]\ncors_origins = [\"*\"]"), [""; 0]);
        assert_eq!(names("[http]\nmax_connections = 100"), [""; 0]);
        let text = "[http]\nlisten = \"127.0.0.1:1\"\nmax_body = 10\n[store]\nenabled = false\n[log]\nlevel = \"debug\"";
        assert_eq!(
            names(text),
            ["http.listen", "http.max_body", "log.level", "store.path"]
        );
        assert_eq!(
            names("[limits]\nqueued_uplinks = 7"),
            ["limits.queued_uplinks"]
        );
        assert_eq!(
            names("[store]\nreceipt_age = \"1h\""),
            ["[store], how much is kept"]
        );
    }
}
