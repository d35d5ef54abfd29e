//! Who connects, and by what it proves that: what advice about a refusal depends on.

use std::time::SystemTime;

use crate::broker::MqttVersion;

/// The platforms that more is known of, by their built-in profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Platform {
    /// akenza with device credentials.
    AkenzaDevice,
    /// akenza with an uplink secret.
    AkenzaSecret,
    /// SAP IoT.
    Sap,
    /// Any other.
    Other,
}

impl Platform {
    /// By the name of the profile.
    pub(super) fn of(profile_name: &str) -> Self {
        match profile_name {
            "akenza-device" => Self::AkenzaDevice,
            "akenza-secret" => Self::AkenzaSecret,
            "sap-iot" => Self::Sap,
            _ => Self::Other,
        }
    }
}

/// By what a client proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof {
    /// A fresh token; which key signed it.
    Token(String),
    /// User name and password, or one of them.
    Login,
    /// A client certificate alone.
    Certificate,
    /// Nothing.
    None,
}

/// Who connects.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) platform: Platform,
    /// The client id as it may be shown.
    pub(super) client_id: String,
    pub(super) proof: Proof,
    /// The clock at that moment.
    pub(super) now: SystemTime,
    /// Whether the version of MQTT was written down.
    pub(super) pinned: Option<MqttVersion>,
}

#[cfg(test)]
impl Client {
    /// The device `pump-1`, on a January morning.
    pub(super) fn for_tests(profile: &str, proof: Proof) -> Self {
        Self {
            platform: Platform::of(profile),
            client_id: "pump-1".to_owned(),
            proof,
            now: std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000),
            pinned: None,
        }
    }
}
