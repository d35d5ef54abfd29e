//! A running session for tests, what it is given, and what it gives.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::within;
use crate::device::DeviceId;
use crate::message::{ContentType, Downlink, Qos};
use crate::mqtt::reason::Reason;
use crate::profile::{ContentTypeRule, DownlinkRoute};
use crate::session::*;
use crate::topic::{TopicFilter, TopicName};

/// What was given to it waits until the test answers.
pub(super) struct Downlinks {
    given: mpsc::UnboundedSender<Given>,
}

/// One call: the downlinks, and where to answer.
pub(super) struct Given {
    pub(super) downlinks: Arc<[Downlink]>,
    pub(super) answer: oneshot::Sender<Result<(), NotTaken>>,
}

impl AckSink for Downlinks {
    fn answered(&self, _: &DeviceId, _: Bytes) {}
}

impl DownlinkSink for Downlinks {
    fn accept(&self, downlinks: Arc<[Downlink]>) -> BoxFuture<'static, Result<(), NotTaken>> {
        let (answer, answered) = oneshot::channel();
        let _ = self.given.send(Given { downlinks, answer });
        Box::pin(async { answered.await.unwrap_or(Ok(())) })
    }
}

impl Given {
    pub(super) fn payloads(&self) -> Vec<&str> {
        let payloads = self.downlinks.iter().map(|d| &d.payload[..]);
        payloads.map(|p| std::str::from_utf8(p).unwrap()).collect()
    }

    pub(super) fn take(self) {
        self.answer.send(Ok(())).unwrap();
    }

    pub(super) fn refuse(self) {
        self.answer
            .send(Err(NotTaken("the disk is full".into())))
            .unwrap();
    }
}

/// What one device subscribes to.
pub(super) fn routes_of(device: &str) -> DeviceRoutes {
    let topic = |text: String| TopicFilter::parse(&text).unwrap();
    let route = DownlinkRoute {
        filter: topic(format!("down/{device}/#")),
        prefix: topic(format!("down/{device}/")),
    };
    DeviceRoutes {
        downlinks: vec![route],
        ack: None,
    }
}

/// A session of the device `a` with a broker on this port.
pub(super) fn spec(port: u16) -> SessionSpec {
    let mut routes = Routes::default();
    routes.carry(&DeviceId::parse("a").unwrap(), routes_of("a"));
    let mut spec = SessionSpec {
        routes,
        content_types_v3: vec![ContentTypeRule::from("application/json".to_owned())],
        ..SessionSpec::for_tests(port)
    };
    spec.connect().client_id = "a".into();
    spec
}

/// A running session and the broker it talks to.
pub(super) struct Bench {
    pub(super) listener: TcpListener,
    pub(super) handle: SessionHandle,
    pub(super) control: SessionControl,
    pub(super) given: mpsc::UnboundedReceiver<Given>,
    pub(super) shutdown: CancellationToken,
    pub(super) task: JoinHandle<()>,
}

impl Bench {
    pub(super) async fn new(change: impl FnOnce(&mut SessionSpec)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut spec = spec(listener.local_addr().unwrap().port());
        change(&mut spec);
        let (sender, given) = mpsc::unbounded_channel();
        let shutdown = CancellationToken::new();
        let shared = Shared {
            gate: Arc::new(ConnectGate::new(1000, 10)),
            budget: Budget::new(1 << 20),
            tally: Default::default(),
            downlinks: Arc::new(Downlinks {
                given: sender.clone(),
            }),
            acks: Arc::new(Downlinks { given: sender }),
            shutdown: shutdown.clone(),
        };
        let (session, handle, control) = Session::new(spec, &shared);
        let task = tokio::spawn(session.run(shared));
        Self {
            listener,
            handle,
            control,
            given,
            shutdown,
            task,
        }
    }

    pub(super) async fn plain() -> Self {
        Self::new(|_| {}).await
    }

    pub(super) fn submit(&self, payload: &str) -> Ticket {
        self.handle
            .submit(publish(payload), &Default::default())
            .unwrap()
    }

    pub(super) async fn submit_once_there_is_room(&self, payload: &str) -> Ticket {
        let mut ticket = None;
        within("room in the queue", async {
            while ticket.is_none() {
                ticket = self
                    .handle
                    .submit(publish(payload), &Default::default())
                    .ok();
                tokio::task::yield_now().await;
            }
        })
        .await;
        ticket.unwrap()
    }

    pub(super) async fn until(&self, state: State) {
        within(state.name(), async {
            while self.handle.status().state() != state {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

pub(super) fn publish(payload: &str) -> Publish {
    Publish {
        topic: TopicName::parse("up/a").unwrap(),
        payload: payload.to_owned().into(),
        content_type: Some(ContentType::json()),
        qos: Qos::AtLeastOnce,
        retain: false,
        expires_at: None,
        traceparent: None,
    }
}

pub(super) const DELIVERED: Outcome = Outcome::Delivered {
    reason: Reason::SUCCESS,
};
