//! A broker's address.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::host::{AuthorityError, Host, authority};

/// The path of a WebSocket where the address names none: what brokers and platforms agree on.
const DEFAULT_PATH: &str = "/mqtt";

/// Whether a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `mqtt://`, `ws://`: TCP as it is.
    Plain,
    /// `mqtts://`, `wss://`: TLS over TCP.
    Tls,
}

/// A broker's address. It never contains credentials, so it may be shown.
///
/// | form | port unless another is named |
/// |---|---|
/// | `mqtt://host[:port]` | 1883 |
/// | `mqtts://host[:port]`, over TLS | 8883 |
/// | `ws://host[:port][/path]`, MQTT over WebSocket (MQTT 5 §6) | 80 |
/// | `wss://host[:port][/path]`, that over TLS | 443 |
///
/// A WebSocket's path is `/mqtt` unless another is named.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BrokerUrl {
    scheme: Scheme,
    host: Host,
    port: u16,
    web_socket: Option<Arc<str>>,
}

impl BrokerUrl {
    /// Takes an address from the configuration. The host is kept in lower case.
    pub fn parse(text: &str) -> Result<Self, BrokerUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(BrokerUrlError::NoScheme)?;
        let (scheme, web_socket, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "mqtt" => (Scheme::Plain, false, 1883),
            "mqtts" => (Scheme::Tls, false, 8883),
            "ws" => (Scheme::Plain, true, 80),
            "wss" => (Scheme::Tls, true, 443),
            "tcp" => return Err(BrokerUrlError::OtherName("mqtt")),
            "ssl" | "tls" => return Err(BrokerUrlError::OtherName("mqtts")),
            "http" => return Err(BrokerUrlError::OtherName("ws")),
            "https" => return Err(BrokerUrlError::OtherName("wss")),
            _ => return Err(BrokerUrlError::Scheme),
        };
        // Anywhere: a password may contain a slash.
        if rest.contains('@') {
            return Err(BrokerUrlError::UserInfo);
        }
        let (before, path) = match rest.find(['/', '?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let web_socket = match (web_socket, path) {
            (false, "" | "/") => None,
            (false, _) => return Err(BrokerUrlError::Path),
            (true, "") => Some(DEFAULT_PATH.into()),
            (true, path) => Some(web_socket_path(path)?.into()),
        };
        let (host, port) = authority(before)?;
        Ok(Self {
            scheme,
            host,
            port: port.unwrap_or(default_port),
            web_socket,
        })
    }

    /// Whether the connection is encrypted.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// What stands before `://`.
    pub fn scheme_name(&self) -> &'static str {
        match (self.scheme, &self.web_socket) {
            (Scheme::Plain, None) => "mqtt",
            (Scheme::Tls, None) => "mqtts",
            (Scheme::Plain, Some(_)) => "ws",
            (Scheme::Tls, Some(_)) => "wss",
        }
    }

    /// The host's name or address; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        self.host.as_str()
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The WebSocket's path, with its slash; none where MQTT stands on TCP or TLS itself.
    pub fn web_socket(&self) -> Option<&Arc<str>> {
        self.web_socket.as_ref()
    }

    /// Whether what is sent there stays on this machine.
    pub fn is_loopback(&self) -> bool {
        self.host.is_loopback()
    }
}

impl FromStr for BrokerUrl {
    type Err = BrokerUrlError;
    fn from_str(text: &str) -> Result<Self, BrokerUrlError> {
        Self::parse(text)
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.web_socket.as_deref().unwrap_or_default();
        let scheme = self.scheme_name();
        write!(f, "{scheme}://{}:{}{path}", self.host, self.port)
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a broker's address was refused. The address itself is not repeated: it may contain a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BrokerUrlError {
    /// Just a host, or something else.
    #[error("write mqtts://HOST[:8883], or mqtt://HOST[:1883] without encryption")]
    NoScheme,
    /// Another name for one of them.
    #[error("this scheme is written {0}://")]
    OtherName(&'static str),
    /// Another protocol.
    #[error(
        "the scheme must be mqtts:// (TLS) or mqtt:// (without encryption), or wss:// or ws:// (over WebSocket)"
    )]
    Scheme,
    /// `user:password@`.
    #[error(
        "user name and password do not belong into the URL: the profile sets the user name (see its variables), \
         the password is the key secret or secret_file"
    )]
    UserInfo,
    /// Something behind the port.
    #[error(
        "nothing may follow host and port: MQTT has no paths (they belong to ws:// and wss://), and options are keys \
         of their own"
    )]
    Path,
    /// `?…` or `#…` behind a WebSocket's path.
    #[error(
        "nothing may follow the path: what stands behind ? is often a secret, and the URL is shown in logs"
    )]
    Query,
    /// Characters that no path has.
    #[error("the path contains a character that must be percent-encoded (RFC 3986)")]
    PathCharacter,
    /// Host or port.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// A path without a query (RFC 3986 §3.3).
fn web_socket_path(path: &str) -> Result<&str, BrokerUrlError> {
    if path.contains(['?', '#']) {
        return Err(BrokerUrlError::Query);
    }
    let encoded = |at: usize| {
        let digits = path.as_bytes().get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let fits = path.bytes().enumerate().all(|(at, byte)| match byte {
        b'%' => encoded(at),
        _ => byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:".contains(&byte),
    });
    if fits {
        Ok(path)
    } else {
        Err(BrokerUrlError::PathCharacter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_their_default_ports() {
        let cases = [
            ("mqtt://broker", "mqtt://broker:1883"),
            ("mqtts://broker", "mqtts://broker:8883"),
            ("mqtts://Broker.Example:443/", "mqtts://broker.example:443"),
            ("MQTT://10.0.0.1", "mqtt://10.0.0.1:1883"),
            ("mqtt://[::1]", "mqtt://[::1]:1883"),
            ("mqtts://[2001:DB8::1]:8884", "mqtts://[2001:db8::1]:8884"),
            ("mqtt://my_broker", "mqtt://my_broker:1883"),
            ("ws://broker", "ws://broker:80/mqtt"),
            ("ws://broker:8083/", "ws://broker:8083/"),
            ("WSS://Broker/A/b%20c", "wss://broker:443/A/b%20c"),
            ("wss://[::1]:9001", "wss://[::1]:9001/mqtt"),
        ];
        for (text, shown) in cases {
            let url = BrokerUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(url.to_string(), shown);
            assert_eq!(BrokerUrl::parse(shown), Ok(url));
        }
        assert_eq!(BrokerUrl::parse("mqtt://[::1]").unwrap().host(), "::1");
    }

    #[test]
    fn what_is_no_address_is_refused_with_a_reason() {
        use BrokerUrlError::{NoScheme, OtherName, Path, PathCharacter, Query, Scheme, UserInfo};
        let (host, port) = (AuthorityError::Host.into(), AuthorityError::Port.into());
        let cases = [
            ("broker:1883", NoScheme),
            ("tcp://broker", OtherName("mqtt")),
            ("ssl://broker", OtherName("mqtts")),
            ("https://broker", OtherName("wss")),
            ("quic://broker", Scheme),
            ("mqtt://me:s3cret@broker", UserInfo),
            ("ws://me:12/s3cret@broker", UserInfo),
            ("mqtt://broker/path", Path),
            ("mqtt://broker?clean=1", Path),
            ("mqtt://broker#x", Path),
            ("ws://broker?token=s3cret", Query),
            ("wss://broker/mqtt?token=s3cret", Query),
            ("ws://broker/mqtt#x", Query),
            ("ws://broker/a b", PathCharacter),
            ("ws://broker/a%2", PathCharacter),
            ("ws://broker/\r\nX: y", PathCharacter),
            ("mqtt://", host),
            ("ws:///mqtt", host),
            ("mqtt://a..b", host),
            ("mqtt://bröker", host),
            ("mqtt://bro ker", host),
            ("mqtt://10.0.0.256", host),
            ("mqtt://::1", host),
            ("mqtt://[::1", host),
            ("mqtt://[broker]", host),
            ("mqtt://[fe80::1%eth0]", host),
            ("mqtt://broker:", port),
            ("mqtt://broker:0", port),
            ("mqtt://broker:+1", port),
            ("mqtt://broker:65536", port),
            ("mqtt://[::1]8883", port),
        ];
        for (text, expected) in cases {
            assert_eq!(BrokerUrl::parse(text), Err(expected), "{text}");
            assert!(!expected.to_string().contains("s3cret"));
        }
    }
}
