//! A session against a broker that does what a test tells it to, over real sockets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

mod connecting;
mod delivery;
mod downlinks;
mod keys;
mod orders;
mod outages;
mod tenures;

use super::*;
use crate::broker::MqttVersion;
use crate::device::DeviceId;
use crate::identity::{Algorithm, SigningKey, TokenSpec};
use crate::message::{ContentType, Downlink, Qos};
use crate::mqtt::codec::{Codec, connect_level};
use crate::mqtt::packet::{self, Ack, AckKind, ConnAck, Connect, Packet};
use crate::mqtt::reason::Reason;
use crate::profile::{ContentTypeRule, DownlinkRoute};
use crate::topic::{TopicFilter, TopicName};

const DEADLINE: Duration = Duration::from_secs(20);

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {DEADLINE:?} for {what}"),
    }
}

/// The broker's side of one connection.
struct Peer {
    stream: TcpStream,
    codec: Codec,
    buffer: BytesMut,
    connect: Connect,
}

impl Peer {
    /// Takes the next connection and its CONNECT, and answers nothing yet.
    async fn accept(listener: &TcpListener) -> Self {
        within("a CONNECT", async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = BytesMut::new();
            let level = loop {
                match connect_level(&buffer).unwrap() {
                    Some(level) => break level,
                    None => assert_ne!(stream.read_buf(&mut buffer).await.unwrap(), 0),
                }
            };
            let version = if level == 5 {
                MqttVersion::V5
            } else {
                MqttVersion::V311
            };
            let codec = Codec {
                version,
                max_incoming: 1 << 20,
            };
            let mut peer = Self {
                stream,
                codec,
                buffer,
                connect: empty_connect(),
            };
            match peer.next().await {
                Packet::Connect(connect) => peer.connect = *connect,
                other => panic!("{other:?} instead of CONNECT"),
            }
            peer
        })
        .await
    }

    /// Takes the next connection and welcomes it.
    async fn welcome(listener: &TcpListener) -> Self {
        let mut peer = Self::accept(listener).await;
        peer.connack(ConnAck::default()).await;
        peer
    }

    async fn connack(&mut self, ack: ConnAck) {
        self.send(Packet::ConnAck(Box::new(ack))).await;
    }

    async fn send(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        self.codec.encode(&packet, &mut bytes).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

    async fn next(&mut self) -> Packet {
        within("a packet", async {
            loop {
                if let Some(packet) = self.codec.decode(&mut self.buffer).unwrap() {
                    return packet;
                }
                assert_ne!(
                    self.stream.read_buf(&mut self.buffer).await.unwrap(),
                    0,
                    "the session closed"
                );
            }
        })
        .await
    }

    /// The next PUBLISH. Subscriptions are granted on the way.
    async fn publish(&mut self) -> packet::Publish {
        loop {
            match self.next().await {
                Packet::Publish(publish) => return publish,
                Packet::Subscribe { pkid, filters } => {
                    self.send(Packet::SubAck {
                        pkid,
                        reasons: vec![Reason(1); filters.len()],
                    })
                    .await;
                }
                other => panic!("{other:?} instead of PUBLISH"),
            }
        }
    }

    async fn puback(&mut self, pkid: u16, reason: Reason) {
        self.send(Packet::Ack(Ack {
            kind: AckKind::PubAck,
            pkid,
            reason,
            text: None,
        }))
        .await;
    }

    async fn next_but_subscribe(&mut self) -> Packet {
        loop {
            match self.next().await {
                Packet::Subscribe { .. } => {}
                other => return other,
            }
        }
    }

    /// Confirms the next PUBLISH and tells its payload.
    async fn take(&mut self) -> String {
        let publish = self.publish().await;
        self.puback(publish.pkid, Reason::SUCCESS).await;
        payload(&publish)
    }
}

fn payload(publish: &packet::Publish) -> String {
    String::from_utf8(publish.payload.to_vec()).unwrap()
}

fn empty_connect() -> Connect {
    Connect {
        client_id: String::new(),
        username: None,
        password: None,
        clean_start: true,
        session_expiry: 0,
        keep_alive: 0,
        receive_maximum: 0,
        max_packet_size: 0,
    }
}

/// What was given to it waits until the test answers.
struct Downlinks {
    given: mpsc::UnboundedSender<Given>,
}

/// One call: the downlinks, and where to answer.
struct Given {
    downlinks: Arc<[Downlink]>,
    answer: oneshot::Sender<Result<(), NotTaken>>,
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
    fn payloads(&self) -> Vec<&str> {
        let payloads = self.downlinks.iter().map(|d| &d.payload[..]);
        payloads.map(|p| std::str::from_utf8(p).unwrap()).collect()
    }

    fn take(self) {
        self.answer.send(Ok(())).unwrap();
    }

    fn refuse(self) {
        self.answer
            .send(Err(NotTaken("the disk is full".into())))
            .unwrap();
    }
}

/// What one device subscribes to.
fn routes_of(device: &str) -> DeviceRoutes {
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
fn spec(port: u16) -> SessionSpec {
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
struct Bench {
    listener: TcpListener,
    handle: SessionHandle,
    control: SessionControl,
    given: mpsc::UnboundedReceiver<Given>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Bench {
    async fn new(change: impl FnOnce(&mut SessionSpec)) -> Self {
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

    async fn plain() -> Self {
        Self::new(|_| {}).await
    }

    fn submit(&self, payload: &str) -> Ticket {
        self.handle
            .submit(publish(payload), &Default::default())
            .unwrap()
    }

    async fn submit_once_there_is_room(&self, payload: &str) -> Ticket {
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

    async fn until(&self, state: State) {
        within(state.name(), async {
            while self.handle.status().state() != state {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

fn publish(payload: &str) -> Publish {
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

const DELIVERED: Outcome = Outcome::Delivered {
    reason: Reason::SUCCESS,
};
