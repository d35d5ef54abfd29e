//! The road out: an uplink is checked against its connector, handed to its device's session, and answered when the
//! broker has confirmed it.
//!
//! - [`check`]: what may be published, as a pure function
//! - [`Uplinks`]: submit, wait, say what is known
//! - [`Receipt`]: what became of one uplink

mod check;
mod receipt;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use check::{CheckError, check};
pub use receipt::{Receipt, ReceiptStatus};

use crate::device::DeviceId;
use crate::message::{Uplink, UplinkId};
use crate::mqtt::reason::Reason;
use crate::registry::{Device, Registry};
use crate::session::{NotSent, Outcome, SubmitError, Trouble, Withdrawn};

/// The road out, for all devices.
#[derive(Debug, Clone)]
pub struct Uplinks {
    registry: Arc<Registry>,
}

/// Why an uplink was not confirmed. In every case but [`Unconfirmed`](Self::Unconfirmed) it has not reached the broker,
/// or the broker did not take it, and it will not be delivered later.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UplinkError {
    /// No such device.
    #[error("there is no device {0:?}")]
    UnknownDevice(DeviceId),
    /// The connector does not carry such a message.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// Too much is waiting for the broker already.
    #[error("too many uplinks wait for the broker; this one was not taken")]
    Full,
    /// The broker refused the message.
    #[error("the broker refused the uplink: {reason}{}", words(.text))]
    Refused {
        /// The broker's reason code.
        reason: Reason,
        /// The broker's words.
        text: Option<Box<str>>,
    },
    /// The broker refuses the connection.
    #[error("the broker refuses the connection: {reason}{}; the uplink was not sent", words(.text))]
    ConnectionRefused {
        /// The broker's reason code.
        reason: Reason,
        /// The broker's words.
        text: Option<Box<str>>,
    },
    /// The device cannot connect for a reason of its own.
    #[error("the device cannot connect: {0}; the uplink was not sent")]
    Unusable(Box<str>),
    /// No connection came about in time.
    #[error(
        "there was no connection to the broker within the wait; the uplink was not sent and will not be"
    )]
    NotSent {
        /// What was last wrong with the connection.
        trouble: Option<Trouble>,
    },
    /// Sent, but not confirmed in time. Whether the broker took it is not known.
    #[error(
        "the uplink was sent, but the broker did not confirm it within the wait; it may have arrived, and it will not be sent again"
    )]
    Unconfirmed,
    /// The program ends.
    #[error("the bridge is shutting down; the uplink was not sent")]
    Closing,
}

fn words(text: &Option<Box<str>>) -> String {
    text.as_ref()
        .map(|text| format!(" ({text})"))
        .unwrap_or_default()
}

impl Uplinks {
    /// The road out for the devices of a registry.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }

    /// Publishes an uplink and waits for the broker, at the most for `wait`.
    pub async fn deliver(&self, uplink: Uplink, wait: Duration) -> Result<Receipt, UplinkError> {
        let Some(device) = self.registry.get(&uplink.device) else {
            return Err(UplinkError::UnknownDevice(uplink.device));
        };
        let accepted_at = SystemTime::now();
        let publish = check(device, uplink)?;
        let qos = publish.qos;
        let mut ticket = device
            .session
            .submit(publish)
            .map_err(|error| match error {
                SubmitError::Full => UplinkError::Full,
                SubmitError::Closed => UplinkError::Closing,
            })?;
        let outcome = match tokio::time::timeout(wait, &mut ticket).await {
            Ok(outcome) => outcome,
            Err(_) => match ticket.withdraw() {
                Withdrawn::Settled(outcome) => outcome,
                Withdrawn::Unconfirmed => return Err(UplinkError::Unconfirmed),
                Withdrawn::NotSent => return Err(not_sent(device)),
            },
        };
        let status = settled(outcome)?;
        Ok(Receipt {
            id: UplinkId::new(),
            device: device.id.clone(),
            status,
            qos,
            accepted_at,
            completed_at: SystemTime::now(),
        })
    }
}

fn settled(outcome: Outcome) -> Result<ReceiptStatus, UplinkError> {
    match outcome {
        Outcome::Delivered { reason } => Ok(ReceiptStatus::Delivered { reason }),
        Outcome::Sent => Ok(ReceiptStatus::Sent),
        Outcome::Refused { reason, text } => Err(UplinkError::Refused { reason, text }),
        Outcome::Unconfirmed => Err(UplinkError::Unconfirmed),
        Outcome::NotSent(why) => Err(match why {
            NotSent::ConnectionRefused { reason, text } => {
                UplinkError::ConnectionRefused { reason, text }
            }
            NotSent::Unusable(what) => UplinkError::Unusable(what),
            NotSent::ContentType => CheckError::ContentTypeV3.into(),
            NotSent::TooLarge { limit } => CheckError::TooLarge { limit }.into(),
            NotSent::Qos { highest } => CheckError::Qos { highest }.into(),
            NotSent::Retain => CheckError::Retain.into(),
            NotSent::Closing => UplinkError::Closing,
        }),
    }
}

fn not_sent(device: &Device) -> UplinkError {
    UplinkError::NotSent {
        trouble: device.session.status().snapshot().last_trouble,
    }
}
