//! Faults that a test switches on and off while the broker runs, and the log of who connected.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::broker::MqttVersion;
use crate::mqtt::reason::Reason;

/// A handle on one broker's faults. Clones are the same handle.
#[derive(Clone)]
pub struct Faults(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// Counts changes, so that connections look again and tests can wait.
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    refuse_v5: bool,
    refuse_connects: Option<Reason>,
    acks: AckMode,
    refuse_publishes: Option<(String, Reason)>,
    close_on_publish: Option<Moment>,
    no_replies: bool,
    connects: Vec<ConnectRecord>,
}

/// What becomes of PUBACKs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AckMode {
    /// Sent at once.
    #[default]
    Send,
    /// Kept back, and sent when the mode is [`AckMode::Send`] again and the connection still stands.
    Hold,
    /// Never sent; the message was taken all the same.
    Drop,
}

/// When a connection is closed on a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The platform never saw the message.
    BeforeTaking,
    /// The platform has the message, and the client does not know.
    AfterTaking,
}

/// One CONNECT that was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectRecord {
    /// Client id.
    pub client_id: String,
    /// Protocol version.
    pub version: MqttVersion,
    /// Whether the client was told that its session was still there.
    pub session_present: bool,
    /// Its token's `iat`, in seconds since 1970.
    pub token_issued_at: Option<u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Self(Arc::new(Inner {
            state: Mutex::default(),
            changed: watch::Sender::new(0),
        }))
    }
}

impl Faults {
    /// Whether MQTT 5 is answered as a broker of 3.1.1 would: CONNACK with code 1.
    pub fn refuse_v5(&self, refuse: bool) {
        self.change(|state| state.refuse_v5 = refuse);
    }

    /// Refuses every CONNECT with this reason.
    pub fn refuse_connects(&self, reason: Option<Reason>) {
        self.change(|state| state.refuse_connects = reason);
    }

    /// What becomes of PUBACKs from now on, and of those kept back.
    pub fn acks(&self, mode: AckMode) {
        self.change(|state| state.acks = mode);
    }

    /// Answers a publish with this reason where its topic contains `part`: a device's id, a sub-topic, or all with "".
    pub fn refuse_publishes(&self, part: &str, reason: Reason) {
        self.change(|state| state.refuse_publishes = Some((part.to_owned(), reason)));
    }

    /// Ends [`Faults::refuse_publishes`].
    pub fn take_publishes(&self) {
        self.change(|state| state.refuse_publishes = None);
    }

    /// Whether the platform's answers to messages (SAP's acks) are sent. They are, by default.
    pub fn replies(&self, send: bool) {
        self.change(|state| state.no_replies = !send);
    }

    /// Closes the connection of the next publish, without a word. Once.
    pub fn close_on_next_publish(&self, moment: Moment) {
        self.change(|state| state.close_on_publish = Some(moment));
    }

    /// Every CONNECT that was let in, in order.
    pub fn connects(&self) -> Vec<ConnectRecord> {
        self.state().connects.clone()
    }

    /// How many CONNECTs of this client id were let in.
    pub fn connects_of(&self, client_id: &str) -> usize {
        let state = self.state();
        let of = state.connects.iter().filter(|c| c.client_id == client_id);
        of.count()
    }

    /// Waits until this client id has been let in this many times.
    pub async fn wait_for_connects(&self, client_id: &str, count: usize) {
        let mut changed = self.watch();
        while self.connects_of(client_id) < count {
            // The sender lives as long as `self`.
            let _ = changed.changed().await;
        }
    }

    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    pub(super) fn refuses_v5(&self) -> bool {
        self.state().refuse_v5
    }

    pub(super) fn refuses_connects(&self) -> Option<Reason> {
        self.state().refuse_connects
    }

    pub(super) fn ack_mode(&self) -> AckMode {
        self.state().acks
    }

    pub(super) fn refuses_publish(&self, topic: &str) -> Option<Reason> {
        let state = self.state();
        let (part, reason) = state.refuse_publishes.as_ref()?;
        topic.contains(part.as_str()).then_some(*reason)
    }

    pub(super) fn sends_replies(&self) -> bool {
        !self.state().no_replies
    }

    pub(super) fn closes_now(&self) -> Option<Moment> {
        self.state().close_on_publish.take()
    }

    pub(super) fn record(&self, connect: ConnectRecord) {
        self.change(|state| {
            // A demo may run for weeks.
            if state.connects.len() == MAX_CONNECT_RECORDS {
                state.connects.remove(0);
            }
            state.connects.push(connect);
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.0.changed.send_modify(|count| *count += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const MAX_CONNECT_RECORDS: usize = 10_000;
