//! Sessions: one task for each MQTT connection, with its window, its ledger and its renewals.
//!
//! - [`SessionHandle`]: how the rest of the program reaches one
//! - [`Publish`], [`Outcome`]: what it is given, and what it says of it
//! - [`Ticket`]: what a request waits on
//! - [`Status`]: what it tells about itself

mod budget;
mod handle;
mod outcome;
mod status;
mod ticket;

pub use budget::{Budget, Share};
#[cfg(test)]
pub(crate) use handle::Detached;
pub use handle::{SessionHandle, SubmitError};
pub use outcome::{NotSent, Outcome, Publish};
pub use status::{Counters, Snapshot, State, Status, Trouble};
pub use ticket::{Ticket, Withdrawn};
