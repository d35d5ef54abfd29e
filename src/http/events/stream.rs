//! What a reader of events is sent, and when.
//!
//! Nothing is queued for a reader but receipts, in a ring that all share: of everything else he is told the present
//! state, looked up when he has taken what came before.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::Stream;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::Receipts;
use super::form::{DeviceFigures, FiguresEvent, GoneEvent, MissedEvent, SessionEvent};
use crate::access::Listener;
use crate::device::DeviceId;
use crate::http::receipt_form::ReceiptBody;
use crate::http::sse;
use crate::http::timestamp::Timestamp;
use crate::observe::{Figures, Survey};
use crate::registry::{Device, Registry};
use crate::store::records::{Backlog, ReceiptStatus};
use crate::uplink::{Receipt, ReceiptWatch, Told, Uplinks, Verdict};

/// How often sessions are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Receipts that are sent in one piece.
const RECEIPTS: usize = 100;

/// What a reader has asked for.
pub(super) struct Wanted {
    /// All without it.
    pub(super) devices: Option<BTreeSet<DeviceId>>,
    pub(super) receipts: Receipts,
    /// How often figures are sent.
    pub(super) figures: Option<Duration>,
}

/// One reader's stream.
pub(super) struct Reader {
    registry: Arc<Registry>,
    uplinks: Uplinks,
    wanted: Wanted,
    survey: Survey,
    /// A sweep of the survey is under way.
    sweeping: bool,
    receipts: Option<ReceiptWatch>,
    look: Interval,
    figures: Option<Interval>,
    heartbeat: Interval,
    listener: Listener,
    until: Pin<Box<dyn Future<Output = ()> + Send>>,
    opening: Option<Bytes>,
}

impl Reader {
    pub(super) fn new(
        registry: Arc<Registry>,
        uplinks: Uplinks,
        wanted: Wanted,
        listener: Listener,
        shutdown: &CancellationToken,
    ) -> Self {
        let now = Instant::now();
        let receipts = (wanted.receipts != Receipts::None).then(|| uplinks.watch());
        Self {
            survey: Survey::new(Arc::clone(&registry)),
            registry,
            sweeping: true,
            receipts,
            look: every(LOOK, now + LOOK),
            figures: wanted.figures.map(|period| every(period, now)),
            heartbeat: every(sse::HEARTBEAT, now + sse::first_heartbeat(sse::HEARTBEAT)),
            uplinks,
            wanted,
            until: Box::pin(sse::end(&listener, shutdown)),
            listener,
            opening: Some(sse::opening()),
        }
    }

    pub(super) fn into_stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        futures_util::stream::unfold(self, async |mut reader| {
            reader.next().await.map(|piece| (Ok(piece), reader))
        })
    }

    /// The next piece of the stream; `None` at its end.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(opening) = self.opening.take() {
            return Some(opening);
        }
        let mut piece = Vec::new();
        while piece.is_empty() {
            if self.sweeping {
                self.step(&mut piece);
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                () = &mut self.until => return None,
                _ = self.look.tick() => self.sweeping = true,
                told = next_receipt(&mut self.receipts) => self.tell(told, &mut piece)?,
                () = next_tick(&mut self.figures) => self.sum(&mut piece),
                _ = self.heartbeat.tick() => piece.extend_from_slice(b": heartbeat\n\n"),
            }
        }
        Some(piece.into())
    }

    /// Tells what a part of the sweep has found.
    fn step(&mut self, piece: &mut Vec<u8>) {
        let (wanted, listener) = (&self.wanted, &self.listener);
        let step = (self.survey).step(|device| wanted.includes(device) && listener.may_use(device));
        for seen in &step.changed {
            let backlog = self.uplinks.backlog(&seen.device.id);
            let figures = figures_of(&seen.device, backlog);
            self.survey.has_news(&seen.device.id, figures);
            let event = SessionEvent::of(seen, Some(figures));
            sse::write_event(piece, "session", &event);
        }
        for device in &step.gone {
            sse::write_event(piece, "session", &GoneEvent::of(device));
        }
        self.sweeping = !step.complete;
    }

    /// Tells a receipt and those that are there besides; `None` when there will be no more.
    fn tell(&mut self, first: Told, piece: &mut Vec<u8>) -> Option<()> {
        let mut next = Some(first);
        for _ in 0..RECEIPTS {
            match next {
                Some(Told::Receipt(receipt))
                    if self.wanted.wants(&receipt) && self.listener.may_use(&receipt.device) =>
                {
                    sse::write_event(piece, "receipt", &ReceiptBody::of(&receipt));
                }
                Some(Told::Receipt(_)) => {}
                Some(Told::Missed(missed)) => {
                    sse::write_event(piece, "gap", &MissedEvent { missed });
                }
                Some(Told::End) => return None,
                None => break,
            }
            next = self.receipts.as_mut().and_then(ReceiptWatch::present);
        }
        Some(())
    }

    /// Tells sums.
    fn sum(&mut self, piece: &mut Vec<u8>) {
        let backlogs: HashMap<_, _> = self.uplinks.backlogs().into_iter().collect();
        let mut sums = FiguresEvent {
            at: Timestamp(SystemTime::now()),
            devices: 0,
            states: BTreeMap::new(),
            delivered: 0,
            refused: 0,
            downlinks: 0,
            queued: 0,
            in_flight: 0,
            backlog: 0,
            backlog_bytes: 0,
            changed: BTreeMap::new(),
        };
        let mut sessions = HashSet::new();
        for device in self.registry.all() {
            if !self.wanted.includes(&device.id) || !self.listener.may_use(&device.id) {
                continue;
            }
            let backlog = backlogs.get(&device.id).copied();
            sums.add_device(&device, backlog);
            // Devices of one connector may share a session.
            if sessions.insert(Arc::as_ptr(device.session.status())) {
                sums.add_session(&device);
            }
            let figures = figures_of(&device, backlog);
            if self.survey.has_news(&device.id, figures) {
                let figures = DeviceFigures::from(figures);
                sums.changed.insert(device.id.clone(), figures);
            }
        }
        sse::write_event(piece, "figures", &sums);
    }
}

impl Wanted {
    fn includes(&self, device: &DeviceId) -> bool {
        let devices = self.devices.as_ref();
        devices.is_none_or(|devices| devices.contains(device))
    }

    fn wants(&self, receipt: &Receipt) -> bool {
        let kind = match self.receipts {
            Receipts::All => true,
            Receipts::Failed => has_failed(receipt),
            Receipts::None => false,
        };
        kind && self.includes(&receipt.device)
    }
}

impl FiguresEvent {
    fn add_device(&mut self, device: &Device, backlog: Option<Backlog>) {
        self.devices += 1;
        let state = device.session.status().state().name();
        *self.states.entry(state).or_default() += 1;
        self.backlog += backlog.map_or(0, |backlog| backlog.count);
        self.backlog_bytes += backlog.map_or(0, |backlog| backlog.bytes);
    }

    fn add_session(&mut self, device: &Device) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let status = device.session.status();
        self.delivered += read(&status.counters.delivered);
        self.refused += read(&status.counters.refused);
        self.downlinks += read(&status.counters.downlinks);
        self.in_flight += read(&status.in_flight);
        self.queued += device.session.queued() as u64;
    }
}

fn has_failed(receipt: &Receipt) -> bool {
    let platform = receipt.platform.as_ref().map(|outcome| outcome.verdict);
    match receipt.status {
        ReceiptStatus::Refused | ReceiptStatus::Expired | ReceiptStatus::Unknown => true,
        ReceiptStatus::Queued | ReceiptStatus::Delivered | ReceiptStatus::Sent => {
            platform == Some(Verdict::Refused)
        }
    }
}

fn figures_of(device: &Device, backlog: Option<Backlog>) -> Figures {
    Figures {
        last_uplink_at: device.lane.delivered_at(),
        backlog: backlog.map_or(0, |backlog| backlog.count),
    }
}

fn every(period: Duration, first: Instant) -> Interval {
    let mut interval = interval_at(first, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

async fn next_receipt(watch: &mut Option<ReceiptWatch>) -> Told {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

async fn next_tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}
