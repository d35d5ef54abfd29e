//! `POST /devices/{id}/downlinks/{topic}`: a message from the platform to a device.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use serde::Serialize;

use super::Console;
use super::answer::Problem;
use crate::demo::broker::{Delivery, NoDownlink};
use crate::device::DeviceId;
use crate::topic::SubTopic;

#[derive(Debug, Serialize)]
pub(super) struct Sent {
    device: String,
    topic: String,
    #[serde(flatten)]
    delivery: Delivery,
    detail: &'static str,
}

type Answer = Result<(StatusCode, Json<Sent>), Problem>;
type Body = Result<Bytes, BytesRejection>;

pub(super) async fn send(
    State(console): State<Arc<Console>>,
    Path((id, topic)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let topic = SubTopic::parse(&topic).map_err(|error| {
        let hint = "a topic has levels with `/` between them: settings/valve";
        Problem::new(StatusCode::BAD_REQUEST, format!("the topic {error}"), hint)
    })?;
    deliver(&console, &id, topic.as_str(), &headers, body)
}

pub(super) async fn without_topic(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    deliver(&console, &id, "", &headers, body)
}

fn deliver(console: &Console, id: &str, topic: &str, headers: &HeaderMap, body: Body) -> Answer {
    let unknown = || console.unknown_device(id);
    let device = DeviceId::parse(id).map_err(|_| unknown())?;
    let payload = body.map_err(|error| {
        let hint = "send at most 1 MiB";
        Problem::new(error.status(), error.body_text(), hint)
    })?;
    let content_type = content_type(headers);
    let mut brokers = console.brokers.iter();
    let delivery = brokers.find_map(|broker| {
        let sent = broker.send_downlink(&device, topic, payload.clone(), content_type.clone());
        (sent != Err(NoDownlink::UnknownDevice)).then_some(sent)
    });
    let delivery = match delivery {
        Some(Ok(delivery)) => delivery,
        Some(Err(NoDownlink::NoSuchTopic { only })) => {
            let error = format!("the platform of {id} has no topics for downlinks but {only}");
            let hint = format!("POST /devices/{id}/downlinks/{only}");
            return Err(Problem::new(StatusCode::BAD_REQUEST, error, hint));
        }
        Some(Err(NoDownlink::UnknownDevice)) | None => return Err(unknown()),
    };
    let sent = Sent {
        device: id.to_owned(),
        topic: topic.to_owned(),
        detail: detail(delivery),
        delivery,
    };
    Ok((StatusCode::ACCEPTED, Json(sent)))
}

fn detail(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery { connected: 1.., .. } => "sent to the connected client",
        Delivery { kept: 1.., .. } => "the client is away; it gets this when it comes back",
        Delivery { dropped: 1.., .. } => "lost: the client's queue is full",
        _ => "lost: nobody subscribes for this device; open a listener first",
    }
}

/// What curl says by itself, it says of every body: that is left out.
fn content_type(headers: &HeaderMap) -> Option<String> {
    let stated = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    (stated != "application/x-www-form-urlencoded").then(|| stated.to_owned())
}
