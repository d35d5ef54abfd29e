//! Kinds of requests that a token may be for.

use std::fmt;
use std::str::FromStr;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// `uplink`: post uplinks and read their receipts.
    Uplink,
    /// `downlink`: listen to downlinks.
    Downlink,
    /// `devices:read`: see devices, their sessions and what happens to them.
    DevicesRead,
    /// `devices:write`: register, change, remove and diagnose devices.
    DevicesWrite,
    /// `keys`: make, list, activate and delete the keys of devices.
    Keys,
}

impl Scope {
    /// All there are.
    pub const ALL: [Self; 5] = [
        Self::Uplink,
        Self::Downlink,
        Self::DevicesRead,
        Self::DevicesWrite,
        Self::Keys,
    ];

    /// Its name in the configuration, in answers and in the OpenAPI description.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uplink => "uplink",
            Self::Downlink => "downlink",
            Self::DevicesRead => "devices:read",
            Self::DevicesWrite => "devices:write",
            Self::Keys => "keys",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no such scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no scope {0:?}; there are: uplink, downlink, devices:read, devices:write, keys")]
pub struct UnknownScope(String);

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let known = Self::ALL.into_iter().find(|scope| scope.name() == text);
        known.ok_or_else(|| UnknownScope(text.to_owned()))
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Every scope.
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// Whether this one is among them.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & bit(scope) != 0
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that are in it, in one order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |s| self.contains(*s))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | bit(scope)))
    }
}

/// Their names with commas between them.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Scope::name).collect();
        f.write_str(&names.join(", "))
    }
}

fn bit(scope: Scope) -> u8 {
    1 << scope as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_named_and_counted() {
        for scope in Scope::ALL {
            assert_eq!(scope.name().parse(), Ok(scope));
            let others = Scope::ALL.into_iter().filter(|other| *other != scope);
            assert!(!others.collect::<Scopes>().contains(scope));
            let error = "nothing".parse::<Scope>().unwrap_err().to_string();
            assert!(error.contains(scope.name()), "{error}");
        }
        let two: Scopes = [Scope::Keys, Scope::Uplink].into_iter().collect();
        assert_eq!(two.to_string(), "uplink, keys");
        assert!(Scopes::default().is_empty() && !two.is_empty());
        assert_eq!(Scopes::all().iter().count(), Scope::ALL.len());
    }
}
