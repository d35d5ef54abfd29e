//! The one place that gives errors of other parts a status code.

use axum::http::header::LOCATION;
use axum::http::{HeaderName, HeaderValue};
use tracing::error;

use super::forward::Unreached;
use super::path::PathError;
use super::problem::{Kind, Problem};
use crate::device::DeviceId;
use crate::fleet::ChangeError;
use crate::keyring::{KeyringError, RingError};
use crate::mqtt::reason::Reason;
use crate::session::Trouble;
use crate::store::StoreError;
use crate::uplink::{CheckError, UplinkError};
use crate::vault::VaultError;

const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// Said of every uplink that the broker has not seen, so that nobody wonders whether it comes later.
const SESSION_HINT: &str =
    "GET /v1/devices/{device}/session shows what is wrong with the connection";

const KEYS_HINT: &str = "GET /v1/devices/{device}/keys lists the device's keys";

const NO_KEY_HINT: &str = "make a key with POST /v1/devices/{device}/keys, register its public half with the platform, and \
     activate it with POST /v1/devices/{device}/keys/{kid}/activate; or use `causeway keys` while the bridge is stopped";

impl Problem {
    pub(super) fn unknown_device(device: &DeviceId) -> Self {
        Self::new(
            Kind::UnknownDevice,
            format!("there is no device {device:?}"),
        )
        .hint(
            "GET /v1/devices lists the devices; a device is registered in the configuration, or with PUT /v1/devices/{device}",
        )
    }

    /// A device that is registered and cannot be there.
    pub(super) fn unfit_device(device: &DeviceId, why: &str) -> Self {
        Self::new(
            Kind::UnknownDevice,
            format!(
                "the device {device:?} is registered and does not fit the configuration: {why}"
            ),
        )
        .hint("correct the configuration, PUT the device anew, or DELETE it")
    }

    pub(super) fn too_large(limit: usize) -> Self {
        Self::new(
            Kind::TooLarge,
            format!("the body has more than {limit} bytes, which is the limit here"),
        )
        .hint("post less at once, or raise the limit in the configuration")
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        let detail = error.to_string();
        match error {
            ChangeError::Elsewhere(_) => Self::new(Kind::Changing, detail).retry_after(1),
            ChangeError::Unknown(device) => Self::unknown_device(&device),
            ChangeError::Exists(_) => Self::new(Kind::Exists, detail)
                .hint("without If-None-Match, it is changed"),
            ChangeError::Configured(_) => Self::new(Kind::Configured, detail)
                .hint("change it there; the bridge takes the change over while it runs"),
            ChangeError::Invalid(_) | ChangeError::Plan(_) => Self::new(Kind::InvalidDevice, detail)
                .hint("the fields are those of [devices.\"ID\"] in the configuration file, without files"),
            ChangeError::Router { .. } => Self::new(Kind::CarriesOthers, detail)
                .hint("change or delete those first"),
            ChangeError::Backlog { .. } => Self::new(Kind::Backlog, detail).hint(
                "say what becomes of them: ?backlog=drain sends them first, ?backlog=discard drops them",
            ),
            ChangeError::Leaving(_) => Self::new(Kind::Leaving, detail)
                .retry_after(5)
                .hint("it can be registered anew when it is gone; DELETE …?backlog=discard does not wait"),
            ChangeError::NoStore => Self::new(Kind::NoStore, detail)
                .hint("remove `enabled = false` from [store], or write the device into the configuration file"),
            ChangeError::Vault(VaultError::Store(error))
            | ChangeError::Store(error)
            | ChangeError::Keyring(KeyringError::Vault(VaultError::Store(error))) => {
                let detail = format!("nothing was changed: {error}");
                match error {
                    StoreError::Full { .. } => Self::new(Kind::Full, detail).retry_after(5),
                    StoreError::TooLarge { .. } => Self::new(Kind::TooLarge, detail),
                    StoreError::Unavailable { .. } => Self::new(Kind::StoreUnavailable, detail)
                        .retry_after(5)
                        .hint(STORE_HINT),
                }
            }
            ChangeError::Vault(_) | ChangeError::Keyring(_) => {
                error!("a device could not be changed: {detail}");
                Self::new(
                    Kind::Internal,
                    "the device could not be changed; the log says why",
                )
            }
            ChangeError::Ending => Self::new(Kind::Closing, detail).retry_after(5),
        }
    }
}

impl From<PathError> for Problem {
    fn from(error: PathError) -> Self {
        let problem = Self::new(Kind::Malformed, error.to_string());
        match error {
            PathError::Kid => problem.hint(KEYS_HINT),
            _ => problem.hint("device ids and sub-topics become levels of an MQTT topic"),
        }
    }
}

impl From<Unreached> for Problem {
    fn from(error: Unreached) -> Self {
        let problem = |kind| Self::new(kind, error.to_string());
        match error {
            Unreached::Nobody => problem(Kind::NoOwner)
                .retry_after(1)
                .hint("it is on its way to another replica: GET /v1/cluster shows who has what"),
            Unreached::Unreachable => problem(Kind::NoOwner)
                .retry_after(1)
                .hint("GET /v1/cluster shows which replicas there are, and who has what"),
            Unreached::Unfamiliar => problem(Kind::NoOwner).retry_after(1).hint(
                "give all replicas the same configuration: GET /v1/cluster shows whether they have it",
            ),
            Unreached::Silent | Unreached::Stuck => problem(Kind::NoOwner).retry_after(5).hint(
                "look at what there is before doing it again, where doing it twice does harm",
            ),
            Unreached::Version => problem(Kind::NoOwner).retry_after(5).hint(
                "run all replicas with one version; while they are updated one by one, try again",
            ),
            Unreached::TooLarge { .. } => problem(Kind::TooLarge)
                .hint("post less at once, or raise max_payload of nats-server"),
            Unreached::AnswerTooLarge => {
                problem(Kind::NoOwner).hint("raise max_payload of nats-server")
            }
            Unreached::Unheard => problem(Kind::NoOwner)
                .retry_after(1)
                .hint("the same request again changes nothing more"),
            Unreached::Incomplete => problem(Kind::NoOwner)
                .retry_after(1)
                .hint("GET /v1/cluster shows which replicas there are, and who has what"),
        }
    }
}

impl From<UplinkError> for Problem {
    fn from(error: UplinkError) -> Self {
        let detail = error.to_string();
        match error {
            UplinkError::UnknownDevice(device) => Self::unknown_device(&device),
            UplinkError::Check(error) => error.into(),
            UplinkError::NoSuchParameter { known, .. } => {
                let own = known.iter().map(|name| format!(", {name}"));
                Self::new(Kind::Malformed, detail).hint(format!(
                    "there are: qos, retain, expiry, confirm{}",
                    own.collect::<String>()
                ))
            }
            UplinkError::Envelope(_) | UplinkError::AckId(_) | UplinkError::AckIdInUse => {
                Self::new(Kind::Malformed, detail)
            }
            UplinkError::NoPlatformAck { .. } => Self::new(Kind::NotCarried, detail)
                .hint("leave out confirm=platform; 200 then means that the broker has confirmed"),
            UplinkError::PlatformRefused { uplink, outcome } => {
                let problem = Self::new(Kind::PlatformRefused, detail)
                    .platform(outcome)
                    .hint("the broker has taken it and the platform has not; the messages are the platform's own");
                match HeaderValue::try_from(format!("/v1/uplinks/{uplink}")) {
                    Ok(location) => problem.header(LOCATION, location),
                    Err(_) => problem,
                }
            }
            UplinkError::Full => Self::new(Kind::Full, detail)
                .retry_after(1)
                .hint("post more slowly"),
            UplinkError::Store(StoreError::Full { .. }) => Self::new(Kind::Full, detail)
                .retry_after(5)
                .hint("the broker has been away for too long; GET …/session shows why"),
            UplinkError::Store(StoreError::TooLarge { .. }) => {
                Self::new(Kind::TooLarge, detail).hint(
                    "while the broker confirms in time, it is carried; max_payload of nats-server says what can wait",
                )
            }
            UplinkError::Store(StoreError::Unavailable { .. }) => {
                Self::new(Kind::StoreUnavailable, detail)
                    .retry_after(5)
                    .hint(STORE_HINT)
            }
            UplinkError::NoStore => {
                Self::new(Kind::NotCarried, detail).hint("remove `enabled = false` from [store]")
            }
            UplinkError::KeyInFlight => Self::new(Kind::KeyInFlight, detail).retry_after(1),
            UplinkError::KeyOtherBody => {
                Self::new(Kind::KeyOtherBody, detail).hint("use a new key for a new uplink")
            }
            UplinkError::Expired => {
                Self::new(Kind::Expired, detail).hint("give it a longer `expiry`")
            }
            UplinkError::Refused { reason, .. } => Self::new(Kind::Refused, detail)
                .reason(reason)
                .retryable(may_pass(reason))
                .hint(refused_hint(reason)),
            UplinkError::ConnectionRefused { reason, .. } => {
                Self::new(Kind::ConnectionRefused, detail)
                    .reason(reason)
                    .retryable(may_pass(reason))
                    .hint(SESSION_HINT)
            }
            UplinkError::NoKey => Self::new(Kind::NoKey, detail).hint(NO_KEY_HINT),
            UplinkError::Unusable(_) => Self::new(Kind::Unusable, detail).hint(SESSION_HINT),
            UplinkError::NotSent { trouble } => not_sent(detail, trouble),
            UplinkError::Unconfirmed => Self::new(Kind::Unconfirmed, detail)
                .retryable(true)
                .hint("posting it again may deliver it twice"),
            UplinkError::Changing => Self::new(Kind::Changing, detail).retry_after(1),
            UplinkError::Leaving => Self::new(Kind::Leaving, detail)
                .hint("it is deleted once the broker has its backlog"),
            UplinkError::Closing => Self::new(Kind::Closing, detail).retry_after(5),
        }
    }
}

impl From<KeyringError> for Problem {
    fn from(error: KeyringError) -> Self {
        let detail = error.to_string();
        match error {
            KeyringError::Ring(error) => match error {
                RingError::Unknown(_) => Self::new(Kind::UnknownKey, detail).hint(KEYS_HINT),
                RingError::Full => Self::new(Kind::TooManyKeys, detail)
                    .hint("delete one that is no longer needed, here and on the platform"),
                RingError::Exists(_) => Self::new(Kind::KeyInUse, detail),
                RingError::Active => {
                    Self::new(Kind::KeyInUse, detail).hint("activate another one first")
                }
                RingError::Needed => Self::new(Kind::KeyInUse, detail).hint(
                    "wait until the broker has accepted the active one, or activate this one again",
                ),
            },
            KeyringError::Vault(VaultError::Store(error @ StoreError::Full { .. })) => {
                Self::new(Kind::Full, unchanged(&error)).retry_after(5)
            }
            KeyringError::Vault(VaultError::Store(error @ StoreError::TooLarge { .. })) => {
                Self::new(Kind::TooLarge, unchanged(&error))
            }
            KeyringError::Vault(VaultError::Store(error)) => {
                Self::new(Kind::StoreUnavailable, unchanged(&error))
                    .retry_after(5)
                    .hint(STORE_HINT)
            }
            KeyringError::Vault(_) | KeyringError::Key(_) | KeyringError::Record { .. } => {
                error!("a device's keys could not be changed: {detail}");
                Self::new(
                    Kind::Internal,
                    "the keys could not be changed; the log says why",
                )
            }
            KeyringError::Gone => Self::new(Kind::UnknownDevice, detail),
            KeyringError::Closing => Self::new(Kind::Closing, detail).retry_after(5),
        }
    }
}

const STORE_HINT: &str =
    "look at the disk: is it full, or mounted read-only? With store.url: look at nats-server";

fn unchanged(error: &StoreError) -> String {
    format!("the keys were not changed: {error}")
}

impl From<CheckError> for Problem {
    fn from(error: CheckError) -> Self {
        let detail = error.to_string();
        match error {
            CheckError::ContentType { carried, .. } => {
                let problem = Self::new(Kind::ContentType, detail)
                    .hint("name the body's type: curl -H 'Content-Type: application/json'");
                match HeaderValue::from_str(&carried) {
                    Ok(carried) => problem.header(ACCEPT_POST, carried),
                    Err(_) => problem,
                }
            }
            CheckError::ContentTypeV3 => Self::new(Kind::ContentType, detail),
            CheckError::TooLarge { .. } => Self::new(Kind::TooLarge, detail),
            CheckError::Json(_) => Self::new(Kind::Malformed, detail)
                .hint("a body that is not JSON needs its own Content-Type"),
            CheckError::Subtopic { .. }
            | CheckError::TopicLength
            | CheckError::Qos { .. }
            | CheckError::Retain => Self::new(Kind::NotCarried, detail),
        }
    }
}

fn not_sent(detail: String, trouble: Option<Trouble>) -> Problem {
    match trouble {
        Some(trouble) => Problem::new(
            Kind::NotSent,
            format!("{detail}; the last trouble: {}", trouble.what),
        )
        .hint(trouble.hint),
        None => Problem::new(Kind::NotSent, detail).hint(SESSION_HINT),
    }
    .retry_after(5)
}

/// Whether a refusal is about the moment rather than about the message or the device.
fn may_pass(reason: Reason) -> bool {
    // Unspecified, implementation specific, unavailable, busy, shutting down, receive maximum, rate, quota,
    // connection rate.
    matches!(
        reason.0,
        0x80 | 0x83 | 0x88 | 0x89 | 0x8B | 0x93 | 0x96 | 0x97 | 0x9F
    )
}

fn refused_hint(reason: Reason) -> &'static str {
    match reason {
        Reason::NOT_AUTHORIZED => "the platform does not let this device publish on this topic",
        Reason::TOPIC_NAME_INVALID => {
            "the platform does not know this topic; look at the sub-topic"
        }
        Reason::PACKET_TOO_LARGE => "the platform takes only smaller messages",
        Reason::PAYLOAD_FORMAT_INVALID => "the platform expects another payload or content type",
        _ if may_pass(reason) => "the platform may take it later",
        _ => "the platform's documentation says what it takes",
    }
}
