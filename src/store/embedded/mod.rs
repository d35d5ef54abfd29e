//! The engine in one file, on [redb](redb): a copy-on-write B-tree, one thread that writes, any number that read.
//!
//! # Tables of version 1
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `format` | the version of the tables, `u32` in little-endian order |
//! | `meta` | `totals` | number of the commit, highest uplink number, newest and first cursor, sums |
//! | `queue` | device, uplink number | the uplink |
//! | `queue_devices` | device | count, bytes, and when the first was accepted; absent when nothing waits |
//! | `receipts` | uplink id | the receipt, of queued uplinks too |
//! | `receipt_order` | ascending | uplink id, completion: in this order receipts go; queued ones are not in it |
//! | `keys` | device, idempotency key | hash of the request, the answer, when it was given |
//! | `key_order` | ascending | device, key, when: in this order answers go |
//! | `downlinks` | device, cursor | the downlink |
//! | `downlink_order` | cursor | device, size, reception: in this order downlinks go |
//! | `downlink_devices` | device | count, bytes, the last cursor that has gone; stays |
//! | `records` | kind, key | other parts' records |
//!
//! Values of type bytes begin with a version of their own (`store/format.rs`). Times are microseconds since the epoch. A file
//! with a newer version is refused; there is no older one. Counters are written in the transaction that changes what
//! they count, so opening reads no entry.
//!
//! # What a crash leaves
//!
//! | at this point | there is |
//! |---|---|
//! | the file is being created | a file without tables: it is filled at the next start. Before redb has written its first page, one that is set aside as corrupt |
//! | a change waits, or its transaction is being written | nothing of it: redb writes to unused pages, and a commit is one byte that is flipped after they are durable (two syncs) |
//! | after the flip, before the answer | the change; its caller does not know. An uplink with an idempotency key is found by it |
//! | after the answer | the change |
//! | an uplink is settled, its removal not committed | the uplink: it is delivered again |
//! | receipts wait for their transaction | nothing of these receipts; their uplinks were delivered |
//! | a request with a key is in flight | nothing of it: the key is free |
//!
//! Opening after a crash takes a millisecond (quick repair), whatever the size.
//!
//! # When the disk fails
//!
//! After an error, everybody in the transaction is answered as unavailable, the file is opened anew, and reading goes on
//! while a transaction is tried from time to time. Settlements and answers of finished requests are kept in memory for
//! it. A failed commit may have taken effect: then its uplinks are hidden, and that first transaction removes them,
//! because they were answered as not taken. Only if the program ends before that are they delivered.
//!
//! A corrupt file is renamed to `<name>.corrupt-<time>`, and an empty one begun: at the start, where a small file is
//! checked as a whole, or when it turns out later.

mod access;
mod answers;
mod aside;
mod batch;
mod change;
mod core;
mod file;
mod handle;
mod history;
mod inbox;
mod keys;
mod ledger;
mod open_error;
mod outage;
mod overlay;
mod queue;
mod receipts;
mod shared;
mod tables;
#[cfg(test)]
mod tests;
mod totals;
mod transaction;
mod writer;

pub use handle::Embedded;
pub use open_error::OpenError;
