//! The engine against a real file, a disk that fails, a power cut, and its own sudden death. What every engine does is in
//! `store/contract`.

mod crash;
mod disk;
mod failing;
mod opening;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::Embedded;
use crate::message::UplinkId;
use crate::store::records::{QueuedUplink, ReceiptStatus};
use crate::store::testing::{ALL, delivered, device, downlink, queued, until, uplink};
use crate::store::{Engine, Limits, UplinkQueue};

/// A store in a folder of its own.
struct Fixture {
    folder: TempDir,
    store: Arc<Embedded>,
}

impl Fixture {
    fn new(limits: Limits) -> Self {
        let folder = TempDir::new().unwrap();
        let store = open(&folder.path().join("store.redb"), limits);
        Self { folder, store }
    }
}

fn open(path: &Path, limits: Limits) -> Arc<Embedded> {
    Arc::new(Embedded::open(path, limits).unwrap())
}
