//! The embedded broker: MQTT 3.1.1 and 5 on one port, QoS 0 and 1, sessions that outlive their connections.
//!
//! ```text
//! listener ─► connection ─► handshake ─► gate (a platform's rules)
//!                 │  └► wire (packets)        └► access: publish, subscribe
//!                 └► sessions (takeover, queue, resending)
//! ```
//!
//! Deliberately absent: QoS 2, retained messages, wills, topic aliases, and anything on disk.

mod connection;
mod faults;
mod gate;
mod handshake;
mod hub;
mod session;
mod sessions;
mod verdict;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use faults::{AckMode, ConnectRecord, Faults, Moment};
pub use gate::{Access, Action, Admission, Attempt, Gate, Hello, NoDownlink, Refusal, Reply};
pub use session::Message;
pub use sessions::{Delivery, Ending};

use crate::device::DeviceId;
use hub::Hub;

/// A client that has not finished its TLS handshake by then is given up.
const TLS_TIME: Duration = Duration::from_secs(10);

/// After a failed `accept` (no file descriptors left, say), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A running broker. Clones are the same broker.
#[derive(Clone)]
pub struct Broker {
    hub: Arc<Hub>,
    tasks: TaskTracker,
}

impl Broker {
    /// A broker with a platform's rules, without listeners yet. It ends with `shutdown`.
    pub fn new(gate: impl Gate, faults: Faults, shutdown: CancellationToken) -> Self {
        Self {
            hub: Arc::new(Hub {
                gate: Box::new(gate),
                sessions: sessions::Sessions::default(),
                faults,
                shutdown,
            }),
            tasks: TaskTracker::new(),
        }
    }

    /// Serves a bound listener, with TLS where `tls` is given.
    pub fn listen(&self, listener: TcpListener, tls: Option<Arc<ServerConfig>>) {
        let (hub, tasks) = (self.hub.clone(), self.tasks.clone());
        self.tasks.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = hub.shutdown.cancelled() => return,
                };
                match accepted {
                    Ok((stream, _)) => {
                        tasks.spawn(serve(stream, tls.clone(), hub.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the demo's broker could not accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        });
    }

    /// Sends a downlink to a device, as its platform does.
    pub fn send_downlink(
        &self,
        device: &DeviceId,
        topic: &str,
        payload: bytes::Bytes,
        content_type: Option<String>,
    ) -> Result<Delivery, NoDownlink> {
        let topic = self.hub.gate.downlink_topic(device, topic)?;
        let message = Message {
            topic,
            payload,
            content_type,
        };
        Ok(self.hub.sessions.route(&message, Instant::now()))
    }

    /// Ends the connections of a client id, or all with `None`. Gives their number.
    pub fn end_connections(&self, client_id: Option<&str>, ending: Ending) -> usize {
        self.hub.sessions.end(client_id, ending)
    }

    /// Forgets every session and cuts every connection, as a restart without persistence does.
    pub fn forget_sessions(&self) {
        self.hub.sessions.forget();
    }

    /// The handle on its faults and on the log of who connected.
    pub fn faults(&self) -> &Faults {
        &self.hub.faults
    }

    /// Waits until every connection has ended. To be called after the shutdown was asked for.
    pub async fn closed(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn serve(stream: TcpStream, tls: Option<Arc<ServerConfig>>, hub: Arc<Hub>) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return connection::serve(stream, &hub, None).await;
    };
    let accept = tokio::time::timeout(TLS_TIME, TlsAcceptor::from(tls).accept(stream));
    let accepted = tokio::select! {
        accepted = accept => accepted,
        () = hub.shutdown.cancelled() => return,
    };
    match accepted {
        Ok(Ok(stream)) => {
            let shown = stream.get_ref().1.peer_certificates();
            let certificate = shown.and_then(|chain| chain.first()).cloned();
            connection::serve(stream, &hub, certificate).await;
        }
        Ok(Err(error)) => {
            tracing::info!(%error, "a TLS handshake with the demo's broker failed");
        }
        Err(_) => tracing::debug!("a TLS handshake did not end in time"),
    }
}
