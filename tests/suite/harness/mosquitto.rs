//! A real Mosquitto of the test's own, configured to be as strict or as lax as the test needs.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::access::{Access, INSTALL_MOSQUITTO};
use super::certificates::{Authority, Identity};
use super::lines::Lines;
use super::port::Port;
use super::program::{Program, or_install};

/// A running (or killed, and to be restarted) broker. Its ports, files and state stay its own until it is dropped.
#[derive(Debug)]
pub struct Mosquitto {
    program: Program,
    config_file: PathBuf,
    plain: Port,
    tls: Option<(Port, PathBuf)>,
    websockets: Option<Port>,
    // Last, so that the broker has ended before its folder goes.
    _dir: TempDir,
}

/// What a broker shall be like. Unless said otherwise: no TLS, anybody may do anything, nothing survives a restart.
#[derive(Debug, Default)]
pub struct Builder {
    tls: Option<(PathBuf, Identity)>,
    client_certificates: Option<CertificateUse>,
    websockets: bool,
    users: Vec<(String, String)>,
    acl: Option<String>,
    persistent: bool,
    lines: Vec<String>,
}

/// What a demanded client certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateUse {
    /// It only has to be there and to chain to the listener's authority.
    Demand,
    /// Its common name is the user name, as with `use_identity_as_username`.
    UserName,
}

impl Mosquitto {
    /// A broker without TLS that lets anybody do anything.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// A broker that is particular.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Its listener without TLS.
    pub fn addr(&self) -> SocketAddr {
        self.plain.addr()
    }

    /// Its TLS listener.
    pub fn tls_addr(&self) -> SocketAddr {
        self.tls.as_ref().expect("a broker with tls()").0.addr()
    }

    /// Its listener for MQTT over WebSockets.
    pub fn websockets_addr(&self) -> SocketAddr {
        let port = self.websockets.as_ref();
        port.expect("a broker with websockets()").addr()
    }

    /// Anonymous access without TLS.
    pub fn access(&self) -> Access {
        Access::new(self.addr())
    }

    /// Anonymous access through TLS, trusting the broker's authority.
    pub fn tls_access(&self) -> Access {
        let (port, ca_file) = self.tls.as_ref().expect("a broker with tls()");
        Access::new(port.addr()).tls(ca_file)
    }

    /// What it logged since it was last started, such as `New client connected from 127.0.0.1:… as sensor-1 (p5, …`.
    pub fn log(&self) -> &Lines {
        self.program.stderr()
    }

    /// Ends it the hard way; clients are refused until [`restart`](Self::restart).
    pub fn kill9(&mut self) {
        self.program.kill9();
    }

    /// Ends it in good order; clients are refused until [`restart`](Self::restart).
    pub async fn stop(&mut self) {
        self.program.terminate().await;
    }

    /// Starts it again, after having ended it the hard way if it still runs: same ports, same configuration.
    pub async fn restart(&mut self) {
        self.program.kill9();
        self.program = run(&self.config_file).await;
    }
}

impl Builder {
    /// Adds a TLS listener with a good certificate for `localhost` and `127.0.0.1`.
    pub fn tls(self, authority: &Authority) -> Self {
        self.tls_with(authority, authority.server())
    }

    /// Adds a TLS listener with the server certificate `server`; client certificates have to chain to `authority`.
    pub fn tls_with(mut self, authority: &Authority, server: Identity) -> Self {
        self.tls = Some((authority.ca_file(), server));
        self
    }

    /// The TLS listener demands client certificates.
    pub fn client_certificates(mut self, purpose: CertificateUse) -> Self {
        self.client_certificates = Some(purpose);
        self
    }

    /// Adds a listener for MQTT over WebSockets.
    pub fn websockets(mut self) -> Self {
        self.websockets = true;
        self
    }

    /// Adds a user; from the first one on nobody is let in anonymously.
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// Sets the access control list, in the form of Mosquitto's `acl_file`; what it does not grant is denied.
    pub fn acl(mut self, acl: &str) -> Self {
        self.acl = Some(acl.to_owned());
        self
    }

    /// How many messages to one client may be on the way unacknowledged (Mosquitto's `max_inflight_messages`).
    pub fn max_inflight(self, messages: u16) -> Self {
        self.config(&format!("max_inflight_messages {messages}"))
    }

    /// Sessions, queues and retained messages survive [`Mosquitto::kill9`]: every change is written at once.
    pub fn persistent(mut self) -> Self {
        self.persistent = true;
        self
    }

    /// Adds a line to the global part of the configuration.
    pub fn config(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Starts it; returns once it takes connections.
    pub async fn start(self) -> Mosquitto {
        let dir = TempDir::new().unwrap();
        let plain = Port::reserve();
        let tls = self.tls.as_ref().map(|_| Port::reserve());
        let websockets = self.websockets.then(Port::reserve);

        let mut config = self.global(dir.path());
        writeln!(config, "listener {} 127.0.0.1", plain.number()).unwrap();
        if let (Some(port), Some((ca_file, server))) = (&tls, &self.tls) {
            writeln!(config, "listener {} 127.0.0.1", port.number()).unwrap();
            config += &tls_lines(ca_file, server, self.client_certificates);
        }
        if let Some(port) = &websockets {
            writeln!(config, "listener {} 127.0.0.1", port.number()).unwrap();
            config += "protocol websockets\n";
        }
        let config_file = write(dir.path(), "mosquitto.conf", &config);
        Mosquitto {
            program: run(&config_file).await,
            config_file,
            plain,
            tls: tls.zip(self.tls.map(|(ca_file, _)| ca_file)),
            websockets,
            _dir: dir,
        }
    }

    fn global(&self, dir: &Path) -> String {
        // Started by root it would otherwise become a user who cannot read the test's files; other users it ignores.
        let mut config = String::from("user root\nlog_dest stderr\n");
        writeln!(config, "allow_anonymous {}", self.users.is_empty()).unwrap();
        if !self.users.is_empty() {
            let file = password_file(dir, &self.users);
            writeln!(config, "password_file {}", file.display()).unwrap();
        }
        if let Some(acl) = &self.acl {
            let file = write(dir, "acl", acl);
            writeln!(config, "acl_file {}", file.display()).unwrap();
        }
        if self.persistent {
            let folder = dir.display();
            writeln!(config, "persistence true\npersistence_location {folder}/").unwrap();
            config += "autosave_on_changes true\nautosave_interval 1\n";
        }
        for line in &self.lines {
            writeln!(config, "{line}").unwrap();
        }
        config
    }
}

async fn run(config_file: &Path) -> Program {
    let mut command = Command::new("mosquitto");
    // Debian puts it where the PATH of an ordinary user does not look.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin"));
    command.arg("-c").arg(config_file);
    let program = Program::start(&mut command, INSTALL_MOSQUITTO);
    // It says so after it has opened its listeners.
    program.stderr().wait_for(" running").await;
    program
}

fn tls_lines(ca_file: &Path, server: &Identity, client: Option<CertificateUse>) -> String {
    let mut lines = format!(
        "cafile {}\ncertfile {}\nkeyfile {}\n",
        ca_file.display(),
        server.certificate_file.display(),
        server.key_file.display()
    );
    if client.is_some() {
        lines += "require_certificate true\n";
    }
    if client == Some(CertificateUse::UserName) {
        lines += "use_identity_as_username true\n";
    }
    lines
}

fn password_file(dir: &Path, users: &[(String, String)]) -> PathBuf {
    let lines = users
        .iter()
        .map(|(name, password)| format!("{name}:{password}\n"));
    let file = write(dir, "passwords", &lines.collect::<String>());
    let hash = Command::new("mosquitto_passwd")
        .arg("-U")
        .arg(&file)
        .output();
    let hashed = or_install(hash, "mosquitto_passwd", INSTALL_MOSQUITTO);
    assert!(hashed.status.success(), "mosquitto_passwd: {hashed:?}");
    file
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let file = dir.join(name);
    fs::write(&file, text).unwrap();
    file
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::super::access::{Message, Version};
    use super::super::subscriber::Subscriber;
    use super::*;

    #[tokio::test]
    async fn what_a_client_publishes_the_observer_sees_whole() {
        let broker = Mosquitto::start().await;
        let observer = Subscriber::start(&broker.access(), &["a/#", "b"]).await;
        let message = Message {
            content_type: Some("text/plain".into()),
            user_properties: vec![("traceparent".into(), "00-1".into())],
            ..Message::new("a/b", *b"line\nwith\ttab\0and\xff")
        };
        broker.access().publish(&message).await.accepted();
        let zero = Message {
            qos: 0,
            ..Message::new("b", "old")
        };
        let old = broker.access().version(Version::V311);
        assert_eq!(old.publish(&zero).await.puback, None);
        assert_eq!(observer.wait_count(2).await, [message, zero.clone()]);
        assert_eq!(observer.messages()[1].text(), "old");
        let access = broker.access().client_id("sensor-1");
        access.publish(&zero).await;
        broker.log().wait_for("as sensor-1 (p5").await;
    }

    #[tokio::test]
    async fn tls_and_passwords_keep_strangers_out() {
        let authority = Authority::new("Test CA");
        let broker = Mosquitto::builder()
            .tls(&authority)
            .user("causeway", "let me in")
            .max_inflight(5)
            .start()
            .await;
        let message = Message::new("a", "b");
        let right = broker.tls_access().user("causeway", "let me in");
        right.publish(&message).await.accepted();

        let wrong = broker.tls_access().user("causeway", "wrong");
        for stranger in [wrong, broker.tls_access(), broker.access()] {
            let said = stranger.publish(&message).await;
            assert_eq!(said.puback, None);
            assert!(
                said.output.contains("Not authorized") || said.output.contains("not authorised"),
                "{said:?}"
            );
        }
        let elsewhere = Authority::new("Other CA");
        let untrusting = Access::new(broker.tls_addr()).tls(&elsewhere.ca_file());
        let said = untrusting.publish(&message).await;
        assert!(
            said.output.contains("certificate verify failed"),
            "{said:?}"
        );
    }

    #[tokio::test]
    async fn an_acl_denies_by_reason_code_with_mqtt_5_and_silently_with_3() {
        let broker = Mosquitto::builder()
            .acl("topic readwrite open/#\n")
            .start()
            .await;
        let (open, closed) = (Message::new("open/a", "b"), Message::new("closed", "b"));
        broker.access().publish(&open).await.accepted();
        assert_eq!(broker.access().publish(&closed).await.puback, Some(0x87));
        let old = broker.access().version(Version::V311);
        assert_eq!(old.publish(&closed).await.puback, Some(0));
    }

    #[tokio::test]
    async fn a_client_certificate_can_be_demanded_and_be_the_user_name() {
        let authority = Authority::new("Test CA");
        let message = Message::new("of/sensor-1", "x");
        let broker = Mosquitto::builder()
            .tls(&authority)
            .client_certificates(CertificateUse::UserName)
            .acl("pattern readwrite of/%u\n")
            .start()
            .await;
        let of = |name| broker.tls_access().identity(authority.client(name));
        of("sensor-1").publish(&message).await.accepted();
        let foreign = of("sensor-2").publish(&message).await;
        assert_eq!(foreign.puback, Some(0x87), "{foreign:?}");
        assert_eq!(broker.tls_access().publish(&message).await.puback, None);

        let broker = Mosquitto::builder()
            .tls_with(&authority, authority.server())
            .client_certificates(CertificateUse::Demand)
            .start()
            .await;
        let anybody = broker.tls_access().identity(authority.client("anybody"));
        anybody.publish(&message).await.accepted();
        assert_eq!(broker.tls_access().publish(&message).await.puback, None);
    }

    #[tokio::test]
    async fn a_killed_broker_comes_back_on_its_port_with_its_sessions() {
        let mut broker = Mosquitto::builder().persistent().start().await;
        let observer = broker.access().client_id("observer");
        let observer = Subscriber::persistent(&observer, &["#"]).await;
        let message = Message {
            retain: true,
            ..Message::new("kept", "1")
        };
        broker.access().publish(&message).await.accepted();
        observer.wait_count(1).await;

        broker.kill9();
        let refused = broker.access().publish(&message).await;
        assert!(refused.output.contains("refused"), "{refused:?}");
        broker.restart().await;
        let second = Message::new("kept", "2");
        broker.access().publish(&second).await.accepted();
        let seen = |messages: &[Message]| messages.iter().any(|m| m.text() == "2");
        observer.wait_until("the second message", seen).await;

        let late = Subscriber::start(&broker.access(), &["kept"]).await;
        let retained = late.wait_count(1).await;
        assert!(retained[0].retain && retained[0].text() == "1");
        broker.stop().await;
        assert_eq!(broker.access().publish(&second).await.puback, None);
    }

    #[tokio::test]
    async fn it_speaks_websockets() {
        let broker = Mosquitto::builder().websockets().start().await;
        let request = "GET /mqtt HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
            sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            sec-websocket-protocol: mqtt\r\n\r\n";
        let mut stream = TcpStream::connect(broker.websockets_addr()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 101");
    }
}
