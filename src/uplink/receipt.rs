//! What became of one uplink.

use std::time::SystemTime;

use crate::device::DeviceId;
use crate::message::{Qos, UplinkId};
use crate::mqtt::reason::Reason;

/// What became of one uplink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Its id.
    pub id: UplinkId,
    /// Its device.
    pub device: DeviceId,
    /// Where it stands.
    pub status: ReceiptStatus,
    /// The quality of service it was published with.
    pub qos: Qos,
    /// When it was accepted.
    pub accepted_at: SystemTime,
    /// When it was settled.
    pub completed_at: SystemTime,
}

/// Where an uplink stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiptStatus {
    /// The broker confirmed it. With MQTT 3.1.1 this means "received": such a broker also confirms what it then drops.
    Delivered {
        /// `success` or `no matching subscribers`.
        reason: Reason,
    },
    /// QoS 0: handed to the connection, never to be confirmed.
    Sent,
}

impl ReceiptStatus {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered { .. } => "delivered",
            Self::Sent => "sent",
        }
    }
}
