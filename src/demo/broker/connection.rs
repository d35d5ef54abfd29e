//! One client's connection, from its first byte to its last.

use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::faults::{AckMode, Moment};
use super::gate::{Access, Action, Refusal};
use super::handshake::{RECEIVE_MAXIMUM, Welcome, handshake};
use super::hub::Hub;
use super::session::{Message, Outgoing};
use super::sessions::{Attachment, Ending};
use super::verdict::{RefusedPublish, refused_publish, refused_subscription};
use super::wire::{Wire, WireError};
use crate::broker::MqttVersion;
use crate::message::Qos;
use crate::mqtt::codec::{CodecError, PublishParts};
use crate::mqtt::packet::{Ack, AckKind, Packet, Publish};
use crate::mqtt::reason::Reason;
use crate::topic::{TopicFilter, TopicName};

/// A client that has not sent its CONNECT by then is given up.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Serves one client until it goes or is sent away.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    hub: &Hub,
    certificate: Option<CertificateDer<'static>>,
) {
    let mut wire = Wire::new(stream);
    let hello = timeout(
        CONNECT_TIME,
        handshake(&mut wire, hub, certificate.as_ref()),
    );
    let welcome = tokio::select! {
        hello = hello => hello,
        () = hub.shutdown.cancelled() => return,
    };
    match welcome {
        Ok(Ok(Some(welcome))) => Connection::new(wire, hub, welcome).run().await,
        Ok(Ok(None)) => wire.close().await,
        Ok(Err(error)) => tracing::debug!(%error, "a client did not connect"),
        Err(_) => tracing::debug!("a client did not connect in time"),
    }
}

/// Why a connection ends.
enum End {
    /// The client said good-bye, or has gone.
    Gone,
    /// The broker ends it.
    Sent(Ending),
}

struct Connection<'a, S> {
    wire: Wire<S>,
    hub: &'a Hub,
    access: Box<dyn Access>,
    attachment: Attachment,
    client_id: String,
    /// Acknowledgements that a fault keeps back.
    held: Vec<Ack>,
    /// Publishes without an acknowledgement, in any way.
    unacknowledged: usize,
    /// How many the client takes at once.
    window: usize,
    /// Largest packet that the client takes, in bytes.
    max_outgoing: usize,
    silence_allowed: Option<Duration>,
    until: Option<Instant>,
    faults_changed: watch::Receiver<u64>,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Connection<'a, S> {
    fn new(wire: Wire<S>, hub: &'a Hub, welcome: Welcome) -> Self {
        let Welcome {
            connect,
            admission,
            attachment,
        } = welcome;
        let until = admission.until.map(|until| {
            let left = until.duration_since(SystemTime::now());
            Instant::now() + left.unwrap_or_default()
        });
        // One and a half times the interval (MQTT 5 §3.1.2.10).
        let silence = Duration::from_secs(connect.keep_alive.into()) * 3 / 2;
        Self {
            wire,
            hub,
            access: admission.access,
            attachment,
            client_id: connect.client_id,
            held: Vec::new(),
            unacknowledged: 0,
            window: connect.receive_maximum.into(),
            max_outgoing: connect.max_packet_size as usize,
            silence_allowed: (!silence.is_zero()).then_some(silence),
            until,
            faults_changed: hub.faults.watch(),
        }
    }

    async fn run(mut self) {
        let end = match self.converse().await {
            Ok(end) => end,
            Err(WireError::Io(_)) => End::Gone,
            Err(WireError::Codec(error)) => {
                tracing::debug!(client_id = self.client_id, %error, "a client broke the protocol");
                End::Sent(Ending::Say(match error {
                    CodecError::TooLarge { .. } => Reason::PACKET_TOO_LARGE,
                    CodecError::Malformed(_) => Reason::PROTOCOL_ERROR,
                }))
            }
        };
        self.hub
            .sessions
            .detach(&self.attachment, Instant::now().into_std());
        match end {
            End::Sent(Ending::Cut) => return,
            // With 3.1.1 only a client disconnects (§3.14).
            End::Sent(Ending::Say(reason)) if self.wire.version() == MqttVersion::V5 => {
                let _ = self.wire.push(&Packet::Disconnect { reason, text: None });
            }
            _ => {}
        }
        self.wire.close().await;
    }

    async fn converse(&mut self) -> Result<End, WireError> {
        let mut last_heard = Instant::now();
        loop {
            self.release_held()?;
            while let Some(packet) = self.wire.next()? {
                if let Some(end) = self.handle(packet)? {
                    return Ok(end);
                }
            }
            self.send_messages()?;
            self.wire.flush().await?;
            let silence_ends = self.silence_allowed.map(|allowed| last_heard + allowed);
            tokio::select! {
                filled = self.wire.fill() => {
                    filled?;
                    last_heard = Instant::now();
                }
                () = self.attachment.wake.notified() => {}
                _ = self.faults_changed.changed() => {}
                Ok(ending) = ended(&mut self.attachment.end) => return Ok(End::Sent(ending)),
                () = at(self.until) => {
                    return Ok(End::Sent(Ending::Say(Reason::MAXIMUM_CONNECT_TIME)));
                }
                () = at(silence_ends) => {
                    return Ok(End::Sent(Ending::Say(Reason::KEEP_ALIVE_TIMEOUT)));
                }
                () = self.hub.shutdown.cancelled() => {
                    return Ok(End::Sent(Ending::Say(Reason::SERVER_SHUTTING_DOWN)));
                }
            }
        }
    }

    fn handle(&mut self, packet: Packet) -> Result<Option<End>, WireError> {
        match packet {
            Packet::Publish(publish) => return self.publish(publish),
            Packet::Ack(ack) if ack.kind == AckKind::PubAck => {
                self.hub.sessions.acknowledged(&self.attachment, ack.pkid);
            }
            Packet::Subscribe { pkid, filters } => {
                let reasons = filters.into_iter();
                let reasons = reasons.map(|(filter, qos)| self.subscribe(&filter, qos));
                let reasons = reasons.collect();
                self.wire.push(&Packet::SubAck { pkid, reasons })?;
            }
            Packet::Unsubscribe { pkid, filters } => {
                for filter in &filters {
                    self.hub.sessions.unsubscribe(&self.attachment, filter);
                }
                self.wire.push(&Packet::UnsubAck { pkid })?;
            }
            Packet::PingReq => self.wire.push(&Packet::PingResp)?,
            Packet::Disconnect { .. } => return Ok(Some(End::Gone)),
            _ => return Ok(Some(End::Sent(Ending::Say(Reason::PROTOCOL_ERROR)))),
        }
        Ok(None)
    }

    fn publish(&mut self, publish: Publish) -> Result<Option<End>, WireError> {
        if publish.qos == Qos::ExactlyOnce {
            return Ok(Some(End::Sent(Ending::Say(Reason::QOS_NOT_SUPPORTED))));
        }
        if publish.qos == Qos::AtLeastOnce {
            self.unacknowledged += 1;
            if self.unacknowledged > RECEIVE_MAXIMUM.into()
                && self.wire.version() == MqttVersion::V5
            {
                // 0x93, receive maximum exceeded.
                return Ok(Some(End::Sent(Ending::Say(Reason(0x93)))));
            }
        }
        let closes = self.hub.faults.closes_now();
        if closes == Some(Moment::BeforeTaking) {
            return Ok(Some(End::Sent(Ending::Cut)));
        }
        let taken = self.take(&publish);
        if closes == Some(Moment::AfterTaking) {
            return Ok(Some(End::Sent(Ending::Cut)));
        }
        let answer = match taken {
            Ok(()) if publish.qos == Qos::AtMostOnce => RefusedPublish::Silence,
            Ok(()) => RefusedPublish::Ack(Reason::SUCCESS),
            Err(refusal) => {
                let answer = refused_publish(self.wire.version(), publish.qos, refusal.reason);
                self.hub.note(&self.client_id, Action::Publish, refusal);
                answer
            }
        };
        match answer {
            RefusedPublish::Silence => {}
            RefusedPublish::Ack(reason) => self.acknowledge(Ack {
                kind: AckKind::PubAck,
                pkid: publish.pkid,
                reason,
                text: None,
            })?,
            RefusedPublish::Close => {
                return Ok(Some(End::Sent(Ending::Say(Reason::NOT_AUTHORIZED))));
            }
        }
        Ok(None)
    }

    fn take(&mut self, publish: &Publish) -> Result<(), Refusal> {
        if let Some(reason) = self.hub.faults.refuses_publish(&publish.topic) {
            return Err(Refusal::new(
                reason,
                "publishes like this one are refused at the moment",
            ));
        }
        TopicName::parse(&publish.topic)
            .map_err(|error| Refusal::new(Reason::TOPIC_NAME_INVALID, error.to_string()))?;
        let replies = self.access.take(publish, self.wire.version())?;
        if !self.hub.faults.sends_replies() {
            return Ok(());
        }
        for reply in replies {
            let message = Message {
                topic: reply.topic,
                payload: reply.payload,
                content_type: None,
            };
            let now = Instant::now().into_std();
            self.hub.sessions.route(&message, now);
        }
        Ok(())
    }

    fn subscribe(&mut self, filter: &str, qos: Qos) -> Reason {
        let parsed = TopicFilter::parse(filter).map_err(|error| {
            // 0x8F, topic filter invalid.
            Refusal::new(Reason(0x8F), error.to_string())
        });
        let allowed = parsed.and_then(|f| self.access.may_subscribe(&f).map(|()| f));
        match allowed {
            Ok(filter) => {
                let granted = qos.min(Qos::AtLeastOnce);
                self.hub
                    .sessions
                    .subscribe(&self.attachment, filter, granted);
                Reason(granted.level())
            }
            Err(refusal) => {
                let reason = refused_subscription(self.wire.version(), refusal.reason);
                self.hub.note(&self.client_id, Action::Subscribe, refusal);
                reason
            }
        }
    }

    /// Acknowledgements leave in the order of their publishes (MQTT 5 §4.6), also after a fault held some back.
    fn acknowledge(&mut self, ack: Ack) -> Result<(), WireError> {
        match self.hub.faults.ack_mode() {
            AckMode::Drop => {}
            AckMode::Hold => self.held.push(ack),
            AckMode::Send => {
                self.held.push(ack);
                self.release_held()?;
            }
        }
        Ok(())
    }

    fn release_held(&mut self) -> Result<(), WireError> {
        if self.held.is_empty() || self.hub.faults.ack_mode() != AckMode::Send {
            return Ok(());
        }
        for ack in std::mem::take(&mut self.held) {
            self.unacknowledged -= 1;
            self.wire.push(&Packet::Ack(ack))?;
        }
        Ok(())
    }

    fn send_messages(&mut self) -> Result<(), WireError> {
        while let Some(out) = self.hub.sessions.next(&self.attachment, self.window) {
            let parts = publish_parts(&out);
            // A packet that the client does not take is as good as acknowledged (MQTT 5 §3.1.2.11.4).
            if self.wire.publish_size(&parts) > self.max_outgoing {
                self.hub.sessions.acknowledged(&self.attachment, out.pkid);
                continue;
            }
            self.wire.push_publish(parts)?;
        }
        Ok(())
    }
}

fn publish_parts(out: &Outgoing) -> PublishParts<'_> {
    PublishParts {
        dup: out.dup,
        qos: out.qos,
        retain: false,
        topic: &out.message.topic,
        pkid: out.pkid,
        payload: &out.message.payload,
        content_type: out.message.content_type.as_deref(),
        expiry: None,
        user_property: None,
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn ended(
    end: &mut watch::Receiver<Option<Ending>>,
) -> Result<Ending, watch::error::RecvError> {
    let ending = *end.wait_for(Option::is_some).await?;
    Ok(ending.unwrap_or(Ending::Cut))
}
