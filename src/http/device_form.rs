//! A device as it is shown, and as it is registered. Its secret is in no answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::device::DeviceId;
use crate::registry::Device;

/// A registered device.
#[derive(Serialize, ToSchema)]
#[schema(as = Device)]
pub(super) struct DeviceBody {
    #[schema(value_type = String, example = "pump-1")]
    pub(super) id: DeviceId,
    /// Its connector's name in the configuration.
    #[schema(example = "akenza")]
    connector: String,
    /// The name or path of the connector's profile.
    #[schema(example = "akenza-device")]
    profile: String,
    /// The router device that it is behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = json!(null))]
    via: Option<DeviceId>,
    /// Whether it has a secret of its own, which is not shown.
    #[schema(example = false)]
    has_secret: bool,
    /// Values of the profile's variables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(example = json!({}))]
    variables: BTreeMap<String, String>,
    /// Where it was registered: `configuration`, or `api` where it was `PUT` here.
    #[schema(example = "api")]
    origin: &'static str,
    /// Where the session that carries it stands.
    #[schema(example = "connected")]
    state: &'static str,
    /// It is deleted as soon as its backlog is sent, and takes no more uplinks; absent otherwise.
    #[serde(skip_serializing_if = "is_false")]
    #[schema(example = false)]
    leaving: bool,
}

impl DeviceBody {
    pub(super) fn of(device: &Arc<Device>) -> Self {
        let registration = &device.registration;
        Self {
            id: device.id.clone(),
            connector: device.connector.name.as_str().to_owned(),
            profile: device.connector.profile_name.clone(),
            via: registration.via.clone(),
            has_secret: registration.has_secret,
            variables: registration.variables.clone(),
            origin: registration.origin.name(),
            state: device.session.status().state().name(),
            leaving: registration.leaving,
        }
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// A device as it is registered: what `[devices."ID"]` has in the configuration file, without files.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DeviceRegistration)]
#[expect(
    dead_code,
    reason = "described here, and read by the configuration's own reader"
)]
pub(super) struct NewDevice {
    /// The connector's name in the configuration.
    #[schema(example = "akenza")]
    connector: String,
    /// The router device that carries this one. Only with a profile that has router devices.
    #[schema(example = json!(null))]
    via: Option<String>,
    /// The device's secret, where its profile uses one: goes before the connector's. It is never shown again.
    #[schema(write_only, example = json!(null))]
    secret: Option<String>,
    /// Values of the profile's variables, which go before the connector's.
    #[schema(example = json!({}))]
    variables: Option<BTreeMap<String, String>>,
}
