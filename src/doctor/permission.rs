//! Whether a device may subscribe and publish, by what the broker answers.

use crate::broker::MqttVersion;
use crate::mqtt::reason::Reason;
use crate::session::Outcome;

use super::report::{Cause, Finding};

/// What became of a SUBSCRIBE.
#[derive(Debug)]
pub(super) enum Subscribed {
    /// One reason for each filter.
    Answered(Vec<Reason>),
    /// The broker closed the connection instead; its words, if it had any.
    HungUp(Option<String>),
    /// No answer came in time.
    Silent,
}

/// Whether the device gets its downlinks.
pub(super) fn judge_subscription(answer: &Subscribed) -> Finding {
    const HINT: &str = "have the platform or the broker's operator allow it: look at the access rules for this device, and \
                        at the profile's downlink filter. Until then its downlinks do not arrive";
    match answer {
        Subscribed::Answered(reasons) => {
            let refused: Vec<_> = reasons.iter().filter(|reason| reason.is_error()).collect();
            match refused.first() {
                None if reasons.len() == 1 => {
                    Finding::ok("the broker grants the subscription for downlinks")
                }
                None => Finding::ok(format!(
                    "the broker grants all {} subscriptions for downlinks",
                    reasons.len()
                )),
                Some(reason) => Finding::failed(
                    Cause::SubscriptionRefused,
                    format!(
                        "the broker refuses {} of {} subscriptions: {reason}",
                        refused.len(),
                        reasons.len()
                    ),
                )
                .hint(HINT),
            }
        }
        Subscribed::HungUp(words) => Finding::failed(
            Cause::SubscriptionRefused,
            match words {
                Some(words) => format!("the broker closed the connection over the subscription: {words}"),
                None => "the broker closed the connection over the subscription, as some do (AWS) with one that is not \
                         allowed"
                    .to_owned(),
            },
        )
        .hint(HINT),
        Subscribed::Silent => Finding::failed(
            Cause::NoAnswer,
            "the broker did not answer the subscription in time",
        )
        .hint("check that the broker is well"),
    }
}

/// What is said where a device has no subscriptions.
pub(super) fn no_subscriptions() -> Finding {
    Finding::skipped(
        Cause::NotAsked,
        "the profile has no downlinks, there is nothing to subscribe to",
    )
}

/// What is said where nobody wanted a message to be published.
pub(super) fn not_published() -> Finding {
    Finding::skipped(
        Cause::NotAsked,
        "not tried: a message would reach the platform",
    )
    .hint(
        "try it with --publish or --publish=PAYLOAD, over HTTP with {\"publish\": {}}: the platform will see one uplink",
    )
}

/// Whether the device's uplinks are taken.
pub(super) fn judge_publish(outcome: &Outcome, version: MqttVersion) -> Finding {
    match outcome {
        Outcome::Delivered { reason } if *reason == Reason::NO_MATCHING_SUBSCRIBERS => Finding::ok(
            "the broker took the message; it says that nobody subscribes to its topic at the moment",
        ),
        Outcome::Delivered { .. } if version == MqttVersion::V311 => Finding::ok(
            "the broker confirmed the message. With MQTT 3.1.1 that means received: a broker also confirms what it then \
             drops, so look whether it arrived on the platform",
        ),
        Outcome::Delivered { .. } => Finding::ok("the broker took the message and confirmed it"),
        Outcome::Sent => Finding::ok(
            "the message was sent with QoS 0, which nobody confirms: look whether it arrived on the platform",
        ),
        Outcome::Refused { reason, text } => {
            let words = text
                .as_deref()
                .map(|text| format!(" ({text})"))
                .unwrap_or_default();
            Finding::failed(
                Cause::PublishRefused,
                format!("the broker refuses the message: {reason}{words}"),
            )
            .hint(match *reason {
                Reason::NOT_AUTHORIZED | Reason::TOPIC_NAME_INVALID | Reason::UNSPECIFIED => {
                    "have the platform or the broker's operator allow this device to publish on this topic; if the topic is \
                     not as it should be, look at the profile's variables"
                }
                Reason::PAYLOAD_FORMAT_INVALID => {
                    "the platform expects another payload: give one in its form with the test message"
                }
                _ => "the platform's documentation says what it takes",
            })
        }
        Outcome::NotSent(_) | Outcome::Expired | Outcome::Unconfirmed => Finding::failed(
            Cause::PublishUnconfirmed,
            "the broker did not confirm the message in time; whether it arrived is not known",
        )
        .hint("check that the broker is well, and look on the platform"),
    }
}

/// A broker that closes the connection over a message.
pub(super) fn judge_publish_hung_up(words: Option<&str>) -> Finding {
    let why = words.map(|words| format!(": {words}")).unwrap_or_default();
    Finding::failed(
        Cause::PublishRefused,
        format!("the broker closed the connection over the message{why}"),
    )
    .hint(
        "with MQTT 3.1.1 a broker has no other answer to a topic that is not allowed: have it allowed for this device, and \
         look at the profile's uplink topic",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Verdict;

    #[test]
    fn subscriptions_that_are_refused_are_counted() {
        let judge = |reasons: &[u8]| {
            let reasons = reasons.iter().map(|code| Reason(*code)).collect();
            judge_subscription(&Subscribed::Answered(reasons))
        };
        assert_eq!(judge(&[1]).verdict, Verdict::Ok);
        assert!(judge(&[1, 0]).seen.contains("all 2"));
        let refused = judge(&[1, 0x87]);
        assert_eq!(refused.cause, Some(Cause::SubscriptionRefused));
        assert!(
            refused
                .seen
                .contains("refuses 1 of 2 subscriptions: not authorized"),
            "{}",
            refused.seen
        );
        let closed = judge_subscription(&Subscribed::HungUp(None));
        assert_eq!(closed.cause, Some(Cause::SubscriptionRefused));
    }

    #[test]
    fn a_confirmation_of_3_1_1_is_not_oversold() {
        let delivered = Outcome::Delivered {
            reason: Reason::SUCCESS,
        };
        assert!(
            judge_publish(&delivered, MqttVersion::V311)
                .seen
                .contains("look whether it arrived")
        );
        assert!(
            !judge_publish(&delivered, MqttVersion::V5)
                .seen
                .contains("look whether")
        );
        let refused = Outcome::Refused {
            reason: Reason::NOT_AUTHORIZED,
            text: Some("acl".into()),
        };
        let finding = judge_publish(&refused, MqttVersion::V5);
        assert_eq!(finding.cause, Some(Cause::PublishRefused));
        assert!(
            finding.seen.contains("not authorized (0x87) (acl)"),
            "{}",
            finding.seen
        );
    }
}
