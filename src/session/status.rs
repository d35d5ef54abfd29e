//! What a session tells about itself: for answers, health, metrics, and those who watch it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;

use super::snapshot::{Answer, Snapshot, State};
use super::spec::ConnectSpec;
use crate::broker::MqttVersion;
use crate::device::DeviceId;
use crate::identity::Validity;
use crate::mqtt::packet::ConnAck;
use crate::mqtt::reason::Reason;
use crate::tally::{ConnectorTally, Counters};

/// Shared between a session and those who ask about it.
#[derive(Debug)]
pub struct Status {
    snapshot: Mutex<Snapshot>,
    /// Names the snapshot: another one for each change, and never that of another session.
    revision: AtomicU64,
    /// Those who are woken when the snapshot changes, by address.
    watchers: Mutex<HashMap<usize, Arc<AtomicWaker>>>,
    /// The protocol version of the last connection, for the per-message path: 0 before the first.
    spoken: AtomicU8,
    /// Whether the broker has not answered all subscriptions of the connection yet.
    subscribing: AtomicBool,
    /// Orders that were given, and those whose subscriptions the broker has answered.
    ordered: AtomicU64,
    obeyed: AtomicU64,
    /// Devices whose subscriptions the broker refuses on the connection that there is, or was.
    refused: Mutex<BTreeMap<DeviceId, Reason>>,
    /// The state changed, an attempt came to something, or the last subscription was answered.
    changed: Notify,
    /// Uplinks that are sent and not settled at this moment.
    pub in_flight: AtomicU64,
    /// Uplinks that the session has taken out of its queue and not sent.
    pub(super) held: AtomicUsize,
    /// Counters since the start.
    pub counters: Counters,
    /// The connector's, in which everything is counted once more: it outlives the session.
    tally: Arc<ConnectorTally>,
    /// How it connects; none of a session that never does.
    connect: Mutex<Option<Arc<ConnectSpec>>>,
}

impl Default for Status {
    fn default() -> Self {
        Self::of(Arc::default(), None)
    }
}

impl Status {
    /// Of a session that nobody has needed yet.
    pub(super) fn new(tally: Arc<ConnectorTally>, connect: Arc<ConnectSpec>) -> Self {
        Self::of(tally, Some(connect))
    }

    fn of(tally: Arc<ConnectorTally>, connect: Option<Arc<ConnectSpec>>) -> Self {
        Self {
            snapshot: Mutex::new(Snapshot::idle()),
            revision: AtomicU64::new(next_revision()),
            watchers: Mutex::default(),
            spoken: AtomicU8::new(0),
            subscribing: AtomicBool::new(false),
            ordered: AtomicU64::new(0),
            obeyed: AtomicU64::new(0),
            refused: Mutex::default(),
            changed: Notify::new(),
            in_flight: AtomicU64::new(0),
            held: AtomicUsize::new(0),
            counters: Counters::default(),
            tally,
            connect: Mutex::new(connect),
        }
    }

    /// The state at this moment.
    pub fn snapshot(&self) -> Snapshot {
        self.lock().clone()
    }

    /// When the client certificate that it connects with is valid; `None` without one.
    pub fn certificate(&self) -> Option<Validity> {
        self.connect()?.certificate()
    }

    /// How it connects; `None` of a session that never does.
    pub fn connect(&self) -> Option<Arc<ConnectSpec>> {
        lock(&self.connect).clone()
    }

    /// It connects in another way from now on.
    pub(super) fn set_connect(&self, connect: Arc<ConnectSpec>) {
        *lock(&self.connect) = Some(connect);
    }

    /// Why the broker refuses a subscription of this device, if it does.
    pub fn refused_subscription(&self, device: &DeviceId) -> Option<Reason> {
        self.refused().get(device).copied()
    }

    /// The broker refuses subscriptions of these devices, and of no others.
    pub(super) fn subscriptions_refused(&self, devices: BTreeMap<DeviceId, Reason>) {
        *self.refused() = devices;
    }

    fn refused(&self) -> MutexGuard<'_, BTreeMap<DeviceId, Reason>> {
        lock(&self.refused)
    }

    /// Counts, for the session and for its connector.
    pub(super) fn count(&self, by: usize, which: impl Fn(&Counters) -> &AtomicU64) {
        which(&self.counters).fetch_add(by as u64, Ordering::Relaxed);
        which(&self.tally.sessions).fetch_add(by as u64, Ordering::Relaxed);
    }

    /// Where the session stands.
    pub fn state(&self) -> State {
        self.lock().state
    }

    /// The protocol version of the last connection, and so most likely of the next.
    pub fn spoken(&self) -> Option<MqttVersion> {
        match self.spoken.load(Ordering::Relaxed) {
            5 => Some(MqttVersion::V5),
            4 => Some(MqttVersion::V311),
            _ => None,
        }
    }

    /// Waits until a session that somebody has just asked to connect has done so and has its subscriptions, or has failed
    /// to. Not for a session that is in trouble anyway.
    pub async fn has_begun(&self) {
        loop {
            let changed = self.changed.notified();
            if self.state().has_begun(self.is_subscribing()) {
                return;
            }
            changed.await;
        }
    }

    /// Waits until more attempts to connect than `seen` have come to something.
    pub async fn attempted(&self, seen: u64) {
        loop {
            let changed = self.changed.notified();
            if self.lock().attempts > seen {
                return;
            }
            changed.await;
        }
    }

    /// The broker has answered CONNECT.
    pub(super) fn answered(&self, version: MqttVersion, ack: &ConnAck) {
        let answer = Answer {
            at: SystemTime::now(),
            version,
            ack: ack.clone(),
        };
        self.lock().last_answer = Some(Arc::new(answer));
    }

    /// The broker has answered all subscriptions of the connection, with what so many orders have changed.
    pub(super) fn subscribed(&self, obeyed: u64) {
        self.subscribing.store(false, Ordering::Release);
        self.obeyed.store(obeyed, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// The session was given an order.
    pub(super) fn ordered(&self) {
        self.ordered.fetch_add(1, Ordering::AcqRel);
    }

    fn is_subscribing(&self) -> bool {
        self.subscribing.load(Ordering::Acquire)
            || self.obeyed.load(Ordering::Acquire) != self.ordered.load(Ordering::Acquire)
    }

    /// Names what [`snapshot`](Self::snapshot) gives: whoever remembers it sees whether something has changed since. No
    /// two sessions have one in common, so it also shows that a session was replaced.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// From now on this is woken by every change of the snapshot.
    pub(crate) fn join(&self, waker: &Arc<AtomicWaker>) {
        let mut watchers = lock(&self.watchers);
        watchers.insert(Arc::as_ptr(waker).addr(), Arc::clone(waker));
    }

    /// From now on it is not.
    pub(crate) fn leave(&self, waker: &Arc<AtomicWaker>) {
        lock(&self.watchers).remove(&Arc::as_ptr(waker).addr());
    }

    #[cfg(test)]
    pub(crate) fn watchers(&self) -> usize {
        lock(&self.watchers).len()
    }

    /// Changes the state; `since` only when it is another one.
    pub(super) fn enter(&self, state: State) {
        if self.state() != state {
            self.change(|snapshot| snapshot.enter(state));
        }
    }

    /// Notes a connection that the broker accepted.
    pub(super) fn connected(&self, version: MqttVersion, token_expires_at: Option<SystemTime>) {
        self.subscribing.store(true, Ordering::Release);
        self.refused().clear();
        let level = match version {
            MqttVersion::V5 => 5,
            MqttVersion::V311 => 4,
        };
        self.spoken.store(level, Ordering::Relaxed);
        self.count(1, |counters| &counters.connects);
        self.change(|snapshot| {
            snapshot.enter(State::Connected);
            snapshot.attempts += 1;
            snapshot.version = Some(version);
            snapshot.token_expires_at = token_expires_at;
        });
    }

    /// Notes what went wrong without ending the connection.
    pub(super) fn note(&self, what: String, hint: &'static str) {
        self.change(|snapshot| snapshot.note(what, hint));
    }

    /// Notes what went wrong and where that leaves the session.
    pub(super) fn trouble(&self, state: State, what: String, hint: &'static str) {
        self.change(|snapshot| {
            snapshot.enter(state);
            snapshot.attempts += 1;
            snapshot.token_expires_at = None;
            if state == State::TakenOver {
                snapshot.taken_over_at = Some(SystemTime::now());
            }
            snapshot.note(what, hint);
        });
    }

    /// Changes the snapshot, so that nobody sees half of it, and then wakes those who wait for that.
    fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut snapshot = self.lock();
        change(&mut snapshot);
        self.revision.store(next_revision(), Ordering::Release);
        drop(snapshot);
        self.changed.notify_waiters();
        for watcher in lock(&self.watchers).values() {
            watcher.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        lock(&self.snapshot)
    }
}

fn next_revision() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_has_a_revision_of_its_own_and_the_same_state_again_is_none() {
        let (one, two) = (Status::default(), Status::default());
        assert_ne!(one.revision(), two.revision());
        let mut seen = vec![one.revision()];
        one.enter(State::Idle);
        assert_eq!(one.revision(), seen[0]);
        one.enter(State::Connecting);
        seen.push(one.revision());
        one.connected(MqttVersion::V5, None);
        seen.push(one.revision());
        one.note("odd".to_owned(), "look");
        seen.push(one.revision());
        one.trouble(State::BackingOff, "gone".to_owned(), "wait");
        seen.push(one.revision());
        assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
    }
}
