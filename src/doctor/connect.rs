//! What a broker answers to CONNECT, in words, and what to do about a refusal.

use std::time::SystemTime;

use super::recognise::Peer;
use super::report::{Cause, Finding, moment};
use crate::broker::MqttVersion;
use crate::mqtt::packet::ConnAck;
use crate::mqtt::reason::Reason;

/// The platforms that more is known of, by their built-in profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Platform {
    /// akenza with device credentials.
    AkenzaDevice,
    /// akenza with an uplink secret.
    AkenzaSecret,
    /// SAP IoT.
    Sap,
    /// Any other.
    Other,
}

impl Platform {
    /// By the name of the profile.
    pub(super) fn of(profile_name: &str) -> Self {
        match profile_name {
            "akenza-device" => Self::AkenzaDevice,
            "akenza-secret" => Self::AkenzaSecret,
            "sap-iot" => Self::Sap,
            _ => Self::Other,
        }
    }
}

/// By what a client proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof {
    /// A fresh token; which key signed it.
    Token(String),
    /// User name and password, or one of them.
    Login,
    /// A client certificate alone.
    Certificate,
    /// Nothing.
    None,
}

/// Who connects.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) platform: Platform,
    /// The client id as it may be shown.
    pub(super) client_id: String,
    pub(super) proof: Proof,
    /// The clock at that moment.
    pub(super) now: SystemTime,
    /// Whether the version of MQTT was written down.
    pub(super) pinned: Option<MqttVersion>,
}

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
        .hint(refusal_hint(client, ack))
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

fn refusal_hint(client: &Client, ack: &ConnAck) -> String {
    let id = &client.client_id;
    match ack.reason {
        Reason::UNSUPPORTED_PROTOCOL_VERSION => match client.pinned {
            Some(MqttVersion::V5) => "write mqtt_version = \"3.1.1\" at the connector, or leave it out".to_owned(),
            Some(MqttVersion::V311) => "write mqtt_version = \"5\" at the connector, or leave it out".to_owned(),
            None => "the broker speaks neither MQTT 5 nor 3.1.1: check that it is an MQTT broker".to_owned(),
        },
        Reason::CLIENT_ID_NOT_VALID => match client.platform {
            Platform::AkenzaDevice => format!(
                "akenza wants the device's id for the client id: check that there is a device {id} on akenza, with device \
                 credentials"
            ),
            Platform::Sap => format!(
                "SAP wants the device's alternate id for the client id: check that {id} is it, or set the variable client_id"
            ),
            _ => format!("check whether the broker knows the client id {id}; the profile makes it (connect.client_id)"),
        },
        Reason::BAD_USER_NAME_OR_PASSWORD | Reason::NOT_AUTHORIZED => credentials_hint(client, ack),
        Reason::BANNED => "the broker has shut this client out, often after too many refused attempts: correct what was \
                           refused, wait, or ask its operator"
            .to_owned(),
        Reason::USE_ANOTHER_SERVER | Reason::SERVER_MOVED => match &ack.server_reference {
            Some(reference) => format!("write the address that the broker refers to into the connector's url: {reference}"),
            None => "ask the broker's operator for its new address; the broker does not name one".to_owned(),
        },
        Reason(0x8C) => "the broker wants another way to log in (AUTH) than there is here".to_owned(),
        Reason(0x97) => "a quota of the account is used up, often that of connections: look at the platform".to_owned(),
        Reason(0x9F) => "too many connections in too short a time: lower limits.connects_per_second".to_owned(),
        Reason(0x88 | 0x89 | 0x8B) => {
            "the broker cannot serve now; the bridge tries again by itself".to_owned()
        }
        _ => "ask the broker's operator what its log says".to_owned(),
    }
}

fn credentials_hint(client: &Client, ack: &ConnAck) -> String {
    let (id, now) = (&client.client_id, moment(client.now));
    let about_time = ack.text.as_deref().is_some_and(is_about_time);
    match (&client.proof, client.platform) {
        (Proof::Token(_), _) if about_time => format!(
            "the broker finds the token's time wrong, although it was made in this moment: this clock says {now}. Compare \
             it with one that you trust, and set it"
        ),
        (Proof::Token(key), Platform::AkenzaDevice) => format!(
            "akenza does not take the token. Compare in this order: the device {id} exists there and has device \
             credentials; among them is the public key of this one ({key}), which causeway keys show prints; on a private \
             cloud, audience_host is its host; this clock ({now}) is right"
        ),
        (Proof::Token(key), _) => format!(
            "the broker does not take the token. Compare in this order: it knows the public key of this one ({key}), which \
             causeway keys show prints; the token's audience is what it expects (step token); this clock ({now}) is right"
        ),
        (Proof::Login, Platform::AkenzaSecret) => {
            "compare with akenza: the variable connector_id is the id of the device connector, and secret its uplink secret"
                .to_owned()
        }
        (Proof::Certificate, Platform::Sap) => format!(
            "the certificate is not that of the device {id}: each device has its own, and a new download replaces the one \
             before"
        ),
        (Proof::Certificate, _) => format!(
            "the broker knows the certificate but does not let {id} in with it: check its policy, and which client ids it \
             allows"
        ),
        (Proof::Login, _) => "check user name (the profile and its variables make it) and secret against the broker".to_owned(),
        (Proof::None, _) => "the broker lets nobody in without proof: it wants a user name and a secret, or a client certificate"
            .to_owned(),
    }
}

/// Whether a broker's words are about the time in a token.
fn is_about_time(words: &str) -> bool {
    let words = words.to_lowercase();
    let about = [
        "expire",
        "'exp'",
        "'iat'",
        "not yet",
        "in the future",
        "clock",
    ];
    about.iter().any(|known| words.contains(known))
}

/// A CONNECT that was not answered with a CONNACK; `peer` is what speaks there.
pub(super) fn judge_silence(problem: &str, url: &str, peer: &Peer) -> Finding {
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
    use std::time::{Duration, UNIX_EPOCH};

    fn client(profile: &str, proof: Proof) -> Client {
        Client {
            platform: Platform::of(profile),
            client_id: "pump-1".to_owned(),
            proof,
            now: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            pinned: None,
        }
    }

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

    fn refused(reason: Reason, text: Option<&str>) -> ConnAck {
        ConnAck {
            reason,
            text: text.map(str::to_owned),
            ..ConnAck::default()
        }
    }

    #[test]
    fn refusals_are_named_as_their_version_names_them() {
        let client = client("plain", Proof::Login);
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
    fn what_to_do_depends_on_the_platform_and_the_proof() {
        let token = || Proof::Token("kid abc".to_owned());
        for (profile, proof, reason, words) in [
            (
                "akenza-device",
                token(),
                Reason::NOT_AUTHORIZED,
                "public key of this one (kid abc)",
            ),
            (
                "akenza-device",
                token(),
                Reason::CLIENT_ID_NOT_VALID,
                "a device pump-1 on akenza",
            ),
            (
                "akenza-secret",
                Proof::Login,
                Reason::BAD_USER_NAME_OR_PASSWORD,
                "uplink secret",
            ),
            (
                "sap-iot",
                Proof::Certificate,
                Reason::NOT_AUTHORIZED,
                "not that of the device pump-1",
            ),
            (
                "sap-iot",
                Proof::Certificate,
                Reason::CLIENT_ID_NOT_VALID,
                "alternate id",
            ),
            (
                "clearblade.toml",
                token(),
                Reason::NOT_AUTHORIZED,
                "audience",
            ),
            (
                "plain",
                Proof::None,
                Reason::NOT_AUTHORIZED,
                "wants a user name",
            ),
            (
                "plain",
                Proof::Certificate,
                Reason::NOT_AUTHORIZED,
                "policy",
            ),
        ] {
            let client = client(profile, proof);
            let (_, text) = judged(&client, MqttVersion::V5, refused(reason, None));
            assert!(text.contains(words), "{profile} {reason}: {text}");
        }
    }

    #[test]
    fn a_broker_that_speaks_of_time_points_at_the_clock() {
        let client = client("akenza-device", Proof::Token("kid abc".to_owned()));
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
        let (cause, text) = judged(&client("plain", Proof::None), MqttVersion::V5, ack);
        assert_eq!(cause, Some(Cause::Redirected));
        assert!(
            text.contains("into the connector's url: eu.example:8883"),
            "{text}"
        );
    }

    #[test]
    fn silence_is_explained_by_what_speaks_there() {
        let judge = |url: &str, peer: Peer| {
            let finding = judge_silence("the broker closed the connection", url, &peer);
            (finding.cause, finding.hint.unwrap_or_default())
        };
        let (cause, hint) = judge("mqtt://broker:8883", Peer::Tls);
        assert_eq!(cause, Some(Cause::TlsPort));
        assert!(hint.contains("mqtts://broker:8883"), "{hint}");
        let (cause, hint) = judge("mqtts://broker:443", Peer::Http);
        assert_eq!(cause, Some(Cause::WebSocketPort));
        assert!(hint.contains("wss://broker:443/mqtt"), "{hint}");
        assert_eq!(
            judge("mqtt://broker:1883", Peer::Mqtt).0,
            Some(Cause::HungUp)
        );
    }
}
