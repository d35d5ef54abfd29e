//! `causeway token`: the password that a device would connect with, for any MQTT client.

use std::time::SystemTime;

use super::error::CliError;
use super::{ConfigFile, keys};
use crate::bridge;
use crate::config::{Config, Connector, Device};
use crate::device::DeviceId;
use crate::identity::issue;
use crate::session::NoPassword;

const EXAMPLES: &str = "\
Example:
  token=$(causeway token --device pump-1)
  mosquitto_pub -h mqtt.akenza.io -p 8883 --capath /etc/ssl/certs \\
    -i pump-1 -u unused -P \"$token\" \\
    -q 1 -t /up/device/id/pump-1 -m '{\"temperature\": 21.5}'

The token is printed alone; when it expires stands on standard error.";

/// Print a token (JWT) for a device, to connect as that device with any MQTT client
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The device's id, as it stands in the configuration
    #[arg(long, value_name = "ID")]
    device: DeviceId,
    #[command(flatten)]
    config: ConfigFile,
}

impl Args {
    pub(super) fn run(self) -> Result<String, CliError> {
        let config = self.config.load()?;
        let (connector, device) = find(&config, &self.device)?;
        if connector.profile.token.is_none() {
            return Err(CliError::Failed(format!(
                "{} connects without a token: the profile {} has no [token]",
                device.id, connector.profile_name
            )));
        }
        let unusable = |error: &dyn std::fmt::Display| CliError::Unusable(vec![error.to_string()]);
        let kept = match device.private_key {
            Some(_) => None,
            None => Some(keys::kept(&config, &device.id)?),
        };
        let source =
            bridge::token_source(connector, device, kept).map_err(|error| unusable(&error))?;
        let (spec, key) = source.token().map_err(|error| match error {
            NoPassword::NoKey => CliError::Failed(format!(
                "{} has no active key; `causeway keys list` lists those that it has",
                device.id
            )),
            NoPassword::Issue(error) => unusable(&error),
        })?;
        let token = issue(key.get()?, &spec, SystemTime::now())?;
        eprintln!(
            "expires at {}",
            humantime::format_rfc3339_seconds(token.expires_at)
        );
        Ok(format!("{}\n", token.jwt.expose()))
    }
}

pub(super) fn find<'a>(
    config: &'a Config,
    id: &DeviceId,
) -> Result<(&'a Connector, &'a Device), CliError> {
    let found = config
        .devices
        .get(id)
        .and_then(|device| Some((config.connectors.get(&device.connector)?, &**device)));
    found.ok_or_else(|| {
        let known: Vec<_> = config.devices.keys().map(DeviceId::as_str).collect();
        let known = match known.as_slice() {
            [] => "it has no devices".to_owned(),
            few @ [_, ..] if few.len() <= 10 => format!("it has: {}", few.join(", ")),
            many => format!("it has {} others", many.len()),
        };
        CliError::Failed(format!("the configuration has no device {id}; {known}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::VerifyingKey;

    const CONFIG: &str = r#"
[connectors.akenza]
profile = "akenza-device"
url = "mqtts://mqtt.akenza.io"
override.token.lifetime = "30s"
[connectors.plant]
profile = "plain"
url = "mqtt://localhost"
[devices.pump-1]
connector = "akenza"
private_key_file = "key.pem"
[devices.other]
connector = "plant"
[devices.kept]
connector = "akenza"
"#;

    fn run(folder: &std::path::Path, device: &str) -> Result<String, CliError> {
        let path = folder.join("causeway.toml");
        std::fs::write(&path, CONFIG).unwrap();
        Args {
            device: DeviceId::parse(device).unwrap(),
            config: ConfigFile { path },
        }
        .run()
    }

    #[test]
    fn a_token_is_what_the_platform_verifies() {
        let folder = tempfile::tempdir().unwrap();
        let made = keys::Command::New {
            algorithm: keys::NewAlgorithm::Es256,
            out: Some(folder.path().join("key.pem")),
            passphrase_file: None,
            device: None,
            config: ConfigFile {
                path: Default::default(),
            },
        };
        let public = made.run().unwrap();
        let token = run(folder.path(), "pump-1").unwrap();
        let key = VerifyingKey::from_pem("public.pem".as_ref(), public.as_bytes()).unwrap();
        key.verify(
            token.trim_end(),
            "https://akenza.io/devices/pump-1",
            SystemTime::now(),
            std::time::Duration::ZERO,
        )
        .unwrap();

        let error = run(folder.path(), "other").unwrap_err().to_string();
        assert!(error.contains("without a token"), "{error}");
        let error = run(folder.path(), "pump-2").unwrap_err().to_string();
        assert!(
            error.contains("no device pump-2; it has: kept, other, pump-1"),
            "{error}"
        );
    }

    #[test]
    fn a_key_in_the_store_signs_too() {
        use clap::Parser;
        #[derive(clap::Parser)]
        struct Keys {
            #[command(subcommand)]
            command: keys::Command,
        }
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(file("key.pem"), "not used").unwrap();
        std::fs::write(file("causeway.toml"), CONFIG).unwrap();
        let config = file("causeway.toml");
        let keys = |line: &str| {
            let words = line.split(' ').chain(["--config", &config]);
            Keys::try_parse_from(words).unwrap().command.run().unwrap()
        };
        let public = keys("keys new --device kept --algorithm es256");
        let error = run(folder.path(), "kept").unwrap_err().to_string();
        assert!(error.contains("kept has no active key"), "{error}");
        let kid = public.split_once("kid: ").unwrap().1.trim_end();
        keys(&format!("keys activate --device kept {kid}"));
        let token = run(folder.path(), "kept").unwrap();
        let key = VerifyingKey::from_pem("public.pem".as_ref(), public.as_bytes()).unwrap();
        key.verify(
            token.trim_end(),
            "https://akenza.io/devices/kept",
            SystemTime::now(),
            std::time::Duration::ZERO,
        )
        .unwrap();
    }

    #[test]
    fn a_key_that_is_none_is_named_with_its_device() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key.pem"), "no key").unwrap();
        let error = run(folder.path(), "pump-1").unwrap_err();
        assert_eq!(error.exit_code(), 78);
        let error = error.to_string();
        assert!(
            error.contains("\"pump-1\"") && error.contains("key.pem: "),
            "{error}"
        );
    }
}
