//! What an order changes in a session, and what it asks of the connection. The connection, if there is one, is the
//! caller's business.

use std::sync::Arc;

use super::orders::Order;
use super::routes::RouteChange;
use super::spec::SessionSpec;
use super::task::Session;

/// What an order asks of the connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// Other subscriptions; most often none.
    Routes(RouteChange),
    /// A new one.
    Reconnect,
    /// Its end.
    Close,
}

impl Session {
    /// Obeys one order.
    pub(super) fn obey(&mut self, order: Order) -> Demand {
        match order {
            Order::Replace(spec) => {
                // Until the connection is closed, what arrives on it is for the devices that it was opened for.
                self.next = Some(spec);
                Demand::Reconnect
            }
            Order::Close => Demand::Close,
            _ if self.next.is_some() => {
                // Of no use to a connection that is about to be closed.
                self.obey_in_next(order);
                Demand::Routes(RouteChange::default())
            }
            Order::Adjust(spec) => {
                let change = self.spec.routes.change_to(&spec.routes);
                self.be(*spec);
                self.owe(change)
            }
            Order::Carry {
                device,
                routes,
                hidden,
            } => {
                if let Some(secret) = hidden {
                    Arc::make_mut(&mut self.spec.connect).hidden.push(secret);
                    self.status.set_connect(Arc::clone(&self.spec.connect));
                }
                let change = self.spec.routes.change(&device, routes);
                self.owe(change)
            }
            Order::Drop(device) => {
                let change = RouteChange {
                    unsubscribe: self.spec.routes.remove(&device),
                    ..RouteChange::default()
                };
                self.owe(change)
            }
        }
    }

    /// Obeys all that has been ordered while there was no connection; `false` when the session is to end.
    pub(super) fn catch_up(&mut self) -> bool {
        while let Some(order) = self.orders.try_next() {
            if self.obey(order) == Demand::Close {
                return false;
            }
        }
        self.become_next();
        true
    }

    /// Becomes what it was told to be, after the connection that was opened before has ended.
    pub(super) fn become_next(&mut self) {
        if let Some(next) = self.next.take() {
            let change = self.spec.routes.change_to(&next.routes);
            self.unwanted.extend(change.unsubscribe);
            self.be(*next);
        }
    }

    fn be(&mut self, spec: SessionSpec) {
        self.shown_client_id = spec.connect.shown_client_id();
        self.password = spec.connect.password.clone();
        self.status.set_connect(Arc::clone(&spec.connect));
        self.spec = spec;
    }

    fn obey_in_next(&mut self, order: Order) {
        let Some(next) = &mut self.next else {
            return;
        };
        match order {
            Order::Adjust(spec) => **next = *spec,
            Order::Carry {
                device,
                routes,
                hidden,
            } => {
                Arc::make_mut(&mut next.connect).hidden.extend(hidden);
                next.routes.carry(&device, routes);
            }
            Order::Drop(device) => {
                next.routes.remove(&device);
            }
            Order::Replace(_) | Order::Close => {}
        }
    }

    /// Notes what the broker has to be told, now or on the next connection, if it still knows the session then.
    fn owe(&mut self, change: RouteChange) -> Demand {
        self.unwanted.extend(change.unsubscribe.iter().cloned());
        Demand::Routes(change)
    }
}
