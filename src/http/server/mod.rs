//! A listener and its connections, and an end that lets requests finish.
//!
//! ```text
//! accept ─► table ─► connection: first bytes ─► TLS ─► HTTP/1.1 or HTTP/2 ─► requests ─► router
//!             ▲                                           │
//!             └── sweep: who has taken his time? ◄── pulse ┘
//! ```
//!
//! - `limits`, `table`: how many connections there may be, and which of them end for others or for their slowness; the
//!   listener's loop alone owns the table, and looks at it from time to time
//! - `pulse`: what a connection is doing, told without a lock, and without a timer for each request
//! - `connection`: one connection; `first` finds out what its client speaks, `tls` is HTTPS, `words` why it failed,
//!   `wire` the bytes
//! - `heads`, `stall`, `streams`, `body`: what tells a pulse about HTTP/1 heads, unread answers, HTTP/2 streams and the
//!   ends of answers
//! - `requests`: what every request must be, and what happens to all of them

mod body;
mod connection;
mod first;
mod heads;
mod limits;
mod pulse;
mod requests;
mod stall;
mod streams;
mod table;
mod tls;
mod wire;
mod words;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

pub use limits::ConnectionLimits;
pub use tls::{ClientAuthorities, Tls, TlsError};

use super::cors::Origins;
use super::observer::Observer;
use super::problem::{Kind, Problem};
use crate::identity::Validity;
use crate::seldom::{Pass, Seldom};
use crate::tally::ListenerFigures;
use pulse::Pulse;
use table::{Full, Table};

/// The pause after an `accept` that failed, for example because the file descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How often connections are looked at, which is how exact their times are.
const SWEEP: Duration = Duration::from_millis(250);
/// How often at most the log says that connections are refused.
const SAY_FULL: Duration = Duration::from_secs(10);

/// Connections that wait to be accepted; the system may allow fewer. With the usual 128, several hundred clients that
/// come at one moment, as after a power cut, would partly find their connections reset.
const BACKLOG: u32 = 4096;

/// Binds an address for a listener.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // As the standard library does it: a restart need not wait for old connections to be forgotten. Windows means
    // something else by it.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// How a listener is spoken to.
#[derive(Debug, Clone, Default)]
pub struct ListenerSettings {
    /// Only HTTPS with it, only plain HTTP without.
    pub tls: Option<Tls>,
    /// What bounds its connections.
    pub limits: ConnectionLimits,
    /// Whose web pages may use it from a browser.
    pub origins: Origins,
}

/// A listener that is bound and not served yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    settings: watch::Receiver<Arc<ListenerSettings>>,
    figures: Arc<ListenerFigures>,
}

/// Changes a listener while it is served. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ListenerHandle {
    settings: watch::Sender<Arc<ListenerSettings>>,
    figures: Arc<ListenerFigures>,
}

impl Listener {
    /// A listener with these settings.
    pub fn new(socket: TcpListener, settings: ListenerSettings) -> (Self, ListenerHandle) {
        let (sender, receiver) = watch::channel(Arc::new(settings));
        let figures = Arc::new(ListenerFigures::default());
        let listener = Self {
            socket,
            settings: receiver,
            figures: Arc::clone(&figures),
        };
        let handle = ListenerHandle {
            settings: sender,
            figures,
        };
        (listener, handle)
    }

    /// Its address, with its real port.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// Plain HTTP with the usual limits.
impl From<TcpListener> for Listener {
    fn from(socket: TcpListener) -> Self {
        Self::new(socket, ListenerSettings::default()).0
    }
}

impl ListenerHandle {
    /// Connections that come from now on find these settings. Those that are there keep the certificate that they were
    /// opened with, and go on; the limits of number and time are for them, too. Only where client certificates come
    /// from other authorities now, the connections of clients that had shown one end.
    pub fn replace(&self, settings: ListenerSettings) {
        self.settings.send_replace(Arc::new(settings));
    }

    /// When the certificate that the listener goes by now is valid; `None` without TLS.
    pub fn certificate(&self) -> Option<Validity> {
        let settings = self.settings.borrow();
        Some(settings.tls.as_ref()?.validity().clone())
    }

    /// What has happened to its connections.
    pub fn figures(&self) -> &Arc<ListenerFigures> {
        &self.figures
    }
}

/// What a listener serves.
#[derive(Debug, Clone)]
pub struct Served {
    router: Router,
    observer: Option<Arc<Observer>>,
}

impl Served {
    /// Routes whose requests are counted and traced by this.
    pub fn observed(router: Router, observer: Arc<Observer>) -> Self {
        Self {
            router,
            observer: Some(observer),
        }
    }
}

/// Routes whose requests nobody counts.
impl From<Router> for Served {
    fn from(router: Router) -> Self {
        Self {
            router,
            observer: None,
        }
    }
}

/// Serves HTTP/1.1 and HTTP/2 on a listener until `shutdown`. Then it accepts no more, lets the requests at hand finish,
/// and returns. Streams must watch the same token; whoever sets a deadline drops what this returned.
pub async fn serve(
    listener: impl Into<Listener>,
    served: impl Into<Served>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let Listener {
        socket,
        settings,
        figures,
    } = listener.into();
    let current = settings.borrow().clone();
    let mut server = Server {
        current,
        settings,
        figures,
        served: served.into(),
        // Dropped with this future, it ends its connections, so that none outlives a deadline.
        table: Table::default(),
        sweep: interval(SWEEP),
        said_full: None,
    };
    server
        .sweep
        .set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = server.accept(&socket) => {}
    }
    drop(socket);
    server.finish().await;
    Ok(())
}

/// A listener's loop and what it alone owns.
struct Server {
    current: Arc<ListenerSettings>,
    settings: watch::Receiver<Arc<ListenerSettings>>,
    figures: Arc<ListenerFigures>,
    served: Served,
    table: Table,
    sweep: Interval,
    said_full: Option<Instant>,
}

impl Server {
    /// Accepts for ever. What it waits for can be waited for again, so that it may be dropped at any time.
    async fn accept(&mut self, socket: &TcpListener) {
        loop {
            let accepted = tokio::select! {
                biased;
                Ok(()) = self.settings.changed() => {
                    self.renew();
                    continue;
                }
                Some(()) = self.table.ended() => {
                    self.count();
                    continue;
                }
                _ = self.sweep.tick(), if !self.table.is_over() => {
                    self.sweep();
                    continue;
                }
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => self.admit(stream, from),
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => {
                    static SAID: Seldom = Seldom::every(SAY_FULL);
                    if let Some(Pass { left_out }) = SAID.pass() {
                        tracing::warn!(%error, left_out, "cannot accept a connection");
                    }
                    add(&self.figures.evicted, self.table.evict_any());
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Waits for the end of what is under way.
    async fn finish(&mut self) {
        self.table.finish_all();
        while !self.table.is_over() {
            tokio::select! {
                _ = self.table.ended() => self.count(),
                _ = self.sweep.tick() => self.sweep(),
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, from: SocketAddr) {
        match self.table.make_room(from, &self.current.limits) {
            Ok(evicted) => add(&self.figures.evicted, evicted),
            Err(full) => return self.refuse(&stream, full),
        }
        let pulse = Arc::new(Pulse::new());
        let connection = connection::serve(
            stream,
            Arc::clone(&self.current),
            self.served.clone(),
            Arc::clone(&pulse),
            from,
        );
        self.table.insert(from, pulse, connection);
        add(&self.figures.accepted, 1);
        self.count();
    }

    fn refuse(&mut self, stream: &TcpStream, full: Full) {
        let (counter, key) = match full {
            Full::All => (&self.figures.refused, "http.max_connections"),
            Full::Origin => (
                &self.figures.refused_by_address,
                "http.max_connections_per_address",
            ),
        };
        add(counter, 1);
        if self.said_full.is_none_or(|said| said.elapsed() >= SAY_FULL) {
            self.said_full = Some(Instant::now());
            let open = self.table.open();
            tracing::warn!(
                open,
                "connections are refused: all that {key} allows are busy"
            );
        }
        if self.current.tls.is_none() {
            let problem = Problem::new(Kind::TooManyConnections, "all connections are busy");
            // Who is not reached by it sees the connection closed.
            let _ = stream.try_write(&problem.retry_after(5).into_last_answer());
        }
    }

    fn sweep(&mut self) {
        let swept = self.table.sweep(&self.current.limits);
        add(&self.figures.slow, swept.slow);
        add(&self.figures.idle, swept.idle);
        self.count();
    }

    fn renew(&mut self) {
        let renewed = self.settings.borrow_and_update().clone();
        if let Some(tls) = &self.current.tls
            && !tls.has_same_authorities(renewed.tls.as_ref())
        {
            self.table.abort_certified();
        }
        self.current = renewed;
    }

    fn count(&self) {
        let open = self.table.open() as u64;
        self.figures.open.store(open, Ordering::Relaxed);
    }
}

/// Errors of a client that was gone before its connection was accepted.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

fn add(counter: &AtomicU64, count: u64) {
    if count > 0 {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}
