//! The form of events, as they are written and as the OpenAPI description has them.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::device::DeviceId;
use crate::http::devices::SessionError;
use crate::http::timestamp::Timestamp;
use crate::observe::{Figures, Seen};

/// How a device and the session that carries it stand. The data of an event `session`.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct SessionEvent<'a> {
    #[schema(value_type = String, example = "pump-1")]
    device: &'a DeviceId,
    #[schema(example = "akenza")]
    connector: &'a str,
    /// As in `GET /v1/devices/{device}/session`.
    #[schema(example = "connected")]
    state: &'static str,
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T12:00:00.000Z")]
    since: Timestamp,
    /// The protocol version in use, `5` or `3.1.1`; absent before the first connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "5")]
    mqtt_version: Option<String>,
    /// When the connection's token expires; the connection is renewed before. Absent without a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-01-31T12:20:00.000Z")]
    token_expires_at: Option<Timestamp>,
    /// The last thing that went wrong; kept after it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<SessionError>,
    /// Absent on streams of downlinks.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DeviceFigures>)]
    figures: Option<DeviceFigures>,
}

/// What a device has done.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct DeviceFigures {
    /// When its last uplink was delivered (QoS 0: sent); absent before the first since the start of the bridge.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-01-31T12:00:00.012Z")]
    last_uplink_at: Option<Timestamp>,
    /// Its uplinks that wait on disk for the broker.
    #[schema(example = 0)]
    backlog: u64,
}

impl From<Figures> for DeviceFigures {
    fn from(figures: Figures) -> Self {
        Self {
            last_uplink_at: figures.last_uplink_at.map(Timestamp),
            backlog: figures.backlog,
        }
    }
}

impl<'a> SessionEvent<'a> {
    /// The session alone, or with the figures of the device.
    pub(in crate::http) fn of(seen: &'a Seen, figures: Option<Figures>) -> Self {
        let now = &seen.now;
        Self {
            device: &seen.device.id,
            connector: seen.device.connector.name.as_str(),
            state: now.state.name(),
            since: Timestamp(now.since),
            mqtt_version: now.version.map(|version| version.to_string()),
            token_expires_at: now.token_expires_at.map(Timestamp),
            last_error: now.last_trouble.clone().map(SessionError::from),
            figures: figures.map(DeviceFigures::from),
        }
    }
}

/// A device is gone. The data of an event `session`, too.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct GoneEvent<'a> {
    #[schema(value_type = String, example = "pump-1")]
    device: &'a DeviceId,
    /// `removed`.
    #[schema(example = "removed")]
    state: &'static str,
}

impl<'a> GoneEvent<'a> {
    pub(in crate::http) fn of(device: &'a DeviceId) -> Self {
        Self {
            device,
            state: "removed",
        }
    }
}

/// Receipts are missing here. The data of an event `gap`.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct MissedEvent {
    /// How many, of all devices.
    #[schema(example = 17)]
    pub(in crate::http) missed: u64,
}

/// Sums over the devices that the stream is about. The data of an event `figures`.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct FiguresEvent {
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T12:00:00.000Z")]
    pub(super) at: Timestamp,
    /// How many devices there are.
    #[schema(example = 12)]
    pub(super) devices: usize,
    /// How many of them have a session in this state.
    #[schema(example = json!({"connected": 11, "backing_off": 1}))]
    pub(super) states: BTreeMap<&'static str, usize>,
    /// Uplinks that were confirmed (QoS 0: sent) since the start of the bridge. Like the four below of whole sessions, also
    /// where they carry devices besides.
    #[schema(example = 48210)]
    pub(super) delivered: u64,
    /// Uplinks that the broker refused since the start of the bridge.
    #[schema(example = 3)]
    pub(super) refused: u64,
    /// Downlinks that were received since the start of the bridge.
    #[schema(example = 211)]
    pub(super) downlinks: u64,
    /// Uplinks that wait in memory to be sent.
    #[schema(example = 0)]
    pub(super) queued: u64,
    /// Uplinks that are sent and that the broker has not settled.
    #[schema(example = 2)]
    pub(super) in_flight: u64,
    /// Uplinks that wait on disk for the broker.
    #[schema(example = 0)]
    pub(super) backlog: u64,
    /// Their bytes as stored.
    #[schema(example = 0)]
    pub(super) backlog_bytes: u64,
    /// By device, what differs from what was told before.
    #[schema(value_type = BTreeMap<String, DeviceFigures>, example = json!({"pump-1": {"last_uplink_at": "2026-01-31T12:00:00.012Z", "backlog": 0}}))]
    pub(super) changed: BTreeMap<DeviceId, DeviceFigures>,
}
