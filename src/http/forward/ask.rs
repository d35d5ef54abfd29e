//! What one member asks another, as bytes.
//!
//! ```text
//! version kind fields…      (see `fields`)
//! ```
//!
//! Whoever asks has checked the client's token: for the device, and for what is done with it. No token, cookie or
//! client certificate goes along.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{HeaderMap, Method, Uri};
use bytes::Bytes;

use super::fields::{Reader, message};
use super::headers;
use crate::access::{DevicePattern, Devices};
use crate::device::{ConnectorName, DeviceId};
use crate::fields::{DecodeError, Encoder};
use crate::message::{ContentType, Qos, Uplink, UplinkId};
use crate::session::State;
use crate::telemetry::TraceContext;
use crate::topic::SubTopic;
use crate::uplink::{IdempotencyKey, Wishes};

/// What a member asks.
#[derive(Debug)]
pub(super) enum Ask {
    /// To deliver an uplink of a device that it has.
    Uplink(Box<(Uplink, Wishes)>),
    /// To answer any other request about a device that it has.
    Request(Box<DeviceRequest>),
    /// To let the sessions of these devices connect, as somebody listens to them: so long for their subscriptions.
    Listen(Vec<DeviceId>, Duration),
    /// For those of its devices that are wanted.
    Page(Box<PageWanted>),
    /// For a receipt that it has in memory.
    Receipt(UplinkId),
    /// To know of an uplink of a device that another has stored.
    Stored(DeviceId, UplinkId),
}

/// A request about one device, whose path names it.
#[derive(Debug)]
pub(super) struct DeviceRequest {
    pub(super) method: Method,
    /// Path and query.
    pub(super) uri: Uri,
    /// Those that [go along](headers::of_request).
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Which devices are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct PageWanted {
    /// Behind this one, in the order of their ids.
    pub(in crate::http) after: Option<DeviceId>,
    /// So many at the most.
    pub(in crate::http) limit: usize,
    pub(in crate::http) connector: Option<ConnectorName>,
    pub(in crate::http) state: Option<State>,
    /// Those that the client may know of.
    pub(in crate::http) devices: Devices,
}

const UPLINK: u8 = 1;
const REQUEST: u8 = 2;
const LISTEN: u8 = 3;
const PAGE: u8 = 4;
const RECEIPT: u8 = 5;
const STORED: u8 = 6;

/// The longest path and query, in bytes: far above what `http.max_head` lets through by default.
const MAX_URI: usize = 64 * 1024;

/// Without the payload, of an uplink of usual length.
const UPLINK_ROOM: usize = 256;

impl Ask {
    /// An uplink that was accepted some time ago, and may still wait so long for its broker.
    pub(super) fn uplink(uplink: &Uplink, wishes: &Wishes, ago: Duration, wait: Duration) -> Bytes {
        let mut to = message(UPLINK, UPLINK_ROOM + uplink.payload.len());
        to.text(uplink.device.as_str());
        to.option(uplink.subtopic.as_ref(), |to, sub| to.text(sub.as_str()));
        to.bytes(&uplink.payload);
        let content_type = uplink.content_type.as_ref();
        to.option(content_type, |to, given| to.text(given.as_str()));
        to.option(uplink.qos, |to, qos| to.byte(qos.level()));
        to.flag(uplink.retain);
        let expiry = uplink.expiry.map(|expiry| expiry.saturating_sub(ago));
        to.option(expiry, Encoder::duration);
        to.option(uplink.traceparent.as_deref(), Encoder::text);
        to.duration(wait);
        to.flag(wishes.respond_async);
        to.flag(wishes.confirm_platform);
        to.option(wishes.key.as_ref(), |to, key| to.text(key.as_str()));
        to.list(wishes.parameters.iter(), |to, (name, value)| {
            to.text(name);
            to.text(value);
        });
        to.finish().into()
    }

    /// A request about a device.
    pub(super) fn request(request: &DeviceRequest) -> Bytes {
        let target = request.uri.path_and_query();
        let target = target.map_or("/", |target| target.as_str());
        let mut to = message(REQUEST, UPLINK_ROOM + target.len() + request.body.len());
        to.text(request.method.as_str());
        to.text(target);
        headers::write(&mut to, &request.headers);
        to.bytes(&request.body);
        to.finish().into()
    }

    pub(super) fn listen(devices: &[DeviceId], within: Duration) -> Bytes {
        let mut to = message(LISTEN, 64);
        to.list(devices.iter(), |to, device| to.text(device.as_str()));
        to.duration(within);
        to.finish().into()
    }

    pub(super) fn page(wanted: &PageWanted) -> Bytes {
        let mut to = message(PAGE, 64);
        to.option(wanted.after.as_ref(), |to, id| to.text(id.as_str()));
        to.number(wanted.limit as u64);
        to.option(wanted.connector.as_ref(), |to, name| to.text(name.as_str()));
        to.option(wanted.state, |to, state| to.text(state.name()));
        let patterns = wanted.devices.patterns().iter();
        to.list(patterns, |to, pattern| to.text(pattern.as_str()));
        to.finish().into()
    }

    pub(super) fn receipt(id: UplinkId) -> Bytes {
        let mut to = message(RECEIPT, 32);
        to.bytes(&id.to_u128().to_be_bytes());
        to.finish().into()
    }

    pub(super) fn stored(device: &DeviceId, id: UplinkId) -> Bytes {
        let mut to = message(STORED, 64);
        to.text(device.as_str());
        to.bytes(&id.to_u128().to_be_bytes());
        to.finish().into()
    }

    /// Reads what another member asks. Everything in it is checked as if a client had sent it.
    pub(super) fn read(message: Bytes) -> Result<Self, DecodeError> {
        let (kind, mut from) = Reader::new(message)?;
        let ask = match kind {
            UPLINK => Self::Uplink(Box::new(uplink(&mut from)?)),
            REQUEST => Self::Request(Box::new(request(&mut from)?)),
            LISTEN => Self::Listen(from.list(device)?, from.duration()?),
            PAGE => Self::Page(Box::new(page(&mut from)?)),
            RECEIPT => Self::Receipt(uplink_id(&mut from)?),
            STORED => Self::Stored(device(&mut from)?, uplink_id(&mut from)?),
            _ => return Err(DecodeError::Field("kind")),
        };
        from.finish()?;
        Ok(ask)
    }
}

pub(super) fn device(from: &mut Reader) -> Result<DeviceId, DecodeError> {
    from.parsed("device", |text| DeviceId::parse(text).ok())
}

fn uplink_id(from: &mut Reader) -> Result<UplinkId, DecodeError> {
    let id = <[u8; 16]>::try_from(&*from.bytes()?);
    let id = id.map_err(|_| DecodeError::Field("uplink's id"))?;
    Ok(UplinkId::from_u128(u128::from_be_bytes(id)))
}

fn uplink(from: &mut Reader) -> Result<(Uplink, Wishes), DecodeError> {
    let uplink = Uplink {
        device: device(from)?,
        subtopic: from
            .option(|from| from.parsed("sub-topic", |text| SubTopic::parse(text).ok()))?,
        payload: from.bytes()?,
        content_type: from
            .option(|from| from.parsed("content type", |text| ContentType::parse(text).ok()))?,
        qos: from.option(|from| {
            let level = from.byte()?;
            Qos::from_level(level).ok_or(DecodeError::Field("QoS"))
        })?,
        retain: from.flag()?,
        expiry: from.option(Reader::duration)?,
        traceparent: from.option(|from| {
            let valid = |text: &str| TraceContext::parse(text).map(|_| text.into());
            from.parsed("trace context", valid)
        })?,
    };
    let wishes = Wishes {
        wait: from.duration()?,
        respond_async: from.flag()?,
        confirm_platform: from.flag()?,
        key: from.option(|from| from.parsed("key", key))?,
        parameters: parameters(from)?,
        placed: None,
    };
    Ok((uplink, wishes))
}

fn parameters(from: &mut Reader) -> Result<BTreeMap<String, String>, DecodeError> {
    let pairs = from.list(|from| Ok((from.text()?, from.text()?)))?;
    Ok(pairs.into_iter().collect())
}

/// A key was freed from white space and quotes when it was read first, and what is left may have others.
fn key(text: &str) -> Option<IdempotencyKey> {
    IdempotencyKey::parse(&format!("\"{text}\"")).ok()
}

fn request(from: &mut Reader) -> Result<DeviceRequest, DecodeError> {
    let method = from.parsed("method", |text| text.parse().ok())?;
    let target = |text: &str| {
        let is_path = text.starts_with("/v1/devices/") && text.len() <= MAX_URI;
        is_path.then(|| text.parse().ok()).flatten()
    };
    Ok(DeviceRequest {
        method,
        uri: from.parsed("path", target)?,
        headers: headers::read(from, headers::goes_with_request)?,
        body: from.bytes()?,
    })
}

fn page(from: &mut Reader) -> Result<PageWanted, DecodeError> {
    let state = |text: &str| State::ALL.into_iter().find(|state| state.name() == text);
    let limit = |number| usize::try_from(number).map_err(|_| DecodeError::Field("limit"));
    Ok(PageWanted {
        after: from.option(device)?,
        limit: limit(from.number()?)?,
        connector: from
            .option(|from| from.parsed("connector", |text| ConnectorName::parse(text).ok()))?,
        state: from.option(|from| from.parsed("state", state))?,
        devices: Devices::of(
            from.list(|from| from.parsed("pattern", |text| DevicePattern::parse(text).ok()))?,
        ),
    })
}
