//! What one member answers another, as bytes.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;

use super::ask;
use super::fields::{Reader, message};
use super::headers;
use crate::cluster::{Partition, Partitions};
use crate::device::DeviceId;
use crate::fields::{DecodeError, Encoder};
use crate::http::problem::{Kind, ProblemKind};

/// What a member answers.
#[derive(Debug)]
pub(super) enum Answer {
    /// The device is not held here, or not any more, and the request was not processed.
    NotHere,
    /// This is no message of a version that is known here, and it was not processed.
    NotUnderstood,
    /// The answer to a client.
    Http(Box<HttpAnswer>),
    /// Those of the devices that are not held here.
    Absent(Vec<DeviceId>),
    /// Devices.
    Page(Box<Page>),
    /// A receipt and whose it is.
    Receipt(Option<(DeviceId, Bytes)>),
    /// What was stored by now is known, or cannot be looked for.
    Heard(bool),
}

/// An answer to a client, from the member that has the device.
#[derive(Debug)]
pub(in crate::http) struct HttpAnswer {
    pub(in crate::http) status: StatusCode,
    /// What kind of problem it is, for those who count.
    pub(super) problem: Option<&'static str>,
    /// Those that go along.
    pub(in crate::http) headers: HeaderMap,
    pub(in crate::http) body: Bytes,
}

/// Those of a member's devices that are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    /// The partitions all of whose devices were looked at.
    pub(super) of: Partitions,
    /// Whether more are wanted behind the last one.
    pub(super) more: bool,
    /// In the order of their ids, as JSON.
    pub(super) devices: Vec<(DeviceId, Bytes)>,
}

const NOT_HERE: u8 = 1;
const NOT_UNDERSTOOD: u8 = 2;
const HTTP: u8 = 3;
const ABSENT: u8 = 4;
const PAGE: u8 = 5;
const RECEIPT: u8 = 6;
const HEARD: u8 = 7;

impl Answer {
    pub(super) fn write(&self) -> Bytes {
        match self {
            Self::NotHere => message(NOT_HERE, 2).finish().into(),
            Self::NotUnderstood => message(NOT_UNDERSTOOD, 2).finish().into(),
            Self::Http(answer) => answer.write(),
            Self::Absent(devices) => {
                let mut to = message(ABSENT, 16);
                to.list(devices.iter(), |to, device| to.text(device.as_str()));
                to.finish().into()
            }
            Self::Page(page) => page.write(),
            Self::Heard(is_heard) => {
                let mut to = message(HEARD, 3);
                to.flag(*is_heard);
                to.finish().into()
            }
            Self::Receipt(receipt) => {
                let mut to = message(RECEIPT, 512);
                to.option(receipt.as_ref(), |to, (device, json)| {
                    to.text(device.as_str());
                    to.bytes(json);
                });
                to.finish().into()
            }
        }
    }

    pub(super) fn read(message: Bytes) -> Result<Self, DecodeError> {
        let (kind, mut from) = Reader::new(message)?;
        let answer = match kind {
            NOT_HERE => Self::NotHere,
            NOT_UNDERSTOOD => Self::NotUnderstood,
            HTTP => Self::Http(Box::new(HttpAnswer::read(&mut from)?)),
            ABSENT => Self::Absent(from.list(ask::device)?),
            PAGE => Self::Page(Box::new(Page::read(&mut from)?)),
            RECEIPT => Self::Receipt(from.option(|from| Ok((ask::device(from)?, from.bytes()?)))?),
            HEARD => Self::Heard(from.flag()?),
            _ => return Err(DecodeError::Field("kind")),
        };
        from.finish()?;
        Ok(answer)
    }
}

impl HttpAnswer {
    fn write(&self) -> Bytes {
        let mut to = message(HTTP, 256 + self.body.len());
        to.number(self.status.as_u16().into());
        to.option(self.problem, Encoder::text);
        headers::write(&mut to, &self.headers);
        to.bytes(&self.body);
        to.finish().into()
    }

    fn read(from: &mut Reader) -> Result<Self, DecodeError> {
        let status = u16::try_from(from.number()?).ok();
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        // One that a member of another version knows is not counted.
        let known = |slug: String| Kind::ALL.iter().find(|kind| kind.slug() == slug);
        Ok(Self {
            status: status.ok_or(DecodeError::Field("status"))?,
            problem: from
                .option(Reader::text)?
                .and_then(known)
                .map(|kind| kind.slug()),
            headers: headers::read(from, headers::goes_with_answer)?,
            body: from.bytes()?,
        })
    }

    /// Whether it is this kind of problem.
    pub(super) fn is(&self, kind: Kind) -> bool {
        self.problem == Some(kind.slug())
    }

    /// As if it came from here.
    pub(in crate::http) fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        if let Some(slug) = self.problem {
            response.extensions_mut().insert(ProblemKind(slug));
        }
        response
    }
}

impl Page {
    fn write(&self) -> Bytes {
        let size: usize = self.devices.iter().map(|(_, json)| json.len() + 64).sum();
        let mut to = message(PAGE, 16 + size);
        let partitions = self.of.iter();
        to.number(partitions.fold(0, |bits, partition| bits | 1 << partition.number()));
        to.flag(self.more);
        to.list(self.devices.iter(), |to, (device, json)| {
            to.text(device.as_str());
            to.bytes(json);
        });
        to.finish().into()
    }

    fn read(from: &mut Reader) -> Result<Self, DecodeError> {
        let bits = from.number()?;
        let held = (0..Partition::COUNT).filter(|number| bits >> number & 1 == 1);
        Ok(Self {
            of: held.filter_map(Partition::new).collect(),
            more: from.flag()?,
            devices: from.list(|from| Ok((ask::device(from)?, from.bytes()?)))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(text: &str) -> DeviceId {
        DeviceId::parse(text).unwrap()
    }

    fn answers() -> impl Strategy<Value = Answer> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from);
        let device = || "[a-z]{1,9}".prop_map(|text| id(&text));
        let http = (
            200..600_u16,
            prop::option::of(prop::sample::select(Kind::ALL)),
            prop::collection::vec("[ -~]{0,9}", 0..4),
            bytes(),
        );
        let http = http.prop_map(|(status, kind, values, body)| {
            let values = values.iter().map(|value| value.parse().unwrap());
            Answer::Http(Box::new(HttpAnswer {
                status: StatusCode::from_u16(status).unwrap(),
                problem: kind.map(Kind::slug),
                headers: values
                    .map(|value| (axum::http::header::ALLOW, value))
                    .collect(),
                body,
            }))
        });
        let devices = prop::collection::vec((device(), bytes()), 0..5);
        let page = (any::<u64>(), any::<bool>(), devices).prop_map(|(bits, more, devices)| {
            let held = (0..64).filter(|number| bits >> number & 1 == 1);
            Answer::Page(Box::new(Page {
                of: held.filter_map(Partition::new).collect(),
                more,
                devices,
            }))
        });
        prop_oneof![
            Just(()).prop_map(|()| Answer::NotHere),
            Just(()).prop_map(|()| Answer::NotUnderstood),
            http,
            prop::collection::vec(device(), 0..5).prop_map(Answer::Absent),
            page,
            prop::option::of((device(), bytes())).prop_map(Answer::Receipt),
            any::<bool>().prop_map(Answer::Heard),
        ]
    }

    proptest! {
        #[test]
        fn an_answer_is_read_as_it_was_written(answer in answers()) {
            let read = Answer::read(answer.write()).unwrap();
            prop_assert_eq!(format!("{read:?}"), format!("{answer:?}"));
        }

        #[test]
        fn what_is_cut_or_longer_is_refused(answer in answers(), cut in any::<prop::sample::Index>()) {
            let message = answer.write();
            prop_assert!(Answer::read(message.slice(..cut.index(message.len()))).is_err());
            let long = [&message[..], b"\0"].concat();
            prop_assert_eq!(Answer::read(long.into()).unwrap_err(), DecodeError::Long);
        }

        #[test]
        fn no_bytes_do_harm(kind in 0..8_u8, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let message = [&[super::super::fields::VERSION, kind], &bytes[..]].concat();
            let _ = Answer::read(message.into());
        }
    }

    #[test]
    fn a_kind_of_problem_that_is_not_known_is_not_counted() {
        let mut to = message(HTTP, 0);
        to.number(503);
        to.option(Some("of-tomorrow"), Encoder::text);
        headers::write(&mut to, &HeaderMap::new());
        to.bytes(b"{}");
        let Ok(Answer::Http(answer)) = Answer::read(to.finish().into()) else {
            panic!("it is no answer");
        };
        assert_eq!((answer.status.as_u16(), answer.problem), (503, None));
    }
}
