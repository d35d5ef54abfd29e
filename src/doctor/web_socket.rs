//! The handshake of a WebSocket that does not come about, explained by what speaks there.

use super::recognise::Peer;
use super::report::{Cause, Finding};
use crate::mqtt::transport::WebSocketError;

/// Whether it has to be found out what speaks there: a web server that answers has said what it is.
pub(super) fn depends_on_the_peer(error: &WebSocketError) -> bool {
    !matches!(
        error,
        WebSocketError::Status(_) | WebSocketError::SubProtocol
    )
}

/// `peer` is what speaks there, where it was asked.
pub(super) fn judge(error: &WebSocketError, url: &str, peer: Option<&Peer>) -> Finding {
    let seen = format!("no WebSocket: {error}");
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let at = rest.split('/').next().unwrap_or(rest);
    match peer {
        Some(peer @ Peer::Mqtt) => {
            let mqtt = if scheme == "wss" { "mqtts" } else { "mqtt" };
            Finding::failed(Cause::NotWebSocket, format!("{seen}: {peer}")).hint(format!(
                "write {mqtt}://{at}, or use the broker's port for WebSocket"
            ))
        }
        Some(peer @ Peer::Tls) if scheme == "ws" => {
            Finding::failed(Cause::TlsPort, format!("{seen}: {peer}"))
                .hint(format!("write wss://{rest}"))
        }
        _ => Finding::failed(Cause::NotWebSocket, seen).hint(error.hint()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_to_write_follows_from_what_speaks_there() {
        let closed = WebSocketError::Closed;
        for (url, peer, cause, hint) in [
            (
                "wss://broker:8883/mqtt",
                Peer::Mqtt,
                Cause::NotWebSocket,
                "write mqtts://broker:8883,",
            ),
            (
                "ws://broker:1883/mqtt",
                Peer::Mqtt,
                Cause::NotWebSocket,
                "write mqtt://broker:1883,",
            ),
            (
                "ws://broker:443/mqtt",
                Peer::Tls,
                Cause::TlsPort,
                "write wss://broker:443/mqtt",
            ),
            // It is what the url says.
            (
                "wss://broker:443/mqtt",
                Peer::Tls,
                Cause::NotWebSocket,
                "is one for WebSocket",
            ),
        ] {
            let finding = judge(&closed, url, Some(&peer));
            let said = finding.hint.unwrap_or_default();
            assert_eq!(finding.cause, Some(cause), "{url}: {said}");
            assert!(said.contains(hint), "{url}: {said}");
        }
    }

    #[test]
    fn a_web_server_that_answers_is_not_asked_what_it_is() {
        let status = WebSocketError::Status("404 Not Found".to_owned());
        assert!(!depends_on_the_peer(&status));
        assert!(depends_on_the_peer(&WebSocketError::Closed));
        let finding = judge(&status, "ws://broker/wrong", None);
        assert!(finding.hint.unwrap_or_default().contains("check the path"));
    }
}
