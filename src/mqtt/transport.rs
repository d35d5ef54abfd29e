//! From an address to a byte stream: name resolution, TCP, TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long one address may take to answer a TCP connect.
const TCP_CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Where a broker is.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Host name or IP address, without brackets.
    pub host: Arc<str>,
    /// TCP port.
    pub port: u16,
    /// TLS, unless the connection is plain. The host is the name that the certificate must carry, and the SNI.
    pub tls: Option<Arc<ClientConfig>>,
}

/// An open byte stream to a broker.
#[derive(Debug)]
pub enum Stream {
    /// Plain TCP.
    Tcp(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
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
    #[error("{host}:{port} does not take connections: {error}")]
    Connect {
        /// The host.
        host: Arc<str>,
        /// The port.
        port: u16,
        /// The last address's error.
        error: io::Error,
    },
    /// The host cannot be a name in a certificate.
    #[error("{0} is neither a host name nor an IP address")]
    ServerName(Arc<str>),
    /// The handshake failed.
    #[error("TLS with {host}:{port} failed: {error}")]
    Tls {
        /// The host.
        host: Arc<str>,
        /// The port.
        port: u16,
        /// What is wrong; a refused certificate is explained.
        error: io::Error,
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
            Self::ServerName(_) => "correct the host in the connector's url",
            Self::Tls { .. } => {
                "check that the port speaks TLS, and the broker's certificate against ca_file"
            }
        }
    }
}

/// Opens a byte stream. Nagle's algorithm is off: a PUBLISH must not wait for the ACK of the one before.
pub async fn open(endpoint: &Endpoint) -> Result<Stream, OpenError> {
    let Endpoint { host, port, tls } = endpoint;
    let port = *port;
    let addresses = tokio::net::lookup_host((&**host, port))
        .await
        .map_err(|error| OpenError::Resolve {
            host: Arc::clone(host),
            error,
        })?;
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match tokio::time::timeout(TCP_CONNECT_LIMIT, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => {
                let _ = tcp.set_nodelay(true);
                return match tls {
                    None => Ok(Stream::Tcp(tcp)),
                    Some(config) => handshake(tcp, host, port, config).await,
                };
            }
            Ok(Err(error)) => failure = error,
            Err(_) => failure = io::Error::new(io::ErrorKind::TimedOut, "no answer within 5 s"),
        }
    }
    Err(OpenError::Connect {
        host: Arc::clone(host),
        port,
        error: failure,
    })
}

async fn handshake(
    tcp: TcpStream,
    host: &Arc<str>,
    port: u16,
    config: &Arc<ClientConfig>,
) -> Result<Stream, OpenError> {
    let name = ServerName::try_from(host.to_string())
        .map_err(|_| OpenError::ServerName(Arc::clone(host)))?;
    TlsConnector::from(Arc::clone(config))
        .connect(name, tcp)
        .await
        .map(|stream| Stream::Tls(Box::new(stream)))
        .map_err(|error| OpenError::Tls {
            host: Arc::clone(host),
            port,
            error: in_words(error),
        })
}

/// rustls shows an explanation inside several layers of its own types; only the words are wanted.
fn in_words(error: io::Error) -> io::Error {
    use rustls::{CertificateError, Error};
    let words = match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>())
    {
        Some(Error::InvalidCertificate(CertificateError::Other(other))) => other.0.to_string(),
        Some(Error::InvalidMessage(_)) => "the broker does not speak TLS on this port".to_owned(),
        Some(other) => other.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the broker closed the connection during the handshake".to_owned()
        }
        None => return error,
    };
    io::Error::new(error.kind(), words)
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
