//! Where a broker is, how it is reached, and which MQTT it speaks.
//!
//! - [`BrokerUrl`]: its address
//! - [`Host`]: a host's name or address
//! - [`Proxy`]: what stands between
//! - [`MqttVersion`]

mod host;
mod proxy;
mod url;
mod version;

pub(crate) use host::authority;
pub use host::{AuthorityError, Host, HostError};
pub use proxy::{InvalidProxy, Proxy, ProxyCredentials};
pub use url::{BrokerUrl, BrokerUrlError, Scheme};
pub use version::{MqttVersion, MqttVersionError};
