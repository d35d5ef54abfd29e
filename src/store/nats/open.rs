//! Opening: the connection, the streams, and what is in them.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, SystemTime};

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::appender;
use super::core::{Core, Readers, UNIT};
use super::failure::Failure;
use super::handle::Nats;
use super::histories::Histories;
use super::known::KnownRecords;
use super::link::Link;
use super::names::{StreamName, record_of};
use super::numbers::Numbers;
use super::queues::Queues;
use super::record::is_removed;
use super::requests::Message;
use super::rescan::{Extent, Scanned};
use super::writer::Writer;
use super::{follow, nudge};
use crate::device::DeviceId;
use crate::fields::micros;
use crate::store::limits::Limits;
use crate::store::marks::Marks;
use crate::store::server::NatsServers;
use crate::store::shared::Holding;
use crate::store::waiting::WaitingReceipts;

/// Why a store on NATS JetStream could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// An address is none.
    #[error("an address of nats-server is none: nats://host:port and tls://host:port are")]
    Address,
    /// The credentials cannot be used.
    #[error("the credentials file cannot be used: {0}")]
    Credentials(String),
    /// No server can be reached.
    #[error("no nats-server can be reached: {0}")]
    Unreachable(String),
    /// The server refuses the connection.
    #[error(
        "nats-server refuses the connection: {0}; see to the user, the token or the credentials"
    )]
    Refused(String),
    /// Its streams cannot be made.
    #[error(
        "the stream {stream} cannot be made: {cause}; JetStream has to be on, with as many servers as there are replicas"
    )]
    Stream {
        /// Its name.
        stream: String,
        /// What the server says.
        cause: String,
    },
    /// What is in the streams cannot be read.
    #[error("the store on nats-server cannot be read: {0}")]
    Unreadable(String),
}

impl NatsError {
    /// Whether a server that is just starting can be the reason.
    pub(crate) fn may_pass(&self) -> bool {
        !matches!(
            self,
            Self::Address | Self::Credentials(_) | Self::Refused(_)
        )
    }
}

impl From<Failure> for NatsError {
    fn from(failure: Failure) -> Self {
        let error = crate::store::StoreError::from(failure);
        Self::Unreadable(error.to_string())
    }
}

impl Nats {
    /// Opens the store, and makes its streams where there are none. For `patience`, waits for a server that is not there
    /// yet. `holding` says whose uplinks are read and settled here.
    pub async fn open(
        servers: &NatsServers,
        limits: Limits,
        patience: Duration,
        holding: Arc<dyn Holding>,
    ) -> Result<Self, NatsError> {
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_millis(50);
        loop {
            let error = match attempt(servers, limits, &holding).await {
                Ok(store) => return Ok(store),
                Err(error) if error.may_pass() && Instant::now() + pause < deadline => error,
                Err(error) => return Err(error),
            };
            tracing::warn!("the store cannot be opened yet: {error}");
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(Duration::from_secs(2));
        }
    }
}

async fn attempt(
    servers: &NatsServers,
    limits: Limits,
    holding: &Arc<dyn Holding>,
) -> Result<Nats, NatsError> {
    let link = Link::open(servers, limits).await?;
    let term = term(&link).await?;
    let (origin, downlinks, histories) = load_histories(&link, &limits).await?;
    let (records_end, records) = load_records(&link).await?;
    let units = (limits.memory.waiting_bytes / UNIT).clamp(1, u64::from(u32::MAX >> 3));
    let units = u32::try_from(units).unwrap_or(u32::MAX >> 3);
    let (to_writer, inbox) = mpsc::unbounded_channel();
    let (to_appender, appends) = mpsc::unbounded_channel();
    let core = Arc::new(Core {
        link,
        limits,
        queues: Mutex::new(Queues::new(limits.uplinks)),
        holding: Arc::clone(holding),
        stream_count: AtomicU64::new(0),
        stream_bytes: AtomicU64::new(0),
        histories: Mutex::new(histories),
        followed: watch::Sender::new(downlinks),
        origin,
        records: Mutex::new(records),
        readers: Readers::default(),
        marks: Marks::default(),
        waiting: WaitingReceipts::new(limits.memory.waiting_receipts),
        numbers: Numbers::new(term),
        end: CancellationToken::new(),
        closed: AtomicBool::new(false),
        to_writer,
        to_appender,
        room: Arc::new(Semaphore::new(units as usize)),
        units,
        receipts: AtomicU64::new(0),
        keys: AtomicU64::new(0),
        settlements_dropped: AtomicU64::new(0),
    });
    let conn = core.link.conn();
    let nudges = nudge::subscribe(&core.link, &conn).await?;
    let mut scanned = Scanned::default();
    core.rescan(&mut scanned, Extent::All).await?;
    tokio::spawn(Writer::new(Arc::clone(&core), scanned, inbox).run());
    tokio::spawn(appender::run(Arc::clone(&core), appends));
    tokio::spawn(follow::downlinks(Arc::clone(&core), downlinks));
    tokio::spawn(follow::records(Arc::clone(&core), records_end));
    tokio::spawn(nudge::listen(Arc::clone(&core), conn, nudges));
    let tasks = TaskTracker::new();
    Ok(Nats { core, tasks })
}

/// How often the store was opened: numbers of uplinks end with it, so no two processes give the same.
async fn term(link: &Link) -> Result<u64, NatsError> {
    loop {
        let subject = link.names.term();
        let last = link.last(StreamName::Records, &subject).await?;
        let (place, term) = match last {
            Some(last) => {
                let text = std::str::from_utf8(&last.payload).ok();
                let term: Option<u64> = text.and_then(|text| text.parse().ok());
                let term = term.ok_or(NatsError::Unreadable("the term is none".into()))?;
                (last.sequence, term)
            }
            None => (0, 0),
        };
        let next = link.publish(Message {
            subject,
            header: None,
            payload: (term + 1).to_string().into(),
            expected: Some(place),
        });
        match next.await {
            Ok(_) => return Ok(term + 1),
            Err(Failure::Conflict) => {}
            Err(failure) => return Err(failure.into()),
        }
    }
}

/// What cursors are counted from: when the store was first opened, so that a store that was lost with all it had gives no
/// cursor again. (The server's own time of the stream's making is another one after a restart of it.)
async fn origin(link: &Link) -> Result<u64, NatsError> {
    loop {
        let subject = link.names.origin();
        if let Some(last) = link.last(StreamName::Records, &subject).await? {
            let text = std::str::from_utf8(&last.payload).ok();
            let origin = text.and_then(|text| text.parse().ok());
            return origin.ok_or(NatsError::Unreadable("the origin is none".into()));
        }
        let first = link.publish(Message {
            subject,
            header: None,
            payload: micros(SystemTime::now()).to_string().into(),
            expected: Some(0),
        });
        match first.await {
            Ok(_) | Err(Failure::Conflict) => {}
            Err(failure) => return Err(failure.into()),
        }
    }
}

/// The origin of cursors, the place up to which the histories are true, and the histories.
async fn load_histories(link: &Link, limits: &Limits) -> Result<(u64, u64, Histories), NatsError> {
    let origin = origin(link).await?;
    let info = link.info(StreamName::Downlinks).await?;
    let state = &info.state;
    let gone = match state.messages {
        0 => state.last_sequence,
        _ => state.first_sequence.saturating_sub(1),
    };
    let mut histories = Histories::new(limits.downlinks, origin + gone);
    let scan = link.scan(StreamName::Downlinks, 0, |seen| {
        histories.take(origin + seen.place, &seen);
    });
    let end = scan.await?;
    histories.prune(micros(SystemTime::now()));
    // Of a device with as many as it may have, there may have been more.
    let full: Vec<(DeviceId, u64)> = histories
        .full_devices()
        .map(|(device, first)| (device.clone(), first.saturating_sub(1)))
        .collect();
    for (device, cursor) in full {
        histories.mark(&device, cursor);
    }
    Ok((origin, end, histories))
}

/// The place up to which they are known, and the records.
async fn load_records(link: &Link) -> Result<(u64, KnownRecords), NatsError> {
    let mut records = KnownRecords::default();
    let own = [link.names.term(), link.names.origin()];
    let scan = link.scan(StreamName::Records, 0, |seen| {
        if own.iter().any(|own| own == seen.subject) || seen.milestone().is_some() {
            return;
        }
        match record_of(seen.subject) {
            Some(record) => {
                records.apply(record, seen.place, !is_removed(seen.header));
            }
            None => tracing::error!(place = seen.place, "what is stored here is no record"),
        }
    });
    let end = scan.await?;
    Ok((end, records))
}
