//! From a name to a connection, through a proxy if there is one: what each step saw.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::report::{Cause, Finding};
use crate::mqtt::transport::TunnelError;

/// What became of looking a name up.
#[derive(Debug)]
pub(super) enum Looked {
    /// It has these addresses.
    Found(Vec<SocketAddr>),
    /// It has none, or nobody could say.
    Failed(io::Error),
    /// No answer came in time.
    TimedOut(Duration),
}

/// What is dialled, in words: `the broker`, `the proxy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Broker,
    Proxy,
}

impl Target {
    fn setting(self) -> &'static str {
        match self {
            Self::Broker => "url",
            Self::Proxy => "proxy",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Broker => "the broker",
            Self::Proxy => "the proxy",
        }
    }
}

/// Whether a name leads somewhere.
pub(super) fn judge_name(target: Target, host: &str, looked: &Looked) -> Finding {
    let setting = target.setting();
    match looked {
        Looked::Found(addresses) if addresses.is_empty() => Finding::failed(
            Cause::UnknownHost,
            format!("the name {host} exists but has no address"),
        )
        .hint(format!("check the host in the connector's {setting}")),
        Looked::Found(addresses) => Finding::ok(format!("{host} is {}", list(addresses))),
        Looked::Failed(error) if is_about_the_resolver(&error.to_string()) => Finding::failed(
            Cause::NoNameServer,
            format!("{host} could not be looked up, no name server answered: {error}"),
        )
        .hint(
            "this machine reaches no name server: check its network and /etc/resolv.conf; in a container, the engine's DNS \
             settings",
        ),
        Looked::Failed(error) => Finding::failed(
            Cause::UnknownHost,
            format!("there is no host {host}: {error}"),
        )
        .hint(format!(
            "check the spelling of the host in the connector's {setting}; a name that is only known inside a network needs \
             that network's DNS{}",
            match host.contains('.') {
                true => "",
                false => ", and a container's name is only known to containers of the same network",
            }
        )),
        Looked::TimedOut(limit) => Finding::failed(
            Cause::NoNameServer,
            format!(
                "{host} could not be looked up, no name server answered within {} s",
                limit.as_secs()
            ),
        )
        .hint(
            "this machine reaches no name server: check its network and /etc/resolv.conf; in a container, the engine's DNS \
             settings",
        ),
    }
}

/// What became of dialling one address.
#[derive(Debug)]
pub(super) struct Dialled {
    pub(super) address: SocketAddr,
    pub(super) outcome: Result<(), io::Error>,
}

/// Whether an address takes a connection. The bridge tries them in the same order.
pub(super) fn judge_dial(target: Target, dialled: &[Dialled], local: bool) -> Finding {
    let Some(last) = dialled.last() else {
        return Finding::failed(Cause::UnknownHost, "there is no address to connect to");
    };
    let failed: Vec<_> = dialled
        .iter()
        .filter_map(|one| Some((one.address, one.outcome.as_ref().err()?)))
        .collect();
    if last.outcome.is_ok() {
        let connected = format!("{} takes connections", last.address);
        return match failed.as_slice() {
            [] => Finding::ok(connected),
            dead => Finding::warning(
                Cause::DeadAddress,
                format!(
                    "{connected}, but before it {}: every connection loses time there",
                    each(dead)
                ),
            )
            .hint("have the dead address taken out of the DNS, or see why it cannot be reached from here (often IPv6)"),
        };
    }
    let (seen, cause) = (each(&failed), cause(&failed));
    let (who, setting) = (target.name(), target.setting());
    let hint = match cause {
        Cause::PortClosed if local => format!(
            "start {who}, or correct the port in the connector's {setting}. In a container, localhost is the container \
             itself: write the name of the broker's service, or host.docker.internal for the host"
        ),
        Cause::PortClosed => format!(
            "nothing listens on that port: check the port in the connector's {setting} (MQTT: 1883 plain, 8883 TLS, 443 \
             WebSocket over TLS), and that {who} is up"
        ),
        Cause::Filtered => format!(
            "nothing answers at all, which is what a firewall looks like that drops packets: have it let this machine out \
             to {who}, or use what it lets out: many networks only allow 443, for which there is wss://, or a proxy"
        ),
        Cause::NoRoute => format!(
            "this machine has no way there: check its network, gateway and VPN, and the address behind the connector's \
             {setting}"
        ),
        _ => format!("check host and port in the connector's {setting}"),
    };
    Finding::failed(cause, seen).hint(hint)
}

fn each(failed: &[(SocketAddr, &io::Error)]) -> String {
    let words = failed.iter().map(|(address, error)| match kind(error) {
        Cause::PortClosed => format!("{address} refuses connections"),
        Cause::Filtered => format!("{address} does not answer"),
        Cause::NoRoute => format!("there is no route to {address}"),
        _ => format!("{address} cannot be connected to: {error}"),
    });
    words.collect::<Vec<_>>().join("; ")
}

/// Of several, the one that says most.
fn cause(failed: &[(SocketAddr, &io::Error)]) -> Cause {
    let kinds: Vec<_> = failed.iter().map(|(_, error)| kind(error)).collect();
    let order = [Cause::PortClosed, Cause::Filtered, Cause::NoRoute];
    let found = order.into_iter().find(|cause| kinds.contains(cause));
    found.unwrap_or(Cause::Unreachable)
}

fn kind(error: &io::Error) -> Cause {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused | Kind::ConnectionReset => Cause::PortClosed,
        Kind::TimedOut => Cause::Filtered,
        Kind::NetworkUnreachable | Kind::HostUnreachable | Kind::AddrNotAvailable => Cause::NoRoute,
        _ => Cause::Unreachable,
    }
}

/// glibc and musl tell it in words alone.
fn is_about_the_resolver(words: &str) -> bool {
    ["Temporary failure", "Try again"]
        .iter()
        .any(|known| words.contains(known))
}

fn list(addresses: &[SocketAddr]) -> String {
    const SHOWN: usize = 4;
    let mut shown: Vec<_> = addresses
        .iter()
        .take(SHOWN)
        .map(|address| address.ip().to_string())
        .collect();
    if let more @ 1.. = addresses.len().saturating_sub(SHOWN) {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}

/// What became of the tunnel to the broker.
pub(super) fn judge_tunnel(tunnel: Result<(), TunnelError>, broker: &str) -> Finding {
    use TunnelError as Error;
    let error = match tunnel {
        Ok(()) => return Finding::ok(format!("the proxy opens a tunnel to {broker}")),
        Err(error) => error,
    };
    let cause = match &error {
        Error::Resolve { .. } | Error::Unreachable { .. } => Cause::ProxyUnreachable,
        Error::NeedsCredentials { .. } | Error::WrongCredentials { .. } => Cause::ProxyCredentials,
        Error::Refused { .. } => Cause::ProxyRefused,
        Error::NotHttp { .. } => Cause::NotAProxy,
        Error::Closed { .. } => Cause::HungUp,
        Error::NoAnswer { .. } => Cause::NoAnswer,
    };
    Finding::failed(cause, error.to_string()).hint(error.hint())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Verdict;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn dialled(address: SocketAddr, error: Option<io::ErrorKind>) -> Dialled {
        Dialled {
            address,
            outcome: error.map_or(Ok(()), |kind| Err(kind.into())),
        }
    }

    fn verdict(finding: Finding) -> (Verdict, Option<Cause>, String) {
        let hint = finding.hint.unwrap_or_default();
        (finding.verdict, finding.cause, finding.seen + " | " + &hint)
    }

    #[test]
    fn names_that_lead_nowhere_are_told_from_resolvers_that_do() {
        let judge = |host, looked| verdict(judge_name(Target::Broker, host, &looked));
        let failed = |text: &str| Looked::Failed(io::Error::other(text));
        let (_, cause, text) = judge("brokr", failed("Name or service not known"));
        assert_eq!(cause, Some(Cause::UnknownHost));
        assert!(
            text.contains("no host brokr") && text.contains("container"),
            "{text}"
        );
        let temporary = failed("Temporary failure in name resolution");
        let (_, cause, _) = judge("mqtt.akenza.io", temporary);
        assert_eq!(cause, Some(Cause::NoNameServer));
        let (_, cause, _) = judge("a.b", Looked::TimedOut(Duration::from_secs(5)));
        assert_eq!(cause, Some(Cause::NoNameServer));
        let all: Vec<_> = (1..=6).map(|n| address(&format!("10.0.0.{n}:1"))).collect();
        let (found, _, text) = judge("a.b", Looked::Found(all));
        assert_eq!(found, Verdict::Ok);
        assert!(
            text.starts_with("a.b is 10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4, 2 more"),
            "{text}"
        );
    }

    #[test]
    fn closed_filtered_and_unreachable_are_three_things() {
        use io::ErrorKind as Kind;
        for (kind, local, expected, words) in [
            (
                Kind::ConnectionRefused,
                true,
                Cause::PortClosed,
                "In a container",
            ),
            (
                Kind::ConnectionRefused,
                false,
                Cause::PortClosed,
                "nothing listens",
            ),
            (Kind::TimedOut, false, Cause::Filtered, "firewall"),
            (Kind::HostUnreachable, false, Cause::NoRoute, "gateway"),
            (
                Kind::Other,
                false,
                Cause::Unreachable,
                "check host and port",
            ),
        ] {
            let dialled = [dialled(address("10.0.0.1:8883"), Some(kind))];
            let (found, cause, text) = verdict(judge_dial(Target::Broker, &dialled, local));
            assert_eq!((found, cause), (Verdict::Failed, Some(expected)));
            assert!(
                text.contains(words) && text.contains("10.0.0.1:8883"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_dead_address_before_a_good_one_is_a_warning() {
        let six = dialled(address("[2001:db8::1]:8883"), Some(io::ErrorKind::TimedOut));
        let four = dialled(address("10.0.0.1:8883"), None);
        let (found, cause, text) = verdict(judge_dial(Target::Broker, &[six, four], false));
        assert_eq!((found, cause), (Verdict::Warning, Some(Cause::DeadAddress)));
        assert!(
            text.contains("[2001:db8::1]:8883 does not answer"),
            "{text}"
        );
    }
}
