//! A history in memory that is slow, fails and forgets as a test wishes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Semaphore;

use crate::device::DeviceId;
use crate::downlink::Cursor;
use crate::message::Downlink;
use crate::store::records::{HistoryPage, ReadLimit, StoredDownlink, Window};
use crate::store::{Answer, DownlinkHistory, StoreError};

#[derive(Debug)]
pub(super) struct Fake {
    state: Arc<Mutex<State>>,
    conduct: Conduct,
    /// What an append takes one permit of.
    pub(super) gate: Arc<Semaphore>,
}

/// How it behaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conduct {
    /// Events that are kept of each device.
    pub(super) keep: usize,
    /// Events in a page.
    pub(super) page: usize,
    /// Whether answers take their time, before and after what they do.
    pub(super) slow: bool,
    /// One in so many appends and reads fails; 0 is none.
    pub(super) failing: u32,
}

impl Conduct {
    pub(super) const GOOD: Self = Self {
        keep: usize::MAX,
        page: 3,
        slow: false,
        failing: 0,
    };

    fn fails(self) -> Result<(), StoreError> {
        if self.failing > 0 && rand::random::<u32>().is_multiple_of(self.failing) {
            let cause = "it is a bad day".into();
            return Err(StoreError::Unavailable { cause });
        }
        Ok(())
    }

    async fn pause(self) {
        for _ in 0..u32::from(self.slow) * (rand::random::<u32>() % 6) {
            tokio::task::yield_now().await;
        }
    }
}

#[derive(Debug)]
struct State {
    origin: u64,
    cursor: u64,
    events: Vec<StoredDownlink>,
    fallen: HashMap<DeviceId, u64>,
    /// Everything that was ever stored.
    log: Vec<(u64, DeviceId)>,
}

impl Fake {
    pub(super) fn new(origin: u64, conduct: Conduct) -> Arc<Self> {
        let state = State {
            origin,
            cursor: origin,
            events: Vec::new(),
            fallen: HashMap::new(),
            log: Vec::new(),
        };
        Arc::new(Self {
            state: Arc::new(Mutex::new(state)),
            conduct,
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        })
    }

    /// The same history under another conduct, as after a restart.
    pub(super) fn behaving(&self, conduct: Conduct) -> Arc<Self> {
        Arc::new(Self {
            state: Arc::clone(&self.state),
            conduct,
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        })
    }

    /// Everything that was ever stored, by cursor.
    pub(super) fn events(&self) -> Vec<(Cursor, DeviceId)> {
        let cursor =
            |(cursor, device): &(u64, DeviceId)| (Cursor::from_raw(*cursor), device.clone());
        self.lock().log.iter().map(cursor).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn append(&mut self, downlinks: Vec<Downlink>, keep: usize) -> Vec<u64> {
        let mut cursors = Vec::new();
        for downlink in downlinks {
            self.cursor += 1;
            cursors.push(self.cursor);
            let device = downlink.device.clone();
            self.log.push((self.cursor, device.clone()));
            self.events.push(StoredDownlink {
                cursor: self.cursor,
                downlink,
            });
            let of_device = |event: &&StoredDownlink| event.downlink.device == device;
            if self.events.iter().filter(of_device).count() > keep {
                let oldest = self.events.iter().position(|event| of_device(&event));
                let gone = self.events.remove(oldest.unwrap());
                self.fallen.insert(device, gone.cursor);
            }
        }
        cursors
    }

    fn page(&self, devices: &[DeviceId], after: u64, count: usize) -> HistoryPage {
        let fallen = devices.iter().filter_map(|device| self.fallen.get(device));
        let lost = fallen.max().copied().unwrap_or(0).max(self.origin);
        let start = self.events.partition_point(|event| event.cursor <= after);
        let wanted = |event: &&StoredDownlink| devices.contains(&event.downlink.device);
        let mut events: Vec<_> = self.events[start..]
            .iter()
            .filter(wanted)
            .cloned()
            .collect();
        let more = events.len() > count;
        events.truncate(count);
        let last = events.last().map(|event| event.cursor);
        HistoryPage {
            until: last.filter(|_| more).unwrap_or(self.cursor),
            events,
            fallen: (lost > after).then_some(lost),
        }
    }
}

impl DownlinkHistory for Fake {
    fn append(&self, downlinks: Vec<Downlink>) -> Answer<Vec<u64>> {
        let (state, gate) = (Arc::clone(&self.state), Arc::clone(&self.gate));
        let conduct = self.conduct;
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            conduct.pause().await;
            conduct.fails()?;
            let cursors = state.lock().unwrap().append(downlinks, conduct.keep);
            conduct.pause().await;
            Ok(cursors)
        })
    }

    fn history(&self, devices: Arc<[DeviceId]>, after: u64, _: ReadLimit) -> Answer<HistoryPage> {
        let (state, conduct) = (Arc::clone(&self.state), self.conduct);
        Box::pin(async move {
            conduct.pause().await;
            conduct.fails()?;
            let page = state.lock().unwrap().page(&devices, after, conduct.page);
            conduct.pause().await;
            Ok(page)
        })
    }

    fn window(&self, _: &DeviceId) -> Answer<Window> {
        unreachable!("not asked for")
    }

    fn newest_cursor(&self) -> u64 {
        self.lock().cursor
    }
}
