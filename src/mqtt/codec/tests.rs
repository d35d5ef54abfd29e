//! Packets as they are read and written, in both versions.

use super::*;
use crate::mqtt::packet::{ConnAck, Connect, Publish};
use crate::secret::Secret;
use proptest::prelude::*;

const BOTH: [MqttVersion; 2] = [MqttVersion::V5, MqttVersion::V311];

fn codec(version: MqttVersion) -> Codec {
    Codec {
        version,
        max_incoming: 10_000,
    }
}

fn round_trip(version: MqttVersion, packet: &Packet) -> Packet {
    let mut bytes = BytesMut::new();
    codec(version).encode(packet, &mut bytes).unwrap();
    let whole = bytes.len();
    for cut in 0..whole {
        let mut part = BytesMut::from(&bytes[..cut]);
        assert_eq!(
            codec(version).decode(&mut part),
            Ok(None),
            "{packet:?} cut at {cut}"
        );
    }
    let read = codec(version).decode(&mut bytes).unwrap().unwrap();
    assert!(bytes.is_empty());
    read
}

fn packets(version: MqttVersion) -> Vec<Packet> {
    let v5 = version == MqttVersion::V5;
    let mut packets = vec![
        Packet::Connect(Box::new(Connect {
            client_id: "pump-1".to_owned(),
            username: Some("unused".to_owned()),
            password: Some(Secret::new("a.b.c")),
            clean_start: false,
            session_expiry: if v5 { 3600 } else { u32::MAX },
            keep_alive: 60,
            receive_maximum: if v5 { 20 } else { u16::MAX },
            max_packet_size: if v5 { 9000 } else { u32::MAX },
        })),
        Packet::ConnAck(Box::new(ConnAck {
            session_present: true,
            ..ConnAck::default()
        })),
        Packet::ConnAck(Box::new(ConnAck {
            reason: Reason::NOT_AUTHORIZED,
            server_reference: v5.then(|| "other.example:8883".to_owned()),
            ..ConnAck::default()
        })),
        Packet::Publish(Publish {
            dup: true,
            qos: Qos::AtLeastOnce,
            retain: true,
            topic: "/up/x".to_owned(),
            pkid: 7,
            payload: Bytes::from_static(b"{}"),
            content_type: v5.then(|| "application/json".to_owned()),
        }),
        Packet::Subscribe {
            pkid: 1,
            filters: vec![("a/#".to_owned(), Qos::AtLeastOnce)],
        },
        Packet::SubAck {
            pkid: 1,
            reasons: vec![Reason(1), Reason(if v5 { 0x87 } else { 0x80 })],
        },
        Packet::Unsubscribe {
            pkid: 2,
            filters: vec!["a/#".to_owned()],
        },
        Packet::UnsubAck { pkid: 2 },
        Packet::PingReq,
        Packet::PingResp,
        Packet::Disconnect {
            reason: if v5 {
                Reason::SESSION_TAKEN_OVER
            } else {
                Reason::SUCCESS
            },
            text: None,
        },
    ];
    for kind in [
        AckKind::PubAck,
        AckKind::PubRec,
        AckKind::PubRel,
        AckKind::PubComp,
    ] {
        for reason in [Reason::SUCCESS, Reason::NOT_AUTHORIZED] {
            if v5 || reason == Reason::SUCCESS {
                packets.push(Packet::Ack(Ack {
                    kind,
                    pkid: 300,
                    reason,
                    text: None,
                }));
            }
        }
    }
    packets
}

#[test]
fn every_packet_is_read_as_it_was_written() {
    for version in BOTH {
        for packet in packets(version) {
            assert_eq!(round_trip(version, &packet), packet, "{version}");
        }
    }
}

#[test]
fn a_publish_is_written_as_the_library_writes_it() {
    use rumqttc::v5::mqttbytes::{QoS, v5 as raw};
    let mut expected = BytesMut::new();
    let mut publish = raw::Publish::new("devices/a/up", QoS::AtLeastOnce, vec![b'x'; 300], None);
    publish.pkid = 9;
    publish.properties = Some(raw::PublishProperties {
        message_expiry_interval: Some(30),
        content_type: Some("text/csv".to_owned()),
        user_properties: vec![("traceparent".to_owned(), "00-1".to_owned())],
        ..raw::PublishProperties::default()
    });
    publish.write(&mut expected).unwrap();
    let parts = PublishParts {
        dup: false,
        qos: Qos::AtLeastOnce,
        retain: false,
        topic: "devices/a/up",
        pkid: 9,
        payload: &[b'x'; 300],
        content_type: Some("text/csv"),
        expiry: Some(30),
        user_property: Some(("traceparent", "00-1")),
    };
    let mut written = BytesMut::new();
    codec(MqttVersion::V5)
        .encode_publish(parts, &mut written)
        .unwrap();
    assert_eq!(written, expected);
    assert_eq!(codec(MqttVersion::V5).publish_size(&parts), expected.len());
}

#[test]
fn a_refusal_in_3_1_1_is_understood_on_a_connection_of_5() {
    let mut bytes = BytesMut::from(&[0x20, 2, 0, 1][..]);
    let read = codec(MqttVersion::V5).decode(&mut bytes).unwrap().unwrap();
    let expected = ConnAck {
        reason: Reason::UNSUPPORTED_PROTOCOL_VERSION,
        ..ConnAck::default()
    };
    assert_eq!(read, Packet::ConnAck(Box::new(expected)));
}

#[test]
fn a_disconnect_without_a_reason_is_a_normal_one() {
    let mut bytes = BytesMut::from(&[0xE0, 0][..]);
    let read = codec(MqttVersion::V5).decode(&mut bytes).unwrap();
    assert_eq!(
        read,
        Some(Packet::Disconnect {
            reason: Reason::SUCCESS,
            text: None
        })
    );
}

#[test]
fn a_reason_does_not_belong_into_an_acknowledgement_of_3_1_1() {
    let refused = [0x40, 3, 0, 1, 0x87];
    let read = |version| codec(version).decode(&mut BytesMut::from(&refused[..]));
    assert!(matches!(
        read(MqttVersion::V311),
        Err(CodecError::Malformed(_))
    ));
    let expected = Ack {
        kind: AckKind::PubAck,
        pkid: 1,
        reason: Reason(0x87),
        text: None,
    };
    assert_eq!(read(MqttVersion::V5), Ok(Some(Packet::Ack(expected))));
}

#[test]
fn sizes_are_limited_before_the_bytes_have_arrived() {
    let mut bytes = BytesMut::from(&[0x30, 0xFF, 0xFF, 0x03][..]);
    assert!(matches!(
        codec(MqttVersion::V5).decode(&mut bytes),
        Err(CodecError::TooLarge { limit: 10_000, .. })
    ));
}

#[test]
fn a_connect_names_its_version() {
    for (version, level) in [(MqttVersion::V5, 5), (MqttVersion::V311, 4)] {
        let mut bytes = BytesMut::new();
        codec(version)
            .encode(&packets(version)[0], &mut bytes)
            .unwrap();
        assert_eq!(connect_level(&bytes), Ok(Some(level)));
        assert_eq!(connect_level(&bytes[..6]), Ok(None));
    }
    assert!(connect_level(b"GET / HTTP/1.1").is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_a_packet_or_an_error_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for version in BOTH {
            let mut stream = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = codec(version).decode(&mut stream) {}
        }
        let _ = connect_level(&bytes);
    }
}
