//! Receipts as they come about, for those who watch.
//!
//! A bounded ring: whoever reads too slowly is told how many he has missed. While nobody watches, an uplink costs one
//! look at a number.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::receipt::Receipt;

/// How many receipts a watcher may be behind.
const RING: usize = 1024;

/// Where the road leaves receipts.
#[derive(Debug)]
pub(super) struct Feed {
    ring: broadcast::Sender<Arc<Receipt>>,
    watchers: Arc<AtomicUsize>,
}

/// A watcher of receipts.
#[derive(Debug)]
pub struct ReceiptWatch {
    ring: broadcast::Receiver<Arc<Receipt>>,
    watchers: Arc<AtomicUsize>,
}

/// What a watcher reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A receipt.
    Receipt(Arc<Receipt>),
    /// He was too slow, and so many are missing here.
    Missed(u64),
    /// There will be no more.
    End,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            ring: broadcast::Sender::new(RING),
            watchers: Arc::default(),
        }
    }
}

impl Feed {
    /// Tells those who watch; makes the receipt only for them.
    pub(super) fn tell(&self, receipt: impl FnOnce() -> Receipt) {
        if self.watchers.load(Ordering::Relaxed) > 0 {
            // The last watcher may just have gone.
            let _ = self.ring.send(Arc::new(receipt()));
        }
    }

    pub(super) fn watch(&self) -> ReceiptWatch {
        self.watchers.fetch_add(1, Ordering::Relaxed);
        ReceiptWatch {
            ring: self.ring.subscribe(),
            watchers: Arc::clone(&self.watchers),
        }
    }
}

impl ReceiptWatch {
    /// What comes next. Cancel-safe.
    pub async fn next(&mut self) -> Told {
        match self.ring.recv().await {
            Ok(receipt) => Told::Receipt(receipt),
            Err(RecvError::Lagged(missed)) => Told::Missed(missed),
            Err(RecvError::Closed) => Told::End,
        }
    }

    /// What is there already.
    pub fn present(&mut self) -> Option<Told> {
        match self.ring.try_recv() {
            Ok(receipt) => Some(Told::Receipt(receipt)),
            Err(TryRecvError::Lagged(missed)) => Some(Told::Missed(missed)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Closed) => Some(Told::End),
        }
    }
}

impl Drop for ReceiptWatch {
    fn drop(&mut self) {
        self.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::device::DeviceId;
    use crate::message::{Qos, UplinkId};
    use crate::store::records::ReceiptStatus;

    fn receipt() -> Receipt {
        Receipt {
            id: UplinkId::new(),
            device: DeviceId::parse("a").unwrap(),
            status: ReceiptStatus::Delivered,
            reason: None,
            detail: None,
            qos: Qos::AtLeastOnce,
            attempts: 1,
            accepted_at: SystemTime::now(),
            completed_at: None,
            platform: None,
        }
    }

    #[test]
    fn a_receipt_is_made_only_while_somebody_watches() {
        let feed = Feed::default();
        feed.tell(|| panic!("nobody watches"));
        let mut watch = feed.watch();
        assert_eq!(watch.present(), None);
        let told = receipt();
        feed.tell(|| told.clone());
        assert_eq!(watch.present(), Some(Told::Receipt(Arc::new(told))));
        drop(watch);
        feed.tell(|| panic!("nobody watches any more"));
    }

    #[tokio::test]
    async fn one_who_is_too_slow_is_told_how_many_are_missing() {
        let feed = Feed::default();
        let mut watch = feed.watch();
        for _ in 0..RING + 3 {
            feed.tell(receipt);
        }
        assert_eq!(watch.next().await, Told::Missed(3));
        for _ in 0..RING {
            assert!(matches!(watch.next().await, Told::Receipt(_)));
        }
        assert_eq!(watch.present(), None);
        drop(feed);
        assert_eq!(watch.next().await, Told::End);
    }
}
