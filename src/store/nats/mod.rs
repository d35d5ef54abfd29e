//! The engine on NATS JetStream, from nats-server 2.9 on.
//!
//! # Streams
//!
//! All are limits streams on disk, with names and subjects that begin with the store's prefix. A text that a subject cannot
//! carry is encoded (`names.rs`). Reads ask the leader of a stream, so they see every write that was confirmed.
//!
//! | stream | subject behind the prefix | holds |
//! |---|---|---|
//! | `uplinks` | `uplinks.DEVICE` | what waits, each with the answer to its request if that had an idempotency key. It is deleted when it is settled |
//! | `downlinks` | `downlinks.DEVICE` | the history; the place in the stream, counted from the store's origin, is the cursor |
//! | `receipts` | `receipts.UPLINK` | receipts of settled uplinks, the latest of each |
//! | `keys` | `keys.DEVICE.KEY` | answers to requests with an idempotency key, the latest of each |
//! | `records` | `records.KIND.KEY` | other parts' records; a removed one leaves an empty message; `records.term` counts openings, `records.origin` is what cursors are counted from |
//!
//! A header of each message says what a scan has to know, so opening reads no payload. What waits and what can be replayed
//! is indexed in memory: about 200 bytes for an uplink, 50 for a downlink.
//!
//! The queue is no work-queue stream with a consumer: a consumer keeps every unconfirmed message in its own state, writes
//! that anew again and again, and delivers again by time, while a queue that is indexed here needs none of it.
//!
//! # What is one transaction in a file
//!
//! Here it is several writes, in an order in which a crash between them does no harm:
//!
//! | what | writes | after a crash in between |
//! |---|---|---|
//! | an uplink is queued, and its request with a key answered | one message with both; then the answer by itself | the next opening writes the answer from the uplink |
//! | an uplink is settled | the receipt; then the uplink is deleted | it is delivered again, and its receipt says that it waits |
//! | a device is forgotten | its history is deleted; then a mark is written; then its keys go | its listeners are told of no gap |
//!
//! That an uplink is queued is its receipt, so queueing is one write.
//!
//! # Several processes
//!
//! Each has all downlinks and records in its index, and of the queue the devices that it holds ([`Holding`]). Whoever stores an
//! uplink of another's device tells that one by a message beside the streams (`nudge.rs`); what gets lost of those is found
//! by a look at what has come to the stream, every half minute. A process to which devices come looks through the whole
//! stream. Downlinks and records are followed in the order of their streams (`follow.rs`), and come into the index of the
//! one who has stored them by the same way. Numbers of uplinks are unique and ordered over all processes (`numbers.rs`).
//!
//! # What the server is believed
//!
//! A server that comes back from a crash may have forgotten deletions, may count its messages wrongly, and may give places
//! at the end of a stream again, when those had been deleted. So
//!
//! - a connection is used once (`dial.rs`): nothing that was handed to it is sent on the next,
//! - a place is trusted on the connection on which it was learned: a new one begins with a look through the whole queue,
//! - such a look ends at a milestone that was published for it (`reader.rs`), and not where the server says that no more is
//!   left; the last milestone stays, so that the end of the stream is never one that was deleted,
//! - what is read is compared with the id that is expected. An uplink that is not where it was is looked for before it is
//!   taken for gone, and its queue stands meanwhile.
//!
//! # When the server is away
//!
//! Everything that must be durable is answered as unavailable, at once, and what is under way when the connection is lost
//! too. Settlements and answers of finished requests are kept in memory, and receipts as far as there is room. When there is
//! a connection and all streams have a leader again, uplinks that were stored although they were answered as not taken are
//! looked for and deleted, what was kept is written, and only then is something taken again. Only if the program ends
//! before that, or a message comes out of the network after minutes, are they delivered. A downlink that was stored and
//! answered as not taken comes twice.
//!
//! # What a confirmation means
//!
//! nats-server confirms a message when it is written, and by more than half of the replicas, where there are several. It
//! syncs to the disk only every two minutes (`sync_interval`, from 2.10 on): a single server that loses its power loses what
//! it confirmed since. Losing its process does no harm.
//!
//! # Where it is
//!
//! | what | file |
//! |---|---|
//! | the engine as others see it, and how it is opened | `handle.rs`, `open.rs` |
//! | what the handle and all tasks share | `core.rs` |
//! | connecting; one connection; the way to the server over all of them and its health; what is asked of it; what fails | `dial.rs`, `conn.rs`, `link.rs`, `requests.rs`, `failure.rs` |
//! | names of streams and subjects, and how streams are made | `names.rs`, `streams.rs` |
//! | the index of the queue; one uplink in it; what must not be sent again; numbers | `queues.rs`, `slot.rs`, `unwanted.rs`, `numbers.rs` |
//! | storing an uplink; how it lies in its stream; reading it | `enqueue.rs`, `stored.rs`, `lookup.rs` |
//! | the task that settles; what it writes; how it comes back after an outage; how it looks through the queue | `writer.rs`, `changes.rs`, `recovery.rs`, `rescan.rs` |
//! | reading a stream to its end or on and on; what follows from it | `reader.rs`, `follow.rs` |
//! | what is told of stored uplinks | `nudge.rs` |
//! | what lies in the stream of downlinks; the task that stores some; the index of the history | `entry.rs`, `appender.rs`, `histories.rs` |
//! | idempotency keys | `keys.rs` |
//! | records, and which there are | `record.rs`, `known.rs` |
//!
//! [`Holding`]: crate::store::Holding

mod appender;
mod changes;
mod conn;
mod core;
mod dial;
mod enqueue;
mod entry;
mod failure;
mod follow;
mod handle;
mod histories;
mod keys;
mod known;
mod link;
mod lookup;
mod names;
mod nudge;
mod numbers;
mod open;
mod queues;
mod reader;
mod record;
mod recovery;
mod requests;
mod rescan;
mod slot;
mod stored;
mod streams;
#[cfg(test)]
mod tests;
mod unwanted;
mod writer;

pub(crate) use dial::dial;
pub use handle::Nats;
pub use open::NatsError;
#[cfg(test)]
pub(crate) use tests::TestServer;
