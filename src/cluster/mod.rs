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

mod partition;
mod peers;
mod places;
mod sessions;
mod table;

pub use partition::{Iter, Partition, Partitions};
pub use peers::{Answerer, AskError, Peers};
pub use places::Places;
pub use sessions::Sessions;
pub use table::{Member, MemberId, Place, Table};
