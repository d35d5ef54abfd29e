//! Which MQTT is spoken.

use std::fmt;
use std::str::FromStr;

/// The protocol version of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MqttVersion {
    /// MQTT 5.0.
    V5,
    /// MQTT 3.1.1.
    V311,
}

impl MqttVersion {
    /// The version's name in the configuration: `5` or `3.1.1`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V5 => "5",
            Self::V311 => "3.1.1",
        }
    }
}

impl fmt::Display for MqttVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Neither of the versions that are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an MQTT version is \"5\" or \"3.1.1\"")]
pub struct MqttVersionError;

impl FromStr for MqttVersion {
    type Err = MqttVersionError;
    fn from_str(text: &str) -> Result<Self, MqttVersionError> {
        match text {
            "5" | "5.0" => Ok(Self::V5),
            "3.1.1" => Ok(Self::V311),
            _ => Err(MqttVersionError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for version in [MqttVersion::V5, MqttVersion::V311] {
            assert_eq!(version.as_str().parse(), Ok(version));
        }
        assert_eq!("4".parse::<MqttVersion>(), Err(MqttVersionError));
    }
}
