//! Being one of several replicas, by way of NATS JetStream.
//!
//! From the bottom up: `record` (what members write for each other, in a stream), `view`, `following` (what is known of
//! it), `plan` (what is to be done: pure), `holdings` (what this process has), `line` (a connection), `bucket` (the stream),
//! `keeper` with `outcome` and `showing` (the loop), `asking` (requests), [`Cluster`], who puts them together, and [`Look`],
//! for whoever is no member.
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

mod asking;
mod bucket;
mod following;
mod holdings;
mod keeper;
mod line;
mod look;
mod member;
mod outcome;
mod plan;
mod record;
mod showing;
#[cfg(test)]
mod tests;
mod view;

pub use look::{Look, Seen};
pub use member::{Cluster, ClusterSettings, Membership};
