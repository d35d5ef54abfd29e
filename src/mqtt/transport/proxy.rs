//! A tunnel through an HTTP proxy: CONNECT (RFC 9110 §9.3.6).

use std::io;
use std::time::{Duration, SystemTime};

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

/// Connects to a proxy.
pub(super) async fn connect(proxy: &Proxy) -> Result<TcpStream, TunnelError> {
    let connected = tcp::connect(proxy.host.as_str(), proxy.port).await;
    let name = proxy.to_string();
    connected.map_err(|error| match error {
        DialError::Resolve(error) => TunnelError::Resolve { proxy: name, error },
        DialError::Connect(error) => TunnelError::Unreachable { proxy: name, error },
    })
}

/// Has a tunnel opened on a connection to a proxy. Beside the outcome stands the `Date` of the answer, if it has one.
pub(super) async fn tunnel(
    tcp: &mut TcpStream,
    proxy: &Proxy,
    broker: &Authority,
) -> (Result<(), TunnelError>, Option<SystemTime>) {
    within(LIMIT, tcp, proxy, broker).await
}

/// The same within another time.
pub(super) async fn within(
    limit: Duration,
    tcp: &mut TcpStream,
    proxy: &Proxy,
    broker: &Authority,
) -> (Result<(), TunnelError>, Option<SystemTime>) {
    let name = || proxy.to_string();
    let answer = async {
        tcp.write_all(request(proxy, broker).as_bytes()).await?;
        answer(tcp).await
    };
    let answer = match tokio::time::timeout(limit, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) if hung_up(&error) => Answer::Closed,
        Ok(Err(error)) => {
            let failed = TunnelError::Unreachable {
                proxy: name(),
                error,
            };
            return (Err(failed), None);
        }
        Err(_) => {
            let broker = broker.clone();
            let silent = TunnelError::NoAnswer {
                proxy: name(),
                broker,
            };
            return (Err(silent), None);
        }
    };
    let date = match &answer {
        Answer::Status(status) => status.date,
        Answer::NotHttp | Answer::Closed => None,
    };
    (judge(answer, proxy, broker), date)
}

/// Whether there is a tunnel.
fn judge(answer: Answer, proxy: &Proxy, broker: &Authority) -> Result<(), TunnelError> {
    let name = || proxy.to_string();
    match answer {
        Answer::Status(Status {
            code: 200..=299, ..
        }) => Ok(()),
        Answer::Status(Status { code: 407, .. }) if proxy.credentials.is_none() => {
            Err(TunnelError::NeedsCredentials { proxy: name() })
        }
        Answer::Status(Status { code: 407, .. }) => {
            Err(TunnelError::WrongCredentials { proxy: name() })
        }
        Answer::Status(Status { code, reason, .. }) => Err(TunnelError::Refused {
            proxy: name(),
            broker: broker.clone(),
            status: code,
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
    /// A final status.
    Status(Status),
    /// Something else.
    NotHttp,
    /// Nothing, or not all of it.
    Closed,
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    code: u16,
    /// The proxy's words for it, if any.
    reason: String,
    /// What time the proxy takes it for (RFC 9110 §6.6.1).
    date: Option<SystemTime>,
}

/// Reads the head of the answer, and nothing behind it: the tunnel begins there. A broker does not speak before it is
/// spoken to, so anything that came along is no tunnel's.
async fn answer(tcp: &mut TcpStream) -> io::Result<Answer> {
    let mut read = Vec::with_capacity(512);
    loop {
        match head(&read) {
            // RFC 9110 §15.2: any number of interim answers may come before the final one.
            Head::Whole {
                status: Status {
                    code: 100..=199, ..
                },
                length,
            } => {
                read.drain(..length);
                continue;
            }
            Head::Whole {
                status: Status {
                    code: 200..=299, ..
                },
                length,
            } if length < read.len() => {
                return Ok(Answer::NotHttp);
            }
            Head::Whole { status, .. } => return Ok(Answer::Status(status)),
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
    Whole { status: Status, length: usize },
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
    let text = String::from_utf8_lossy(&read[..end]);
    let mut lines = text.split("\r\n");
    let mut words = lines.next().unwrap_or_default().splitn(3, ' ');
    let status = words.nth(1).filter(|digits| digits.len() == 3);
    let Some(code) = status.and_then(|digits| digits.parse().ok()) else {
        return Head::NotHttp;
    };
    let reason = words.next().unwrap_or_default();
    let reason = reason.chars().filter(|c| !c.is_control()).take(200);
    let date = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("date"))
        .and_then(|(_, date)| httpdate::parse_http_date(date.trim()).ok());
    Head::Whole {
        status: Status {
            code,
            reason: reason.collect(),
            date,
        },
        length: end + 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(code: u16, reason: &str, length: usize) -> Head {
        let status = Status {
            code,
            reason: reason.to_owned(),
            date: None,
        };
        Head::Whole { status, length }
    }

    #[test]
    fn the_time_of_an_answer() {
        let answer = |date: &str| {
            let head = format!("HTTP/1.1 407 No\r\nVia: x\r\ndATE:{date}\r\n\r\n");
            match super::head(head.as_bytes()) {
                Head::Whole { status, .. } => status.date,
                other => panic!("{other:?}"),
            }
        };
        let at = std::time::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(answer(" Sun, 06 Nov 1994 08:49:37 GMT"), Some(at));
        assert_eq!(answer(" yesterday"), None);
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
