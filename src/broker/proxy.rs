//! An HTTP proxy between the bridge and a broker.

use std::fmt;
use std::str::FromStr;

use super::host::{AuthorityError, Host, authority};
use crate::secret::Secret;

/// A proxy that opens tunnels to brokers with CONNECT (RFC 9110 §9.3.6), reached by plain TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// The proxy's host; it is resolved here, the broker's by the proxy.
    pub host: Host,
    /// Its TCP port.
    pub port: u16,
    /// What it is told without being asked. Basic, so anybody on the way to the proxy can read it (RFC 7617 §4).
    pub credentials: Option<ProxyCredentials>,
}

/// User name and password for a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyCredentials {
    username: String,
    password: Secret,
}

/// Why a proxy's settings were refused. They are not repeated, as they may contain a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxy {
    /// Not `http://`.
    #[error(
        "a proxy is written http://HOST:PORT; only HTTP proxies that know CONNECT are spoken to"
    )]
    Scheme,
    /// `user:password@`.
    #[error(
        "user name and password do not belong into the URL: write proxy_username and proxy_password_file"
    )]
    UserInfo,
    /// Something behind the port.
    #[error("nothing may follow host and port")]
    Path,
    /// Proxies have no port of their own.
    #[error("the port is missing: write http://HOST:PORT; many proxies listen on 3128 or 8080")]
    NoPort,
    /// Host or port.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A user name that Basic cannot carry.
    #[error(
        "a user name for a proxy is not empty, and contains neither ':' nor control characters"
    )]
    Username,
    /// A password that Basic cannot carry.
    #[error("a password for a proxy contains no control characters")]
    Password,
}

impl Proxy {
    /// Takes `http://HOST:PORT`.
    pub fn parse(text: &str) -> Result<Self, InvalidProxy> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidProxy::Scheme)?;
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(InvalidProxy::Scheme);
        }
        if rest.contains('@') {
            return Err(InvalidProxy::UserInfo);
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(InvalidProxy::Path);
        }
        let (host, port) = authority(rest)?;
        Ok(Self {
            host,
            port: port.ok_or(InvalidProxy::NoPort)?,
            credentials: None,
        })
    }
}

impl ProxyCredentials {
    /// Takes what Basic can carry (RFC 7617 §2).
    pub fn new(username: &str, password: Secret) -> Result<Self, InvalidProxy> {
        if username.is_empty() || username.contains(|c: char| c == ':' || c.is_control()) {
            return Err(InvalidProxy::Username);
        }
        if password.expose().contains(char::is_control) {
            return Err(InvalidProxy::Password);
        }
        let username = username.to_owned();
        Ok(Self { username, password })
    }

    /// Who connects.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The proof of it.
    pub fn password(&self) -> &Secret {
        &self.password
    }
}

impl FromStr for Proxy {
    type Err = InvalidProxy;
    fn from_str(text: &str) -> Result<Self, InvalidProxy> {
        Self::parse(text)
    }
}

/// Host and port, without the credentials.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, shown) in [
            ("http://Proxy.plant:3128", "proxy.plant:3128"),
            ("HTTP://[::1]:80/", "[::1]:80"),
        ] {
            assert_eq!(Proxy::parse(text).unwrap().to_string(), shown);
        }
        for (text, expected) in [
            ("proxy:3128", InvalidProxy::Scheme),
            ("https://proxy:3128", InvalidProxy::Scheme),
            ("socks5://proxy:1080", InvalidProxy::Scheme),
            ("http://me:s3cret@proxy:3128", InvalidProxy::UserInfo),
            ("http://proxy", InvalidProxy::NoPort),
            ("http://proxy:3128/x", InvalidProxy::Path),
            (
                "http://proxy:x",
                InvalidProxy::Authority(AuthorityError::Port),
            ),
            (
                "http://:3128",
                InvalidProxy::Authority(AuthorityError::Host),
            ),
        ] {
            assert_eq!(Proxy::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn credentials_that_basic_cannot_carry_are_refused_and_none_are_shown() {
        let new = |name, password: &str| ProxyCredentials::new(name, Secret::new(password));
        for name in ["", "a:b", "a\nb"] {
            assert_eq!(new(name, "p"), Err(InvalidProxy::Username));
        }
        assert_eq!(new("a", "p\r\nX: y"), Err(InvalidProxy::Password));
        let shown = format!("{:?}", new("me", "s3cret:ü").unwrap());
        assert!(shown.contains("me") && !shown.contains("s3cret"));
    }
}
