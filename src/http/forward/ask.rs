//! What one member asks another, as bytes.
//!
//! ```text
//! version kind fields…      (see `fields`)
//! ```
//!
//! Whoever asks has checked the client's token: for the device, and for what is done with it. No token, cookie or
//! client certificate goes along.

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id() -> impl Strategy<Value = DeviceId> {
        "[a-z0-9 :\u{e4}-]{1,12}".prop_map(|text| DeviceId::parse(&text).unwrap())
    }

    fn uplinks() -> impl Strategy<Value = (Uplink, Wishes)> {
        let uplink = (
            id(),
            prop::option::of("[a-z]{1,5}(/[a-z]{1,5}){0,2}"),
            prop::collection::vec(any::<u8>(), 0..300),
            prop::option::of("[a-z]{1,5}/[a-z]{1,5}(; x=[a-z]{1,3})?"),
            prop::option::of(0..=2_u8),
            any::<bool>(),
            prop::option::of(1..u64::from(u32::MAX)),
        );
        let wishes = (
            0..100_000_u64,
            any::<(bool, bool)>(),
            prop::option::of("[!-~]([ -~]{0,18}[!-~])?"),
            prop::collection::btree_map(".{0,9}", ".{0,9}", 0..4),
        );
        (uplink, wishes).prop_map(
            |(
                (device, subtopic, payload, content_type, qos, retain, expiry),
                (wait, (respond_async, confirm_platform), text, parameters),
            )| {
                let uplink = Uplink {
                    device,
                    subtopic: subtopic.map(|text| SubTopic::parse(&text).unwrap()),
                    payload: payload.into(),
                    content_type: content_type.map(|text| ContentType::parse(&text).unwrap()),
                    qos: qos.and_then(Qos::from_level),
                    retain,
                    expiry: expiry.map(Duration::from_secs),
                    traceparent: retain
                        .then(|| "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
                };
                let wishes = Wishes {
                    wait: Duration::from_millis(wait),
                    respond_async,
                    confirm_platform,
                    key: text.as_deref().and_then(key),
                    parameters,
                    placed: None,
                };
                (uplink, wishes)
            },
        )
    }

    fn text(ask: &Ask) -> String {
        format!("{ask:?}")
    }

    proptest! {
        #[test]
        fn an_uplink_is_read_as_it_was_written((uplink, wishes) in uplinks()) {
            let message = Ask::uplink(&uplink, &wishes, Duration::ZERO, wishes.wait);
            let read = Ask::read(message).unwrap();
            prop_assert_eq!(text(&read), text(&Ask::Uplink(Box::new((uplink, wishes)))));
        }

        #[test]
        fn what_is_cut_or_longer_is_refused((uplink, wishes) in uplinks(), cut in any::<prop::sample::Index>()) {
            let message = Ask::uplink(&uplink, &wishes, Duration::ZERO, wishes.wait);
            let short = message.slice(..cut.index(message.len()));
            prop_assert!(Ask::read(short).is_err());
            let long = [&message[..], b"\0"].concat();
            prop_assert_eq!(Ask::read(long.into()).unwrap_err(), DecodeError::Long);
        }

        #[test]
        fn no_bytes_do_harm(kind in 0..7_u8, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let message = [&[super::super::fields::VERSION, kind], &bytes[..]].concat();
            // It is refused, or something valid.
            if let Ok(Ask::Request(request)) = Ask::read(message.into()) {
                prop_assert!(request.uri.path().starts_with("/v1/devices/"));
            }
        }

        #[test]
        fn a_page_is_read_as_it_was_written(
            after in prop::option::of(id()),
            limit in 0..2000_usize,
            state in prop::option::of(prop::sample::select(State::ALL.to_vec())),
            connector in prop::option::of("[a-z]{1,9}"),
            patterns in prop::collection::vec("[a-z*]{1,9}", 0..4),
        ) {
            let wanted = PageWanted {
                after,
                limit,
                state,
                connector: connector.map(|name| ConnectorName::parse(&name).unwrap()),
                devices: Devices::of(patterns.iter().map(|text| DevicePattern::parse(text).unwrap())),
            };
            let Ok(Ask::Page(read)) = Ask::read(Ask::page(&wanted)) else {
                panic!("it is no page");
            };
            prop_assert_eq!(*read, wanted);
        }

        #[test]
        fn listeners_receipts_and_news_are_read_as_they_were_written(devices in prop::collection::vec(id(), 0..9), ms in 0..9999_u64) {
            let within = Duration::from_millis(ms);
            let read = Ask::read(Ask::listen(&devices, within)).unwrap();
            prop_assert_eq!(text(&read), text(&Ask::Listen(devices.clone(), within)));
            let id = UplinkId::new();
            let read = Ask::read(Ask::receipt(id)).unwrap();
            prop_assert_eq!(text(&read), text(&Ask::Receipt(id)));
            for device in devices {
                let read = Ask::read(Ask::stored(&device, id)).unwrap();
                prop_assert_eq!(text(&read), text(&Ask::Stored(device, id)));
            }
        }
    }

    #[test]
    fn a_request_goes_along_without_what_lets_its_client_in() {
        let mut all = HeaderMap::new();
        for (name, value) in [
            ("content-type", "application/json"),
            ("if-none-match", "*"),
            ("prefer", "wait=3"),
            ("prefer", "respond-async"),
            ("authorization", "Bearer geheim"),
            ("cookie", "geheim"),
            ("x-forwarded-for", "geheim"),
            ("connection", "close"),
            ("content-length", "3"),
            ("host", "geheim"),
        ] {
            let name: axum::http::HeaderName = name.parse().unwrap();
            all.append(name, value.parse().unwrap());
        }
        let request = DeviceRequest {
            method: Method::PUT,
            uri: "/v1/devices/a%20b?x=1".parse().unwrap(),
            headers: headers::of_request(&all),
            body: "{}\n".into(),
        };
        let message = Ask::request(&request);
        assert!(!String::from_utf8_lossy(&message).contains("geheim"));
        let Ok(Ask::Request(read)) = Ask::read(message) else {
            panic!("it is no request");
        };
        assert_eq!((&read.method, &read.uri), (&request.method, &request.uri));
        assert_eq!(read.headers.len(), 4);
        assert_eq!(read.headers, request.headers);
        assert_eq!(read.body, request.body);
    }

    #[test]
    fn what_no_member_asks_is_refused() {
        let write = |method: &str, target: &str, header: &str| {
            let mut to = message(REQUEST, 0);
            to.text(method);
            to.text(target);
            to.list([header].iter(), |to, name| {
                to.text(name);
                to.bytes(b"x");
            });
            to.bytes(b"");
            Ask::read(to.finish().into()).is_ok()
        };
        assert!(write("GET", "/v1/devices/a", "accept"));
        for target in [
            "",
            "/",
            "*",
            "/v1/uplinks",
            "/v1/devices",
            "http://x/v1/devices/a",
            "/v1/devices/\0",
            &format!("/v1/devices/{}", "a".repeat(MAX_URI)),
        ] {
            assert!(!write("GET", target, "accept"), "{target}");
        }
        assert!(!write("G T", "/v1/devices/a", "accept"));
        for header in ["authorization", "Authorization", "cookie", "host", "a b"] {
            assert!(!write("GET", "/v1/devices/a", header), "{header}");
        }
        // A message of another kind, and one of a version to come.
        for bytes in [
            &b"\x01\x09"[..],
            b"\x02\x01",
            b"",
            b"GET / HTTP/1.1\r\n\r\n",
        ] {
            assert!(Ask::read(bytes.into()).is_err());
        }
    }
}
