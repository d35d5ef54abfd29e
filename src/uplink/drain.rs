//! Feeding one device's stored uplinks to its session, in their order, until none is left.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracing::{debug, info, warn};

use super::Road;
use super::check::{CheckError, check};
use super::road::{SETTLE, last_settlement};
use super::settle::receipt;
use super::traveller::Traveller;
use crate::message::Uplink;
use crate::registry::Device;
use crate::seldom::{Pass, Seldom};
use crate::session::{Publish, SubmitError, Ticket};
use crate::store::UplinkQueue;
use crate::store::records::{QueuedUplink, ReadLimit, ReceiptStatus};

/// Stored uplinks of one device that may be with the session at a time.
const WINDOW: usize = 64;

/// How much is read from the store at once.
const PAGE: ReadLimit = ReadLimit {
    count: WINDOW,
    bytes: 1024 * 1024,
};

/// A drain that took this long was for a backlog.
const NEWS: Duration = Duration::from_secs(10);

/// How long to leave a store alone that cannot read.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Feeds a device's stored uplinks to its session. There is one for each lane that is stored.
pub(super) async fn drain(road: Arc<Road>, store: Arc<dyn UplinkQueue>, device: Traveller) {
    debug!(device = %device.id, "draining what is stored");
    let began = Instant::now();
    let mut drain = Drain {
        road,
        store,
        device,
        after: None,
        seen: None,
        on_the_way: VecDeque::new(),
    };
    let shutdown = drain.road.shutdown.clone();
    let device = drain.device.clone();
    let ended = tokio::select! {
        // First: nothing more may go to a session that the device is leaving.
        biased;
        () = device.tenure.over() => Ended::Retired,
        () = shutdown.cancelled() => Ended::Early,
        finished = drain.run() => if finished { Ended::Finished } else { Ended::Early },
    };
    match ended {
        Ended::Finished => {
            let (device, took) = (&drain.device.id, began.elapsed());
            // Whatever is to be durable first passes through here: only a backlog that stood for a while is news.
            if took >= NEWS {
                let took = format_args!("{}s", took.as_secs());
                info!(%device, %took, "everything that was stored has been sent");
            } else {
                debug!(%device, "everything that was stored has been sent");
            }
            return;
        }
        Ended::Retired => drain.leave().await,
        Ended::Early => {}
    }
    // Before the lane can have another drain: what is still in the session's queue is taken out of it.
    drain.on_the_way.clear();
    drain.device.lane.abandon_drain();
}

enum Ended {
    Finished,
    /// The program ends, or the session has.
    Early,
    /// The device leaves the session.
    Retired,
}

struct Drain {
    road: Arc<Road>,
    store: Arc<dyn UplinkQueue>,
    device: Traveller,
    /// Everything up to this place has been handed to the session or settled.
    after: Option<u64>,
    /// The same before something arrived, and everything was read anew.
    seen: Option<u64>,
    on_the_way: VecDeque<(QueuedUplink, Ticket)>,
}

impl Drain {
    /// `true` when nothing is left, `false` when the program ends.
    async fn run(&mut self) -> bool {
        loop {
            let horizon = self.device.lane.horizon();
            // Behind the horizon, so that what arrives meanwhile is seen the next time.
            if self.device.lane.take_arrived() {
                self.seen = self.seen.max(self.after.take());
            }
            let room = WINDOW - self.on_the_way.len();
            // Not for each one that is settled: a look into the store costs more than what it then finds.
            let looks = room >= WINDOW / 2;
            let page = if looks {
                self.read(room).await
            } else {
                Vec::new()
            };
            let nothing_new = page.is_empty();
            let before = self.after;
            for uplink in page {
                if uplink.seq >= horizon.before {
                    break;
                }
                if !self.take(uplink).await {
                    return false;
                }
            }
            if self.after != before && self.on_the_way.len() <= WINDOW / 2 {
                // There may be more behind this page, and nothing tells: a page of shadows brings nothing on the way.
                continue;
            }
            if nothing_new && looks && self.device.lane.become_direct(&horizon) {
                if !self.settle_rest().await {
                    return false;
                }
                if self.device.lane.end_drain() {
                    return true;
                }
                continue;
            }
            let device = self.device.clone();
            tokio::select! {
                settled = self.settle_next(), if !self.on_the_way.is_empty() => {
                    if !settled {
                        return false;
                    }
                }
                () = device.lane.changed.notified(), if looks => {}
            }
        }
    }

    /// Whether it was handed over before something arrived that stands before it.
    fn is_on_the_way(&self, seq: u64) -> bool {
        Some(seq) <= self.seen && self.on_the_way.iter().any(|(uplink, _)| uplink.seq == seq)
    }

    async fn read(&self, room: usize) -> Vec<QueuedUplink> {
        let limit = ReadLimit {
            count: room.min(PAGE.count),
            ..PAGE
        };
        loop {
            match self.store.read(&self.device.id, self.after, limit).await {
                Ok(page) => return page,
                Err(error) => {
                    static SAID: Seldom = Seldom::every(Duration::from_secs(60));
                    if let Some(Pass { left_out }) = SAID.pass() {
                        warn!(device = %self.device.id, left_out, "stored uplinks cannot be read: {error}");
                    }
                    tokio::time::sleep(STORE_PAUSE).await;
                }
            }
        }
    }

    /// Hands one uplink to the session; `false` when the program ends.
    async fn take(&mut self, uplink: QueuedUplink) -> bool {
        self.after = Some(uplink.seq);
        if self.device.lane.is_shadow(uplink.seq) || self.is_on_the_way(uplink.seq) {
            return true;
        }
        let publish = match prepare(&self.device, &uplink) {
            Ok(Some(publish)) => publish,
            Ok(None) => {
                self.end(&uplink, 0, ReceiptStatus::Expired, None);
                return true;
            }
            // What was carried when it was stored is not carried any more: the configuration has changed.
            Err(error) => {
                self.end(
                    &uplink,
                    0,
                    ReceiptStatus::Refused,
                    Some(error.to_string().into()),
                );
                return true;
            }
        };
        self.road
            .expect_stored(&self.device, uplink.id, &uplink.payload);
        let tenure = &self.device.tenure;
        match (self.device.session)
            .submit_patiently(publish, tenure)
            .await
        {
            Ok(ticket) => {
                self.on_the_way.push_back((uplink, ticket));
                true
            }
            Err(SubmitError::Closed | SubmitError::Full) => false,
        }
    }

    /// Waits for the oldest that is on the way; `false` when the program ends. Cancel-safe.
    async fn settle_next(&mut self) -> bool {
        let Some((_, ticket)) = self.on_the_way.front_mut() else {
            return true;
        };
        let outcome = (&mut *ticket).await;
        let attempts = ticket.attempts();
        match self.on_the_way.pop_front() {
            Some((uplink, _)) => self
                .road
                .settle_stored(&self.device, &uplink, attempts, outcome),
            None => true,
        }
    }

    /// Takes everything back that was not sent, and waits a little for what was.
    async fn leave(&mut self) {
        let until = Instant::now() + SETTLE;
        (self.on_the_way).retain(|(_, ticket)| ticket.attempts() > 0);
        while let Some((uplink, mut ticket)) = self.on_the_way.pop_front() {
            if let Some(outcome) = last_settlement(&mut ticket, until).await {
                let attempts = ticket.attempts();
                (self.road).settle_stored(&self.device, &uplink, attempts, outcome);
            }
        }
    }

    async fn settle_rest(&mut self) -> bool {
        while !self.on_the_way.is_empty() {
            if !self.settle_next().await {
                return false;
            }
        }
        true
    }

    fn end(
        &self,
        uplink: &QueuedUplink,
        attempts: u32,
        status: ReceiptStatus,
        detail: Option<Box<str>>,
    ) {
        let receipt = receipt(uplink, attempts, status, detail);
        self.road.end_stored(&self.device, uplink, receipt);
    }
}

/// What is to be published now; `None` when its time is over.
fn prepare(device: &Device, stored: &QueuedUplink) -> Result<Option<Publish>, CheckError> {
    let left = match stored.expires_at {
        Some(at) => match at.duration_since(SystemTime::now()) {
            Ok(left) => Some(left),
            Err(_) => return Ok(None),
        },
        None => None,
    };
    let uplink = Uplink {
        device: stored.device.clone(),
        subtopic: stored.subtopic.clone(),
        payload: stored.payload.clone(),
        content_type: stored.content_type.clone(),
        qos: Some(stored.qos),
        retain: stored.retain,
        expiry: None,
        traceparent: stored.traceparent.clone(),
    };
    let publish = check(device, &uplink)?;
    Ok(Some(Publish {
        expires_at: left.map(|left| Instant::now() + left),
        ..publish
    }))
}
