//! The form of downlinks in the OpenAPI description. They are written by hand, once for all listeners; tests read what is
//! written as these types.
#![expect(
    dead_code,
    reason = "described and read in tests, but never looked into"
)]

use serde::Deserialize;
use utoipa::ToSchema;

/// What is there.
#[derive(Deserialize, ToSchema)]
pub(super) struct DownlinkPage {
    /// In the order of their cursors.
    events: Vec<DownlinkEvent>,
    /// Give this as `after` to go on without a loss, also when there were no events.
    #[schema(example = "1769860800000001")]
    next: String,
}

#[derive(Deserialize, ToSchema)]
struct DownlinkEvent {
    /// Its cursor; absent with a gap.
    #[schema(example = "1769860800000001")]
    id: Option<String>,
    /// `downlink`, `gap` or `deleted`.
    #[schema(example = "downlink")]
    event: String,
    data: EventData,
}

#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
enum EventData {
    Downlink(DownlinkData),
    Gap(GapData),
    Deleted(DeletedData),
}

/// One message from the platform.
#[derive(Deserialize, ToSchema)]
#[schema(as = Downlink)]
struct DownlinkData {
    #[schema(example = "pump-1")]
    device: String,
    /// What follows the profile's prefix; empty where nothing does.
    #[schema(example = "commands")]
    topic: String,
    /// The JSON value where the payload is JSON (by its content type, or without one by its look), else its text; base64
    /// where it is not UTF-8, or is `application/octet-stream`.
    #[schema(value_type = Value, example = json!({"on": true}))]
    payload: serde_json::Value,
    /// `base64` where the payload is; absent otherwise.
    encoding: Option<String>,
    /// MQTT 5's content type, where the message had one.
    #[schema(example = "application/json")]
    content_type: Option<String>,
    /// The quality of service that it arrived with.
    #[schema(example = 1)]
    qos: u8,
    /// Whether the broker had kept it from before.
    retained: bool,
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T12:00:00.000Z")]
    received_at: String,
}

/// The device was deleted, or is no longer in the configuration; nothing more comes of it.
#[derive(Deserialize, ToSchema)]
#[schema(as = Deleted)]
struct DeletedData {
    #[schema(example = "pump-1")]
    device: String,
}

/// Downlinks behind `after` and before `next` may be missing.
#[derive(Deserialize, ToSchema)]
#[schema(as = Gap)]
struct GapData {
    /// The device concerned; absent when it may be several.
    device: Option<String>,
    /// The cursor that the client presented; `null` when it is not one of this bridge's, and all that is kept follows.
    after: Option<String>,
    /// From here on nothing is missing.
    next: String,
}
