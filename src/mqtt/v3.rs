//! MQTT 3.1.1 packets to and from `rumqttc`'s.

use bytes::BytesMut;
use rumqttc::mqttbytes::{self as wire, v4 as raw};

use super::codec::{CodecError, MAX_PACKET_BYTES};
use super::packet::{ConnAck, Connect, Packet, Publish};
use super::reason::Reason;
use crate::message::Qos;
use crate::secret::Secret;

/// Reads one whole packet with a fixed header of `header` bytes.
pub(super) fn decode(mut bytes: BytesMut, header: usize) -> Result<Packet, CodecError> {
    let suback_body = if bytes[0] >> 4 == 9 {
        bytes[header..].to_vec()
    } else {
        Vec::new()
    };
    let packet = raw::Packet::read(&mut bytes, MAX_PACKET_BYTES).map_err(malformed)?;
    Ok(match packet {
        raw::Packet::Connect(connect) => Packet::Connect(Box::new(read_connect(connect))),
        raw::Packet::ConnAck(ack) => Packet::ConnAck(Box::new(ConnAck {
            session_present: ack.session_present,
            reason: Reason::from_v3_connack(ack.code as u8),
            ..ConnAck::default()
        })),
        raw::Packet::Publish(publish) => Packet::Publish(Publish {
            dup: publish.dup,
            qos: from_qos(publish.qos),
            retain: publish.retain,
            topic: publish.topic,
            pkid: publish.pkid,
            payload: publish.payload,
            content_type: None,
        }),
        raw::Packet::Subscribe(subscribe) => Packet::Subscribe {
            pkid: subscribe.pkid,
            filters: subscribe
                .filters
                .into_iter()
                .map(|f| (f.path, from_qos(f.qos)))
                .collect(),
        },
        raw::Packet::SubAck(ack) => Packet::SubAck {
            pkid: ack.pkid,
            reasons: suback_body[2..].iter().map(|b| Reason(*b)).collect(),
        },
        raw::Packet::Unsubscribe(unsubscribe) => Packet::Unsubscribe {
            pkid: unsubscribe.pkid,
            filters: unsubscribe.topics,
        },
        raw::Packet::UnsubAck(ack) => Packet::UnsubAck { pkid: ack.pkid },
        raw::Packet::PingReq => Packet::PingReq,
        raw::Packet::PingResp => Packet::PingResp,
        raw::Packet::Disconnect => Packet::Disconnect {
            reason: Reason::SUCCESS,
            text: None,
        },
        raw::Packet::PubAck(_)
        | raw::Packet::PubRec(_)
        | raw::Packet::PubRel(_)
        | raw::Packet::PubComp(_) => {
            return Err(CodecError::Malformed(
                "an acknowledgement with more than a packet identifier".to_owned(),
            ));
        }
    })
}

/// Writes any packet but PUBLISH, DISCONNECT and the acknowledgements.
pub(super) fn encode(packet: &Packet, buffer: &mut BytesMut) -> Result<(), CodecError> {
    let packet = match packet {
        Packet::Connect(connect) => raw::Packet::Connect(write_connect(connect)),
        Packet::ConnAck(ack) => raw::Packet::ConnAck(raw::ConnAck::new(
            write_code(ack.reason),
            ack.session_present,
        )),
        Packet::Subscribe { pkid, filters } => {
            let filters = filters
                .iter()
                .map(|(path, qos)| raw::SubscribeFilter::new(path.clone(), to_qos(*qos)));
            raw::Packet::Subscribe(raw::Subscribe {
                pkid: *pkid,
                filters: filters.collect(),
            })
        }
        Packet::SubAck { pkid, reasons } => {
            let code = |reason: &Reason| match wire::qos(reason.0) {
                Ok(qos) => raw::SubscribeReasonCode::Success(qos),
                Err(_) => raw::SubscribeReasonCode::Failure,
            };
            raw::Packet::SubAck(raw::SubAck::new(*pkid, reasons.iter().map(code).collect()))
        }
        Packet::Unsubscribe { pkid, filters } => raw::Packet::Unsubscribe(raw::Unsubscribe {
            pkid: *pkid,
            topics: filters.clone(),
        }),
        Packet::UnsubAck { pkid } => raw::Packet::UnsubAck(raw::UnsubAck::new(*pkid)),
        Packet::PingReq => raw::Packet::PingReq,
        Packet::PingResp => raw::Packet::PingResp,
        Packet::Disconnect { .. } | Packet::Publish(_) | Packet::Ack(_) => return Ok(()),
    };
    packet
        .write(buffer, MAX_PACKET_BYTES)
        .map(|_| ())
        .map_err(malformed)
}

fn read_connect(connect: raw::Connect) -> Connect {
    let (username, password) = match connect.login {
        None => (None, None),
        Some(login) => (Some(login.username), Some(Secret::new(login.password))),
    };
    Connect {
        client_id: connect.client_id,
        username: username.filter(|name| !name.is_empty()),
        password: password.filter(|password| !password.expose().is_empty()),
        clean_start: connect.clean_session,
        session_expiry: if connect.clean_session { 0 } else { u32::MAX },
        keep_alive: connect.keep_alive,
        receive_maximum: u16::MAX,
        max_packet_size: u32::MAX,
    }
}

fn write_connect(connect: &Connect) -> raw::Connect {
    let login = (connect.login()).map(|(username, password)| raw::Login { username, password });
    raw::Connect {
        protocol: wire::Protocol::V4,
        keep_alive: connect.keep_alive,
        client_id: connect.client_id.clone(),
        clean_session: connect.clean_start,
        last_will: None,
        login,
    }
}

fn write_code(reason: Reason) -> raw::ConnectReturnCode {
    match reason {
        Reason::SUCCESS => raw::ConnectReturnCode::Success,
        Reason::UNSUPPORTED_PROTOCOL_VERSION => raw::ConnectReturnCode::RefusedProtocolVersion,
        Reason::CLIENT_ID_NOT_VALID => raw::ConnectReturnCode::BadClientId,
        Reason::BAD_USER_NAME_OR_PASSWORD => raw::ConnectReturnCode::BadUserNamePassword,
        Reason::NOT_AUTHORIZED | Reason::BANNED => raw::ConnectReturnCode::NotAuthorized,
        _ => raw::ConnectReturnCode::ServiceUnavailable,
    }
}

fn from_qos(qos: wire::QoS) -> Qos {
    match qos {
        wire::QoS::AtMostOnce => Qos::AtMostOnce,
        wire::QoS::AtLeastOnce => Qos::AtLeastOnce,
        wire::QoS::ExactlyOnce => Qos::ExactlyOnce,
    }
}

fn to_qos(qos: Qos) -> wire::QoS {
    match qos {
        Qos::AtMostOnce => wire::QoS::AtMostOnce,
        Qos::AtLeastOnce => wire::QoS::AtLeastOnce,
        Qos::ExactlyOnce => wire::QoS::ExactlyOnce,
    }
}

fn malformed(error: wire::Error) -> CodecError {
    CodecError::Malformed(error.to_string())
}
