//! A tunnel through an HTTP proxy: CONNECT (RFC 9110 §9.3.6).

use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::tcp::{self, DialError};
use super::{Authority, hung_up};
use crate::broker::Proxy;

/// How long a proxy may take to open a tunnel. It has to resolve and reach the broker meanwhile.
const LIMIT: Duration = Duration::from_secs(15);

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 16 * 1024;

/// Why a proxy opens no tunnel. The proxy is named by host and port.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// The proxy's name does not resolve.
    #[error("the name of the proxy {proxy} cannot be resolved: {error}")]
    Resolve {
        /// The proxy.
        proxy: String,
        /// What the resolver said.
        error: io::Error,
    },
    /// The proxy takes no connection, or lost it.
    #[error("the proxy {proxy} cannot be reached: {error}")]
    Unreachable {
        /// The proxy.
        proxy: String,
        /// What the operating system said.
        error: io::Error,
    },
    /// 407 although nothing was presented.
    #[error("the proxy {proxy} demands a user name and password (407)")]
    NeedsCredentials {
        /// The proxy.
        proxy: String,
    },
    /// 407.
    #[error("the proxy {proxy} does not accept the user name and password (407)")]
    WrongCredentials {
        /// The proxy.
        proxy: String,
    },
    /// Another status than success.
    #[error("the proxy {proxy} opens no tunnel to {broker}: it answered {status}{}{reason}", if reason.is_empty() { "" } else { " " })]
    Refused {
        /// The proxy.
        proxy: String,
        /// The broker's host and port.
        broker: Authority,
        /// The HTTP status.
        status: u16,
        /// The proxy's words for it, if any.
        reason: String,
    },
    /// Not an answer of HTTP/1.
    #[error("{proxy} does not answer as an HTTP proxy does")]
    NotHttp {
        /// What was taken for a proxy.
        proxy: String,
    },
    /// The connection ended before the answer did.
    #[error("the proxy {proxy} closed the connection instead of opening a tunnel")]
    Closed {
        /// The proxy.
        proxy: String,
    },
    /// No answer came in time.
    #[error("the proxy {proxy} did not open a tunnel to {broker} within 15 s")]
    NoAnswer {
        /// The proxy.
        proxy: String,
        /// The broker's host and port.
        broker: Authority,
    },
}

impl TunnelError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Resolve { .. } | Self::Unreachable { .. } => {
                "check host and port in the connector's proxy, and whether a firewall is between"
            }
            Self::NeedsCredentials { .. } => {
                "write proxy_username and proxy_password_file at the connector; Basic is the method that is spoken"
            }
            Self::WrongCredentials { .. } => {
                "check proxy_username and proxy_password_file; Basic is the method that is spoken"
            }
            Self::Refused { .. } => {
                "the proxy must allow CONNECT to the broker's host and port; many only allow 443, for which wss:// is made"
            }
            Self::NotHttp { .. } => {
                "check that the port in the connector's proxy is that of an HTTP proxy"
            }
            Self::Closed { .. } => "ask who runs the proxy whether it allows CONNECT",
            Self::NoAnswer { .. } => "check that the proxy can resolve and reach the broker",
        }
    }
}

/// Connects to a proxy and has it open a tunnel to a broker.
pub(super) async fn tunnel(proxy: &Proxy, broker: &Authority) -> Result<TcpStream, TunnelError> {
    let name = || proxy.to_string();
    let connected = tcp::connect(proxy.host.as_str(), proxy.port).await;
    let mut tcp = connected.map_err(|error| match error {
        DialError::Resolve(error) => TunnelError::Resolve {
            proxy: name(),
            error,
        },
        DialError::Connect(error) => TunnelError::Unreachable {
            proxy: name(),
            error,
        },
    })?;
    within(LIMIT, &mut tcp, proxy, broker).await?;
    Ok(tcp)
}

/// Has a tunnel opened on a connection to a proxy.
pub(super) async fn within(
    limit: Duration,
    tcp: &mut TcpStream,
    proxy: &Proxy,
    broker: &Authority,
) -> Result<(), TunnelError> {
    let name = || proxy.to_string();
    let answer = async {
        tcp.write_all(request(proxy, broker).as_bytes()).await?;
        answer(tcp).await
    };
    let answer = match tokio::time::timeout(limit, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) if hung_up(&error) => Answer::Closed,
        Ok(Err(error)) => {
            return Err(TunnelError::Unreachable {
                proxy: name(),
                error,
            });
        }
        Err(_) => {
            let broker = broker.clone();
            return Err(TunnelError::NoAnswer {
                proxy: name(),
                broker,
            });
        }
    };
    match answer {
        Answer::Status(200..=299, _) => Ok(()),
        Answer::Status(407, _) if proxy.credentials.is_none() => {
            Err(TunnelError::NeedsCredentials { proxy: name() })
        }
        Answer::Status(407, _) => Err(TunnelError::WrongCredentials { proxy: name() }),
        Answer::Status(status, reason) => Err(TunnelError::Refused {
            proxy: name(),
            broker: broker.clone(),
            status,
            reason,
        }),
        Answer::NotHttp => Err(TunnelError::NotHttp { proxy: name() }),
        Answer::Closed => Err(TunnelError::Closed { proxy: name() }),
    }
}

fn request(proxy: &Proxy, broker: &Authority) -> Zeroizing<String> {
    let credentials = proxy.credentials.as_ref().map(|credentials| {
        let (username, password) = (credentials.username(), credentials.password().expose());
        let pair = Zeroizing::new(format!("{username}:{password}"));
        let basic = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
        Zeroizing::new(format!("Proxy-Authorization: Basic {}\r\n", *basic))
    });
    let credentials = credentials.as_deref().map_or("", String::as_str);
    Zeroizing::new(format!(
        "CONNECT {broker} HTTP/1.1\r\nHost: {broker}\r\n{credentials}\r\n"
    ))
}

/// What a proxy said.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// A final status and its reason.
    Status(u16, String),
    /// Something else.
    NotHttp,
    /// Nothing, or not all of it.
    Closed,
}

/// Reads the head of the answer, and nothing behind it: the tunnel begins there. A broker does not speak before it is
/// spoken to, so anything that came along is no tunnel's.
async fn answer(tcp: &mut TcpStream) -> io::Result<Answer> {
    let mut read = Vec::with_capacity(512);
    loop {
        match head(&read) {
            // RFC 9110 §15.2: any number of interim answers may come before the final one.
            Head::Whole {
                status: 100..=199,
                length,
                ..
            } => {
                read.drain(..length);
                continue;
            }
            Head::Whole {
                status: 200..=299,
                length,
                ..
            } if length < read.len() => {
                return Ok(Answer::NotHttp);
            }
            Head::Whole { status, reason, .. } => return Ok(Answer::Status(status, reason)),
            Head::NotHttp => return Ok(Answer::NotHttp),
            Head::Partial if read.len() >= MAX_ANSWER => return Ok(Answer::NotHttp),
            Head::Partial => {}
        }
        if tcp.read_buf(&mut read).await? == 0 {
            return Ok(Answer::Closed);
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Head {
    Whole {
        status: u16,
        reason: String,
        length: usize,
    },
    Partial,
    NotHttp,
}

/// The head of an answer (RFC 9112 §4) among what was read. What cannot become one is told apart at once, so that
/// nobody waits for the rest of it.
fn head(read: &[u8]) -> Head {
    const START: &[u8] = b"HTTP/1.";
    let known = read.len().min(START.len());
    if read[..known] != START[..known] {
        return Head::NotHttp;
    }
    let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Head::Partial;
    };
    let line = read.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.splitn(3, ' ');
    let status = words.nth(1).filter(|digits| digits.len() == 3);
    let Some(status) = status.and_then(|digits| digits.parse().ok()) else {
        return Head::NotHttp;
    };
    let reason = words.next().unwrap_or_default();
    let reason = reason.chars().filter(|c| !c.is_control()).take(200);
    Head::Whole {
        status,
        reason: reason.collect(),
        length: end + 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(status: u16, reason: &str, length: usize) -> Head {
        let reason = reason.to_owned();
        Head::Whole {
            status,
            reason,
            length,
        }
    }

    #[test]
    fn the_head_of_an_answer() {
        for (read, expected) in [
            ("", Head::Partial),
            ("HTT", Head::Partial),
            ("HTTP/1.1 200 OK\r\nVia: x\r\n", Head::Partial),
            ("HTTP/1.1 200 OK\r\n\r\n", whole(200, "OK", 19)),
            ("HTTP/1.0 502\r\n\r\nmore", whole(502, "", 16)),
            (
                "HTTP/1.1 403 Not on my watch\r\n\r\n",
                whole(403, "Not on my watch", 32),
            ),
            ("HTTP/2 200\r\n\r\n", Head::NotHttp),
            ("HTTP/1.1 OK\r\n\r\n", Head::NotHttp),
            ("SSH-2.0", Head::NotHttp),
            ("\x15\x03\x03", Head::NotHttp),
        ] {
            assert_eq!(head(read.as_bytes()), expected, "{read:?}");
        }
    }
}
