//! One client's session: what it subscribes to, what waits for it, and what it has not acknowledged. No I/O.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::message::Qos;
use crate::topic::TopicFilter;

/// How many messages wait for a client that is away or slow.
pub(super) const MAX_QUEUED: usize = 1_000;

/// A message to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Topic name.
    pub topic: String,
    /// Payload.
    pub payload: Bytes,
    /// MQTT 5's ContentType.
    pub content_type: Option<String>,
}

/// What is to be written to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) message: Message,
    pub(super) qos: Qos,
    /// 0 with QoS 0.
    pub(super) pkid: u16,
    pub(super) dup: bool,
}

#[derive(Default)]
pub(super) struct Session {
    subscriptions: Vec<(TopicFilter, Qos)>,
    queue: VecDeque<(Message, Qos)>,
    inflight: VecDeque<Inflight>,
    last_pkid: u16,
}

struct Inflight {
    pkid: u16,
    message: Message,
    /// Sent on an earlier connection and not yet on this one.
    resend: bool,
}

impl Session {
    /// A subscription to the same filter replaces the earlier one (MQTT 5 §3.8.4).
    pub(super) fn subscribe(&mut self, filter: TopicFilter, qos: Qos) {
        self.unsubscribe(filter.expose());
        self.subscriptions.push((filter, qos));
    }

    pub(super) fn unsubscribe(&mut self, filter: &str) {
        self.subscriptions.retain(|(f, _)| f.expose() != filter);
    }

    /// The QoS of the best subscription to a topic.
    pub(super) fn wants(&self, topic: &str) -> Option<Qos> {
        let matching = self.subscriptions.iter().filter(|(f, _)| f.matches(topic));
        matching.map(|(_, qos)| *qos).max()
    }

    /// Whether there was room.
    pub(super) fn push(&mut self, message: Message, qos: Qos) -> bool {
        let room = self.queue.len() < MAX_QUEUED;
        if room {
            self.queue.push_back((message, qos));
        }
        room
    }

    /// What may be sent now, with at most `window` messages unacknowledged.
    pub(super) fn next(&mut self, window: usize) -> Option<Outgoing> {
        if let Some(old) = self.inflight.iter_mut().find(|sent| sent.resend) {
            old.resend = false;
            return Some(Outgoing {
                message: old.message.clone(),
                qos: Qos::AtLeastOnce,
                pkid: old.pkid,
                dup: true,
            });
        }
        let (_, qos) = self.queue.front()?;
        if *qos != Qos::AtMostOnce && self.inflight.len() >= window {
            return None;
        }
        let (message, qos) = self.queue.pop_front()?;
        let pkid = match qos {
            Qos::AtMostOnce => 0,
            _ => self.free_pkid(),
        };
        if pkid != 0 {
            self.inflight.push_back(Inflight {
                pkid,
                message: message.clone(),
                resend: false,
            });
        }
        Some(Outgoing {
            message,
            qos,
            pkid,
            dup: false,
        })
    }

    pub(super) fn acknowledged(&mut self, pkid: u16) {
        self.inflight.retain(|sent| sent.pkid != pkid);
    }

    /// A new connection: what was not acknowledged is sent again (MQTT 5 §4.4).
    pub(super) fn resume(&mut self) {
        for sent in &mut self.inflight {
            sent.resend = true;
        }
    }

    /// Its client has gone: QoS 0 does not wait.
    pub(super) fn pause(&mut self) {
        self.queue.retain(|(_, qos)| *qos != Qos::AtMostOnce);
    }

    fn free_pkid(&mut self) -> u16 {
        loop {
            self.last_pkid = self.last_pkid.checked_add(1).unwrap_or(1);
            if self.inflight.iter().all(|sent| sent.pkid != self.last_pkid) {
                return self.last_pkid;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: &str) -> Message {
        Message {
            topic: topic.to_owned(),
            payload: Bytes::new(),
            content_type: None,
        }
    }

    fn session() -> Session {
        let mut session = Session::default();
        session.subscribe(TopicFilter::parse("a/#").unwrap(), Qos::AtLeastOnce);
        session
    }

    fn topics(session: &mut Session, window: usize) -> Vec<(String, u16, bool)> {
        std::iter::from_fn(|| session.next(window))
            .map(|out| (out.message.topic, out.pkid, out.dup))
            .collect()
    }

    #[test]
    fn the_window_bounds_what_is_unacknowledged() {
        let mut session = session();
        for topic in ["a/1", "a/2", "a/3"] {
            assert!(session.push(message(topic), Qos::AtLeastOnce));
        }
        assert_eq!(
            topics(&mut session, 2),
            [("a/1".to_owned(), 1, false), ("a/2".to_owned(), 2, false)]
        );
        session.acknowledged(1);
        assert_eq!(topics(&mut session, 2), [("a/3".to_owned(), 3, false)]);
    }

    #[test]
    fn what_was_not_acknowledged_is_sent_again_first_and_marked() {
        let mut session = session();
        session.push(message("a/1"), Qos::AtLeastOnce);
        session.push(message("a/2"), Qos::AtLeastOnce);
        topics(&mut session, 9);
        session.acknowledged(1);
        session.push(message("a/3"), Qos::AtLeastOnce);
        session.resume();
        assert_eq!(
            topics(&mut session, 9),
            [("a/2".to_owned(), 2, true), ("a/3".to_owned(), 3, false)]
        );
    }

    #[test]
    fn an_identifier_in_use_is_not_given_twice() {
        let mut session = session();
        session.push(message("a/1"), Qos::AtLeastOnce);
        topics(&mut session, 9);
        session.last_pkid = u16::MAX;
        session.push(message("a/2"), Qos::AtLeastOnce);
        assert_eq!(topics(&mut session, 9), [("a/2".to_owned(), 2, false)]);
    }

    #[test]
    fn the_queue_is_bounded_and_qos_0_does_not_wait() {
        let mut session = session();
        for _ in 0..MAX_QUEUED {
            assert!(session.push(message("a/1"), Qos::AtMostOnce));
        }
        assert!(!session.push(message("a/1"), Qos::AtMostOnce));
        session.pause();
        assert_eq!(topics(&mut session, 9), []);
    }

    #[test]
    fn subscriptions_replace_and_end() {
        let mut session = session();
        session.subscribe(TopicFilter::parse("a/#").unwrap(), Qos::AtMostOnce);
        assert_eq!(session.wants("a/b"), Some(Qos::AtMostOnce));
        session.unsubscribe("a/#");
        assert_eq!(session.wants("a/b"), None);
    }
}
