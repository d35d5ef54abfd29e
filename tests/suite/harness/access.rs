//! How Mosquitto's command-line clients reach a broker, and publishing with them.

use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::certificates::Identity;
use super::program::or_install;

/// How to get Mosquitto's programs on Debian.
pub const INSTALL_MOSQUITTO: &str = "apt-get install mosquitto mosquitto-clients";

/// The version of MQTT to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1
    V311,
    /// MQTT 5
    V5,
}

/// A broker's address and who one is to it; MQTT 5 unless another version is asked for.
#[derive(Debug, Clone)]
pub struct Access {
    addr: SocketAddr,
    version: Version,
    login: Option<(String, String)>,
    client_id: Option<String>,
    ca_file: Option<PathBuf>,
    identity: Option<Identity>,
}

/// One MQTT message, to send or as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The topic's name.
    pub topic: String,
    /// Any bytes.
    pub payload: Vec<u8>,
    /// 0, 1 or 2; of a received message the lower of what was published and what was subscribed.
    pub qos: u8,
    /// Of a received message: it was retained before the subscription came.
    pub retain: bool,
    /// Only with MQTT 5.
    pub content_type: Option<String>,
    /// Only with MQTT 5. Mosquitto's output does not delimit them, so neither half may contain a space or a colon.
    pub user_properties: Vec<(String, String)>,
}

/// What became of a published message.
#[derive(Debug, Clone)]
pub struct Published {
    /// The reason code of its PUBACK; `None` without one (QoS 0, or no connection).
    pub puback: Option<u8>,
    /// Everything that `mosquitto_pub` said.
    pub output: String,
}

impl Access {
    /// An anonymous client without TLS.
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            version: Version::V5,
            login: None,
            client_id: None,
            ca_file: None,
            identity: None,
        }
    }

    /// With a user name and password.
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.login = Some((name.to_owned(), password.to_owned()));
        self
    }

    /// With a client id instead of a random one.
    pub fn client_id(mut self, id: &str) -> Self {
        self.client_id = Some(id.to_owned());
        self
    }

    /// With another version of MQTT.
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// With TLS, trusting the authority in `ca_file`.
    pub fn tls(mut self, ca_file: &Path) -> Self {
        self.ca_file = Some(ca_file.to_owned());
        self
    }

    /// With a client certificate (and TLS).
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Publishes one message and waits for what the broker says to it.
    pub async fn publish(&self, message: &Message) -> Published {
        let mut command = Command::new("mosquitto_pub");
        command
            .args(self.args())
            .args(["-d", "-s", "-t", &message.topic])
            .args(["-q", &message.qos.to_string()]);
        if message.retain {
            command.arg("-r");
        }
        if let Some(content_type) = &message.content_type {
            command.args(["-D", "publish", "content-type", content_type]);
        }
        for (name, value) in &message.user_properties {
            command.args(["-D", "publish", "user-property", name, value]);
        }
        let payload = message.payload.clone();
        let output = tokio::task::spawn_blocking(move || run(command, &payload))
            .await
            .unwrap();
        Published {
            puback: puback(&output),
            output,
        }
    }

    /// The arguments that all of Mosquitto's clients share.
    pub(super) fn args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        let mut add = |flag: &str, value: &Path| args.extend([flag.into(), value.into()]);
        add("-h", self.addr.ip().to_string().as_ref());
        add("-p", self.addr.port().to_string().as_ref());
        add(
            "-V",
            match self.version {
                Version::V311 => "311".as_ref(),
                Version::V5 => "5".as_ref(),
            },
        );
        if let Some((name, password)) = &self.login {
            add("-u", name.as_ref());
            add("-P", password.as_ref());
        }
        if let Some(id) = &self.client_id {
            add("-i", id.as_ref());
        }
        if let Some(file) = &self.ca_file {
            add("--cafile", file);
        }
        if let Some(identity) = &self.identity {
            add("--cert", &identity.certificate_file);
            add("--key", &identity.key_file);
        }
        args
    }
}

impl Message {
    /// A QoS 1 message with nothing but a topic and a payload.
    pub fn new(topic: &str, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            topic: topic.to_owned(),
            payload: payload.into(),
            qos: 1,
            retain: false,
            content_type: None,
            user_properties: Vec::new(),
        }
    }

    /// The payload as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }
}

impl Published {
    /// Panics unless the broker acknowledged the message with success; below 0x80 all reasons are one, such as 0x10
    /// "no matching subscribers" (MQTT 5 § 3.4.2.1).
    pub fn accepted(&self) {
        let accepted = self.puback.is_some_and(|reason| reason < 0x80);
        assert!(accepted, "{}", self.output);
    }
}

fn run(mut command: Command, payload: &[u8]) -> String {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = or_install(command.spawn(), "mosquitto_pub", INSTALL_MOSQUITTO);
    // A client that could not connect has closed its input; its output tells why.
    let _ = child.stdin.take().unwrap().write_all(payload);
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn puback(output: &str) -> Option<u8> {
    let (_, rest) = output.split_once("received PUBACK")?;
    let (_, code) = rest.split_once("RC:")?;
    code.split(')').next()?.parse().ok()
}
