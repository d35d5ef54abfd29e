//! One connection while it lives: keep-alive, the watchdog, renewal and the polite end.
//!
//! - `outgoing`: uplinks, as far as the window lets them
//! - `incoming`: acknowledgements and downlinks
//! - `subscriptions`: what is subscribed to, and what the session is told about itself

mod incoming;
mod outgoing;
mod subscriptions;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use outgoing::Limits;

use crate::mqtt::codec::CodecError;
use crate::mqtt::connection::{Connection, ConnectionError};
use crate::mqtt::packet::{ConnAck, Packet};
use crate::mqtt::reason::Reason;
use crate::session::backoff::renewal;
use crate::session::ended::{Close, Ended};
use crate::session::handle::Command;
use crate::session::inbox::Inbox;
use crate::session::spec::Shared;
use crate::session::task::Session;
use crate::tally::Cause;
use crate::topic::TopicFilter;

/// A broker that has not confirmed anything for this long, nor said anything else, is asked whether it is there.
const STALL: Duration = Duration::from_secs(5);
/// How long it may then be silent before the connection counts as dead.
const PING_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection that is to be renewed or closed waits for what is in flight.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// How long the last bytes may take to go out.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

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
            .unwrap_or(session.spec.connect.keep_alive)
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
        turn_at: None,
        subscribes: Vec::new(),
        refused: HashMap::new(),
        unsubscribes: 0,
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
            cause: Cause::Lost,
        },
        Err(End::Silent) => Ended::Lost {
            what: "the broker has gone silent".to_owned(),
            hint: "the link is cut or the broker hangs; the bridge connects again by itself",
            close: Close::Failed,
            cause: Cause::Timeout,
        },
        Err(End::Overrun) => Ended::Lost {
            what: "more downlinks came than can be stored at the moment".to_owned(),
            hint: "the broker keeps them; see to the store: is its disk full, or slow?",
            close: Close::Failed,
            cause: Cause::Overrun,
        },
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
    /// When the connector's pace lets the next patient message go.
    turn_at: Option<Instant>,
    /// SUBSCRIBEs that the broker has not answered, each with its filters.
    subscribes: Vec<(u16, Vec<TopicFilter>)>,
    /// Filters that the broker refuses.
    refused: HashMap<TopicFilter, Reason>,
    /// The same of UNSUBSCRIBEs.
    unsubscribes: usize,
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
            .map(|sent| sent.entry.identity());
        self.probation = first.is_some_and(|first| self.session.suspect.on_probation(first));
        if self.probation {
            // Nothing is sent before the link is proven to work; see `suspect`.
            self.connection.queue(&Packet::PingReq)?;
        } else {
            self.repeat(usize::MAX)?;
        }
        self.begin_subscriptions(session_present)
    }

    async fn turn(&mut self) -> Result<Ended, End> {
        let shutdown = self.shared.shutdown.clone();
        let ending = shutdown.cancelled();
        let mut swaps = self.session.password.swaps();
        let swapped = swaps.next();
        let mut has_swapped = false;
        let mut alarm_at = self.next_alarm();
        let alarm = tokio::time::sleep_until(alarm_at.into());
        tokio::pin!(ending, swapped, alarm);
        loop {
            while self.inbox.has_room()
                && let Some(packet) = self.connection.next_packet()?
            {
                self.receive(packet)?;
            }
            self.inbox.hand_over();
            self.fill()?;
            self.session.tell_held();
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
            if let Some(turn) = self.turn_at.filter(|turn| *turn < alarm_at) {
                alarm_at = turn;
                alarm.as_mut().reset(turn.into());
            }
            tokio::select! {
                biased;
                owed = self.inbox.taken() => {
                    for (kind, pkid) in owed {
                        self.acknowledge(kind, pkid)?;
                    }
                }
                order = self.session.orders.next() => {
                    self.obey(order)?;
                    alarm_at = self.next_alarm();
                    alarm.as_mut().reset(alarm_at.into());
                }
                progress = self.connection.progress(), if self.inbox.has_room() => progress?,
                command = self.session.commands.recv(), if self.has_room() => match command {
                    Some(Command::Publish(entry)) => self.session.held.push_back(entry),
                    Some(Command::Connect | Command::Retry) => {}
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
                () = &mut ending, if !self.is_ending() => {
                    self.start_drain(Ended::Shutdown);
                    alarm_at = self.next_alarm();
                    alarm.as_mut().reset(alarm_at.into());
                }
                () = &mut swapped, if !has_swapped => {
                    has_swapped = true;
                    // The next connection has the new key in any case.
                    if self.drain.is_none() {
                        self.renew();
                        alarm_at = self.next_alarm();
                        alarm.as_mut().reset(alarm_at.into());
                    }
                }
            }
        }
    }

    fn renew(&mut self) {
        self.session.status.count(1, |counters| &counters.renewals);
        self.start_drain(Ended::Renewal);
    }

    fn start_drain(&mut self, then: Ended) {
        self.drain = Some(Drain {
            until: Instant::now() + DRAIN_LIMIT,
            downlinks: self.inbox.mark(),
            then,
        });
    }

    /// Whether the connection is being drained for the last time.
    fn is_ending(&self) -> bool {
        let last = |drain: &Drain| drain.then == Ended::Shutdown;
        self.drain.as_ref().is_some_and(last)
    }

    /// Does what is due.
    fn alarm(&mut self) -> Result<Option<Ended>, End> {
        let now = Instant::now();
        if let Some(drain) = self.drain.take_if(|drain| now >= drain.until) {
            return Ok(Some(drain.then));
        }
        if self.drain.is_none() && self.renew_at.is_some_and(|at| now >= at) {
            self.renew();
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
