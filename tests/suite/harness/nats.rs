//! A real nats-server with JetStream, of the test's own.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use async_nats::jetstream;
use base64::prelude::*;
use futures_util::TryStreamExt;
use nkeys::KeyPair;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::DEADLINE;
use super::port::Port;
use super::program::Program;

const INSTALL: &str = "apt-get install nats-server";
const CONFIG: &str = "nats.conf";

/// A running (or killed, and to be restarted) server. Its port and its streams stay its own until it is dropped.
#[derive(Debug)]
pub struct NatsServer {
    program: Program,
    port: Port,
    /// Where the others of its cluster find it.
    _route: Option<Port>,
    // Last, so that the server has ended before its folder goes.
    folder: TempDir,
}

impl NatsServer {
    /// A server that lets anybody do anything.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// One with more in its configuration.
    pub async fn start_with(config: &str) -> Self {
        Self::start_at(None, config).await
    }

    /// Three that are one cluster. Clients are told of none but those that they know.
    pub async fn start_three() -> [Self; 3] {
        let routes = [(); 3].map(|()| Port::reserve());
        let all = routes
            .each_ref()
            .map(|route| format!("\"nats://{}\"", route.addr()));
        let all = all.join(", ");
        let mut number = 0;
        let [a, b, c] = routes.map(|route| {
            let config = format!(
                "server_name: n{number}\n\
                 cluster {{ name: test, listen: \"{}\", routes: [{all}], no_advertise: true }}\n",
                route.addr()
            );
            number += 1;
            async move { Self::start_at(Some(route), &config).await }
        });
        let (a, b, c) = tokio::join!(a, b, c);
        [a, b, c]
    }

    async fn start_at(route: Option<Port>, config: &str) -> Self {
        let (port, folder) = (Port::reserve(), tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join(CONFIG), config).unwrap();
        let program = run(&port, &folder).await;
        Self {
            program,
            port,
            _route: route,
            folder,
        }
    }

    /// The section of a configuration that puts a bridge's store there.
    pub fn store(&self) -> String {
        format!("[store]\nurl = \"nats://{}\"\n", self.port.addr())
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Ends it the hard way; clients are refused until [`restart`](Self::restart).
    pub fn kill9(&mut self) {
        self.program.kill9();
    }

    /// Starts it again, after having ended it the hard way if it still runs: same port, same streams.
    pub async fn restart(&mut self) {
        self.program.kill9();
        self.program = run(&self.port, &self.folder).await;
    }
}

/// Which of a [cluster of three](NatsServer::start_three) leads a stream; waits until one does, and until all three have
/// everything, so that one of them can be spared.
pub async fn leader(servers: &[NatsServer], stream: &str) -> usize {
    let leads = async || {
        let streams = all_streams(servers).await?;
        let is_everywhere = |stream: &jetstream::stream::Info| {
            let replicas = stream.cluster.iter().flat_map(|cluster| &cluster.replicas);
            let current = replicas.filter(|replica| replica.current && !replica.offline);
            current.count() == 2
        };
        let one = streams.iter().find(|one| one.config.name == stream)?;
        let leader = one.cluster.as_ref()?.leader.as_ref()?.strip_prefix('n')?;
        let leader: usize = leader.parse().ok()?;
        streams.iter().all(is_everywhere).then_some(leader)
    };
    let wait = async {
        loop {
            if let Some(leader) = leads().await {
                return leader;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let found = timeout(DEADLINE, wait).await;
    found.expect("three servers that have everything")
}

async fn all_streams(servers: &[NatsServer]) -> Option<Vec<jetstream::stream::Info>> {
    let addrs: Vec<_> = servers
        .iter()
        .map(|server| server.addr().to_string())
        .collect();
    let client = async_nats::connect(addrs).await.ok()?;
    jetstream::new(client).streams().try_collect().await.ok()
}

async fn run(port: &Port, folder: &TempDir) -> Program {
    let mut command = Command::new("nats-server");
    // Debian puts it where the PATH of an ordinary user does not look.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin"));
    let number = port.number().to_string();
    command
        .args(["-js", "-a", "127.0.0.1", "-p", &number, "-sd"])
        .arg(folder.path())
        .arg("-c")
        .arg(folder.path().join(CONFIG));
    let program = Program::start(&mut command, INSTALL);
    // It says so after it has recovered its streams.
    program.stderr().wait_for("Server is ready").await;
    program
}

/// An operator, an account and a user of it, as `nsc` makes them.
#[derive(Debug)]
pub struct Operator {
    /// For the server's configuration.
    pub config: String,
    /// The text of the user's `.creds` file.
    pub credentials: String,
}

impl Operator {
    /// A new one, with keys of its own.
    pub fn make() -> Self {
        let (operator, system, account, user) = (
            KeyPair::new_operator(),
            KeyPair::new_account(),
            KeyPair::new_account(),
            KeyPair::new_user(),
        );
        let of_account = |streams: i64| {
            json!({
                "type": "account",
                "version": 2,
                "limits": {
                    "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
                    "conn": -1, "leaf": -1, "mem_storage": streams, "disk_storage": streams,
                    "streams": streams, "consumer": streams,
                },
            })
        };
        let of_user = json!({
            "type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1,
        });
        let of_operator = json!({"type": "operator", "version": 2});
        let (system_key, account_key) = (system.public_key(), account.public_key());
        let config = format!(
            "operator: {}\nsystem_account: {system_key}\nresolver: MEMORY\n\
             resolver_preload: {{ {system_key}: {}, {account_key}: {} }}\n",
            token(&operator, &operator, &of_operator),
            token(&operator, &system, &of_account(0)),
            token(&operator, &account, &of_account(-1)),
        );
        let credentials = format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            token(&account, &user, &of_user),
            user.seed().unwrap(),
        );
        Self {
            config,
            credentials,
        }
    }
}

fn token(issuer: &KeyPair, subject: &KeyPair, claims: &Value) -> String {
    let part = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let header = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let claims = json!({
        "jti": "test", "iat": 1_700_000_000, "name": "test",
        "iss": issuer.public_key(), "sub": subject.public_key(), "nats": claims,
    });
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}
