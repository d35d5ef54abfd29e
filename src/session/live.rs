//! One connection while it lives: the window, keep-alive, the watchdog, renewal and the polite end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use tracing::{debug, warn};

use super::backoff::{Close, Ended, renewal};
use super::handle::{Command, Entry};
use super::inbox::Inbox;
use super::outcome::{NotSent, Outcome, Publish};
use super::spec::Shared;
use super::task::Session;
use crate::broker::MqttVersion;
use crate::message::{Downlink, Qos};
use crate::mqtt::codec::{CodecError, PublishParts};
use crate::mqtt::connection::{Connection, ConnectionError};
use crate::mqtt::packet::{self, Ack, AckKind, ConnAck, Packet};
use crate::mqtt::reason::Reason;

/// A broker that has not confirmed anything for this long, nor said anything else, is asked whether it is there.
const STALL: Duration = Duration::from_secs(5);
/// How long it may then be silent before the connection counts as dead.
const PING_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection that is to be renewed or closed waits for what is in flight.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// How long the last bytes may take to go out.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// Filters in one SUBSCRIBE.
const FILTERS_PER_SUBSCRIBE: usize = 100;

/// Lives on a connection until it ends. What is unsettled then stays in the session's ledger.
pub(super) async fn run(
    session: &mut Session,
    connection: Connection,
    ack: &ConnAck,
    lifetime: Option<Duration>,
    shared: &Shared,
) -> Ended {
    let keep_alive = Duration::from_secs(
        ack.server_keep_alive
            .unwrap_or(session.spec.keep_alive)
            .into(),
    );
    let now = Instant::now();
    let mut live = Live {
        inbox: Inbox::new(Arc::clone(&shared.downlinks), Arc::clone(&session.status)),
        limits: Limits::of(&connection, session.spec.window, ack),
        session,
        connection,
        shared,
        keep_alive,
        renew_at: lifetime.map(|lifetime| now + renewal(lifetime, rand::random())),
        pinged_at: None,
        drain: None,
        subscribes: 0,
        same_session: false,
        probation: false,
    };
    let ended = match live.begin(ack.session_present) {
        Ok(()) => live.turn().await,
        Err(error) => Err(error),
    };
    match ended {
        Ok(ended) => {
            let _ = live.connection.queue(&Packet::Disconnect {
                reason: Reason::SUCCESS,
                text: None,
            });
            live.connection.close(CLOSE_LIMIT).await;
            ended
        }
        Err(End::Dismissed { reason, text }) => Ended::Dismissed {
            reason,
            text: text.map(Into::into),
        },
        Err(End::Connection(error)) => Ended::Lost {
            what: error.to_string(),
            hint: "the bridge connects again by itself",
            close: match error.is_closed_by_peer() {
                true if live.session.ledger.len() == 0 => Close::WhileIdle,
                true => Close::WithMessages,
                false => Close::Failed,
            },
        },
        Err(End::Silent) => Ended::Lost {
            what: "the broker has gone silent".to_owned(),
            hint: "the link is cut or the broker hangs; the bridge connects again by itself",
            close: Close::Failed,
        },
        Err(End::Overrun) => Ended::Lost {
            what: "more downlinks came than can be stored at the moment".to_owned(),
            hint: "the broker keeps them; see to the store: is its disk full, or slow?",
            close: Close::Failed,
        },
    }
}

/// What the broker takes, as far as it has said so.
struct Limits {
    version: MqttVersion,
    window: usize,
    max_packet: usize,
    max_qos: Qos,
    retain: bool,
}

impl Limits {
    fn of(connection: &Connection, window: usize, ack: &ConnAck) -> Self {
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

/// Why a connection is being drained.
struct Drain {
    until: Instant,
    /// The downlinks that had come before, and are acknowledged before the end.
    downlinks: u64,
    then: Ended,
}

/// How a connection ended without our wish.
enum End {
    Connection(ConnectionError),
    Dismissed {
        reason: Reason,
        text: Option<String>,
    },
    Silent,
    Overrun,
}

impl From<ConnectionError> for End {
    fn from(error: ConnectionError) -> Self {
        Self::Connection(error)
    }
}

impl From<CodecError> for End {
    fn from(error: CodecError) -> Self {
        Self::Connection(error.into())
    }
}

struct Live<'a> {
    session: &'a mut Session,
    connection: Connection,
    shared: &'a Shared,
    limits: Limits,
    inbox: Inbox,
    keep_alive: Duration,
    renew_at: Option<Instant>,
    pinged_at: Option<Instant>,
    drain: Option<Drain>,
    /// SUBSCRIBEs that the broker has not answered.
    subscribes: usize,
    /// The broker still has the session that the repeated messages were sent in.
    same_session: bool,
    /// The first message to repeat is sent alone, once the broker has answered a ping; see `suspect`.
    probation: bool,
}

impl Live<'_> {
    /// Subscribes, and sends again what the last connection left unsettled, before anything new.
    fn begin(&mut self, session_present: bool) -> Result<(), End> {
        // The old identifiers are only good in the old session, and must all fit into the window again.
        self.same_session = session_present && self.session.repeat.len() <= self.limits.window;
        let first = self
            .session
            .repeat
            .front()
            .map(|sent| sent.entry.slip.identity());
        self.probation = first.is_some_and(|first| self.session.suspect.on_probation(first));
        if self.probation {
            // Nothing is sent before the link is proven to work; see `suspect`.
            self.connection.queue(&Packet::PingReq)?;
        } else {
            self.repeat(usize::MAX)?;
        }
        for filters in self
            .session
            .spec
            .routes
            .filters()
            .chunks(FILTERS_PER_SUBSCRIBE)
        {
            let filters = filters
                .iter()
                .map(|filter| (filter.expose().to_owned(), Qos::AtLeastOnce))
                .collect();
            let pkid = self.session.ledger.next_pkid();
            self.connection
                .queue(&Packet::Subscribe { pkid, filters })?;
            self.subscribes += 1;
        }
        if self.subscribes == 0 {
            self.session.status.subscribed();
        }
        Ok(())
    }

    /// Sends again what the last connection left unsettled, at the most so many.
    fn repeat(&mut self, most: usize) -> Result<(), End> {
        let same = self.same_session;
        let mut repeated = 0;
        while repeated < most
            && let Some(mut sent) = self.session.repeat.pop_front()
        {
            if same && sent.released {
                self.acknowledge(AckKind::PubRel, sent.pkid)?;
            } else if let Some(at) = sent.entry.publish.expires_at
                && at <= Instant::now()
            {
                sent.entry.slip.settle(Outcome::Expired);
                continue;
            } else if !sent.entry.slip.mark_sent() {
                continue;
            } else {
                sent.released = false;
                if !same {
                    sent.pkid = self.session.ledger.next_pkid();
                }
                self.connection
                    .queue_publish(parts(&sent.entry.publish, sent.pkid, same))?;
            }
            self.session.ledger.repeated(sent);
            repeated += 1;
        }
        let counter = &self.session.status.counters.repeated;
        counter.fetch_add(repeated as u64, Ordering::Relaxed);
        Ok(())
    }

    async fn turn(&mut self) -> Result<Ended, End> {
        let shutdown = self.shared.shutdown.clone();
        let ending = shutdown.cancelled();
        let mut alarm_at = self.next_alarm();
        let alarm = tokio::time::sleep_until(alarm_at.into());
        tokio::pin!(ending, alarm);
        loop {
            while self.inbox.has_room()
                && let Some(packet) = self.connection.next_packet()?
            {
                self.receive(packet)?;
            }
            self.inbox.hand_over();
            self.fill()?;
            let in_flight = self.session.ledger.len();
            self.session
                .status
                .in_flight
                .store(in_flight as u64, Ordering::Relaxed);
            let is_settled =
                |drain: &mut Drain| in_flight == 0 && self.inbox.has_finished(drain.downlinks);
            if let Some(drain) = self.drain.take_if(is_settled) {
                return Ok(drain.then);
            }
            // The alarm is set far ahead while nothing is in flight, and only moved closer here: once per idle period,
            // not once per message.
            if self
                .session
                .ledger
                .oldest()
                .is_some_and(|oldest| oldest + STALL < alarm_at)
            {
                alarm_at = self.next_alarm();
                alarm.as_mut().reset(alarm_at.into());
            }
            tokio::select! {
                biased;
                owed = self.inbox.taken() => {
                    for (kind, pkid) in owed {
                        self.acknowledge(kind, pkid)?;
                    }
                }
                progress = self.connection.progress(), if self.inbox.has_room() => progress?,
                command = self.session.commands.recv(), if self.has_room() => match command {
                    Some(Command::Publish(entry)) => self.send(entry)?,
                    Some(Command::Connect) => {}
                    // Every handle is gone, and with them everybody who could want something.
                    None => self.start_drain(Ended::Shutdown),
                },
                () = &mut alarm => {
                    if let Some(ended) = self.alarm()? {
                        return Ok(ended);
                    }
                    alarm_at = self.next_alarm();
                    alarm.as_mut().reset(alarm_at.into());
                }
                () = &mut ending, if !matches!(self.drain, Some(Drain { then: Ended::Shutdown, .. })) => {
                    self.start_drain(Ended::Shutdown);
                    alarm_at = self.next_alarm();
                    alarm.as_mut().reset(alarm_at.into());
                }
            }
        }
    }

    fn has_room(&self) -> bool {
        self.drain.is_none()
            && !self.probation
            && self.session.ledger.len() < self.limits.window
            && !self.connection.is_congested()
    }

    /// Sends everything that is ready, so that many messages share one write.
    fn fill(&mut self) -> Result<(), End> {
        while self.has_room() {
            let entry = match self.session.held.pop_front() {
                Some(entry) => entry,
                None => match self.session.commands.try_recv() {
                    Ok(Command::Publish(entry)) => entry,
                    Ok(Command::Connect) => continue,
                    Err(_) => return Ok(()),
                },
            };
            self.send(entry)?;
        }
        Ok(())
    }

    fn send(&mut self, entry: Entry) -> Result<(), End> {
        if let Some(why) = self.obstacle(&entry.publish) {
            entry.slip.settle(Outcome::NotSent(why));
            return Ok(());
        }
        if entry
            .publish
            .expires_at
            .is_some_and(|at| at <= Instant::now())
        {
            entry.slip.settle(Outcome::Expired);
            return Ok(());
        }
        if !entry.slip.mark_sent() {
            return Ok(());
        }
        if entry.publish.qos == Qos::AtMostOnce {
            self.connection
                .queue_publish(parts(&entry.publish, 0, false))?;
            self.session
                .status
                .counters
                .delivered
                .fetch_add(1, Ordering::Relaxed);
            entry.slip.settle(Outcome::Sent);
            return Ok(());
        }
        let pkid = self.session.ledger.next_pkid();
        self.connection
            .queue_publish(parts(&entry.publish, pkid, false))?;
        self.session.ledger.sent(pkid, entry);
        Ok(())
    }

    /// Why the broker would not take this message, as far as it has said so.
    fn obstacle(&self, publish: &Publish) -> Option<NotSent> {
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

    fn receive(&mut self, packet: Packet) -> Result<(), End> {
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
            Packet::SubAck { reasons, .. } => {
                self.subscribes = self.subscribes.saturating_sub(1);
                if self.subscribes == 0 {
                    self.session.status.subscribed();
                }
                if let Some(reason) = reasons.iter().find(|reason| reason.is_error()) {
                    warn!(
                        connector = %self.session.spec.connector, client_id = %self.session.shown_client_id,
                        "the broker refuses a subscription: {reason}"
                    );
                    self.session.status.note(
                        format!("the broker refuses a subscription: {reason}; downlinks will not arrive"),
                        "check what this device may subscribe to, and the profile's downlink filter",
                    );
                }
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

    fn receive_ack(&mut self, ack: Ack) -> Result<(), End> {
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

    fn settle(&mut self, ack: Ack) -> Result<(), End> {
        let Some(entry) = self.session.ledger.settled(ack.pkid) else {
            debug!(client_id = %self.session.shown_client_id, pkid = ack.pkid, "an acknowledgement for nothing in flight");
            return Ok(());
        };
        let counters = &self.session.status.counters;
        entry.slip.settle(if ack.reason.is_error() {
            counters.refused.fetch_add(1, Ordering::Relaxed);
            Outcome::Refused {
                reason: ack.reason,
                text: ack.text.map(Into::into),
            }
        } else {
            counters.delivered.fetch_add(1, Ordering::Relaxed);
            Outcome::Delivered { reason: ack.reason }
        });
        if self.probation {
            self.end_probation()
        } else {
            Ok(())
        }
    }

    /// The link works: the message that the broker seems to hang up over is sent, and nothing else.
    fn try_alone(&mut self) -> Result<(), End> {
        self.repeat(1)?;
        if self.session.ledger.len() == 0 {
            self.end_probation()
        } else {
            Ok(())
        }
    }

    /// It was settled, or nobody waits for it any more: the others follow.
    fn end_probation(&mut self) -> Result<(), End> {
        self.probation = false;
        self.session.suspect.clear();
        self.repeat(usize::MAX)
    }

    fn receive_downlink(&mut self, publish: packet::Publish) {
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
        if self.drain.is_some() && owed.is_some() && self.session.spec.session_expiry > 0 {
            return;
        }
        let downlink = match self.session.spec.routes.find(&publish.topic) {
            Some((device, topic)) => {
                self.session
                    .status
                    .counters
                    .downlinks
                    .fetch_add(1, Ordering::Relaxed);
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
            None => {
                warn!(client_id = %self.session.shown_client_id, "a downlink on a topic of no registered device");
                None
            }
        };
        self.inbox.push(downlink, owed);
    }

    fn acknowledge(&mut self, kind: AckKind, pkid: u16) -> Result<(), End> {
        let ack = Ack {
            kind,
            pkid,
            reason: Reason::SUCCESS,
            text: None,
        };
        Ok(self.connection.queue(&Packet::Ack(ack))?)
    }

    fn start_drain(&mut self, then: Ended) {
        self.drain = Some(Drain {
            until: Instant::now() + DRAIN_LIMIT,
            downlinks: self.inbox.mark(),
            then,
        });
    }

    /// Does what is due.
    fn alarm(&mut self) -> Result<Option<Ended>, End> {
        let now = Instant::now();
        if let Some(drain) = self.drain.take_if(|drain| now >= drain.until) {
            return Ok(Some(drain.then));
        }
        if self.drain.is_none() && self.renew_at.is_some_and(|at| now >= at) {
            self.session
                .status
                .counters
                .renewals
                .fetch_add(1, Ordering::Relaxed);
            self.start_drain(Ended::Renewal);
        }
        match self.pinged_at {
            Some(pinged) if self.connection.last_read() > pinged => self.pinged_at = None,
            Some(pinged) if now >= pinged + PING_LIMIT => {
                return Err(if self.inbox.has_room() {
                    End::Silent
                } else {
                    End::Overrun
                });
            }
            _ => {}
        }
        let stalled = self
            .session
            .ledger
            .oldest()
            .is_some_and(|oldest| now >= oldest + STALL)
            && now >= self.connection.last_read() + STALL;
        let idle =
            !self.keep_alive.is_zero() && now >= self.connection.last_write() + self.keep_alive;
        if self.pinged_at.is_none() && (stalled || idle) {
            self.connection.queue(&Packet::PingReq)?;
            self.pinged_at = Some(now);
        }
        Ok(None)
    }

    /// When something is due next.
    fn next_alarm(&self) -> Instant {
        let now = Instant::now();
        let keep_alive =
            (!self.keep_alive.is_zero()).then(|| self.connection.last_write() + self.keep_alive);
        let stall = self
            .session
            .ledger
            .oldest()
            .map(|oldest| (oldest + STALL).max(self.connection.last_read() + STALL));
        let watch = match self.pinged_at {
            Some(pinged) => Some(pinged + PING_LIMIT),
            None => keep_alive.into_iter().chain(stall).min(),
        };
        let drain = self.drain.as_ref().map(|drain| drain.until);
        let renew = self.renew_at.filter(|_| self.drain.is_none());
        let due = [watch, drain, renew].into_iter().flatten().min();
        // Never in the past, so that a slow moment cannot turn into a busy loop.
        due.unwrap_or(now + Duration::from_secs(3600))
            .max(now + Duration::from_millis(10))
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
