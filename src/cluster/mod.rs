//! Several replicas that share one store: who they are, and which of them holds which MQTT sessions.
//!
//! Every session belongs to one of 64 [partitions](Partition), and a partition to at most one member at a time, who has a
//! lease on it. Plain data, known to every build:
//!
//! - [`Partition`], [`Partitions`]: what is given out
//! - [`MemberId`], [`Member`], [`Table`], [`Place`]: who there is, and who holds what, as this process knows it
//!
//! and what the others see of it:
//!
//! - [`Sessions`]: told which partitions this process gets, leaves and loses
//! - [`Peers`], [`Answerer`]: one request from a member to another
//! - [`Places`]: which device is where
//! - [`Report`]: all that is known, for people and for metrics
//!
//! The rest is in builds with the cargo feature `nats`, from the bottom up: `clock` (leases run by it), `record` (what
//! members write for each other, in a stream of NATS JetStream), `view`, `following` (what is known of it), `plan` (what is
//! to be done: pure), `holdings` (what this process has), `line` (a connection), `bucket` (the stream), `keeper` with `outcome` and `showing` (the
//! loop), `asking` (requests), and `Cluster`, who puts them together.
//!
//! # Why there are never two holders
//!
//! A member renews its lease by writing its own record, and uses what it has until five sixths of a lease after it *sent*
//! the last renewal that was confirmed. Another takes a partition from it only after it has *buried* it: written over the
//! record of the last renewal, a whole lease after it saw it, that the member is dead. If the member has renewed meanwhile,
//! that fails, for the record is another one; if not, it has stopped by its own clock before. Partitions change hands only
//! by writing over the record that gave them to the holder before, so of two who try, one fails. No clock is compared with
//! another's, and no server has to forget anything in time.
//!
//! A process that was stopped looks at its lease before it does anything else. That it may have been about to send
//! something cannot be ruled out; the broker has then long given the client id to another connection.

#[cfg(feature = "nats")]
mod asking;
#[cfg(feature = "nats")]
mod bucket;
#[cfg(feature = "nats")]
mod clock;
#[cfg(feature = "nats")]
mod following;
#[cfg(feature = "nats")]
mod holdings;
#[cfg(feature = "nats")]
mod keeper;
#[cfg(feature = "nats")]
mod line;
#[cfg(feature = "nats")]
mod look;
#[cfg(feature = "nats")]
mod member;
#[cfg(feature = "nats")]
mod outcome;
mod partition;
mod peers;
mod places;
#[cfg(feature = "nats")]
mod plan;
#[cfg(feature = "nats")]
mod record;
mod report;
mod sessions;
#[cfg(feature = "nats")]
mod showing;
mod table;
#[cfg(test)]
#[cfg(feature = "nats")]
mod tests;
#[cfg(feature = "nats")]
mod view;

#[cfg(feature = "nats")]
pub use look::{Look, Seen};
#[cfg(feature = "nats")]
pub use member::{Cluster, ClusterSettings, Membership};
pub use partition::{Iter, Partition, Partitions};
pub use peers::{Answerer, AskError, Peers};
pub use places::Places;
pub use report::{MemberReport, MemberState, Report};
pub use sessions::Sessions;
pub use table::{Member, MemberId, Place, Table};
