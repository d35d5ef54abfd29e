//! From the first byte to the CONNACK.

use std::time::{Instant, SystemTime};

use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};

use super::faults::ConnectRecord;
use super::gate::{Action, Admission, Hello, Refusal};
use super::hub::Hub;
use super::sessions::{Attachment, Terms};
use super::wire::{MAX_PACKET, Wire, WireError};
use crate::broker::MqttVersion;
use crate::mqtt::packet::{ConnAck, Connect, Packet};
use crate::mqtt::reason::Reason;

/// How many publishes a client may have unacknowledged; MQTT 5 tells it.
pub(super) const RECEIVE_MAXIMUM: u16 = 200;

/// A client that was let in, with its CONNACK not yet written.
pub(super) struct Welcome {
    pub(super) connect: Connect,
    pub(super) admission: Admission,
    pub(super) attachment: Attachment,
}

/// Reads the CONNECT and answers it. `None`: refused, and the refusal is to be written.
pub(super) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    hub: &Hub,
    certificate: Option<&CertificateDer<'static>>,
) -> Result<Option<Welcome>, WireError> {
    let level = wire.level().await?;
    if !matches!(level, 4 | 5) || level == 5 && hub.faults.refuses_v5() {
        wire.push_version_refusal();
        return Ok(None);
    }
    let Packet::Connect(connect) = wire.packet().await? else {
        return Ok(None);
    };
    let mut connect = *connect;
    match welcome(hub, wire.version(), &mut connect, certificate) {
        Ok((admission, attachment)) => {
            wire.push(&accepted(&attachment))?;
            Ok(Some(Welcome {
                connect,
                admission,
                attachment,
            }))
        }
        Err(refusal) => {
            wire.push(&refused(&refusal))?;
            hub.note(&connect.client_id, Action::Connect, refusal);
            Ok(None)
        }
    }
}

fn welcome(
    hub: &Hub,
    version: MqttVersion,
    connect: &mut Connect,
    certificate: Option<&CertificateDer<'static>>,
) -> Result<(Admission, Attachment), Refusal> {
    if let Some(reason) = hub.faults.refuses_connects() {
        return Err(Refusal::new(reason, "nobody is let in at the moment"));
    }
    if connect.client_id.is_empty() && version == MqttVersion::V311 && !connect.clean_start {
        let text = "a session that is kept needs a client id (MQTT 3.1.1 §3.1.3.1)";
        return Err(Refusal::new(Reason::CLIENT_ID_NOT_VALID, text));
    }
    let admission = hub.gate.admit(&Hello {
        connect,
        certificate,
        now: SystemTime::now(),
    })?;
    if connect.client_id.is_empty() {
        connect.client_id = format!("anonymous-{}", uuid::Uuid::now_v7());
    }
    let session = format!("{}\0{}", admission.scope, connect.client_id);
    let terms = Terms {
        client_id: connect.client_id.clone(),
        clean_start: connect.clean_start,
        session_expiry: connect.session_expiry,
    };
    let attachment = hub.sessions.attach(&session, terms, Instant::now());
    let Some(attachment) = attachment else {
        return Err(Refusal::new(
            Reason::SERVER_UNAVAILABLE,
            "too many sessions",
        ));
    };
    hub.faults.record(ConnectRecord {
        client_id: connect.client_id.clone(),
        version,
        session_present: attachment.session_present,
        token_issued_at: admission.token_issued_at,
    });
    Ok((admission, attachment))
}

fn accepted(attachment: &Attachment) -> Packet {
    Packet::ConnAck(Box::new(ConnAck {
        session_present: attachment.session_present,
        reason: Reason::SUCCESS,
        receive_maximum: Some(RECEIVE_MAXIMUM),
        max_packet_size: Some(MAX_PACKET),
        max_qos: Some(1),
        ..ConnAck::default()
    }))
}

fn refused(refusal: &Refusal) -> Packet {
    Packet::ConnAck(Box::new(ConnAck {
        reason: refusal.reason,
        text: Some(refusal.text.clone()),
        ..ConnAck::default()
    }))
}
