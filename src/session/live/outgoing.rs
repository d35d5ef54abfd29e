//! What goes out on a connection: uplinks as far as the window and the broker's limits let them, repeated ones first.

use std::time::Instant;

use super::{End, Live};
use crate::broker::MqttVersion;
use crate::message::Qos;
use crate::mqtt::codec::PublishParts;
use crate::mqtt::connection::Connection;
use crate::mqtt::packet::{AckKind, ConnAck};
use crate::session::handle::Command;
use crate::session::outcome::{NotSent, Outcome, Publish};
use crate::session::ticket::Entry;

/// What the broker takes, as far as it has said so.
pub(super) struct Limits {
    pub(super) version: MqttVersion,
    pub(super) window: usize,
    pub(super) max_packet: usize,
    pub(super) max_qos: Qos,
    pub(super) retain: bool,
}

impl Limits {
    pub(super) fn of(connection: &Connection, window: usize, ack: &ConnAck) -> Self {
        Self {
            version: connection.codec().version,
            window: window.min(ack.receive_maximum.unwrap_or(u16::MAX).max(1).into()),
            max_packet: ack
                .max_packet_size
                .map_or(usize::MAX, |limit| limit as usize),
            max_qos: ack
                .max_qos
                .and_then(Qos::from_level)
                .unwrap_or(Qos::ExactlyOnce),
            retain: ack.retain_available.unwrap_or(true),
        }
    }
}

impl Live<'_> {
    /// Sends again what the last connection left unsettled, at the most so many.
    pub(super) fn repeat(&mut self, most: usize) -> Result<(), End> {
        let same = self.same_session;
        let mut repeated = 0;
        while repeated < most
            && let Some(mut sent) = self.session.repeat.pop_front()
        {
            if same && sent.released {
                self.acknowledge(AckKind::PubRel, sent.pkid)?;
            } else if let Some(at) = sent.entry.publish().expires_at
                && at <= Instant::now()
            {
                sent.entry.settle(Outcome::Expired);
                continue;
            } else if !sent.entry.mark_sent() {
                continue;
            } else {
                sent.released = false;
                if !same {
                    sent.pkid = self.session.ledger.next_pkid();
                }
                self.connection
                    .queue_publish(parts(sent.entry.publish(), sent.pkid, same))?;
            }
            self.session.ledger.repeated(sent);
            repeated += 1;
        }
        let status = &self.session.status;
        status.count(repeated, |counters| &counters.repeated);
        Ok(())
    }

    pub(super) fn has_room(&self) -> bool {
        self.drain.is_none()
            && !self.probation
            && self.turn_at.is_none_or(|turn| turn <= Instant::now())
            && self.session.ledger.len() < self.limits.window
            && !self.connection.is_congested()
    }

    /// Sends everything that is ready, so that many messages share one write.
    pub(super) fn fill(&mut self) -> Result<(), End> {
        while self.has_room() {
            let entry = match self.session.held.pop_front() {
                Some(entry) => entry,
                None => match self.session.commands.try_recv() {
                    Ok(Command::Publish(entry)) => entry,
                    Ok(Command::Connect | Command::Retry) => continue,
                    Err(_) => return Ok(()),
                },
            };
            if self.must_wait(&entry) {
                self.session.held.push_front(entry);
                return Ok(());
            }
            self.send(entry)?;
        }
        Ok(())
    }

    /// Whether the connector's pace holds a message back, and so everything behind it: the order goes before.
    fn must_wait(&mut self, entry: &Entry) -> bool {
        let Some(pace) = &self.session.spec.pace else {
            return false;
        };
        if !entry.is_patient() {
            return false;
        }
        let now = Instant::now();
        let turn = self.turn_at.take().unwrap_or_else(|| pace.turn(now));
        self.turn_at = (turn > now).then_some(turn);
        self.turn_at.is_some()
    }

    pub(super) fn send(&mut self, entry: Entry) -> Result<(), End> {
        if let Some(why) = self.obstacle(entry.publish()) {
            entry.settle(Outcome::NotSent(why));
            return Ok(());
        }
        let publish = entry.publish();
        if publish.expires_at.is_some_and(|at| at <= Instant::now()) {
            entry.settle(Outcome::Expired);
            return Ok(());
        }
        if !entry.mark_sent() {
            return Ok(());
        }
        if publish.qos == Qos::AtMostOnce {
            self.connection.queue_publish(parts(publish, 0, false))?;
            self.session.status.count(1, |counters| &counters.delivered);
            entry.settle(Outcome::Sent);
            return Ok(());
        }
        let pkid = self.session.ledger.next_pkid();
        self.connection.queue_publish(parts(publish, pkid, false))?;
        self.session.ledger.sent(pkid, entry);
        Ok(())
    }

    /// Why the broker would not take this message, as far as it has said so.
    pub(super) fn obstacle(&self, publish: &Publish) -> Option<NotSent> {
        if publish.qos > self.limits.max_qos {
            return Some(NotSent::Qos {
                highest: self.limits.max_qos.level(),
            });
        }
        if publish.retain && !self.limits.retain {
            return Some(NotSent::Retain);
        }
        if self.limits.version == MqttVersion::V311
            && let Some(given) = &publish.content_type
            && !self
                .session
                .spec
                .content_types_v3
                .iter()
                .any(|rule| rule.takes(given))
        {
            return Some(NotSent::ContentType);
        }
        let size = || {
            self.connection
                .codec()
                .publish_size(&parts(publish, 1, false))
        };
        if self.limits.max_packet < usize::MAX && size() > self.limits.max_packet {
            return Some(NotSent::TooLarge {
                limit: self.limits.max_packet,
            });
        }
        None
    }
}

fn parts(publish: &Publish, pkid: u16, dup: bool) -> PublishParts<'_> {
    PublishParts {
        dup,
        qos: publish.qos,
        retain: publish.retain,
        topic: publish.topic.expose(),
        pkid,
        payload: &publish.payload,
        content_type: publish
            .content_type
            .as_ref()
            .map(|content_type| content_type.as_str()),
        expiry: publish.expires_at.map(seconds_left),
        user_property: publish
            .traceparent
            .as_deref()
            .map(|value| ("traceparent", value)),
    }
}

/// MQTT counts whole seconds; a message that has a part of one left has one.
fn seconds_left(expires_at: Instant) -> u32 {
    let left = expires_at.saturating_duration_since(Instant::now());
    u32::try_from(left.as_millis().div_ceil(1000))
        .unwrap_or(u32::MAX)
        .max(1)
}
