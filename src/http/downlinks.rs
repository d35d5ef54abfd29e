//! `GET /v1/devices/{device}/downlinks` and `GET /v1/downlinks`: what arrived for devices, as a stream or as a long poll.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, Method, Uri};
use axum::response::Response;
use axum::routing::get;
use futures_util::future::try_join_all;
use tokio_util::sync::CancellationToken;

use super::HttpLimits;
use super::accept::{self, Form};
use super::downlink_form::DownlinkPage;
use super::forward::{self, Ear, Way};
use super::guard::Guard;
use super::openapi::{BadRequest, InternalError, NotAcceptable, StoreUnreadable, UnknownDevice};
use super::path::DevicePath;
use super::problem::{Kind, Problem};
use super::{long_poll, query, sse};
use crate::access::{Caller, Scope};
use crate::device::DeviceId;
use crate::downlink::{After, Cursor, Hub, Subscription};
use crate::observe::Watch;
use crate::registry::{Device, Registry};
use crate::topic::TopicFilter;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How many devices one stream may have.
const MAX_DEVICES: usize = 100;
/// How long a poll waits when the request does not say.
const DEFAULT_WAIT: Duration = Duration::from_secs(30);
const DEFAULT_EVENTS: usize = 100;
const MAX_EVENTS: usize = 1000;

const SCOPE: Scope = Scope::Downlink;

pub(super) fn router(
    guard: &Guard,
    registry: Arc<Registry>,
    hub: Arc<Hub>,
    limits: HttpLimits,
    forward: Option<Way>,
    shutdown: CancellationToken,
) -> Router {
    Router::new()
        .route(
            "/v1/devices/{device}/downlinks",
            get(guard.asks_listeners(SCOPE, of_device)),
        )
        .route(
            "/v1/downlinks",
            get(guard.asks_listeners(SCOPE, of_devices)),
        )
        .with_state(Listen {
            registry,
            hub,
            limits,
            forward,
            shutdown,
        })
}

#[derive(Clone)]
struct Listen {
    registry: Arc<Registry>,
    hub: Arc<Hub>,
    limits: HttpLimits,
    forward: Option<Way>,
    shutdown: CancellationToken,
}

/// Listens to a device's downlinks
///
/// As `text/event-stream` (the default, also for `*/*`): events `downlink`, `gap` and `session` for as long as the client
/// listens, the downlinks with their cursor as `id`; a heartbeat every 15 s. As `application/json`: one answer with what
/// is there, or with the first thing that comes within `wait`; go on with its `next` as `after`.
///
/// A `gap` says that downlinks with a cursor behind its `after` and before its `next` may be missing, because they are no
/// longer kept; it comes before what is kept.
///
/// A `session` says how the connection to the broker stands, when that changes, and at the beginning where it is not
/// connected: then nothing can arrive. It is told to streams only, and not replayed. A `deleted` says that a device was
/// deleted; with the last one, the stream ends.
#[utoipa::path(
    get,
    path = "/v1/devices/{device}/downlinks",
    tag = "downlinks",
    extensions(("x-codeSamples" = json!([
        {"lang": "Shell", "label": "As a stream", "source": "curl -N http://127.0.0.1:8080/v1/devices/pump-1/downlinks"},
        {"lang": "Shell", "label": "As a long poll", "source": "curl -sS -H 'Accept: application/json' 'http://127.0.0.1:8080/v1/devices/pump-1/downlinks?after=earliest&wait=1'"},
    ]))),
    security(("token" = [SCOPE])),
    params(
        ("device" = String, Path, description = "The device's id, percent-encoded", example = "pump-1"),
        ("topic" = Option<String>, Query, description = "An MQTT topic filter on what follows the profile's prefix. Default: all", example = "commands/#"),
        ("after" = Option<String>, Query, description = "The cursor to go on behind, or `earliest` for all that is kept. Default: what arrives from now on"),
        ("last_event_id" = Option<String>, Query, description = "The same under another name"),
        ("access_token" = Option<String>, Query, description = "The token, for a browser's `EventSource`, which cannot set headers (RFC 6750 §2.3). Better in the `Authorization` header: addresses are written into the logs of proxies"),
        ("wait" = Option<u32>, Query, description = "Long poll only: how many seconds to wait for the first event, 60 at the most. Default 30"),
        ("limit" = Option<u32>, Query, description = "Long poll only: how many events to take at the most. Default 100", minimum = 1, maximum = 1000),
        ("Last-Event-ID" = Option<String>, Header, description = "The cursor to go on behind, as an `EventSource` sends it"),
        ("Accept" = Option<String>, Header, description = "`text/event-stream` or `application/json`"),
    ),
    responses(
        (status = 200, description = "What arrives", content(
            (Object = "text/event-stream", example = json!("id: 1769860800000001\nevent: downlink\ndata: {\"device\":\"pump-1\",\"topic\":\"commands\",\"payload\":{\"on\":true},\"qos\":1,\"retained\":false,\"received_at\":\"2026-01-31T12:00:00.000Z\"}\n\n")),
            (DownlinkPage = "application/json"),
        )),
        (status = 400, response = BadRequest),
        (status = 404, response = UnknownDevice),
        (status = 406, response = NotAcceptable),
        (status = 500, response = InternalError),
        (status = 503, response = StoreUnreadable),
    )
)]
async fn of_device(
    State(listen): State<Listen>,
    caller: Caller,
    DevicePath(device): DevicePath,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let options = Options::read(&uri, false)?;
    listen
        .answer(caller, vec![device], options, &method, &headers)
        .await
}

/// Listens to the downlinks of several devices
///
/// As `text/event-stream` (the default, also for `*/*`): events `downlink`, `gap` and `session` for as long as the client
/// listens, the downlinks with their cursor as `id`; a heartbeat every 15 s. As `application/json`: one answer with what
/// is there, or with the first thing that comes within `wait`; go on with its `next` as `after`.
///
/// A `gap` says that downlinks with a cursor behind its `after` and before its `next` may be missing, because they are no
/// longer kept; it comes before what is kept.
///
/// A `session` says how the connection to the broker stands, when that changes, and at the beginning where it is not
/// connected: then nothing can arrive. It is told to streams only, and not replayed. A `deleted` says that a device was
/// deleted; with the last one, the stream ends.
///
/// The events of all devices come in the order of their cursors, so that one cursor stands for all of them.
#[utoipa::path(
    get,
    path = "/v1/downlinks",
    tag = "downlinks",
    extensions(("x-codeSamples" = json!([
        {"lang": "Shell", "label": "As a stream", "source": "curl -N 'http://127.0.0.1:8080/v1/downlinks?device=pump-1&device=pump-2'"},
        {"lang": "Shell", "label": "As a long poll", "source": "curl -sS -H 'Accept: application/json' 'http://127.0.0.1:8080/v1/downlinks?device=pump-1&device=pump-2&after=earliest&wait=1'"},
    ]))),
    security(("token" = [SCOPE])),
    params(
        ("device" = Vec<String>, Query, description = "A device's id; once for each device, 100 times at the most", example = json!(["pump-1", "pump-2"])),
        ("topic" = Option<String>, Query, description = "An MQTT topic filter on what follows the profile's prefix. Default: all", example = "commands/#"),
        ("after" = Option<String>, Query, description = "The cursor to go on behind, or `earliest` for all that is kept. Default: what arrives from now on"),
        ("last_event_id" = Option<String>, Query, description = "The same under another name"),
        ("access_token" = Option<String>, Query, description = "The token, for a browser's `EventSource`, which cannot set headers (RFC 6750 §2.3). Better in the `Authorization` header: addresses are written into the logs of proxies"),
        ("wait" = Option<u32>, Query, description = "Long poll only: how many seconds to wait for the first event, 60 at the most. Default 30"),
        ("limit" = Option<u32>, Query, description = "Long poll only: how many events to take at the most. Default 100", minimum = 1, maximum = 1000),
        ("Last-Event-ID" = Option<String>, Header, description = "The cursor to go on behind, as an `EventSource` sends it"),
        ("Accept" = Option<String>, Header, description = "`text/event-stream` or `application/json`"),
    ),
    responses(
        (status = 200, description = "What arrives", content(
            (Object = "text/event-stream", example = json!("id: 1769860800000001\nevent: downlink\ndata: {\"device\":\"pump-1\",\"topic\":\"commands\",\"payload\":{\"on\":true},\"qos\":1,\"retained\":false,\"received_at\":\"2026-01-31T12:00:00.000Z\"}\n\n")),
            (DownlinkPage = "application/json"),
        )),
        (status = 400, response = BadRequest),
        (status = 404, response = UnknownDevice),
        (status = 406, response = NotAcceptable),
        (status = 500, response = InternalError),
        (status = 503, response = StoreUnreadable),
    )
)]
async fn of_devices(
    State(listen): State<Listen>,
    caller: Caller,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut options = Options::read(&uri, true)?;
    let devices = std::mem::take(&mut options.devices);
    if !(1..=MAX_DEVICES).contains(&devices.len()) {
        return Err(query::bad(
            "device",
            format!("given from 1 to {MAX_DEVICES} times"),
        ));
    }
    listen
        .answer(caller, devices, options, &method, &headers)
        .await
}

impl Listen {
    async fn answer(
        &self,
        caller: Caller,
        devices: Vec<DeviceId>,
        options: Options,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Response, Problem> {
        let form = accept::form(headers)?;
        if form == Form::Stream && (options.wait.is_some() || options.limit.is_some()) {
            return Err(
                Problem::new(Kind::Malformed, "wait and limit belong to the long poll")
                    .hint("ask for it: curl -H 'Accept: application/json'"),
            );
        }
        let after = options.after.unwrap_or_else(|| last_event_id(headers));
        devices.iter().try_for_each(|id| caller.check_device(id))?;
        let wanted = self.find(devices).await?;
        if form == Form::Stream {
            let listener = caller.begin_stream()?;
            let (subscription, ear) = self.subscribe(&wanted, options.topics, after).await?;
            let sessions = Watch::new(Arc::clone(&self.registry), &wanted.here);
            let answer = sse::answer(subscription, sessions, (listener, ear), &self.shutdown);
            return Ok(answer);
        }
        let (subscription, _ear) = self.subscribe(&wanted, options.topics, after).await?;
        let (limit, wait) = match *method {
            // Only the head of the answer is asked for, and there is nothing to wait for.
            Method::HEAD => (0, Duration::ZERO),
            _ => (
                options.limit.unwrap_or(DEFAULT_EVENTS),
                options
                    .wait
                    .unwrap_or(DEFAULT_WAIT)
                    .min(self.limits.max_wait),
            ),
        };
        let until = async {
            tokio::select! {
                () = self.shutdown.cancelled() => {}
                () = caller.over() => {}
            }
        };
        Ok(long_poll::answer(subscription, limit, wait, until).await)
    }

    /// The devices, each once.
    async fn find(&self, ids: Vec<DeviceId>) -> Result<Wanted, Problem> {
        let mut wanted = Wanted::default();
        for id in ids {
            match self.registry.get(&id) {
                Some(device) => drop(wanted.here.insert(id, device)),
                None => drop(wanted.elsewhere.insert(id)),
            }
        }
        let exist = wanted.elsewhere.iter().map(async |id| {
            match forward::exists(&self.forward, id).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(Problem::unknown_device(id)),
                Err(problem) => Err(problem),
            }
        });
        try_join_all(exist).await?;
        Ok(wanted)
    }

    async fn subscribe(
        &self,
        wanted: &Wanted,
        topics: Option<TopicFilter>,
        after: After,
    ) -> Result<(Subscription, Option<Ear>), Problem> {
        let devices = &wanted.here;
        let ids = devices.keys().chain(&wanted.elsewhere).cloned();
        let subscription = self.hub.subscribe(ids, topics, after);
        let subscription =
            subscription.counted(|id| Some(Arc::clone(&devices.get(id)?.connector.tally)));
        // Only now, so that nothing that a connection brings at once is missed.
        for device in devices.values() {
            device.session.wake();
        }
        // The answer says "listening": a downlink that is sent when it is seen must find the subscription in place.
        let begun = async {
            for device in devices.values() {
                device.session.status().has_begun().await;
            }
        };
        let within = self.limits.begin_wait;
        let (_, ear) = tokio::join!(
            tokio::time::timeout(within, begun),
            self.tell_owners(wanted)
        );
        // One that was deleted meanwhile would never be heard of again.
        for id in devices.keys() {
            let here = self.registry.get(id).is_some();
            if !here && !forward::exists(&self.forward, id).await? {
                return Err(Problem::unknown_device(id));
            }
        }
        Ok((subscription, ear))
    }

    /// Those that are here may go elsewhere while they are listened to.
    async fn tell_owners(&self, wanted: &Wanted) -> Option<Ear> {
        let forward = self.forward.as_ref()?;
        let all = wanted.here.keys().chain(&wanted.elsewhere).cloned();
        let within = self.limits.begin_wait;
        let told = forward.listen(&self.registry, all.collect(), within, &self.shutdown);
        Some(told.await)
    }
}

/// The devices that are listened to.
#[derive(Default)]
struct Wanted {
    here: BTreeMap<DeviceId, Arc<Device>>,
    /// Their sessions run in other replicas.
    elsewhere: BTreeSet<DeviceId>,
}

#[derive(Default)]
struct Options {
    devices: Vec<DeviceId>,
    topics: Option<TopicFilter>,
    after: Option<After>,
    wait: Option<Duration>,
    limit: Option<usize>,
}

impl Options {
    fn read(uri: &Uri, several: bool) -> Result<Self, Problem> {
        let mut options = Self::default();
        for (name, value) in query::parameters(uri)? {
            match name.as_str() {
                "device" if several => {
                    let device = DeviceId::parse(&value);
                    let device = device
                        .map_err(|error| query::bad(&name, format!("not a device id: {error}")))?;
                    options.devices.push(device);
                }
                "topic" => {
                    let filter = TopicFilter::parse(&value);
                    let filter = filter.map_err(|error| {
                        query::bad(&name, format!("not a topic filter: {error}"))
                    })?;
                    query::set(&mut options.topics, &name, filter)?;
                }
                "after" | "last_event_id" => {
                    query::set(&mut options.after, &name, after(&name, &value)?)?;
                }
                "wait" => {
                    let seconds = query::number(&name, &value, 0, u32::MAX)?;
                    let wait = Duration::from_secs(seconds.into());
                    query::set(&mut options.wait, &name, wait)?;
                }
                "limit" => {
                    let limit = query::number(&name, &value, 1, MAX_EVENTS)?;
                    query::set(&mut options.limit, &name, limit)?;
                }
                _ if several => {
                    let known = "device, topic, after, last_event_id, wait, limit";
                    return Err(query::unknown(&name, known));
                }
                _ => {
                    let known = "topic, after, last_event_id, wait, limit";
                    return Err(query::unknown(&name, known));
                }
            }
        }
        Ok(options)
    }
}

fn after(name: &str, value: &str) -> Result<After, Problem> {
    match value {
        "earliest" => Ok(After::Earliest),
        _ => Cursor::parse(value)
            .map(After::Cursor)
            .ok_or_else(|| query::bad(name, "the id of an event, or earliest")),
    }
}

/// What an `EventSource` sends when it connects again. It cannot help what it was once told, so nothing is refused here.
fn last_event_id(headers: &HeaderMap) -> After {
    match headers.get(LAST_EVENT_ID).map(|value| value.to_str()) {
        None | Some(Ok("")) => After::Now,
        Some(Ok("earliest")) => After::Earliest,
        Some(id) => id
            .ok()
            .and_then(Cursor::parse)
            .map_or(After::Unknown, After::Cursor),
    }
}
