//! The road in: what sessions receive is kept in a bounded window per device, and every listener reads from it at its
//! own pace.
//!
//! - [`Hub`]: takes downlinks from sessions, hands out [`Subscription`]s
//! - [`Event`]: one downlink with its [`Cursor`], rendered once and shared by all listeners
//! - [`Subscription`]: a position in the windows of some devices; replay and live reading are one and the same
//!
//! Nothing is queued per listener. A listener is a position and a waker, so ten thousand of them cost little, a slow
//! one costs no more than a fast one, and no interleaving of replay and live events can lose or repeat one.

mod cursor;
mod event;
mod hub;
mod payload;
mod ring;
mod subscription;
#[cfg(test)]
mod tests;

pub use cursor::{After, Cursor};
pub use event::Event;
pub use hub::{Hub, Limits};
pub use subscription::{Delivery, Gap, Subscription};
