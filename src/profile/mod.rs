//! Platforms as data: what a platform's broker expects, written down in TOML and read once.
//!
//! - [`Template`]: text with variables
//! - [`Profile`]: the form of a profile file, the built-in ones included
//! - [`Binding`]: a profile with one connector's and one device's values filled in
//! - [`Envelope`]: the JSON object that a platform expects, posted whole or made from query parameters
//! - [`AckRules`]: how a platform answers uplinks, and which answer belongs to which uplink

mod ack;
mod builtin;
mod check;
mod claims;
mod envelope;
mod json;
mod render;
mod rules;
mod template;
#[cfg(test)]
mod tests;
mod uplink_topic;

pub use ack::{AckError, AckRules, Codes, MAX_MESSAGE_BYTES, MAX_MESSAGES, Marked, PlatformAnswer};
pub use builtin::{BUILTIN, builtin};
pub use check::ProfileError;
pub use claims::Claims;
pub use envelope::{Envelope, EnvelopeError, Member, Parameter};
pub use json::Kind;
pub use render::{BindError, Binding, DownlinkRoute, ScopeValues, TokenText};
pub use rules::{
    Connect, ContentTypeRule, Downlink, KidTemplate, PasswordSource, Profile, SessionScope,
    TlsIdentity, Token, Uplink, Variable, merge,
};
pub use template::{Scope, Template, TemplateError};
pub use uplink_topic::UplinkTopic;
