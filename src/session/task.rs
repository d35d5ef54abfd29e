//! The task of one session: connect, live, wait, again. What to do next is decided in `backoff`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::backoff::{Backoff, Close, Ended, Lived, STABLE, is_final, jitter};
use super::handle::{Command, SessionHandle};
use super::ledger::{InFlight, Ledger};
use super::live;
use super::obey::Demand;
use super::orders::{Orders, SessionControl};
use super::outcome::{NotSent, Outcome};
use super::password::{Answer, NoPassword, Password};
use super::spec::{SessionSpec, Shared};
use super::status::{State, Status};
use super::suspect::Suspect;
use super::telling::Telling;
use super::ticket::Entry;
use crate::mqtt::codec::Codec;
use crate::mqtt::connection::{Connection, ConnectionError};
use crate::mqtt::packet::ConnAck;
use crate::mqtt::reason::Reason;
use crate::mqtt::transport;
use crate::seldom::Pass;
use crate::tally::Cause;
use crate::topic::TopicFilter;

/// An uplink, while the broker refuses the credentials, and somebody who looks may ask for a new attempt this long after
/// the last.
const RETRY_ON_DEMAND: Duration = Duration::from_secs(3);

/// How often a full queue is searched for messages that nobody waits for any more.
pub(super) const PRUNE: Duration = Duration::from_millis(100);

/// A session that is not running yet.
#[derive(Debug)]
pub struct Session {
    pub(super) spec: SessionSpec,
    /// Of the next CONNECT.
    pub(super) password: Password,
    /// What it is to become once its connection is closed.
    pub(super) next: Option<Box<SessionSpec>>,
    /// For logs and answers.
    pub(super) shown_client_id: Arc<str>,
    pub(super) status: Arc<Status>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) orders: Orders,
    /// Subscriptions that the broker may still have in a session that it has kept.
    pub(super) unwanted: Vec<TopicFilter>,
    /// Sent on an earlier connection and not settled: first on the next one.
    pub(super) repeat: VecDeque<InFlight>,
    /// Taken out of the queue while there was no connection: second.
    pub(super) held: VecDeque<Entry>,
    pub(super) ledger: Ledger,
    pub(super) suspect: Suspect,
    backoff: Backoff,
    pub(super) telling: Telling,
}

impl Session {
    /// A session, the handle that the rest of the program reaches it by, and what it is led by.
    pub fn new(spec: SessionSpec, shared: &Shared) -> (Self, SessionHandle, SessionControl) {
        let shown_client_id = spec.connect.shown_client_id();
        let (handle, commands) = SessionHandle::new(
            spec.queue,
            Arc::clone(&shared.budget),
            Status::new(Arc::clone(&spec.tally), Arc::clone(&spec.connect)),
        );
        let (control, orders) = Orders::new(handle.status());
        let session = Self {
            password: spec.connect.password.clone(),
            spec,
            next: None,
            shown_client_id,
            status: Arc::clone(handle.status()),
            commands,
            orders,
            unwanted: Vec::new(),
            repeat: VecDeque::new(),
            held: VecDeque::new(),
            ledger: Ledger::new(),
            suspect: Suspect::default(),
            backoff: Backoff::default(),
            telling: Telling::default(),
        };
        (session, handle, control)
    }

    /// Runs until the shutdown, or until it is told to close.
    pub async fn run(mut self, shared: Shared) {
        if self.spec.eager || self.password.lacks_key() || self.first_need(&shared).await {
            while let Some(wait) = self.once(&shared).await {
                if !self.wait(wait, &shared).await {
                    break;
                }
            }
        }
        self.end();
    }

    /// Waits until somebody needs the session; `false` when the program ends first.
    async fn first_need(&mut self, shared: &Shared) -> bool {
        loop {
            let mut swaps = self.password.swaps();
            tokio::select! {
                () = shared.shutdown.cancelled() => return false,
                // Somebody wants to know whether the broker takes the key.
                () = swaps.next() => return true,
                command = self.commands.recv() => match command {
                    Some(Command::Publish(entry)) => {
                        self.held.push_back(entry);
                        return true;
                    }
                    Some(Command::Connect | Command::Retry) => return true,
                    None => return false,
                },
                order = self.orders.next() => {
                    if self.obey(order) == Demand::Close {
                        return false;
                    }
                    self.become_next();
                    if self.spec.eager || self.password.lacks_key() {
                        return true;
                    }
                }
            }
        }
    }

    /// One connection from its beginning to its end; `None` when the session ends.
    async fn once(&mut self, shared: &Shared) -> Option<Wait> {
        if !self.catch_up() {
            return None;
        }
        let began = Instant::now();
        if self.password.lacks_key() {
            return Some(self.lack_key(began));
        }
        self.status.enter(State::Connecting);
        let urgent = Arc::clone(&self.orders.urgent);
        let attempt = tokio::select! {
            attempt = self.connect(shared) => attempt,
            () = urgent.wait() => Err(Ended::Replaced),
        };
        let (ended, lived) = match attempt {
            Ok(Established::Live(connection, ack, renew_after)) => {
                let (up, settled) = (Instant::now(), self.settled());
                let ended = live::run(self, connection, &ack, renew_after, shared).await;
                self.suspect_first(&ended);
                let left = self.ledger.take_for_repeat();
                // Those that were not sent again yet came behind those that were.
                let behind = std::mem::replace(&mut self.repeat, left);
                self.repeat.extend(behind);
                let useful = self.settled() > settled;
                (
                    ended,
                    Lived {
                        up: up.elapsed(),
                        useful,
                    },
                )
            }
            Ok(Established::OtherVersion) => return Some(Wait::none(began)),
            Err(Ended::NoKey) => return Some(self.lack_key(began)),
            Err(ended) if self.goes_back(&ended) => return Some(Wait::none(began)),
            Err(ended) => (ended, Lived::default()),
        };
        self.explain(&ended, lived, began)
    }

    pub(super) fn tell_held(&self) {
        self.status.held.store(self.held.len(), Ordering::Relaxed);
    }

    /// How many uplinks the broker has settled so far.
    fn settled(&self) -> u64 {
        let counters = &self.status.counters;
        counters.delivered.load(Ordering::Relaxed) + counters.refused.load(Ordering::Relaxed)
    }

    /// Notes over which message the broker hung up, if it did, and sets that aside once it is proven.
    fn suspect_first(&mut self, ended: &Ended) {
        let hung_up = match ended {
            Ended::Lost { close, .. } => *close == Close::WithMessages,
            Ended::Dismissed { reason, .. } => is_about_a_message(*reason),
            _ => false,
        };
        let Some(first) = self.ledger.first().filter(|_| hung_up) else {
            return;
        };
        self.suspect.closed_over(first);
        if self.suspect.is_proven(first)
            && let Some(entry) = self.ledger.take_first()
        {
            warn!(
                connector = %self.spec.connector, client_id = %self.shown_client_id,
                "the broker closes the connection whenever it receives a certain message: setting that aside"
            );
            self.status.count(1, |counters| &counters.refused);
            self.suspect.clear();
            entry.settle(Outcome::Refused {
                reason: Reason::UNSPECIFIED,
                text: Some(
                    "the broker closes the connection whenever it receives this message".into(),
                ),
            });
        }
    }

    async fn connect(&mut self, shared: &Shared) -> Result<Established, Ended> {
        let permit = self.turn(shared).await?;
        let spec = Arc::clone(&self.spec.connect);
        let version = spec.version.current();
        let stream = tokio::select! {
            () = shared.shutdown.cancelled() => return Err(Ended::Shutdown),
            stream = transport::open(&spec.endpoint) => stream,
        };
        let stream = stream.map_err(|error| Ended::Lost {
            what: error.to_string(),
            hint: error.hint(),
            close: Close::Failed,
            cause: Cause::Unreachable,
        })?;
        // The token is made as late as possible, so that a slow connect does not use up its lifetime.
        let fresh = self
            .password
            .fresh(SystemTime::now())
            .map_err(|error| match error {
                NoPassword::NoKey => Ended::NoKey,
                NoPassword::Issue(error) => Ended::Unusable(error.to_string().into()),
            })?;
        let connect = spec.packet(fresh.password);
        let codec = Codec {
            version,
            max_incoming: spec.max_incoming,
        };
        let (connection, ack) = Connection::establish(stream, codec, connect, spec.hidden.clone())
            .await
            .map_err(before_connack)?;
        drop(permit);
        self.status.answered(version, &ack);
        if ack.reason == Reason::UNSUPPORTED_PROTOCOL_VERSION && spec.version.refused(version) {
            warn!(
                connector = %self.spec.connector, client_id = %self.shown_client_id,
                "the broker does not speak MQTT 5: using 3.1.1; write mqtt_version = \"3.1.1\" to make that permanent"
            );
            self.spec.tally.reconnects(Cause::Version);
            return Ok(Established::OtherVersion);
        }
        if ack.reason.is_error() {
            return Err(Ended::Refused {
                reason: ack.reason,
                text: ack.text.map(Into::into),
            });
        }
        let _ = self.password.answered(Answer::Accepted);
        self.status.connected(version, fresh.expires_at);
        // A renewal is routine; a change is not.
        if self.telling.connected() {
            info!(
                connector = %self.spec.connector, client_id = %self.shown_client_id, mqtt = %version,
                session_present = ack.session_present, "connected"
            );
        } else {
            debug!(
                connector = %self.spec.connector, client_id = %self.shown_client_id, mqtt = %version,
                session_present = ack.session_present, "connected again"
            );
        }
        Ok(Established::Live(connection, ack, fresh.lifetime))
    }

    /// Says what happened, and what comes next; `None` when the program ends.
    fn explain(&mut self, ended: &Ended, lived: Lived, began: Instant) -> Option<Wait> {
        match ended {
            Ended::Shutdown => return None,
            Ended::Renewal => {
                self.spec.tally.reconnects(Cause::Renewal);
                // A connection that lived until its renewal was a good one.
                self.backoff = Backoff::default();
                debug!(connector = %self.spec.connector, client_id = %self.shown_client_id, "renewing the token");
                return Some(Wait::none(began));
            }
            Ended::Replaced => {
                self.spec.tally.reconnects(Cause::Replaced);
                // What went wrong before says nothing of what it is now.
                self.backoff = Backoff::default();
                return Some(Wait::none(began));
            }
            _ => {}
        }
        if lived.up >= STABLE {
            self.telling.stable();
        }
        let next = self.backoff.after(ended, lived);
        if let Some(cause) = ended.cause(next.state) {
            self.spec.tally.reconnects(cause);
        }
        let what = in_words(ended);
        let delay = jitter(next.delay, rand::random());
        let retry_in = format_args!("{:.1}s", delay.as_secs_f32());
        match self.telling.trouble(&what, Instant::now()) {
            Some(Pass { left_out }) => warn!(
                connector = %self.spec.connector, client_id = %self.shown_client_id, state = next.state.name(),
                %retry_in, left_out, hint = next.hint, "{what}"
            ),
            None => debug!(
                connector = %self.spec.connector, client_id = %self.shown_client_id, state = next.state.name(),
                %retry_in, "{what}"
            ),
        }
        self.status.trouble(next.state, what, next.hint);
        let refuse = match ended {
            Ended::Refused { reason, text } if is_final(*reason) => {
                Some(NotSent::ConnectionRefused {
                    reason: *reason,
                    text: text.clone(),
                })
            }
            Ended::Unusable(what) => Some(NotSent::Unusable(what.clone())),
            _ => None,
        };
        Some(Wait {
            until: Instant::now() + delay,
            began,
            refuse,
        })
    }

    /// Waits for the next attempt; `false` when the session ends.
    async fn wait(&mut self, wait: Wait, shared: &Shared) -> bool {
        if let Some(why) = &wait.refuse {
            let (patient, refused) = self.held.drain(..).partition(|entry| entry.is_patient());
            self.held = patient;
            for entry in Vec::from(refused) {
                entry.settle(Outcome::NotSent(why.clone()));
            }
        }
        let sleep = tokio::time::sleep_until(wait.until.into());
        tokio::pin!(sleep);
        let mut swaps = self.password.swaps();
        loop {
            let room = self.make_room();
            tokio::select! {
                () = shared.shutdown.cancelled() => return false,
                () = &mut sleep => return true,
                () = swaps.next() => {
                    // What was wrong with the old key says nothing of the new one.
                    self.backoff = Backoff::default();
                    return true;
                }
                () = tokio::time::sleep(PRUNE), if !room => {}
                order = self.orders.next() => match self.obey(order) {
                    Demand::Close => return false,
                    Demand::Reconnect => {
                        self.backoff = Backoff::default();
                        return true;
                    }
                    Demand::Routes(_) => {}
                },
                command = self.commands.recv(), if room => match command {
                    None => return false,
                    Some(Command::Connect) => {}
                    Some(Command::Retry) => {
                        let left_alone = self.status.state() == State::TakenOver;
                        if !left_alone && wait.began.elapsed() >= RETRY_ON_DEMAND {
                            return true;
                        }
                    }
                    Some(Command::Publish(entry)) => match &wait.refuse {
                        Some(why) if !entry.is_patient() && !wait.may_be_tried() => {
                            entry.settle(Outcome::NotSent(why.clone()));
                        }
                        refused => {
                            let on_demand = refused.is_some() && !entry.is_patient();
                            self.held.push_back(entry);
                            if on_demand {
                                return true;
                            }
                        }
                    },
                },
            }
        }
    }

    fn end(mut self) {
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Publish(entry) = command {
                self.held.push_back(entry);
            }
        }
        for entry in self.held.drain(..) {
            entry.settle(Outcome::NotSent(NotSent::Closing));
        }
        for sent in self.repeat.drain(..) {
            sent.entry.settle(Outcome::Unconfirmed);
        }
        self.status.enter(State::Closed);
        debug!(connector = %self.spec.connector, client_id = %self.shown_client_id, "session ended");
    }
}

enum Established {
    Live(Connection, Box<ConnAck>, Option<Duration>),
    OtherVersion,
}

/// The time until the next attempt.
pub(super) struct Wait {
    pub(super) until: Instant,
    /// When the last attempt began.
    pub(super) began: Instant,
    /// What uplinks are told meanwhile; without it they wait for the next connection.
    pub(super) refuse: Option<NotSent>,
}

impl Wait {
    /// Whether an uplink may ask for an attempt before its time.
    fn may_be_tried(&self) -> bool {
        self.refuse != Some(NotSent::NoKey) && self.began.elapsed() >= RETRY_ON_DEMAND
    }

    fn none(began: Instant) -> Self {
        Self {
            until: Instant::now(),
            began,
            refuse: None,
        }
    }
}

/// Whether a broker's goodbye may be about what was just sent (MQTT 5 §3.14.2.1).
fn is_about_a_message(reason: Reason) -> bool {
    matches!(reason.0, 0x80..=0x83 | 0x87 | 0x90 | 0x94 | 0x95 | 0x97..=0x9B)
}

fn before_connack(error: ConnectionError) -> Ended {
    let hint = match error {
        ConnectionError::Closed => {
            "the broker closed the connection instead of answering CONNECT: is the port one for MQTT, plain or TLS as \
             the url says? A broker that only speaks 3.1.1 may need mqtt_version = \"3.1.1\""
        }
        ConnectionError::Codec(_) | ConnectionError::NotConnAck => {
            "check that the port is one for MQTT"
        }
        ConnectionError::Io(_) | ConnectionError::NoConnAck => "check that the broker is up",
    };
    Ended::Lost {
        what: format!("{error}, before it had answered CONNECT"),
        hint,
        close: match error {
            ConnectionError::Closed => Close::Unanswered,
            _ => Close::Failed,
        },
        cause: Cause::Unreachable,
    }
}

pub(super) fn in_words(ended: &Ended) -> String {
    match ended {
        Ended::Lost { what, .. } => what.clone(),
        Ended::Refused { reason, text } => {
            format!(
                "the broker refuses the connection: {}",
                with_text(*reason, text)
            )
        }
        Ended::Dismissed { reason, text } => {
            format!(
                "the broker ended the connection: {}",
                with_text(*reason, text)
            )
        }
        Ended::Unusable(what) => what.to_string(),
        Ended::NoKey | Ended::Renewal | Ended::Replaced | Ended::Shutdown => String::new(),
    }
}

pub(super) fn with_text(reason: Reason, text: &Option<Box<str>>) -> String {
    match text {
        Some(text) => format!("{reason} ({text})"),
        None => reason.to_string(),
    }
}
