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

mod downlinks;
mod keys;
mod orders;
mod tenures;
mod turns;

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

#[tokio::test]
async fn what_the_broker_answered_is_known_and_whose_subscription_it_refuses() {
    let bench = Bench::plain().await;
    let (status, device) = (bench.handle.status(), DeviceId::parse("a").unwrap());
    assert!(status.snapshot().last_answer.is_none());
    bench.handle.retry();
    let mut peer = Peer::accept(&bench.listener).await;
    peer.connack(ConnAck {
        reason: Reason::USE_ANOTHER_SERVER,
        server_reference: Some("other.example".to_owned()),
        ..ConnAck::default()
    })
    .await;
    within("the refusal", status.attempted(0)).await;
    let answer = status.snapshot().last_answer.unwrap();
    assert_eq!(
        (answer.version, answer.ack.reason.0),
        (MqttVersion::V5, 0x9C)
    );
    assert_eq!(
        answer.ack.server_reference.as_deref(),
        Some("other.example")
    );

    let mut peer = Peer::welcome(&bench.listener).await;
    within("the connection", status.attempted(1)).await;
    assert!(!status.snapshot().last_answer.unwrap().ack.reason.is_error());
    let Packet::Subscribe { pkid, .. } = peer.next().await else {
        panic!("no SUBSCRIBE");
    };
    let reasons = vec![Reason::NOT_AUTHORIZED];
    peer.send(Packet::SubAck { pkid, reasons }).await;
    within("the subscription", status.has_begun()).await;
    let refused = status.refused_subscription(&device);
    assert_eq!(refused, Some(Reason::NOT_AUTHORIZED));

    // What one connection is refused says nothing of the next.
    drop(peer);
    Peer::welcome(&bench.listener).await;
    within("another connection", status.attempted(3)).await;
    assert_eq!(status.refused_subscription(&device), None);
}

#[tokio::test]
async fn a_lazy_session_connects_on_first_use_and_confirms_what_the_broker_confirmed() {
    let bench = Bench::plain().await;
    assert_eq!(bench.handle.status().state(), State::Idle);
    let (first, second) = (bench.submit("1"), bench.submit("2"));
    let mut peer = Peer::welcome(&bench.listener).await;
    let (one, two) = (peer.publish().await, peer.publish().await);
    assert_eq!(
        (payload(&one), payload(&two)),
        ("1".to_owned(), "2".to_owned())
    );
    assert_eq!(one.content_type.as_deref(), Some("application/json"));
    peer.puback(two.pkid, Reason::NOT_AUTHORIZED).await;
    peer.puback(one.pkid, Reason::NO_MATCHING_SUBSCRIBERS).await;
    assert_eq!(
        within("an outcome", first).await,
        Outcome::Delivered {
            reason: Reason::NO_MATCHING_SUBSCRIBERS
        }
    );
    assert_eq!(
        within("an outcome", second).await,
        Outcome::Refused {
            reason: Reason::NOT_AUTHORIZED,
            text: None
        }
    );
}

#[tokio::test]
async fn what_was_unconfirmed_when_the_connection_broke_is_sent_again_first_and_in_order() {
    let bench = Bench::plain().await;
    let tickets: Vec<_> = ["1", "2", "3"].map(|text| bench.submit(text)).into();
    let mut peer = Peer::welcome(&bench.listener).await;
    let first = peer.publish().await;
    peer.publish().await;
    peer.puback(first.pkid, Reason::SUCCESS).await;
    let mut tickets = tickets.into_iter();
    assert_eq!(
        within("the first", tickets.next().unwrap()).await,
        DELIVERED
    );
    drop(peer);
    let later = bench.submit("4");
    let mut peer = Peer::welcome(&bench.listener).await;
    let again = peer.publish().await;
    assert_eq!(
        (payload(&again).as_str(), again.dup),
        ("2", false),
        "a new session has nothing to repeat"
    );
    peer.puback(again.pkid, Reason::SUCCESS).await;
    assert_eq!(
        (peer.take().await, peer.take().await),
        ("3".to_owned(), "4".to_owned())
    );
    for ticket in tickets.chain([later]) {
        assert_eq!(within("the rest", ticket).await, DELIVERED);
    }
}

#[tokio::test]
async fn in_a_session_that_the_broker_kept_the_same_identifier_is_repeated_with_dup() {
    let bench = Bench::new(|spec| spec.connect().session_expiry = 60).await;
    let ticket = bench.submit("1");
    let mut peer = Peer::welcome(&bench.listener).await;
    assert!(!peer.connect.clean_start && peer.connect.session_expiry == 60);
    let first = peer.publish().await;
    drop(peer);
    let mut peer = Peer::accept(&bench.listener).await;
    peer.connack(ConnAck {
        session_present: true,
        ..ConnAck::default()
    })
    .await;
    let again = peer.publish().await;
    assert_eq!((again.pkid, again.dup), (first.pkid, true));
    peer.puback(again.pkid, Reason::SUCCESS).await;
    assert_eq!(within("the outcome", ticket).await, DELIVERED);
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_sent_again() {
    let bench = Bench::plain().await;
    let (given_up, other) = (bench.submit("given up"), bench.submit("other"));
    let mut peer = Peer::welcome(&bench.listener).await;
    peer.publish().await;
    peer.publish().await;
    assert_eq!(given_up.withdraw(), Withdrawn::Unconfirmed);
    drop(peer);
    let mut peer = Peer::welcome(&bench.listener).await;
    assert_eq!(peer.take().await, "other");
    assert_eq!(within("the outcome", other).await, DELIVERED);
}

#[tokio::test]
async fn messages_withdrawn_during_an_outage_are_never_sent_and_make_room() {
    let bench = Bench::plain().await;
    bench.handle.wake();
    drop(Peer::accept(&bench.listener).await);
    bench.until(State::BackingOff).await;
    for _ in 0..100 {
        let ticket = bench.submit_once_there_is_room("withdrawn").await;
        assert_eq!(ticket.withdraw(), Withdrawn::NotSent);
    }
    let last = bench.submit_once_there_is_room("last").await;
    assert_eq!(Peer::welcome(&bench.listener).await.take().await, "last");
    assert_eq!(within("the outcome", last).await, DELIVERED);
}

#[tokio::test]
async fn refused_credentials_are_told_at_once() {
    let bench = Bench::plain().await;
    let ticket = bench.submit("1");
    let mut peer = Peer::accept(&bench.listener).await;
    peer.connack(ConnAck {
        reason: Reason::NOT_AUTHORIZED,
        text: Some("no such key".to_owned()),
        ..ConnAck::default()
    })
    .await;
    let refused = NotSent::ConnectionRefused {
        reason: Reason::NOT_AUTHORIZED,
        text: Some("no such key".into()),
    };
    assert_eq!(
        within("the outcome", ticket).await,
        Outcome::NotSent(refused.clone())
    );
    assert_eq!(bench.handle.status().state(), State::Refused);
    assert_eq!(
        within("the next outcome", bench.submit("2")).await,
        Outcome::NotSent(refused)
    );
}

#[tokio::test]
async fn a_broker_that_refuses_mqtt_5_gets_3_1_1() {
    let bench = Bench::plain().await;
    let ticket = bench.submit("1");
    let mut peer = Peer::accept(&bench.listener).await;
    assert_eq!(peer.codec.version, MqttVersion::V5);
    peer.stream.write_all(&[0x20, 2, 0, 1]).await.unwrap();
    let mut peer = Peer::welcome(&bench.listener).await;
    assert_eq!(peer.codec.version, MqttVersion::V311);
    assert_eq!(peer.take().await, "1");
    assert_eq!(within("the outcome", ticket).await, DELIVERED);
    let csv = Publish {
        content_type: ContentType::parse("text/csv").ok(),
        ..publish("a,b")
    };
    let outcome = within(
        "the outcome",
        bench.handle.submit(csv, &Default::default()).unwrap(),
    )
    .await;
    assert_eq!(outcome, Outcome::NotSent(NotSent::ContentType));
}

#[tokio::test]
async fn a_version_that_was_written_down_is_kept() {
    let bench =
        Bench::new(|spec| spec.connect().version = VersionChoice::new(Some(MqttVersion::V5))).await;
    let ticket = bench.submit("1");
    let mut peer = Peer::accept(&bench.listener).await;
    peer.connack(ConnAck {
        reason: Reason::UNSUPPORTED_PROTOCOL_VERSION,
        ..ConnAck::default()
    })
    .await;
    let why = NotSent::ConnectionRefused {
        reason: Reason::UNSUPPORTED_PROTOCOL_VERSION,
        text: None,
    };
    assert_eq!(within("the outcome", ticket).await, Outcome::NotSent(why));
}

#[tokio::test]
async fn a_takeover_is_recognised() {
    let bench = Bench::new(|spec| spec.eager = true).await;
    let mut peer = Peer::welcome(&bench.listener).await;
    bench.until(State::Connected).await;
    peer.send(Packet::Disconnect {
        reason: Reason::SESSION_TAKEN_OVER,
        text: None,
    })
    .await;
    bench.until(State::TakenOver).await;
    let trouble = bench.handle.status().snapshot().last_trouble.unwrap();
    assert!(trouble.what.contains("session taken over"), "{trouble:?}");
}

#[tokio::test]
async fn no_more_is_in_flight_than_the_broker_takes() {
    let bench = Bench::plain().await;
    let tickets: Vec<_> = (0..5).map(|n| bench.submit(&n.to_string())).collect();
    let mut peer = Peer::accept(&bench.listener).await;
    peer.connack(ConnAck {
        receive_maximum: Some(2),
        ..ConnAck::default()
    })
    .await;
    let (first, second) = (peer.publish().await, peer.publish().await);
    let more = tokio::time::timeout(Duration::from_millis(200), peer.publish()).await;
    assert!(
        more.is_err(),
        "a third was sent although the broker takes two"
    );
    for pkid in [first.pkid, second.pkid] {
        peer.puback(pkid, Reason::SUCCESS).await;
    }
    for expected in ["2", "3", "4"] {
        assert_eq!(peer.take().await, expected);
    }
    for ticket in tickets {
        assert_eq!(within("an outcome", ticket).await, DELIVERED);
    }
}

#[tokio::test]
async fn what_the_broker_said_it_does_not_take_is_not_sent() {
    let bench = Bench::new(|spec| spec.eager = true).await;
    let mut peer = Peer::accept(&bench.listener).await;
    let limits = ConnAck {
        max_packet_size: Some(40),
        max_qos: Some(1),
        retain_available: Some(false),
        ..ConnAck::default()
    };
    peer.connack(limits).await;
    let cases = [
        (
            Publish {
                payload: "x".repeat(100).into(),
                ..publish("")
            },
            NotSent::TooLarge { limit: 40 },
        ),
        (
            Publish {
                qos: Qos::ExactlyOnce,
                ..publish("")
            },
            NotSent::Qos { highest: 1 },
        ),
        (
            Publish {
                retain: true,
                ..publish("")
            },
            NotSent::Retain,
        ),
    ];
    for (publish, why) in cases {
        let outcome = within(
            "an outcome",
            bench.handle.submit(publish, &Default::default()).unwrap(),
        )
        .await;
        assert_eq!(outcome, Outcome::NotSent(why));
    }
}

#[tokio::test]
async fn what_has_expired_is_not_sent_and_mqtt_5_carries_what_is_left() {
    let bench = Bench::plain().await;
    let expiring = |after| Publish {
        expires_at: Some(Instant::now() + after),
        ..publish("x")
    };
    let over = bench
        .handle
        .submit(expiring(Duration::ZERO), &Default::default())
        .unwrap();
    let last = bench
        .handle
        .submit(expiring(Duration::from_secs(100)), &Default::default())
        .unwrap();
    let mut peer = Peer::welcome(&bench.listener).await;
    assert_eq!(peer.take().await, "x");
    assert_eq!(within("the first outcome", over).await, Outcome::Expired);
    assert_eq!(within("the second outcome", last).await, DELIVERED);
}

#[tokio::test]
async fn a_patient_message_outlives_a_refused_connection() {
    let bench = Bench::plain().await;
    let patient = bench
        .handle
        .submit_patiently(publish("patient"), &Default::default())
        .await
        .unwrap();
    let turned = bench.submit("turned patient");
    turned.make_patient();
    let mut peer = Peer::accept(&bench.listener).await;
    peer.connack(ConnAck {
        reason: Reason::NOT_AUTHORIZED,
        ..ConnAck::default()
    })
    .await;
    bench.until(State::Refused).await;
    let mut peer = Peer::welcome(&bench.listener).await;
    assert_eq!(peer.take().await, "patient");
    assert_eq!(peer.take().await, "turned patient");
    assert_eq!(within("the outcome", patient).await, DELIVERED);
    assert_eq!(within("the outcome", turned).await, DELIVERED);
}

#[tokio::test]
async fn a_message_that_the_broker_hangs_up_over_is_set_aside_and_blocks_nobody() {
    let bench = Bench::plain().await;
    let (poison, other) = (bench.submit("poison"), bench.submit("other"));
    let mut alone = 0;
    let mut peer = loop {
        let mut peer = Peer::welcome(&bench.listener).await;
        let first = match peer.next_but_subscribe().await {
            Packet::PingReq => {
                peer.send(Packet::PingResp).await;
                alone += 1;
                peer.publish().await
            }
            Packet::Publish(publish) => publish,
            other => panic!("{other:?}"),
        };
        if payload(&first) != "poison" {
            peer.puback(first.pkid, Reason::SUCCESS).await;
            break peer;
        }
    };
    assert_eq!(alone, 2, "tried alone before it is set aside");
    let outcome = within("the outcome", poison).await;
    assert!(
        matches!(
            outcome,
            Outcome::Refused {
                reason: Reason::UNSPECIFIED,
                ..
            }
        ),
        "{outcome:?}"
    );
    assert_eq!(within("the other outcome", other).await, DELIVERED);
    let next = bench.submit("next");
    assert_eq!(peer.take().await, "next");
    assert_eq!(within("the next outcome", next).await, DELIVERED);
}

#[tokio::test]
async fn a_message_that_is_innocent_is_delivered_when_it_is_tried_alone() {
    let bench = Bench::plain().await;
    let tickets = [bench.submit("1"), bench.submit("2")];
    for _ in 0..3 {
        let mut peer = Peer::welcome(&bench.listener).await;
        assert_eq!(payload(&peer.publish().await), "1");
    }
    let mut peer = Peer::welcome(&bench.listener).await;
    assert_eq!(peer.next_but_subscribe().await, Packet::PingReq);
    peer.send(Packet::PingResp).await;
    assert_eq!(
        (peer.take().await, peer.take().await),
        ("1".to_owned(), "2".to_owned())
    );
    for ticket in tickets {
        assert_eq!(within("an outcome", ticket).await, DELIVERED);
    }
}

#[tokio::test]
async fn a_session_has_begun_when_its_subscriptions_are_answered() {
    let bench = Bench::plain().await;
    bench.handle.wake();
    let status = Arc::clone(bench.handle.status());
    let begun = tokio::spawn(async move { status.has_begun().await });
    let mut peer = Peer::welcome(&bench.listener).await;
    let Packet::Subscribe { pkid, .. } = peer.next().await else {
        panic!("no SUBSCRIBE");
    };
    assert!(!begun.is_finished());
    peer.send(Packet::SubAck {
        pkid,
        reasons: vec![Reason(1)],
    })
    .await;
    within("the beginning", begun).await.unwrap();
}

#[tokio::test]
async fn patient_messages_are_paced_and_hold_back_what_is_behind_them() {
    let bench = Bench::new(|spec| spec.pace = Some(Arc::new(Pace::new(10)))).await;
    let mut tickets = vec![bench.submit("direct")];
    for number in 0..6 {
        let text = number.to_string();
        tickets.push(
            bench
                .handle
                .submit_patiently(publish(&text), &Default::default())
                .await
                .unwrap(),
        );
    }
    tickets.push(bench.submit("behind"));
    let mut peer = Peer::welcome(&bench.listener).await;
    assert_eq!(peer.take().await, "direct");
    let start = Instant::now();
    for expected in ["0", "1", "2", "3", "4", "5", "behind"] {
        assert_eq!(peer.take().await, expected);
    }
    // Not a measure of speed: a machine that is slow only makes it longer.
    assert!(
        start.elapsed() >= Duration::from_millis(300),
        "{:?}",
        start.elapsed()
    );
    for ticket in tickets {
        assert_eq!(within("an outcome", ticket).await, DELIVERED);
    }
}

#[tokio::test]
async fn qos_0_is_sent_and_qos_2_is_delivered_once_completed() {
    let bench = Bench::plain().await;
    let sent = bench
        .handle
        .submit(
            Publish {
                qos: Qos::AtMostOnce,
                ..publish("0")
            },
            &Default::default(),
        )
        .unwrap();
    let twice = bench
        .handle
        .submit(
            Publish {
                qos: Qos::ExactlyOnce,
                ..publish("2")
            },
            &Default::default(),
        )
        .unwrap();
    let mut peer = Peer::welcome(&bench.listener).await;
    assert_eq!(payload(&peer.publish().await), "0");
    assert_eq!(within("sent", sent).await, Outcome::Sent);
    let pkid = peer.publish().await.pkid;
    peer.send(Packet::Ack(Ack {
        kind: AckKind::PubRec,
        pkid,
        reason: Reason::SUCCESS,
        text: None,
    }))
    .await;
    assert!(
        matches!(peer.next().await, Packet::Ack(Ack { kind: AckKind::PubRel, pkid: p, .. }) if p == pkid)
    );
    peer.send(Packet::Ack(Ack {
        kind: AckKind::PubComp,
        pkid,
        reason: Reason::SUCCESS,
        text: None,
    }))
    .await;
    assert_eq!(within("the outcome", twice).await, DELIVERED);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires_and_nothing_is_lost_or_reordered() {
    let (key, _) = SigningKey::generate(Algorithm::Es256).unwrap();
    let spec = TokenSpec {
        audience: "x".to_owned(),
        lifetime: Duration::from_secs(1),
        kid: None,
        claims: serde_json::Map::new(),
    };
    let bench = Bench::new(|s| {
        let key = TokenKey {
            id: "a".into(),
            key: Arc::new(key.into()),
        };
        let kid = TokenKid::Fixed(None);
        s.connect().password = Password::Token(Box::new(TokenSource::fixed(spec, kid, key)));
    })
    .await;
    let handle = bench.handle.clone();
    let feeder = tokio::spawn(async move {
        for number in 0u32.. {
            match handle.submit(publish(&number.to_string()), &Default::default()) {
                Ok(ticket) => assert_eq!(within("an outcome", ticket).await, DELIVERED),
                Err(SubmitError::Closed) => return,
                Err(SubmitError::Full) => panic!("full"),
            }
        }
    });
    let mut expected = 0;
    let mut tokens = Vec::new();
    for _ in 0..3 {
        let mut peer = Peer::welcome(&bench.listener).await;
        tokens.push(peer.connect.password.clone().unwrap().expose().to_owned());
        loop {
            match peer.next().await {
                Packet::Publish(publish) => {
                    assert_eq!(payload(&publish), expected.to_string());
                    expected += 1;
                    peer.puback(publish.pkid, Reason::SUCCESS).await;
                }
                Packet::Subscribe { .. } => {}
                Packet::Disconnect {
                    reason: Reason::SUCCESS,
                    ..
                } => break,
                other => panic!("{other:?}"),
            }
        }
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 3, "every CONNECT has a token of its own");
    assert!(expected > 0);
    feeder.abort();
}

#[tokio::test]
async fn the_shutdown_settles_what_is_in_flight_and_says_goodbye() {
    let bench = Bench::plain().await;
    let ticket = bench.submit("1");
    let mut peer = Peer::welcome(&bench.listener).await;
    let pkid = peer.publish().await.pkid;
    bench.shutdown.cancel();
    peer.puback(pkid, Reason::SUCCESS).await;
    assert_eq!(within("the outcome", ticket).await, DELIVERED);
    assert_eq!(
        peer.next().await,
        Packet::Disconnect {
            reason: Reason::SUCCESS,
            text: None
        }
    );
    within("the end", bench.task).await.unwrap();
    assert_eq!(
        bench.handle.submit(publish("2"), &Default::default()).err(),
        Some(SubmitError::Closed)
    );
}
