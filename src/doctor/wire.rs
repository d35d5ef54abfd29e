//! An MQTT connection in the hands of an examination: it asks, reads on until the answer comes, and acknowledges nothing.

use std::time::{Duration, Instant};

use super::alone::{Published, outcome};
use super::permission::Subscribed;
use super::report::{Cause, Finding};
use crate::broker::MqttVersion;
use crate::message::Qos;
use crate::mqtt::codec::PublishParts;
use crate::mqtt::connection::Connection;
use crate::mqtt::packet::{AckKind, Packet};
use crate::mqtt::reason::Reason;
use crate::session::{Outcome, Publish};
use crate::topic::TopicFilter;

/// How long the last bytes may take to go out.
const CLOSE: Duration = Duration::from_secs(2);

/// How a connection ended without our wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// The broker said why (MQTT 5).
    Dismissed(Reason, Option<String>),
    /// It was closed without a word.
    Closed,
}

impl Ending {
    /// The broker's words, if it had any.
    pub(super) fn words(&self) -> Option<String> {
        match self {
            Self::Dismissed(reason, Some(text)) => Some(format!("{reason} ({text})")),
            Self::Dismissed(reason, None) => Some(reason.to_string()),
            Self::Closed => None,
        }
    }
}

/// A connection on which CONNECT was answered well.
pub(super) struct Wire {
    connection: Connection,
    keep_alive: Duration,
    next_pkid: u16,
    /// How it ended, once it has.
    pub(super) ended: Option<Ending>,
    /// Downlinks that came and were not acknowledged: they come again.
    kept: u64,
    /// QoS 0 downlinks that came: nobody else gets them.
    lost: u64,
}

impl Wire {
    pub(super) fn new(connection: Connection, keep_alive: u16) -> Self {
        Self {
            connection,
            keep_alive: Duration::from_secs(keep_alive.into()),
            next_pkid: 1,
            ended: None,
            kept: 0,
            lost: 0,
        }
    }

    pub(super) fn version(&self) -> MqttVersion {
        self.connection.codec().version
    }

    /// Asks for subscriptions.
    pub(super) async fn subscribe(
        &mut self,
        filters: &[TopicFilter],
        limit: Duration,
    ) -> Subscribed {
        let filters = filters
            .iter()
            .map(|filter| (filter.expose().to_owned(), Qos::AtLeastOnce));
        let filters = filters.collect();
        let pkid = self.pkid();
        self.queue(&Packet::Subscribe { pkid, filters });
        let answer = self.answer(limit, |packet| match packet {
            Packet::SubAck { pkid: of, reasons } if *of == pkid => Some(reasons.clone()),
            _ => None,
        });
        match answer.await {
            Some(reasons) => Subscribed::Answered(reasons),
            None => match &self.ended {
                Some(ending) => Subscribed::HungUp(ending.words()),
                None => Subscribed::Silent,
            },
        }
    }

    /// Sends one message and waits for what the broker says to it.
    pub(super) async fn publish(&mut self, publish: &Publish, limit: Duration) -> Published {
        let pkid = self.pkid();
        let content_type = publish.content_type.as_ref();
        let parts = PublishParts {
            dup: false,
            qos: publish.qos,
            retain: publish.retain,
            topic: publish.topic.expose(),
            pkid,
            payload: &publish.payload,
            content_type: content_type.map(|content_type| content_type.as_str()),
            expiry: None,
            user_property: None,
        };
        let _ = self.connection.queue_publish(parts);
        if publish.qos == Qos::AtMostOnce {
            // Whether it went out shows when the broker answers what comes behind it.
            self.queue(&Packet::PingReq);
            let _ = self
                .answer(limit, |packet| {
                    matches!(packet, Packet::PingResp).then_some(())
                })
                .await;
            return match &self.ended {
                Some(ending) => Published::HungUp(ending.words()),
                None => Published::Settled(Outcome::Sent),
            };
        }
        let answer = self.answer(limit, |packet| match packet {
            Packet::Ack(ack) if ack.pkid == pkid && ack.kind != AckKind::PubRel => {
                Some(ack.clone())
            }
            _ => None,
        });
        match (answer.await, &self.ended) {
            (Some(ack), _) => Published::Settled(outcome(ack)),
            (None, Some(ending)) => Published::HungUp(ending.words()),
            (None, None) => Published::Settled(Outcome::Unconfirmed),
        }
    }

    /// Stays on the connection for a while; how it ended, if it did.
    pub(super) async fn watch(&mut self, limit: Duration) -> Option<Ending> {
        let _ = self.answer(limit, |_| None::<()>).await;
        self.ended.take()
    }

    /// What the device's downlinks have to do with it.
    pub(super) fn touched(&self, finding: Finding) -> Finding {
        let finding = match self.kept {
            0 => finding,
            count => finding.fact(
                "downlinks",
                format!(
                    "{count} came and were not acknowledged: the broker keeps them for the bridge"
                ),
            ),
        };
        match self.lost {
            0 => finding,
            count => {
                let lost = format!(
                    "{count} with QoS 0 came meanwhile, which no broker keeps: they are lost"
                );
                let finding = finding.fact("lost downlinks", &lost);
                match finding.cause {
                    Some(_) => finding,
                    None => Finding {
                        verdict: super::report::Verdict::Warning,
                        cause: Some(Cause::DownlinksTouched),
                        ..finding
                    },
                }
            }
        }
    }

    /// Says goodbye.
    pub(super) async fn leave(mut self) {
        if self.ended.is_none() {
            self.queue(&Packet::Disconnect {
                reason: Reason::SUCCESS,
                text: None,
            });
            self.connection.close(CLOSE).await;
        }
    }

    /// Reads until something is what is looked for, the connection ends, or the time is over.
    async fn answer<T>(
        &mut self,
        limit: Duration,
        mut wanted: impl FnMut(&Packet) -> Option<T>,
    ) -> Option<T> {
        let until = Instant::now() + limit;
        while self.ended.is_none() {
            match self.connection.next_packet() {
                Ok(Some(packet)) => {
                    if let Some(found) = wanted(&packet) {
                        return Some(found);
                    }
                    self.take(packet);
                    continue;
                }
                Ok(None) => {}
                Err(_) => {
                    self.ended = Some(Ending::Closed);
                    break;
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let ping = self.next_ping();
            match tokio::time::timeout(left.min(ping), self.connection.progress()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => self.ended = Some(Ending::Closed),
                Err(_) if left > ping => self.queue(&Packet::PingReq),
                Err(_) => break,
            }
        }
        None
    }

    fn take(&mut self, packet: Packet) {
        match packet {
            Packet::Publish(publish) if publish.qos == Qos::AtMostOnce => self.lost += 1,
            Packet::Publish(_) => self.kept += 1,
            Packet::Disconnect { reason, text } => {
                self.ended = Some(Ending::Dismissed(reason, text));
            }
            _ => {}
        }
    }

    /// When the broker has to hear something again.
    fn next_ping(&self) -> Duration {
        if self.keep_alive.is_zero() {
            return Duration::MAX;
        }
        let idle = self.connection.last_write().elapsed();
        let least = Duration::from_millis(100);
        self.keep_alive.saturating_sub(idle).max(least)
    }

    fn queue(&mut self, packet: &Packet) {
        if self.connection.queue(packet).is_err() {
            self.ended = Some(Ending::Closed);
        }
    }

    fn pkid(&mut self) -> u16 {
        let pkid = self.next_pkid;
        self.next_pkid += 1;
        pkid
    }
}
