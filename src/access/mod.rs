//! Who may do what: bearer tokens and client certificates, each with scopes, devices, an end and limits.
//!
//! - [`Scope`], [`Scopes`]: kinds of requests
//! - [`DevicePattern`], [`Devices`]: which devices they may be about
//! - [`TokenHash`], [`new_token`]: tokens, kept as hashes
//! - [`Rule`]: what the configuration says of one token or certificate
//! - [`Access`]: all of them, looked up for each request and replaced as a whole while requests run
//! - [`Grant`]: one of them while it is in force, with what it has used up
//! - [`Caller`], [`Listener`]: a request, or a stream, that goes on in the name of a grant
//!
//! A request costs one SHA-256 of its token, a look into the table under a lock that is only shared for reading, and
//! another reference to the grant. There is no lock behind that: what a grant has used up is counted in atomics of its own.

mod caller;
mod devices;
mod grant;
mod rate;
mod rule;
mod scope;
mod table;
mod token;

pub use caller::{Busy, Caller, Listener};
pub use devices::{DevicePattern, Devices, PatternError};
pub use grant::Grant;
pub use rate::{Quota, Rate};
pub use rule::{CertificateMatch, Credential, NameError, NamePattern, Rule, RuleName};
pub use scope::{Scope, Scopes, UnknownScope};
pub use table::{Access, Certificate, Presented, Stranger};
pub use token::{HashError, TokenError, TokenHash, check_token, new_token};
