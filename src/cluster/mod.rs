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
//! How this process is one of them is in `membership`, in builds with the cargo feature `nats`; leases run by `clock`.

#[cfg(feature = "nats")]
mod clock;
#[cfg(feature = "nats")]
mod membership;
mod partition;
mod peers;
mod places;
mod report;
mod sessions;
mod table;

#[cfg(feature = "nats")]
pub use membership::{Cluster, ClusterSettings, Look, Membership, Seen};
pub use partition::{Iter, Partition, Partitions};
pub use peers::{Answerer, AskError, Peers};
pub use places::Places;
pub use report::{MemberReport, MemberState, Report};
pub use sessions::Sessions;
pub use table::{Member, MemberId, Place, Table};
