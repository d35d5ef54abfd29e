//! What the program tells about itself to those who run it.
//!
//! - [`Health`]: whether it can do its work
//! - [`Metrics`]: its figures, in Prometheus's text format
//! - [`Survey`]: what changes of all devices' sessions; [`Watch`]: of some

mod certificates;
mod exposition;
mod families;
mod health;
mod metrics;
mod process;
mod reference;
mod survey;
#[cfg(test)]
mod tests;
mod watch;

pub use certificates::watch as watch_certificates;
pub use health::{ConnectorHealth, Excluded, Health, Report, StoreHealth};
pub use metrics::{Metrics, Sources};
pub use reference::markdown as metrics_markdown;
pub use survey::{Figures, Step, Survey};
pub use watch::{Seen, Watch};
