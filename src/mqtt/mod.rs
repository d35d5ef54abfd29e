//! MQTT on the wire: the only importer of `rumqttc`, whose packet codec serves both protocol versions.
//!
//! - [`packet`], [`reason`]: control packets and reason codes, the same for both versions
//! - [`codec`]: bytes to packets and back
//!
//! `rumqttc`'s event loop is not used: it drops or repeats messages across reconnects and does not tie a publish to
//! its PUBACK. What a connection has in flight is the session's business (`session::ledger`).

pub mod codec;
pub mod packet;
pub mod reason;
mod v3;
mod v5;
