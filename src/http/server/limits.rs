//! What bounds connections, and what a client may take its time for.

use std::net::IpAddr;
use std::time::Duration;

/// What bounds the connections of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections at one time. Default 10,000.
    pub max: usize,
    /// The same from one address; of IPv6, from one /64 network, which is what one customer has. Default: a quarter of
    /// `max`, and no limit of its own for a loopback address, where a reverse proxy may be.
    pub per_address: Option<usize>,
    /// The largest head of a request, in bytes, 1 KiB to 64 KiB. Default 32 KiB.
    pub max_head: usize,
    /// The most header fields of a request. Default 100.
    pub max_headers: usize,
    /// How long a client may take for the TLS handshake and its first request's head together, and for each further
    /// head. Default 20 s.
    pub head_time: Duration,
    /// How long a connection may be open without a request. Default 75 s.
    pub idle_time: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max: 10_000,
            per_address: None,
            max_head: 32 * 1024,
            max_headers: 100,
            head_time: Duration::from_secs(20),
            idle_time: Duration::from_secs(75),
        }
    }
}

impl ConnectionLimits {
    /// How many connections one origin may have.
    pub(super) fn of(&self, origin: Origin) -> usize {
        match self.per_address {
            Some(limit) => limit,
            None if origin.0.is_loopback() => self.max,
            None => self.max.div_ceil(4),
        }
    }
}

/// Where connections come from, as far as they are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Origin(IpAddr);

impl Origin {
    pub(super) fn of(address: IpAddr) -> Self {
        // A socket for both families shows IPv4 as ::ffff:a.b.c.d.
        Self(match address.to_canonical() {
            IpAddr::V6(address) if !address.is_loopback() => {
                let [a, b, c, d, ..] = address.segments();
                [a, b, c, d, 0, 0, 0, 0].into()
            }
            address => address,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(address: &str) -> Origin {
        Origin::of(address.parse().unwrap())
    }

    #[test]
    fn a_network_of_ipv6_is_one_origin_and_an_address_of_ipv4_is() {
        assert_eq!(origin("2001:db8:1:2::7"), origin("2001:db8:1:2:ffff::1"));
        assert_ne!(origin("2001:db8:1:2::7"), origin("2001:db8:1:3::7"));
        assert_eq!(origin("::ffff:10.0.0.1"), origin("10.0.0.1"));
        assert_ne!(origin("10.0.0.1"), origin("10.0.0.2"));
    }

    #[test]
    fn only_a_limit_that_was_written_down_is_for_loopback_too() {
        let limits = ConnectionLimits {
            max: 10,
            ..ConnectionLimits::default()
        };
        assert_eq!(limits.of(origin("10.0.0.1")), 3);
        assert_eq!(limits.of(origin("127.0.0.1")), 10);
        assert_eq!(limits.of(origin("::1")), 10);
        let limits = ConnectionLimits {
            per_address: Some(2),
            ..limits
        };
        assert_eq!(limits.of(origin("10.0.0.1")), 2);
        assert_eq!(limits.of(origin("127.0.0.1")), 2);
    }
}
