//! A host's name or address, as it stands in a URL.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// A DNS name, an IPv4 address, or an IPv6 address without its brackets. Kept in lower case.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Host(Arc<str>);

/// Characters that no host has, or too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the host must be a DNS name (an international one in its xn-- form), an IPv4 address, or an IPv6 address"
)]
pub struct HostError;

/// What is wrong with the part of a URL that names host and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// No host, or characters that no host has.
    #[error("{HostError} in brackets")]
    Host,
    /// Not a port.
    #[error("the port must be a number from 1 to 65535")]
    Port,
}

impl Host {
    /// Takes a host; an IPv6 address stands without brackets.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if let Ok(address) = Ipv6Addr::from_str(text) {
            return Ok(Self(address.to_string().into()));
        }
        let labels_fit = text.trim_end_matches('.').split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        });
        let last = text.rsplit('.').next().unwrap_or_default();
        let numeric = !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit());
        if text.len() > 253 || !labels_fit || (numeric && Ipv4Addr::from_str(text).is_err()) {
            return Err(HostError);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// The host as text; an IPv6 address without its brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// Whether what is sent there stays on this machine.
    pub fn is_loopback(&self) -> bool {
        match IpAddr::from_str(&self.0) {
            Ok(address) => address.is_loopback(),
            Err(_) => &*self.0 == "localhost" || self.0.ends_with(".localhost"),
        }
    }
}

/// As in a URL: an IPv6 address has its brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') {
            write!(f, "[{}]", self.0)
        } else {
            f.write_str(&self.0)
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Splits `host[:port]`, the host as it stands in a URL.
pub(crate) fn authority(text: &str) -> Result<(Host, Option<u16>), AuthorityError> {
    let (host, port) = if let Some(bracketed) = text.strip_prefix('[') {
        let (host, behind) = bracketed.split_once(']').ok_or(AuthorityError::Host)?;
        Ipv6Addr::from_str(host).map_err(|_| AuthorityError::Host)?;
        let port = match behind {
            "" => None,
            _ => Some(behind.strip_prefix(':').ok_or(AuthorityError::Port)?),
        };
        (host, port)
    } else {
        match text.split_once(':') {
            // Two colons are an IPv6 address without brackets, not a bad port.
            Some((_, port)) if port.contains(':') => return Err(AuthorityError::Host),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let host = Host::parse(host).map_err(|HostError| AuthorityError::Host)?;
    Ok((host, port.map(parse_port).transpose()?))
}

fn parse_port(digits: &str) -> Result<u16, AuthorityError> {
    let port = digits.parse().ok();
    port.filter(|port| *port != 0 && digits.bytes().all(|b| b.is_ascii_digit()))
        .ok_or(AuthorityError::Port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_recognised() {
        for (text, expected) in [
            ("localhost", true),
            ("127.3.2.1", true),
            ("::1", true),
            ("mosquitto", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(Host::parse(text).unwrap().is_loopback(), expected);
        }
    }

    #[test]
    fn a_host_is_shown_as_urls_have_it() {
        for (text, shown) in [("Broker", "broker"), ("2001:DB8::1", "[2001:db8::1]")] {
            assert_eq!(Host::parse(text).unwrap().to_string(), shown);
        }
        assert_eq!(Host::parse("[::1]"), Err(HostError));
    }
}
