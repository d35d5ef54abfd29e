//! What a broker answers to CONNECT, in words. What to do about a refusal is said in `refusal`.

use super::client::Client;
use super::refusal;
use super::report::{Cause, Finding};
use crate::broker::MqttVersion;
use crate::mqtt::packet::ConnAck;
use crate::mqtt::reason::Reason;

/// A broker's answer to a CONNECT.
#[derive(Debug)]
pub(super) struct Heard<'a> {
    pub(super) version: MqttVersion,
    pub(super) ack: &'a ConnAck,
    /// Whether MQTT 5 was tried before and refused.
    pub(super) fell_back: bool,
}

/// What an answer comes to.
pub(super) fn judge(client: &Client, heard: &Heard<'_>) -> Finding {
    let Heard {
        version,
        ack,
        fell_back,
    } = heard;
    if !ack.reason.is_error() {
        return welcome(client, *version, ack, *fell_back);
    }
    let words = refusal_words(*version, ack.reason);
    let text = match &ack.text {
        Some(text) => format!("{words} ({text})"),
        None => words,
    };
    let seen = format!("the broker refuses the connection: {text}");
    let finding = Finding::failed(cause(ack.reason), seen)
        .hint(refusal::hint(client, ack))
        .fact("client id", &client.client_id)
        .fact("mqtt", version);
    match &ack.server_reference {
        Some(reference) => finding.fact("the broker refers to", reference),
        None => finding,
    }
}

fn welcome(client: &Client, version: MqttVersion, ack: &ConnAck, fell_back: bool) -> Finding {
    let kept = match ack.session_present {
        true => "; it had kept the session",
        false => "",
    };
    let seen = format!(
        "the broker lets {} in with MQTT {version}{kept}",
        client.client_id
    );
    let finding = match fell_back {
        true => Finding::ok(format!("{seen}; it does not speak MQTT 5"))
            .hint("write mqtt_version = \"3.1.1\" at the connector to save the attempt with 5"),
        false => Finding::ok(seen),
    };
    let finding = finding
        .fact("client id", &client.client_id)
        .fact("mqtt", version);
    let limits = [
        (
            "largest packet",
            ack.max_packet_size.map(|bytes| format!("{bytes} bytes")),
        ),
        ("highest qos", ack.max_qos.map(|qos| qos.to_string())),
        (
            "retained messages",
            ack.retain_available
                .filter(|taken| !taken)
                .map(|_| "not taken".to_owned()),
        ),
        (
            "keep-alive",
            ack.server_keep_alive
                .map(|seconds| format!("{seconds} s, as the broker wishes")),
        ),
    ];
    limits
        .into_iter()
        .fold(finding, |finding, (name, value)| match value {
            Some(value) => finding.fact(name, value),
            None => finding,
        })
}

/// A refusal as its version of MQTT names it.
fn refusal_words(version: MqttVersion, reason: Reason) -> String {
    match version {
        MqttVersion::V5 => reason.to_string(),
        MqttVersion::V311 => {
            // MQTT 3.1.1 §3.2.2.3.
            let (code, words) = match reason {
                Reason::UNSUPPORTED_PROTOCOL_VERSION => (1, "unacceptable protocol version"),
                Reason::CLIENT_ID_NOT_VALID => (2, "identifier rejected"),
                Reason::SERVER_UNAVAILABLE => (3, "server unavailable"),
                Reason::BAD_USER_NAME_OR_PASSWORD => (4, "bad user name or password"),
                Reason::NOT_AUTHORIZED => (5, "not authorized"),
                _ => return "a return code that MQTT 3.1.1 does not define".to_owned(),
            };
            format!("{words} (return code {code})")
        }
    }
}

fn cause(reason: Reason) -> Cause {
    match reason {
        Reason::UNSUPPORTED_PROTOCOL_VERSION => Cause::Version,
        Reason::CLIENT_ID_NOT_VALID => Cause::ClientIdRefused,
        Reason::BAD_USER_NAME_OR_PASSWORD => Cause::CredentialsRefused,
        Reason::NOT_AUTHORIZED => Cause::NotAuthorized,
        Reason::BANNED => Cause::Banned,
        Reason::USE_ANOTHER_SERVER | Reason::SERVER_MOVED => Cause::Redirected,
        Reason(0x88 | 0x89 | 0x8B | 0x97 | 0x9F) => Cause::Unavailable,
        _ => Cause::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::client::Proof;
    use crate::doctor::refusal::refused;

    fn judged(client: &Client, version: MqttVersion, ack: ConnAck) -> (Option<Cause>, String) {
        let heard = Heard {
            version,
            ack: &ack,
            fell_back: false,
        };
        let finding = judge(client, &heard);
        (
            finding.cause,
            format!("{} | {}", finding.seen, finding.hint.unwrap_or_default()),
        )
    }

    #[test]
    fn refusals_are_named_as_their_version_names_them() {
        let client = Client::for_tests("plain", Proof::Login);
        for (version, reason, cause, words) in [
            (
                MqttVersion::V5,
                Reason::NOT_AUTHORIZED,
                Cause::NotAuthorized,
                "not authorized (0x87)",
            ),
            (
                MqttVersion::V311,
                Reason::NOT_AUTHORIZED,
                Cause::NotAuthorized,
                "not authorized (return code 5)",
            ),
            (
                MqttVersion::V311,
                Reason::BAD_USER_NAME_OR_PASSWORD,
                Cause::CredentialsRefused,
                "(return code 4)",
            ),
            (
                MqttVersion::V311,
                Reason::CLIENT_ID_NOT_VALID,
                Cause::ClientIdRefused,
                "identifier rejected (return code 2)",
            ),
            (
                MqttVersion::V311,
                Reason::SERVER_UNAVAILABLE,
                Cause::Unavailable,
                "(return code 3)",
            ),
            (
                MqttVersion::V311,
                Reason::UNSPECIFIED,
                Cause::Refused,
                "does not define",
            ),
            (
                MqttVersion::V5,
                Reason::BANNED,
                Cause::Banned,
                "banned (0x8A)",
            ),
            (
                MqttVersion::V5,
                Reason(0x9F),
                Cause::Unavailable,
                "connects_per_second",
            ),
        ] {
            let (found, text) = judged(&client, version, refused(reason, None));
            assert!(
                found == Some(cause) && text.contains(words),
                "{found:?} {text}"
            );
        }
    }

    #[test]
    fn a_broker_that_speaks_of_time_points_at_the_clock() {
        let client = Client::for_tests("akenza-device", Proof::Token("kid abc".to_owned()));
        for words in ["the token has expired", "'iat' is in the future"] {
            let ack = refused(Reason::NOT_AUTHORIZED, Some(words));
            let (_, text) = judged(&client, MqttVersion::V5, ack);
            assert!(
                text.contains("this clock says 2027-01-15T08:00:00Z") && text.contains(words),
                "{text}"
            );
        }
    }

    #[test]
    fn a_broker_that_sends_one_elsewhere_says_where() {
        let ack = ConnAck {
            server_reference: Some("eu.example:8883".to_owned()),
            ..refused(Reason::SERVER_MOVED, None)
        };
        let (cause, text) = judged(
            &Client::for_tests("plain", Proof::None),
            MqttVersion::V5,
            ack,
        );
        assert_eq!(cause, Some(Cause::Redirected));
        assert!(
            text.contains("into the connector's url: eu.example:8883"),
            "{text}"
        );
    }
}
