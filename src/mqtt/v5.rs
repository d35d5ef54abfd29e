//! MQTT 5 packets to and from `rumqttc`'s.

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::{self as wire, v5 as raw};

use super::codec::{CodecError, ack_kind, text};
use super::packet::{Ack, ConnAck, Connect, Packet, Publish};
use super::reason::Reason;
use crate::message::Qos;
use crate::secret::Secret;

/// Reads one whole packet with a fixed header of `header` bytes.
pub(super) fn decode(mut bytes: BytesMut, header: usize) -> Result<Packet, CodecError> {
    let body = &bytes[header..];
    // A broker that does not speak MQTT 5 refuses with a CONNACK of 3.1.1, which has no properties.
    if bytes[0] >> 4 == 2 && body.len() == 2 {
        let reason = Reason::from_v3_connack(body[1]);
        return Ok(Packet::ConnAck(Box::new(ConnAck {
            reason,
            ..ConnAck::default()
        })));
    }
    // `rumqttc` makes enums of reason codes; the codes themselves are taken from the bytes.
    let connack_reason = Reason(body.get(1).copied().unwrap_or_default());
    let ack_reason = Reason(body.get(2).copied().unwrap_or_default());
    let suback_body = if bytes[0] >> 4 == 9 {
        body.to_vec()
    } else {
        Vec::new()
    };
    let packet = raw::Packet::read(&mut bytes, None).map_err(malformed)?;
    Ok(match packet {
        raw::Packet::Connect(connect, _, login) => {
            Packet::Connect(Box::new(read_connect(connect, login)))
        }
        raw::Packet::ConnAck(ack) => {
            let p = ack.properties;
            let base = ConnAck {
                session_present: ack.session_present,
                reason: connack_reason,
                ..ConnAck::default()
            };
            Packet::ConnAck(Box::new(match p {
                None => base,
                Some(p) => ConnAck {
                    text: p.reason_string,
                    receive_maximum: p.receive_max,
                    max_packet_size: p.max_packet_size,
                    max_qos: p.max_qos,
                    retain_available: p.retain_available.map(|flag| flag != 0),
                    server_keep_alive: p.server_keep_alive,
                    server_reference: p.server_reference,
                    ..base
                },
            }))
        }
        raw::Packet::Publish(publish) => Packet::Publish(Publish {
            dup: publish.dup,
            qos: from_qos(publish.qos),
            retain: publish.retain,
            topic: text(&publish.topic)?,
            pkid: publish.pkid,
            payload: publish.payload,
            content_type: publish.properties.and_then(|p| p.content_type),
        }),
        raw::Packet::PubAck(ack) => read_ack(
            4,
            ack.pkid,
            ack_reason,
            ack.properties.and_then(|p| p.reason_string),
        )?,
        raw::Packet::PubRec(ack) => read_ack(
            5,
            ack.pkid,
            ack_reason,
            ack.properties.and_then(|p| p.reason_string),
        )?,
        raw::Packet::PubRel(ack) => read_ack(
            6,
            ack.pkid,
            ack_reason,
            ack.properties.and_then(|p| p.reason_string),
        )?,
        raw::Packet::PubComp(ack) => read_ack(
            7,
            ack.pkid,
            ack_reason,
            ack.properties.and_then(|p| p.reason_string),
        )?,
        raw::Packet::Subscribe(subscribe) => Packet::Subscribe {
            pkid: subscribe.pkid,
            filters: subscribe
                .filters
                .into_iter()
                .map(|f| (f.path, from_qos(f.qos)))
                .collect(),
        },
        raw::Packet::SubAck(ack) => {
            let first = suback_body.len().saturating_sub(ack.return_codes.len());
            let reasons = suback_body[first..].iter().map(|b| Reason(*b));
            Packet::SubAck {
                pkid: ack.pkid,
                reasons: reasons.collect(),
            }
        }
        raw::Packet::Unsubscribe(unsubscribe) => Packet::Unsubscribe {
            pkid: unsubscribe.pkid,
            filters: unsubscribe.filters,
        },
        raw::Packet::UnsubAck(ack) => Packet::UnsubAck { pkid: ack.pkid },
        raw::Packet::PingReq(_) => Packet::PingReq,
        raw::Packet::PingResp(_) => Packet::PingResp,
        raw::Packet::Disconnect(disconnect) => Packet::Disconnect {
            reason: Reason(disconnect.reason_code as u8),
            text: disconnect.properties.and_then(|p| p.reason_string),
        },
        raw::Packet::Auth(_) => {
            return Err(CodecError::Malformed(
                "an AUTH that nobody asked for".to_owned(),
            ));
        }
    })
}

/// Writes any packet but PUBLISH, DISCONNECT and the acknowledgements.
pub(super) fn encode(packet: &Packet, buffer: &mut BytesMut) -> Result<(), CodecError> {
    let packet = match packet {
        Packet::Connect(connect) => write_connect(connect),
        Packet::ConnAck(ack) => raw::Packet::ConnAck(write_connack(ack)),
        Packet::Subscribe { pkid, filters } => raw::Packet::Subscribe(raw::Subscribe {
            pkid: *pkid,
            filters: filters
                .iter()
                .map(|(path, qos)| raw::Filter::new(path.clone(), to_qos(*qos)))
                .collect(),
            properties: None,
        }),
        Packet::SubAck { pkid, reasons } => raw::Packet::SubAck(raw::SubAck {
            pkid: *pkid,
            return_codes: reasons.iter().map(|reason| write_suback(*reason)).collect(),
            properties: None,
        }),
        Packet::Unsubscribe { pkid, filters } => raw::Packet::Unsubscribe(raw::Unsubscribe {
            pkid: *pkid,
            filters: filters.clone(),
            properties: None,
        }),
        Packet::UnsubAck { pkid } => raw::Packet::UnsubAck(raw::UnsubAck {
            pkid: *pkid,
            reasons: vec![raw::UnsubAckReason::Success],
            properties: None,
        }),
        Packet::PingReq => raw::Packet::PingReq(raw::PingReq),
        Packet::PingResp => raw::Packet::PingResp(raw::PingResp),
        Packet::Disconnect { .. } | Packet::Publish(_) | Packet::Ack(_) => return Ok(()),
    };
    packet.write(buffer, None).map(|_| ()).map_err(malformed)
}

fn read_connect(connect: raw::Connect, login: Option<raw::Login>) -> Connect {
    let p = connect.properties.unwrap_or_default();
    let (username, password) = match login {
        None => (None, None),
        Some(login) => (Some(login.username), Some(Secret::new(login.password))),
    };
    Connect {
        client_id: connect.client_id,
        username: username.filter(|name| !name.is_empty()),
        password: password.filter(|password| !password.expose().is_empty()),
        clean_start: connect.clean_start,
        session_expiry: p.session_expiry_interval.unwrap_or(0),
        keep_alive: connect.keep_alive,
        receive_maximum: p.receive_maximum.unwrap_or(u16::MAX),
        max_packet_size: p.max_packet_size.unwrap_or(u32::MAX),
    }
}

fn write_connect(connect: &Connect) -> raw::Packet {
    let login = (connect.login()).map(|(username, password)| raw::Login { username, password });
    let properties = raw::ConnectProperties {
        session_expiry_interval: (connect.session_expiry > 0).then_some(connect.session_expiry),
        receive_maximum: Some(connect.receive_maximum),
        max_packet_size: Some(connect.max_packet_size),
        ..raw::ConnectProperties::new()
    };
    let raw = raw::Connect {
        keep_alive: connect.keep_alive,
        client_id: connect.client_id.clone(),
        clean_start: connect.clean_start,
        properties: Some(properties),
    };
    raw::Packet::Connect(raw, None, login)
}

fn write_connack(ack: &ConnAck) -> raw::ConnAck {
    use raw::ConnectReturnCode as Code;
    let code = match ack.reason {
        Reason::SUCCESS => Code::Success,
        Reason::UNSUPPORTED_PROTOCOL_VERSION => Code::UnsupportedProtocolVersion,
        Reason::CLIENT_ID_NOT_VALID => Code::ClientIdentifierNotValid,
        Reason::BAD_USER_NAME_OR_PASSWORD => Code::BadUserNamePassword,
        Reason::NOT_AUTHORIZED => Code::NotAuthorized,
        Reason::SERVER_UNAVAILABLE => Code::ServerUnavailable,
        Reason::BANNED => Code::Banned,
        Reason(0x89) => Code::ServerBusy,
        Reason::USE_ANOTHER_SERVER => Code::UseAnotherServer,
        Reason::SERVER_MOVED => Code::ServerMoved,
        _ => Code::UnspecifiedError,
    };
    let properties = raw::ConnAckProperties {
        session_expiry_interval: None,
        receive_max: ack.receive_maximum,
        max_qos: ack.max_qos,
        retain_available: ack.retain_available.map(u8::from),
        max_packet_size: ack.max_packet_size,
        assigned_client_identifier: None,
        topic_alias_max: None,
        reason_string: ack.text.clone(),
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: ack.server_keep_alive,
        response_information: None,
        server_reference: ack.server_reference.clone(),
        authentication_method: None,
        authentication_data: None,
    };
    raw::ConnAck {
        session_present: ack.session_present,
        code,
        properties: Some(properties),
    }
}

fn write_suback(reason: Reason) -> raw::SubscribeReasonCode {
    match reason.0 {
        0 => raw::SubscribeReasonCode::Success(wire::QoS::AtMostOnce),
        1 => raw::SubscribeReasonCode::Success(wire::QoS::AtLeastOnce),
        2 => raw::SubscribeReasonCode::Success(wire::QoS::ExactlyOnce),
        0x87 => raw::SubscribeReasonCode::NotAuthorized,
        0x8F => raw::SubscribeReasonCode::TopicFilterInvalid,
        _ => raw::SubscribeReasonCode::Unspecified,
    }
}

fn read_ack(
    packet_type: u8,
    pkid: u16,
    reason: Reason,
    text: Option<String>,
) -> Result<Packet, CodecError> {
    let kind = ack_kind(packet_type)
        .ok_or_else(|| CodecError::Malformed("not an acknowledgement".to_owned()))?;
    Ok(Packet::Ack(Ack {
        kind,
        pkid,
        reason,
        text,
    }))
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
