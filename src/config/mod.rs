//! Configuration: one TOML file, overridden by environment variables, validated whole before anything starts.
//!
//! This part alone reads files and the environment. What it hands out is plain data that fits together: every
//! device's connector exists, every profile's template has its values, and no two connections share a client id.
//! Nothing that is written down is ignored: a key without effect is an error.
//!
//! ```
//! let text = r#"
//!     [connectors.akenza]
//!     profile = "akenza-secret"
//!     url = "mqtts://mqtt.akenza.io"
//!     secret = "from-the-device-connector"
//!     variables = { connector_id = "e2a2b4" }
//!
//!     [devices."0102030405060708"]
//!     connector = "akenza"
//! "#;
//! let over = [("CAUSEWAY__HTTP__WAIT".to_owned(), "2s".to_owned())];
//! let config = causeway::config::Config::from_text(text, "causeway.toml", ".".as_ref(), over)?;
//! assert_eq!(config.http.wait.as_secs(), 2);
//! assert_eq!(config.devices.len(), 1);
//! # Ok::<(), causeway::config::ConfigError>(())
//! ```
//!
//! - `tree`: the file's text as a tree in which every value knows where it was written
//! - `environment`: variables laid over that tree
//! - `section`, `values`: reading one section of it, collecting what is wrong
//! - `files`: secrets, keys and certificates
//! - `listeners`, `connectors`, `devices`, `store`, `cluster`, `telemetry`: the sections; `https`: TLS on the main listener
//! - `access`: who may do what
//! - `via`: devices behind a router device
//! - `reach`: proxy, server name and client certificate of a connection
//! - `reference`: the page that describes every key, from what the sections' readers say of themselves
//! - `fit`: whether a profile, its connector and its device fit together
//! - `registered`, `json`: devices that are registered while the bridge runs
//! - `watch`: the files that were read, looked at for changes

mod access;
mod cluster;
mod connectors;
mod devices;
mod digest;
mod environment;
mod error;
mod files;
mod fit;
mod https;
mod json;
mod listeners;
mod model;
mod nats;
mod reach;
mod reference;
mod registered;
mod section;
mod store;
mod telemetry;
mod tree;
mod units;
mod values;
mod via;
mod watch;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use environment::environment;
pub use error::{ConfigError, Problem, Warning};
pub use files::{FileError, read_file, read_secret};
pub use fit::ClientIds;
pub(crate) use fit::{ClientId, Owner};
pub use model::{
    ClientCertificates, Cluster, Config, ConnectWhen, Connections, Connector, Device, Downlinks,
    FileBytes, Http, Https, IdentityFiles, Limits, Log, LogFormat, Management, Store, Telemetry,
};
pub use reference::reference;
pub use registered::{DeviceError, Registered, Surroundings};
pub use units::{ByteSizeError, parse_bytes};
pub use watch::{FileWatch, Look, Observed};

use error::{Place, Report};
use files::Files;
use section::Section;

impl Config {
    /// Reads and validates a configuration file, the files that it names, and the overrides in `env`.
    pub fn load(
        path: &Path,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = match files::read_text(path) {
            Ok(text) => text,
            Err(error) => {
                let report = Report::default();
                report.error(&Place::whole_file(), error);
                let error = ConfigError::new(name, report.into_problems().0);
                return Err(error.reading(vec![Observed::new(path, None)]));
            }
        };
        let own = Observed::new(path, Some(text.as_bytes()));
        let base = path.parent().unwrap_or(Path::new(""));
        let mut config = match Self::from_text(&text, &name, base, env) {
            Ok(config) => config,
            Err(error) => {
                let files = error.files().iter().cloned().chain([own]).collect();
                return Err(error.reading(files));
            }
        };
        config.files.push(own);
        config
            .warnings
            .extend(files::exposed_configuration(path, &name, &text));
        Ok(config)
    }

    /// The same for a text that is at hand. `name` stands in messages, `base` is the folder that relative paths start from.
    pub fn from_text(
        text: &str,
        name: &str,
        base: &Path,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let report = Report::default();
        let config = tree::parse(text, &report).map(|mut tree| {
            environment::apply(&mut tree, env, &report);
            let files = Files::new(base, &report);
            let root = Section::root(&tree, &report);
            let mut config = read(root, &files);
            config.files = files.observed();
            files.warn();
            config
        });
        let (problems, warnings) = report.into_problems();
        match config {
            Some(mut config) if problems.is_empty() => {
                config.warnings = Warning::list(name, warnings);
                Ok(config)
            }
            config => {
                let files = config.map(|config| config.files).unwrap_or_default();
                Err(ConfigError::new(name.to_owned(), problems).reading(files))
            }
        }
    }
}

fn read(mut root: Section<'_>, files: &Files<'_>) -> Config {
    let access = root.section("access");
    let certificates = access.deepest_place(&["certificates"]);
    let access = access::read(access, files);
    let http = listeners::http(root.section("http"), files, !access.is_empty());
    access::check_certificates(&access, &http, &certificates, root.report());
    let management = listeners::management(root.section("management"), &http);
    let log = listeners::log(root.section("log"));
    let limits = listeners::limits(root.section("limits"), &http);
    let downlinks = store::downlinks(root.section("downlinks"));
    let store = store::store(root.section("store"), files, &downlinks);
    let cluster = cluster::cluster(root.section("cluster"), &store);
    let telemetry = telemetry::telemetry(root.section("telemetry"), files);
    let mut client_ids = fit::ClientIds::default();
    let connectors = connectors::read(root.section("connectors"), files, &mut client_ids);
    let devices = devices::read(
        root.section("devices"),
        &connectors,
        files,
        store.is_enabled(),
        &mut client_ids,
    );
    fit::warn_of_plain_text(&root, &connectors, &devices);
    root.finish();
    Config {
        http,
        access,
        management,
        log,
        limits,
        downlinks,
        store,
        cluster,
        telemetry,
        connectors: connectors
            .into_iter()
            .filter_map(|(name, connector)| Some((name, connector?)))
            .collect(),
        devices,
        client_ids: client_ids.into(),
        warnings: Vec::new(),
        files: Vec::new(),
    }
}
