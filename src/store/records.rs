//! What is stored: owned plain data, the same for every engine.

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;

use crate::device::DeviceId;
use crate::message::{ContentType, Downlink, Qos, UplinkId};
use crate::topic::SubTopic;

/// An uplink that waits for its broker. It holds the message and not its topic, which may contain a secret.
/// Times are stored in microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedUplink {
    /// Its place, assigned by the caller from [`next_seq`](super::UplinkQueue::next_seq): a device's queue is in the
    /// order of this number, whatever order the writes arrive in.
    pub seq: u64,
    /// Its id and that of its receipt.
    pub id: UplinkId,
    /// The device it comes from.
    pub device: DeviceId,
    /// What follows the device in the topic.
    pub subtopic: Option<SubTopic>,
    /// The body as it came.
    pub payload: Bytes,
    /// Its content type.
    pub content_type: Option<ContentType>,
    /// The quality of service to publish with.
    pub qos: Qos,
    /// MQTT's retain flag.
    pub retain: bool,
    /// When it was accepted.
    pub accepted_at: SystemTime,
    /// When it is no longer worth delivering.
    pub expires_at: Option<SystemTime>,
    /// W3C `traceparent`.
    pub traceparent: Option<Box<str>>,
}

/// Where an uplink stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReceiptStatus {
    /// It waits for the broker.
    Queued,
    /// The broker confirmed it.
    Delivered,
    /// It will not be delivered: the broker or the connector refused it.
    Refused,
    /// Its time was over before it could be delivered.
    Expired,
    /// It was sent, and whether the broker took it will never be known.
    Unknown,
    /// QoS 0: handed to the connection, never to be confirmed.
    Sent,
}

impl ReceiptStatus {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Delivered => "delivered",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
            Self::Sent => "sent",
        }
    }
}

/// What became of one uplink. Times are stored in microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptRecord {
    /// The uplink's id.
    pub id: UplinkId,
    /// Its device.
    pub device: DeviceId,
    /// Where it stands.
    pub status: ReceiptStatus,
    /// The broker's reason code, where it gave one.
    pub reason_code: Option<u8>,
    /// Why, in words. Never a topic or a secret.
    pub reason: Option<Box<str>>,
    /// The quality of service.
    pub qos: Qos,
    /// How often it was sent.
    pub attempts: u32,
    /// When it was accepted.
    pub accepted_at: SystemTime,
    /// When it was settled; absent while it is queued.
    pub completed_at: Option<SystemTime>,
    /// What the platform said of it, where the platform says something.
    pub platform: Option<Box<str>>,
}

impl ReceiptRecord {
    /// The receipt of an uplink that has just been queued.
    pub fn queued(uplink: &QueuedUplink) -> Self {
        Self {
            id: uplink.id,
            device: uplink.device.clone(),
            status: ReceiptStatus::Queued,
            reason_code: None,
            reason: None,
            qos: uplink.qos,
            attempts: 0,
            accepted_at: uplink.accepted_at,
            completed_at: None,
            platform: None,
        }
    }
}

/// What waits for a device's broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Uplinks: those stored, less those whose settlement was handed over.
    pub count: u64,
    /// Their bytes as stored, until their settlement is durable.
    pub bytes: u64,
    /// When the oldest of them was accepted; it lags behind by one commit.
    pub oldest: SystemTime,
}

/// At the most this much of a stored sequence. At least one entry is always read, whatever its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    /// Entries.
    pub count: usize,
    /// Bytes as stored.
    pub bytes: usize,
}

/// SHA-256 of what a request with an `Idempotency-Key` asked for.
pub type BodyHash = [u8; 32];

/// The answer to a request with an `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedAnswer {
    /// The key as the client sent it. It is unique for one device.
    pub key: Box<str>,
    /// What the request asked for.
    pub body: BodyHash,
    /// What to answer again; the store does not look into it.
    pub answer: Bytes,
}

/// What is known of a request with an `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// The first one. It is in flight from now on, until it is finished or abandoned.
    New,
    /// The same request is being worked on.
    InFlight,
    /// The same request was answered with this.
    Finished(Bytes),
    /// The key was used for a request with another body.
    OtherBody,
}

/// A downlink with its place in the history of all devices.
#[derive(Debug, Clone)]
pub struct StoredDownlink {
    /// Its place: ever-growing over all devices and restarts, never 0.
    pub cursor: u64,
    /// The message. Its time is stored in microseconds.
    pub downlink: Downlink,
}

/// A part of the history of some devices, read from one state of the store.
#[derive(Debug, Clone)]
pub struct HistoryPage {
    /// In the order of their cursors.
    pub events: Vec<StoredDownlink>,
    /// Everything up to this cursor has been looked at: where to read on. At the end of the history it is the newest
    /// cursor of all devices.
    pub until: u64,
    /// What was asked for is not complete: downlinks of these devices behind the asked cursor, up to this one, are no
    /// longer there.
    pub fallen: Option<u64>,
}

/// What is kept of one device's downlinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    /// The oldest that is there.
    pub oldest: Option<u64>,
    /// The newest that is there.
    pub newest: Option<u64>,
    /// Everything up to this cursor may be missing; behind it, nothing is.
    pub fallen: u64,
}

/// Small records by key, for other parts. The numbers are stored: they are never given a new meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// Registered devices.
    Device = 1,
    /// Access tokens of the HTTP side.
    AccessToken = 2,
    /// Key pairs.
    Key = 3,
}

impl RecordKind {
    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Device, Self::AccessToken, Self::Key]
            .into_iter()
            .find(|kind| *kind as u8 == number)
    }
}

/// A small record of another part. It may hold a secret, so its value does not print itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Its key.
    pub key: Box<str>,
    /// Its value, which the store does not look into.
    pub value: Vec<u8>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({:?}, {} bytes)", self.key, self.value.len())
    }
}
