//! `causeway demo`: pretended platforms that check what the real ones check, and sample devices to try them with.
//!
//! - [`broker`]: MQTT, with every platform's rules behind one trait
//! - [`akenza`], [`sap`]: the platforms' rules
//! - [`platform`]: what was received and refused
//! - [`console`]: the same over HTTP, and downlinks
//! - [`folder`]: keys, certificates, configuration
//! - [`run`]: all of it together with the bridge

pub mod akenza;
mod announce;
pub mod broker;
pub mod console;
pub mod folder;
pub mod platform;
mod run;
pub mod sap;

pub use run::{BridgeError, BridgeParts, DemoError, DemoOptions, RunningBridge, run};

#[cfg(test)]
mod tests;
