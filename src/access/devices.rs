//! Which devices a token is for.

use std::fmt;

use crate::device::DeviceId;
use crate::topic::{LevelError, check_level};

/// Device ids with `*` for any characters, or none: `pump-*`, `*-test`, `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePattern(Box<str>);

/// No device id can match the pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{pattern:?} is no pattern for device ids: it {error}; write an id, with * for any characters"
)]
pub struct PatternError {
    pattern: String,
    error: LevelError,
}

impl DevicePattern {
    /// Takes a pattern from the configuration.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        match check_level(&text.replace('*', "x")) {
            Ok(()) => Ok(Self(text.into())),
            Err(error) => Err(PatternError {
                pattern: text.to_owned(),
                error,
            }),
        }
    }

    /// Whether a device is meant.
    pub fn matches(&self, device: &DeviceId) -> bool {
        matches(&self.0, device.as_str())
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `*` in `pattern`, read as any characters, makes `text` of it. It takes no more steps than the product of the
/// two lengths.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    // The earliest place for each part leaves the most room for those behind it.
    for part in parts {
        match rest.split_once(part) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// A set of devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Devices {
    all: bool,
    patterns: Box<[DevicePattern]>,
}

impl Devices {
    /// Every device, also those that are not registered yet.
    pub fn all() -> Self {
        Self::of([DevicePattern("*".into())])
    }

    /// Those that match one of the patterns.
    pub fn of(patterns: impl IntoIterator<Item = DevicePattern>) -> Self {
        let patterns: Box<[_]> = patterns.into_iter().collect();
        Self {
            all: patterns.iter().any(|pattern| pattern.as_str() == "*"),
            patterns,
        }
    }

    /// Whether every device is among them.
    pub fn is_all(&self) -> bool {
        self.all
    }

    /// Whether this one is among them.
    pub fn contains(&self, device: &DeviceId) -> bool {
        self.all || self.patterns.iter().any(|pattern| pattern.matches(device))
    }

    /// The patterns as they were written.
    pub fn patterns(&self) -> &[DevicePattern] {
        &self.patterns
    }
}

/// The patterns with commas between them.
impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns: Vec<_> = self.patterns.iter().map(DevicePattern::as_str).collect();
        f.write_str(&patterns.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stars_stand_for_any_characters() {
        let cases = [
            ("pump-1", "pump-1", true),
            ("pump-1", "pump-10", false),
            ("pump-1", "a-pump-1", false),
            ("pump-*", "pump-", true),
            ("pump-*", "pump", false),
            ("*-1", "pump-1", true),
            ("*-1", "pump-10", false),
            ("*", "x", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("*aa*aa", "aaa", false),
            ("**", "x", true),
            ("gerät*", "Gerät", false),
        ];
        for (pattern, device, expected) in cases {
            let device = DeviceId::parse(device).unwrap();
            let pattern = DevicePattern::parse(pattern).unwrap();
            assert_eq!(pattern.matches(&device), expected, "{pattern:?} {device}");
        }
    }

    #[test]
    fn a_pattern_that_no_device_can_match_is_refused() {
        for bad in ["", "a/*", "#", "pump-+", "*\n", &"*".repeat(256)] {
            assert!(DevicePattern::parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn all_is_all() {
        let device = DeviceId::parse("anything").unwrap();
        assert!(Devices::all().is_all() && Devices::all().contains(&device));
        let none = Devices::of([DevicePattern::parse("any").unwrap()]);
        assert!(!none.is_all() && !none.contains(&device));
    }

    proptest! {
        /// Against the definition: a star is one of all the beginnings of what is left.
        #[test]
        fn it_is_what_the_definition_says(pattern in "[ab*]{0,8}", text in "[ab]{0,8}") {
            fn defined(pattern: &[u8], text: &[u8]) -> bool {
                match pattern.split_first() {
                    None => text.is_empty(),
                    Some((b'*', rest)) => (0..=text.len()).any(|n| defined(rest, &text[n..])),
                    Some((c, rest)) => text.first() == Some(c) && defined(rest, &text[1..]),
                }
            }
            prop_assert_eq!(matches(&pattern, &text), defined(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
