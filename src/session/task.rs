//! The task of one session: connect, live, wait, again. What to do next is decided in `backoff`; `establish`, `live` and
//! `wait` do it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::backoff::{Backoff, Lived, STABLE, jitter};
use super::ended::Ended;
use super::establish::Established;
use super::handle::{Command, SessionHandle};
use super::ledger::{InFlight, Ledger};
use super::live;
use super::obey::Demand;
use super::orders::{Orders, SessionControl};
use super::outcome::{NotSent, Outcome};
use super::password::Password;
use super::snapshot::State;
use super::spec::{SessionSpec, Shared};
use super::status::Status;
use super::suspect::Suspect;
use super::telling::Telling;
use super::ticket::Entry;
use super::wait::Wait;
use crate::seldom::Pass;
use crate::tally::Cause;
use crate::topic::TopicFilter;

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
    pub(super) backoff: Backoff,
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
        let what = ended.in_words();
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
        Some(Wait {
            until: Instant::now() + delay,
            began,
            refuse: ended.refusal(),
        })
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
