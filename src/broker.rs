//! Where a broker is, and which MQTT it speaks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// The protocol version of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MqttVersion {
    /// MQTT 5.0.
    V5,
    /// MQTT 3.1.1.
    V311,
}

impl MqttVersion {
    /// The version's name in the configuration: `5` or `3.1.1`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V5 => "5",
            Self::V311 => "3.1.1",
        }
    }
}

impl fmt::Display for MqttVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Neither of the versions that are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an MQTT version is \"5\" or \"3.1.1\"")]
pub struct MqttVersionError;

impl FromStr for MqttVersion {
    type Err = MqttVersionError;
    fn from_str(text: &str) -> Result<Self, MqttVersionError> {
        match text {
            "5" | "5.0" => Ok(Self::V5),
            "3.1.1" => Ok(Self::V311),
            _ => Err(MqttVersionError),
        }
    }
}

/// Whether a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `mqtt://`: MQTT over TCP, port 1883 unless another is named.
    Plain,
    /// `mqtts://`: MQTT over TLS, port 8883 unless another is named.
    Tls,
}

impl Scheme {
    /// The port that IANA registered for it.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Plain => 1883,
            Self::Tls => 8883,
        }
    }

    /// What stands before `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "mqtt",
            Self::Tls => "mqtts",
        }
    }
}

/// A broker's address: `mqtt://host[:port]` or `mqtts://host[:port]`. It never contains credentials, so it may be shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BrokerUrl {
    scheme: Scheme,
    host: Arc<str>,
    port: u16,
}

impl BrokerUrl {
    /// Takes an address from the configuration. The host is kept in lower case.
    pub fn parse(text: &str) -> Result<Self, BrokerUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(BrokerUrlError::NoScheme)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "mqtt" => Scheme::Plain,
            "mqtts" => Scheme::Tls,
            "tcp" => return Err(BrokerUrlError::OtherName("mqtt")),
            "ssl" | "tls" => return Err(BrokerUrlError::OtherName("mqtts")),
            "ws" | "wss" => return Err(BrokerUrlError::WebSocket),
            _ => return Err(BrokerUrlError::Scheme),
        };
        if rest.contains('@') {
            return Err(BrokerUrlError::UserInfo);
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(BrokerUrlError::Path);
        }
        let (host, port) = split_port(authority)?;
        let port = match port {
            None => scheme.default_port(),
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|port| *port != 0 && digits.bytes().all(|b| b.is_ascii_digit()))
                .ok_or(BrokerUrlError::Port)?,
        };
        Ok(Self { scheme, host, port })
    }

    /// Whether the connection is encrypted.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host's name or address; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether what is sent there stays on this machine.
    pub fn is_loopback(&self) -> bool {
        match IpAddr::from_str(&self.host) {
            Ok(address) => address.is_loopback(),
            Err(_) => &*self.host == "localhost" || self.host.ends_with(".localhost"),
        }
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
        let Self { scheme, host, port } = self;
        let scheme = scheme.as_str();
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
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
    /// Another name for one of the two.
    #[error("this scheme is written {0}://")]
    OtherName(&'static str),
    /// MQTT over WebSocket.
    #[error(
        "MQTT over WebSocket is not spoken; use mqtts://HOST[:8883], or mqtt://HOST[:1883] without encryption"
    )]
    WebSocket,
    /// Another protocol.
    #[error("the scheme must be mqtts:// (TLS) or mqtt:// (without encryption)")]
    Scheme,
    /// `user:password@`.
    #[error(
        "user name and password do not belong into the URL: the profile sets the user name (see its variables), \
         the password is the key secret or secret_file"
    )]
    UserInfo,
    /// Something behind the port.
    #[error(
        "nothing may follow host and port: MQTT has no paths, and options are keys of their own"
    )]
    Path,
    /// No host, or characters that no host has.
    #[error(
        "the host must be a DNS name (an international one in its xn-- form), an IPv4 address, or an IPv6 address in brackets"
    )]
    Host,
    /// Not a port.
    #[error("the port must be a number from 1 to 65535")]
    Port,
}

fn split_port(authority: &str) -> Result<(Arc<str>, Option<&str>), BrokerUrlError> {
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, behind) = bracketed.split_once(']').ok_or(BrokerUrlError::Host)?;
        let address = Ipv6Addr::from_str(host).map_err(|_| BrokerUrlError::Host)?;
        let port = match behind {
            "" => None,
            _ => Some(behind.strip_prefix(':').ok_or(BrokerUrlError::Port)?),
        };
        return Ok((address.to_string().into(), port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    // Two colons are an IPv6 address without brackets, not a bad port.
    if port.is_some_and(|port| port.contains(':')) {
        return Err(BrokerUrlError::Host);
    }
    check_host(host)?;
    Ok((host.to_ascii_lowercase().into(), port))
}

fn check_host(host: &str) -> Result<(), BrokerUrlError> {
    let labels_fit = host.trim_end_matches('.').split('.').all(|label| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    });
    let last = host.rsplit('.').next().unwrap_or_default();
    let numeric = !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit());
    if host.len() > 253 || !labels_fit || (numeric && Ipv4Addr::from_str(host).is_err()) {
        return Err(BrokerUrlError::Host);
    }
    Ok(())
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
        use BrokerUrlError::*;
        let cases = [
            ("broker:1883", NoScheme),
            ("tcp://broker", OtherName("mqtt")),
            ("ssl://broker", OtherName("mqtts")),
            ("wss://broker:443/mqtt", WebSocket),
            ("https://broker", Scheme),
            ("mqtt://me:s3cret@broker", UserInfo),
            ("mqtt://broker/path", Path),
            ("mqtt://broker?clean=1", Path),
            ("mqtt://broker#x", Path),
            ("mqtt://", Host),
            ("mqtt://a..b", Host),
            ("mqtt://bröker", Host),
            ("mqtt://bro ker", Host),
            ("mqtt://10.0.0.256", Host),
            ("mqtt://::1", Host),
            ("mqtt://[::1", Host),
            ("mqtt://[fe80::1%eth0]", Host),
            ("mqtt://broker:", Port),
            ("mqtt://broker:0", Port),
            ("mqtt://broker:+1", Port),
            ("mqtt://broker:65536", Port),
            ("mqtt://[::1]8883", Port),
        ];
        for (text, expected) in cases {
            assert_eq!(BrokerUrl::parse(text), Err(expected), "{text}");
            assert!(!expected.to_string().contains("s3cret"));
        }
    }

    #[test]
    fn loopback_is_recognised() {
        for (text, expected) in [
            ("mqtt://localhost", true),
            ("mqtt://127.3.2.1", true),
            ("mqtt://[::1]", true),
            ("mqtt://mosquitto", false),
            ("mqtt://10.0.0.1", false),
        ] {
            assert_eq!(BrokerUrl::parse(text).unwrap().is_loopback(), expected);
        }
    }

    #[test]
    fn versions() {
        for version in [MqttVersion::V5, MqttVersion::V311] {
            assert_eq!(version.as_str().parse(), Ok(version));
        }
        assert_eq!("4".parse::<MqttVersion>(), Err(MqttVersionError));
    }
}
