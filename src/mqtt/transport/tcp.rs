//! Name resolution and TCP.

use std::io;
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

/// Connects to the first address that answers. Nagle's algorithm is off: a PUBLISH must not wait for the ACK of the
/// one before.
pub(super) async fn connect(host: &str, port: u16) -> Result<TcpStream, DialError> {
    let addresses = tokio::net::lookup_host((host, port))
        .await
        .map_err(DialError::Resolve)?;
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => {
                let _ = tcp.set_nodelay(true);
                return Ok(tcp);
            }
            Ok(Err(error)) => failure = error,
            Err(_) => failure = io::Error::new(io::ErrorKind::TimedOut, "no answer within 5 s"),
        }
    }
    Err(DialError::Connect(failure))
}
