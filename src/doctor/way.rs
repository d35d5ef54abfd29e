//! The way to the broker, step by step: name, connection, proxy, TLS, WebSocket. Nothing of MQTT is sent yet.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::{ClientConfig, ProtocolVersion};
use rustls_pki_types::CertificateDer;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::Limits;
use super::certificate::Asking;
use super::clock::{Clock, Evidence};
use super::network::{self, Dialled, Looked, Target};
use super::notes::Notebook;
use super::recognise::{self, Peer};
use super::report::{Cause, Finding, StepName};
use super::tls::{self, Shaken};
use super::web_socket;
use crate::broker::{Host, Proxy};
use crate::mqtt::tls::{TlsCause, TlsFailure};
use crate::mqtt::transport::{self, Endpoint, OpenError, Stream, Tls};

/// How many addresses of one name are tried.
const ADDRESSES: usize = 8;

/// What the way showed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Whether it leads to the broker.
    pub(super) open: bool,
    /// What was heard of the time.
    pub(super) evidence: Vec<Evidence>,
    /// Whether a TLS handshake was begun with the broker.
    pub(super) met: bool,
    /// Whose client certificates the broker takes, if it asks for one.
    pub(super) asked: Option<Vec<String>>,
    /// What the broker said to the client certificate, or to there being none.
    pub(super) refusal: Option<TlsFailure>,
}

/// Goes the way to the broker.
pub(super) struct Way<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) clock: &'a Clock,
    pub(super) limits: &'a Limits,
}

impl Way<'_> {
    /// Every step of it.
    pub(super) async fn examine(&self, notes: &mut Notebook<'_>) -> Seen {
        let mut seen = Seen::default();
        let Some(tcp) = self.connect(notes, &mut seen).await else {
            return seen;
        };
        let stream = match &self.endpoint.tls {
            Some(tls) => match self.encrypt(tcp, tls, notes, &mut seen).await {
                Some(stream) => stream,
                None => return seen,
            },
            None => Stream::Tcp(tcp),
        };
        seen.open = match &self.endpoint.web_socket {
            Some(path) => self.upgrade(stream, path, notes, &mut seen).await,
            None => true,
        };
        seen
    }

    async fn connect(&self, notes: &mut Notebook<'_>, seen: &mut Seen) -> Option<TcpStream> {
        let (target, host, port) = match &self.endpoint.proxy {
            Some(proxy) => (Target::Proxy, proxy.host.as_str(), proxy.port),
            None => (Target::Broker, &*self.endpoint.host, self.endpoint.port),
        };
        let looked = look_up(host, port, notes.within(self.limits.dns)).await;
        // There is nothing to look up where it is an address.
        if host.parse::<std::net::IpAddr>().is_err() {
            let begun = notes.begin(StepName::Dns);
            notes.end(begun, network::judge_name(target, host, &looked));
        }
        let Looked::Found(addresses) = looked else {
            return None;
        };
        let begun = notes.begin(StepName::Tcp);
        let (tcp, dialled) = self.dial(&addresses, notes.within(self.limits.tcp)).await;
        let local = Host::parse(host).is_ok_and(|host| host.is_loopback());
        notes.end(begun, network::judge_dial(target, &dialled, local));
        let mut tcp = tcp?;
        if let Some(proxy) = &self.endpoint.proxy
            && !self.tunnel(&mut tcp, proxy, notes, seen).await
        {
            return None;
        }
        Some(tcp)
    }

    async fn dial(
        &self,
        addresses: &[std::net::SocketAddr],
        limit: Duration,
    ) -> (Option<TcpStream>, Vec<Dialled>) {
        let until = Instant::now() + limit;
        let mut dialled = Vec::new();
        for &address in addresses.iter().take(ADDRESSES) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let left = left.min(self.limits.address);
            let connected = match tokio::time::timeout(left, transport::dial(address)).await {
                Ok(connected) => connected,
                Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
            };
            match connected {
                Ok(tcp) => {
                    let outcome = Ok(());
                    dialled.push(Dialled { address, outcome });
                    return (Some(tcp), dialled);
                }
                Err(error) => dialled.push(Dialled {
                    address,
                    outcome: Err(error),
                }),
            }
        }
        (None, dialled)
    }

    async fn tunnel(
        &self,
        tcp: &mut TcpStream,
        proxy: &Proxy,
        notes: &mut Notebook<'_>,
        seen: &mut Seen,
    ) -> bool {
        let begun = notes.begin(StepName::Proxy);
        let (tunnel, date) = transport::tunnel(tcp, proxy, self.endpoint).await;
        self.heard_date("the proxy", date, seen);
        let open = tunnel.is_ok();
        notes.end(
            begun,
            network::judge_tunnel(tunnel, &self.endpoint.authority().to_string()),
        );
        open
    }

    async fn encrypt(
        &self,
        tcp: TcpStream,
        tls: &Tls,
        notes: &mut Notebook<'_>,
        seen: &mut Seen,
    ) -> Option<Stream> {
        let begun = notes.begin(StepName::Tls);
        seen.met = true;
        let (tls, asking) = watched(tls);
        let limit = notes.within(self.limits.tls);
        let handshake = transport::encrypt(tcp, &tls, self.endpoint);
        let shaken = match tokio::time::timeout(limit, handshake).await {
            Ok(shaken) => shaken,
            Err(_) => Err(OpenError::Tls {
                broker: self.endpoint.authority(),
                error: std::io::Error::new(
                    std::io::ErrorKind::TimedOut,
                    TlsFailure::new(TlsCause::Silent, "the broker did not answer the handshake"),
                ),
            }),
        };
        seen.asked = asking.asked();
        let mut stream = match shaken {
            Ok(stream) => stream,
            Err(error) => {
                let finding = self.judge_tls_failure(&error, seen).await;
                notes.end(begun, finding);
                return None;
            }
        };
        let (_, connection) = stream.get_ref();
        let shaken = Shaken {
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
                _ => "TLS 1.3",
            },
            chain: chain(connection.peer_certificates()),
            alpn: (connection.alpn_protocol())
                .map(|name| String::from_utf8_lossy(name).into_owned()),
        };
        seen.evidence.extend(tls::evidence(&shaken.chain));
        let refused = self.await_refusal(&mut stream, begun.ago()).await;
        notes.end(begun, tls::judge(&shaken, self.clock.now()));
        match refused {
            Some(failure) => {
                seen.refusal = Some(failure);
                None
            }
            None => Some(Stream::Tls(Box::new(stream))),
        }
    }

    /// In TLS 1.3 a broker says what it thinks of the client's certificate behind the handshake, a round trip later.
    async fn await_refusal(
        &self,
        stream: &mut tokio_rustls::client::TlsStream<TcpStream>,
        round_trip: Duration,
    ) -> Option<TlsFailure> {
        let patience = self.limits.refusal.max(2 * round_trip);
        let mut byte = [0];
        match tokio::time::timeout(patience, stream.read(&mut byte)).await {
            Ok(Err(error)) => {
                let error = crate::mqtt::tls::in_words(error);
                TlsFailure::of(&error).cloned()
            }
            // A broker does not speak before it is spoken to, and what closes now tells why when it is asked for MQTT.
            Ok(Ok(_)) | Err(_) => None,
        }
    }

    async fn judge_tls_failure(&self, error: &OpenError, seen: &mut Seen) -> Finding {
        let OpenError::Tls { error, .. } = error else {
            return Finding::failed(Cause::TlsRefused, error.to_string()).hint(error.hint());
        };
        let Some(failure) = TlsFailure::of(error) else {
            return Finding::failed(Cause::HungUp, error.to_string())
                .hint("check that the port in the connector's url is one for TLS");
        };
        if let TlsCause::Certificate(refused) = &failure.cause {
            seen.evidence.extend(tls::evidence(&refused.chain));
        }
        if seen.asked.is_some() && matches!(failure.cause, TlsCause::Alert(_)) {
            // In TLS 1.2 the client's certificate is judged within the handshake.
            seen.refusal = Some(failure.clone());
        }
        let peer = match failure.cause {
            TlsCause::NotTls | TlsCause::HungUp | TlsCause::Silent => {
                Some(self.who_is_there().await)
            }
            _ => None,
        };
        tls::judge_failure(failure, &self.endpoint.url(), peer.as_ref())
    }

    async fn upgrade(
        &self,
        stream: Stream,
        path: &str,
        notes: &mut Notebook<'_>,
        seen: &mut Seen,
    ) -> bool {
        let begun = notes.begin(StepName::WebSocket);
        let (upgraded, date) = transport::upgrade(stream, path, self.endpoint).await;
        self.heard_date("the broker", date, seen);
        let finding = match upgraded {
            Ok(_) => Finding::ok(format!("the server takes MQTT over WebSocket at {path}")),
            Err(OpenError::WebSocket { error, .. }) => {
                let peer = match web_socket::depends_on_the_peer(&error) {
                    true => Some(self.who_is_there().await),
                    false => None,
                };
                web_socket::judge(&error, &self.endpoint.url(), peer.as_ref())
            }
            Err(error) => {
                Finding::failed(Cause::NotWebSocket, error.to_string()).hint(error.hint())
            }
        };
        let open = finding.cause.is_none();
        notes.end(begun, finding);
        open
    }

    /// Asks on connections of its own what speaks where the configured protocol does not come about: below the layer
    /// that failed.
    pub(super) async fn who_is_there(&self) -> Peer {
        let Some(tcp) = self.bare().await else {
            return Peer::Unreachable;
        };
        match recognise::ask(tcp).await {
            peer @ (Peer::Closes | Peer::Silent) => match self.bare().await {
                Some(tcp) => match self.speaks_tls(tcp).await {
                    true => Peer::Tls,
                    false => peer,
                },
                None => peer,
            },
            peer => peer,
        }
    }

    /// The same where a connection, TLS included, comes about, and MQTT on it does not.
    pub(super) async fn who_is_inside(&self) -> Peer {
        let Some(tls) = &self.endpoint.tls else {
            return self.who_is_there().await;
        };
        let Some(tcp) = self.bare().await else {
            return Peer::Unreachable;
        };
        match transport::encrypt(tcp, tls, self.endpoint).await {
            Ok(stream) => recognise::ask(stream).await,
            Err(_) => Peer::Unreachable,
        }
    }

    async fn speaks_tls(&self, tcp: TcpStream) -> bool {
        let name = match &self.endpoint.tls {
            Some(tls) => Some(tls.server_name.clone()),
            None => crate::mqtt::tls::server_name(&self.endpoint.host).ok(),
        };
        match name {
            Some(name) => recognise::speaks_tls(tcp, name).await,
            None => false,
        }
    }

    /// TCP to the broker, through the proxy if there is one.
    async fn bare(&self) -> Option<TcpStream> {
        let endpoint = Endpoint {
            tls: None,
            web_socket: None,
            ..self.endpoint.clone()
        };
        let opened = tokio::time::timeout(self.limits.tcp, transport::open(&endpoint)).await;
        match opened {
            Ok(Ok(Stream::Tcp(tcp))) => Some(tcp),
            _ => None,
        }
    }

    fn heard_date(&self, by: &'static str, date: Option<std::time::SystemTime>, seen: &mut Seen) {
        let ours = self.clock.now();
        seen.evidence
            .extend(date.map(|theirs| Evidence::Date { by, theirs, ours }));
    }
}

async fn look_up(host: &str, port: u16, limit: Duration) -> Looked {
    match tokio::time::timeout(limit, transport::resolve(host, port)).await {
        Ok(Ok(addresses)) => Looked::Found(addresses),
        Ok(Err(error)) => Looked::Failed(error),
        Err(_) => Looked::TimedOut(limit),
    }
}

/// The settings with another clock, and without a session to resume, which would leave the certificate out.
pub(super) fn by_clock(tls: &Tls, clock: &Clock) -> Tls {
    let mut config = ClientConfig::clone(&tls.config);
    config.resumption = Resumption::disabled();
    config.time_provider = Arc::new(clock.clone());
    Tls {
        config: Arc::new(config),
        ..tls.clone()
    }
}

/// The settings with an eye on whether a client certificate is asked for.
fn watched(tls: &Tls) -> (Tls, Arc<Asking>) {
    let mut config = ClientConfig::clone(&tls.config);
    let asking = Asking::before(Arc::clone(&config.client_auth_cert_resolver));
    config.client_auth_cert_resolver = Arc::clone(&asking) as _;
    let tls = Tls {
        config: Arc::new(config),
        ..tls.clone()
    };
    (tls, asking)
}

fn chain(certificates: Option<&[CertificateDer<'static>]>) -> Vec<CertificateDer<'static>> {
    certificates.unwrap_or_default().to_vec()
}
