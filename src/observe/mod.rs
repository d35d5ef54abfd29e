//! What the program tells about itself to those who run it.
//!
//! - [`Health`]: whether it can do its work

mod health;

pub use health::{ConnectorHealth, Health, Report, StoreHealth};
