//! How one connection comes about: the turn, the byte stream, a fresh token, CONNECT and its answer.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::{debug, info, warn};

use super::ended::{Close, Ended};
use super::password::{Answer, NoPassword};
use super::spec::Shared;
use super::task::Session;
use crate::mqtt::codec::Codec;
use crate::mqtt::connection::{Connection, ConnectionError};
use crate::mqtt::packet::ConnAck;
use crate::mqtt::reason::Reason;
use crate::mqtt::transport;
use crate::tally::Cause;

/// What an attempt to connect came to.
pub(super) enum Established {
    /// The broker's welcome, and how long the token is good for, if there is one.
    Live(Connection, Box<ConnAck>, Option<Duration>),
    /// The broker does not speak MQTT 5: the next attempt is one with 3.1.1.
    OtherVersion,
}

impl Session {
    /// Makes a connection once it is this session's turn. Dropped half-way, it loses no message: what was taken out of the
    /// queue is held.
    pub(super) async fn connect(&mut self, shared: &Shared) -> Result<Established, Ended> {
        let permit = self.turn(shared).await?;
        let spec = Arc::clone(&self.spec.connect);
        let version = spec.version.current();
        let stream = tokio::select! {
            () = shared.shutdown.cancelled() => return Err(Ended::Shutdown),
            stream = transport::open(&spec.endpoint) => stream,
        };
        let stream = stream.map_err(|error| Ended::Lost {
            what: error.to_string(),
            hint: error.hint(),
            close: Close::Failed,
            cause: Cause::Unreachable,
        })?;
        // The token is made as late as possible, so that a slow connect does not use up its lifetime.
        let fresh = self
            .password
            .fresh(SystemTime::now())
            .map_err(|error| match error {
                NoPassword::NoKey => Ended::NoKey,
                NoPassword::Issue(error) => Ended::Unusable(error.to_string().into()),
            })?;
        let connect = spec.packet(fresh.password);
        let codec = Codec {
            version,
            max_incoming: spec.max_incoming,
        };
        let (connection, ack) = Connection::establish(stream, codec, connect, spec.hidden.clone())
            .await
            .map_err(before_connack)?;
        drop(permit);
        self.status.answered(version, &ack);
        if ack.reason == Reason::UNSUPPORTED_PROTOCOL_VERSION && spec.version.refused(version) {
            warn!(
                connector = %self.spec.connector, client_id = %self.shown_client_id,
                "the broker does not speak MQTT 5: using 3.1.1; write mqtt_version = \"3.1.1\" to make that permanent"
            );
            self.spec.tally.reconnects(Cause::Version);
            return Ok(Established::OtherVersion);
        }
        if ack.reason.is_error() {
            return Err(Ended::Refused {
                reason: ack.reason,
                text: ack.text.map(Into::into),
            });
        }
        let _ = self.password.answered(Answer::Accepted);
        self.status.connected(version, fresh.expires_at);
        // A renewal is routine; a change is not.
        if self.telling.connected() {
            info!(
                connector = %self.spec.connector, client_id = %self.shown_client_id, mqtt = %version,
                session_present = ack.session_present, "connected"
            );
        } else {
            debug!(
                connector = %self.spec.connector, client_id = %self.shown_client_id, mqtt = %version,
                session_present = ack.session_present, "connected again"
            );
        }
        Ok(Established::Live(connection, ack, fresh.lifetime))
    }
}

fn before_connack(error: ConnectionError) -> Ended {
    let hint = match error {
        ConnectionError::Closed => {
            "the broker closed the connection instead of answering CONNECT: is the port one for MQTT, plain or TLS as \
             the url says? A broker that only speaks 3.1.1 may need mqtt_version = \"3.1.1\""
        }
        ConnectionError::Codec(_) | ConnectionError::NotConnAck => {
            "check that the port is one for MQTT"
        }
        ConnectionError::Io(_) | ConnectionError::NoConnAck => "check that the broker is up",
    };
    Ended::Lost {
        what: format!("{error}, before it had answered CONNECT"),
        hint,
        close: match error {
            ConnectionError::Closed => Close::Unanswered,
            _ => Close::Failed,
        },
        cause: Cause::Unreachable,
    }
}
