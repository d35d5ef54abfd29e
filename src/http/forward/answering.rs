//! The other side: what other members ask this one.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use super::answer::{Answer, HttpAnswer};
use super::ask::{Ask, DeviceRequest};
use super::headers;
use super::route::{Admitted, OfOwner};
use super::{Way, way};
use crate::cluster::Answerer;
use crate::device::DeviceId;
use crate::http::problem::{Kind, Problem, ProblemKind};
use crate::http::{Api, path, receipt_form};
use crate::message::Uplink;
use crate::registry::Registry;
use crate::uplink::{UplinkError, Uplinks, Wishes};

/// The largest body of an answer, in bytes: far above what there is, and below what a message between members may have by
/// default (1 MiB).
const MAX_ANSWER: usize = 768 * 1024;
/// How long a listener elsewhere may wait for a session's subscriptions at the most.
const MAX_BEGIN: Duration = Duration::from_secs(10);

/// Answers other members by way of the routes that clients have; `None` in one process. What they ask about a device that
/// is not here is "not here", and is asked nobody else.
pub fn answerer(api: &Api, router: Router) -> Option<Arc<dyn Answerer>> {
    let forward = way(api.members.clone(), api.limits, &api.shutdown);
    forward.map(|forward| -> Arc<dyn Answerer> {
        Arc::new(Answering(Arc::new(Parts {
            forward,
            registry: Arc::clone(&api.registry),
            uplinks: api.uplinks.clone(),
            router: TowerToHyperService::new(router),
        })))
    })
}

struct Answering(Arc<Parts>);

struct Parts {
    forward: Way,
    registry: Arc<Registry>,
    uplinks: Uplinks,
    router: TowerToHyperService<Router>,
}

impl Answerer for Answering {
    fn answer(&self, request: Bytes) -> BoxFuture<'static, Bytes> {
        let parts = Arc::clone(&self.0);
        Box::pin(async move { parts.answer(request).await.write() })
    }
}

impl Parts {
    async fn answer(&self, request: Bytes) -> Answer {
        match Ask::read(request) {
            Ok(Ask::Uplink(uplink)) => {
                let (uplink, wishes) = *uplink;
                self.deliver(uplink, wishes).await
            }
            Ok(Ask::Request(request)) => self.route(*request).await,
            Ok(Ask::Listen(devices, within)) => {
                Answer::Absent(self.listen(devices, within.min(MAX_BEGIN)).await)
            }
            Ok(Ask::Page(wanted)) => {
                let page = self.forward.own_page(&self.registry, &wanted);
                Answer::Page(Box::new(page))
            }
            Ok(Ask::Receipt(id)) => {
                let receipt = self.uplinks.recent_receipt(id);
                Answer::Receipt(receipt.map(|receipt| {
                    let json = receipt_form::receipt_json(&receipt);
                    (receipt.device, json.into())
                }))
            }
            Ok(Ask::Stored(device, id)) => Answer::Heard(self.uplinks.hear(&device, id).await),
            Err(error) => {
                tracing::warn!(%error, "what another replica asks cannot be read");
                Answer::NotUnderstood
            }
        }
    }

    async fn deliver(&self, uplink: Uplink, mut wishes: Wishes) -> Answer {
        let forward = &self.forward;
        if forward.is_elsewhere(&uplink.device) {
            return Answer::NotHere;
        }
        wishes.wait = wishes.wait.min(forward.limits.max_wait);
        let confirm_platform = wishes.confirm_platform;
        let delivered = forward.deliver_here(&self.uplinks, &uplink, wishes).await;
        let response = match delivered {
            Some(Ok(accepted)) => receipt_form::answer(&accepted, confirm_platform),
            // Wherever it goes: what ends here has not taken it.
            None | Some(Err(UplinkError::Closing)) => return Answer::NotHere,
            Some(Err(error)) => Problem::from(error).into_response(),
        };
        Answer::Http(Box::new(HttpAnswer::of(response).await))
    }

    async fn route(&self, request: DeviceRequest) -> Answer {
        let Ok(device) = path::device(request.uri.path()) else {
            return Answer::NotUnderstood;
        };
        if self.forward.is_elsewhere(&device) {
            return Answer::NotHere;
        }
        let mut admitted = Request::new(Body::from(request.body));
        *admitted.method_mut() = request.method;
        *admitted.uri_mut() = request.uri;
        *admitted.headers_mut() = request.headers;
        admitted.extensions_mut().insert(Admitted);
        // The router fails at nothing.
        let Ok(response) = self.router.call(admitted).await;
        if response.extensions().get::<OfOwner>().is_none() {
            return Answer::NotUnderstood;
        }
        if self.forward.has_moved(&device, &response) {
            return Answer::NotHere;
        }
        Answer::Http(Box::new(HttpAnswer::of(response).await))
    }

    /// Lets sessions connect; gives the devices that are not here.
    async fn listen(&self, devices: Vec<DeviceId>, within: Duration) -> Vec<DeviceId> {
        let (mut here, mut absent) = (Vec::new(), Vec::new());
        for id in devices {
            match self.registry.get(&id) {
                Some(device) if !self.forward.is_elsewhere(&id) => here.push(device),
                _ => absent.push(id),
            }
        }
        for device in &here {
            device.session.wake();
        }
        let begun = async {
            for device in &here {
                device.session.status().has_begun().await;
            }
        };
        // Whoever listens is answered all the same.
        let _ = tokio::time::timeout(within, begun).await;
        absent
    }
}

impl HttpAnswer {
    async fn of(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let problem = parts.extensions.get::<ProblemKind>();
        let problem = problem.map(|ProblemKind(slug)| *slug);
        match to_bytes(body, MAX_ANSWER).await {
            Ok(body) => Self {
                status: parts.status,
                problem,
                headers: headers::of_answer(&parts.headers),
                body,
            },
            Err(error) => {
                tracing::error!(%error, "an answer cannot be sent to the replica that asked");
                let detail =
                    "the answer cannot be sent from the replica that has the device's session";
                let problem = Problem::new(Kind::Internal, detail);
                Self {
                    status: problem.status(),
                    problem: Some(Kind::Internal.slug()),
                    body: problem.to_json().into(),
                    headers: problem.into_response().headers().clone(),
                }
            }
        }
    }
}
