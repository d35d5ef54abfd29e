//! What the program tells about itself to those who run it.
//!
//! - [`Health`]: whether it can do its work
//! - [`Metrics`]: its figures, in Prometheus's text format

mod exposition;
mod families;
mod health;
mod metrics;
mod process;
mod reference;

pub use health::{ConnectorHealth, Health, Report, StoreHealth};
pub use metrics::{Metrics, Sources};
pub use reference::markdown as metrics_markdown;
