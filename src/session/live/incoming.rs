//! What comes in on a connection: acknowledgements, downlinks, and the broker's goodbye.

use std::time::{Duration, Instant, SystemTime};

use tracing::{debug, warn};

use super::{End, Live};
use crate::message::{Downlink, Qos};
use crate::mqtt::codec::CodecError;
use crate::mqtt::connection::ConnectionError;
use crate::mqtt::packet::{self, Ack, AckKind, Packet};
use crate::mqtt::reason::Reason;
use crate::seldom::{Pass, Seldom};
use crate::session::outcome::Outcome;

impl Live<'_> {
    pub(super) fn receive(&mut self, packet: Packet) -> Result<(), End> {
        match packet {
            Packet::Ack(ack) => self.receive_ack(ack),
            Packet::Publish(publish) => {
                self.receive_downlink(publish);
                Ok(())
            }
            Packet::PingResp if self.probation && self.session.ledger.len() == 0 => {
                self.try_alone()
            }
            Packet::PingResp => Ok(()),
            Packet::SubAck { pkid, reasons } => {
                self.subscribed(pkid, &reasons);
                if let Some(reason) = reasons.iter().find(|reason| reason.is_error()) {
                    let what = format!(
                        "the broker refuses a subscription: {reason}; downlinks will not arrive"
                    );
                    // Each connection subscribes anew.
                    if let Some(Pass { left_out }) =
                        self.session.telling.trouble(&what, Instant::now())
                    {
                        warn!(
                            connector = %self.session.spec.connector, client_id = %self.session.shown_client_id,
                            left_out, "{what}"
                        );
                    }
                    self.session.status.note(
                        what,
                        "check what this device may subscribe to, and the profile's downlink filter",
                    );
                }
                Ok(())
            }
            Packet::UnsubAck { .. } => {
                self.unsubscribed();
                Ok(())
            }
            Packet::Disconnect { reason, text } => Err(End::Dismissed { reason, text }),
            other => {
                debug!(client_id = %self.session.shown_client_id, "unexpected packet: {other:?}");
                Err(ConnectionError::Codec(CodecError::Malformed(
                    "packet that only a client sends".to_owned(),
                ))
                .into())
            }
        }
    }

    pub(super) fn receive_ack(&mut self, ack: Ack) -> Result<(), End> {
        match ack.kind {
            AckKind::PubAck | AckKind::PubComp => self.settle(ack),
            AckKind::PubRec if ack.reason.is_error() => self.settle(ack),
            AckKind::PubRec => {
                // Unknown ones are released as well: the broker then forgets them.
                self.session.ledger.released(ack.pkid);
                self.acknowledge(AckKind::PubRel, ack.pkid)
            }
            AckKind::PubRel => self.acknowledge(AckKind::PubComp, ack.pkid),
        }
    }

    pub(super) fn settle(&mut self, ack: Ack) -> Result<(), End> {
        let Some(entry) = self.session.ledger.settled(ack.pkid) else {
            debug!(client_id = %self.session.shown_client_id, pkid = ack.pkid, "an acknowledgement for nothing in flight");
            return Ok(());
        };
        let status = &self.session.status;
        entry.settle(if ack.reason.is_error() {
            status.count(1, |counters| &counters.refused);
            Outcome::Refused {
                reason: ack.reason,
                text: ack.text.map(Into::into),
            }
        } else {
            status.count(1, |counters| &counters.delivered);
            Outcome::Delivered { reason: ack.reason }
        });
        if self.probation {
            self.end_probation()
        } else {
            Ok(())
        }
    }

    /// The link works: the message that the broker seems to hang up over is sent, and nothing else.
    pub(super) fn try_alone(&mut self) -> Result<(), End> {
        self.repeat(1)?;
        if self.session.ledger.len() == 0 {
            self.end_probation()
        } else {
            Ok(())
        }
    }

    /// It was settled, or nobody waits for it any more: the others follow.
    pub(super) fn end_probation(&mut self) -> Result<(), End> {
        self.probation = false;
        self.session.suspect.clear();
        self.repeat(usize::MAX)
    }

    pub(super) fn receive_downlink(&mut self, publish: packet::Publish) {
        let owed = match publish.qos {
            Qos::AtMostOnce => None,
            Qos::AtLeastOnce => Some((AckKind::PubAck, publish.pkid)),
            Qos::ExactlyOnce => Some((AckKind::PubRec, publish.pkid)),
        };
        if let Some(device) = self.session.spec.routes.find_ack(&publish.topic) {
            self.shared.acks.answered(device, publish.payload);
            return self.inbox.push(None, owed);
        }
        // Left to the next connection: otherwise a steady flow would hold up the end of this one, or arrive twice.
        if self.drain.is_some() && owed.is_some() && self.session.spec.connect.session_expiry > 0 {
            return;
        }
        let downlink = match self.session.spec.routes.find(&publish.topic) {
            Some((device, topic)) => {
                self.session.status.count(1, |counters| &counters.downlinks);
                Some(Downlink {
                    device: device.clone(),
                    topic: topic.into(),
                    payload: publish.payload,
                    content_type: publish.content_type.map(Into::into),
                    qos: publish.qos,
                    retained: publish.retain,
                    received_at: SystemTime::now(),
                })
            }
            None if self.unsubscribes > 0 => {
                debug!(client_id = %self.session.shown_client_id, "a downlink for a device that has just left");
                None
            }
            None => {
                static SAID: Seldom = Seldom::every(Duration::from_secs(60));
                if let Some(Pass { left_out }) = SAID.pass() {
                    warn!(
                        client_id = %self.session.shown_client_id, left_out,
                        "a downlink on a topic of no registered device"
                    );
                }
                None
            }
        };
        self.inbox.push(downlink, owed);
    }

    pub(super) fn acknowledge(&mut self, kind: AckKind, pkid: u16) -> Result<(), End> {
        let ack = Ack {
            kind,
            pkid,
            reason: Reason::SUCCESS,
            text: None,
        };
        Ok(self.connection.queue(&Packet::Ack(ack))?)
    }
}
