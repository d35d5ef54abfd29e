//! `GET /v1/events`: session changes and receipts of all devices, for dashboards.
//!
//! - `stream`: what is sent, and when
//! - [`SessionEvent`], [`FiguresEvent`]: its form

mod form;
mod stream;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use axum::routing::get;
use tokio_util::sync::CancellationToken;

pub(super) use form::{FiguresEvent, GoneEvent, MissedEvent, SessionEvent};
use stream::{Reader, Wanted};

use super::accept::{self, Form};
use super::forward::{self, Way};
use super::guard::Guard;
use super::openapi::{BadRequest, InternalError, NoOwner, NotAcceptable, UnknownDevice};
use super::problem::{Kind, Problem};
use super::{query, sse};
use crate::access::{Caller, Scope};
use crate::device::DeviceId;
use crate::registry::Registry;
use crate::uplink::Uplinks;

/// How many devices a request may name.
const MAX_DEVICES: usize = 100;
/// The longest time between two events `figures`, in seconds.
const MAX_PERIOD: u32 = 60;

const SCOPE: Scope = Scope::DevicesRead;

pub(super) fn router(
    guard: &Guard,
    registry: Arc<Registry>,
    uplinks: Uplinks,
    forward: Option<Way>,
    shutdown: CancellationToken,
) -> Router {
    Router::new()
        .route("/v1/events", get(guard.asks_listeners(SCOPE, events)))
        .with_state(Events {
            registry,
            uplinks,
            forward,
            shutdown,
        })
}

#[derive(Clone)]
struct Events {
    registry: Arc<Registry>,
    uplinks: Uplinks,
    forward: Option<Way>,
    shutdown: CancellationToken,
}

/// What goes on, for dashboards
///
/// Server-sent events of the devices that the token is for, for as long as the client listens, with a heartbeat every
/// 15 s:
///
/// - `session`: how a device and its session stand. At the beginning one for every device, then one whenever that
///   changes. It is the present state and not a history: changes that follow one another within a quarter of a second may
///   be told as one. A device that is gone has the state `removed`, and nothing else is told of it.
/// - `receipt`: what became of an uplink, each time that changes: for one that is stored, first `queued` and later how it
///   ended. Uplinks that the broker refused while their request waited are told, too; `GET /v1/uplinks/{id}` knows
///   nothing of those.
/// - `gap`: the client reads too slowly; so many receipts, of all devices, were not told.
/// - `figures`: sums over all devices, and of which devices figures have changed. Only with the parameter of that name,
///   for the first time when the state of every device has been told.
///
/// No event has an `id`: a client that connects again is told the present state of everything, and not the receipts of
/// the meantime.
#[utoipa::path(
    get,
    operation_id = "events",
    path = "/v1/events",
    tag = "events",
    security(("token" = [SCOPE])),
    params(
        ("device" = Option<Vec<String>>, Query, description = "Only of this device; may be given 100 times. Default: of all"),
        ("receipts" = Option<String>, Query, description = "`all`, `failed` (refused by the broker or by the platform, expired, or unknown), or `none`. Default `all`", example = "failed"),
        ("access_token" = Option<String>, Query, description = "The token, for a browser's `EventSource`, which cannot set headers (RFC 6750 §2.3). Better in the `Authorization` header: addresses are written into the logs of proxies"),
        ("access_token" = Option<String>, Query, description = "The token, for a browser's `EventSource`, which cannot set headers (RFC 6750 §2.3). Better in the `Authorization` header: addresses are written into the logs of proxies"),
        ("figures" = Option<u32>, Query, description = "Send an event `figures` every so many seconds. Default: never", minimum = 1, maximum = 60, example = 2),
    ),
    responses(
        (status = 200, description = "What goes on", content(
            (Object = "text/event-stream", example = json!("event: session\ndata: {\"device\":\"pump-1\",\"connector\":\"akenza\",\"state\":\"connected\",\"since\":\"2026-01-31T12:00:00.000Z\",\"mqtt_version\":\"5\",\"token_expires_at\":\"2026-01-31T12:20:00.000Z\",\"backlog\":0}\n\n")),
        )),
        (status = 400, response = BadRequest),
        (status = 404, response = UnknownDevice),
        (status = 406, response = NotAcceptable),
        (status = 500, response = InternalError),
        (status = 503, response = NoOwner),
    )
)]
async fn events(
    State(events): State<Events>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if accept::form(&headers)? == Form::Poll {
        let problem = Problem::new(Kind::NotAcceptable, "events are sent as text/event-stream");
        return Err(problem.hint("send that as Accept header, or none"));
    }
    let options = Options::read(&uri)?;
    (options.devices.iter()).try_for_each(|id| caller.check_device(id))?;
    for id in &options.devices {
        let here = events.registry.get(id).is_some();
        if !here && !forward::exists(&events.forward, id).await? {
            return Err(Problem::unknown_device(id));
        }
    }
    let wanted = Wanted {
        devices: Some(options.devices).filter(|devices| !devices.is_empty()),
        receipts: options.receipts.unwrap_or(Receipts::All),
        figures: options.figures,
    };
    let listener = caller.begin_stream()?;
    let reader = Reader::new(
        events.registry,
        events.uplinks,
        wanted,
        listener,
        &events.shutdown,
    );
    Ok(sse::response(reader.into_stream()))
}

/// Which receipts are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receipts {
    All,
    Failed,
    None,
}

#[derive(Default)]
struct Options {
    devices: BTreeSet<DeviceId>,
    receipts: Option<Receipts>,
    figures: Option<Duration>,
}

impl Options {
    fn read(uri: &Uri) -> Result<Self, Problem> {
        let mut options = Self::default();
        for (name, value) in query::parameters(uri)? {
            match name.as_str() {
                "device" => {
                    let device = DeviceId::parse(&value)
                        .map_err(|error| query::bad(&name, format!("not a device id: {error}")))?;
                    options.devices.insert(device);
                }
                "receipts" => {
                    let receipts = match value.as_str() {
                        "all" => Receipts::All,
                        "failed" => Receipts::Failed,
                        "none" => Receipts::None,
                        _ => return Err(query::bad(&name, "all, failed or none")),
                    };
                    query::set(&mut options.receipts, &name, receipts)?;
                }
                "figures" => {
                    let seconds = query::number(&name, &value, 1, MAX_PERIOD)?;
                    let period = Duration::from_secs(seconds.into());
                    query::set(&mut options.figures, &name, period)?;
                }
                _ => return Err(query::unknown(&name, "device, receipts, figures")),
            }
        }
        if options.devices.len() > MAX_DEVICES {
            let most = format!("given {MAX_DEVICES} times at the most");
            return Err(query::bad("device", most));
        }
        Ok(options)
    }
}
