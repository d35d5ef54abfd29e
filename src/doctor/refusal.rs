//! What to do about a refused CONNECT: it depends on the platform, and on what the client proves itself with.

use super::client::{Client, Platform, Proof};
use super::report::moment;
use crate::broker::MqttVersion;
use crate::mqtt::packet::ConnAck;
use crate::mqtt::reason::Reason;

/// What to do about this refusal.
pub(super) fn hint(client: &Client, ack: &ConnAck) -> String {
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

#[cfg(test)]
pub(super) fn refused(reason: Reason, text: Option<&str>) -> ConnAck {
    ConnAck {
        reason,
        text: text.map(str::to_owned),
        ..ConnAck::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let text = hint(&Client::for_tests(profile, proof), &refused(reason, None));
            assert!(text.contains(words), "{profile} {reason}: {text}");
        }
    }
}
