//! What the program tells about itself to those who run it.
//!
//! - [`Health`]: whether it can do its work
//! - [`Metrics`]: its figures, in Prometheus's text format

mod certificates;
mod exposition;
mod families;
mod health;
mod metrics;
mod process;
mod reference;

pub use certificates::watch as watch_certificates;
pub use health::{ConnectorHealth, Excluded, Health, Report, StoreHealth};
pub use metrics::{Metrics, Sources};
pub use reference::markdown as metrics_markdown;
