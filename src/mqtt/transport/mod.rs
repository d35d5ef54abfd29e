//! From an address to a byte stream, layer upon layer:
//!
//! ```text
//! TCP to the broker, or TCP to a proxy and a tunnel through it ─► TLS ─► WebSocket
//! ```
//!
//! - [`open`]: all of it; [`resolve`], [`dial`], [`tunnel`], [`encrypt`] and [`upgrade`] are its single steps
//! - `tcp`: name resolution and connecting
//! - `proxy`: a tunnel through an HTTP proxy
//! - `web_socket`: MQTT in WebSocket frames
//! - `stream`: whichever of them it became

mod proxy;
mod stream;
mod tcp;
mod web_socket;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use proxy::TunnelError;
pub use stream::Stream;
pub use tcp::{dial, resolve};
pub use web_socket::WebSocketError;

use super::tls::{TlsCause, TlsFailure, in_words};
use crate::broker::Proxy;
use crate::identity::ClientIdentity;
use tcp::DialError;

/// How long a broker may take for the TLS handshake, and again for that of a WebSocket.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Where a broker is, and what lies between.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Host name or IP address, without brackets.
    pub host: Arc<str>,
    /// TCP port.
    pub port: u16,
    /// The proxy that is connected to instead, and opens a tunnel to host and port.
    pub proxy: Option<Arc<Proxy>>,
    /// TLS, unless the connection is plain.
    pub tls: Option<Tls>,
    /// The path of the WebSocket that carries MQTT; none where MQTT stands on TCP or TLS itself.
    pub web_socket: Option<Arc<str>>,
}

/// How a connection is encrypted.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Whom to trust, and as whom to connect.
    pub config: Arc<ClientConfig>,
    /// The name that the certificate must carry, and the SNI.
    pub server_name: ServerName<'static>,
    /// What the settings present to a broker that asks for a client certificate.
    pub identity: Option<ClientIdentity>,
}

/// Why there is no byte stream.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The name does not resolve.
    #[error("the name {host} cannot be resolved: {error}")]
    Resolve {
        /// The name.
        host: Arc<str>,
        /// What the resolver said.
        error: io::Error,
    },
    /// No address of the name takes a connection.
    #[error("{broker} does not take connections: {error}")]
    Connect {
        /// Host and port.
        broker: Authority,
        /// The last address's error.
        error: io::Error,
    },
    /// The proxy opens no tunnel.
    #[error(transparent)]
    Proxy(#[from] TunnelError),
    /// The TLS handshake failed.
    #[error("TLS with {broker} failed: {error}")]
    Tls {
        /// Host and port.
        broker: Authority,
        /// What is wrong; a refused certificate is explained.
        error: io::Error,
    },
    /// The handshake of the WebSocket failed.
    #[error("no WebSocket on {broker}: {error}")]
    WebSocket {
        /// Host and port.
        broker: Authority,
        /// What is wrong.
        error: WebSocketError,
    },
}

impl OpenError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Resolve { .. } => "check the host in the connector's url, and this machine's DNS",
            Self::Connect { .. } => {
                "check host and port in the connector's url, and whether a firewall is between"
            }
            Self::Proxy(error) => error.hint(),
            Self::Tls { .. } => {
                "check that the port speaks TLS, and the broker's certificate against ca_file"
            }
            Self::WebSocket { error, .. } => error.hint(),
        }
    }
}

/// Host and port as they stand in a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    host: Arc<str>,
    port: u16,
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

impl Endpoint {
    /// A broker on plain TCP.
    pub fn plain(host: impl Into<Arc<str>>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            proxy: None,
            tls: None,
            web_socket: None,
        }
    }

    /// The broker's address as a URL.
    pub fn url(&self) -> String {
        let scheme = match (&self.tls, &self.web_socket) {
            (None, None) => "mqtt",
            (Some(_), None) => "mqtts",
            (None, Some(_)) => "ws",
            (Some(_), Some(_)) => "wss",
        };
        let path = self.web_socket.as_deref().unwrap_or_default();
        format!("{scheme}://{}{path}", self.authority())
    }

    /// Host and port of the broker.
    pub fn authority(&self) -> Authority {
        Authority {
            host: Arc::clone(&self.host),
            port: self.port,
        }
    }
}

/// Opens a byte stream. Every step has a time limit of its own.
pub async fn open(endpoint: &Endpoint) -> Result<Stream, OpenError> {
    let tcp = match &endpoint.proxy {
        Some(proxy) => through(proxy, endpoint).await?,
        None => direct(endpoint).await?,
    };
    let stream = match &endpoint.tls {
        Some(tls) => Stream::Tls(Box::new(encrypt(tcp, tls, endpoint).await?)),
        None => Stream::Tcp(tcp),
    };
    match &endpoint.web_socket {
        Some(path) => upgrade(stream, path, endpoint).await.0,
        None => Ok(stream),
    }
}

async fn direct(endpoint: &Endpoint) -> Result<TcpStream, OpenError> {
    let connected = tcp::connect(&endpoint.host, endpoint.port).await;
    connected.map_err(|error| match error {
        DialError::Resolve(error) => OpenError::Resolve {
            host: Arc::clone(&endpoint.host),
            error,
        },
        DialError::Connect(error) => OpenError::Connect {
            broker: endpoint.authority(),
            error,
        },
    })
}

async fn through(proxy: &Proxy, endpoint: &Endpoint) -> Result<TcpStream, OpenError> {
    let mut tcp = proxy::connect(proxy).await?;
    tunnel(&mut tcp, proxy, endpoint).await.0?;
    Ok(tcp)
}

/// Has a proxy open a tunnel to the broker, on a connection to that proxy. Beside the outcome stands the time that the
/// proxy takes it for (`Date`), where its answer has one.
pub async fn tunnel(
    tcp: &mut TcpStream,
    proxy: &Proxy,
    endpoint: &Endpoint,
) -> (Result<(), TunnelError>, Option<SystemTime>) {
    proxy::tunnel(tcp, proxy, &endpoint.authority()).await
}

/// The TLS handshake with a broker. An error's `io::Error` carries a [`TlsFailure`], unless the connection broke.
pub async fn encrypt(
    tcp: TcpStream,
    tls: &Tls,
    endpoint: &Endpoint,
) -> Result<TlsStream<TcpStream>, OpenError> {
    let connector = TlsConnector::from(Arc::clone(&tls.config));
    let handshake = connector.connect(tls.server_name.clone(), tcp);
    let error = match tokio::time::timeout(HANDSHAKE_LIMIT, handshake).await {
        Ok(Ok(stream)) => return Ok(stream),
        Ok(Err(error)) if hung_up(&error) => io::Error::new(
            error.kind(),
            TlsFailure::new(
                TlsCause::HungUp,
                "the broker closed the connection during the handshake",
            ),
        ),
        Ok(Err(error)) => in_words(error),
        Err(_) => io::Error::new(
            io::ErrorKind::TimedOut,
            TlsFailure::new(
                TlsCause::Silent,
                "the broker did not answer the handshake within 10 s; does the port speak TLS?",
            ),
        ),
    };
    Err(OpenError::Tls {
        broker: endpoint.authority(),
        error,
    })
}

/// The handshake of a WebSocket. Beside the outcome stands the time that the server takes it for (`Date`), where its
/// answer has one.
pub async fn upgrade(
    stream: Stream,
    path: &str,
    endpoint: &Endpoint,
) -> (Result<Stream, OpenError>, Option<SystemTime>) {
    // The name that the broker goes by, which is not the dialled one where server_name says so.
    let host = match &endpoint.tls {
        Some(tls) => tls.server_name.to_str().into_owned().into(),
        None => Arc::clone(&endpoint.host),
    };
    let called = Authority {
        host,
        port: endpoint.port,
    };
    let handshake = web_socket::open(stream, &called, path);
    let (outcome, date) = match tokio::time::timeout(HANDSHAKE_LIMIT, handshake).await {
        Ok(answered) => answered,
        Err(_) => (Err(WebSocketError::NoAnswer), None),
    };
    let outcome = match outcome {
        Ok(stream) => Ok(Stream::WebSocket(Box::new(stream))),
        Err(error) => Err(OpenError::WebSocket {
            broker: endpoint.authority(),
            error,
        }),
    };
    (outcome, date)
}

/// Whether the other side ended a connection, in order or not: closing one with unread bytes resets it.
fn hung_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
    )
}
