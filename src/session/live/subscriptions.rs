//! What is subscribed to on a connection: all that the routes say when it begins, and what changes while it lives.

use super::{End, Live};
use crate::message::Qos;
use crate::mqtt::packet::Packet;
use crate::mqtt::reason::Reason;
use crate::session::ended::Ended;
use crate::session::obey::Demand;
use crate::session::orders::Order;
use crate::topic::TopicFilter;

/// Filters in one SUBSCRIBE or UNSUBSCRIBE.
const FILTERS_AT_ONCE: usize = 100;

impl Live<'_> {
    /// Subscribes to everything, and gives up what a broker that has kept the session still has from before.
    pub(super) fn begin_subscriptions(&mut self, session_present: bool) -> Result<(), End> {
        let mut unwanted = std::mem::take(&mut self.session.unwanted);
        if session_present {
            unwanted.retain(|filter| !self.session.spec.routes.needs(filter));
            self.unsubscribe(&unwanted)?;
            self.session.unwanted = unwanted;
        }
        let filters = self.session.spec.routes.filters();
        self.subscribe(&filters)?;
        self.note_subscriptions();
        Ok(())
    }

    /// Does what the session is told.
    pub(super) fn obey(&mut self, order: Order) -> Result<(), End> {
        let hidden = match &order {
            Order::Carry { hidden, .. } => hidden.clone(),
            _ => None,
        };
        if let Some(secret) = hidden {
            self.connection.hide(secret);
        }
        match self.session.obey(order) {
            Demand::Routes(change) => {
                // In this order: what arrives twice for a moment is better than what does not arrive.
                self.subscribe(&change.subscribe)?;
                self.unsubscribe(&change.unsubscribe)?;
            }
            Demand::Reconnect if self.is_ending() => {}
            Demand::Reconnect => self.start_drain(Ended::Replaced),
            Demand::Close => self.start_drain(Ended::Shutdown),
        }
        self.note_subscriptions();
        Ok(())
    }

    /// The broker has answered a SUBSCRIBE.
    pub(super) fn subscribed(&mut self, pkid: u16, reasons: &[Reason]) {
        let Some(answered) = self.subscribes.iter().position(|(sent, _)| *sent == pkid) else {
            return;
        };
        let (_, filters) = self.subscribes.swap_remove(answered);
        let mut changed = false;
        for (filter, reason) in filters.into_iter().zip(reasons) {
            changed |= match reason.is_error() {
                true => self.refused.insert(filter, *reason) != Some(*reason),
                false => self.refused.remove(&filter).is_some(),
            };
        }
        if changed {
            let devices = self.session.spec.routes.devices_with(&self.refused);
            self.session.status.subscriptions_refused(devices);
        }
        self.note_subscriptions();
    }

    /// The broker has answered an UNSUBSCRIBE.
    pub(super) fn unsubscribed(&mut self) {
        self.unsubscribes = self.unsubscribes.saturating_sub(1);
        if self.unsubscribes == 0 {
            self.session.unwanted.clear();
        }
    }

    fn note_subscriptions(&self) {
        if self.subscribes.is_empty() {
            let obeyed = self.session.orders.taken;
            self.session.status.subscribed(obeyed);
        }
    }

    fn subscribe(&mut self, filters: &[TopicFilter]) -> Result<(), End> {
        for asked in filters.chunks(FILTERS_AT_ONCE) {
            let filters = asked
                .iter()
                .map(|filter| (filter.expose().to_owned(), Qos::AtLeastOnce))
                .collect();
            let pkid = self.session.ledger.next_pkid();
            self.connection
                .queue(&Packet::Subscribe { pkid, filters })?;
            self.subscribes.push((pkid, asked.to_vec()));
        }
        Ok(())
    }

    fn unsubscribe(&mut self, filters: &[TopicFilter]) -> Result<(), End> {
        for filters in filters.chunks(FILTERS_AT_ONCE) {
            let filters = filters.iter().map(|filter| filter.expose().to_owned());
            let filters = filters.collect();
            let pkid = self.session.ledger.next_pkid();
            self.connection
                .queue(&Packet::Unsubscribe { pkid, filters })?;
            self.unsubscribes += 1;
        }
        Ok(())
    }
}
