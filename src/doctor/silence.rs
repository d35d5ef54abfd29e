//! A CONNECT that got no answer, explained by what speaks on that port instead.

use super::recognise::Peer;
use super::report::{Cause, Finding};

/// A CONNECT that was not answered with a CONNACK; `peer` is what speaks there.
pub(super) fn judge(problem: &str, url: &str, peer: &Peer) -> Finding {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let at = rest.split('/').next().unwrap_or(rest);
    let seen = match peer {
        Peer::Mqtt | Peer::Closes | Peer::Unreachable => problem.to_owned(),
        other => format!("{problem}: {other}"),
    };
    match peer {
        Peer::Tls => Finding::failed(Cause::TlsPort, seen).hint(format!(
            "the connector's url says {scheme}://, which is not encrypted: write {}://{at}",
            if scheme == "ws" { "wss" } else { "mqtts" }
        )),
        Peer::Http => Finding::failed(Cause::WebSocketPort, seen).hint(format!(
            "this is a web server's port: write {}://{at}/mqtt if the broker has MQTT over WebSocket there, or its port for \
             MQTT itself",
            if scheme == "mqtts" { "wss" } else { "ws" }
        )),
        Peer::Other(_) => Finding::failed(Cause::NotMqtt, seen)
            .hint("check the port in the connector's url: this is another service"),
        Peer::Silent => Finding::failed(Cause::NoAnswer, seen)
            .hint("check that the port is one for MQTT, and that the broker is well: it takes connections but does not answer"),
        Peer::Mqtt => Finding::failed(Cause::HungUp, seen).hint(
            "a broker answers there, but not this CONNECT: many close the connection over credentials that they do not \
             take. Check them, and try mqtt_version = \"3.1.1\"",
        ),
        Peer::Closes | Peer::Unreachable => Finding::failed(Cause::HungUp, seen).hint(
            "check that the port is one for MQTT. A broker may also close the connection over a client certificate or \
             credentials that it does not take",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_explained_by_what_speaks_there() {
        let judged = |url: &str, peer: Peer| {
            let finding = judge("the broker closed the connection", url, &peer);
            (finding.cause, finding.hint.unwrap_or_default())
        };
        let (cause, hint) = judged("mqtt://broker:8883", Peer::Tls);
        assert_eq!(cause, Some(Cause::TlsPort));
        assert!(hint.contains("mqtts://broker:8883"), "{hint}");
        let (cause, hint) = judged("mqtts://broker:443", Peer::Http);
        assert_eq!(cause, Some(Cause::WebSocketPort));
        assert!(hint.contains("wss://broker:443/mqtt"), "{hint}");
        assert_eq!(
            judged("mqtt://broker:1883", Peer::Mqtt).0,
            Some(Cause::HungUp)
        );
    }
}
