//! A client that does what it is told, packet by packet.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::broker::MqttVersion;
use crate::message::Qos;
use crate::mqtt::codec::Codec;
use crate::mqtt::packet::{Ack, AckKind, ConnAck, Connect, Packet, Publish};
use crate::mqtt::reason::Reason;

/// A test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Client {
    stream: Box<dyn Stream>,
    codec: Codec,
    incoming: BytesMut,
}

/// A connection of any kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub(super) fn publish(topic: &str, pkid: u16, payload: &'static str) -> Publish {
    Publish {
        dup: false,
        qos: if pkid == 0 {
            Qos::AtMostOnce
        } else {
            Qos::AtLeastOnce
        },
        retain: false,
        topic: topic.to_owned(),
        pkid,
        payload: Bytes::from_static(payload.as_bytes()),
        content_type: None,
    }
}

pub(super) fn puback(pkid: u16, reason: Reason) -> Packet {
    Packet::Ack(Ack {
        kind: AckKind::PubAck,
        pkid,
        reason,
        text: None,
    })
}

impl Client {
    pub(super) async fn open(address: SocketAddr, version: MqttVersion) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), version)
    }

    pub(super) fn over(stream: impl Stream + 'static, version: MqttVersion) -> Self {
        Self {
            stream: Box::new(stream),
            codec: Codec {
                version,
                max_incoming: 10_000_000,
            },
            incoming: BytesMut::new(),
        }
    }

    pub(super) async fn send(&mut self, packet: &Packet) {
        let mut bytes = BytesMut::new();
        self.codec.encode(packet, &mut bytes).unwrap();
        self.send_raw(&bytes).await;
    }

    pub(super) async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next packet; `None` at the end of the stream.
    pub(super) async fn receive(&mut self) -> Option<Packet> {
        let next = async {
            loop {
                if let Some(packet) = self.codec.decode(&mut self.incoming).unwrap() {
                    return Some(packet);
                }
                match self.stream.read_buf(&mut self.incoming).await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => {}
                }
            }
        };
        let waited = tokio::time::timeout(PATIENCE, next).await;
        waited.expect("nothing arrived")
    }

    pub(super) async fn connect(&mut self, connect: Connect) -> ConnAck {
        self.send(&Packet::Connect(Box::new(connect))).await;
        match self.receive().await {
            Some(Packet::ConnAck(ack)) => *ack,
            other => panic!("no CONNACK but {other:?}"),
        }
    }

    /// Connects with success, and says whether the session was still there.
    pub(super) async fn connected(&mut self, connect: Connect) -> bool {
        let ack = self.connect(connect).await;
        assert_eq!(ack.reason, Reason::SUCCESS, "{:?}", ack.text);
        ack.session_present
    }

    pub(super) async fn publish(&mut self, publish: Publish) -> Option<Packet> {
        self.send(&Packet::Publish(publish)).await;
        self.receive().await
    }

    pub(super) async fn subscribe(&mut self, filter: &str) -> Reason {
        let filters = vec![(filter.to_owned(), Qos::ExactlyOnce)];
        self.send(&Packet::Subscribe { pkid: 1, filters }).await;
        match self.receive().await {
            Some(Packet::SubAck { pkid: 1, reasons }) => reasons[0],
            other => panic!("no SUBACK but {other:?}"),
        }
    }

    /// A packet goes there and back: everything sent before has been dealt with.
    pub(super) async fn ping(&mut self) {
        self.send(&Packet::PingReq).await;
        assert_eq!(self.receive().await, Some(Packet::PingResp));
    }

    pub(super) async fn message(&mut self) -> Publish {
        match self.receive().await {
            Some(Packet::Publish(publish)) => publish,
            other => panic!("no PUBLISH but {other:?}"),
        }
    }

    /// The broker ends the connection: with this reason in MQTT 5, without a word in 3.1.1.
    pub(super) async fn ended_with(&mut self, reason: Reason) {
        if self.codec.version == MqttVersion::V5 {
            let text = None;
            assert_eq!(
                self.receive().await,
                Some(Packet::Disconnect { reason, text })
            );
        }
        assert_eq!(self.receive().await, None);
    }
}
