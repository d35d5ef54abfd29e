//! The broker's side of a connection, for tests: it does what it is told.

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::within;
use crate::broker::MqttVersion;
use crate::mqtt::codec::{Codec, connect_level};
use crate::mqtt::packet::{self, Ack, AckKind, ConnAck, Connect, Packet};
use crate::mqtt::reason::Reason;

/// The broker's side of one connection.
pub(super) struct Peer {
    pub(super) stream: TcpStream,
    pub(super) codec: Codec,
    pub(super) buffer: BytesMut,
    pub(super) connect: Connect,
}

impl Peer {
    /// Takes the next connection and its CONNECT, and answers nothing yet.
    pub(super) async fn accept(listener: &TcpListener) -> Self {
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
    pub(super) async fn welcome(listener: &TcpListener) -> Self {
        let mut peer = Self::accept(listener).await;
        peer.connack(ConnAck::default()).await;
        peer
    }

    pub(super) async fn connack(&mut self, ack: ConnAck) {
        self.send(Packet::ConnAck(Box::new(ack))).await;
    }

    pub(super) async fn send(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        self.codec.encode(&packet, &mut bytes).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

    pub(super) async fn next(&mut self) -> Packet {
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
    pub(super) async fn publish(&mut self) -> packet::Publish {
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

    pub(super) async fn puback(&mut self, pkid: u16, reason: Reason) {
        self.send(Packet::Ack(Ack {
            kind: AckKind::PubAck,
            pkid,
            reason,
            text: None,
        }))
        .await;
    }

    pub(super) async fn next_but_subscribe(&mut self) -> Packet {
        loop {
            match self.next().await {
                Packet::Subscribe { .. } => {}
                other => return other,
            }
        }
    }

    /// Confirms the next PUBLISH and tells its payload.
    pub(super) async fn take(&mut self) -> String {
        let publish = self.publish().await;
        self.puback(publish.pkid, Reason::SUCCESS).await;
        payload(&publish)
    }
}

pub(super) fn payload(publish: &packet::Publish) -> String {
    String::from_utf8(publish.payload.to_vec()).unwrap()
}

pub(super) fn empty_connect() -> Connect {
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
