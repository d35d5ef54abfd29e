//! MQTT where the bridge runs: its own session is asked. Nothing connects beside it, so nothing is taken over, and no
//! downlink goes anywhere else.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::alone::not_carried;
use super::client::Client;
use super::connect::{self, Heard};
use super::notes::Notebook;
use super::patient::TestMessage;
use super::permission::{self, Subscribed};
use super::recognise::Peer;
use super::report::{Cause, Finding, StepName, moment};
use super::silence;
use super::takeover;
use super::way::Way;
use crate::broker::MqttVersion;
use crate::registry::Device;
use crate::session::{Outcome, Snapshot, State};
use crate::store::records::ReceiptStatus;
use crate::uplink::{self, Accepted, UplinkError, Uplinks, Wishes};

/// An attempt that is younger says enough; the session would not make another one.
const FRESH: Duration = Duration::from_secs(3);

/// The session of a running bridge.
pub(super) struct Beside<'a> {
    pub(super) device: &'a Arc<Device>,
    pub(super) uplinks: &'a Uplinks,
    /// The way to the broker, where it is free.
    pub(super) way: Option<&'a Way<'a>>,
    pub(super) client: Client,
}

impl Beside<'_> {
    /// What the session knows; one that is not connected is made to try.
    pub(super) async fn examine(
        &self,
        publish: Option<&TestMessage>,
        attempt: Duration,
        notes: &mut Notebook<'_>,
    ) {
        let begun = notes.begin(StepName::Connect);
        self.wake(notes.within(attempt)).await;
        let now = self.device.session.status().snapshot();
        let finding = self.judge_connection(&now).await;
        notes.end(begun, finding);
        if now.state == State::Connected {
            notes.note(StepName::Subscribe, self.judge_subscriptions());
            self.publish(publish, &now, notes).await;
        } else {
            let steps = [StepName::Subscribe, StepName::Publish];
            super::not_reached(notes, &steps, "the bridge is not connected");
        }
        let now = self.device.session.status().snapshot();
        let finding = takeover::judge_session(&now, SystemTime::now());
        notes.note(StepName::Takeover, finding);
    }

    /// Has a session that is not connected try now, and waits for what comes of it.
    async fn wake(&self, limit: Duration) {
        let status = self.device.session.status();
        let now = status.snapshot();
        let fresh = now.last_trouble.as_ref().is_some_and(|trouble| {
            let age = SystemTime::now().duration_since(trouble.at);
            age.is_ok_and(|age| age < FRESH)
        });
        let waits = match now.state {
            State::Idle | State::Connecting => true,
            State::BackingOff | State::Refused => !fresh,
            State::Connected | State::TakenOver | State::NoKey | State::Closed => false,
        };
        let attempted = async {
            if waits {
                self.device.session.retry();
                status.attempted(now.attempts).await;
            }
            status.has_begun().await;
        };
        // What has not come to anything by then is judged as it stands.
        let _ = tokio::time::timeout(limit, attempted).await;
    }

    async fn judge_connection(&self, now: &Snapshot) -> Finding {
        match now.state {
            State::Connected => self.judge_connected(now),
            State::TakenOver => Finding::skipped(
                Cause::TakenOver,
                "not tried: the bridge leaves the connection to the client that took it over, see the step takeover",
            ),
            State::NoKey => Finding::skipped(
                Cause::KeyUnusable,
                "not tried: no key signs the device's tokens at the moment, see the step token",
            ),
            State::Idle | State::Connecting => Finding::failed(
                Cause::NoAnswer,
                "the bridge's own attempt to connect has not come to anything yet",
            )
            .hint("look again in a moment; the steps before show how far it can get"),
            State::Closed => Finding::skipped(
                Cause::Unreachable,
                "the session has ended: the device was removed, or the bridge ends",
            ),
            State::BackingOff | State::Refused => self.judge_trouble(now).await,
        }
    }

    fn judge_connected(&self, now: &Snapshot) -> Finding {
        let version = now
            .version
            .map(|version| version.to_string())
            .unwrap_or_default();
        let seen = format!(
            "the bridge has been connected as {} with MQTT {version} since {}",
            self.client.client_id,
            moment(now.since)
        );
        let finding = Finding::ok(seen)
            .fact("client id", &self.client.client_id)
            .fact("mqtt", version);
        let finding = match now.token_expires_at {
            Some(at) => finding.moment("token expires", at),
            None => finding,
        };
        match (now.version, self.client.pinned) {
            (Some(MqttVersion::V311), None) => {
                finding.hint("the broker does not speak MQTT 5; write mqtt_version = \"3.1.1\" at the connector to save the attempt")
            }
            _ => finding,
        }
    }

    async fn judge_trouble(&self, now: &Snapshot) -> Finding {
        let Some(trouble) = &now.last_trouble else {
            return Finding::failed(Cause::Unreachable, "the bridge is not connected");
        };
        // The refusal that the last trouble tells of, and not one of long ago.
        let refusal = now.last_answer.as_ref().filter(|answer| {
            let told = trouble.at.duration_since(answer.at);
            answer.ack.reason.is_error() && told.is_ok_and(|told| told < FRESH)
        });
        if let Some(answer) = refusal {
            let heard = Heard {
                version: answer.version,
                ack: &answer.ack,
                fell_back: false,
            };
            return connect::judge(&self.client, &heard);
        }
        let peer = match (self.way, now.state) {
            (Some(way), State::BackingOff) => way.who_is_inside().await,
            _ => Peer::Unreachable,
        };
        match (peer, self.way) {
            (peer @ (Peer::Tls | Peer::Http | Peer::Other(_) | Peer::Silent), Some(way)) => {
                silence::judge(&trouble.what, &way.endpoint.url(), &peer)
            }
            _ => {
                let cause = match now.state {
                    State::Refused => Cause::Refused,
                    _ => Cause::HungUp,
                };
                Finding::failed(cause, trouble.what.clone()).hint(trouble.hint)
            }
        }
    }

    fn judge_subscriptions(&self) -> Finding {
        let profile = &self.device.connector.profile;
        let count = profile.downlinks.len() + usize::from(profile.ack.is_some());
        if count == 0 {
            return permission::no_subscriptions();
        }
        let status = self.device.session.status();
        permission::judge_subscription(&match status.refused_subscription(&self.device.id) {
            Some(reason) => Subscribed::Answered(vec![reason]),
            None => Subscribed::Answered(vec![crate::mqtt::reason::Reason::SUCCESS; count]),
        })
    }

    /// A test message is an uplink like any other: it keeps its place, and it has a receipt.
    async fn publish(
        &self,
        message: Option<&TestMessage>,
        now: &Snapshot,
        notes: &mut Notebook<'_>,
    ) {
        let Some(message) = message else {
            return notes.note(StepName::Publish, permission::not_published());
        };
        let begun = notes.begin(StepName::Publish);
        let limit = notes.within(Duration::from_secs(10));
        let uplink = message.uplink(&self.device.id);
        let version = now.version.unwrap_or(MqttVersion::V5);
        let (connector, topic) = (&self.device.connector, &self.device.topic);
        let topic =
            uplink::compose(connector, topic, version, uplink.clone()).map(|sent| sent.topic);
        let delivered = self.uplinks.deliver(uplink, Wishes::wait(limit)).await;
        let finding = judge_delivery(delivered, version);
        // Whoever has sent it knows which secrets stand in the topic: a session obeys orders before it sends.
        let sent = finding
            .cause
            .is_none_or(|cause| cause == Cause::PublishRefused);
        let connect = self.device.session.status().connect();
        notes.end(
            begun,
            match (topic, connect) {
                (Ok(topic), Some(connect)) if sent => {
                    finding.fact("topic", connect.show(topic.expose()))
                }
                _ => finding,
            },
        );
    }
}

fn judge_delivery(delivered: Result<Accepted, UplinkError>, version: MqttVersion) -> Finding {
    let accepted = match delivered {
        Ok(accepted) => accepted,
        Err(UplinkError::Refused { reason, text }) => {
            return permission::judge_publish(&Outcome::Refused { reason, text }, version);
        }
        Err(error @ (UplinkError::Check(_) | UplinkError::Envelope(_))) => {
            return not_carried(&error.to_string());
        }
        Err(error) => return Finding::failed(Cause::PublishUnconfirmed, error.to_string()),
    };
    let receipt = accepted.receipt;
    let finding = match receipt.status {
        ReceiptStatus::Sent => permission::judge_publish(&Outcome::Sent, version),
        ReceiptStatus::Delivered => {
            let reason = receipt.reason.unwrap_or_default();
            permission::judge_publish(&Outcome::Delivered { reason }, version)
        }
        _ => Finding::warning(
            Cause::PublishUnconfirmed,
            "the broker has not confirmed the message yet; it waits like any uplink, behind those before it",
        )
        .hint("its receipt will tell what became of it"),
    };
    finding.fact("receipt", format!("/v1/uplinks/{}", receipt.id))
}
