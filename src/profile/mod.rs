//! Platforms as data: what a platform's broker expects, written down in TOML and read once.
//!
//! - [`template`]: text with variables
//! - [`Profile`]: the form of a profile file, the built-in ones included
//! - [`render`]: a profile with one connector's and one device's values filled in

mod builtin;
mod render;
mod rules;
mod template;

pub use builtin::{BUILTIN, builtin};
pub use render::{BindError, Binding, DownlinkRoute, ScopeValues, TokenText, UplinkTopic};
pub use rules::{
    Connect, ContentTypeRule, Downlink, KidTemplate, PasswordSource, Profile, ProfileError,
    SessionScope, TlsIdentity, Token, Uplink, Variable, merge,
};
pub use template::{Scope, Template, TemplateError};
