//! What a refusal means on the wire, which differs between the protocol versions.

use crate::broker::MqttVersion;
use crate::message::Qos;
use crate::mqtt::reason::Reason;

/// What the client of a refused publish gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefusedPublish {
    /// A PUBACK with this reason.
    Ack(Reason),
    /// No answer: QoS 0 has none.
    Silence,
    /// The end of its connection.
    Close,
}

/// With 3.1.1 a PUBACK cannot say that a message was refused: real brokers acknowledge it and drop it
/// (eclipse-mosquitto/mosquitto#547). A topic that the client has no business with ends the connection
/// (MQTT 3.1.1 §3.3.5).
pub(super) fn refused_publish(version: MqttVersion, qos: Qos, reason: Reason) -> RefusedPublish {
    let foreign = matches!(reason, Reason::NOT_AUTHORIZED | Reason::TOPIC_NAME_INVALID);
    match (version, qos) {
        (MqttVersion::V311, _) if foreign => RefusedPublish::Close,
        (_, Qos::AtMostOnce) => RefusedPublish::Silence,
        (MqttVersion::V311, _) => RefusedPublish::Ack(Reason::SUCCESS),
        (MqttVersion::V5, _) => RefusedPublish::Ack(reason),
    }
}

/// The reason in a SUBACK; 3.1.1 knows one failure (§3.9.3).
pub(super) fn refused_subscription(version: MqttVersion, reason: Reason) -> Reason {
    match version {
        MqttVersion::V5 => reason,
        MqttVersion::V311 => Reason::UNSPECIFIED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_publish_is_answered_as_the_version_can() {
        use MqttVersion::{V5, V311};
        use Qos::{AtLeastOnce, AtMostOnce};
        let foreign = Reason::NOT_AUTHORIZED;
        let malformed = Reason::PAYLOAD_FORMAT_INVALID;
        let cases = [
            (V5, AtLeastOnce, foreign, RefusedPublish::Ack(foreign)),
            (V5, AtMostOnce, foreign, RefusedPublish::Silence),
            (V5, AtLeastOnce, malformed, RefusedPublish::Ack(malformed)),
            (V311, AtLeastOnce, foreign, RefusedPublish::Close),
            (V311, AtMostOnce, foreign, RefusedPublish::Close),
            (
                V311,
                AtLeastOnce,
                malformed,
                RefusedPublish::Ack(Reason::SUCCESS),
            ),
            (V311, AtMostOnce, malformed, RefusedPublish::Silence),
        ];
        for (version, qos, reason, expected) in cases {
            let answer = refused_publish(version, qos, reason);
            assert_eq!(answer, expected, "{version} {qos:?} {reason}");
        }
    }
}
