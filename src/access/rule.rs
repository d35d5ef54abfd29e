//! What the configuration says of one token or certificate, as plain data.

use std::fmt;
use std::time::SystemTime;

use super::devices::{self, Devices};
use super::rate::Rate;
use super::scope::{Scope, Scopes};
use super::token::TokenHash;

/// One token or certificate, and what whoever presents it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What it is called, in messages and logs.
    pub name: RuleName,
    /// What is presented.
    pub credential: Credential,
    /// Which kinds of requests.
    pub scopes: Scopes,
    /// About which devices. Default: all.
    pub devices: Devices,
    /// From when on it is refused. Default: never.
    pub expires: Option<SystemTime>,
    /// How many requests. Default: any number.
    pub rate: Option<Rate>,
    /// Requests at a time, 1 to 1,000,000. Default: any number.
    pub max_requests: Option<u32>,
    /// Streams at a time, 1 to 1,000,000. Default: any number.
    pub max_streams: Option<u32>,
}

impl Rule {
    /// For everybody, where there are no tokens and certificates.
    pub(super) fn of_anybody() -> Self {
        Self {
            name: RuleName("anybody".into()),
            credential: Credential::None,
            scopes: Scopes::all(),
            devices: Devices::all(),
            expires: None,
            rate: None,
            max_requests: None,
            max_streams: None,
        }
    }

    /// Whether it lets such a request through.
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(scope)
    }

    /// Whether it is over.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// What is presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// Nothing is asked for.
    None,
    /// A bearer token.
    Token(TokenHash),
    /// A client certificate.
    Certificate(CertificateMatch),
}

/// Which client certificates are meant, of those that the listener has verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateMatch {
    /// The one with this subject, as RFC 4514 writes it: `CN=press-7,O=Plant`. It is compared as it is written.
    Subject(Box<str>),
    /// Those with a subject alternative name (DNS name, e-mail address or URI) that matches.
    Name(NamePattern),
    /// The one with this SHA-256 of its DER.
    Fingerprint([u8; 32]),
}

/// A subject alternative name with `*` for any characters, or none: `press-*.plant.example`, `spiffe://plant/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern(Box<str>);

impl NamePattern {
    /// Takes a pattern from the configuration. One of stars alone would let in every certificate; the error says so.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match text.bytes().all(|b| b == b'*') {
            true => Err(NameError::Anything),
            false => Ok(Self(text.into())),
        }
    }

    /// Whether a name is meant. Upper and lower case are told apart.
    pub fn matches(&self, name: &str) -> bool {
        devices::matches(&self.0, name)
    }

    /// Whether only one name is meant.
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// What a token or certificate is called.
    #[error("a name consists of 1 to 64 of the characters a-z, 0-9, - and _")]
    Rule,
    /// A subject alternative name that says nothing.
    #[error("must name something beside *: any certificate of the authority would match")]
    Anything,
}

/// What a token or certificate is called: lower-case letters, digits, `-` and `_`, at most 64 bytes. It is an environment
/// variable's part.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleName(Box<str>);

impl RuleName {
    /// Takes a name from the configuration.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let fits = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
        match fits {
            true => Ok(Self(text.into())),
            false => Err(NameError::Rule),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_environment_variables_parts() {
        for bad in ["", "A", "a b", "a.b", "ä", &"x".repeat(65)] {
            assert!(RuleName::parse(bad).is_err(), "{bad:?} was taken");
        }
        assert!(RuleName::parse("plc_line-2").is_ok());
    }

    #[test]
    fn a_pattern_of_stars_alone_is_refused() {
        for bad in ["", "*", "**"] {
            assert_eq!(NamePattern::parse(bad), Err(NameError::Anything));
        }
        let pattern = NamePattern::parse("press-*.plant.example").unwrap();
        assert!(pattern.matches("press-7.plant.example") && !pattern.is_exact());
        assert!(!pattern.matches("press-7.plant.example.org"));
    }
}
