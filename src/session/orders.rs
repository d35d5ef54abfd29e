//! What a running session is told about itself: another specification, devices that join and leave it, its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, mpsc};

use super::routes::DeviceRoutes;
use super::spec::SessionSpec;
use super::status::Status;
use crate::device::DeviceId;
use crate::secret::Secret;

/// The reins of a session, for whoever decides which sessions there are. Orders are obeyed in their order, whether the
/// session is connected or not. What was submitted to the session keeps its place.
#[derive(Debug, Clone)]
pub struct SessionControl {
    /// Boxed: every session's channel makes room for 32 of them at once, and most get none.
    orders: mpsc::UnboundedSender<Box<Order>>,
    urgent: Arc<Urgent>,
    status: Arc<Status>,
}

/// One order.
#[derive(Debug)]
pub(super) enum Order {
    /// Connect anew, as this.
    Replace(Box<SessionSpec>),
    /// Be this from now on, on the connection that there is.
    Adjust(Box<SessionSpec>),
    /// Carry a device, or carry it differently.
    Carry {
        device: DeviceId,
        routes: DeviceRoutes,
        hidden: Option<Secret>,
    },
    /// Carry a device no longer.
    Drop(DeviceId),
    /// End.
    Close,
}

impl Order {
    /// Whether an attempt to connect is of no use any more.
    fn is_urgent(&self) -> bool {
        matches!(self, Self::Replace(_) | Self::Close)
    }
}

impl SessionControl {
    /// Another connection takes the place of the one that there is, once that has settled what is in flight. What is not
    /// confirmed is sent again on the new one, first and in its order.
    pub fn replace(&self, spec: SessionSpec) {
        self.give(Order::Replace(Box::new(spec)));
    }

    /// Another specification, for which the connection need not be closed: only its routes, its pace and what may be sent
    /// are other ones.
    pub fn adjust(&self, spec: SessionSpec) {
        self.give(Order::Adjust(Box::new(spec)));
    }

    /// A device joins, or has other topics. `hidden` is a secret that may stand in them.
    pub fn carry(&self, device: DeviceId, routes: DeviceRoutes, hidden: Option<Secret>) {
        self.give(Order::Carry {
            device,
            routes,
            hidden,
        });
    }

    /// A device leaves.
    pub fn drop_device(&self, device: DeviceId) {
        self.give(Order::Drop(device));
    }

    /// The session settles what is in flight and ends. What it has not sent, it gives back as not sent.
    pub fn close(&self) {
        self.give(Order::Close);
    }

    fn give(&self, order: Order) {
        self.status.ordered();
        let urgent = order.is_urgent();
        if urgent {
            self.urgent.open.fetch_add(1, Ordering::Release);
        }
        // A session that has ended obeys no more.
        let _ = self.orders.send(Box::new(order));
        if urgent {
            self.urgent.given.notify_one();
        }
    }
}

/// Tells of orders that an attempt to connect is broken off for; the attempt itself does not read them.
#[derive(Debug, Default)]
pub(super) struct Urgent {
    open: AtomicUsize,
    given: Notify,
}

impl Urgent {
    /// Waits until there is one.
    pub(super) async fn wait(&self) {
        while self.open.load(Ordering::Acquire) == 0 {
            self.given.notified().await;
        }
    }
}

/// The session's end.
#[derive(Debug)]
pub(super) struct Orders {
    receiver: mpsc::UnboundedReceiver<Box<Order>>,
    pub(super) urgent: Arc<Urgent>,
    /// How many were taken.
    pub(super) taken: u64,
}

impl Orders {
    pub(super) fn new(status: &Arc<Status>) -> (SessionControl, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let urgent = Arc::new(Urgent::default());
        let control = SessionControl {
            orders: sender,
            urgent: Arc::clone(&urgent),
            status: Arc::clone(status),
        };
        let orders = Self {
            receiver,
            urgent,
            taken: 0,
        };
        (control, orders)
    }

    /// The next order; never, when nobody is left to give one. Cancel-safe.
    pub(super) async fn next(&mut self) -> Order {
        match self.receiver.recv().await {
            Some(order) => self.took(*order),
            None => std::future::pending().await,
        }
    }

    /// The next order, if it is there.
    pub(super) fn try_next(&mut self) -> Option<Order> {
        let order = self.receiver.try_recv().ok()?;
        Some(self.took(*order))
    }

    fn took(&mut self, order: Order) -> Order {
        self.taken += 1;
        if order.is_urgent() {
            self.urgent.open.fetch_sub(1, Ordering::Release);
        }
        order
    }
}
