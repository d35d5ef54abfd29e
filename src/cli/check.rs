//! `causeway check`: whether a configuration is valid, and what it comes to.

use std::fmt::Write as _;

use super::ConfigFile;
use super::error::CliError;
use super::progress::Progress;
use crate::access::{CertificateMatch, Credential, Rule};
use crate::bridge::{self, PlanWarning};
use crate::broker::Scheme;
use crate::config::{Config, ConnectWhen, Connector, Device, Https};
use crate::profile::{Binding, ScopeValues, SessionScope};

const EXAMPLES: &str = "\
Example:
  causeway check --config /etc/causeway/causeway.toml && systemctl restart causeway";

/// Validate the configuration and everything it names, and print what it comes to; nothing is connected
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
}

impl Args {
    pub(super) fn run(self) -> Result<String, CliError> {
        let config = self.config.load()?;
        let devices = config.devices.len();
        let progress = Progress::show(format!("reading keys and certificates, {devices} devices"));
        let found = bridge::verify(&config).map_err(|errors| {
            CliError::Unusable(errors.iter().map(ToString::to_string).collect())
        })?;
        drop(progress);
        let file = self.config.path.display().to_string();
        Ok(summary(&config, &file) + &warnings(&config, &found))
    }
}

fn summary(config: &Config, file: &str) -> String {
    let mut text = format!("{file} is valid.\n\nlisteners\n");
    let listen = config.http.listen;
    let clients = |https: &Https| https.clients.as_ref().map(|clients| clients.required);
    let (name, clients) = match &config.http.https {
        Some(https) => ("https", clients(https)),
        None => ("http ", None),
    };
    // Off loopback, a configuration without allow_anonymous or certificates is not valid.
    let place = match listen.ip().is_loopback() {
        true => "this machine only",
        false => "anybody who reaches it",
    };
    let open = match (clients, config.access.is_empty()) {
        (Some(true), true) => "clients with a certificate".to_owned(),
        (Some(true), false) => "clients with a certificate, as access says".to_owned(),
        (_, true) => place.to_owned(),
        (_, false) => format!("{place}, as access says"),
    };
    let _ = writeln!(text, "  {name}       {listen}  {open}");
    let _ = writeln!(text, "  management  {}", config.management.listen);

    access(&mut text, &config.access);
    let _ = writeln!(text, "\nconnectors: {}", config.connectors.len());
    for connector in config.connectors.values() {
        let version = match connector.mqtt_version {
            Some(version) => format!("MQTT {version}"),
            None => "MQTT 5, or 3.1.1 where that is refused".to_owned(),
        };
        let roots = match (connector.url.scheme(), &connector.ca) {
            (Scheme::Plain, _) => "not encrypted".to_owned(),
            (Scheme::Tls, None) => "TLS with the system's roots".to_owned(),
            (Scheme::Tls, Some(ca)) => format!("TLS with the roots in {}", ca.path.display()),
        };
        let sessions = match connector.profile.session {
            SessionScope::Device => "a connection for each device".to_owned(),
            SessionScope::Connector => {
                format!("one connection, client id {}", client_id(connector, None))
            }
        };
        let when = match connector.connect {
            ConnectWhen::Lazy => "opened on first use",
            ConnectWhen::Eager => "opened at start",
        };
        let through = match &connector.proxy {
            Some(proxy) => format!(" through the proxy {proxy}"),
            None => String::new(),
        };
        let Connector {
            name,
            url,
            profile_name,
            ..
        } = connector;
        let _ = writeln!(
            text,
            "  {name}  {url}{through}  profile {profile_name}\n    {version}; {roots}; {sessions}, {when}"
        );
    }

    let _ = writeln!(text, "\ndevices: {}", config.devices.len());
    for (connector, device) in pairs(config) {
        let _ = match (connector.profile.session, &device.via) {
            (SessionScope::Connector, _) => writeln!(text, "  {}  {}", device.id, connector.name),
            (SessionScope::Device, Some(router)) => {
                writeln!(text, "  {}  {}  via {router}", device.id, connector.name)
            }
            (SessionScope::Device, None) => {
                let client_id = client_id(connector, Some(device));
                writeln!(
                    text,
                    "  {}  {}  client id {client_id}",
                    device.id, connector.name
                )
            }
        };
    }
    text
}

/// Who may do what. Not even a hash is shown: somebody could find a weak token by it.
fn access(text: &mut String, rules: &[Rule]) {
    if rules.is_empty() {
        return;
    }
    let _ = writeln!(text, "\naccess: {}", rules.len());
    for rule in rules {
        let kind = match &rule.credential {
            Credential::Certificate(CertificateMatch::Subject(subject)) => {
                format!("certificate of {subject}")
            }
            Credential::Certificate(CertificateMatch::Name(name)) => {
                format!("certificate for {}", name.as_str())
            }
            Credential::Certificate(CertificateMatch::Fingerprint(_)) => {
                "one certificate".to_owned()
            }
            Credential::Token(_) | Credential::None => "token".to_owned(),
        };
        let devices = match rule.devices.is_all() {
            true => "all devices".to_owned(),
            false => format!("devices {}", rule.devices),
        };
        let until = match rule.expires {
            Some(at) => format!("until {}", humantime::format_rfc3339_seconds(at)),
            None => "without an end".to_owned(),
        };
        let Rule { name, scopes, .. } = rule;
        let _ = writeln!(
            text,
            "  {name}  {kind}  {scopes}\n    {devices}; {until}; {}",
            limits(rule)
        );
    }
}

fn limits(rule: &Rule) -> String {
    let rate = rule
        .rate
        .map(|rate| match (rate.per_second(), rate.burst()) {
            (per_second, burst) if burst > per_second => {
                format!("{per_second} requests a second, {burst} at once")
            }
            (per_second, _) => format!("{per_second} requests a second"),
        });
    let requests = rule
        .max_requests
        .map(|most| format!("{most} requests at a time"));
    let streams = rule
        .max_streams
        .map(|most| format!("{most} streams at a time"));
    let all: Vec<_> = [rate, requests, streams].into_iter().flatten().collect();
    match all.is_empty() {
        true => "without limits".to_owned(),
        false => all.join(", "),
    }
}

/// What works, but should be seen to; nothing where there is nothing.
fn warnings(config: &Config, found: &[PlanWarning]) -> String {
    let written = config.warnings.iter().map(ToString::to_string);
    let all: Vec<_> = written
        .chain(found.iter().map(ToString::to_string))
        .collect();
    if all.is_empty() {
        return String::new();
    }
    format!("\nwarnings: {}\n  {}\n", all.len(), all.join("\n  "))
}

fn pairs(config: &Config) -> impl Iterator<Item = (&Connector, &Device)> {
    config
        .devices
        .values()
        .filter_map(|device| Some((config.connectors.get(&device.connector)?, &**device)))
}

fn client_id(connector: &Connector, device: Option<&Device>) -> String {
    if connector.profile.connect.client_id.uses("secret") {
        return "not shown, it contains the secret".to_owned();
    }
    let values = ScopeValues {
        secret: None,
        ..connector.scope(device)
    };
    Binding::new(&connector.profile, values)
        .and_then(|binding| binding.client_id())
        .unwrap_or_else(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_do_what_is_listed_without_a_secret() {
        let text = r#"
            [http]
            listen = "0.0.0.0:80"
            [access.tokens.ci]
            token = "hunter2-0123456789abcdef"
            scopes = ["uplink", "downlink"]
            [access.tokens.visitor]
            hash = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
            scopes = ["devices:read"]
            devices = ["pump-*", "valve"]
            expires = 2099-01-31T12:00:00Z
            rate = 5
            burst = 9
            max_requests = 3
            max_streams = 2
        "#;
        let config = Config::from_text(text, "causeway.toml", ".".as_ref(), []).unwrap();
        let summary = summary(&config, "causeway.toml");
        for line in [
            "  http        0.0.0.0:80  anybody who reaches it, as access says",
            "access: 2",
            "  ci  token  uplink, downlink",
            "    all devices; without an end; without limits",
            "  visitor  token  devices:read",
            "    devices pump-*, valve; until 2099-01-31T12:00:00Z; 5 requests a second, 9 at once, 3 requests at a time, 2 streams at a time",
        ] {
            assert!(
                summary.lines().any(|l| l == line),
                "{line}\nis not in\n{summary}"
            );
        }
        assert!(!summary.contains("hunter2") && !summary.contains("ba7816bf"));
    }

    #[test]
    fn the_summary_names_what_will_run_and_no_secret() {
        let text = r#"
            [http]
            listen = "0.0.0.0:80"
            allow_anonymous = true
            [connectors.cloud]
            profile = "akenza-secret"
            url = "mqtts://mqtt.akenza.io"
            connect = "eager"
            secret = "hunter2"
            variables = { connector_id = "abc" }
            [connectors.own]
            profile = "plain"
            url = "mqtt://broker"
            mqtt_version = "3.1.1"
            secret = "hunter2"
            proxy = "http://proxy:3128"
            proxy_username = "plant"
            proxy_password = "hunter2"
            override.session = "device"
            override.connect.client_id = "{secret}"
            [connectors.each]
            profile = "plain"
            url = "mqtt://localhost"
            override.session = "device"
            override.connect.client_id = "each-{device}"
            [devices]
            a = { connector = "cloud" }
            b = { connector = "own" }
            c = { connector = "each" }
        "#;
        let config = Config::from_text(text, "causeway.toml", ".".as_ref(), []).unwrap();
        let summary = summary(&config, "causeway.toml") + &warnings(&config, &[]);
        for line in [
            "causeway.toml is valid.",
            "  http        0.0.0.0:80  anybody who reaches it",
            "  cloud  mqtts://mqtt.akenza.io:8883  profile akenza-secret",
            "    MQTT 5, or 3.1.1 where that is refused; TLS with the system's roots; one connection, client id causeway-cloud-abc, opened at start",
            "  own  mqtt://broker:1883 through the proxy proxy:3128  profile plain",
            "    MQTT 3.1.1; not encrypted; a connection for each device, opened on first use",
            "  a  cloud",
            "  b  own  client id not shown, it contains the secret",
            "  c  each  client id each-c",
            "warnings: 1",
        ] {
            assert!(
                summary.lines().any(|l| l == line),
                "{line}\nis not in\n{summary}"
            );
        }
        assert!(!summary.contains("hunter2"));
    }
}
