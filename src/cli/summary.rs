//! What `causeway serve` says when it is up: where it listens, where it connects to, and what is not as safe as it could be.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::SystemTime;

use clap::builder::styling::{AnsiColor, Style};
use serde::Serialize;

use crate::broker::Scheme;
use crate::config::Config;
use crate::device::ConnectorName;

/// Connectors that are named; of more than these only the number is told.
const SHOWN: usize = 20;

const BOLD: Style = Style::new().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default();

/// Everything that is said; no secret is part of it.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    version: &'static str,
    http: String,
    management: String,
    connectors: Vec<ConnectorSummary>,
    /// All of them, those that are registered in the store included.
    devices: usize,
    store: Option<StoreSummary>,
    /// The collector, and the part of traces that begin here which it gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    traces: Option<TracesSummary>,
    /// What is not as safe as it could be.
    insecure: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ConnectorSummary {
    name: String,
    url: String,
    profile: String,
    devices: usize,
}

#[derive(Debug, Serialize)]
struct StoreSummary {
    path: String,
    /// Whether private keys and secrets in it are sealed.
    encrypted: bool,
}

#[derive(Debug, Serialize)]
struct TracesSummary {
    collector: String,
    sampling: f64,
}

impl Summary {
    /// Of a bridge that listens there and has so many devices on each connector.
    pub(super) fn new(
        config: &Config,
        http: SocketAddr,
        management: SocketAddr,
        devices: &BTreeMap<ConnectorName, usize>,
    ) -> Self {
        let scheme = match config.http.https {
            Some(_) => "https",
            None => "http",
        };
        let connectors = config.connectors.values();
        let connectors = connectors.map(|connector| ConnectorSummary {
            name: connector.name.to_string(),
            url: connector.url.to_string(),
            profile: connector.profile_name.clone(),
            devices: devices.get(&connector.name).copied().unwrap_or(0),
        });
        let path = config.store.path.as_ref();
        let path = path.map(|path| path.display().to_string());
        let servers = config.store.servers.as_ref();
        let servers =
            servers.map(|servers| format!("{} ({})", servers.urls.join(" "), servers.prefix));
        Self {
            version: env!("CARGO_PKG_VERSION"),
            http: format!("{scheme}://{http}"),
            management: format!("http://{management}"),
            connectors: connectors.collect(),
            devices: devices.values().sum(),
            store: path.or(servers).map(|path| StoreSummary {
                path,
                encrypted: config.store.encryption_key.is_some(),
            }),
            traces: config.telemetry.as_ref().map(|telemetry| TracesSummary {
                collector: telemetry.url.to_string(),
                sampling: telemetry.sampling,
            }),
            insecure: insecure(config),
        }
    }

    /// For people, with colours. The first line is also what programs wait for.
    pub(super) fn human(&self) -> String {
        let paint = |style: Style, text: &str| format!("{style}{text}{style:#}");
        let row = |name: &str, text: &str| format!("  {name:<11}{text}\n");
        let mut text = format!(
            "{} {} serving {}, management {}\n",
            paint(BOLD, "causeway"),
            self.version,
            paint(BOLD, &self.http),
            self.management
        );
        let shown = self.connectors.iter().take(SHOWN);
        let width = |of: fn(&ConnectorSummary) -> &str| {
            shown
                .clone()
                .map(|c| of(c).chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths = [width(|c| &c.name), width(|c| &c.url), width(|c| &c.profile)];
        for ConnectorSummary {
            name,
            url,
            profile,
            devices,
        } in shown
        {
            let [of_name, of_url, of_profile] = widths;
            let devices = count(*devices, "device");
            let line =
                format!("{name:<of_name$}  {url:<of_url$}  {profile:<of_profile$}  {devices}");
            text += &row("connector", &line);
        }
        if self.connectors.is_empty() {
            text += &row(
                "connectors",
                "none: nothing can be sent before one is written down",
            );
        }
        if let Some(more) = self.connectors.len().checked_sub(SHOWN + 1) {
            text += &row("", &format!("and {} more", more + 1));
        }
        text += &row("devices", &self.devices.to_string());
        text += &row(
            "store",
            &match &self.store {
                Some(StoreSummary { path, encrypted }) => match encrypted {
                    true => format!("{path}, private keys in it are encrypted"),
                    false => format!("{path}, without an encryption key"),
                },
                None => "none: what the broker does not confirm in time is not taken".to_owned(),
            },
        );
        if let Some(TracesSummary {
            collector,
            sampling,
        }) = &self.traces
        {
            let part = sampling * 100.0;
            text += &row("traces", &format!("{part} % to {collector}"));
        }
        for what in &self.insecure {
            let _ = write!(text, "  {}", paint(YELLOW, &format!("{:<11}", "insecure")));
            text += what;
            text.push('\n');
        }
        text
    }

    /// One line for machines, in the form of the log's other lines.
    pub(super) fn json(&self, now: SystemTime) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            timestamp: String,
            level: &'static str,
            message: String,
            #[serde(flatten)]
            summary: &'a Summary,
            target: &'static str,
        }
        let Self {
            http, management, ..
        } = self;
        let line = Line {
            timestamp: humantime::format_rfc3339_micros(now).to_string(),
            level: "INFO",
            message: format!("serving {http}, management {management}"),
            summary: self,
            target: "causeway::cli::serve",
        };
        // Nothing in it can fail to be written.
        serde_json::to_string(&line).unwrap_or_default() + "\n"
    }
}

/// What works, but lets others read or do what they should not.
fn insecure(config: &Config) -> Vec<String> {
    let mut insecure: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
    let warned = |key: &str| {
        let mut warnings = config.warnings.iter();
        warnings.any(|warning| warning.problem().key().starts_with(key))
    };
    for connector in config.connectors.values() {
        let key = format!("connectors.{}.url", connector.name);
        let is_open = connector.url.scheme() == Scheme::Plain && !connector.url.is_loopback();
        if is_open && !warned(&key) {
            insecure.push(format!("{key}: messages cross the network unencrypted"));
        }
    }
    let http = &config.http;
    if !http.listen.ip().is_loopback() {
        if http.lets_anybody_in(!config.access.is_empty()) {
            insecure.push(
                "http.allow_anonymous: whoever reaches the listener may speak as every device"
                    .into(),
            );
        }
        if http.https.is_none() {
            insecure.push(
                "http.listen: requests, and tokens with them, cross the network unencrypted; tls_certificate_file makes it HTTPS"
                    .into(),
            );
        }
    }
    if !config.management.listen.ip().is_loopback() {
        insecure.push("management.listen: whoever reaches it reads the metrics".into());
    }
    insecure
}

fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;

    use super::*;

    const TEXT: &str = r#"
        [http]
        listen = "0.0.0.0:80"
        allow_anonymous = true
        [telemetry]
        otlp_url = "http://localhost:4318"
        sampling = 0.05
        [connectors.cloud]
        profile = "akenza-secret"
        url = "mqtts://mqtt.akenza.io"
        secret = "hunter2"
        variables = { connector_id = "abc" }
        [connectors.plant]
        profile = "plain"
        url = "mqtt://broker"
        [connectors.secret]
        profile = "plain"
        url = "mqtt://broker2"
        secret = "hunter2"
        variables = { username = "me" }
        [connectors.here]
        profile = "plain"
        url = "mqtt://localhost"
        [devices]
        a = { connector = "cloud" }
        b = { connector = "plant" }
        c = { connector = "plant" }
    "#;

    fn summary(text: &str) -> Summary {
        let config = Config::from_text(text, "causeway.toml", "".as_ref(), []).unwrap();
        let mut devices = BTreeMap::new();
        for device in config.devices.values() {
            *devices.entry(device.connector.clone()).or_default() += 1;
        }
        let address = "0.0.0.0:8080".parse().unwrap();
        Summary::new(
            &config,
            address,
            "127.0.0.1:9090".parse().unwrap(),
            &devices,
        )
    }

    #[test]
    fn people_see_where_it_listens_and_connects_and_what_is_insecure() {
        let coloured = summary(TEXT).human();
        let text = strip_str(&coloured).to_string();
        let lines: Vec<_> = text.lines().collect();
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            lines[0],
            format!(
                "causeway {version} serving http://0.0.0.0:8080, management http://127.0.0.1:9090"
            )
        );
        for line in [
            "  connector  cloud   mqtts://mqtt.akenza.io:8883  akenza-secret  1 device",
            "  connector  plant   mqtt://broker:1883           plain          2 devices",
            "  connector  here    mqtt://localhost:1883        plain          0 devices",
            "  devices    3",
            "  store      causeway.redb, without an encryption key",
            "  traces     5 % to http://localhost:4318",
            "  insecure   connectors.plant.url: messages cross the network unencrypted",
            "  insecure   http.allow_anonymous: whoever reaches the listener may speak as every device",
        ] {
            assert!(lines.contains(&line), "{line}\nis not in\n{text}");
        }
        let insecure = lines.iter().filter(|line| line.starts_with("  insecure"));
        // Secrets in plain text are said once, and a broker on this machine is no trouble.
        assert_eq!(insecure.clone().count(), 4, "{text}");
        assert_eq!(
            insecure
                .filter(|line| line.contains("connectors.secret.url"))
                .count(),
            1
        );
        assert!(!text.contains("hunter2"));
        assert!(coloured.contains("\x1b[33minsecure") && coloured.contains("\x1b[1mhttp://"));
    }

    #[test]
    fn many_connectors_are_not_all_named() {
        let mut text = "[store]\nenabled = false\n".to_owned();
        for n in 0..22 {
            text += &format!(
                "[connectors.c{n}]\nprofile = \"plain\"\nurl = \"mqtt://localhost:{}\"\n",
                1000 + n
            );
        }
        let text = summary(&text).human();
        assert_eq!(text.matches("  connector  ").count(), 20);
        assert!(text.contains("and 2 more"), "{text}");
        assert!(text.contains("  store      none: "), "{text}");
        assert!(summary("").human().contains("  connectors none: "));
    }

    #[test]
    fn machines_get_one_line() {
        let line = summary(TEXT).json(SystemTime::UNIX_EPOCH);
        assert_eq!(line.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["timestamp"], "1970-01-01T00:00:00.000000Z");
        assert_eq!(line["level"], "INFO");
        assert_eq!(
            line["message"],
            "serving http://0.0.0.0:8080, management http://127.0.0.1:9090"
        );
        assert_eq!(line["connectors"][0]["name"], "cloud");
        assert_eq!(line["connectors"][3]["devices"], 0);
        assert_eq!(line["devices"], 3);
        assert_eq!(line["store"]["encrypted"], false);
        assert_eq!(line["insecure"].as_array().unwrap().len(), 4);
        assert!(!line.to_string().contains("hunter2"));
    }
}
