//! What one session has sent and the broker has not settled yet, in order.
//!
//! The ledger outlives a connection: what it holds is sent again on the next one, first and in the same order.
//! With the old session still at the broker it is repeated under the same packet identifiers with DUP
//! (MQTT 5 §4.4); without it, as new messages.

use std::collections::VecDeque;
use std::time::Instant;

use super::ticket::Entry;

/// Sent and unsettled publishes of QoS 1 and 2.
#[derive(Debug)]
pub(super) struct Ledger {
    in_flight: VecDeque<InFlight>,
    last_pkid: u16,
}

/// One of them.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) pkid: u16,
    pub(super) entry: Entry,
    pub(super) sent_at: Instant,
    /// QoS 2: PUBREC has come, PUBREL has gone.
    pub(super) released: bool,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self {
            in_flight: VecDeque::new(),
            last_pkid: 0,
        }
    }

    /// How many are in flight.
    pub(super) fn len(&self) -> usize {
        self.in_flight.len()
    }

    /// Which message is the oldest.
    pub(super) fn first(&self) -> Option<usize> {
        self.in_flight.front().map(|first| first.entry.identity())
    }

    /// When the oldest one was sent.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.in_flight.front().map(|first| first.sent_at)
    }

    /// A packet identifier that nothing in flight has. There are 65,535, and the window is far smaller.
    pub(super) fn next_pkid(&mut self) -> u16 {
        loop {
            self.last_pkid = self.last_pkid.checked_add(1).unwrap_or(1);
            if self
                .in_flight
                .iter()
                .all(|sent| sent.pkid != self.last_pkid)
            {
                return self.last_pkid;
            }
        }
    }

    /// Notes that an entry was sent under this identifier.
    pub(super) fn sent(&mut self, pkid: u16, entry: Entry) {
        self.in_flight.push_back(InFlight {
            pkid,
            entry,
            sent_at: Instant::now(),
            released: false,
        });
    }

    /// Takes out the entry that the broker has settled. Brokers settle in order, so it is nearly always the first.
    pub(super) fn settled(&mut self, pkid: u16) -> Option<Entry> {
        let index = self.position(pkid)?;
        self.in_flight.remove(index).map(|sent| sent.entry)
    }

    /// Takes out the oldest one.
    pub(super) fn take_first(&mut self) -> Option<Entry> {
        self.in_flight.pop_front().map(|sent| sent.entry)
    }

    /// Notes the first half of QoS 2; `false` when nothing is in flight under this identifier.
    pub(super) fn released(&mut self, pkid: u16) -> bool {
        let Some(index) = self.position(pkid) else {
            return false;
        };
        self.in_flight[index].released = true;
        true
    }

    /// Everything in flight, to be sent again. What nobody waits for any more is left out: its request was told that
    /// the outcome is unknown and that it will not be repeated.
    pub(super) fn take_for_repeat(&mut self) -> VecDeque<InFlight> {
        let mut taken = std::mem::take(&mut self.in_flight);
        taken.retain(|sent| sent.released || sent.entry.is_wanted());
        taken
    }

    /// Puts something that was sent again back, under the identifier it has now.
    pub(super) fn repeated(&mut self, sent: InFlight) {
        self.in_flight.push_back(InFlight {
            sent_at: Instant::now(),
            ..sent
        });
    }

    fn position(&self, pkid: u16) -> Option<usize> {
        self.in_flight.iter().position(|sent| sent.pkid == pkid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Qos;
    use crate::session::budget::Budget;
    use crate::session::outcome::Publish;
    use crate::session::ticket::{Ticket, ticket};
    use crate::topic::TopicName;

    fn entry(payload: &'static str) -> (Ticket, Entry) {
        let publish = Publish {
            topic: TopicName::parse("t").unwrap(),
            payload: payload.into(),
            content_type: None,
            qos: Qos::AtLeastOnce,
            retain: false,
            expires_at: None,
            traceparent: None,
        };
        let share = Budget::new(100).take(1).unwrap();
        ticket(publish, Default::default(), Some(share), false)
    }

    fn payloads(taken: &VecDeque<InFlight>) -> Vec<(u16, &[u8])> {
        taken
            .iter()
            .map(|sent| (sent.pkid, &sent.entry.publish().payload[..]))
            .collect()
    }

    #[test]
    fn identifiers_in_flight_are_not_given_out_again() {
        let mut ledger = Ledger::new();
        let (_ticket, first) = entry("a");
        let pkid = ledger.next_pkid();
        ledger.sent(pkid, first);
        for _ in 0..70_000 {
            let next = ledger.next_pkid();
            assert!(next != 0 && next != pkid);
        }
    }

    #[test]
    fn what_is_unsettled_is_repeated_in_order_and_what_nobody_waits_for_is_not() {
        let mut ledger = Ledger::new();
        let mut tickets = Vec::new();
        for payload in ["a", "b", "c", "d"] {
            let (ticket, entry) = entry(payload);
            entry.mark_sent();
            let pkid = ledger.next_pkid();
            ledger.sent(pkid, entry);
            tickets.push(ticket);
        }
        assert!(ledger.settled(2).is_some() && ledger.settled(2).is_none());
        tickets.remove(2).withdraw();
        assert_eq!(
            payloads(&ledger.take_for_repeat()),
            [(1, &b"a"[..]), (4, b"d")]
        );
        assert_eq!(ledger.len(), 0);
    }
}
