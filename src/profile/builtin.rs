//! The profiles that come with the program, in the same form as a user's own.

/// Name and text of every built-in profile.
pub const BUILTIN: &[(&str, &str)] = &[
    ("akenza-device", include_str!("builtin/akenza-device.toml")),
    ("akenza-secret", include_str!("builtin/akenza-secret.toml")),
    ("plain", include_str!("builtin/plain.toml")),
    ("sap-iot", include_str!("builtin/sap-iot.toml")),
];

/// The text of the built-in profile of this name.
pub fn builtin(name: &str) -> Option<&'static str> {
    BUILTIN
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    #[test]
    fn every_built_in_profile_is_valid() {
        for (name, text) in BUILTIN {
            Profile::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
