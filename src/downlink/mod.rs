//! The road in: what sessions receive is stored, shown in a bounded window per device, and read by every listener at its
//! own pace.
//!
//! - [`Intake`] and [`Writer`]: from sessions into the store, and then into the hub
//! - [`Hub`]: the windows of all devices; hands out [`Subscription`]s
//! - [`Event`]: one downlink with its [`Cursor`], rendered once and shared by all listeners
//! - [`Subscription`]: a position in the stream of some devices; replay and live reading are one and the same
//!
//! Nothing is queued per listener. A listener is a position and a waker, so ten thousand of them cost little, a slow
//! one costs no more than a fast one, and no interleaving of replay and live events can lose or repeat one: where its
//! position is in the windows, it reads there, and where it has fallen off, it reads a page of the store, until it is in
//! the windows again. Nobody sees what is not durable yet. Without a store, the windows are all there is.

mod count;
mod cursor;
mod event;
mod history;
mod hub;
mod intake;
mod order;
mod payload;
mod ring;
mod subscription;
#[cfg(test)]
mod tests;

pub use cursor::{After, Cursor};
pub use event::Event;
pub use hub::{Hub, Limits};
pub use intake::{Intake, Writer, intake};
pub use subscription::{Delivery, Gap, Subscription};
