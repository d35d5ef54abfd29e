//! A TCP proxy between the bridge and its broker that breaks the network in the ways in which networks break.

mod connection;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::DEADLINE;
use super::eventually::eventually;
use super::port::Port;
use connection::Connection;

/// A running proxy. Dropping it ends its connections.
///
/// When the target refuses a connection, the client sees its own, already accepted one reset.
#[derive(Debug)]
pub struct Proxy {
    port: Port,
    target: SocketAddr,
    control: watch::Sender<Control>,
    traffic: Arc<Mutex<Traffic>>,
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

/// How [`Proxy::cut`] ends connections, on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// In good order, as a program does that closes: the other side reads an end of file.
    Fin,
    /// Abruptly (RST): the other side reads an error.
    Reset,
}

/// What [`Proxy::stall`] does with what is sent meanwhile. Either way nobody is told: no FIN, no RST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stall {
    /// It arrives after [`Proxy::resume`]: a link that comes back in time.
    Hold,
    /// It is lost: a link that comes back too late. A stream has no holes, so at [`Proxy::resume`] a connection that
    /// lost something is reset.
    Swallow,
}

/// What went through, over all connections.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// Connections accepted.
    pub connections: usize,
    /// Bytes handed to the broker.
    pub to_broker: u64,
    /// Bytes handed to clients.
    pub to_client: u64,
    /// What clients sent, where [`Proxy::capture`] has been called.
    pub captured: Option<Vec<u8>>,
}

/// The state of the network; connections watch it.
#[derive(Debug, Clone, Copy, Default)]
struct Control {
    stall: Option<Stall>,
    delay: Duration,
    /// Counts the cuts: a connection ends by the first one after its beginning.
    cuts: (u64, Option<Cut>),
    half_closes: u64,
}

impl Proxy {
    /// Starts a proxy to `target` on a port of its own.
    pub fn start(target: SocketAddr) -> Self {
        let proxy = Self {
            port: Port::reserve(),
            target,
            control: watch::Sender::new(Control::default()),
            traffic: Arc::default(),
            acceptor: Mutex::new(None),
        };
        proxy.admit();
        proxy
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Ends all connections; new ones are taken.
    pub fn cut(&self, cut: Cut) {
        self.control.send_modify(|control| {
            control.cuts = (control.cuts.0 + 1, Some(cut));
        });
    }

    /// Stops forwarding on all connections, present and new, without telling anybody.
    pub fn stall(&self, stall: Stall) {
        self.control
            .send_modify(|control| control.stall = Some(stall));
    }

    /// Ends a stall.
    pub fn resume(&self) {
        self.control.send_modify(|control| control.stall = None);
    }

    /// Hands over each piece of data that much later, in both directions.
    pub fn delay(&self, delay: Duration) {
        self.control.send_modify(|control| control.delay = delay);
    }

    /// Ends the direction from the broker to the clients (FIN); what clients send still arrives.
    pub fn half_close(&self) {
        self.control.send_modify(|control| control.half_closes += 1);
    }

    /// Refuses new connections, as a port does on which nobody listens; those that exist stay.
    pub async fn refuse(&self) {
        let acceptor = self.acceptor.lock().unwrap().take();
        if let Some(acceptor) = acceptor {
            acceptor.abort();
            // Only when the task is gone is its listener closed. Its outcome is the abort.
            let _ = acceptor.await;
        }
    }

    /// Takes new connections again.
    pub fn admit(&self) {
        let mut acceptor = self.acceptor.lock().unwrap();
        if acceptor.is_none() {
            *acceptor = Some(tokio::spawn(accept(
                self.port.listen(),
                self.target,
                self.control.subscribe(),
                self.traffic.clone(),
            )));
        }
    }

    /// From now on keeps what clients send, so that a test can look for what must not be there.
    pub fn capture(&self) {
        let mut traffic = self.traffic.lock().unwrap();
        traffic.captured.get_or_insert_default();
    }

    /// What went through so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic.lock().unwrap().clone()
    }

    /// Waits until `count` connections have been accepted since the start.
    pub async fn wait_connections(&self, count: usize) {
        eventually(&format!("{count} connections"), DEADLINE, || {
            std::future::ready(self.traffic().connections >= count)
        })
        .await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The connections end by themselves when the control goes.
        if let Some(acceptor) = self.acceptor.lock().unwrap().take() {
            acceptor.abort();
        }
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    control: watch::Receiver<Control>,
    traffic: Arc<Mutex<Traffic>>,
) {
    while let Ok((client, _)) = listener.accept().await {
        traffic.lock().unwrap().connections += 1;
        let connection = Connection {
            // Cuts from now on are this connection's, even before it is through to the target.
            cuts: control.borrow().cuts.0,
            half_closes: control.borrow().half_closes,
            control: control.clone(),
            traffic: traffic.clone(),
        };
        tokio::spawn(connection.run(client, target));
    }
}
