//! MQTT where no bridge runs: the examination connects as the device itself, and leaves everything as it was.
//!
//! The session at the broker is the device's own, so what waits there is delivered to us. It is never acknowledged: the
//! broker keeps it for the bridge. Only QoS 0 downlinks that come in these seconds are lost, and that is told.

use std::time::Duration;

use super::client::Client;
use super::connect::{self, Heard};
use super::notes::Notebook;
use super::patient::{Patient, TestMessage};
use super::permission;
use super::recognise::Peer;
use super::report::{Cause, Finding, StepName};
use super::silence;
use super::takeover::{self, Watched};
use super::way::Way;
use super::wire::{Ending, Wire};
use crate::broker::MqttVersion;
use crate::mqtt::codec::Codec;
use crate::mqtt::connection::{Connection, ConnectionError};
use crate::mqtt::packet::{Ack, ConnAck};
use crate::mqtt::reason::Reason;
use crate::mqtt::tls::{TlsCause, TlsFailure};
use crate::mqtt::transport;
use crate::session::{ConnectSpec, Outcome};
use crate::uplink;

/// How long opening a byte stream may take: the way was free a moment ago.
const OPEN: Duration = Duration::from_secs(30);

/// One examination's MQTT.
pub(super) struct Alone<'a> {
    pub(super) patient: &'a Patient,
    pub(super) connect: &'a ConnectSpec,
    pub(super) way: &'a Way<'a>,
    pub(super) client: Client,
}

/// What a CONNECT came to.
enum Came {
    /// It was answered, well or not.
    Answered(Box<Connection>, Box<ConnAck>),
    /// It was not.
    Not(Finding),
    /// The broker closed the connection instead, although it speaks MQTT.
    HungUp(Finding),
}

impl Alone<'_> {
    /// CONNECT, subscriptions, a message if one is wished, and a while of watching.
    pub(super) async fn examine(
        &self,
        publish: Option<&TestMessage>,
        watch: Duration,
        notes: &mut Notebook<'_>,
    ) {
        let rest = [StepName::Subscribe, StepName::Publish, StepName::Takeover];
        let begun = notes.begin(StepName::Connect);
        let (wire, finding) = self.connect().await;
        notes.end(begun, finding);
        let Some(mut wire) = wire else {
            return super::not_reached(notes, &rest, "the broker did not let the device in");
        };
        if notes.is_over(&rest) {
            return wire.leave().await;
        }
        self.subscribe(&mut wire, notes).await;
        self.publish(&mut wire, publish, notes).await;
        let begun = notes.begin(StepName::Takeover);
        let limit = notes.within(watch);
        let watched = match wire.ended.take() {
            Some(ending) => Watched::Ended {
                ending,
                again: None,
            },
            None => self.watch(&mut wire, limit).await,
        };
        let finding = takeover::judge(&watched, limit, &self.client.client_id);
        notes.end(begun, wire.touched(finding));
        wire.leave().await;
    }

    async fn connect(&self) -> (Option<Wire>, Finding) {
        let first = self.client.pinned.unwrap_or(MqttVersion::V5);
        let came = self.attempt(first).await;
        let may_fall_back = self.client.pinned.is_none();
        match came {
            Came::Answered(_, ack)
                if may_fall_back && ack.reason == Reason::UNSUPPORTED_PROTOCOL_VERSION =>
            {
                let second = self.attempt(MqttVersion::V311).await;
                self.conclude(MqttVersion::V311, second, true)
            }
            Came::HungUp(finding) if may_fall_back => match self.attempt(MqttVersion::V311).await {
                Came::Answered(connection, ack) if !ack.reason.is_error() => {
                    let seen = "the broker closes the connection over MQTT 5 instead of refusing it, and lets the client in \
                                with 3.1.1";
                    let finding = Finding::failed(Cause::Version, seen)
                        .hint("write mqtt_version = \"3.1.1\" at the connector: the bridge takes such a closing for trouble");
                    let wire = Wire::new(*connection, self.connect.keep_alive);
                    (Some(wire), finding)
                }
                _ => (None, finding),
            },
            came => self.conclude(first, came, false),
        }
    }

    fn conclude(
        &self,
        version: MqttVersion,
        came: Came,
        fell_back: bool,
    ) -> (Option<Wire>, Finding) {
        match came {
            Came::Answered(connection, ack) => {
                let heard = Heard {
                    version,
                    ack: &ack,
                    fell_back,
                };
                let finding = connect::judge(&self.client, &heard);
                let let_in = !ack.reason.is_error();
                let wire = let_in.then(|| Wire::new(*connection, self.connect.keep_alive));
                (wire, finding)
            }
            Came::Not(finding) | Came::HungUp(finding) => (None, finding),
        }
    }

    async fn attempt(&self, version: MqttVersion) -> Came {
        let opened = tokio::time::timeout(OPEN, transport::open(self.way.endpoint)).await;
        let stream = match opened {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let finding = Finding::failed(Cause::Unreachable, error.to_string());
                return Came::Not(finding.hint(error.hint()));
            }
            Err(_) => {
                let seen = "the broker, reached a moment ago, did not answer any more";
                return Came::Not(Finding::failed(Cause::NoAnswer, seen));
            }
        };
        // The examination's own copy: what the broker says to it is reported to nobody.
        let fresh = self.connect.password.clone().fresh(self.way.clock.now());
        let password = match fresh {
            Ok(fresh) => fresh.password,
            Err(error) => return Came::Not(super::token::unusable(&error.to_string())),
        };
        let mut packet = self.connect.packet(password);
        // What is not acknowledged comes again; the less of it, the better.
        packet.receive_maximum = 1;
        let codec = Codec {
            version,
            max_incoming: self.connect.max_incoming,
        };
        let hidden = self.connect.hidden.clone();
        match Connection::establish(stream, codec, packet, hidden).await {
            Ok((connection, ack)) => Came::Answered(Box::new(connection), ack),
            Err(error) => self.unanswered(&error).await,
        }
    }

    async fn unanswered(&self, error: &ConnectionError) -> Came {
        if let ConnectionError::Io(io) = error
            && let Some(failure) = TlsFailure::of(io)
            && matches!(failure.cause, TlsCause::Alert(_))
        {
            let finding = Finding::failed(Cause::ClientCertificateRefused, failure.to_string());
            return Came::Not(finding.hint(
                "look at the step certificate: the broker said this when the connection was to be used",
            ));
        }
        let peer = self.way.who_is_inside().await;
        let url = self.way.endpoint.url();
        let problem = format!("{error}, before it had answered CONNECT");
        let finding = silence::judge(&problem, &url, &peer);
        match peer == Peer::Mqtt && error.is_closed_by_peer() {
            true => Came::HungUp(finding),
            false => Came::Not(finding),
        }
    }

    async fn subscribe(&self, wire: &mut Wire, notes: &mut Notebook<'_>) {
        if self.patient.filters.is_empty() {
            return notes.note(StepName::Subscribe, permission::no_subscriptions());
        }
        let begun = notes.begin(StepName::Subscribe);
        let limit = notes.within(self.way.limits.answer);
        let answer = wire.subscribe(&self.patient.filters, limit).await;
        let filters = self.patient.filters.iter();
        let shown = filters.map(|filter| self.connect.show(filter.expose()));
        let finding = permission::judge_subscription(&answer);
        let finding = finding.fact("filters", shown.collect::<Vec<_>>().join(", "));
        notes.end(begun, finding);
    }

    async fn publish(
        &self,
        wire: &mut Wire,
        message: Option<&TestMessage>,
        notes: &mut Notebook<'_>,
    ) {
        let (Some(message), Some(outlet), Some(device)) =
            (message, &self.patient.outlet, &self.patient.device)
        else {
            return notes.note(StepName::Publish, permission::not_published());
        };
        if wire.ended.is_some() {
            return super::not_reached(
                notes,
                &[StepName::Publish],
                "the broker had closed the connection before",
            );
        }
        let begun = notes.begin(StepName::Publish);
        let (connector, topic) = (&outlet.connector, &outlet.topic);
        let uplink = message.uplink(device);
        let publish = match uplink::compose(connector, topic, wire.version(), uplink) {
            Ok(publish) => publish,
            Err(error) => return notes.end(begun, not_carried(&error.to_string())),
        };
        let limit = notes.within(self.way.limits.answer);
        let finding = match wire.publish(&publish, limit).await {
            Published::Settled(outcome) => permission::judge_publish(&outcome, wire.version()),
            Published::HungUp(words) => permission::judge_publish_hung_up(words.as_deref()),
        };
        let topic = self.connect.show(publish.topic.expose());
        notes.end(begun, finding.fact("topic", topic));
    }

    /// Looks whether somebody takes the session over. A connection that is closed without a word is opened once more: a
    /// broker that does not announce a takeover would close that one too.
    async fn watch(&self, wire: &mut Wire, limit: Duration) -> Watched {
        let Some(ending) = wire.watch(limit).await else {
            return Watched::Quiet;
        };
        if ending != Ending::Closed {
            return Watched::Ended {
                ending,
                again: None,
            };
        }
        let (again, _) = self.connect().await;
        let again = match again {
            Some(mut second) => {
                let ended = second.watch(limit).await;
                second.leave().await;
                Some(ended)
            }
            None => None,
        };
        Watched::Ended { ending, again }
    }
}

/// What became of a published message.
#[derive(Debug)]
pub(super) enum Published {
    /// The broker has answered, or did not in time.
    Settled(Outcome),
    /// The broker closed the connection over it; its words, if it had any.
    HungUp(Option<String>),
}

/// A test message that the device's connector does not carry.
pub(super) fn not_carried(problem: &str) -> Finding {
    Finding::failed(
        Cause::PublishNotCarried,
        format!("the message was not sent: {problem}"),
    )
    .hint("give a payload in the form that the platform expects, with its sub-topic where it needs one")
}

/// The outcome that an acknowledgement stands for.
pub(super) fn outcome(ack: Ack) -> Outcome {
    match ack.reason.is_error() {
        true => Outcome::Refused {
            reason: ack.reason,
            text: ack.text.map(Into::into),
        },
        false => Outcome::Delivered { reason: ack.reason },
    }
}
