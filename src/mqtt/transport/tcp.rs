//! Name resolution and TCP.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

/// How long one address may take to answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum DialError {
    /// The name does not resolve.
    Resolve(io::Error),
    /// No address takes a connection; this is the last one's error.
    Connect(io::Error),
}

/// Connects to the first address that answers.
pub(super) async fn connect(host: &str, port: u16) -> Result<TcpStream, DialError> {
    let addresses = resolve(host, port).await.map_err(DialError::Resolve)?;
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match dial(address).await {
            Ok(tcp) => return Ok(tcp),
            Err(error) => failure = error,
        }
    }
    Err(DialError::Connect(failure))
}

/// The addresses of a host, in the order in which they are tried. Takes as long as the system's resolver does.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((host, port)).await?.collect())
}

/// Connects to one address, within 5 s. Nagle's algorithm is off: a PUBLISH must not wait for the ACK of the one before.
pub async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    match tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
        Ok(connected) => {
            let tcp = connected?;
            let _ = tcp.set_nodelay(true);
            Ok(tcp)
        }
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "no answer within 5 s",
        )),
    }
}
