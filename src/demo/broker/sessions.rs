//! All sessions of a broker, by name: who is connected, who is away, and who takes over from whom.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::session::{Message, Outgoing, Session};
use crate::message::Qos;
use crate::mqtt::reason::Reason;
use crate::topic::TopicFilter;

/// How many sessions are kept, connected ones included.
const MAX_SESSIONS: usize = 10_000;

/// Every session of a broker.
#[derive(Default)]
pub(super) struct Sessions(Mutex<Registry>);

#[derive(Default)]
struct Registry {
    sessions: HashMap<Arc<str>, Entry>,
    last_connection: u64,
}

struct Entry {
    session: Session,
    connection: Option<Connection>,
    /// `None`: gone with its connection.
    kept_for: Option<Duration>,
    gone_at: Option<Instant>,
}

struct Connection {
    id: u64,
    client_id: String,
    end: watch::Sender<Option<Ending>>,
    wake: Arc<Notify>,
}

/// How the broker ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With this reason, which MQTT 5 tells the client.
    Say(Reason),
    /// Without a word.
    Cut,
}

/// What a client asks for in its CONNECT.
pub(super) struct Terms {
    pub(super) client_id: String,
    pub(super) clean_start: bool,
    /// Seconds; `u32::MAX` is for ever (MQTT 5 §3.1.2.11.2).
    pub(super) session_expiry: u32,
}

/// A connection's hold on its session. Another one with the same name ends it.
pub(super) struct Attachment {
    pub(super) session_present: bool,
    /// Set when the broker ends the connection.
    pub(super) end: watch::Receiver<Option<Ending>>,
    /// There may be something to send.
    pub(super) wake: Arc<Notify>,
    name: Arc<str>,
    id: u64,
}

/// What became of a message to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Delivery {
    /// Connected clients that it is sent to.
    pub connected: usize,
    /// Clients that are away and get it when they come back.
    pub kept: usize,
    /// Clients whose queue is full.
    pub dropped: usize,
}

impl Sessions {
    /// Opens or resumes the session of this name, and ends the connection that holds it.
    /// `None` when there are too many sessions.
    pub(super) fn attach(&self, name: &str, terms: Terms, now: Instant) -> Option<Attachment> {
        let mut registry = self.lock();
        registry.sessions.retain(|_, entry| !entry.is_over(now));
        registry.last_connection += 1;
        let id = registry.last_connection;
        let old = registry.sessions.remove(name);
        if old.is_none() && registry.sessions.len() >= MAX_SESSIONS {
            return None;
        }
        if let Some(connection) = old.as_ref().and_then(|entry| entry.connection.as_ref()) {
            connection
                .end
                .send_replace(Some(Ending::Say(Reason::SESSION_TAKEN_OVER)));
        }
        // A session that would end with its connection ends when the connection is taken over, too.
        let mut kept = old.filter(|entry| !terms.clean_start && entry.kept_for.is_some());
        let session_present = kept.is_some();
        let mut session = kept.take().map(|entry| entry.session).unwrap_or_default();
        session.resume();
        let wake = Arc::new(Notify::new());
        let (end, ended) = watch::channel(None);
        let name: Arc<str> = name.into();
        let entry = Entry {
            session,
            connection: Some(Connection {
                id,
                client_id: terms.client_id,
                end,
                wake: wake.clone(),
            }),
            kept_for: match terms.session_expiry {
                0 => None,
                u32::MAX => Some(Duration::MAX),
                seconds => Some(Duration::from_secs(seconds.into())),
            },
            gone_at: None,
        };
        registry.sessions.insert(name.clone(), entry);
        Some(Attachment {
            session_present,
            end: ended,
            wake,
            name,
            id,
        })
    }

    /// The connection has ended; its session stays for as long as its client asked.
    pub(super) fn detach(&self, attachment: &Attachment, now: Instant) {
        let mut registry = self.lock();
        let Some(entry) = registry.held_by(attachment) else {
            return;
        };
        entry.connection = None;
        entry.gone_at = Some(now);
        entry.session.pause();
        if entry.is_over(now) {
            registry.sessions.remove(&attachment.name);
        }
    }

    /// Adds a subscription.
    pub(super) fn subscribe(&self, attachment: &Attachment, filter: TopicFilter, qos: Qos) {
        if let Some(entry) = self.lock().held_by(attachment) {
            entry.session.subscribe(filter, qos);
        }
    }

    /// Ends a subscription.
    pub(super) fn unsubscribe(&self, attachment: &Attachment, filter: &str) {
        if let Some(entry) = self.lock().held_by(attachment) {
            entry.session.unsubscribe(filter);
        }
    }

    /// The next message to send, with at most `window` unacknowledged.
    pub(super) fn next(&self, attachment: &Attachment, window: usize) -> Option<Outgoing> {
        self.lock().held_by(attachment)?.session.next(window)
    }

    /// The client has acknowledged a message.
    pub(super) fn acknowledged(&self, attachment: &Attachment, pkid: u16) {
        if let Some(entry) = self.lock().held_by(attachment) {
            entry.session.acknowledged(pkid);
        }
    }

    /// Hands a message of QoS 1 to every session that subscribes to its topic.
    pub(super) fn route(&self, message: &Message, now: Instant) -> Delivery {
        let mut delivery = Delivery::default();
        for entry in self.lock().sessions.values_mut() {
            let Some(qos) = entry.session.wants(&message.topic) else {
                continue;
            };
            let away = entry.connection.is_none();
            if entry.is_over(now) || away && qos == Qos::AtMostOnce {
                continue;
            }
            if !entry.session.push(message.clone(), qos) {
                delivery.dropped += 1;
            } else if let Some(connection) = &entry.connection {
                connection.wake.notify_one();
                delivery.connected += 1;
            } else {
                delivery.kept += 1;
            }
        }
        delivery
    }

    /// Ends the connections of a client id; of all with `None`. Gives their number.
    pub(super) fn end(&self, client_id: Option<&str>, ending: Ending) -> usize {
        let registry = self.lock();
        let connections = registry
            .sessions
            .values()
            .filter_map(|e| e.connection.as_ref());
        let mut ended = 0;
        for connection in connections.filter(|c| client_id.is_none_or(|id| id == c.client_id)) {
            connection.end.send_replace(Some(ending));
            ended += 1;
        }
        ended
    }

    /// Forgets every session, as a broker without persistence does in a restart, and cuts the connections.
    pub(super) fn forget(&self) {
        for (_, entry) in self.lock().sessions.drain() {
            if let Some(connection) = entry.connection {
                connection.end.send_replace(Some(Ending::Cut));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// The session, unless another connection has taken it over.
    fn held_by(&mut self, attachment: &Attachment) -> Option<&mut Entry> {
        let entry = self.sessions.get_mut(&attachment.name)?;
        let id = entry.connection.as_ref()?.id;
        (id == attachment.id).then_some(entry)
    }
}

impl Entry {
    fn is_over(&self, now: Instant) -> bool {
        let Some(gone_at) = self.gone_at else {
            return false;
        };
        match self.kept_for {
            None => true,
            Some(kept_for) => now.duration_since(gone_at) >= kept_for,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn terms(clean_start: bool, session_expiry: u32) -> Terms {
        Terms {
            client_id: "a".to_owned(),
            clean_start,
            session_expiry,
        }
    }

    fn message() -> Message {
        Message {
            topic: "t".to_owned(),
            payload: Bytes::new(),
            content_type: None,
        }
    }

    #[test]
    fn a_session_is_kept_for_as_long_as_was_asked() {
        let sessions = Sessions::default();
        let start = Instant::now();
        let first = sessions.attach("a", terms(false, 10), start).unwrap();
        assert!(!first.session_present);
        sessions.subscribe(&first, TopicFilter::parse("t").unwrap(), Qos::AtLeastOnce);
        sessions.detach(&first, start);
        let kept = Delivery {
            kept: 1,
            ..Delivery::default()
        };
        assert_eq!(sessions.route(&message(), start), kept);

        let back = start + Duration::from_secs(9);
        let second = sessions.attach("a", terms(false, 10), back).unwrap();
        assert!(second.session_present);
        assert!(sessions.next(&second, 1).is_some());
        sessions.detach(&second, back);

        let late = back + Duration::from_secs(10);
        assert_eq!(sessions.route(&message(), late), Delivery::default());
        assert!(
            !sessions
                .attach("a", terms(false, 10), late)
                .unwrap()
                .session_present
        );
    }

    #[test]
    fn a_clean_start_forgets_and_an_expiry_of_zero_ends_with_the_connection() {
        let sessions = Sessions::default();
        let now = Instant::now();
        let first = sessions.attach("a", terms(false, 10), now).unwrap();
        sessions.detach(&first, now);
        let second = sessions.attach("a", terms(true, 0), now).unwrap();
        assert!(!second.session_present);
        sessions.detach(&second, now);
        assert!(
            !sessions
                .attach("a", terms(false, 0), now)
                .unwrap()
                .session_present
        );
    }

    #[test]
    fn a_second_connection_takes_the_session_over() {
        let sessions = Sessions::default();
        let now = Instant::now();
        let first = sessions.attach("a", terms(false, 10), now).unwrap();
        sessions.subscribe(&first, TopicFilter::parse("t").unwrap(), Qos::AtLeastOnce);
        let second = sessions.attach("a", terms(false, 10), now).unwrap();
        assert_eq!(
            *first.end.borrow(),
            Some(Ending::Say(Reason::SESSION_TAKEN_OVER))
        );
        assert!(second.session_present);
        assert_eq!(sessions.route(&message(), now).connected, 1);
        assert!(sessions.next(&first, 1).is_none());
        // The end of the old connection does not touch the new one's session.
        sessions.detach(&first, now);
        assert!(sessions.next(&second, 1).is_some());
    }
}
